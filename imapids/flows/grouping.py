"""Gathers the segments of a batch by conversation: hashing once a segment, so that all else is done once a group.

A batch holds some ten segments of each conversation. What they share (their row, its state) is looked up for one of
them; the others only carry the number of their group.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import numpy as np

from imapids.flows.index import key_words
from imapids.records.packets import I32, I64, U8, U64, Bool
from imapids.records.segments import V4_PREFIX, SegmentBatch

_ROUNDS = 8
"""Rounds of hashing, each with multipliers of its own. Every round settles more than a third of the keys."""
_V4_END = np.uint64(1 << 48)
"""Low halves from `V4_PREFIX` up to here are IPv4-mapped."""
_ABOVE_PORT, _ABOVE_ADDRESS = np.uint64(16), np.uint64(48)


@dataclass(slots=True)
class Groups:
    """The segments of a batch by conversation; n segments, g groups in the order of their first segments."""

    rows: I32
    """Row of the flow table, shape (g,), each row once."""
    first: I64
    """Position of the group's first segment, shape (g,)."""
    local: I64
    """Group of each segment, shape (n,)."""
    end: U8
    """Which end of the key sent it, shape (n,)."""
    cell: I64
    """2 * local + end: the group's direction that a segment belongs to, shape (n,)."""

    @classmethod
    def of(cls, rows: I32, first: I64, local: I64, end: U8) -> Groups:
        """Groups with their cells."""
        cell = local + local
        cell += end
        return cls(rows, first, local, end, cell)

    @classmethod
    def of_rows(cls, rows: I32, end: U8) -> Groups:
        """Groups from the row of each segment, where some segments left the group of their key."""
        touched, inverse = np.unique(rows, return_inverse=True)
        first = np.empty(len(touched), np.int64)
        first[inverse[::-1]] = np.arange(len(rows) - 1, -1, -1)  # the earliest position is written last
        return cls.of(touched, first, inverse, end)

    def merged(self) -> Groups:
        """The same with groups of one row made one (the two directions of a flow on different VLANs)."""
        rows, inverse = np.unique(self.rows, return_inverse=True)
        if len(rows) == len(self.rows):
            return self
        first = np.empty(len(rows), np.int64)
        first[inverse[::-1]] = self.first[::-1]
        return Groups.of(rows, first, inverse.take(self.local), self.end)


class SegmentGrouper:
    """Numbers the conversations of a batch.

    Segments claim slots of a hash table, the first of each slot wins, and every segment is compared with the winner of
    its slot on its whole key. Those that differ go on to another round. The hash is keyed with random multipliers for
    each process: crafted keys cannot be confused, and cannot be made to share slots.
    """

    def __init__(self) -> None:
        self._mix = np.array([[secrets.randbits(64) | 1 for _ in range(6)] for _ in range(_ROUNDS)], np.uint64)
        self._claim: I64 = np.empty(0, np.int64)
        self._count: I64 = np.empty(0, np.int64)

    def group(self, batch: SegmentBatch) -> tuple[I64, I64, Bool]:
        """Groups of a batch by 5-tuple and encapsulation.

        Returns:
            (group of each segment, position of each group's first segment, whether the sender of a segment is the
            second end of its key). Groups are numbered in the order of their first segments.
        """
        words, swapped = _narrow_words(batch) or _wide_words(batch)
        count = len(swapped)
        if len(self._count) < count:
            self._count = np.arange(count)
        holder = self._holders(words, 0)
        first = np.flatnonzero(holder == self._count[:count])
        number = np.empty(count, np.int64)
        number[first] = self._count[: len(first)]
        return number.take(holder), first, swapped

    def _holders(self, words: list[U64], turn: int) -> I64:
        """For each segment the position of the first one with the same key."""
        count = len(words[0])
        if turn == _ROUNDS:  # not seen in practice: sorting whole keys needs no luck
            _, first, inverse = np.unique(np.stack(words, axis=1), axis=0, return_index=True, return_inverse=True)
            exact: I64 = first[inverse.ravel()]
            return exact
        bits = max(count - 1, 1).bit_length()
        if len(self._claim) < 1 << bits:
            self._claim = np.empty(1 << bits, np.int64)
        home = self._home(words, turn, bits)
        self._claim[home[::-1]] = self._count[:count][::-1]  # the earliest position is written last
        holder: I64 = self._claim.take(home)
        odd = words[0].take(holder) != words[0]
        for word in words[1:]:
            odd |= word.take(holder) != word
        if odd.any():
            rest = np.flatnonzero(odd)
            holder[rest] = rest.take(self._holders([word.take(rest) for word in words], turn + 1))
        return holder

    def _home(self, words: list[U64], turn: int, bits: int) -> I64:
        mix = self._mix[turn]
        value: U64 = words[0] * mix[0]
        for number, word in enumerate(words[1:], 1):  # multiplication alone lets crafted differences cancel
            value ^= value >> np.uint64(29)
            value += word
            value *= mix[number]
        value ^= value >> np.uint64(32)
        value *= mix[5]
        value >>= np.uint64(64 - bits)
        return value.view(np.int64)


def _narrow_words(batch: SegmentBatch) -> tuple[list[U64], Bool] | None:
    """Keys in two words, where all addresses are IPv4: each end's address and port, the lower end first.

    The 16 bits above them, the same in all IPv4-mapped addresses, take the protocol and the encapsulation. So the words
    are the key itself, not a digest of it.
    """
    if batch.src_hi.any() or batch.dst_hi.any() or batch.tunnel.max() >> 16:
        return None
    lows = batch.src_lo, batch.dst_lo
    if min(low.min() for low in lows) < V4_PREFIX or max(low.max() for low in lows) >= _V4_END:
        return None
    source = batch.src_lo << _ABOVE_PORT
    source |= batch.src_port
    target = batch.dst_lo << _ABOVE_PORT
    target |= batch.dst_port
    swapped: Bool = source > target
    low, high = np.minimum(source, target), np.maximum(source, target, out=target)
    low ^= batch.protocol.astype(np.uint64) << _ABOVE_ADDRESS
    if batch.tunnel.any():
        high ^= batch.tunnel.astype(np.uint64) << _ABOVE_ADDRESS
    return [low, high], swapped


def _wide_words(batch: SegmentBatch) -> tuple[list[U64], Bool]:
    """Keys in five words, for all kinds of addresses."""
    words, swapped = key_words(batch)
    return list(words), swapped
