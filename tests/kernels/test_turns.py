"""Turns of plain dialogues: the compiled reader tells what the Python code tells, and leaves the same behind."""

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

from imapids import kernels
from imapids.config import DialogueLimits
from imapids.parse import PlainDialogue, PlainReader
from imapids.records.streams import Piece, StreamChunk, StreamEnd, StreamGap

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")

LIMITS = DialogueLimits()
OF_THE_LAST_COMMAND = {"login", "tag", "asked_state"}
"""They mean something only while a command waits for its completion."""


def told_of(parts: Sequence[list[Piece]], *, compiled: bool, kinds: frozenset[str] | None = None,
            keep: int = 0) -> tuple[Any, ...]:
    """What a reader makes of a dialogue that comes in parts: pieces read of each, events, and the state at the end."""
    reader = PlainReader(LIMITS, hash_secret=hash_secret, kinds=kinds, keep=keep)
    dialogue = PlainDialogue(direction="inbound")
    events: list[Any] = []
    known: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "COMPILED", compiled)
        counts = []
        for part in parts:
            counts.append(reader.read(dialogue, part, events, known))
            if counts[-1] < len(part):
                break
    rows = [(event.kind, event.time_ns, event.packet, event.known_ns, type(event.body), msgspec.to_builtins(event.body))
            for event in events]
    state = {name: getattr(dialogue, name) for name in PlainDialogue.__slots__
             if dialogue.waiting is not None or name not in OF_THE_LAST_COMMAND}
    tally = state.pop("tally")
    login = state.pop("login", None)
    return (counts, rows, known, state, None if tally is None else [getattr(tally, name) for name in tally.__slots__],
            None if login is None else login.groups(), msgspec.to_builtins(dialogue.facts))


def compare(pieces: Sequence[Piece], **options: Any) -> list[int]:
    """Reads a dialogue both ways, whole and piece by piece, when its texts are new and when they are remembered."""
    for parts in ([[*pieces]], [[piece] for piece in pieces], [[*pieces[:3]], [*pieces[3:]]] if pieces[3:] else []):
        for _ in range(2):
            compiled = told_of(parts, compiled=True, **options)
            assert compiled == told_of(parts, compiled=False, **options)
    return compiled[0]


@pytest.mark.parametrize("turn", [
    *(pytest.param(turn, id=name) for name, turn in PLAIN_TURNS.items()),
    *(pytest.param(turn, id=name) for name, turn in ODD_TURNS.items()),
])
def test_a_turn_is_read_alike(turn: Talk) -> None:
    compare(chunks_of((GREETING, *turn, *LOGIN, *turn, *SELECT, *turn, *FETCH, *turn, *LOGOUT)))


def test_remembered_turns_need_none_of_the_python_code(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[Piece] = [*chunks_of(SESSION)]
    told_of([pieces], compiled=True)
    for name in ("_read_piece", "_read_known", "_settle", "_complete"):
        monkeypatch.setattr(PlainReader, name, None)
    assert told_of([pieces], compiled=True)[0] == [len(SESSION)]


@pytest.mark.parametrize("line", [
    pytest.param(b"LOGIN bob hunter2", id="atoms"),
    pytest.param(b'login "bob smith" "s3cret word"', id="quoted words"),
    pytest.param(b'LoGiN "bob" hunter2', id="odd capitals"),
    pytest.param(b'LOGIN bob ""', id="an empty password"),
    pytest.param(b'LOGIN "" ""', id="nothing at all"),
    pytest.param(b"LOGIN b\"ob hunter2", id="a quote inside of an atom"),
    pytest.param(b'LOGIN "bob hunter2', id="a quote that is not closed"),
    pytest.param(b'LOGIN "bob"x hunter2', id="a byte behind a quote"),
    pytest.param(b'LOGIN "bob" "hunter2"x', id="a byte behind the last quote"),
    pytest.param(b'LOGIN "bob" "hunter2" x', id="three words"),
    pytest.param(b"LOGIN bob", id="one word"),
    pytest.param(b"LOGIN  bob hunter2", id="two blanks"),
    pytest.param(b"LOGIN bob hunter2 ", id="a blank at the end"),
    pytest.param(b"LOGIN ../bob hunter2", id="a path"),
    pytest.param(b"LOGIN bob hunter..", id="two dots at the end"),
    pytest.param(b"LOGIN bob. .hunter", id="two dots apart"),
    pytest.param(b"LOGIN bo%n hunter2", id="a format string"),
    pytest.param(b'LOGIN "b\\"ob" "hunter2"', id="an escaped quote"),
    pytest.param(b"LOGIN b\xf6b hunter2", id="an 8-bit byte"),
    pytest.param(b"LOGIN b\x00b hunter2", id="a zero"),
    pytest.param(b"LOGIN " + b"b" * 200 + b" hunter2", id="the longest name that is shown"),
    pytest.param(b"LOGIN " + b"b" * 201 + b" hunter2", id="a longer name"),
    pytest.param(b"LOGIN " + b"b" * 1_001 + b" hunter2", id="a line of just so many bytes"),
    pytest.param(b"LOGIN " + b"b" * 5_000 + b" hunter2", id="a line of very many"),
    pytest.param(b"LOGIN {3}", id="a literal"),
    pytest.param(b"\xcc\xcfGIN bob hunter2", id="letters with another bit"),
])
@pytest.mark.parametrize("answer", [b"OK in", b"NO [AUTHENTICATIONFAILED] no", b"BAD what"])
def test_a_sign_in_is_read_alike(line: bytes, answer: bytes) -> None:
    turn = asked(line, answer)
    compare(chunks_of((GREETING, *turn, *turn, *SELECT)))


@pytest.mark.parametrize("tag", [
    pytest.param(b"a" * 63, id="the longest"),
    pytest.param(b"a" * 64, id="too long"),
    pytest.param(b"A-1.x~", id="signs"),
    pytest.param(b"a+", id="a plus"),
    pytest.param(b"a\xe4", id="an 8-bit byte"),
    pytest.param(b"", id="none"),
    pytest.param(b"*", id="a star"),
])
def test_a_tag_is_read_alike(tag: bytes) -> None:
    turn = asked(b"NOOP", b"OK done", tag=tag)
    compare(chunks_of((GREETING, *asked(b"NOOP", b"OK done"), *turn, *turn)))


def body_of(*literals: bytes, rest: bytes = b"") -> bytes:
    """A FETCH response with such parts."""
    parts = b" ".join(b"BODY[%d] {%d}\r\n%b" % (number, len(data), data) for number, data in enumerate(literals, 1))
    return b"* 1 FETCH (" + parts + rest + b")"


@pytest.mark.parametrize("response", [
    pytest.param(body_of(b""), id="empty"),
    pytest.param(body_of(b"}\r\n{3}\r\nabc"), id="what looks like a literal inside of one"),
    pytest.param(body_of(*[b"x"] * 40), id="many"),
    pytest.param(body_of(*[b"x"] * 300), id="more than are remembered"),
    pytest.param(body_of(b"x", rest=b" FLAGS (" + b"a" * 2_000 + b")"), id="more text than is remembered"),
    pytest.param(body_of(b"x" * 100_000), id="a long one"),
    pytest.param(b"* 1 FETCH (BODY[] {99999}\r\nabc)", id="a lie"),
    pytest.param(b"* 1 FETCH (BODY[] {9999999999}\r\nabc)", id="too many digits"),
    pytest.param(b"* 1 FETCH (BODY[] {}\r\nabc)", id="no digits"),
    pytest.param(b"* 1 FETCH (BODY[] {3}\nabc)", id="half a line end"),
    pytest.param(b"* 1 FETCH (BODY[] {{3}\r\nabc)", id="two braces"),
    pytest.param(b"* 1 FETCH (FLAGS ({x}))", id="braces without digits"),
    pytest.param(b"* 1 FETCH (FLAGS (" + b"{" * 900 + b"})", id="many braces"),
    pytest.param(b"* 1 FETCH (FLAGS (" + b"a" * 1_200 + b"))", id="a long line"),
    pytest.param(b"* 1 FETCH (BODY[] {12}\r\n\n > From x\r\ny)", id="a body with blanks before its header"),
    pytest.param(b"* 1 FETCH (BODY[] {9}\r\nReceived:)", id="a body that is one word"),
    pytest.param(b"* 1 FETCH (BODY[] {8}\r\nReceived)", id="a body that is half a word"),
])
def test_literals_are_left_out_alike(response: bytes) -> None:
    turn = asked(b"FETCH 1 BODY[]", response, b"OK done")
    compare(chunks_of((GREETING, *LOGIN, *SELECT, *turn, *turn, *LOGOUT)))


@pytest.mark.parametrize("count", [b"0", b"17", b"999999999", b"9999999999", b"12345678901234567890"])
def test_numbers_of_messages_are_read_alike(count: bytes) -> None:
    turn = asked(b"SELECT INBOX", b"* " + count + b" EXISTS", b"OK [READ-WRITE] done")
    compare(chunks_of((GREETING, *LOGIN, *turn, *turn, *asked(b"NOOP", b"* " + count + b" EXISTS", b"OK done"))))


@pytest.mark.parametrize("cuts", [
    pytest.param(([4], [3], [30]), id="two packets"),
    pytest.param(([1, 13, 17, 18], [5, 6, 7, 9], [50, 60, 70, 65]), id="many, one of them late"),
    pytest.param(([16], [5], [50]), id="a packet that begins with the completion"),
    pytest.param(([17], [5], [50]), id="a packet that begins behind it"),
    pytest.param(([], [], []), id="none"),
])
def test_packets_and_times_are_found_alike(cuts: tuple[list[int], list[int], list[int]]) -> None:
    command = StreamChunk(C, 0, b"a1 NOOP\r\n", 40, 2, [4], [3], [45])
    answer = StreamChunk(S, len(GREETING[1]), b"* OK it is fine\r\na1 OK done\r\n", 40, 4, *cuts)
    pieces = [*chunks_of((GREETING,)), command, answer]
    if cuts[0]:
        compare(pieces)
    answer.starts = None
    if cuts[0]:
        compare(pieces)


@pytest.mark.parametrize("kind", ["command", "login", "message", "session"])
def test_unwanted_kinds_are_left_out_alike(kind: str) -> None:
    compare(chunks_of(SESSION), kinds=frozenset((kind,)))


@pytest.mark.parametrize("keep", [1, 100, 1_000, 1 << 20])
def test_first_bytes_are_kept_alike(keep: int) -> None:
    compare(chunks_of(SESSION), keep=keep)


def test_tags_of_a_long_dialogue_are_forgotten_alike() -> None:
    turns = [asked(b"NOOP", b"OK done", tag=b"t%d" % (number % 300)) for number in range(600)]
    compare(chunks_of((GREETING, *(part for turn in turns for part in turn))))


@pytest.mark.parametrize("piece", [
    pytest.param(StreamGap(S, 9, 3, 1, 1), id="a gap"),
    pytest.param(StreamEnd(1, 1, "fin"), id="the end"),
    pytest.param(StreamChunk(S, 9, b"", 1, 1), id="a chunk without bytes"),
    pytest.param(StreamChunk(C, 9, b"", 1, 1), id="a command without bytes"),
])
@pytest.mark.parametrize("place", range(5))
def test_what_is_no_turn_is_left_alone(piece: Piece, place: int) -> None:
    pieces: list[Piece] = [*chunks_of((GREETING, *LOGIN, *SELECT))]
    compare([*pieces[:place], piece, *pieces[place:]])


@settings(max_examples=60, deadline=None)
@given(st.lists(TURNS, max_size=8), st.lists(st.integers(1, 1500), max_size=12), st.booleans(), st.integers(0, 300))
def test_any_talk_in_any_cut_is_read_alike(turns: list[Talk], cuts: list[int], login: bool, keep: int) -> None:
    talk = [GREETING, *(LOGIN if login else ()), *(part for turn in turns for part in turn)]
    for pieces in (chunks_of(talk), chunks_of(talk, cuts), join_chunks(chunks_of(talk, cuts))):
        compare(pieces, keep=keep)


@settings(max_examples=60, deadline=None)
@given(st.lists(TURNS, max_size=5), st.integers(0, 2000), st.binary(min_size=1, max_size=6), st.booleans())
def test_any_damage_is_read_alike(turns: list[Talk], place: int, put: bytes, replace: bool) -> None:
    talk = [GREETING, *LOGIN, *SELECT, *(part for turn in turns for part in turn)]
    compare(chunks_of(talk))
    compare(chunks_of(damaged(talk, place, put, replace)))


def test_a_hasher_that_fails_leaves_the_dialogue_readable() -> None:
    def fail(user: bytes, secret: bytes) -> tuple[str, list[str]]:
        raise RuntimeError("no key")

    reader, dialogue, events = PlainReader(LIMITS, hash_secret=fail), PlainDialogue(), []
    compare(chunks_of((GREETING, *LOGIN)))
    with pytest.raises(RuntimeError, match="no key"):
        reader.read(dialogue, [*chunks_of((GREETING, *LOGIN))], events, [])
    assert dialogue.facts.logins == 0
    assert [msgspec.to_builtins(event.body)["name"] for event in events] == ["LOGIN"]


def test_other_things_than_records_are_refused() -> None:
    reader = PlainReader(LIMITS)
    turns = reader._compiled()
    pieces: list[Piece] = [*chunks_of((GREETING, *LOGIN))]
    for plain in (object(), None, pieces[0]):
        with pytest.raises(TypeError):
            turns.read(plain, pieces, 0, [], [])
        with pytest.raises(TypeError):
            turns.settle(plain, pieces, 0)
    with pytest.raises(TypeError):
        turns.read(PlainDialogue(), (), 0, [], [])  # type: ignore[arg-type]  # no list
    assert turns.read(PlainDialogue(), pieces, 99, [], []) == 99
    assert turns.read(PlainDialogue(), [], 0, [], []) == 0
    odd = StreamChunk(S, 0, memoryview(GREETING[1]), 1, 1)  # type: ignore[arg-type]  # no bytes
    assert turns.read(PlainDialogue(), [odd], 0, [], []) == 0


class Slots:
    """A class with slots."""

    __slots__ = ("one", "two")


class MoreSlots(Slots):
    """A class that inherits some."""

    __slots__ = ("three",)


def test_places_of_slots_are_those_that_a_function_asks_for() -> None:
    layout = kernels.events.Layout(Slots, ("two",))
    assert layout.names == ("two", "one")
    assert layout.makes
    for wrong in (lambda: kernels.events.Layout(Slots, ("three",)), lambda: kernels.events.Layout(MoreSlots)):
        with pytest.raises(TypeError):
            wrong()
