"""Joins the segments of selected flows to stream chunks: slices where they are in order, segment by segment where not.

Which flows of a batch arrived in order, ordering.py tells. Only the others enter the per-segment reassembler, and leave
it when nothing is held.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise

import numpy as np

from imapids import kernels
from imapids.config import FlowLimits
from imapids.flows.columns import COUNTED, FlowColumns
from imapids.flows.grouping import Groups
from imapids.flows.ordering import IS_QUIET, Ordered, ordered, starts_of
from imapids.flows.reassembly import PendingBudget, Reassembly
from imapids.records.packets import I32, I64, U8, Bool
from imapids.records.segments import TCP, SegmentBatch
from imapids.records.streams import CLIENT, Flow, FlowUpdate, Piece, StreamChunk, StreamGap

_COPY_RATIO = 1_024
"""Bytes of the buffer for each segment up to which copying it whole is cheaper (0.05 ns a byte against 70 ns)."""


_Step = tuple[int, int, int, int, int, int, int, int, int]
"""Side, seq, ack, flags, payload, captured, length, number and time_ns of a segment."""
_NOT_MADE: list[Piece] = []
"""Stands in updates for the pieces that are made when they are read."""


class Stream:
    """What is kept of a selected flow that has payload."""

    __slots__ = ("by_segment", "flow", "key", "reassembly", "recent")

    def __init__(self, flow: Flow, key: int) -> None:
        self.flow = flow
        self.key = key
        """The flow's number in the run, for who reads its updates: rows are used again, numbers are not."""
        self.recent: list[Piece] = []
        """What the fast path delivered last, to compare later copies with."""
        self.reassembly: Reassembly | None = None
        self.by_segment = False
        """The reassembler holds the truth about the flow; else the columns do."""

    def close(self) -> None:
        """Both sides closed the flow: its newest bytes are dropped, for nobody takes a later copy (reassembly does the
        same). Closed flows wait for their end in great numbers."""
        if self.recent:
            self.recent = []
        if self.reassembly is not None:
            for half in self.reassembly.halves:
                half.forget()


class Assembler:
    """Turns the segments of selected flows into chunks, gaps and conflicts."""

    def __init__(self, limits: FlowLimits, columns: FlowColumns, open_flows: Callable[[I32], list[Flow]],
                 services_of: Callable[[I32], Sequence[Hashable]], peek_bytes: int = 0, late: bool = False) -> None:
        self.limits = limits
        self.columns = columns
        self.open_flows = open_flows
        """Makes the records of flows when their first payload comes."""
        self.peek_bytes = peek_bytes
        """A side of a peeked flow is read until it has delivered so much; 0: no flow is peeked at."""
        self.late = late
        """Leave it to who reads the updates to make chunks, where nobody else needs them."""
        self.services_of = services_of
        """Names the services of rows: server, port, direction."""
        self._peeked: dict[Hashable, int] = {}
        """Conversations with each service that spoke."""
        self.streams: dict[int, Stream] = {}
        self._chunks = kernels.events.Chunks(StreamChunk) if kernels.COMPILED else None
        self.budget = PendingBudget(limits.pending_bytes_all)

    def feed(self, batch: SegmentBatch, groups: Groups, positions: I64) -> list[FlowUpdate]:
        """Updates of one batch, one for each flow that has something to deliver.

        Args:
            positions: the segments of selected flows, ascending.
        """
        segments = ordered(self.columns, batch, groups, positions, self.peek_bytes, self._enough_peeked)
        updates: list[FlowUpdate] = []
        if segments.odd_at.size:
            self._by_segment(batch, groups.end, segments, updates)
        if segments.at.size:
            self._by_slices(batch, segments, updates)
        for row in segments.rows[segments.closed == IS_QUIET].tolist():
            stream = self.streams.get(row)
            if stream is not None:
                stream.close()
        return updates

    def _enough_peeked(self, rows: I32) -> Bool:
        """Lets go of flows to services of which enough was seen: thousands of them would tell nothing new.

        Who spoke counts, in the order of first payloads: whoever only knocks uses nothing up.
        """
        limits, streams, peeked = self.limits, self.streams, self._peeked
        first, every, most = limits.peeked_conversations, limits.peeked_every, limits.streams
        known: list[int] = []
        for place, (row, service) in enumerate(zip(rows.tolist(), self.services_of(rows), strict=True)):
            if row in streams:
                continue
            seen = peeked.get(service, 0)
            if seen >= first and seen % every:
                known.append(place)
            if len(peeked) >= most:  # services that were made up: nobody has so many
                peeked.clear()
            peeked[service] = seen + 1
        dropped = np.zeros(len(rows), bool)
        dropped[known] = True
        self.columns.selected[rows[dropped]] = COUNTED
        return dropped

    def _streams_of(self, rows: I32) -> list[Stream]:
        """The streams of rows, made where they are new."""
        streams = self.streams
        numbers = rows.tolist()
        found = [streams.get(row) for row in numbers]
        if None in found:
            new = [row for row, stream in zip(numbers, found, strict=True) if stream is None]
            rows = np.array(new, np.int32)
            for row, flow, key in zip(new, self.open_flows(rows), self.columns.serial[rows].tolist(), strict=True):
                streams[row] = Stream(flow, key)
        return [streams[row] for row in numbers]

    def _by_slices(self, batch: SegmentBatch, segments: Ordered, updates: list[FlowUpdate]) -> None:
        """Chunks of flows in order: one for each run of one side's segments."""
        at, flows, closed = segments.at, segments.flow, segments.closed
        chunks: Sequence[list[Piece] | Callable[[], list[Piece]]]
        if self._chunks is not None and kernels.COMPILED:
            first, sizes = np.empty((2, len(at)), np.int64)
            late = closed if self.late else None  # later copies are not compared with these
            chunks = self._chunks.of_segments(
                batch.buffer, at, flows, segments.side, segments.stream, segments.offset, batch.payload, batch.captured,
                batch.number, batch.time_ns, first, sizes, late)
            first, sizes = first[: len(chunks)], sizes[: len(chunks)]
        else:
            chunks, first, sizes = _chunks_of(
                batch, at, flows, segments.side, segments.stream.view(np.bool_), segments.offset)
        flows = flows.take(first)
        keep_whole = 4 * self.limits.history_bytes
        for stream, pieces, size, over in zip(self._streams_of(segments.rows.take(flows)), chunks, sizes.tolist(),
                                              closed.take(flows).tolist(), strict=True):
            if not isinstance(pieces, list):  # of a flow that is closed
                updates.append(FlowUpdate(stream.flow, _NOT_MADE, stream.key, pieces))
                stream.close()
                continue
            updates.append(FlowUpdate(stream.flow, pieces, stream.key))
            if over:
                stream.close()
            elif not stream.recent and len(pieces) <= 16 and size <= keep_whole:
                stream.recent = pieces
            else:
                stream.recent = _newest(stream.recent + pieces, self.limits.history_bytes)

    def _by_segment(self, batch: SegmentBatch, end: U8, segments: Ordered, updates: list[FlowUpdate]) -> None:
        """Feeds odd flows to their reassemblers, all their segments, in capture order.

        Args:
            end: which end of its key sent each segment of the batch.
        """
        columns, at = self.columns, segments.odd_at
        rows = segments.rows.take(segments.odd_flow)
        bounds = np.append(np.flatnonzero(starts_of(rows)), len(rows)).tolist()
        sides = (end.take(at) ^ columns.client_end[rows]).tolist()
        tcp = (batch.protocol.take(at) == TCP).tolist()
        row_list = rows.tolist()
        steps: list[_Step] = list(zip(sides, *(
            getattr(batch, name).take(at).tolist()
            for name in ("seq", "ack", "flags", "payload", "captured", "length", "number", "time_ns")), strict=True))
        view = batch.buffer.data
        owners = self._streams_of(rows[bounds[:-1]])
        for (start, stop), stream in zip(pairwise(bounds), owners, strict=True):
            row = row_list[start]
            pieces: list[Piece] = []
            if not tcp[start]:  # a datagram that the snaplen cut
                self._datagrams(row, steps[start:stop], view, pieces)
            else:
                reassembly = self._enter(row, stream)
                limit = self.peek_bytes if stream.flow.peeked else 1 << 62
                for side, seq, ack, flags, low, captured, length, number, time_ns in steps[start:stop]:
                    if reassembly.halves[side].offset < limit:
                        pieces += reassembly.feed(side, seq, ack, flags, bytes(view[low : low + captured]), length,
                                                  number, time_ns)
                self._leave(row, stream, reassembly)
            if pieces:
                _add_missing(stream.flow, pieces)
                updates.append(FlowUpdate(stream.flow, pieces, stream.key))

    def _datagrams(self, row: int, steps: list[_Step], view: memoryview, pieces: list[Piece]) -> None:
        columns = self.columns
        stream = self.streams[row]
        for side, _, _, _, low, size, length, number, time_ns in steps:
            end = side ^ int(columns.client_end[row])
            offset = int(columns.delivered[row, end])
            if size:
                pieces.append(StreamChunk(side, offset, bytes(view[low : low + size]), time_ns, number))
            stream.flow.snapped |= size < length
            columns.delivered[row, end] += length
        columns.slow[row] = False

    def _enter(self, row: int, stream: Stream) -> Reassembly:
        """Gives a flow to a reassembler, with what the columns know about it."""
        columns = self.columns
        reassembly = stream.reassembly
        if reassembly is None:
            reassembly = stream.reassembly = Reassembly(self.limits, self.budget)
        if stream.by_segment:
            return reassembly
        stream.by_segment = True
        client_end = int(columns.client_end[row])
        for side, half in enumerate(reassembly.halves):
            end = side ^ client_end
            half.offset = int(columns.delivered[row, end])
            if columns.known[row, end]:
                half.start(int(columns.next_seq[row, end]))
            half.acknowledge(int(columns.acked[row, end]))
            if columns.heard[row, end]:
                reassembly.seen_sides |= 1 << side
            if columns.finished[row, end] and half.fin is None:
                half.fin = half.offset
        for piece in stream.recent:
            if type(piece) is StreamChunk:  # a conflict is with one packet: how packets were joined must not show
                half, starts = reassembly.halves[piece.side], [0, *(piece.starts or ()), len(piece.data)]
                for start, stop in pairwise(starts):
                    half.remember(piece.offset + start, piece.data[start:stop], self.limits.history_bytes)
        stream.recent = []
        return reassembly

    def _leave(self, row: int, stream: Stream, reassembly: Reassembly) -> None:
        """Writes the state back; a flow that holds nothing goes on along the fast path."""
        columns = self.columns
        client_end = int(columns.client_end[row])
        for side, half in enumerate(reassembly.halves):
            end = side ^ client_end
            columns.known[row, end] = half.known
            columns.next_seq[row, end] = half.next_seq
            columns.delivered[row, end] = half.offset
            columns.acked[row, end] = max(half.acked, int(columns.acked[row, end]))
        self._tell(stream.flow, reassembly)
        if not reassembly.busy and all(half.fin is None for half in reassembly.halves):
            stream.by_segment = False
            columns.slow[row] = False

    @staticmethod
    def _tell(flow: Flow, reassembly: Reassembly) -> None:
        """The reassembler's counts, on the flow's record."""
        flow.anomalies = reassembly.anomalies
        if reassembly.hit_limits:
            flow.limits = sorted({*flow.limits, *reassembly.hit_limits})  # the dialogue has limits of its own
        flow.snapped |= reassembly.snapped

    def forget(self, row: int) -> None:
        """A peeked flow is to be read as if nothing of it had been."""
        stream = self.streams.pop(row, None)
        if stream is not None and stream.reassembly is not None:
            self.budget.held -= sum(half.held for half in stream.reassembly.halves)
        columns = self.columns
        columns.known[row] = columns.slow[row] = False
        columns.next_seq[row] = columns.acked[row] = columns.delivered[row] = 0

    def finish(self, stream: Stream, packet: int, time_ns: int) -> list[Piece]:
        """A flow is over: what is still held of it."""
        reassembly = stream.reassembly
        if reassembly is None:
            return []
        pieces = reassembly.finish(packet, time_ns) if stream.by_segment else []
        self.budget.held -= sum(half.held for half in reassembly.halves)
        self._tell(stream.flow, reassembly)
        _add_missing(stream.flow, pieces)
        return pieces


def _chunks_of(batch: SegmentBatch, at: I64, flows: I64, sides: U8, stream: Bool, offsets: I64) -> tuple[
        list[list[Piece]], I64, I64]:
    """Chunks of segments in order, one for each run of one side; a datagram is a unit of its own.

    Returns:
        (chunks of each flow, the first of its segments among all, its bytes).
    """
    breaks = starts_of(flows)
    flow_first = np.flatnonzero(breaks)
    breaks[1:] |= sides[1:] != sides[:-1]
    breaks |= ~stream
    first = np.flatnonzero(breaks)
    low, sizes = batch.payload.take(at), batch.captured.take(at)
    numbers, times = batch.number.take(at), batch.time_ns.take(at)
    chunks: list[Piece] = list(map(
        StreamChunk, sides[first].tolist(), offsets[first].tolist(), _bytes_of(batch.buffer, low, sizes, first),
        times[first].tolist(), numbers[first].tolist()))
    if len(first) < len(at):  # several segments without a word of the other side
        _tell_further(chunks, first, breaks, sizes, numbers, times)
    bounds = pairwise([*np.searchsorted(first, flow_first).tolist(), len(first)])
    return [chunks[start:stop] for start, stop in bounds], flow_first, np.add.reduceat(sizes, flow_first)


def _bytes_of(buffer: U8, low: I64, sizes: I64, first: I64) -> list[bytes]:
    """The payloads of segments, those of each run joined to one; `first`: where the runs begin."""
    stop = low + sizes
    base, top = int(low.min()), int(stop.max())
    dense = top - base < _COPY_RATIO * len(low)
    data: bytes | memoryview = buffer[base:top].tobytes() if dense else buffer.data
    base = base if dense else 0
    bounds = zip((low - base).tolist(), (stop - base).tolist(), strict=True)
    cut = [data[start:end] for start, end in bounds] if isinstance(data, bytes) else [
        bytes(data[start:end]) for start, end in bounds]
    if len(first) == len(cut):
        return cut
    return [cut[start] if end - start == 1 else b"".join(cut[start:end])
            for start, end in pairwise([*first.tolist(), len(cut)])]


def _tell_further(chunks: list[Piece], first: I64, breaks: Bool, sizes: I64, numbers: I64, times: I64) -> None:
    """Gives chunks of several segments the place, frame number and time of each behind the first.

    Args:
        first: the first segment of each chunk, which `breaks` marks among all.
    """
    further = np.flatnonzero(~breaks)
    before = np.cumsum(sizes) - sizes
    lengths = np.diff(first, append=len(breaks)) - 1
    several = np.flatnonzero(lengths)
    starts = (before.take(further) - before.take(first.take(several)).repeat(lengths.take(several))).tolist()
    packets, times_ns = numbers.take(further).tolist(), times.take(further).tolist()
    start = 0
    for run, stop in zip(several.tolist(), np.cumsum(lengths.take(several)).tolist(), strict=True):
        chunk = chunks[run]
        assert type(chunk) is StreamChunk
        chunk.starts, chunk.packets, chunk.times = starts[start:stop], packets[start:stop], times_ns[start:stop]
        start = stop


def _add_missing(flow: Flow, pieces: list[Piece]) -> None:
    """Counts the bytes of gaps on the flow's record."""
    for piece in pieces:
        if type(piece) is StreamGap:
            if piece.side == CLIENT:
                flow.missing_client += piece.length
            else:
                flow.missing_server += piece.length


def _newest(pieces: list[Piece], limit: int) -> list[Piece]:
    """The newest `limit` delivered bytes of both sides, in order."""
    kept: list[Piece] = []
    missing = [limit, limit]
    for piece in reversed(pieces):
        if type(piece) is not StreamChunk or missing[piece.side] <= 0:
            continue
        size = len(piece.data)
        kept.append(piece if size <= limit else piece.tail(size - limit))
        missing[piece.side] -= size
        if missing[0] <= 0 and missing[1] <= 0:
            break
    kept.reverse()
    return kept
