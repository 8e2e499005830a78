"""Kernels of stream chunks: the chunks of the NumPy code, and the first bytes that the Python code keeps."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from helpers.segments import START_NS, Segment, batch_of
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids import kernels
from imapids.config import DialogueLimits
from imapids.flows.assembly import _chunks_of
from imapids.pipeline import _longest
from imapids.pipeline.prefix import Prefix
from imapids.records.packets import I64
from imapids.records.segments import SegmentBatch
from imapids.records.streams import CLIENT, SERVER, Piece, StreamChunk, StreamConflict, StreamEnd, StreamGap

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")


def of_segments(batch: SegmentBatch, at: I64, *columns: Any) -> tuple[list[list[Piece]], I64, I64]:
    first, size = np.full((2, len(at)), -7, np.int64)
    flow, side, stream, offset = columns
    chunks = kernels.events.Chunks(StreamChunk).of_segments(
        batch.buffer, at, flow, side, stream.view(np.uint8), offset, batch.payload, batch.captured, batch.number,
        batch.time_ns, first, size)
    return cast("list[list[Piece]]", chunks), first[: len(chunks)], size[: len(chunks)]


class TestOfSegments:
    @given(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=40), st.integers(0, 2**32), st.booleans())
    @settings(max_examples=100, deadline=None)
    def test_are_those_of_numpy(self, said: list[bytes], seed: int, datagrams: bool) -> None:
        rng, count = np.random.default_rng(seed), len(said)
        batch = batch_of([Segment((1, 1), (2, 2), data=data, time_ns=START_NS + at) for at, data in enumerate(said)])
        flow = np.cumsum(rng.integers(0, 2, count))
        columns = (flow, rng.integers(0, 2, count).astype(np.uint8),
                   rng.integers(0, 2, count) == 1 if datagrams else np.ones(count, np.bool_),
                   rng.integers(0, 2**62, count))
        at = np.sort(rng.choice(count, count, replace=bool(rng.integers(0, 2))))
        chunks, first, size = of_segments(batch, at, *columns)
        wanted, starts, sizes = _chunks_of(batch, at, *columns)
        assert chunks == wanted
        assert (first.tolist(), size.tolist()) == (starts.tolist(), sizes.tolist())
        assert b"".join(chunk.data for part in chunks for chunk in part if type(chunk) is StreamChunk) == b"".join(
            said[position] for position in at.tolist())

    @given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(0, 2**32))
    @settings(max_examples=50, deadline=None)
    def test_that_are_made_late_are_the_same(self, late: list[bool], seed: int) -> None:
        rng, flows = np.random.default_rng(seed), len(late)
        flow = np.sort(rng.integers(0, flows, 3 * flows))
        batch = batch_of([Segment((1, 1), (2, 2), data=b"%d" % number * 3) for number in range(len(flow))])
        at, first, size = np.arange(len(flow)), *np.zeros((2, len(flow)), np.int64)
        columns = flow, rng.integers(0, 2, len(flow)).astype(np.uint8), np.ones(len(flow), np.bool_), at * 3
        wanted, starts, sizes = of_segments(batch, at, *columns)
        made = kernels.events.Chunks(StreamChunk).of_segments(
            batch.buffer, at, flow, columns[1], columns[2].view(np.uint8), columns[3], batch.payload, batch.captured,
            batch.number, batch.time_ns, first, size, np.array(late).view(np.uint8))
        assert [type(part) is not list for part in made] == [late[number] for number in np.unique(flow)]
        assert (first[: len(made)].tolist(), size[: len(made)].tolist()) == (starts.tolist(), sizes.tolist())
        del batch
        assert [part if isinstance(part, list) else part() for part in reversed(made)] == wanted[::-1]

    def test_a_flow_that_nobody_said_to_make_late_or_not_is_refused(self) -> None:
        batch = batch_of([Segment((1, 1), (2, 2), data=b"ab")])
        place = np.zeros(1, np.int64)
        with pytest.raises(IndexError):
            kernels.events.Chunks(StreamChunk).of_segments(
                batch.buffer, place, place, np.zeros(1, np.uint8), np.ones(1, np.uint8), place, batch.payload,
                batch.captured, batch.number, batch.time_ns, place.copy(), place.copy(), np.zeros(0, np.uint8))

    @pytest.mark.parametrize(("low", "size"), [
        pytest.param(-1, 1, id="before the buffer"),
        pytest.param(3, 2, id="over its end"),
        pytest.param(5, 0, id="behind its end"),
        pytest.param(0, -1, id="a negative size"),
        pytest.param(2**63 - 1, 1, id="a place whose end overflows"),
        pytest.param(1, 2**63 - 1, id="a size whose end overflows"),
    ])
    @pytest.mark.parametrize("before", [pytest.param(0, id="the first"), pytest.param(1, id="a later one")])
    def test_a_payload_outside_of_the_buffer_is_refused(self, low: int, size: int, before: int) -> None:
        batch = batch_of([Segment((1, 1), (2, 2), data=b"ab"), Segment((1, 1), (2, 2), data=b"cd")])
        batch.buffer = batch.buffer[:4]
        batch.payload[before], batch.captured[before] = low, size
        with pytest.raises(IndexError):
            of_segments(batch, np.arange(2), np.zeros(2, np.int64), np.zeros(2, np.uint8), np.ones(2, np.bool_),
                        np.zeros(2, np.int64))

    @pytest.mark.parametrize("at", [pytest.param([2], id="behind the batch"), pytest.param([-1], id="before it"),
                                    pytest.param([0, 9], id="the second of a run")])
    def test_a_segment_that_is_not_there_is_refused(self, at: list[int]) -> None:
        batch, count = batch_of([Segment((1, 1), (2, 2), data=b"ab")] * 2), len(at)
        with pytest.raises(IndexError):
            of_segments(batch, np.array(at), np.zeros(count, np.int64), np.zeros(count, np.uint8),
                        np.ones(count, np.bool_), np.zeros(count, np.int64))

    def test_columns_that_are_too_short_are_refused(self) -> None:
        batch = batch_of([Segment((1, 1), (2, 2), data=b"ab")] * 2)
        with pytest.raises(IndexError):
            of_segments(batch, np.arange(2), np.zeros(1, np.int64), np.zeros(2, np.uint8), np.ones(2, np.bool_),
                        np.zeros(2, np.int64))

    def test_an_empty_buffer_has_empty_payloads(self) -> None:
        batch = batch_of([Segment((1, 1), (2, 2))])
        chunks, _, _ = of_segments(batch, np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1, np.uint8),
                                   np.ones(1, np.bool_), np.zeros(1, np.int64))
        assert chunks == [[StreamChunk(0, 0, b"", START_NS, 1)]]


sides = st.integers(0, 1)
pieces = st.one_of(
    st.builds(StreamChunk, sides, st.just(0), st.binary(max_size=12), st.just(START_NS), st.integers(1, 1 << 40)),
    st.builds(StreamGap, sides, st.just(0), st.just(5), st.just(START_NS), st.just(7)),
    st.builds(StreamConflict, sides, st.just(0), st.just(b"a"), st.just(b"b"), st.just(START_NS), st.just(8)),
    st.builds(StreamEnd, st.just(START_NS), st.just(9), st.just("fin")))


@given(st.lists(st.lists(pieces, max_size=8), max_size=4), st.integers(0, 20), st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_first_bytes_are_those_of_the_python_code(parts: list[list[Piece]], limit: int, turns: int) -> None:
    def kept() -> tuple[Any, ...]:
        prefix = Prefix(DialogueLimits(sniff_bytes=limit, sniff_turns=turns))
        told = [prefix.add_chunks(part) for part in parts]
        return told, prefix.data, prefix.ended, prefix.turns, prefix.first_side, prefix.datagrams

    with pytest.MonkeyPatch.context() as patch:
        compiled = kept()
        patch.setattr(kernels, "COMPILED", False)
        assert compiled == kept()


def test_what_is_no_chunk_is_refused() -> None:
    with pytest.raises((TypeError, IndexError)):
        kernels.events.Chunks(StreamChunk).first_bytes(
            [StreamChunk(5, 0, b"a", 0, 1)], StreamGap, (bytearray(), bytearray()), [False, False], [], 5, 5)
    with pytest.raises(TypeError):
        kernels.events.Chunks(StreamChunk).first_bytes(
            [StreamChunk(0, 0, "text", 0, 1)],  # type: ignore[arg-type]
            StreamGap, (bytearray(), bytearray()), [False, False], [], 5, 5)
    with pytest.raises(ValueError, match="not in tuple"):
        kernels.events.Chunks(StreamGap)


@pytest.mark.parametrize(("pieces", "size"), [
    pytest.param([], 0, id="none"),
    pytest.param([StreamGap(SERVER, 0, 900, 1, 1)], 0, id="a gap"),
    pytest.param([StreamChunk(CLIENT, 0, b"ab", 1, 1), StreamChunk(SERVER, 0, b"abcd", 1, 1),
                  StreamChunk(CLIENT, 2, b"", 1, 1)], 4, id="several"),
])
def test_the_longest_chunk_is_found(pieces: list[Piece], size: int) -> None:
    assert kernels.events.Chunks(StreamChunk).longest(pieces) == size == _longest(pieces)
