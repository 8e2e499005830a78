"""Joins the segments of selected flows to stream chunks: slices where they are in order, segment by segment where not.

One comparison of arrays tells for all flows of a batch at once which of them arrived in order, without overlap,
urgent data or cut payload. Only the others enter the per-segment reassembler, and leave it when nothing is held.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from imapids import kernels
from imapids.config import FlowLimits
from imapids.flows.columns import COUNTED, PEEKED, FlowColumns
from imapids.flows.grouping import Groups
from imapids.flows.reassembly import PendingBudget, Reassembly
from imapids.records.packets import I32, I64, U8, U32, Bool
from imapids.records.segments import ACK, FIN, RST, SYN, TCP, URG, SegmentBatch
from imapids.records.streams import CLIENT, Flow, FlowUpdate, Piece, StreamChunk, StreamGap

_COPY_RATIO = 1_024
"""Bytes of the buffer for each segment up to which copying it whole is cheaper (0.05 ns a byte against 70 ns)."""


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


@dataclass(slots=True, eq=False, repr=False)
class _Part:
    """The segments of selected flows of one batch, ordered by flow, in capture order inside a flow.

    n segments of f flows; 2 * f directions ("cells"), whose state before the batch is copied from the columns.
    """

    rows: I32
    """Shape (f,)."""
    known: Bool
    """Shape (2 * f,); so are the next two."""
    next_seq: U32
    delivered: I64
    at: I64
    """Position in the batch, shape (n,); so are those that follow."""
    flow: I64
    end: U8
    cell: I64
    """2 * flow + end."""
    length: I64
    flags: U8
    seq: U32
    ack: U32
    tcp: Bool


def _starts(values: I64 | I32) -> Bool:
    """Marks the first element of each run of equal values."""
    starts = np.empty(len(values), bool)
    starts[:1] = True
    np.not_equal(values[1:], values[:-1], out=starts[1:])
    return starts


def _first_of(cells: I64, positions: I64, count: int, none: int) -> I64:
    """The first of ascending positions for each cell, `none` where a cell has none."""
    first = np.full(count, none, np.int64)
    first[cells[::-1]] = positions[::-1]
    return first


def _sorted(local: I64, positions: I64) -> tuple[I64, I64, I64]:
    """Ascending positions sorted by their groups: (positions, numbers of their flows, group of each flow)."""
    shift = int(positions[-1]).bit_length() if len(positions) else 0
    order = local.take(positions)
    order <<= shift
    order |= positions
    order.sort()
    at = order & ((1 << shift) - 1)
    order >>= shift
    starts = _starts(order)
    flow: I64 = np.cumsum(starts, dtype=np.int64) - 1
    return at, flow, order[starts]


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
        columns = self.columns
        part = self._part(batch, groups, positions)
        if kernels.COMPILED:
            slow, offset = self._check_compiled(batch, part)
        else:
            self._learn_starts(part)
            slow, offset = self._check_order(batch, part)
        any_slow = bool(slow.any())
        plain = part.length > 0
        told: Bool | None = None
        if any_slow:
            told = ~slow.take(part.flow)
            plain &= told
        if self.peek_bytes:
            peeked = columns.selected[part.rows] == PEEKED
            if peeked.any():  # what a side sends behind its first bytes is not looked at
                past = self._past(part, peeked)
                past |= self._enough_peeked(part, peeked).take(part.flow)
                plain &= ~past
                slow &= columns.selected[part.rows] != COUNTED
                any_slow = bool(slow.any())
                told = ~past if told is None else told & ~past
        acked = self._acked(part, told)  # a reassembler sees each acknowledgement of its flow at its place
        updates: list[FlowUpdate] = []
        if any_slow:
            self._by_segment(batch, part, np.flatnonzero(slow.take(part.flow)), updates)
        chosen = np.flatnonzero(plain)
        if chosen.size:
            self._by_slices(batch, part, chosen, offset.take(chosen), updates)
        self._forget_closed(part, slow)
        columns.acked[part.rows] = np.maximum(columns.acked[part.rows], acked.reshape(-1, 2))
        return updates

    def _closed(self, part: _Part) -> Bool:
        """Which flows both sides have closed."""
        flags = self.columns.flags[part.rows]
        closed: Bool = (flags[:, 0] & flags[:, 1] & FIN) != 0
        return closed

    def _forget_closed(self, part: _Part, slow: Bool) -> None:
        """Drops the newest bytes of flows that both sides closed: nobody takes a later copy (reassembly does the same).

        Closed flows wait for their end in great numbers.
        """
        for row in part.rows[self._closed(part) & ~slow].tolist():
            stream = self.streams.get(row)
            if stream is not None:
                stream.recent = []
                if stream.reassembly is not None:
                    for half in stream.reassembly.halves:
                        half.forget()

    def _part(self, batch: SegmentBatch, groups: Groups, positions: I64) -> _Part:
        """The segments at some positions, sorted by flow."""
        if kernels.COMPILED:
            at, flow, chosen = np.empty_like(positions), np.empty_like(positions), np.empty_like(groups.first)
            found = kernels.compiled.sort_pieces(
                groups.local, positions, np.zeros(len(groups.first), np.int64), at, flow, chosen)
            chosen = chosen[:found]
        else:
            at, flow, chosen = _sorted(groups.local, positions)
        end = groups.end.take(at)
        cell: I64 = flow + flow
        cell += end
        columns, rows = self.columns, groups.rows.take(chosen)
        return _Part(rows, columns.known[rows].ravel(), columns.next_seq[rows].ravel(), columns.delivered[rows].ravel(),
                     at, flow, end, cell, batch.length.take(at), batch.flags.take(at), batch.seq.take(at),
                     batch.ack.take(at), batch.protocol.take(at) == TCP)

    def _check_compiled(self, batch: SegmentBatch, part: _Part) -> tuple[Bool, I64]:
        """`_learn_starts` and `_check_order` in one."""
        columns, rows = self.columns, part.rows
        slow, offset = columns.slow[rows], np.zeros(len(part.at), np.int64)
        expected, reached = np.empty_like(part.next_seq), np.empty_like(part.delivered)
        kernels.compiled.check_pieces(
            part.cell, part.length, batch.captured.take(part.at), part.flags, part.seq, part.ack,
            part.tcp.view(np.uint8), part.known.view(np.uint8), part.next_seq, part.delivered, slow.view(np.uint8),
            expected, reached, offset)
        columns.known[rows] = part.known.reshape(-1, 2)
        columns.next_seq[rows], columns.delivered[rows] = expected.reshape(-1, 2), reached.reshape(-1, 2)
        columns.slow[rows] = slow
        return slow, offset

    def _learn_starts(self, part: _Part) -> None:
        """Where each side's stream begins: its SYN, or the first packet that tells (its own, or the peer's ACK)."""
        if part.known.all():
            return
        none, cells = len(part.at), len(part.known)
        usable = part.tcp & ((part.flags & RST) == 0)
        own = np.flatnonzero(usable)
        peer = np.flatnonzero(usable & ((part.flags & ACK) != 0))
        own_first = _first_of(part.cell.take(own), own, cells, none)
        peer_first = _first_of(part.cell.take(peer) ^ 1, peer, cells, none)
        tells = np.minimum(own_first, peer_first)
        new = np.flatnonzero(~part.known & (tells < none))
        at = tells[new]
        syn = ((part.flags[at] & SYN) != 0).astype(np.uint32)
        part.next_seq[new] = np.where(own_first[new] < peer_first[new], part.seq[at] + syn, part.ack[at])
        part.known[new] = True
        self.columns.known[part.rows] = part.known.reshape(-1, 2)
        self.columns.next_seq[part.rows] = part.next_seq.reshape(-1, 2)

    @staticmethod
    def _acked(part: _Part, among: Bool | None) -> I64:
        """Stream offset up to which each direction was acknowledged: what tells a lost segment from a late one."""
        usable = part.tcp & ((part.flags & (ACK | RST)) == ACK)
        if among is not None:
            usable &= among
        at = np.flatnonzero(usable)
        peer = part.cell.take(at) ^ 1
        offset = (part.ack.take(at) - part.next_seq.take(peer)).view(np.int32) + part.delivered.take(peer)
        acked = np.zeros(len(part.known), np.int64)
        np.maximum.at(acked, peer, offset)
        return acked

    def _check_order(self, batch: SegmentBatch, part: _Part) -> tuple[Bool, I64]:
        """Finds out which flows are not in order, and moves the others on.

        Returns (which flows are slow, stream offset of each segment with payload, where its flow is in order).
        """
        columns = self.columns
        slow = columns.slow[part.rows]
        self._check_handshakes(part, slow)
        offset = np.zeros(len(part.at), np.int64)
        data = np.flatnonzero((part.length > 0) | ((part.flags & FIN) != 0))
        if data.size:
            shift = len(part.at).bit_length()
            order = part.cell.take(data)
            order <<= shift
            order |= data
            order.sort()  # by direction, in capture order
            data = order & ((1 << shift) - 1)
            order >>= shift
            size, seq = part.length.take(data), part.seq.take(data)
            after = seq + size.astype(np.uint32)
            first = np.flatnonzero(_starts(order))
            cells = order.take(first)
            last = np.append(first[1:], len(data)) - 1
            expected = np.empty(len(data), np.uint32)
            expected[1:] = after[:-1]
            expected[first] = part.next_seq.take(cells)
            wrong = (seq != expected) | (((part.flags.take(data) & (URG | SYN | RST)) != 0) & (size > 0))
            wrong |= ~part.known.take(order)
            wrong &= part.tcp.take(data)
            wrong |= batch.captured.take(part.at.take(data)) < size
            slow[order[wrong] >> 1] = True
            total = np.cumsum(size)
            before = total.take(first) - size.take(first)
            runs = np.diff(first, append=len(data))
            offset[data] = total - size + np.repeat(part.delivered.take(cells) - before, runs)
            keep = np.flatnonzero(~slow.take(cells >> 1))
            rows, ends = part.rows.take(cells[keep] >> 1), cells[keep] & 1
            columns.next_seq[rows, ends] = after.take(last[keep])
            columns.delivered[rows, ends] += (total.take(last) - before)[keep]
        columns.slow[part.rows] = slow
        return slow, offset

    @staticmethod
    def _check_handshakes(part: _Part, slow: Bool) -> None:
        """SYNs that do not fit the known start of their side, or accept another one, before any byte came.

        One of several is forged: the reassembler takes the one that the peer accepts.
        """
        syn = np.flatnonzero(part.tcp & ((part.flags & SYN) != 0))
        cells = part.cell.take(syn)
        other = (part.seq.take(syn) + np.uint32(1)) != part.next_seq.take(cells)
        slow[cells[other & (part.delivered.take(cells) == 0)] >> 1] = True
        accepts = np.flatnonzero((part.flags.take(syn) & ACK) != 0)
        peers = cells[accepts] ^ 1
        other = part.known.take(peers) & (part.ack.take(syn[accepts]) != part.next_seq.take(peers))
        slow[peers[other & (part.delivered.take(peers) == 0)] >> 1] = True

    def _past(self, part: _Part, peeked: Bool) -> Bool:
        """Marks what sides of peeked flows sent behind the bytes that are wanted of them (where they are in order)."""
        offset = part.delivered.take(part.cell)
        first = np.flatnonzero(_starts(part.flow))
        for side in (0, 1):
            own = part.end == side
            sent = np.where(own, part.length, 0)
            before = np.cumsum(sent) - sent
            offset += np.where(own, before - before.take(first).take(part.flow), 0)
        past: Bool = peeked.take(part.flow) & (offset >= self.peek_bytes)
        return past

    def _enough_peeked(self, part: _Part, peeked: Bool) -> Bool:
        """Lets go of flows to services of which enough was seen: thousands of them would tell nothing new.

        Who spoke counts, in the order of first payloads: whoever only knocks uses nothing up.
        """
        columns, limits = self.columns, self.limits
        spoke = np.flatnonzero(part.length > 0)
        first = _first_of(part.flow.take(spoke), part.at.take(spoke), len(part.rows), 1 << 62)
        fresh = np.flatnonzero(peeked & (first < 1 << 62) & (part.delivered.reshape(-1, 2) == 0).all(axis=1))
        fresh = fresh[np.argsort(first[fresh], kind="stable")]
        dropped = np.zeros(len(part.rows), bool)
        rows = part.rows[fresh]
        for place, row, service in zip(fresh.tolist(), rows.tolist(), self.services_of(rows), strict=True):
            if row in self.streams:
                continue
            seen = self._peeked.get(service, 0)
            if seen >= limits.peeked_conversations and seen % limits.peeked_every:
                dropped[place] = True
            if len(self._peeked) >= limits.streams:  # services that were made up: nobody has so many
                self._peeked.clear()
            self._peeked[service] = seen + 1
        columns.selected[part.rows[dropped]] = COUNTED
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

    def _by_slices(self, batch: SegmentBatch, part: _Part, chosen: I64, offsets: I64,
                   updates: list[FlowUpdate]) -> None:
        """Chunks of flows in order: one for each run of one side's segments.

        Args:
            chosen: the segments with payload of flows in order; `offsets`: where they stand in their streams.
        """
        flows = part.flow.take(chosen)
        sides = part.end.take(chosen) ^ self.columns.client_end[part.rows].take(flows)
        at, stream_of_bytes = part.at.take(chosen), part.tcp.take(chosen)
        chunks: Sequence[list[Piece] | Callable[[], list[Piece]]]
        if self._chunks is not None and kernels.COMPILED:
            first, sizes = np.empty((2, len(at)), np.int64)
            late = self._closed(part).view(np.uint8) if self.late else None  # later copies are not compared with these
            chunks = self._chunks.of_segments(
                batch.buffer, at, flows, sides, stream_of_bytes.view(np.uint8), offsets, batch.payload, batch.captured,
                batch.number, batch.time_ns, first, sizes, late)
            first, sizes = first[: len(chunks)], sizes[: len(chunks)]
        else:
            chunks, first, sizes = _chunks_of(batch, at, flows, sides, stream_of_bytes, offsets)
        owners = part.rows.take(flows.take(first))
        keep_whole = 4 * self.limits.history_bytes
        for stream, pieces, size in zip(self._streams_of(owners), chunks, sizes.tolist(), strict=True):
            if not isinstance(pieces, list):
                updates.append(FlowUpdate(stream.flow, _NOT_MADE, stream.key, pieces))
                continue
            updates.append(FlowUpdate(stream.flow, pieces, stream.key))
            if not stream.recent and len(pieces) <= 16 and size <= keep_whole:
                stream.recent = pieces
            else:
                stream.recent = _newest(stream.recent + pieces, self.limits.history_bytes)

    def _by_segment(self, batch: SegmentBatch, part: _Part, chosen: I64, updates: list[FlowUpdate]) -> None:
        """Feeds odd flows to their reassemblers, all their segments, in capture order."""
        columns = self.columns
        at = part.at[chosen]
        rows = part.rows[part.flow[chosen]]
        bounds = np.append(np.flatnonzero(_starts(rows)), len(rows)).tolist()
        sides = (part.end[chosen] ^ columns.client_end[rows]).tolist()
        tcp = part.tcp[chosen].tolist()
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
                updates.append(FlowUpdate(stream.flow, pieces, stream.key))

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
    breaks = _starts(flows)
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
