"""Kernels of rows: they leave in the columns of the flow table what the NumPy code leaves there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.segments import START_NS, S, Segment, batch_of
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids import kernels
from imapids.config import FlowLimits
from imapids.flows import FlowTable
from imapids.flows.assembly import Assembler
from imapids.flows.beginning import FlowBeginner
from imapids.flows.columns import _CLEARED, _LAYOUT, COUNTED, NEVER, PEEKED, UNKNOWN, FlowColumns
from imapids.flows.counting import count_batch
from imapids.flows.ended import EndedFlowsGatherer
from imapids.flows.ending import FlowEnder
from imapids.flows.greetings import find_dialogues
from imapids.flows.grouping import Groups
from imapids.flows.index import FlowIndex
from imapids.flows.joining import VlanJoiner
from imapids.flows.naming import FlowNamer
from imapids.flows.reuse import ReuseSplitter, deadlines, overdue
from imapids.records.flows import EndedFlows
from imapids.records.packets import CaptureSource
from imapids.records.segments import UDP, Encapsulation, EncapsulationTable, SegmentBatch
from imapids.records.streams import FlowAccount

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")

ROWS = 40
LIMITS = FlowLimits()
DATA = [b"", b"* OK", b"* OK ready\r\n", b"*OK no\r\n", b"a1 LOGIN x y\r\n", b".", b"\x16\x03\x01\x02\x00",
        b"9 NOOP\r\n"]
seeds = st.integers(0, 2**32)


def random_columns(seed: int) -> FlowColumns:
    """A table whose columns hold anything that they may hold."""
    rng, columns = np.random.default_rng(seed), FlowColumns(ROWS)
    for name, dtype, _ in _LAYOUT:
        column = columns[name]
        high = 2 if dtype is np.bool_ else 4 if name in ("selected", "isn", "fin_end") else 2**31
        column[:] = rng.integers(0, min(high, 256) if dtype is np.uint8 else min(high, 65_536) if dtype is np.uint16
                                 else high, column.shape)
    columns.protocol[:] = rng.choice([6, 6, UDP], ROWS)
    columns.roles[:] = rng.integers(0, 5, ROWS)
    columns.client_end[:] = rng.integers(0, 2, ROWS)
    columns.packets[:] = rng.integers(0, 3, (ROWS, 2))
    columns.flags[:] = rng.choice([0, 0x10, 0x02, 0x12, 0x11, 0x14, 0x13], (ROWS, 2))
    columns.last_clock[:] = START_NS - rng.integers(0, 4_000, ROWS) * S
    columns.last_ns[:] = columns.last_clock
    columns.used = ROWS
    return columns


def random_batch(seed: int, count: int) -> tuple[SegmentBatch, Groups]:
    """A batch whose segments belong to any rows."""
    rng = np.random.default_rng(seed)
    batch = batch_of([Segment(
        (5, int(rng.choice([143, 993, 7, 40_000, 0]))), (6, int(rng.choice([143, 993, 7, 25, 40_000]))),
        seq=int(rng.integers(0, 4)), flags=int(rng.choice([0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0xFF])),
        data=DATA[rng.integers(0, len(DATA))], time_ns=START_NS + at * S // 10,
        protocol=int(rng.choice([6, 6, UDP])), tunnel=int(rng.integers(0, 3))) for at in range(count)])
    if rng.integers(0, 3) == 0:
        batch.time_ns = rng.permutation(batch.time_ns)
    ends = rng.integers(0, 2, count).astype(np.uint8)
    return batch, Groups.of_rows(rng.integers(0, ROWS, count).astype(np.int32), ends)


def both_leave(seed: int, call: Callable[[FlowColumns], Any]) -> None:
    """A call gives the same and leaves the same, compiled and with NumPy."""
    with pytest.MonkeyPatch.context() as patch:
        compiled, plain = random_columns(seed), random_columns(seed)
        result = call(compiled)
        patch.setattr(kernels, "COMPILED", False)
        assert plainly(result) == plainly(call(plain))
    for name, _, _ in _LAYOUT:
        assert compiled[name].tolist() == plain[name].tolist(), name


def plainly(value: Any) -> Any:
    if isinstance(value, tuple):
        return [plainly(part) for part in value]
    return (value.dtype, value.tolist()) if isinstance(value, np.ndarray) else value


@given(seeds, seeds, st.integers(1, 120))
@settings(max_examples=80, deadline=None)
def test_counts(seed: int, other: int, count: int) -> None:
    def call(columns: FlowColumns) -> None:
        batch, groups = random_batch(other, count)
        in_order = bool((np.diff(batch.time_ns) >= 0).all())
        count_batch(columns, batch, groups, batch.time_ns if in_order else np.maximum.accumulate(batch.time_ns))

    both_leave(seed, call)


@given(seeds, seeds, st.integers(1, 120))
@settings(max_examples=80, deadline=None)
def test_dialogues_found(seed: int, other: int, count: int) -> None:
    both_leave(seed, lambda columns: find_dialogues(columns, *random_batch(other, count)))


@given(seeds, seeds, st.integers(1, 120))
@settings(max_examples=80, deadline=None)
def test_suspects_of_reuse(seed: int, other: int, count: int) -> None:
    def call(columns: FlowColumns) -> Any:
        batch, groups = random_batch(other, count)
        clock = np.maximum.accumulate(batch.time_ns)
        return ReuseSplitter(LIMITS, columns)._suspects(batch, groups, clock)

    both_leave(seed, call)


@given(seeds, st.sampled_from([0, -(1 << 61), 1 << 62, -5 * S]))
@settings(max_examples=60, deadline=None)
def test_deadlines(seed: int, shift: int) -> None:
    def call(columns: FlowColumns) -> Any:
        columns.last_clock += shift
        return deadlines(LIMITS, columns, np.arange(ROWS, dtype=np.int32)[::-2])

    both_leave(seed, call)


@given(seeds, st.integers(0, ROWS), st.sampled_from([-9_000, -500, -20, 0, 500]))
@settings(max_examples=80, deadline=None)
def test_rows_that_are_over(seed: int, used: int, now: int) -> None:
    def call(columns: FlowColumns) -> Any:
        columns.used = used
        columns.due[:] = np.random.default_rng(seed).choice([UNKNOWN, NEVER, START_NS, START_NS - 400 * S], ROWS)
        return overdue(LIMITS, columns, START_NS + now * S)

    both_leave(seed, call)


@given(seeds, st.lists(st.integers(0, ROWS - 1), unique=True), st.booleans())
@settings(max_examples=80, deadline=None)
def test_rows_that_are_taken_out_and_told_of(seed: int, rows: list[int], again: bool) -> None:
    def call(columns: FlowColumns) -> Any:
        columns.path[:], columns.interface[:] = 0, 0
        namer = FlowNamer(columns, EncapsulationTable(), [CaptureSource("a", 0)] * 4, None)
        ended, account = EndedFlowsGatherer(columns, namer), FlowAccount(limits={})
        assembler = Assembler(LIMITS, columns, namer.open, namer.services, 1_024)
        columns.source[:] = 0
        ender = FlowEnder(LIMITS, columns, assembler, namer, account, ended)
        chosen, told = np.array(rows, np.int32), []
        for part in (chosen[::2], chosen[1::2]) if again else (chosen,):
            ender.over(part, "idle", columns.last_ns[part], columns.last_number[part])
        taken = ended.take()
        for updates in ender.tell():
            told += [repr(update) for update in updates]
        if taken is None:
            return told
        return told, [plainly(getattr(taken, name)) for name in EndedFlows.__struct_fields__[:-2]]

    both_leave(seed, call)


@given(seeds, st.lists(st.integers(0, ROWS - 1), unique=True))
@settings(max_examples=40, deadline=None)
def test_rows_that_bear_tags(seed: int, rows: list[int]) -> None:
    def call(columns: FlowColumns) -> Any:
        encapsulations = EncapsulationTable()
        for vlan in (3, 4):
            encapsulations.intern(Encapsulation((vlan,), ("gre",)))
        columns.path[:] = np.random.default_rng(seed).integers(0, len(encapsulations.paths), ROWS)
        joiner = VlanJoiner(columns, encapsulations, FlowIndex())
        assert joiner.active()
        return joiner._note_tags(np.array(rows, np.int32))

    both_leave(seed, call)


@given(seeds, seeds, st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=80, deadline=None)
def test_beginnings(seed: int, other: int, watch_all: bool, tell_tools: bool, interfaces: bool) -> None:
    def call(columns: FlowColumns) -> int:
        batch, _ = random_batch(other, 60)
        if interfaces:
            batch.interface = np.arange(60, dtype=np.uint16)
        rows = np.random.default_rng(other).permutation(ROWS)[:20].astype(np.int32)
        beginner = FlowBeginner(columns, (143, 993), (143, 7), (25, 7), watch_all=watch_all, tell_tools=tell_tools)
        ends = np.arange(60, dtype=np.uint8) % 2
        return sum(beginner.begin(batch, np.arange(start, 60, 3)[:10], rows[start * 10:][:10], ends, batch.time_ns)
                   for start in (0, 1))

    both_leave(seed, call)


@given(seeds, st.lists(st.integers(0, ROWS - 1), unique=True, min_size=1))
@settings(max_examples=40, deadline=None)
def test_rows_are_cleared_for_the_next_conversation(seed: int, rows: list[int]) -> None:
    def call(columns: FlowColumns) -> Any:
        columns.free = [np.array(rows, np.int32)]
        taken = columns.take(len(rows))
        assert not any(columns[name][taken].any() for name in _CLEARED)
        return taken

    both_leave(seed, call)


hosts = st.tuples(st.sampled_from([1, 2, 3]), st.sampled_from([143, 25, 40_000, 40_001]))
segments = st.builds(Segment, hosts, hosts, seq=st.integers(0, 3),
                     flags=st.sampled_from([2, 0x12, 0x10, 0x18, 0x11, 4]), data=st.sampled_from(DATA),
                     time_ns=st.sampled_from([0, S, 2 * S, 40 * S, 500 * S, 9_000 * S]),
                     protocol=st.sampled_from([6, 6, UDP]), tunnel=st.sampled_from([0, 0, 1]))


@given(st.lists(st.lists(segments, min_size=1, max_size=25), min_size=1, max_size=4), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_whole_table_tells_the_same(parts: list[list[Segment]], peek: bool) -> None:
    def play() -> tuple[list[str], list[list[Any]], str]:
        encapsulations = EncapsulationTable()
        encapsulations.intern(Encapsulation((5,)))
        table = FlowTable(FlowLimits(flows=8), encapsulations, peek_tcp=(25,) if peek else (), tell_ends=True)
        told, now = [], START_NS
        for part in parts:
            times = now + np.cumsum([segment.time_ns for segment in part])
            batch = batch_of(part)
            batch.time_ns, now = times, int(times[-1])
            told += [repr(update) for update in table.feed(batch)]
        told += [repr(update) for several in table.finish() for update in several]
        columns = [table.columns[name][: table.columns.used].tolist() for name, _, _ in _LAYOUT]
        return told, columns, repr(table.account)

    with pytest.MonkeyPatch.context() as patch:
        compiled = play()
        patch.setattr(kernels, "COMPILED", False)
        assert compiled == play()


@given(seeds, st.integers(0, 400), st.integers(1, 40))
@settings(max_examples=80, deadline=None)
def test_tools_that_made_the_first_segments(seed: int, size: int, count: int) -> None:
    """Random headers that are near those of tools, also where the capture cut them."""
    rng = np.random.default_rng(seed)
    batch = batch_of([Segment((5, 40_000), (6, int(rng.choice([25, 143, 7]))),
                              flags=int(rng.choice([2, 2, 0x12, 0x10])),
                              protocol=int(rng.choice([6, 6, 6, UDP]))) for _ in range(count)])
    batch.buffer = np.concatenate((rng.choice(np.array([0x45, 0x60, 0x50, 2, 4, 5, 0xB4, 0x40], np.uint8), size),
                                   rng.integers(0, 256, 20, np.uint8)))
    batch.ip_offset, batch.transport_offset = rng.integers(0, size + 1, (2, count))
    batch.dst_hi, batch.ttl = rng.choice(np.array([0, 0, 1], np.uint64), count), rng.integers(0, 256, count, np.uint8)
    batch.window = rng.choice(np.array([1_024, 2_048, 5, 65_535], np.uint16), count)
    batch.seq = rng.choice(np.array([6, 7, 1_029], np.uint32), count)
    for ip, tcp, port, seq in zip(batch.ip_offset, batch.transport_offset, batch.dst_port, batch.seq, strict=True):
        kind = rng.integers(0, 4)
        if kind == 0 and tcp + 24 <= len(batch.buffer):
            batch.buffer[tcp + 12], batch.buffer[tcp + 20 : tcp + 24] = 0x60, (2, 4, 5, 0xB4)
        if kind == 1:
            batch.buffer[ip + 4 : ip + 6] = divmod(6 ^ int(port) ^ int(seq), 256)
        if kind == 2:
            batch.buffer[ip + 4 : ip + 6] = divmod(54_321, 256)

    def call(columns: FlowColumns) -> None:
        beginner = FlowBeginner(columns, (), (), (), watch_all=False, tell_tools=True)
        beginner.begin(batch, np.arange(count), np.arange(count, dtype=np.int32), np.zeros(count, np.uint8),
                       batch.time_ns)

    both_leave(seed, call)


@given(seeds, seeds, st.integers(1, 120), st.sampled_from([0, 1, 1_024, 2**31]))
@settings(max_examples=80, deadline=None)
def test_segments_that_are_wanted(seed: int, other: int, count: int, peek_bytes: int) -> None:
    def call(columns: FlowColumns) -> Any:
        batch, groups = random_batch(other, count)
        if not peek_bytes:
            columns.selected[columns.selected == PEEKED] = COUNTED
        table = FlowTable(LIMITS, EncapsulationTable(), peek_tcp=(25,) if peek_bytes else (), peek_bytes=peek_bytes)
        table.columns = columns
        return table._select(batch, groups)

    both_leave(seed, call)


@given(seeds, st.lists(st.integers(0, ROWS - 1), unique=True))
@settings(max_examples=80, deadline=None)
def test_rows_that_matter_to_observers(seed: int, rows: list[int]) -> None:
    def call(columns: FlowColumns) -> Any:
        rng = np.random.default_rng(seed)
        ports = rng.choice(np.array([25, 143, 80, 993, 65_535], np.uint64), (2, ROWS))
        columns.keys[:, 4] = ports[0] << np.uint64(48) | ports[1] << np.uint64(32) | np.uint64(6)
        columns.bytes[:] = rng.integers(0, 2, (ROWS, 2))
        namer = FlowNamer(columns, EncapsulationTable(), [], None)
        return EndedFlowsGatherer(columns, namer)._matter(np.array(rows, np.int32))

    both_leave(seed, call)
