"""Picks packets of a batch: those of given conversations, their fragments, and the ICMP errors about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from imapids.protocols.addresses import address_bytes, parse_address
from imapids.protocols.ip_headers import FRAGMENT, FRAGMENT_MASK
from imapids.records.packets import I64, U64, Bool, PacketBatch
from imapids.records.segments import TCP, UDP, Decoded, EncapsulationTable, SegmentBatch
from imapids.records.streams import Flow

_PROTOCOLS = {"TCP": TCP, "UDP": UDP}
_LEAD_NS = 30 * 10**9
"""Fragments come before the packet that completes their datagram: at most the decoder's timeout."""
_LAG_NS = 60 * 10**9
"""ICMP errors come after the packet that they are about."""
_HEADER_BYTES = 512
"""First bytes of a packet in which the IP header of a fragment is looked for."""
_MIX = np.array([0x9E37_79B9_7F4A_7C15, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9], np.uint64)

_Span = tuple[int, int, tuple[str, ...]]
"""(first time, last time, tunnels) of a conversation."""


class Range(NamedTuple):
    """Packets of one address in a span of time, perhaps with another address, perhaps with a port of either side."""

    first_ns: int
    last_ns: int
    one: tuple[int, int]
    other: tuple[int, int] | None = None
    port: int = 0

    @staticmethod
    def end(address: str) -> tuple[int, int]:
        """An address as `one` and `other` want it."""
        return parse_address(address)

    def holds(self, segments: SegmentBatch) -> Bool:
        """Which segments are in it."""
        mask: Bool = (segments.time_ns >= self.first_ns) & (segments.time_ns <= self.last_ns)
        for address in (self.one, self.other):
            if address is not None:
                hi, lo = np.uint64(address[0]), np.uint64(address[1])
                mask &= ((segments.src_hi == hi) & (segments.src_lo == lo)) | (
                    (segments.dst_hi == hi) & (segments.dst_lo == lo))
        if self.port:
            mask &= (segments.src_port == self.port) | (segments.dst_port == self.port)
        return mask


class Picker:
    """Knows conversations by their ends, their time and the tunnels around them.

    A key that matches is looked at one by one; before that, columns of hashes leave nearly everything out.
    """

    def __init__(self, flows: Iterable[Flow], encapsulations: EncapsulationTable,
                 ranges: Iterable[Range] = ()) -> None:
        self._ranges = list(ranges)
        self.encapsulations = encapsulations
        self._spans: dict[bytes, list[_Span]] = {}
        self._pairs: dict[bytes, list[tuple[int, int]]] = {}
        hashes: list[int] = []
        for flow in flows:
            client, server = parse_address(flow.client), parse_address(flow.server)
            ends = ((*client, flow.client_port), (*server, flow.server_port))
            key = _key(*ends, _PROTOCOLS[flow.protocol])
            self._spans.setdefault(key, []).append((flow.start_ns, flow.end_ns, flow.tunnels))
            hi, lo, port = (np.array(parts, np.uint64) for parts in zip(*ends, strict=True))
            hashes.append(int(_end_hash(hi, lo, port).sum(dtype=np.uint64)))
            for one, other in (ends, ends[::-1]):
                pair = address_bytes(*one[:2]) + address_bytes(*other[:2])
                self._pairs.setdefault(pair, []).append((flow.start_ns - _LEAD_NS, flow.end_ns + _LAG_NS))
        self._hashes = np.unique(np.array(hashes, np.uint64))
        every = [span for spans in self._pairs.values() for span in spans]
        self._first = min((start for start, _ in every), default=0)
        self._last = max((end for _, end in every), default=-1)

    def pick(self, batch: PacketBatch, decoded: Decoded) -> list[int]:
        """Positions in the batch of the packets that belong to the conversations, ascending."""
        numbers = self._segments(decoded.segments)
        for part in self._ranges:
            numbers.update(decoded.segments.number[part.holds(decoded.segments)].tolist())
        numbers |= {error.number for error in decoded.icmp_errors if self._is_about(
            error.src, error.src_port, error.dst, error.dst_port, error.protocol, error.time_ns)}
        found = np.searchsorted(batch.number, np.array(sorted(numbers), np.int64))
        whole = np.zeros(len(batch), bool)
        whole[np.searchsorted(batch.number, decoded.segments.number)] = True
        chosen = {int(position) for position in found}
        # a datagram's last fragment made the segment; the others gave none
        chosen.update(position for position in self._in_time(batch, ~whole) if self._is_fragment(batch, position))
        return sorted(chosen)

    def _segments(self, segments: SegmentBatch) -> set[int]:
        if not len(segments) or not len(self._hashes):
            return set()
        mixed = (_end_hash(segments.src_hi, segments.src_lo, segments.src_port.astype(np.uint64))
                 + _end_hash(segments.dst_hi, segments.dst_lo, segments.dst_port.astype(np.uint64)))
        likely = np.flatnonzero(np.isin(mixed, self._hashes))
        columns = (segments.src_hi, segments.src_lo, segments.src_port, segments.dst_hi, segments.dst_lo,
                   segments.dst_port, segments.protocol, segments.time_ns, segments.tunnel, segments.number)
        paths, numbers = self.encapsulations.paths, set()
        for s_hi, s_lo, s_port, d_hi, d_lo, d_port, protocol, time_ns, path, number in zip(
                *(column[likely].tolist() for column in columns), strict=True):
            spans = self._spans.get(_key((s_hi, s_lo, s_port), (d_hi, d_lo, d_port), protocol), ())
            tunnels = paths[path].tunnels
            if any(start <= time_ns <= end and tunnels == around for start, end, around in spans):
                numbers.add(number)
        return numbers

    def _is_about(self, src: bytes, src_port: int, dst: bytes, dst_port: int, protocol: int, time_ns: int) -> bool:
        one, other = ((int.from_bytes(address[:8], "big"), int.from_bytes(address[8:], "big"), port)
                      for address, port in ((src, src_port), (dst, dst_port)))
        spans = self._spans.get(_key(one, other, protocol), ())
        return any(start <= time_ns <= end + _LAG_NS for start, end, _ in spans)

    def _in_time(self, batch: PacketBatch, undecoded: Bool) -> Sequence[int]:
        at: I64 = np.flatnonzero(undecoded & (batch.time_ns >= self._first) & (batch.time_ns <= self._last))
        positions: list[int] = at.tolist()
        return positions

    def _is_fragment(self, batch: PacketBatch, position: int) -> bool:
        """Whether a packet holds an IP fragment between the two hosts of a conversation (RFC 791, RFC 8200 4.5)."""
        start = int(batch.offset[position])
        head = batch.buffer[start : start + min(int(batch.captured[position]), _HEADER_BYTES)].tobytes()
        time_ns = int(batch.time_ns[position])
        # an IP header may stand anywhere behind tags and tunnels: the work does not grow with the conversations
        for at in range(len(head) - 19):
            version = head[at] >> 4
            if version == 4 and int.from_bytes(head[at + 6 : at + 8], "big") & FRAGMENT_MASK:
                pair = _V4 + head[at + 12 : at + 16] + _V4 + head[at + 16 : at + 20]
            elif version == 6 and head[at + 6] == FRAGMENT:
                pair = head[at + 8 : at + 40]
            else:
                continue
            if any(first <= time_ns <= last for first, last in self._pairs.get(pair, ())):
                return True
        return False


_V4 = bytes(10) + b"\xff\xff"


def _key(one: tuple[int, int, int], other: tuple[int, int, int], protocol: int) -> bytes:
    """The ends of a conversation without their order, as packed bytes."""
    ends = (address_bytes(hi, lo) + port.to_bytes(2, "big") for hi, lo, port in sorted((one, other)))
    return b"".join(ends) + bytes([protocol])


def _end_hash(hi: U64, lo: U64, port: U64) -> U64:
    """A number for each end; the sum of both ends does not tell which of them sent."""
    mixed: U64 = hi * _MIX[0]
    mixed ^= lo + port * _MIX[1]
    mixed ^= mixed >> np.uint64(29)
    mixed *= _MIX[2]
    mixed ^= mixed >> np.uint64(32)
    return mixed
