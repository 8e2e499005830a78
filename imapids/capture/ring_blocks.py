"""What the blocks of a packet ring hold, as columns: TPACKET_V3, walked in step through all blocks at once.

Source: the kernel's Documentation/networking/packet_mmap.rst and include/uapi/linux/if_packet.h.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imapids.records.packets import I64, U8, Bool

STATUS_WORD, COUNT_WORD, FIRST_WORD = 2, 3, 4
"""Words of a block's header: block_status, num_pkts, offset_to_first_pkt."""
STATUS_USER = 1
"""The block is ours until 0 is written to its status."""

_NEXT, _SECONDS, _NANOSECONDS, _CAPTURED, _ORIGINAL, _STATUS = range(6)
"""Words of a packet's header (struct tpacket3_hdr)."""
_MAC_HALF, _TCI_WORD, _TPID_HALF = 12, 8, 18
_VLAN_VALID, _TPID_VALID = 0x10, 0x40
_HEADER_BYTES = 48
_PACKET_TYPE = _HEADER_BYTES + 10
"""sll_pkttype of the struct sockaddr_ll behind the header."""
_OUTGOING = 4
_TAG_AT, _TAG_BYTES = 12, 4
"""Where an 802.1Q tag stands in an Ethernet frame."""
_DOT1Q = 0x8100


@dataclass(slots=True)
class Frames:
    """The packets of some blocks. All columns have shape (n,), in the order of the blocks."""

    offset: I64
    """Where a packet's bytes start in the ring."""
    captured: I64
    original: I64
    time_ns: I64
    outgoing: Bool
    """Packets that this machine sent."""

    def select(self, keep: Bool) -> Frames:
        """The packets that a mask picks."""
        return Frames(self.offset[keep], self.captured[keep], self.original[keep], self.time_ns[keep],
                      self.outgoing[keep])


def frames_of(ring: U8, blocks: I64, block_bytes: int, *, ethernet: bool) -> Frames:
    """The packets of blocks that the kernel has handed on.

    The tag of a VLAN that the kernel took off is put back where it was: the addresses move four bytes to the front,
    into room that the kernel leaves there (see PACKET_RESERVE).

    Args:
        ring: the whole ring; bytes of the blocks may change.
        blocks: numbers of the blocks, shape (b,), in order.
        ethernet: frames have an Ethernet header, so that tags have a place.
    """
    words, halves = ring.view(np.uint32), ring.view(np.uint16)
    at = _packets(words, blocks * (block_bytes // 4))
    offset = at * 4 + halves.take(at * 2 + _MAC_HALF)
    captured = words.take(at + _CAPTURED).astype(np.int64)
    original = np.maximum(words.take(at + _ORIGINAL).astype(np.int64), captured)
    time_ns = words.take(at + _SECONDS).astype(np.int64) * 1_000_000_000
    time_ns += words.take(at + _NANOSECONDS)
    outgoing = ring.take(at * 4 + _PACKET_TYPE) == _OUTGOING
    if ethernet:
        status = words.take(at + _STATUS)
        tagged = np.flatnonzero((status & _VLAN_VALID != 0) & (captured >= _TAG_AT))
        if tagged.size:
            own = at[tagged]
            types = np.where(status[tagged] & _TPID_VALID != 0, halves.take(own * 2 + _TPID_HALF), _DOT1Q)
            offset[tagged] -= _TAG_BYTES
            _put_back(ring, offset[tagged], types.astype(np.int64), words.take(own + _TCI_WORD).astype(np.int64))
            captured[tagged] += _TAG_BYTES
            original[tagged] += _TAG_BYTES
    return Frames(offset, captured, original, time_ns, outgoing)


def _packets(words: np.ndarray[tuple[int], np.dtype[np.uint32]], begins: I64) -> I64:
    """Word positions of the packet headers, block after block.

    Packets are chained, each names the distance to the next: one step goes ahead in all blocks at once.
    """
    counts = words.take(begins + COUNT_WORD).astype(np.int64)
    order = np.argsort(-counts, kind="stable")  # the fullest first: those that go on are always a prefix
    longest = int(counts[order[0]]) if len(order) else 0
    begins = begins[order]
    at = begins + (words.take(begins + FIRST_WORD) >> 2)
    going = np.searchsorted(-counts[order], -np.arange(longest), side="left").tolist()
    table = np.empty((longest, len(order)), np.int64)
    for step, count in enumerate(going):
        now = table[step, :count]
        now[:] = at[:count]
        at[:count] += words.take(now + _NEXT, mode="clip") >> 2
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    held = np.arange(longest) < counts[:, None]
    positions: I64 = table.T[rank][held]
    return positions


def _put_back(ring: U8, begin: I64, types: I64, tags: I64) -> None:
    """Moves the addresses of frames to `begin`, four bytes to the front, and writes the tags behind them."""
    span = np.arange(_TAG_AT)
    ring[begin[:, None] + span] = ring[begin[:, None] + (span + _TAG_BYTES)]
    values = types << 16 | tags & 0xFFFF
    for place in range(_TAG_BYTES):
        ring[begin + (_TAG_AT + place)] = values >> (24 - 8 * place) & 0xFF
