"""Columns of conversations that are over: what they hold, and that the cut into batches does not change them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from helpers.segments import CLIENT, MS, SERVER, START_NS, S, Segment, Talk, batch_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imapids.config import FlowLimits
from imapids.flows import FlowTable
from imapids.records.flows import STATES, EndedFlows
from imapids.records.segments import UDP, EncapsulationTable
from imapids.records.streams import Flow

COLUMNS = [name for name in EndedFlows.__struct_fields__ if name not in ("describe", "rows")]


def told(segments: list[Segment], cuts: list[int], limits: FlowLimits | None = None) -> Iterator[EndedFlows]:
    """What a table tells of ended flows, batch by batch."""
    table = FlowTable(limits or FlowLimits(), EncapsulationTable(), tell_ends=True)
    for low, high in pairwise([0, *sorted(set(cuts)), len(segments)]):
        if low < high:
            table.feed(batch_of(segments[low:high], low + 1))
            if (ended := table.take_ended()) is not None:
                yield ended
    for _ in table.finish():
        if (ended := table.take_ended()) is not None:
            yield ended


def all_of(segments: list[Segment], cuts: list[int], limits: FlowLimits | None = None) -> tuple[list[Any], list[Flow]]:
    """Every column of a run, joined, and the records of all flows."""
    parts = list(told(segments, cuts, limits))
    joined = [[value for part in parts for value in getattr(part, name).tolist()] for name in COLUMNS]
    return joined, [flow for part in parts for flow in part.describe(range(len(part)))]


def traffic(seed: int) -> list[Segment]:
    """Conversations of several kinds, mixed in time, some with pauses, reused ports and the same stamps."""
    chooser = random.Random(seed)
    segments: list[Segment] = []
    for number in range(chooser.randint(2, 9)):
        start = START_NS + chooser.choice([0, 3, 9, 40, 4000]) * S + chooser.choice([0, MS])
        client = (CLIENT[0] + number // 2, 40_000 + number % 2)
        server = (SERVER[0] + number % 3, chooser.choice([143, 80, 993]))
        kind = chooser.choice(["session", "syn", "refused", "udp", "fin only"])
        if kind == "session":
            talk = Talk(client, server, client_isn=number * 777, start_ns=start, step_ns=chooser.choice([MS, 2 * S]))
            segments += talk.open().say(1, b"* OK hi\r\n").say(0, b"a NOOP\r\n").close().segments
        elif kind == "udp":
            segments.append(Segment(client, server, protocol=UDP, data=b"query", time_ns=start))
        elif kind == "fin only":
            segments.append(Segment(client, server, seq=5, flags=1, time_ns=start))
        else:
            segments.append(Segment(client, server, seq=number, flags=2, time_ns=start))
            if kind == "refused":
                segments.append(Segment(server, client, flags=0x14, time_ns=start + MS))
    return sorted(segments, key=lambda segment: segment.time_ns)


def test_a_refused_connection_stands_with_the_clients_values_first() -> None:
    segments = [Segment(CLIENT, SERVER, seq=7, flags=2), Segment(SERVER, CLIENT, flags=0x14, time_ns=START_NS + MS)]
    (ended,) = told(segments, [])
    assert len(ended) == 1
    assert (int(ended.client_lo[0]) & 0xFFFFFFFF, int(ended.client_port[0])) == CLIENT
    assert (int(ended.server_lo[0]) & 0xFFFFFFFF, int(ended.server_port[0])) == SERVER
    assert STATES[ended.state[0]] == "rejected"
    assert ended.flags.tolist() == [[2, 0x14]]
    assert ended.packets.tolist() == [[1, 1]]
    assert ended.bytes.tolist() == [[0, 0]]
    (flow,) = ended.describe([0])
    assert (flow.state, flow.client_port, flow.end_reason) == ("rejected", CLIENT[1], "rst")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 60), max_size=8), st.booleans())
def test_any_cut_into_batches_tells_the_same_columns_in_the_same_order(seed: int, cuts: list[int], each: bool) -> None:
    segments = traffic(seed)
    cuts = list(range(1, len(segments))) if each else [cut for cut in cuts if cut < len(segments)]
    assert all_of(segments, cuts) == all_of(segments, [])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60))
@example(253, 1)
def test_the_order_goes_on_from_one_record_to_the_next(seed: int, step: int) -> None:
    segments = traffic(seed)
    parts = [list(zip(*(getattr(part, name).tolist() for name in ("known", "over_ns", "first_ns", "first_number")),
                      strict=True))
             for part in told(segments, list(range(step, len(segments), step)))]
    assert all(part == sorted(part) for part in parts)
    # What the last packet and what the end of the capture made known may be over at the same time.
    ends = [(known, over_ns) for part in parts for known, over_ns, _, _ in part]
    assert ends == sorted(ends)


@pytest.mark.parametrize("size", [pytest.param(3, id="small batches"), pytest.param(50, id="batches of half a table")])
def test_rows_that_a_full_table_uses_again_keep_their_own_columns(size: int) -> None:
    flood = [Segment((0x0B000000 + i, 1024 + i), SERVER, seq=i, flags=2, time_ns=START_NS + i * MS) for i in range(400)]
    columns, flows = all_of(flood, list(range(size, 400, size)), FlowLimits(flows=128))
    values = dict(zip(COLUMNS, columns, strict=True))
    assert sorted(values["client_port"]) == [1024 + i for i in range(400)]
    assert [port - 1023 for port in values["client_port"]] == values["first_number"]
    assert values["packets"] == [[1, 0]] * 400
    assert [flow.client_port for flow in flows] == values["client_port"]
    assert {flow.end_reason for flow in flows} == {"evicted", "end-of-capture"}


def test_records_can_be_made_after_the_next_batch() -> None:
    flood = [Segment((0x0B000000 + i, 1024 + i), SERVER, seq=i, flags=2, time_ns=START_NS + i * MS) for i in range(400)]
    parts = list(told(flood, list(range(50, 400, 50)), FlowLimits(flows=128)))
    ports = [flow.client_port for part in parts for flow in part.describe(range(len(part)))]
    assert sorted(ports) == [1024 + i for i in range(400)]


def test_nothing_is_kept_for_nobody() -> None:
    table = FlowTable(FlowLimits(), EncapsulationTable())
    table.feed(batch_of([Segment(CLIENT, SERVER, flags=2)]))
    for _ in table.finish():
        assert table.take_ended() is None
