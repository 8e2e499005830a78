from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import numpy.typing as npt

from imapids.records.events import Event, Session
from imapids.records.packets import I64, U8, U64
from imapids.records.streams import Flow, FlowUpdate, Piece

_Item = TypeVar("_Item")

class Columns(Protocol):
    def __getitem__(self, name: str) -> npt.NDArray[Any]: ...

STAMP: str

class Chunks:
    def __init__(self, record: type) -> None: ...
    def of_segments(self, buffer: U8, at: I64, flow: I64, side: U8, stream: U8, offset: I64, payload: I64,
                    captured: I64, number: I64, time_ns: I64, first: I64, size: I64,
                    late: U8 | None = None) -> list[list[Piece] | LateChunks]: ...
    def first_bytes(self, pieces: list[Piece], gap: type, data: tuple[bytearray, bytearray], ended: list[bool],
                    turns: list[tuple[int, int]], limit: int, turn_limit: int) -> int | None: ...
    def longest(self, pieces: list[Piece]) -> int: ...

class LateChunks:
    def __call__(self) -> list[Piece]: ...

class Layout:
    record: type
    names: tuple[str, ...]
    makes: bool

    def __init__(self, record: type, first: tuple[str, ...] = ...) -> None: ...
    def place(self, name: str) -> int: ...

class Reading:
    def __init__(self, get: Callable[[Any], Any], event: Layout | None = None, origin: str = "",
                 record: Layout | None = None, name: str = "", many: bool = False, inner: Layout | None = None,
                 inner_name: str = "") -> None: ...
    def masks(self, memo: dict[Any, int], events: list[Any], learn: Callable[[Any], int]) -> list[int]: ...

def ways_on(steps: list[Any], nothing: object, places: list[int], events: list[Any],
            truths: list[int]) -> list[tuple[Any, list[int], list[Any], list[int]]]: ...
def kinds_counted(layout: Layout, events: list[Any]) -> dict[str, int]: ...

# sifting.pxi
class Question:
    def __init__(self, reading: Reading, memo: dict[Any, int], texts: list[int] | None = None,
                 numbers: tuple[int, int] | None = None) -> None: ...

class Way:
    def __init__(self, questions: list[Question], steps: dict[int, Any]) -> None: ...

class Sieve:
    found: int
    missed: int

    def __init__(self, readings: tuple[Reading, ...], steps: dict[Any, Any], step: Layout, nothing: object,
                 make_way: Callable[[Any], Way]) -> None: ...

def sift(layout: Layout, events: list[Any], sieves: dict[str, Sieve],
         found: list[Any]) -> dict[str, tuple[list[int], list[Any], list[Any]]]: ...

# matches.pxi
class Feed:
    def __init__(
        self, *, event: Layout, flow: Layout, group: Layout, entry: Layout, hit: Layout, windows: object,
        groups: OrderedDict[tuple[Any, ...], Any], orders: Iterator[int],
        reaches: Callable[[float, float], bool] | None, threshold: float, span_ns: int, limit: int, shown: int,
        behind: int, names: tuple[str, ...], base: int, text: str, rules: tuple[tuple[str, str], ...],
    ) -> None: ...

class Recount:
    def __init__(self, event: Layout, flow: Layout, state: Layout, opened: OrderedDict[tuple[str, Any], Any],
                 idle_ns: int, subjects: dict[str, tuple[str, ...]]) -> None: ...
    def counted_on(self, matches: list[tuple[int, tuple[int, ...]]], start: int, events: list[Any],
                   quiet: dict[tuple[int, ...], tuple[tuple[str, str], ...] | Feed]) -> tuple[int, Any]: ...
    def counted(self, rules: tuple[tuple[str, str], ...], event: Any) -> int: ...

# told.pxi
def rearranged(items: list[_Item], places: I64) -> list[_Item]: ...

class Sharing:
    def __init__(self, event: type) -> None: ...
    def among(self, events: list[Event], known: I64,
              seers: dict[str, list[tuple[list[Event], list[int]]]]) -> None: ...

# hashes.pxi, naming.pxi
class KeyedHash:
    def __init__(self, key: bytes, weak: dict[bytes, Any]) -> None: ...
    def of(self, user: bytes, secret: bytes) -> str | None: ...

def sha1_of(data: bytes) -> bytes: ...
def blake2b_of(data: bytes, digest_size: int) -> int: ...
def ends_of(source: Columns, rows: I64, ends: U64) -> None: ...

class FlowRecords:
    def __init__(
        self, *, alike: Flow, address_text: Callable[[int, int], str], flow_hash: Callable[[bytes], int],
        way: Callable[[int], tuple[tuple[int, ...], tuple[str, ...], bytes]],
        origin: Callable[[int, int], tuple[str, str]], roles: tuple[str, ...], states: tuple[str, ...], watched: int,
        peeked: int, most_texts: int,
    ) -> None: ...
    def make(self, source: Columns, rows: I64, ends: U64, directions: list[str]) -> list[Flow]: ...
    def complete(self, source: Columns, rows: I64, flows: list[Flow], reasons: list[str]) -> None: ...

class LastUpdates:
    def __init__(self, flow: type, end: type, update: type) -> None: ...
    def make(self, flows: list[Flow], pieces: list[list[Piece]], key: I64, time_ns: I64, packet: I64,
             known: I64) -> list[FlowUpdate]: ...

# observers.pxi
class Seen:
    def __init__(self, event: type, flow: type, session: type, login: type, message: type) -> None: ...

class MailReads:
    def __init__(self, seen: Seen, reading: type, *, minute: str, followed: Collection[str], told_bodies: int,
                 most_readers: int, most_users: int, window_ns: int) -> None: ...
    def pass_over(self, events: list[Event], at: int, readings: OrderedDict[Any, Any],
                  clients: Callable[[Any], object], users: dict[int, str], old_users: dict[int, str],
                  shared: bool) -> int: ...

class Connections:
    held: int
    def __init__(self, seen: Seen, pair: type, histories: object, *, row_bytes: int, places: dict[str, int],
                 steps: Collection[int], most_pairs: int, most_units: int, most_held: int,
                 told_each_ns: int) -> None: ...
    def pass_over(self, events: list[Event], at: int, pairs: OrderedDict[Any, Any], held: int) -> int: ...

class Speeches:
    def __init__(self, seen: Seen, *, service: type, endpoint: Callable[[str, int, int], int],
                 is_relayed: Callable[[str], bool]) -> None: ...
    def pass_over(self, events: list[Event], known: list[int], at: int, relayed_flows: set[int],
                  waiting: list[Any]) -> int: ...

def unsaid(speeches: list[Any], at: int, sayings: set[Any]) -> int: ...
def speeches_by(speeches: list[Any], known: I64, first: U64, endpoint: U64) -> None: ...

class SignIns:
    def __init__(self, seen: Seen, *, minute: str) -> None: ...
    def until_minute(self, events: list[Event], at: int) -> tuple[int, int, bool]: ...
    def other_user(self, events: list[Event], at: int, users: dict[str, str]) -> int: ...

# json_text.pxi, lines.pxi
class Plan:
    layout: Layout

    def __init__(self, record: type, fields: dict[str, str] | None = None, like: type | None = None,
                 times: Collection[str] = ()) -> None: ...

class LineParts:
    def __init__(self, plan: Plan, name: bytes, protocol: bytes, key: bytes, *, protocol_in: str | None = None,
                 labelled: bool = False, counted: bool = False) -> None: ...

class Lines:
    def __init__(
        self, *, kinds: dict[type, LineParts], event: Plan, alert: Plan, head: Plan, vlans: Plan, counts: Plan,
        start: Plan, identity: Plan, found: Plan, facts: Plan, longest: int, direction: bytes,
        encode_json: Callable[[Any], bytes], alone: Callable[[Any], bytes], make_head: Callable[[Any], bytes],
        alert_parts: Callable[[Any], tuple[bytes, bool, bytes, bytes, bytes]],
    ) -> None: ...
    def encode(self, items: Iterable[Any]) -> bytes: ...

# ahead.pxi
class LinesAhead:
    def __init__(self, lines: Lines) -> None: ...
    def start(self, items: list[Any], file: int = -1) -> bool: ...
    def pieces(self) -> Iterator[bytes | memoryview]: ...
    def close(self) -> None: ...

# turns.pxi
class Turns:
    def __init__(
        self, *, classes: Sequence[type], greetings: dict[bytes, Any], orders: dict[bytes, Any],
        orders_alike: dict[bytes, Any], whole_turns: dict[Any, Any], login_order: object, login: object,
        tag_chars: bytes, login_chars: bytes, login_form: Callable[[bytes, tuple[bool | None, ...]], str],
        hash_secret: Callable[[bytes, bytes], tuple[str, list[str]]] | None, keyed: KeyedHash | None,
        safe_text: Callable[[bytes, int], str],
        mail_header: Callable[[bytes], object], remembered_tags: Callable[[list[bytes]], Iterable[bytes]],
        usual_headers: tuple[bytes, ...], text_bytes: int, body_bytes: int, memo_bytes: int, keep: int, most_tags: int,
        want_commands: bool, want_logins: bool, want_messages: bool,
    ) -> None: ...
    def read(self, plain: object, pieces: list[Any], count: int, events: list[Any], known: list[int]) -> int: ...
    def settle(self, plain: object, pieces: list[Any], count: int) -> int: ...

# opaque.pxi
class OpaqueRecords:
    def __init__(self, *, classes: Sequence[type], longest: int, long_ago: int) -> None: ...
    def pass_over(self, pieces: list[Piece], at: int, sides: tuple[object, object], facts: object, turns: object,
                  foreign: bool, prefix: object, seen: list[int]) -> int: ...

# closing.pxi
class PlainSessions:
    def __init__(self, *, classes: Sequence[type], alike: Session, remembered: dict[Any, Any],
                 greeting_code: str) -> None: ...
    def make(self, flow: object, plain: object) -> Session | None: ...

# dialogues.pxi
class Dialogues:
    def __init__(
        self, *, turns: Turns, sessions: PlainSessions, classes: Sequence[type], fresh: object,
        conversations: dict[int, Any], verdicts: dict[str, int], longest: int, tell_sessions: bool,
        tell_flow: Callable[[Any, Any], None] | None, begin_peeked: Callable[[], Any],
        tell_peeked: Callable[[Any, Any, Any], None],
    ) -> None: ...
    def take(self, updates: list[FlowUpdate], events: list[Event], known: list[int],
             most: int) -> FlowUpdate | None: ...
