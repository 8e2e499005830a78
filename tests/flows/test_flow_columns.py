"""The columns of the flow table: what they hold stays when there is room for more rows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from helpers.segments import START_NS, S, Segment, batch_of
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.config import FlowLimits
from imapids.flows import FlowTable
from imapids.flows import columns as flow_columns
from imapids.flows.columns import _LAYOUT, FlowColumns
from imapids.flows.reuse import TICK_NS
from imapids.flows.table import _at_or_behind
from imapids.records.segments import EncapsulationTable

MINUTE = 60 * S


def filled(columns: FlowColumns, count: int) -> dict[str, list[object]]:
    rows = columns.take(count)
    for name, dtype, _ in _LAYOUT:
        columns[name][rows] = np.arange(columns[name][rows].size).reshape(columns[name][rows].shape).astype(dtype)
    return {name: columns[name][:count].tolist() for name, _, _ in _LAYOUT}


@pytest.mark.parametrize(("most", "capacity"), [
    pytest.param(0, 64, id="nothing was reserved"),
    pytest.param(64, 64, id="there is room from the beginning"),
    pytest.param(64, 500, id="more than was reserved"),
    pytest.param(20_000, 20_000, id="memory that is mapped by itself"),
    pytest.param(20_000, 70_000, id="from mapped memory to more of it"),
])
def test_rows_stay_what_they_are_when_there_is_room_for_more(most: int, capacity: int) -> None:
    columns = FlowColumns(8, most)
    assert columns.room() == 8
    before = filled(columns, 8)
    columns.grow(capacity)
    assert columns.room() == capacity - 8
    assert before == {name: columns[name][:8].tolist() for name, _, _ in _LAYOUT}
    made = columns.take(capacity - 8)
    assert not any(columns[name][made].any() for name in flow_columns._CLEARED)


@pytest.mark.parametrize("error", [OSError(12, "Cannot allocate memory"), MemoryError()])
def test_where_so_much_may_not_be_mapped_they_grow_when_they_are_full(
    error: Exception, monkeypatch: pytest.MonkeyPatch,
) -> None:
    make = flow_columns._cleared

    def cleared(size: int) -> flow_columns.U8:
        if size > 1 << 20:
            raise error
        return make(size)

    monkeypatch.setattr(flow_columns, "_cleared", cleared)
    columns = FlowColumns(8, 1 << 20)
    before = filled(columns, 8)
    columns.grow(500)
    assert {name: columns[name][:8].tolist() for name in before} == before


def test_columns_do_not_overlap_and_begin_at_different_places_of_their_pages() -> None:
    columns = FlowColumns(4_096, 1 << 18)
    starts = sorted((columns[name].ctypes.data, columns[name].nbytes) for name, _, _ in _LAYOUT)
    assert all(start + size <= following for (start, size), (following, _) in pairwise(starts))
    places = [start % 4_096 // 64 for start, _ in starts]
    assert max(places.count(place) for place in places) <= 2
    assert all(start % 64 == starts[0][0] % 64 for start, _ in starts)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=30), st.lists(st.integers(0, 100), max_size=3),
       st.sampled_from([S, MINUTE, 40 * MINUTE]))
@settings(max_examples=60, deadline=None)
def test_the_first_packet_of_each_minute_is_told_however_packets_are_cut(steps: list[int], cuts: list[int],
                                                                         unit: int) -> None:
    stamps = (START_NS + np.cumsum(steps) % 2_000 * unit).tolist()
    clock = np.maximum.accumulate(stamps).tolist()
    wanted, newest = [], -(1 << 62)
    for number, now in enumerate(clock, 1):
        if now // MINUTE > newest:
            newest = now // MINUTE
            wanted.append((now, number))
    table = FlowTable(FlowLimits(forward_jump_ns=1 << 61), EncapsulationTable(), tell_minutes=True)
    segments, told = [Segment((1, 2), (3, 4), time_ns=stamp) for stamp in stamps], []
    for low, high in pairwise([0, *sorted({cut for cut in cuts if 0 < cut < len(stamps)}), len(stamps)]):
        table.feed(batch_of(segments[low:high], low + 1))
        told += table.take_minutes()
    assert told == wanted


@given(st.lists(st.integers(0, 50 * TICK_NS), min_size=1, max_size=40),
       st.lists(st.integers(0, 60), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_who_showed_that_a_time_was_over_is_found_for_many_flows_at_once(clock: list[int], ticks: list[int]) -> None:
    ordered, due = np.sort(np.array(clock, np.int64)), np.array(ticks, np.int64) * TICK_NS
    wanted = np.searchsorted(ordered, due).clip(max=len(ordered) - 1)
    assert _at_or_behind(ordered, due).tolist() == wanted.tolist()
