"""Joins the segments of selected flows to stream chunks: slices where they are in order, segment by segment where not.

One comparison of arrays tells for all flows of a batch at once which of them arrived in order, without overlap,
urgent data or cut payload. Only the others enter the per-segment reassembler, and leave it when nothing is held.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from imapids.config import FlowLimits
from imapids.flows.columns import PEEKED, FlowColumns
from imapids.flows.reassembly import PendingBudget, Reassembly
from imapids.records.packets import I32, I64, U8, U16, U32, Bool
from imapids.records.segments import ACK, FIN, RST, SYN, TCP, URG, SegmentBatch
from imapids.records.streams import CLIENT, Flow, FlowUpdate, Piece, StreamChunk, StreamGap


class Stream:
    """What is kept of a selected flow that has payload."""

    __slots__ = ("by_segment", "flow", "reassembly", "recent")

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.recent: list[Piece] = []
        """What the fast path delivered last, to compare later copies with."""
        self.reassembly: Reassembly | None = None
        self.by_segment = False
        """The reassembler holds the truth about the flow; else the columns do."""


@dataclass(slots=True)
class _Sorted:
    """The segments of selected flows of one batch, ordered by flow, in capture order inside a flow."""

    at: I64
    """Position in the batch."""
    row: I32
    end: U8
    length: I64
    flags: U8
    tcp: Bool


def _starts(rows: I32) -> Bool:
    """Marks the first element of each run of equal rows."""
    starts = np.empty(len(rows), bool)
    starts[:1] = True
    np.not_equal(rows[1:], rows[:-1], out=starts[1:])
    return starts


class Assembler:
    """Turns the segments of selected flows into chunks, gaps and conflicts."""

    def __init__(self, limits: FlowLimits, columns: FlowColumns, open_flows: Callable[[I32], list[Flow]],
                 peek_bytes: int = 0) -> None:
        self.limits = limits
        self.columns = columns
        self.open_flows = open_flows
        """Makes the records of flows when their first payload comes."""
        self.peek_bytes = peek_bytes
        """A side of a peeked flow is read until it has delivered so much; 0: no flow is peeked at."""
        self.streams: dict[int, Stream] = {}
        self.budget = PendingBudget(limits.pending_bytes_all)

    def feed(self, batch: SegmentBatch, rows: I32, local: U16, ends: U8, positions: I64) -> list[FlowUpdate]:
        """Updates of one batch, one for each flow that has something to deliver.

        Args:
            batch: the segments.
            rows: the row of each segment of the batch; `local`: the same, numbered within the batch.
            ends: which end of the key sent it.
            positions: the segments of selected flows, in capture order.
        """
        at = positions[np.argsort(local[positions], kind="stable")]
        part = _Sorted(at, rows[at], ends[at], batch.length[at], batch.flags[at], batch.protocol[at] == TCP)
        self._learn_starts(batch, part)
        acking, ack_rows, peers, acked = self._acks(batch, part)
        offset = self._check_order(batch, part)
        updates: list[FlowUpdate] = []
        slow = self.columns.slow[part.row]
        if self.peek_bytes:
            peeked = self.columns.selected[part.row] == PEEKED
            past = peeked & (offset >= self.peek_bytes)
            keep = ~(past | (peeked & slow))[acking]  # what a side sends behind its part is not looked at
            ack_rows, peers, acked = ack_rows[keep], peers[keep], acked[keep]
        if slow.any():
            self._by_segment(batch, part, np.flatnonzero(slow), updates)
            plain = np.flatnonzero(~slow & (part.length > 0))
        else:
            plain = np.flatnonzero(part.length > 0)
        if self.peek_bytes:
            plain = plain[~past[plain]]
        if plain.size:
            self._by_slices(batch, part, plain, offset[plain], updates)
        np.maximum.at(self.columns.acked, (ack_rows, peers), acked)  # not before: a reassembler sees each at its place
        return updates

    def _learn_starts(self, batch: SegmentBatch, part: _Sorted) -> None:
        """Where each side's stream begins: its SYN, or the first packet that tells (its own, or the peer's ACK)."""
        columns = self.columns
        usable = part.tcp & ((part.flags & RST) == 0)
        for side in (0, 1):
            unknown = ~columns.known[part.row, side] & usable
            if not unknown.any():
                continue
            own = part.end == side
            here = np.flatnonzero(unknown & (own | ((part.flags & ACK) != 0)))
            here = here[_starts(part.row[here])]
            where = part.at[here]
            start = np.where(own[here], batch.seq[where] + ((part.flags[here] & SYN) != 0), batch.ack[where])
            columns.next_seq[part.row[here], side] = start.astype(np.uint32)
            columns.known[part.row[here], side] = True

    def _acks(self, batch: SegmentBatch, part: _Sorted) -> tuple[I64, I32, U8, I64]:
        """(positions, rows, ends, stream offsets) of acknowledged bytes: what tells a lost segment from a late one."""
        columns = self.columns
        usable = np.flatnonzero(part.tcp & ((part.flags & (ACK | RST)) == ACK))
        rows, peer = part.row[usable], 1 - part.end[usable]
        ahead = (batch.ack[part.at[usable]] - columns.next_seq[rows, peer]).astype(np.int32)
        return usable, rows, peer, ahead + columns.delivered[rows, peer]

    def _check_order(self, batch: SegmentBatch, part: _Sorted) -> I64:
        """Marks flows that are not in order as slow; moves the others on.

        Returns the stream offset of each segment, which holds where its flow is in order.
        """
        columns = self.columns
        offset = np.zeros(len(part.row), np.int64)
        seq = batch.seq[part.at]
        odd_flags = (part.flags & (URG | SYN | RST)) != 0
        cut = batch.captured[part.at] < part.length
        moves = []
        self._check_handshakes(part, seq)
        flow_first = np.flatnonzero(_starts(part.row))
        flow_size = np.diff(flow_first, append=len(part.row))
        for side in (0, 1):
            own = part.end == side
            sent = np.where(own, part.length, 0)
            before_each = np.cumsum(sent) - sent
            offset += np.where(own, before_each - np.repeat(before_each[flow_first], flow_size)
                               + columns.delivered[part.row, side], 0)
            here = np.flatnonzero((part.end == side) & ((part.length > 0) | ((part.flags & FIN) != 0)))
            if not here.size:
                continue
            rows, size = part.row[here], part.length[here]
            starts = _starts(rows)
            first = np.flatnonzero(starts)
            last = np.append(first[1:], len(here)) - 1
            after = (seq[here] + size.astype(np.uint32)).astype(np.uint32)
            expected = np.empty(len(here), np.uint32)
            expected[1:] = after[:-1]
            expected[first] = columns.next_seq[rows[first], side]
            wrong = (seq[here] != expected) | (odd_flags[here] & (size > 0)) | ~columns.known[rows, side]
            wrong &= part.tcp[here]
            wrong |= cut[here]
            if wrong.any():
                columns.slow[rows[wrong]] = True
            total = np.cumsum(size)
            before = total[first] - size[first]
            moves.append((side, rows[last], after[last], total[last] - before))
        for side, rows, after, size in moves:
            keep = ~columns.slow[rows]
            columns.next_seq[rows[keep], side] = after[keep]
            columns.delivered[rows[keep], side] += size[keep]
        return offset

    def _check_handshakes(self, part: _Sorted, seq: U32) -> None:
        """A SYN that does not fit the known start of its side, before any byte came: one of several is forged."""
        columns = self.columns
        syn = np.flatnonzero(part.tcp & ((part.flags & SYN) != 0))
        rows, ends = part.row[syn], part.end[syn]
        other = (seq[syn] + np.uint32(1)) != columns.next_seq[rows, ends]
        columns.slow[rows[other & (columns.delivered[rows, ends] == 0)]] = True

    def _streams_of(self, rows: I32) -> list[Stream]:
        """The streams of rows, made where they are new."""
        streams = self.streams
        numbers = rows.tolist()
        found = [streams.get(row) for row in numbers]
        if None in found:
            new = [row for row, stream in zip(numbers, found, strict=True) if stream is None]
            for row, flow in zip(new, self.open_flows(np.array(new, np.int32)), strict=True):
                streams[row] = Stream(flow)
        return [streams[row] for row in numbers]

    def _by_slices(self, batch: SegmentBatch, part: _Sorted, plain: I64, offsets: I64,
                   updates: list[FlowUpdate]) -> None:
        """Chunks of flows in order: one for each run of one side's segments."""
        rows, sides = part.row[plain], part.end[plain] ^ self.columns.client_end[part.row[plain]]
        at = part.at[plain]
        breaks = _starts(rows)
        flow_first = np.flatnonzero(breaks)
        breaks[1:] |= sides[1:] != sides[:-1]
        breaks |= ~part.tcp[plain]  # a datagram is a unit of its own
        first = np.flatnonzero(breaks)
        flow_at = np.searchsorted(first, flow_first).tolist()
        flow_at.append(len(first))
        low = batch.payload.take(at)
        sizes = batch.captured.take(at)
        numbers, times = batch.number.take(at), batch.time_ns.take(at)
        flow_bytes = np.add.reduceat(sizes, flow_first).tolist()
        view = batch.buffer.data
        begin = low[first]
        columns_of = (sides[first], offsets[first], begin, begin + sizes[first], times[first], numbers[first])
        chunks: list[Piece] = [
            StreamChunk(side, offset, bytes(view[start:stop]), time_ns, number)
            for side, offset, start, stop, time_ns, number in zip(*(c.tolist() for c in columns_of), strict=True)]
        lengths = np.diff(first, append=len(plain))
        for run in np.flatnonzero(lengths > 1).tolist():  # several segments without a word of the other side
            part_of = slice(int(first[run]), int(first[run] + lengths[run]))
            _join(chunks[run], view, low[part_of], sizes[part_of], numbers[part_of], times[part_of])
        owners = rows[flow_first]
        keep_whole = 4 * self.limits.history_bytes
        for index, (row, stream) in enumerate(zip(owners.tolist(), self._streams_of(owners), strict=True)):
            pieces = chunks[flow_at[index] : flow_at[index + 1]]
            updates.append(FlowUpdate(stream.flow, pieces, row))
            if not stream.recent and len(pieces) <= 16 and flow_bytes[index] <= keep_whole:
                stream.recent = pieces
            else:
                stream.recent = _newest(stream.recent + pieces, self.limits.history_bytes)

    def _by_segment(self, batch: SegmentBatch, part: _Sorted, slow: I64, updates: list[FlowUpdate]) -> None:
        """Feeds odd flows to their reassemblers, all their segments, in capture order."""
        columns = self.columns
        at = part.at[slow]
        rows = part.row[slow]
        bounds = np.append(np.flatnonzero(_starts(rows)), len(rows)).tolist()
        sides = (part.end[slow] ^ columns.client_end[rows]).tolist()
        tcp = part.tcp[slow].tolist()
        row_list = rows.tolist()
        fields = [getattr(batch, name)[at].tolist()
                  for name in ("seq", "ack", "flags", "payload", "captured", "length", "number", "time_ns")]
        view = batch.buffer.data
        owners = self._streams_of(rows[bounds[:-1]])
        for (start, stop), stream in zip(pairwise(bounds), owners, strict=True):
            row = row_list[start]
            pieces: list[Piece] = []
            if not tcp[start]:  # a datagram that the snaplen cut
                self._datagrams(row, sides[start:stop], [field[start:stop] for field in fields], view, pieces)
            else:
                reassembly = self._enter(row, stream)
                limit = self.peek_bytes if stream.flow.peeked else 1 << 62
                for i in range(start, stop):
                    if reassembly.halves[sides[i]].offset >= limit:
                        continue
                    seq, ack, flags, low, captured, length, number, time_ns = (field[i] for field in fields)
                    pieces += reassembly.feed(sides[i], seq, ack, flags, bytes(view[low : low + captured]), length,
                                              number, time_ns)
                self._leave(row, stream, reassembly)
            if pieces:
                _add_missing(stream.flow, pieces)
                updates.append(FlowUpdate(stream.flow, pieces, row))

    def _datagrams(self, row: int, sides: list[int], fields: list[list[int]], view: memoryview,
                   pieces: list[Piece]) -> None:
        columns = self.columns
        stream = self.streams[row]
        _, _, _, payload, captured, lengths, numbers, times = fields
        columns_of = (sides, payload, captured, lengths, numbers, times)
        for side, low, size, length, number, time_ns in zip(*columns_of, strict=True):
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
            if type(piece) is StreamChunk:
                reassembly.halves[piece.side].remember(piece.offset, piece.data, self.limits.history_bytes)
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
        flow.limits = sorted(reassembly.hit_limits)
        flow.snapped |= reassembly.snapped

    def forget(self, row: int) -> None:
        """A peeked flow is to be read as if nothing of it had been."""
        stream = self.streams.pop(row, None)
        if stream is not None and stream.reassembly is not None:
            self.budget.held -= sum(half.held for half in stream.reassembly.halves)
        columns = self.columns
        columns.known[row] = columns.slow[row] = False
        columns.next_seq[row] = columns.acked[row] = columns.delivered[row] = 0

    def finish(self, row: int, packet: int, time_ns: int) -> list[Piece]:
        """The flow is over: what is still held of it."""
        stream = self.streams.pop(row, None)
        if stream is None or stream.reassembly is None:
            return []
        reassembly = stream.reassembly
        pieces = reassembly.finish(packet, time_ns) if stream.by_segment else []
        self.budget.held -= sum(half.held for half in reassembly.halves)
        self._tell(stream.flow, reassembly)
        _add_missing(stream.flow, pieces)
        return pieces


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


def _join(chunk: Piece, view: memoryview, low: I64, sizes: I64, numbers: I64, times: I64) -> None:
    """Makes a chunk of its first segment one of all its segments, with the place of each."""
    assert type(chunk) is StreamChunk
    chunk.data = b"".join([view[start:stop] for start, stop in zip(low.tolist(), (low + sizes).tolist(), strict=True)])
    chunk.starts = np.cumsum(sizes)[:-1].tolist()
    chunk.packets = numbers[1:].tolist()
    chunk.times = times[1:].tolist()
