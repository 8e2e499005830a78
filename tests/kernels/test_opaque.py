"""The loop over encrypted records: it leaves a conversation in the state in which Python leaves it."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from helpers.tls_talk import contexts, make_certificate, talk
from helpers.told import a_flow
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids import kernels
from imapids.config import DialogueLimits
from imapids.parse import ImapDialogue
from imapids.parse.tls import TlsSide, TlsStream
from imapids.pipeline import conversation as conversations
from imapids.pipeline.conversation import Conversation
from imapids.pipeline.prefix import Prefix
from imapids.pipeline.turns import TurnRecorder
from imapids.records.streams import CLIENT, SERVER, Piece, StreamChunk, StreamEnd, StreamGap

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")

LIMITS = DialogueLimits(sniff_bytes=2_048)
Flights = list[tuple[int, bytes]]


@lru_cache(maxsize=4)
def flights_of(version: ssl.TLSVersion) -> Flights:
    with TemporaryDirectory() as folder:
        return talk(*contexts(*make_certificate(Path(folder)), version), sni="mail.example.org")[0]


def record(kind: int, size: int) -> bytes:
    return bytes((kind, 3, 3)) + size.to_bytes(2, "big") + bytes(size)


MORE = [
    (CLIENT, record(23, 40)), (SERVER, record(23, 900) + record(23, 0) + record(23, 3)), (SERVER, record(23, 16_000)),
    (CLIENT, record(22, 60)), (SERVER, record(20, 1) + record(23, 5)), (CLIENT, record(24, 9)),
    (SERVER, record(21, 26)), (CLIENT, record(23, 30)[:20]), (CLIENT, record(23, 30)[20:]), (SERVER, b""),
    (CLIENT, record(21, 26)),
]
STARTTLS = [
    (SERVER, b"* OK IMAP4rev1 ready\r\n"), (CLIENT, b"a STARTTLS\r\n"), (SERVER, b"a OK go ahead\r\n"),
]


def pieces_of(flights: Flights, sizes: list[int], joined: int) -> list[Piece]:
    """Flights as chunks of such sizes, of which every so many are made of two packets."""
    pieces: list[Piece] = []
    at, number, taken = [0, 0], 0, 0
    for side, data in flights:
        position = 0
        while position < len(data) or not data:
            size, taken, number = sizes[taken % len(sizes)], taken + 1, number + 2
            part = data[position : position + size]
            chunk = StreamChunk(side, at[side], part, number * 10**9, number)
            if len(part) > 1 and taken % joined == 0:
                half = len(part) // 2
                chunk.starts, chunk.packets, chunk.times = [half], [number + 1], [(number + 1) * 10**9]
            pieces.append(chunk)
            at[side] += len(part)
            position += size
            if not data:
                break
    return pieces


def state_of(conversation: Conversation) -> Any:
    """Everything that a conversation holds."""

    def plain(thing: object) -> Any:
        if isinstance(thing, Conversation | TurnRecorder | TlsSide | Prefix):
            return {name: plain(getattr(thing, name)) for name in type(thing).__slots__ if name not in (
                "dialogue", "flow", "messages", "_limits")}
        if isinstance(thing, TlsStream):
            return plain(thing.facts), plain(thing.sides), plain(thing.events)
        if isinstance(thing, msgspec.Struct):
            return msgspec.to_builtins(thing, builtin_types=(bytes, bytearray))
        return [plain(each) for each in thing] if isinstance(thing, list | tuple) else thing

    return plain(conversation)


def fed(pieces: list[Piece], batch: int, monkeypatch: pytest.MonkeyPatch, *, compiled: bool, protocol: str = "TCP",
        midstream: bool = False) -> Any:
    conversation = Conversation(a_flow(protocol=protocol, midstream=midstream), LIMITS, None)
    with monkeypatch.context() as patch:
        patch.setattr(kernels, "COMPILED", compiled)
        for start in range(0, len(pieces), batch):
            conversation.feed(pieces[start : start + batch])
        seen = state_of(conversation)
        conversation.feed([StreamEnd(10**15, 10**6, "fin", known=10**6)])
    return seen, state_of(conversation)


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many chunks each call of the loop took."""
    taken: list[int] = []
    loop = conversations._opaque_records()

    class Counting:
        def pass_over(self, pieces: list[Piece], at: int, *rest: Any) -> int:
            after = loop.pass_over(pieces, at, *rest)
            taken.append(after - at)
            return after

    monkeypatch.setattr(conversations, "_opaque_records", Counting)
    return taken


@pytest.mark.parametrize(
    ("flights", "protocol"),
    [
        pytest.param([], "TCP", id="TLS from the first byte: turns are recorded"),
        pytest.param(STARTTLS, "TCP", id="TLS after STARTTLS: turns are not recorded"),
    ],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_most_chunks_of_a_connection_are_passed_over(flights: Flights, protocol: str, version: ssl.TLSVersion,
                                                     monkeypatch: pytest.MonkeyPatch, passed: list[int]) -> None:
    pieces = pieces_of([*flights, *flights_of(version), *MORE * 3], [1 << 20], 3)
    for batch in (1, 4, 1_000):
        assert fed(pieces, batch, monkeypatch, compiled=True, protocol=protocol) == fed(
            pieces, batch, monkeypatch, compiled=False, protocol=protocol)
    assert sum(passed) > len(pieces)  # of three readings


@given(st.sampled_from(([], STARTTLS)), st.sampled_from((ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)),
       st.lists(st.integers(1, 4_000), min_size=1, max_size=8), st.integers(1, 4), st.integers(1, 60), st.data())
@settings(max_examples=80, deadline=None)
def test_whatever_comes_leaves_the_same_state(begin: Flights, version: ssl.TLSVersion, sizes: list[int], joined: int,
                                              batch: int, data: st.DataObject) -> None:
    flights = [*begin, *flights_of(version), *data.draw(st.lists(st.sampled_from(MORE), max_size=30))]
    pieces = pieces_of(flights, sizes, joined)
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(pieces) - 1))
        piece = pieces[place]
        if type(piece) is not StreamChunk:
            continue
        if data.draw(st.booleans()):
            pieces[place] = StreamGap(piece.side, piece.offset, len(piece.data), piece.time_ns, piece.packet)
        elif piece.data:
            at = data.draw(st.integers(0, len(piece.data) - 1))
            piece.data = piece.data[:at] + data.draw(st.binary(min_size=1, max_size=1)) + piece.data[at + 1 :]
    midstream = data.draw(st.booleans())
    with pytest.MonkeyPatch.context() as patch:
        assert fed(pieces, batch, patch, compiled=True, midstream=midstream) == fed(
            pieces, batch, patch, compiled=False, midstream=midstream)


@pytest.mark.parametrize(
    "wrong", [
        pytest.param({"facts": None}, id="no facts"),
        pytest.param({"turns": object()}, id="no recorder"),
        pytest.param({"prefix": {}}, id="no prefix"),
        pytest.param({"sides": (None, None)}, id="no states"),
        pytest.param({"sides": ()}, id="no state of this side"),
        pytest.param({"seen": []}, id="no count of this side"),
    ],
)
def test_other_things_are_refused(wrong: dict[str, Any]) -> None:
    stream = TlsStream(LIMITS)
    stream.facts.application_data = stream.facts.choice_offered = stream.facts.encrypted_client = True
    given = {"sides": stream.sides, "facts": stream.facts, "turns": TurnRecorder(LIMITS), "prefix": Prefix(LIMITS),
             "seen": [1, 1], **wrong}
    with pytest.raises((TypeError, IndexError)):
        conversations._opaque_records().pass_over(
            [StreamChunk(CLIENT, 0, record(23, 5), 0, 1)], 0, given["sides"], given["facts"], given["turns"], True,
            given["prefix"], given["seen"])


def test_nothing_is_taken_of_a_datagram(monkeypatch: pytest.MonkeyPatch, passed: list[int]) -> None:
    pieces = pieces_of([*flights_of(ssl.TLSVersion.TLSv1_2), *MORE], [1 << 20], 3)
    assert fed(pieces, 5, monkeypatch, compiled=True, protocol="UDP") == fed(
        pieces, 5, monkeypatch, compiled=False, protocol="UDP")
    assert not passed


def test_a_dialogue_that_was_read_before_goes_on() -> None:
    """The state of IMAP stays as it was when the connection was handed over."""
    conversation = Conversation(a_flow(), LIMITS, None)
    conversation.feed(pieces_of([*STARTTLS, *flights_of(ssl.TLSVersion.TLSv1_2), *MORE], [1 << 20], 3))
    assert isinstance(conversation.dialogue, ImapDialogue)
    assert conversation.dialogue.facts.starttls == "accepted"
    assert conversation.turns.count == 0
