"""Kernels of pieces: they say what the NumPy code of flows/assembly.py says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from helpers.segments import Segment, batch_of
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids import kernels
from imapids.flows import assembly, ordering
from imapids.flows.columns import _LAYOUT, COUNTED, PEEKED, WATCHED, FlowColumns
from imapids.flows.grouping import Groups
from imapids.flows.ordering import PIECE, Ordered, _sorted
from imapids.records.packets import I32, I64
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


def sorted_pieces(batch: SegmentBatch, groups: Groups, positions: I64) -> tuple[I64, I64, Any]:
    """Groups, first pieces and pieces of the conversations of some segments."""
    count = len(groups.first)
    first, chosen, pieces = np.empty(count + 1, np.int64), np.empty(count, np.int64), np.empty(len(positions), PIECE)
    found = kernels.compiled.sort_pieces(batch, groups.local, groups.end, positions, np.zeros(count, np.int64), first,
                                         chosen, pieces)
    return chosen[:found], first[: found + 1], pieces


class TestSortPieces:
    @given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.data())
    @settings(max_examples=60, deadline=None)
    def test_the_order_is_that_of_a_sort(self, numbers: list[int], draw: st.DataObject) -> None:
        keep = draw.draw(st.lists(st.booleans(), min_size=len(numbers), max_size=len(numbers)))
        positions = np.flatnonzero(keep)
        if not positions.size:
            return
        batch = batch_of([Segment((1, 2), (3, 4), seq=at, flags=ACK, data=b"x" * (at % 3), time_ns=at)
                          for at in range(len(numbers))])
        groups = Groups(np.arange(7, dtype=np.int32), np.zeros(7, np.int64), np.array(numbers, np.int64),
                        (np.arange(len(numbers)) % 2).astype(np.uint8))
        chosen, first, pieces = sorted_pieces(batch, groups, positions)
        at, flow, its = _sorted(groups.local, positions)
        assert (pieces["at"].tolist(), chosen.tolist()) == (at.tolist(), its.tolist())
        assert np.repeat(np.arange(len(chosen)), np.diff(first)).tolist() == flow.tolist()
        for name in ("length", "seq", "ack", "flags"):
            assert pieces[name].tolist() == getattr(batch, name)[at].tolist()
        assert pieces["end"].tolist() == groups.end[at].tolist()

    @pytest.mark.parametrize(("local", "positions"), [
        pytest.param([0, 9], [0, 1], id="a group that there is not"),
        pytest.param([0, -1], [0, 1], id="a negative group"),
        pytest.param([0, 0], [0, 7], id="a position that there is not"),
    ])
    def test_wrong_numbers_are_refused(self, local: list[int], positions: list[int]) -> None:
        batch = batch_of([Segment((1, 2), (3, 4), seq=0, flags=ACK, data=b"", time_ns=at) for at in range(2)])
        groups = Groups(np.zeros(2, np.int32), np.zeros(2, np.int64), np.array(local), np.zeros(2, np.uint8))
        with pytest.raises(IndexError):
            sorted_pieces(batch, groups, np.array(positions))

    def test_pieces_that_there_are_not_are_refused(self) -> None:
        columns = FlowColumns(8)
        rows, bytes_, numbers = columns.take(1), np.zeros((2, 1), np.uint8), np.zeros((3, 1), np.int64)
        for first in ([0, 2], [-1, 1], [0, 0]):
            with pytest.raises(IndexError):
                kernels.compiled.order_pieces(columns, rows, np.array(first), np.zeros(1, PIECE), bytes_[0], 0,
                                              bytes_[1], numbers, bytes_, numbers)


_segments = st.tuples(
    st.integers(0, 3),  # cell
    st.sampled_from([0, 0, 1, 2, 3]),  # length
    st.sampled_from([0, 0, 0, 1]),  # bytes that the capture cut
    st.sampled_from([0, ACK, ACK, SYN, SYN | ACK, FIN | ACK, RST, URG | ACK, SYN | RST, FIN | RST, 255]),
    st.sampled_from(_NEAR), st.sampled_from(_NEAR), st.sampled_from([True, True, True, False]))
_cells = st.lists(st.tuples(st.booleans(), st.sampled_from(_NEAR), st.sampled_from([0, 0, 1, 5]), st.integers(0, 3),
                            st.sampled_from([0, ACK, FIN])), min_size=4, max_size=4)
_flows = st.lists(st.tuples(st.booleans(), st.sampled_from([WATCHED, PEEKED, PEEKED]), st.integers(0, 1),
                            st.booleans()), min_size=2, max_size=2)


class TestOrderedPieces:
    @given(st.lists(_segments, min_size=1, max_size=8), _cells, _flows, st.sampled_from([0, 2, 5]))
    @settings(max_examples=600, deadline=None)
    def test_flows_are_in_order_or_not_as_numpy_finds(self, segments: list[Any], cells: list[Any], flows: list[Any],
                                                      peek_bytes: int) -> None:
        cell, length, cut, flags, seq, ack, tcp = (np.array(column) for column in zip(*segments, strict=True))
        batch = cast("SegmentBatch", SimpleNamespace(
            length=length, captured=np.maximum(length - cut, 0), flags=flags.astype(np.uint8),
            seq=seq.astype(np.uint32), ack=ack.astype(np.uint32), protocol=np.where(tcp, 6, 17).astype(np.uint8)))

        def call() -> Any:
            columns, asked = FlowColumns(8), []
            rows = columns.take(3)[1:]
            names = ("known", "next_seq", "delivered", "acked", "flags")
            for name, column in zip(names, zip(*cells, strict=True), strict=True):
                columns[name][rows] = np.array(column).reshape(2, 2)
            columns.slow[rows], columns.selected[rows], columns.client_end[rows], dropped = (
                np.array(column) for column in zip(*flows, strict=True))

            def enough(some: I32) -> Any:
                asked.append(some.tolist())
                which = dropped[np.searchsorted(rows, some)]
                columns.selected[some[which]] = COUNTED
                return which

            groups = Groups(rows, np.zeros(2, np.int64), cell >> 1, (cell & 1).astype(np.uint8))
            found = ordering.ordered(columns, batch, groups, np.arange(len(cell)), peek_bytes, enough)
            return ([getattr(found, name).tolist() for name in Ordered.__struct_fields__],
                    [some for some in asked if some],
                    {name: columns[name][: columns.used].tolist() for name, *_ in _LAYOUT})

        compiled, plain = _both(call)
        assert compiled == plain


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
