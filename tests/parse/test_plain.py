"""The law of the fast path: at any chunk, what it told and the machine that it hands over are the machine's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from helpers.imap_talk import (
    FETCH,
    GREETING,
    LOGIN,
    LOGOUT,
    SELECT,
    SESSION,
    C,
    S,
    Talk,
    chunks_of,
    hash_secret,
    join_chunks,
)
from helpers.plain_talk import ODD_TURNS, PLAIN_TURNS, TURNS, asked, damaged
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.config import DialogueLimits
from imapids.parse import ImapDialogue, PlainDialogue, PlainReader, plain_data, plain_turns
from imapids.parse.imap_lines import LineReader
from imapids.records.events import Event
from imapids.records.streams import Piece, StreamChunk, StreamEnd, StreamGap

LIMITS = DialogueLimits()
END = StreamEnd(10**12, 999, "fin", 1000)
LEFT_OVER = {"hash_secret", "limits", "events", "on_line", "facts_", "line_end"}
"""Attributes that hold no state of the dialogue, that are compared by themselves, or set anew for each line."""
STALE = {
    "capture": "skip",
    "held": "held_size",
    "held_packet": "held_size",
    "held_time_ns": "held_size",
    "held_offset": "held_size",
}
"""Attributes of a reader that mean something only while another one is set."""


def state_of(thing: Any) -> Any:
    """Everything that a machine remembers, by name, however deep."""
    if isinstance(thing, msgspec.Struct):
        return [(name, state_of(getattr(thing, name))) for name in thing.__struct_fields__]
    if isinstance(thing, dict):
        return [(key, state_of(value)) for key, value in thing.items()]
    if isinstance(thing, list | tuple):
        return [state_of(value) for value in thing]
    if thing is None or isinstance(thing, int | str | bytes | bytearray):
        return thing
    names = {name for cls in type(thing).__mro__ for name in vars(cls) if not name.startswith("__")}
    names |= set(getattr(thing, "__dict__", ()))
    found = {}
    for name in sorted(names - LEFT_OVER):
        if isinstance(getattr(type(thing), name, None), property) or callable(getattr(thing, name, None)):
            continue
        if not (isinstance(thing, LineReader) and name in STALE and not getattr(thing, STALE[name])):
            found[name] = state_of(getattr(thing, name, None))
    return found


class Plain:
    """A plain dialogue with its reader, and what was told of it."""

    def __init__(self, *, kinds: frozenset[str] | None = None, keep: int = 0) -> None:
        self.reader = PlainReader(LIMITS, hash_secret=hash_secret, kinds=kinds, keep=keep)
        self.dialogue = PlainDialogue()
        self.events: list[Event] = []
        self.known: list[int] = []

    def read(self, pieces: Sequence[Piece]) -> int:
        return self.reader.read(self.dialogue, pieces, self.events, self.known)

    def machine(self) -> ImapDialogue:
        return self.reader.machine(self.dialogue)


def events_of(talk: ImapDialogue | Plain) -> list[Any]:
    """(time, packet, class, fields) of each event."""
    rows = talk.events if isinstance(talk, ImapDialogue) else [
        (event.time_ns, event.packet, event.body) for event in talk.events]
    return [(time_ns, packet, type(body).__name__, msgspec.to_builtins(body)) for time_ns, packet, body in rows]


def machine_for(pieces: Sequence[StreamChunk | StreamGap]) -> ImapDialogue:
    """The machine after these pieces."""
    machine = ImapDialogue(LIMITS, hash_secret=hash_secret)
    for piece in pieces:
        if isinstance(piece, StreamGap):
            machine.gap(piece)
        else:
            machine.feed(piece)
    return machine


def compare(pieces: Sequence[StreamChunk | StreamGap], most: int | None = None) -> int:
    """Reads at most `most` pieces on the fast path and the rest with the machine; how many were plain."""
    plain = Plain()
    read = plain.read(pieces[:most])
    first = machine_for(pieces[:read])
    assert events_of(plain) == events_of(first)
    assert msgspec.to_builtins(plain.dialogue.facts) == msgspec.to_builtins(first.facts)
    assert all(known >= event.packet for known, event in zip(plain.known, plain.events, strict=True))
    machine = plain.machine()
    assert state_of(machine) == state_of(first)
    for piece in pieces[read:]:
        if isinstance(piece, StreamGap):
            machine.gap(piece)
        else:
            machine.feed(piece)
    machine.end(END)
    whole = machine_for(pieces)
    whole.end(END)
    assert events_of(plain) + events_of(machine) == events_of(whole)
    assert msgspec.to_builtins(machine.facts) == msgspec.to_builtins(whole.facts)
    assert state_of(machine) == state_of(whole)
    return read


def compare_everywhere(talk: Talk, cuts: Sequence[int] | None = None) -> int:
    """The same with a hand-over before each chunk; how many chunks are plain."""
    pieces = join_chunks(chunks_of(talk, cuts)) if cuts is not None else chunks_of(talk)
    for most in range(len(pieces)):
        compare(pieces, most)
    return compare(pieces)


@pytest.mark.parametrize("name", PLAIN_TURNS)
def test_plain_turns_are_read_on_the_fast_path(name: str) -> None:
    talk = (
        (GREETING, *LOGIN, *SELECT, *PLAIN_TURNS[name])
        if "login" not in name and name != "an empty password"
        else (GREETING, *PLAIN_TURNS[name])
    )
    assert compare_everywhere(talk) == len(talk)


def test_a_whole_session_is_plain() -> None:
    assert compare_everywhere(SESSION) == len(SESSION)


@pytest.mark.parametrize("name", ODD_TURNS)
def test_odd_turns_are_the_machine_s(name: str) -> None:
    compare_everywhere((GREETING, *ODD_TURNS[name], *LOGIN, *SELECT, *ODD_TURNS[name], *FETCH, *LOGOUT))


@pytest.mark.parametrize(
    "greeting",
    [
        b"* OK ready\r\n",
        b"* ok ready\r\n",
        b"* OK\r\n",
        b"* PREAUTH in\r\n",
        b"* BYE no\r\n",
        b"* OK a\r\n* 1 EXISTS\r\n",
        b"* OK a\n",
        b"* OK [CAPABILITY IMAP4rev1",
        b"a1 OK\r\n",
        b"\r\n",
        b"* OK Zm9vYmFyYmF6MTIzNDU2Nzg5MEFCQ0RFRkdISUpLTE1OT1BRUlNU\r\n",
    ],
)
def test_greetings(greeting: bytes) -> None:
    compare_everywhere(((S, greeting), *LOGIN, *SELECT))


def test_numbers_that_matter_are_not_remembered_as_others() -> None:
    for revision in (b"4", b"2", b"0", b"4"):
        compare_everywhere(
            (
                GREETING,
                *asked(b"CAPABILITY", b"* CAPABILITY IMAP" + revision + b"rev" + revision, b"OK x"),
                *asked(b"ID NIL", b'* ID ("name" "X' + revision + b'")', b"OK x"),
            )
        )


def test_packets_of_commands() -> None:
    chunks = [
        *chunks_of((GREETING,)),
        StreamChunk(C, 0, b"a1 NOOP\r\n", 20, 2, [4], [3], [30]),
        StreamChunk(S, len(GREETING[1]), b"* OK a fine\r\na1 OK done\r\n", 40, 4, [5, 13, 17], [5, 6, 7], [50, 60, 70]),
    ]
    plain = Plain()
    assert plain.read(chunks) == 3
    [event] = plain.events
    assert (event.time_ns, event.packet, plain.known, plain.dialogue.facts.completed_packet) == (20, 2, [7], 6)


def test_unwanted_kinds_are_not_told() -> None:
    for kind in ("command", "login", "message"):
        plain = Plain(kinds=frozenset((kind,)))
        plain.read(chunks_of(SESSION))
        assert {event.kind for event in plain.events} == {kind}
        assert {type(event.body).__name__.lower() for event in plain.events} == {kind}


@settings(max_examples=120, deadline=None)
@given(st.lists(TURNS, max_size=8), st.lists(st.integers(1, 1500), max_size=12), st.booleans(), st.integers(0, 30))
def test_any_talk_in_any_cut(turns: list[Talk], cuts: list[int], login: bool, most: int) -> None:
    talk = [GREETING, *(LOGIN if login else ()), *(part for turn in turns for part in turn)]
    for pieces in (chunks_of(talk, cuts), join_chunks(chunks_of(talk, cuts))):
        compare(pieces)
        compare(pieces, most)


@settings(max_examples=80, deadline=None)
@given(st.lists(TURNS, max_size=5), st.integers(0, 2000), st.binary(min_size=1, max_size=6), st.booleans())
def test_any_damage(turns: list[Talk], place: int, put: bytes, replace: bool) -> None:
    talk = [GREETING, *LOGIN, *SELECT, *(part for turn in turns for part in turn)]
    compare(chunks_of(damaged(talk, place, put, replace)))


@settings(max_examples=40, deadline=None)
@given(st.lists(TURNS, min_size=1, max_size=5), st.integers(1, 12))
def test_a_hole_anywhere(turns: list[Talk], place: int) -> None:
    chunks: list[StreamChunk | StreamGap] = [*chunks_of([GREETING, *LOGIN, *(part for turn in turns for part in turn)])]
    place = min(place, len(chunks) - 1)
    gone = chunks[place]
    assert isinstance(gone, StreamChunk)
    chunks[place] = StreamGap(gone.side, gone.offset, len(gone.data), gone.time_ns, gone.packet)
    compare(chunks)


@pytest.mark.parametrize("cut", [False, True])
def test_first_bytes_of_both_sides_are_kept_in_order(cut: bool) -> None:
    plain = Plain(keep=100)
    chunks = chunks_of(SESSION)
    for part in ([chunk] for chunk in chunks) if cut else [chunks]:
        plain.read(part)
    for side in (C, S):
        whole = b"".join(data for each, data in SESSION if each == side)
        assert b"".join(data for each, data in plain.dialogue.first_bytes() if each == side) == whole[:100]
    assert [*plain.dialogue.first_bytes()][:2] == [GREETING, LOGIN[0]]


def test_short_talk_is_kept_as_it_came() -> None:
    plain = Plain(keep=1 << 20)
    plain.read(chunks_of(SESSION))
    assert [*plain.dialogue.first_bytes()] == [*SESSION]


@pytest.mark.parametrize("words", [(b"RFC823", b"RFC822"), (b"RFC822", b"RFC823"), (b"UID 7 RFC822", b"UID 7 RFC821")])
def test_a_word_with_digits_is_not_another_one(words: tuple[bytes, bytes]) -> None:
    turns = [asked(b"FETCH 1 RFC822", b"* 1 FETCH (" + word + b" {12}\r\nAAAAAAAAAAAA)", b"OK done") for word in words]
    compare_everywhere((GREETING, *LOGIN, *SELECT, *turns[0], *turns[1]))


@pytest.mark.parametrize(
    "answer",
    [
        b"* 4 EXISTSX\nk1 OK done\r\n",
        b"* 4 EXISTS\r\nk1 OK done\n",
        b"* OK said k1 OK done\r\n",
        b"* 4 EXISTS\r\n* OK said k1 OK done\r\n",
        b"k1 OK NOOP of k1 done\r\n",
        b"* 4 EXISTS\r\nk1 OK\r\n",
        b"k1 OK done\r\n* 4 EXISTS\r\n",
        b"* 4 EXISTS {3}\r\n",
        b"* BYE\r\nk1 OK done\r\n",
        b"k1 \r\n",
        b"k1 ",
        b"k1 OK " + b"word " * 900 + b"\r\n",
    ],
)
def test_answers_that_look_like_others(answer: bytes) -> None:
    for _ in range(2):  # from the text, and from what is remembered of it
        compare_everywhere((GREETING, *LOGIN, *SELECT, (C, b"k1 NOOP\r\n"), (S, answer), *FETCH))


def test_limits_that_are_shorter_than_plain_lines_leave_all_to_the_machine() -> None:
    reader = PlainReader(DialogueLimits(line_bytes=512), hash_secret=hash_secret)
    assert reader.read(PlainDialogue(), chunks_of(SESSION), [], []) == 0


def test_tags_of_a_long_dialogue_are_those_that_the_machine_remembers() -> None:
    turns = [asked(b"NOOP", b"OK done", tag=b"t%d" % (number % 70)) for number in range(150)]
    talk = (GREETING, *(part for turn in turns for part in turn))
    assert compare(chunks_of(talk)) == len(talk)


@pytest.mark.parametrize(
    ("known", "other"),
    [
        pytest.param(b"* 5 FETCH (BODY[] {20}\r\nFrom: a@b\r\n\r\nhello!!)\r\nk1 OK x\r\n",
                     b"* 5 FETCH (BODY[] {20}\r\n)\r\nk1 OK x\r\n", id="a literal that is not there"),
        pytest.param(b"* 5 FETCH (BODY[] {20}\r\nFrom: a@b\r\n\r\nhello!!)\r\nk1 OK x\r\n",
                     b"* 6 FETCH (BODY[] {14}\r\nFrom: a@b\r\n\r\n!)\r\nk1 OK x\r\n", id="another message"),
        pytest.param(b"k1 OK x\r\n", b"OK x\r\n", id="no tag"),
        pytest.param(b"k1 OK x\r\n", b"k1OK x\r\n", id="no space"),
        pytest.param(b"k1 OK x\r\n", b"k2 OK x\r\n", id="another tag"),
        pytest.param(b"k1 OK x\r\n", b"* OK k1 OK x\r\n", id="a tag inside of a line"),
        pytest.param(b"* 1 FETCH (RFC822.SIZE 4)\r\nk1 OK x\r\n", b"* 1 FETCH (RFC823.SIZE 4)\r\nk1 OK x\r\n",
                     id="a digit of a word"),
        pytest.param(b"* ENABLED CONDSTORE\r\nk1 OK x\r\n", b"* ENABLED CONDSTORE\r\nk1 OK y\r\n", id="another text"),
    ],
)
def test_a_remembered_turn_is_no_other(known: bytes, other: bytes) -> None:
    for first, second in ((known, other), (other, known)):
        turns = [(C, b"k1 FETCH 5 BODY[]\r\n"), (S, first), (C, b"k1 FETCH 5 BODY[]\r\n"), (S, second)]
        compare_everywhere((GREETING, *LOGIN, *SELECT, *turns, *LOGOUT))


def test_a_turn_that_is_plain_in_one_state_is_not_in_another() -> None:
    turn = asked(b"NOOP", b"* 4 EXISTS", b"OK done")
    compare_everywhere((GREETING, *LOGIN, *SELECT, *turn))
    assert compare_everywhere((GREETING, *turn)) == 2


def test_commands_and_answers_that_differ_in_numbers_are_read_once() -> None:
    plain_turns.WHOLE_TURNS.clear()
    turns = [
        (
            (C, b"k%d UID FETCH %d (FLAGS BODY.PEEK[HEADER.FIELDS (DATE)])\r\n" % (number, 1000 + number)),
            (S, b"* %d FETCH (UID %d FLAGS ())\r\nk%d OK Fetch completed (0.00%d + 0.000 secs).\r\n"
             % (number, 1000 + number, number, number)),
        )
        for number in range(1, 10)
    ]
    talk = (GREETING, *LOGIN, *SELECT, *(part for turn in turns for part in turn))
    plain = Plain()
    assert plain.read(chunks_of(talk)) == len(talk)
    assert [event.body.arguments for event in plain.events if getattr(event.body, "name", "") == "UID FETCH"] == [
        f"{1000 + number} (FLAGS BODY.PEEK[HEADER.FIELDS (DATE)])" for number in range(1, 10)]
    assert len(plain_turns.WHOLE_TURNS) == 3  # LOGIN, SELECT, FETCH
    assert compare_everywhere(talk) == len(talk)


@pytest.mark.parametrize("other", [
    pytest.param(b"k1 * 4 EXISTS\r\nOK done\r\n", id="the tag before the responses"),
    pytest.param(b"* 4 EXISTS\rk1 \nOK done\r\n", id="the tag inside a line end"),
    pytest.param(b"* 4 EXISTS\r\nk1 OK done\r\nk1 OK done\r\n", id="two completions"),
    pytest.param(b"* 4 EXISTS\r\nk10 OK done\r\n", id="a longer tag"),
    pytest.param(b"* 4 EXISTS\r\n k1 OK done\r\n", id="a blank before the tag"),
])
def test_the_same_words_in_another_order_are_no_known_turn(other: bytes) -> None:
    known = ((C, b"k1 NOOP\r\n"), (S, b"* 4 EXISTS\r\nk1 OK done\r\n"))
    compare_everywhere((GREETING, *LOGIN, *SELECT, *known, *known, (C, b"k1 NOOP\r\n"), (S, other), *FETCH))


def test_what_many_lines_fill_is_emptied() -> None:
    plain = Plain()
    plain.read(chunks_of((GREETING, *LOGIN, *SELECT)))
    for number in range(9_000):
        for memo in (plain_turns.ORDERS, plain_turns.ORDERS_ALIKE, plain_turns.ANSWERS, plain_turns.ANSWERS_ALIKE,
                     plain_data.ALIKE, plain_data.EXACT, plain_turns.TURNS, plain_turns.WHOLE_TURNS):
            assert len(memo) <= 4_096
        word = bytes(97 + (number >> 4 * place) % 16 for place in range(4))
        turn = ((C, b"k1 LIST %s *\r\n" % word), (S, b"k1 OK %s\r\n" % word))
        plain.reader.read(plain.dialogue, chunks_of(turn), [], [])
    assert plain.dialogue.completed == 9_002
