"""Puts the segments of one odd flow in order, one by one: the slow path that in-order flows never take.

First wins: the first copy of a byte is delivered; a later copy that differs is kept and reported as a conflict.
A hole becomes a gap when the peer acknowledged the missing bytes (the capture lost them), when nobody is there to
acknowledge and enough came after it, or when the flow ends.
"""

from __future__ import annotations

from bisect import insort

from imapids.config import FlowLimits
from imapids.records.segments import ACK, FIN, RST, SYN, URG
from imapids.records.streams import Piece, StreamChunk, StreamConflict, StreamGap

_HALF = 1 << 31
_WRAP = 1 << 32
_CONFLICT_BYTES = 64
"""Bytes of both versions that a conflict shows."""
_READ_AGAIN_BYTES = 8_192
"""The later copy is kept whole in so many first bytes of a side: as many as decide what a stream is."""
_ACKED_PATIENCE = 2
"""Packets of the flow to wait after an acknowledgement of missing bytes: captures swap neighbours."""


class PendingBudget:
    """Out-of-order bytes held in all flows together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0


class Half:
    """One direction of a flow in the reassembler; sequence numbers are unwrapped to stream offsets."""

    __slots__ = ("acked", "fin", "held", "known", "next_seq", "offset", "patience", "pending", "recent", "recent_bytes",
                 "sent")

    def __init__(self) -> None:
        self.known = False
        self.next_seq = 0
        self.offset = 0
        """Stream offset of `next_seq`: bytes delivered or declared missing."""
        self.pending: list[tuple[int, int, bytes, int, int, int]] = []
        """Held segments, sorted: (offset, arrival, data, wire length, packet, time)."""
        self.held = 0
        self.recent: list[tuple[int, bytes]] = []
        """The newest delivered bytes, packet by packet, to compare later copies with."""
        self.recent_bytes = 0
        self.acked = 0
        """Stream offset that the peer acknowledged."""
        self.patience = 0
        self.sent = 0
        """Segments with payload, for the order of arrival."""
        self.fin: int | None = None

    @property
    def closed(self) -> bool:
        """All bytes up to the FIN are there, or declared missing."""
        return self.fin is not None and self.offset >= self.fin

    def forget(self) -> None:
        """Drops what later copies are compared with."""
        self.recent.clear()
        self.recent_bytes = 0

    def start(self, seq: int) -> None:
        """Sets the sequence number of the next byte."""
        self.known = True
        self.next_seq = seq & 0xFFFFFFFF

    def acknowledge(self, offset: int) -> None:
        """The peer has the bytes up to a stream offset."""
        if offset > self.acked:
            self.acked = offset
            self.patience = _ACKED_PATIENCE

    def place(self, seq: int) -> int:
        """Stream offset of a sequence number: the nearest one to the next expected byte (RFC 9293 section 3.4)."""
        ahead = (seq - self.next_seq) & 0xFFFFFFFF
        return self.offset + (ahead - _WRAP if ahead >= _HALF else ahead)

    def remember(self, offset: int, data: bytes, limit: int) -> None:
        """Keeps delivered bytes for comparison, the newest `limit` of them."""
        self.recent.append((offset, data))
        self.recent_bytes += len(data)
        while self.recent_bytes - len(self.recent[0][1]) >= limit:
            self.recent_bytes -= len(self.recent.pop(0)[1])


class Reassembly:
    """Orders the segments of one flow. `halves[0]` is the client's direction, `halves[1]` the server's."""

    def __init__(self, limits: FlowLimits, budget: PendingBudget) -> None:
        self.limits = limits
        self.budget = budget
        self.halves = (Half(), Half())
        self.anomalies: dict[str, int] = {}
        self.hit_limits: set[str] = set()
        self.snapped = False
        self.seen_sides = 0

    @property
    def busy(self) -> bool:
        """Something is held: the flow has to stay on the slow path."""
        return any(half.pending for half in self.halves)

    def note(self, name: str) -> None:
        """Counts an anomaly."""
        self.anomalies[name] = self.anomalies.get(name, 0) + 1

    def feed(self, side: int, seq: int, ack: int, flags: int, data: bytes, length: int,
             packet: int, time_ns: int) -> list[Piece]:
        """One segment in capture order; returns what can be delivered now.

        Args:
            side: who sent it.
            data: captured payload bytes, at most `length`.
            length: payload bytes on the wire.
        """
        own, peer = self.halves[side], self.halves[1 - side]
        out: list[Piece] = []
        self.seen_sides |= 1 << side
        if flags & SYN:
            self._handshake(own, peer, seq, ack, flags)
            seq = (seq + 1) & 0xFFFFFFFF
        if flags & RST and length:
            self.note("reset-payload")  # RFC 9293 section 3.5.3: a text about the reset, never part of the stream
            length = 0
        if not flags & RST:
            if not own.known:
                own.start(seq)
            if flags & ACK:
                self._acknowledge(peer, ack)
        elif not own.known:
            return out
        if flags & URG and length:
            self.note("urgent-data")
        if length:
            own.sent += 1
            self._payload(own, side, own.place(seq), data, length, packet, time_ns, out)
        if flags & FIN and own.fin is None:
            own.fin = own.place(seq) + length
        for which, half in ((side, own), (1 - side, peer)):
            if half.pending:
                self._close_holes(half, which, packet, time_ns, out)
        if own.closed and peer.closed:  # a later copy of what both have is nothing that anybody takes
            own.forget()
            peer.forget()
        return out

    @staticmethod
    def _handshake(own: Half, peer: Half, seq: int, ack: int, flags: int) -> None:
        if own.offset == 0 and not own.pending:
            own.start(seq + 1)  # the newest SYN counts while nothing was sent (a forged one may come first)
        if flags & ACK and peer.offset == 0 and not peer.pending:
            peer.start(ack)  # the peer accepted this one

    def _acknowledge(self, peer: Half, ack: int) -> None:
        if not peer.known:
            peer.start(ack)
            return
        peer.acknowledge(peer.place(ack))

    def _payload(self, half: Half, side: int, offset: int, data: bytes, length: int,
                 packet: int, time_ns: int, out: list[Piece]) -> None:
        if half.fin is not None and offset == half.fin + 1:
            offset -= 1  # bytes after a FIN: the FIN itself takes one number
        if offset + length <= half.offset:
            self._old(half, side, offset, data, packet, time_ns, out)
            return
        if offset > half.offset:
            self._hold(half, side, offset, data, length, packet, time_ns, out)
            return
        if offset < half.offset:
            seen = half.offset - offset
            self._old(half, side, offset, data[:seen], packet, time_ns, out)
            data, length = data[seen:], length - seen
        self._deliver(half, side, data, length, packet, time_ns, out)
        self._drain(half, side, out)

    def _deliver(self, half: Half, side: int, data: bytes, length: int, packet: int,
                 time_ns: int, out: list[Piece]) -> None:
        if data:
            out.append(StreamChunk(side, half.offset, data, time_ns, packet))
            half.remember(half.offset, data, self.limits.history_bytes)
        half.offset += len(data)
        if len(data) < length:  # the snaplen cut the rest
            self.snapped = True
            out.append(StreamGap(side, half.offset, length - len(data), time_ns, packet, "snaplen"))
            half.offset += length - len(data)
        half.next_seq = (half.next_seq + length) & 0xFFFFFFFF

    def _drain(self, half: Half, side: int, out: list[Piece]) -> None:
        """Delivers held segments that the stream has reached."""
        pending = half.pending
        while pending and pending[0][0] <= half.offset:
            offset, _, data, length, packet, time_ns = pending.pop(0)
            half.held -= len(data)
            self.budget.held -= len(data)
            seen = half.offset - offset
            if seen:
                self._old(half, side, offset, data[:seen], packet, time_ns, out)
            if length > seen:
                self._deliver(half, side, data[seen:], length - seen, packet, time_ns, out)

    def _old(self, half: Half, side: int, offset: int, data: bytes, packet: int,
             time_ns: int, out: list[Piece]) -> None:
        """Compares bytes that were delivered before with what was delivered."""
        if len(data) <= 1 and offset == half.offset - 1:
            self.note("keep-alive")
            return
        differs = False
        oldest = half.offset - self.limits.history_bytes  # what is older is forgotten, however the batches were cut
        for start, kept in half.recent:
            low, high = max(start, offset, oldest), min(start + len(kept), offset + len(data))
            if low >= high:
                continue
            first, second = kept[low - start : high - start], data[low - offset : high - offset]
            if first != second:
                at = next(i for i in range(len(first)) if first[i] != second[i])
                out.append(_conflict(side, low + at, first[at:], second[at:], time_ns, packet))
                self.note("overlap-conflict")
                differs = True
        if not differs:
            self.note("retransmission")

    def _hold(self, half: Half, side: int, offset: int, data: bytes, length: int,
              packet: int, time_ns: int, out: list[Piece]) -> None:
        limits = self.limits
        over = (half.held + len(data) > limits.pending_bytes or len(half.pending) >= limits.pending_segments
                or self.budget.held + len(data) > self.budget.limit)
        if over and half.pending and half.pending[-1][0] > offset:
            dropped = half.pending.pop()  # the furthest one is the least likely to be reached
            half.held -= len(dropped[2])
            self.budget.held -= len(dropped[2])
            self.hit_limits.add("reassembly-pending")
        elif over:
            self.hit_limits.add("reassembly-pending")
            return
        self._compare_held(half, side, offset, data, packet, time_ns, out)
        insort(half.pending, (offset, half.sent, data, length, packet, time_ns))
        half.held += len(data)
        self.budget.held += len(data)
        self.note("out-of-order")

    def _compare_held(self, half: Half, side: int, offset: int, data: bytes, packet: int,
                      time_ns: int, out: list[Piece]) -> None:
        """An identical range held twice with other bytes: told at once, the first stays in front."""
        for start, _, kept, _, _, _ in half.pending[:8]:
            if start == offset and kept[: len(data)] != data[: len(kept)]:
                at = next(i for i in range(min(len(kept), len(data))) if kept[i] != data[i])
                out.append(_conflict(side, offset + at, kept[at:], data[at:], time_ns, packet))
                self.note("overlap-conflict")
                return

    def _close_holes(self, half: Half, side: int, packet: int, time_ns: int, out: list[Piece]) -> None:
        """Declares a hole a gap where it is certain that nobody will fill it."""
        if self.seen_sides != 3:
            if len(half.pending) >= self.limits.one_sided_hole_segments:
                self._gap(half, side, half.pending[0][0], "lost", packet, time_ns, out)
            return
        if half.acked > half.offset:
            if half.patience > 0:
                half.patience -= 1
                return
            self._gap(half, side, min(half.acked, half.pending[0][0]), "lost", packet, time_ns, out)

    def _gap(self, half: Half, side: int, until: int, reason: str, packet: int,
             time_ns: int, out: list[Piece]) -> None:
        length = until - half.offset
        if length > 0:
            out.append(StreamGap(side, half.offset, length, time_ns, packet, reason))
            half.offset += length
            half.next_seq = (half.next_seq + length) & 0xFFFFFFFF
        self._drain(half, side, out)

    def finish(self, packet: int, time_ns: int) -> list[Piece]:
        """The flow is over: what is held is delivered behind gaps, and a FIN tells what is missing at the end."""
        out: list[Piece] = []
        for side, half in enumerate(self.halves):
            while half.pending:
                self._gap(half, side, half.pending[0][0], "lost", packet, time_ns, out)
            if half.fin is not None and half.fin > half.offset:
                self._gap(half, side, half.fin, "lost", packet, time_ns, out)
        return out


def _conflict(side: int, offset: int, first: bytes, second: bytes, time_ns: int, packet: int) -> StreamConflict:
    """Both versions from the first byte that differs; floods of copies deep in a stream must not hold much."""
    size = max(_CONFLICT_BYTES, _READ_AGAIN_BYTES - offset)
    return StreamConflict(side, offset, first[:_CONFLICT_BYTES], second[:size], time_ns, packet)
