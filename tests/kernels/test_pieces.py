"""Kernels of pieces: they say what the NumPy code of flows/assembly.py says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids import kernels
from imapids.config import FlowLimits
from imapids.flows import assembly
from imapids.flows.assembly import Assembler, _Part, _sorted
from imapids.flows.columns import FlowColumns
from imapids.records.segments import ACK, FIN, RST, SYN, URG, SegmentBatch

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")

_NEAR = [0, 1, 2, 3, 2**31, 2**32 - 2, 2**32 - 1]
"""Sequence numbers that meet each other often, and the edges of their circle."""


def _both(call: Any) -> tuple[Any, Any]:
    """What a call gives compiled and not."""
    try:
        return call(), (setattr(kernels, "COMPILED", False), call())[1]
    finally:
        kernels.COMPILED = True


class TestSortPieces:
    @given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.data())
    @settings(max_examples=60, deadline=None)
    def test_the_order_is_that_of_a_sort(self, groups: list[int], draw: st.DataObject) -> None:
        local = np.array(groups, np.int64)
        keep = draw.draw(st.lists(st.booleans(), min_size=len(groups), max_size=len(groups)))
        positions = np.flatnonzero(keep)
        if not positions.size:
            return
        at, flow, chosen = np.empty_like(positions), np.empty_like(positions), np.empty(7, np.int64)
        found = kernels.compiled.sort_pieces(local, positions, np.zeros(7, np.int64), at, flow, chosen)
        for mine, its in zip((at, flow, chosen[:found]), _sorted(local, positions), strict=True):
            assert mine.tolist() == its.tolist()

    @pytest.mark.parametrize(("local", "positions"), [
        pytest.param([0, 9], [0, 1], id="a group that there is not"),
        pytest.param([0, -1], [0, 1], id="a negative group"),
        pytest.param([0, 0], [0, 7], id="a position that there is not"),
    ])
    def test_wrong_numbers_are_refused(self, local: list[int], positions: list[int]) -> None:
        at = np.zeros(2, np.int64)
        with pytest.raises(IndexError):
            kernels.compiled.sort_pieces(np.array(local), np.array(positions), np.zeros(2, np.int64), at, at.copy(),
                                         np.zeros(2, np.int64))


_segments = st.tuples(
    st.integers(0, 3),  # cell
    st.sampled_from([0, 0, 1, 2, 3]),  # length
    st.sampled_from([0, 0, 0, 1]),  # bytes that the capture cut
    st.sampled_from([0, ACK, ACK, SYN, SYN | ACK, FIN | ACK, RST, URG | ACK, SYN | RST, FIN | RST, 255]),
    st.sampled_from(_NEAR), st.sampled_from(_NEAR), st.sampled_from([True, True, True, False]))
_cells = st.lists(st.tuples(st.booleans(), st.sampled_from(_NEAR), st.sampled_from([0, 0, 1, 5])),
                  min_size=4, max_size=4)


class TestCheckPieces:
    @given(st.lists(_segments, min_size=1, max_size=8), _cells, st.lists(st.booleans(), min_size=2, max_size=2))
    @settings(max_examples=400, deadline=None)
    def test_flows_are_in_order_or_not_as_numpy_finds(self, segments: list[Any], cells: list[Any],
                                                      slow: list[bool]) -> None:
        segments.sort(key=lambda each: cast("int", each[0]) >> 1)
        cell, length, cut, flags, seq, ack, tcp = (np.array(column) for column in zip(*segments, strict=True))
        results = []
        for compiled in (True, False):
            columns = FlowColumns(8)
            rows = columns.take(3)[1:]
            columns.known[rows], columns.next_seq[rows], columns.delivered[rows] = (
                np.array(column).reshape(2, 2) for column in zip(*cells, strict=True))
            columns.slow[rows] = slow
            assembler = Assembler(FlowLimits(), columns, lambda _: [], lambda _: [])
            batch = cast("SegmentBatch", SimpleNamespace(captured=np.maximum(length - cut, 0)))
            part = _Part(rows, columns.known[rows].ravel(), columns.next_seq[rows].ravel(),
                         columns.delivered[rows].ravel(), np.arange(len(cell)), cell >> 1, (cell & 1).astype(np.uint8),
                         cell, length, flags.astype(np.uint8), seq.astype(np.uint32), ack.astype(np.uint32), tcp)
            if compiled:
                found, offset = assembler._check_compiled(batch, part)
            else:
                assembler._learn_starts(part)
                found, offset = assembler._check_order(batch, part)
            results.append((found.tolist(), offset.tolist(), part.known.tolist(), part.next_seq.tolist(),
                            part.delivered.tolist(), *(columns[name][: columns.used].tolist() for name in
                                                       ("known", "next_seq", "delivered", "slow"))))
        assert results[0] == results[1]


class TestFurtherSegments:
    def test_each_segment_of_a_run_is_told_with_its_place(self) -> None:
        breaks = np.array([True, True, False, False, True, True, False])
        first, sizes = np.flatnonzero(breaks), np.array([5, 1, 2, 3, 9, 4, 4])
        chunks: list[Any] = [SimpleNamespace(starts=None) for _ in first]
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(assembly, "StreamChunk", SimpleNamespace)
            assembly._tell_further(chunks, first, breaks, sizes, np.arange(7), np.arange(7) * 10)
        assert [chunk.starts for chunk in chunks] == [None, [1, 3], None, [4]]
        assert (chunks[1].packets, chunks[1].times, chunks[3].packets) == ([2, 3], [20, 30], [6])
