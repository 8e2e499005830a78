"""Flows that are peeked at: the first bytes of each side, the same in any cut, and nothing for the rest."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from helpers.segments import CLIENT, MS, SERVER, START_NS, Segment, Talk, batch_of
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.config import FlowLimits
from imapids.flows import FlowTable
from imapids.records.flows import EndedFlows
from imapids.records.segments import EncapsulationTable
from imapids.records.streams import Flow, StreamChunk, StreamConflict, StreamEnd, StreamGap

POP3 = (SERVER[0], 110)
LIMIT = 100


class Seen:
    """What came of one flow, under one record."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.data = [b"", b""]
        self.pieces: list[object] = []

    def facts(self) -> tuple[object, ...]:
        return self.flow, self.data, self.pieces


def run(segments: list[Segment], cuts: list[int] | None = None, *, peek: tuple[int, ...] = (110,),
        size: int = LIMIT) -> tuple[list[Seen], FlowTable]:
    """What a table delivers of segments, cut into batches before the positions given."""
    table = FlowTable(FlowLimits(), EncapsulationTable(), peek_tcp=peek, peek_bytes=size)
    current: dict[int, Seen] = {}
    everything: list[Seen] = []

    def take(updates: list) -> None:
        for update in updates:
            seen = current.get(update.key)
            if seen is None or seen.flow is not update.flow:
                seen = current[update.key] = Seen(update.flow)
                everything.append(seen)
            for piece in update.pieces:
                if isinstance(piece, StreamChunk):
                    seen.data[piece.side] += piece.data
                elif isinstance(piece, StreamGap | StreamConflict):
                    seen.pieces.append(piece)
                elif isinstance(piece, StreamEnd):
                    seen.pieces.append(piece)
                    del current[update.key]

    for low, high in pairwise([0, *sorted(set(cuts or [])), len(segments)]):
        if low < high:
            take(table.feed(batch_of(segments[low:high], low + 1)))
    for updates in table.finish():
        take(updates)
    assert not current
    return everything, table


def download(size: int = 16, server: tuple[int, int] = POP3) -> Talk:
    """A short word of the client, a long answer."""
    talk = Talk(server=server).open().say(1, b"+OK POP3 ready\r\n").say(0, b"RETR 1\r\n")
    return talk.say(1, bytes(range(256)) * 4, size).say(0, b"QUIT\r\n").say(1, b"+OK\r\n").close()


def test_each_side_is_delivered_until_it_has_told_enough() -> None:
    (only,), table = run(download().segments)
    assert only.flow.peeked
    assert not only.flow.watched
    assert only.data == [b"RETR 1\r\nQUIT\r\n", b"+OK POP3 ready\r\n" + bytes(range(96))]  # whole segments
    end = only.pieces[-1]
    assert isinstance(end, StreamEnd)
    assert (end.reason, only.flow.bytes_server) == ("fin", 16 + 1024 + 5)
    assert table.account.selected == table.account.payload_bytes == 0


def test_what_comes_later_is_only_counted() -> None:
    segments = download().segments
    table = FlowTable(FlowLimits(), EncapsulationTable(), peek_tcp=[110], peek_bytes=LIMIT)
    table.feed(batch_of(segments[:30]))
    assert table.feed(batch_of([s for s in segments[30:] if s.source == POP3 and s.data], 31)) == []


@pytest.mark.parametrize("segments", [
    pytest.param([Segment(CLIENT, POP3, seq=1, flags=2)], id="a scan"),
    pytest.param(Talk(server=POP3).open().close().segments, id="connect and close"),
    pytest.param(Talk(server=(SERVER[0], 25)).open().say(0, b"EHLO x\r\n").segments, id="another port"),
])
def test_flows_in_which_nobody_spoke_and_other_ports_deliver_nothing(segments: list[Segment]) -> None:
    assert run(segments)[0] == []


def test_nothing_is_peeked_at_unless_asked_for() -> None:
    assert run(download().segments, peek=())[0] == []


def test_columns_of_ended_flows_say_which_were_peeked_at() -> None:
    table = FlowTable(FlowLimits(), EncapsulationTable(), peek_tcp=[110], tell_ends=True)
    table.feed(batch_of(download().segments + [replace(s, source=(CLIENT[0], 50_000)) for s in [
        Segment(CLIENT, (SERVER[0], 80), seq=1, flags=2)]]))
    for _ in table.finish():
        ended = table.take_ended()
    assert isinstance(ended, EndedFlows)
    assert ended.selected.tolist() == [3, 0]


def troubled(name: str) -> list[Segment]:
    segments = list(download().segments)
    retr = next(i for i, s in enumerate(segments) if s.data.startswith(b"RETR"))
    if name == "twice":
        segments = [s for s in segments for _ in range(2)]
    elif name == "lost":
        del segments[retr + 2]
    elif name == "shuffled":
        rest = segments[3:]
        random.Random(5).shuffle(rest)
        segments[3:] = rest
    elif name == "neighbours":
        chooser = random.Random(9)
        order = sorted(range(len(segments)), key=lambda i: i + chooser.uniform(0, 3))
        segments = [segments[i] for i in order]
    elif name == "late trouble":
        segments[-20:-10] = segments[-10:-20:-1]
    elif name == "one side":
        segments = [s for s in segments if s.source == POP3]
    elif name == "snaplen":
        segments[retr + 2] = replace(segments[retr + 2], data=b"abc", length=16)
    elif name == "used again":
        segments += Talk(server=POP3, client_isn=99, server_isn=7, start_ns=segments[-1].time_ns + MS).open().say(
            1, b"+OK again\r\n").segments
    return segments


TROUBLES = ["none", "twice", "lost", "shuffled", "neighbours", "late trouble", "one side", "snaplen", "used again"]


@pytest.mark.parametrize("trouble", TROUBLES)
def test_any_cut_delivers_the_same(trouble: str) -> None:
    segments = troubled(trouble)
    whole = [seen.facts() for seen in run(segments)[0]]
    assert whole
    assert [seen.facts() for seen in run(segments, list(range(1, len(segments))))[0]] == whole
    for cut in range(1, len(segments)):
        assert [seen.facts() for seen in run(segments, [cut])[0]] == whole, cut


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(TROUBLES), st.lists(st.integers(1, 150), max_size=9), st.integers(1, 1200))
def test_any_cuts_and_limits_deliver_the_same(trouble: str, cuts: list[int], size: int) -> None:
    segments = troubled(trouble)
    one, other = run(segments, size=size)[0], run(segments, [c for c in cuts if c < len(segments)], size=size)[0]
    assert [seen.facts() for seen in one] == [seen.facts() for seen in other]


@pytest.mark.parametrize("first", [pytest.param(b"", id="the server speaks first"),
                                   pytest.param(b"early bird\r\n", id="the client spoke before the greeting")])
def test_a_greeting_wins_and_gives_the_flow_a_record_of_its_own(first: bytes) -> None:
    talk = Talk(server=POP3).open()
    if first:
        talk.say(0, first)
    segments = talk.say(1, b"* OK hello\r\n").say(0, b"a NOOP\r\n" * 40).close().segments
    expected = run(segments, peek=())[0][-1].facts()
    for cuts in ([], *([cut] for cut in range(1, len(segments))), list(range(1, len(segments)))):
        *before, last = run(segments, cuts)[0]
        assert last.facts() == expected
        assert not last.flow.peeked
        assert all(seen.flow.peeked and seen.data == [first, b""] and not seen.pieces for seen in before)


def test_streams_of_peeked_flows_go_first_when_there_are_too_many() -> None:
    table = FlowTable(FlowLimits(streams=64), EncapsulationTable(), peek_tcp=[110])
    whole = Talk(server=(SERVER[0], 143)).open().say(1, b"* OK hi\r\n")
    table.feed(batch_of(whole.segments))
    evicted: list[Flow] = []
    for number in range(100):
        talk = Talk(client=(CLIENT[0], 1000 + number), server=POP3, start_ns=START_NS + (1 + number) * MS)
        for update in table.feed(batch_of(talk.open().say(1, b"+OK\r\n").segments, 10 * (number + 1))):
            evicted += [update.flow for piece in update.pieces if isinstance(piece, StreamEnd)]
    assert evicted
    assert all(flow.peeked for flow in evicted)


def talks(count: int) -> list[Segment]:
    """Conversations of one client with one service, one after the other."""
    return [segment for number in range(count)
            for segment in Talk(client=(CLIENT[0], 30_000 + number), server=POP3).open().say(
                1, b"+OK\r\n").say(0, b"QUIT\r\n").close().segments]


@pytest.mark.parametrize("cuts", [pytest.param([], id="in one batch"), pytest.param(range(1, 700), id="one by one")])
def test_of_many_conversations_with_one_service_some_are_enough(cuts) -> None:
    limits = FlowLimits()
    count = limits.peeked_conversations + 2 * limits.peeked_every + 1
    seen, table = run(talks(count), list(cuts))
    later = [count - 1 - number for number in range(0, 2 * limits.peeked_every + 1, limits.peeked_every)]
    ports = [30_000 + number for number in range(count) if number < limits.peeked_conversations or number in later]
    assert [each.flow.client_port for each in seen] == ports
    assert table.account.flows == count


def test_who_only_knocks_uses_nothing_up() -> None:
    limits = FlowLimits()
    knocks = [segment for number in range(2 * limits.peeked_conversations)
              for segment in Talk(client=(CLIENT[0], 40_000 + number), server=POP3).open().segments]
    seen, _ = run([*knocks, *talks(1)])
    assert [each.flow.client_port for each in seen] == [30_000]
