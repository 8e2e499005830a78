"""Kernels of groups: the same groups, keys, hashes, slots and sums as the NumPy code gives, for any segments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pytest
from helpers.segments import START_NS, S, Segment, batch_of
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids import kernels
from imapids.flows.cells import CELL, Cells
from imapids.flows.grouping import Keyed, SegmentGrouper, _widest_steps
from imapids.flows.index import KEY_WORDS, FlowIndex
from imapids.records.segments import UDP, SegmentBatch

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")

Result = TypeVar("Result")
WORDS = [0, 1, 0x0A000005, 0xFFFF_0A00_0005, 1 << 63, 2**64 - 1]
PORTS = [0, 143, 65_535]
TUNNELS = [0, 0, 1, 300, 70_000, (1 << 24) - 1]


def both(call: Callable[[], Result]) -> tuple[Result, Result]:
    """What a call gives compiled and with NumPy."""
    with pytest.MonkeyPatch.context() as patch:
        compiled = call()
        patch.setattr(kernels, "COMPILED", False)
        return compiled, call()


def noise(seed: int, count: int, kinds: int) -> SegmentBatch:
    """A batch of segments with few or many different keys, all of whose columns vary."""
    rng = np.random.default_rng(seed)
    batch = batch_of([Segment((1, 1), (2, 2))] * count)
    for name in ("src_hi", "dst_hi", "src_lo", "dst_lo"):
        setattr(batch, name, np.array(WORDS, np.uint64)[rng.integers(0, kinds, count)])
    batch.src_port = np.array(PORTS, np.uint16)[rng.integers(0, 3, count)]
    batch.dst_port = np.array(PORTS, np.uint16)[rng.integers(0, 3, count)]
    batch.tunnel = np.array(TUNNELS, np.uint32)[rng.integers(0, kinds, count)]
    batch.protocol = np.array([6, 6, UDP], np.uint8)[rng.integers(0, 3, count)]
    batch.flags = rng.integers(0, 256, count).astype(np.uint8)
    batch.seq = rng.integers(0, 3, count).astype(np.uint32)
    batch.length = rng.integers(0, 70_000, count)
    batch.captured = rng.integers(0, 10, count)
    batch.time_ns = START_NS + rng.integers(-S, S, count) * rng.integers(0, 2)
    if rng.integers(0, 2):
        batch.time_ns.sort()
    return batch


batches = st.builds(noise, st.integers(0, 2**32), st.integers(1, 300), st.integers(1, len(WORDS)))


def check_groups(batch: SegmentBatch, grouper: SegmentGrouper, index: FlowIndex) -> Keyed:
    compiled, plain = both(lambda: grouper.keyed(batch, index))
    columns = [[*((name, getattr(keyed, name)) for name in Keyed.__struct_fields__ if name not in ("cells", "steps")),
                ("steps", np.array(keyed.steps)),
                *((name, keyed.cells[name]) for name in CELL.names or ())] for keyed in (compiled, plain)]
    for (name, one), (_, other) in zip(*columns, strict=True):
        assert one.dtype == other.dtype
        assert one.tolist() == other.tolist(), name
    return compiled


class TestGroups:
    @given(st.lists(batches, min_size=1, max_size=3))
    @settings(max_examples=150, deadline=None)
    def test_are_those_of_numpy(self, parts: list[SegmentBatch]) -> None:
        grouper, index = SegmentGrouper(), FlowIndex()
        for batch in parts:
            check_groups(batch, grouper, index)
            check_groups(batch.select(slice(None, None, -1)), grouper, index)

    @pytest.mark.parametrize(("segments", "groups"), [
        pytest.param([Segment((9, 5), (9, 5))], 1, id="one packet from an end to itself"),
        pytest.param([Segment((9, 5), (9, 6)), Segment((9, 6), (9, 5))], 1, id="an address that talks to itself"),
        pytest.param([Segment((7, 5), (9, 5)), Segment((9, 5), (7, 5))] * 9, 1, id="one conversation"),
        pytest.param([Segment((7, 5), (9, 5), tunnel=n) for n in (0, 1, 65_536, 0, 1 << 23)], 4, id="encapsulations"),
        pytest.param([Segment((7, 5), (9, 5), protocol=n) for n in (6, UDP, 6)], 2, id="protocols"),
    ])
    def test_odd_ones(self, segments: list[Segment], groups: int) -> None:
        assert len(check_groups(batch_of(segments), SegmentGrouper(), FlowIndex()).first) == groups

    @pytest.mark.parametrize("count", [pytest.param(1_024, id="the table is just large enough"),
                                       pytest.param(1_025, id="it grows at the last packet"),
                                       pytest.param(20_000, id="a flood: it grows again and again")])
    def test_every_packet_another_conversation(self, count: int) -> None:
        batch = batch_of([Segment((i, i % 7), (count * 2 - i, 143)) for i in range(count)])
        grouper = SegmentGrouper()
        assert len(check_groups(batch, grouper, FlowIndex()).first) == count
        assert len(check_groups(batch_of([Segment((1, 1), (2, 2))] * 50), grouper, FlowIndex()).first) == 1

    def test_keys_that_all_share_a_slot_are_kept_apart(self) -> None:
        index = FlowIndex()
        index.mix = np.zeros(KEY_WORDS + 1, np.uint64)  # the worst of all hashes
        batch = batch_of([Segment((i % 40, 5), (99, 143)) for i in range(200)])
        assert len(check_groups(batch, SegmentGrouper(), index).first) == 40


def keys_of(rng: np.random.Generator, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    """Different keys."""
    keys = rng.integers(0, 2**63, (count, KEY_WORDS), np.uint64)
    keys[:, 1] = np.arange(count)
    return keys


@given(st.integers(0, 2**32), st.integers(0, 255), st.sampled_from([256, 4_096]), st.booleans())
@settings(max_examples=100, deadline=None)
def test_what_the_index_finds_is_what_numpy_finds_also_where_it_is_nearly_full(seed: int, count: int, slots: int,
                                                                               alike: bool) -> None:
    rng = np.random.default_rng(seed)
    index, stored = FlowIndex(slots), keys_of(rng, 512)
    if alike:
        index.mix = np.zeros(KEY_WORDS + 1, np.uint64)
    wanted_keys, hashes = stored.copy(), index.hashed(stored)
    for start in range(0, count, 50):
        entries = np.arange(start, min(start + 50, count), dtype=np.int32)
        _, slot = index.find(stored[entries], stored)
        stored[entries] = 0
        index.insert(entries, wanted_keys[entries], hashes[entries], slot, stored, len(stored))
    asked = rng.permutation(512)
    (entry, slot), (wanted, wanted_slot) = both(lambda: index.find(stored[asked], stored))
    assert entry.tolist() == wanted.tolist() == [at if at < count else -1 for at in asked.tolist()]
    assert slot.tolist() == wanted_slot.tolist()
    assert (entry.dtype, slot.dtype) == (wanted.dtype, wanted_slot.dtype)


@given(st.integers(0, 2**32), st.lists(st.integers(1, 60), min_size=1, max_size=4), st.integers(1, 80), st.booleans())
@settings(max_examples=100, deadline=None)
def test_keys_are_added_as_numpy_adds_them(seed: int, parts: list[int], kinds: int, alike: bool) -> None:
    rng, index = np.random.default_rng(seed), FlowIndex(512)
    if alike:
        index.mix = np.zeros(KEY_WORDS + 1, np.uint64)
    several, mix = keys_of(rng, kinds), index.mix

    def call() -> list[list[int]]:
        index, stored, told, start = FlowIndex(512), np.zeros((256, KEY_WORDS), np.uint64), [], 0
        index.mix = mix
        for seed, count in enumerate(parts):
            keys = several[np.random.default_rng(seed).integers(0, kinds, count)]
            told.append(index.add(keys, np.arange(start, start + count, dtype=np.int32), stored).tolist())
            start += count
        return [*told, *stored.tolist(), index.find(several, stored)[0].tolist(), index.hashed(several).tolist()]

    compiled, plain = both(call)
    assert compiled == plain


@given(batches, st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_sums_of_directions_are_those_of_numpy(batch: SegmentBatch, more: int) -> None:
    keyed = SegmentGrouper().keyed(batch, FlowIndex())
    compiled, plain = both(lambda: Cells.of(batch, keyed.local, keyed.end, len(keyed.first) + more).table)
    assert compiled.dtype == plain.dtype
    for name in CELL.names or ():
        assert compiled[name].tolist() == plain[name].tolist(), name


@given(st.lists(st.integers(-2**63, 2**63 - 1), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_steps_wrap_as_those_of_numpy(stamps: list[int]) -> None:
    compiled, plain = both(lambda: _widest_steps(np.array(stamps)))
    assert compiled == plain


GROUPING = {  # what `group_segments` takes for a batch of three
    "slots": np.empty(4096, np.int32), "keys": np.empty((3, KEY_WORDS), np.uint64), "hashes": np.empty(3, np.uint64),
    "first": np.empty(3, np.int64), "local": np.empty(3, np.int64), "end": np.empty(3, np.uint8)}
OF_ONE = {name: value[:1] for name, value in GROUPING.items()}


def grouped(**other: Any) -> Callable[[FlowIndex, SegmentBatch], Any]:
    return lambda index, batch: kernels.compiled.group_segments(batch, index.mix, **{**GROUPING, **other})


def summed(*local: int) -> Callable[[FlowIndex, SegmentBatch], Any]:
    return lambda index, batch: kernels.compiled.sum_cells(
        batch, np.array(local), np.zeros(len(local), np.uint8), 5, np.empty((2, 2), CELL))


@pytest.mark.parametrize("call", [
    pytest.param(grouped(keys=OF_ONE["keys"]), id="more groups than there is room for"),
    pytest.param(grouped(keys=GROUPING["keys"][:0]), id="no room at all"),
    pytest.param(grouped(slots=GROUPING["slots"][:4_095]), id="too small a table"),
    pytest.param(grouped(local=np.empty(4, np.int64), end=np.empty(4, np.uint8)),
                 id="more segments than the batch has"),
    pytest.param(grouped(end=OF_ONE["end"]), id="fewer ends than segments"),
    pytest.param(summed(0, 1, 2), id="a group that is not there"),
    pytest.param(summed(0, -1, 1), id="a negative group"),
    pytest.param(summed(0, 1, 1, 1), id="more sums than segments"),
])
def test_what_is_out_of_bounds_is_refused(call: Callable[[FlowIndex, SegmentBatch], Any]) -> None:
    with pytest.raises(IndexError):
        call(FlowIndex(), batch_of([Segment((i, 1), (5, 2)) for i in range(3)]))
