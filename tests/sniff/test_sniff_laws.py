"""Laws of the sniffer: it never changes its mind, it never raises, and how bytes were cut does not matter."""

from __future__ import annotations

from helpers.openings import Turn, growing, s, talk
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imapids.records.candidates import Candidate, Opening
from imapids.sniff import sniff

# Bytes that make probes begin to believe: random ones are turned away at the first byte.
SEEDS = (
    b"* OK ready\r\n",
    b"* O",
    b"a1 NOOP\r\n",
    b"a1 OK done\r\n",
    b"+ go\r\n",
    b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03",
    b"\x15\x03\x01\x00\x02\x02\x28",
    b"\x17\x03\x03\x00\x04abcd",
    b"SSH-2.0-x\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"220 mx ESMTP\r\n",
    b"EHLO a\r\n",
    b"+OK\r\n",
    b"USER a\r\n",
    b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00",
    b"\x05\x01\x00",
    b"\x05\x00",
    b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
    b"N",
    b"*1\r\n$4\r\nPING\r\n",
    b"+PONG\r\n",
    b"\x40\x00\x00\x00",
    b"\x00\x00\x00\x08abcdefgh",
    b"24\x00ll|'|'|a|'|'|",
    b"uid=0(root) gid=0(root)\n",
    b"id\n",
    b"b2sgMA==\r\n",
    b'{"id": 1, "cmd": "x"}\n',
    b"MZ\x90\x00\x03\x00\x00\x00",
    b"\x01\x00\x00\x00\x00\x00\x10\x00\x0a\x00\x0a",
    b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02ab",
    b"0\x0c\x02\x01\x01",
    b"\xff\xfd\x18",
    b"\x68\x04\x07\x00\x00\x00",
    b"Magic\x21\x00\x00\x00\xb4\x00\x00\x00\x78\x9c",
    b"\x00\x01n",
    b"\x00\x00\x11\x11name a at port 9100\n",
    b"1022\x00bob\x00bob\x00id\x00",
    b"\x00bob\x00bob\x00xterm/9600\x00",
    b"\x02lp\n",
    b"zPING\x00",
    b"PONG\n",
    b"\x5a\x31\xc7\x88\x5a\x31\xc7\x88",
    b"\x00\x02\x00\x01",
    b"0, 2\r\n",
    b"!\"#$%&'()*+",
    b"\x0f\x00\xff\xff\xff\xff\x0f\x05a.b.c\x63\xdd\x01",
    b"\x00",
    b"\x01",
    b"\xff" * 16,
    b"<?xml version='1.0'?><stream:stream",
)
SAID = st.one_of(
    st.sampled_from(SEEDS),
    st.binary(min_size=1, max_size=24),
    st.builds(lambda *parts: b"".join(parts), st.sampled_from(SEEDS), st.sampled_from(SEEDS)),
)
TURNS = st.lists(st.tuples(st.integers(0, 1), SAID), max_size=22)


def shown(candidate: Candidate) -> Candidate:
    """A candidate as a value of its own (what the sniffer hands out may be shared)."""
    return Candidate(kind=candidate.kind, final=candidate.final, finding=candidate.finding)


@settings(max_examples=150, deadline=None)
@given(turns=TURNS, cuts=st.lists(st.integers(1, 9), min_size=1, max_size=4), midstream=st.booleans())
@example(turns=[s(b"* "), s(b"OK x\r\n")], cuts=[1], midstream=False)
def test_a_final_answer_holds_whatever_follows(turns: list[Turn], cuts: list[int], midstream: bool) -> None:
    decided = None
    for opening in growing(turns, cuts, midstream=midstream):
        now = shown(sniff(opening))
        if decided is not None:
            assert now == decided
        elif now.final:
            decided = now
    assert decided is not None or not any(data for _, data in turns)


@settings(max_examples=100, deadline=None)
@given(turns=TURNS, one=st.lists(st.integers(1, 9), min_size=1), other=st.lists(st.integers(1, 40), min_size=1))
def test_the_cut_does_not_matter(turns: list[Turn], one: list[int], other: list[int]) -> None:
    first = [shown(sniff(opening)) for opening in growing(turns, one) if sniff(opening).final]
    second = [shown(sniff(opening)) for opening in growing(turns, other) if sniff(opening).final]
    assert first[:1] == second[:1]


@settings(max_examples=150, deadline=None)
@given(
    turns=TURNS,
    client=st.binary(max_size=64),
    ended=st.tuples(st.booleans(), st.booleans()),
    midstream=st.booleans(),
    sides=st.sampled_from(("both", "client", "server", "none")),
    after=st.sampled_from(("", "starttls", "compress")),
    transport=st.sampled_from(("TCP", "UDP")),
)
def test_nothing_raises_and_text_is_safe(
    turns: list[Turn], client: bytes, ended: tuple[bool, bool], midstream: bool, sides: str, after: str, transport: str
) -> None:
    opening = talk(*turns, over=False, midstream=midstream, sides_seen=sides, after=after)
    opening.client += client  # turns that do not add up must not matter either
    opening.client_ended, opening.server_ended = ended
    opening.transport = transport
    opening.datagrams = [*turns, (0, client)]
    candidate = sniff(opening)
    for row in candidate.finding.evidence if candidate.finding is not None else ():
        assert row.text.isascii()
        assert row.text.isprintable()
        assert row.side in ("client", "server", "both")


@settings(max_examples=100, deadline=None)
@given(turns=TURNS, transport=st.sampled_from(("TCP", "UDP")))
def test_when_both_sides_are_over_the_answer_is_final(turns: list[Turn], transport: str) -> None:
    opening = talk(*turns)
    opening.transport = transport
    opening.datagrams = turns
    assert sniff(opening).final


@settings(max_examples=100, deadline=None)
@given(turns=st.lists(st.tuples(st.integers(0, 1), SAID), min_size=1, max_size=14))
def test_the_law_holds_for_datagrams(turns: list[Turn]) -> None:
    decided = None
    for count in range(len(turns) + 1):
        opening = talk(*turns[:count], over=False)
        opening.transport, opening.datagrams = "UDP", turns[:count]
        now = shown(sniff(opening))
        if decided is not None:
            assert now == decided
        elif now.final:
            decided = now


def test_a_flood_of_small_frames_costs_little() -> None:
    zeros = bytes(8_192)
    opening = Opening(
        client=zeros, server=zeros, first_side=0, turns=[(0, 8_192), (1, 8_192)], client_ended=True, server_ended=True
    )
    assert sniff(opening).final
