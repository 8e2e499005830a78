"""Plain dialogues read from begin to end in one compiled loop: the events are those that the Python code tells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from helpers.imap_talk import FETCH, GREETING, LOGIN, LOGOUT, SELECT, SESSION, C, S, Talk, chunks_of
from helpers.plain_talk import TURNS, asked
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids import kernels, pipeline
from imapids.config import Limits
from imapids.parse import PlainDialogue
from imapids.pipeline import Pipeline
from imapids.pipeline.peeked import PeekedConversation
from imapids.protocols.secrets import SecretHasher
from imapids.records.events import EVENT_TYPES
from imapids.records.streams import CLIENT, SERVER, Flow, FlowUpdate, Piece, StreamChunk, StreamEnd, StreamGap

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")

KINDS = frozenset(EVENT_TYPES.values()) - {"flow"}
Pieces = Sequence[Piece] | Callable[[], list[Piece]]
"""What an update brings, or what makes it."""
END = StreamEnd(10**10, 99, "fin", 100)


def flow_of(number: int = 1, **fields: Any) -> Flow:
    return msgspec.structs.replace(
        Flow(protocol="TCP", client="192.0.2.1", client_port=40_000 + number, server="192.0.2.2", server_port=143,
             packets_client=9, packets_server=7, bytes_client=300, bytes_server=900, state="closed", end_reason="fin",
             start_ns=number, end_ns=10**10, first_packet=number, direction="inbound"), **fields)


def late_of(chunks: Sequence[StreamChunk], shift: int = 0) -> Callable[[], list[Piece]]:
    """What makes chunks out of a batch in which each of these is a segment, all of them so many bytes off."""
    count = len(chunks)
    parts = [b"header" + chunk.data for chunk in chunks]
    captured = np.array([len(chunk.data) for chunk in chunks], np.int64)
    payload = np.cumsum([len(part) for part in parts]) - captured + shift
    number, time_ns, offset = (np.array([getattr(chunk, name) for chunk in chunks], np.int64)
                               for name in ("packet", "time_ns", "offset"))
    side, ones = np.array([chunk.side for chunk in chunks], np.uint8), np.ones(count, np.uint8)
    late, = kernels.events.Chunks(StreamChunk).of_segments(
        np.frombuffer(b"".join(parts), np.uint8), np.arange(count), np.zeros(count, np.int64), side, ones, offset,
        payload, captured, number, time_ns, *np.empty((2, count), np.int64), ones)
    assert callable(late)
    return late


def told_of(updates: Sequence[tuple[Flow, Pieces, int]], *, compiled: bool, kinds: frozenset[str] = KINDS,
            longest: int = 1_100, most: int = 50) -> tuple[Any, ...]:
    """What a pipeline makes of updates: events, their order, sessions by verdict, and what it still reads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "COMPILED", compiled)
        patch.setattr(pipeline, "_CHUNK_BYTES", longest)
        patch.setattr(pipeline, "_EVENTS_AT_ONCE", most)
        reader = Pipeline(Limits(), kinds=kinds, hasher=SecretHasher(b"key"))
        waiting = [FlowUpdate(flow, [], key, pieces) if callable(pieces) else FlowUpdate(flow, [*pieces], key)
                   for flow, pieces, key in reversed(updates)]
        rows, orders = [], []
        more = True
        while more:
            more = reader._take(waiting)
            rows += [(event.kind, event.time_ns, event.packet, event.known_ns, event.flow, type(event.body),
                      msgspec.to_builtins(event.body)) for event in reader._events]
            orders += reader._order
            reader._events.clear()
            reader._order.clear()
        still = {key: ([*each.first_bytes()], each.facts, each.done) if isinstance(each, PlainDialogue) else type(each)
                 for key, each in reader._conversations.items()}
    assert not waiting
    return rows, orders, reader.sessions, still


def compare(*updates: tuple[Flow, Pieces, int], **options: Any) -> list[Any]:
    """Reads updates both ways, when their texts are new and when they are remembered; the events."""
    for _ in range(2):
        compiled = told_of(updates, compiled=True, **options)
        assert compiled == told_of(updates, compiled=False, **options)
    return compiled[0]


def test_a_session_that_is_remembered_needs_none_of_the_python_code(monkeypatch: pytest.MonkeyPatch) -> None:
    updates = (flow_of(), chunks_of(SESSION), 1), (flow_of(), [END], 1)
    wanted = compare(*updates)
    for name in ("_begin", "_close_plain", "_tell_session"):
        monkeypatch.setattr(Pipeline, name, None)
    monkeypatch.setattr(pipeline, "_longest", None)
    rows, _, sessions, still = told_of(updates, compiled=True)
    assert rows == wanted
    assert (sessions, still) == ({"genuine": 1}, {})


@pytest.mark.parametrize("flow", [
    pytest.param(flow_of(peeked=True), id="a flow that is peeked at"),
    pytest.param(flow_of(midstream=True), id="a flow that began before the capture"),
    pytest.param(flow_of(protocol="UDP"), id="datagrams"),
    pytest.param(flow_of(watched=False), id="a port that nobody watches"),
    pytest.param(flow_of(packets_client=0), id="one side only"),
])
@pytest.mark.parametrize("kinds", [KINDS, KINDS | {"flow"}, frozenset({"flow"}), frozenset({"command"})])
def test_flows_of_all_kinds_are_read_alike(flow: Flow, kinds: frozenset[str]) -> None:
    compare((flow, chunks_of(SESSION), 1), (flow, [END], 1), kinds=kinds)
    compare((flow, [*chunks_of(SESSION), END], 1), kinds=kinds)
    compare((flow, [END], 1), kinds=kinds)


@pytest.mark.parametrize("pieces", [
    pytest.param([*chunks_of((GREETING,))], id="a greeting alone"),
    pytest.param([*chunks_of(((S, b"* OK "),))], id="half a greeting"),
    pytest.param([*chunks_of(((S, b"* BYE\r\n"),))], id="another greeting"),
    pytest.param([*chunks_of(LOGIN)], id="a client that speaks first"),
    pytest.param([StreamGap(S, 0, 3, 1, 1), *chunks_of(SESSION)], id="a gap at the begin"),
    pytest.param([StreamChunk(S, 7, GREETING[1], 1, 1)], id="a greeting that is not at the begin"),
    pytest.param([*chunks_of((GREETING, *LOGIN)), StreamGap(S, 900, 3, 1, 1), *chunks_of(SELECT)], id="a gap"),
    pytest.param([*chunks_of((GREETING, *LOGIN, *SELECT, *LOGOUT, (C, b"x\r\n")))], id="a client that goes on"),
    pytest.param([*chunks_of((GREETING, *LOGIN[:1]))], id="a command that is never answered"),
    pytest.param([*chunks_of((GREETING, *asked(b"STARTTLS", b"OK go"), (C, b"\x16\x03\x01")))], id="an upgrade"),
    pytest.param([*chunks_of((GREETING, *asked(b"FETCH 1 BODY[]", b"* 1 FETCH (BODY[] {2000}\r\n" + b"x" * 2000 + b")",
                                               b"OK done"), *LOGOUT))], id="a chunk that is read in parts"),
    pytest.param([*chunks_of((GREETING, *(part for _ in range(40) for part in asked(b"NOOP", b"OK done"))))],
                 id="more events than wait at once"),
])
def test_pieces_of_all_kinds_are_read_alike(pieces: list[Piece]) -> None:
    flow = flow_of()
    compare((flow, pieces, 1), (flow, [END], 1))
    compare((flow, [*pieces, END], 1))
    compare(*((flow, [piece], 1) for piece in pieces), (flow, [END], 1))


@pytest.mark.parametrize("flow", [
    pytest.param(flow_of(), id="an ordinary flow"),
    pytest.param(flow_of(peeked=True), id="a flow that is peeked at"),
    pytest.param(flow_of(midstream=True), id="a flow that began before the capture"),
])
@pytest.mark.parametrize("talk", [
    pytest.param(SESSION, id="a session"),
    pytest.param((GREETING,), id="a greeting alone"),
    pytest.param(((S, b"* OK "),), id="half a greeting"),
    pytest.param(LOGIN, id="a client that speaks first"),
    pytest.param((GREETING, *LOGIN[:1]), id="a command that is never answered"),
    pytest.param((GREETING, *LOGIN, *SELECT, *LOGOUT, (C, b"x\r\n")), id="a client that goes on"),
    pytest.param((GREETING, *asked(b"FETCH 1 BODY[]", b"* 1 FETCH (BODY[] {2000}\r\n" + b"x" * 2000 + b")", b"OK done"),
                  *LOGOUT), id="an answer that is read in parts"),
    pytest.param(((S, b"* OK " + b"x" * 1200 + b"\r\n"), *LOGIN), id="a greeting that is read in parts"),
])
@pytest.mark.parametrize("cuts", [None, 7, 1], ids=["whole", "in sevens", "byte by byte"])
def test_segments_of_which_no_chunks_are_made_are_read_alike(flow: Flow, talk: Talk, cuts: int | None) -> None:
    chunks = chunks_of(talk, cuts)
    compare((flow, late_of(chunks), 1), (flow, [END], 1))
    compare((flow, late_of(chunks[:1]), 1), (flow, late_of(chunks), 1), (flow, [END], 1))
    for place in range(1, len(chunks), 1 + len(chunks) // 3):
        compare((flow, late_of(chunks[:place]), 1), (flow, late_of(chunks[place:]), 1), (flow, [END], 1))


def test_a_session_in_segments_needs_no_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    flow, chunks = flow_of(), chunks_of(SESSION, [40, 60, 200])
    wanted = compare((flow, late_of(chunks), 1), (flow, [END], 1))
    for name in ("_begin", "_close_plain", "_tell_session"):
        monkeypatch.setattr(Pipeline, name, None)
    rows, _, sessions, still = told_of([(flow, late_of(chunks), 1), (flow, [END], 1)], compiled=True)
    assert rows == wanted
    assert (sessions, still) == ({"genuine": 1}, {})


@pytest.mark.parametrize("shift", [-10_000, -7, 1, 10_000, 2**62])
def test_segments_outside_of_the_batch_are_refused(shift: int) -> None:
    chunks = chunks_of((GREETING, *LOGIN))
    for some in (chunks, chunks[:1]):
        with pytest.raises(IndexError):
            told_of([(flow_of(), late_of(some, shift), 1)], compiled=True)


def test_what_follows_segments_is_read_alike() -> None:
    """The machine takes over behind them, from the last command and the tags that they left."""
    flow, talk = flow_of(), [GREETING, *LOGIN, *SELECT]
    end = chunks_of([*talk, (C, b"k9 NOOP\r\nk10 NO"), (S, b"k9 OK x\r\n")])[len(talk):]
    compare((flow, late_of(chunks_of(talk)), 1), (flow, end, 1), (flow, [END], 1))
    compare((flow, late_of(chunks_of(talk)), 1), (flow, late_of(end), 1), (flow, [END], 1))
    compare((flow, late_of(chunks_of(talk)), 1), (flow, [StreamGap(S, 900, 3, 1, 1)], 1), (flow, [END], 1))


def test_a_flow_that_was_peeked_at_and_greets_is_read_alike() -> None:
    peeked, greets = flow_of(peeked=True), flow_of()
    compare((peeked, chunks_of((GREETING,)), 1), (greets, chunks_of(SESSION), 1), (greets, [END], 1))
    assert type(told_of([(peeked, chunks_of((GREETING,)), 1)], compiled=True)[3][1]) is type(PeekedConversation)


TALK = st.builds(lambda turns, login, last: [GREETING, *(LOGIN if login else ()), *(p for turn in turns for p in turn),
                                             *(LOGOUT if last else ())],
                 st.lists(TURNS, max_size=5), st.booleans(), st.booleans())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(TALK, st.lists(st.integers(1, 900), max_size=4), st.booleans()), min_size=1, max_size=4),
       st.data())
def test_dialogues_that_come_mixed_are_read_alike(
        talks: list[tuple[Talk, list[int], bool]], data: st.DataObject) -> None:
    waiting: list[tuple[Flow, list[Piece], int]] = []
    updates: list[tuple[Flow, Pieces, int]] = []
    for number, (talk, cuts, over) in enumerate(talks):
        waiting.append((flow_of(number), [*chunks_of(talk, cuts), *([END] if over else [])], number))
    while waiting:
        place = data.draw(st.integers(0, len(waiting) - 1))
        flow, pieces, key = waiting.pop(place)
        size = data.draw(st.integers(1, len(pieces)))
        chunks = [piece for piece in pieces[:size] if isinstance(piece, StreamChunk)]
        late = late_of(chunks) if len(chunks) == size and data.draw(st.booleans()) else None
        updates.append((flow, late or pieces[:size], key))
        if pieces[size:]:
            waiting.insert(place, (flow, pieces[size:], key))
    compare(*updates, longest=data.draw(st.sampled_from((1_100, 1 << 20))), most=data.draw(st.integers(1, 30)))


def test_a_flood_of_events_comes_in_lots() -> None:
    """Reading stops at the first update behind which so many events wait."""
    flows = [(flow_of(number), [*chunks_of(SESSION), END], number) for number in range(9)]
    compare(*flows)
    reader = Pipeline(Limits(), kinds=KINDS)
    dialogues = reader._compiled()
    assert dialogues is not None
    waiting, events, known = [FlowUpdate(*update) for update in flows], [], []  # type: ignore[var-annotated]
    assert dialogues.take(waiting, events, known, 10) is None
    assert len(waiting) == 7
    assert len(events) == len(known) == 16  # four commands, a sign-in, two uses of a mailbox, a session
    assert dialogues.take(waiting, events, known, 10) is None
    assert dialogues.take(waiting, events, known, 1_000) is None
    assert not waiting


def test_what_was_read_is_let_go() -> None:
    """Chunks may be as long as a batch: they do not wait for the end of their dialogue."""
    reader = Pipeline(Limits(), kinds=KINDS)
    reader._take([FlowUpdate(flow_of(), [*chunks_of((GREETING, *LOGIN, *SELECT, *FETCH))], 1)])
    dialogue = reader._conversations[1]
    assert isinstance(dialogue, PlainDialogue)
    assert b"".join(said for side, said in dialogue.first_bytes() if side == S).startswith(GREETING[1])
    assert dialogue.heard is None
    assert all(type(part) is bytes for parts in dialogue.kept or () for part in parts)


@pytest.mark.parametrize("update", [
    pytest.param(None, id="nothing"),
    pytest.param((1, 2, 3), id="a tuple"),
    pytest.param(FlowUpdate(flow_of(), (), 1), id="pieces that are no list"),  # type: ignore[arg-type]
    pytest.param(FlowUpdate(None, [*chunks_of(SESSION)], 1), id="no flow"),  # type: ignore[arg-type]
    pytest.param(FlowUpdate(flow_of(), [*chunks_of(SESSION)], []), id="no key"),  # type: ignore[arg-type]
])
def test_other_things_than_updates_are_refused(update: Any) -> None:
    reader = Pipeline(Limits(), kinds=KINDS)
    dialogues = reader._compiled()
    assert dialogues is not None
    with pytest.raises(TypeError):
        dialogues.take([update], [], [], 10)


def test_odd_pieces_are_handed_back() -> None:
    reader = Pipeline(Limits(), kinds=KINDS)
    dialogues = reader._compiled()
    assert dialogues is not None
    for pieces in ([], [None], [StreamChunk(S, 0, None, 0, 0)], [StreamChunk(S, 0, "* OK x", 0, 0)]):  # type: ignore[arg-type]
        update = FlowUpdate(flow_of(), pieces, 1)  # type: ignore[arg-type]
        assert dialogues.take([update], [], [], 10) is update


PEEKED = st.sampled_from([
    StreamChunk(SERVER, 0, b"220 mail.example.org ESMTP Postfix\r\n", 5, 7),
    StreamChunk(SERVER, 0, b"+OK ready\r\n", 5, 7), StreamChunk(SERVER, 0, b"* OK IMAP4rev1\r\n", 5, 7),
    StreamChunk(CLIENT, 0, b"EHLO client\r\n", 6, 8), StreamChunk(CLIENT, 0, b"USER maria#mail.example.org\r\n", 6, 8),
    StreamChunk(SERVER, 40, b"250-STARTTLS\r\n250 AUTH PLAIN\r\n" * 60, 7, 9), StreamChunk(SERVER, 0, b"", 5, 7),
    StreamChunk(CLIENT, 0, b"\x16\x03\x01\x00\x40" + bytes(64), 5, 7), StreamGap(SERVER, 40, 9, 7, 9),
])
ENDS: st.SearchStrategy[list[Piece]] = st.sampled_from([[], [END]])


@given(st.lists(st.tuples(
    st.integers(1, 3), st.booleans(), st.lists(PEEKED, min_size=1, max_size=4), ENDS), max_size=12))
@settings(max_examples=150, deadline=None)
def test_conversations_that_are_peeked_at_tell_of_the_same_services(
        drawn: list[tuple[int, bool, list[Piece], list[Piece]]]) -> None:
    flows = {(key, peeked): flow_of(key, peeked=peeked) for key in range(4) for peeked in (True, False)}
    compare(*((flows[key, not greets], [*pieces, *end], key) for key, greets, pieces, end in drawn), most=3)


def test_peeked_conversations_need_none_of_the_python_code(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = flow_of(peeked=True, server_port=25)
    updates = [(flow, [StreamChunk(SERVER, 0, b"220 mail.example.org ESMTP Postfix\r\n", 5, 7)], 1),
               (flow, [StreamChunk(CLIENT, 0, b"EHLO client\r\n", 6, 8)], 1), (flow, [END], 1)]
    wanted = compare(*updates)
    for name in ("_begin", "_close_silent"):
        monkeypatch.setattr(Pipeline, name, None)
    monkeypatch.setattr(pipeline, "_longest", None)
    assert told_of(updates, compiled=True)[0] == wanted
    assert [row[0] for row in wanted] == ["service"]
