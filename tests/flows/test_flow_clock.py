"""The clock of the flow table where no packet moves it: a silent live link, and a clock that somebody sets."""

from __future__ import annotations

import pytest
from helpers.segments import START_NS, S, Talk, batch_of

from imapids.config import FlowLimits
from imapids.flows import FlowTable
from imapids.records.segments import EncapsulationTable
from imapids.records.streams import FlowUpdate, StreamEnd

HALF_OPEN_OVER = 72 * S
"""A SYN without answer: 60 s, then up to the next tick of 8 s."""


def table_with(talk: Talk) -> FlowTable:
    table = FlowTable(FlowLimits(), EncapsulationTable())
    table.feed(batch_of(talk.segments))
    return table


def ends(updates: list[FlowUpdate]) -> list[tuple[str, int]]:
    return [(piece.reason, piece.time_ns) for update in updates for piece in update.pieces
            if isinstance(piece, StreamEnd)]


def half_open() -> Talk:
    talk = Talk().open()
    talk.segments = talk.segments[:1]
    return talk


@pytest.mark.parametrize(("after", "over"), [
    pytest.param(30 * S, False, id="a flow that may still be answered stays"),
    pytest.param(HALF_OPEN_OVER, True, id="a flow whose time is over ends although no packet came"),
    pytest.param(-30 * S, False, id="a time behind the newest packet changes nothing"),
])
def test_a_silent_link_still_ends_flows(after: int, over: bool) -> None:
    table = table_with(half_open())
    found = ends(table.tick(START_NS + after))
    assert bool(found) is over
    assert table.clock_ns >= START_NS


def test_a_tick_tells_the_same_end_as_a_later_packet_would() -> None:
    ticked = ends(table_with(half_open()).tick(START_NS + 2 * HALF_OPEN_OVER))
    other = Talk(client=(0x0A000006, 41_000), start_ns=START_NS + 2 * HALF_OPEN_OVER).open()
    fed = ends(table_with(half_open()).feed(batch_of(other.segments, 2)))
    assert ticked == fed
    assert len(fed) == 1


def test_a_tick_before_the_first_packet_changes_nothing() -> None:
    table = FlowTable(FlowLimits(), EncapsulationTable())
    assert table.tick(START_NS) == []
    assert table.clock_ns < 0


def test_one_tick_moves_the_clock_no_further_than_one_packet_may() -> None:
    table = table_with(half_open())
    before = table.clock_ns
    table.tick(START_NS + 1000 * 3600 * S)
    assert table.clock_ns == before + FlowLimits().forward_jump_ns


@pytest.mark.parametrize("step", [
    pytest.param(30 * 60 * S, id="the clock is put forward by half an hour"),
    pytest.param(5 * 3600 * S, id="the clock is put forward by five hours"),
    pytest.param(-5 * 3600 * S, id="the clock is put back by five hours"),
])
def test_no_flow_ends_because_the_clock_was_set(step: int) -> None:
    table = table_with(half_open())
    table.clock_stepped(step)
    assert ends(table.tick(START_NS + step + 30 * S)) == []
    later = Talk(client=(0x0A000006, 41_000), start_ns=START_NS + step + 40 * S).open()
    assert ends(table.feed(batch_of(later.segments, 2))) == []
    assert len(ends(table.tick(START_NS + step + HALF_OPEN_OVER))) == 1


def test_the_same_ports_again_and_again_do_not_make_the_table_grow() -> None:
    limits = FlowLimits(flows=512)
    table = FlowTable(limits, EncapsulationTable())
    number, now = 1, START_NS
    for _ in range(60):
        segments = []
        for port in range(40_000, 40_050):
            talk = Talk(client=(0x0A000005, port), start_ns=now, step_ns=1_000, client_isn=number + port)
            segments += talk.open().segments
        segments.sort(key=lambda segment: segment.time_ns)
        table.feed(batch_of(segments, number))
        number += len(segments)
        now += 40 * S  # longer than a SYN is held to be a copy of the one before
    assert table.account.flows == 60 * 50
    assert table.columns.capacity <= 2 * limits.flows
