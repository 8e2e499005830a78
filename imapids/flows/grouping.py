"""Gathers the segments of a batch by conversation: hashing once a segment, so that all else is done once a group.

A batch holds some ten segments of each conversation. What they share (their row, its state) is looked up for one of
them; the others only carry the number of their group.
"""

from __future__ import annotations

import secrets

import msgspec
import numpy as np

from imapids import kernels
from imapids.flows.cells import Cells
from imapids.flows.index import KEY_WORDS, FlowIndex, Keys, key_words
from imapids.records.packets import I32, I64, U8, U64, Bool
from imapids.records.segments import V4_PREFIX, SegmentBatch

_ROUNDS = 8
"""Rounds of hashing, each with multipliers of its own. Every round settles more than a third of the keys."""
_LEAST_SLOTS = 4_096
_ABOVE_PORT, _ABOVE_ADDRESS = np.uint64(16), np.uint64(48)


class Groups(msgspec.Struct, eq=False):
    """The segments of a batch by conversation; n segments, g groups in the order of their first segments."""

    rows: I32
    """Row of the flow table, shape (g,), each row once."""
    first: I64
    """Position of the group's first segment, shape (g,)."""
    local: I64
    """Group of each segment, shape (n,)."""
    end: U8
    """Which end of the key sent it, shape (n,)."""
    _cells: Cells | None = None

    def cells(self, batch: SegmentBatch) -> Cells:
        """What the batch that these groups are of holds of each direction."""
        if self._cells is None:
            self._cells = Cells.of(batch, self.local, self.end, len(self.rows))
        return self._cells

    def newest(self, batch: SegmentBatch) -> I64:
        """The newest stamp of each group, shape (g,)."""
        newest: I64 = batch.time_ns.take(self.cells(batch)["last"].max(axis=1))
        if (batch.time_ns[1:] < batch.time_ns[:-1]).any():  # stamps that go back
            np.maximum.at(newest, self.local, batch.time_ns)
        return newest

    @classmethod
    def of_rows(cls, rows: I32, end: U8) -> Groups:
        """Groups from the row of each segment, where some segments left the group of their key."""
        touched, inverse = np.unique(rows, return_inverse=True)
        first = np.empty(len(touched), np.int64)
        first[inverse[::-1]] = np.arange(len(rows) - 1, -1, -1)  # the earliest position is written last
        return cls(touched, first, inverse, end)

    def merged(self) -> Groups:
        """The same with groups of one row made one (the two directions of a flow on different VLANs)."""
        ordered = np.sort(self.rows)
        if (ordered[1:] != ordered[:-1]).all():
            return self
        rows, inverse = np.unique(self.rows, return_inverse=True)
        first = np.empty(len(rows), np.int64)
        first[inverse[::-1]] = self.first[::-1]
        return Groups(rows, first, inverse.take(self.local), self.end)


class Keyed(msgspec.Struct, eq=False):
    """The segments of a batch by 5-tuple and encapsulation; columns as in `Groups`."""

    local: I64
    first: I64
    end: U8
    keys: Keys
    """The groups' keys, shape (g, KEY_WORDS)."""
    hashes: U64
    """Of the keys, as the index makes them."""
    cells: Cells
    """What the batch holds of each direction of the groups."""
    steps: tuple[int, int]
    """The least and the largest step from one stamp to the next."""


class SegmentGrouper:
    """Numbers the conversations of a batch.

    Segments claim slots of a hash table, the first of each slot wins, and every segment is compared with the winner of
    its slot on its whole key. Those that differ go on to another round. The hash is keyed with random multipliers for
    each process: crafted keys cannot be confused, and cannot be made to share slots.
    """

    def __init__(self) -> None:
        self._mix = np.array([[secrets.randbits(64) | 1 for _ in range(6)] for _ in range(_ROUNDS + 1)], np.uint64)
        self._claim: I64 = np.empty(0, np.int64)
        self._count: I64 = np.empty(0, np.int64)
        self._scratch: U64 = np.empty((6, 0), np.uint64)
        """Columns that are used again for each batch: fresh memory costs more than what is done in it."""
        self._slots: I32 = np.empty(0, np.int32)

    def keyed(self, batch: SegmentBatch, index: FlowIndex) -> Keyed:
        """Groups of a batch, numbered in the order of their first segments, with keys and hashes as an index has."""
        if not kernels.COMPILED:
            local, first, swapped = self.group(batch)
            keys, end = np.ascontiguousarray(key_words(batch, first)[0].T), swapped.view(np.uint8)
            return Keyed(local, first, end, keys, index.hashed(keys), Cells.of(batch, local, end, len(first)),
                         _widest_steps(batch.time_ns))
        count = len(batch)
        if len(self._slots) < 4 * count:
            self._slots = np.empty(1 << max(4 * count - 1, _LEAST_SLOTS - 1).bit_length(), np.int32)
        first, local, end = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.uint8)
        keys, hashes = np.empty((count, KEY_WORDS), np.uint64), np.empty(count, np.uint64)
        groups = kernels.compiled.group_segments(batch, index.mix, self._slots, keys, hashes, first, local, end)
        return Keyed(local, first[:groups], end, keys[:groups], hashes[:groups],
                     Cells.of(batch, local, end, groups), _widest_steps(batch.time_ns))

    def group(self, batch: SegmentBatch) -> tuple[I64, I64, Bool]:
        """Groups of a batch by 5-tuple and encapsulation.

        Returns:
            (group of each segment, position of each group's first segment, whether the sender of a segment is the
            second end of its key). Groups are numbered in the order of their first segments.
        """
        count = len(batch)
        if len(self._count) < count:
            self._count = np.arange(count)
            self._scratch = np.empty((6, count), np.uint64)
        words, swapped = self._words(batch)
        holder = self._holders(words, 0)
        first = np.flatnonzero(holder == self._count[:count])
        number = self._scratch[5, :count].view(np.int64)
        number[first] = self._count[: len(first)]
        return number.take(holder), first, swapped

    def _words(self, batch: SegmentBatch) -> tuple[list[U64], Bool]:
        """(keys in two words: each end's address and port, the lower end first; whether the sender is the second end).

        The 16 bits above an IPv4 address and port, the same in all IPv4-mapped addresses, take the protocol and the
        encapsulation: the words are the key itself. Other ends stand as keyed 64-bit digests. That two of them are
        alike within a batch is a matter of chance that nobody can bring about: 2^-64 for a pair of conversations.
        """
        if batch.tunnel.max() >> 16:
            whole, swapped = key_words(batch)
            return list(whole), swapped
        source, target, low, high, other = self._scratch[:5, : len(batch)]
        np.bitwise_xor(batch.src_lo, V4_PREFIX, out=low)
        np.bitwise_xor(batch.dst_lo, V4_PREFIX, out=high)
        low |= high
        low >>= np.uint64(32)
        np.bitwise_or(batch.src_hi, batch.dst_hi, out=high)
        high |= low
        wide = np.flatnonzero(high != 0)
        np.left_shift(batch.src_lo, _ABOVE_PORT, out=source)
        source |= batch.src_port
        np.left_shift(batch.dst_lo, _ABOVE_PORT, out=target)
        target |= batch.dst_port
        swapped = source > target
        np.minimum(source, target, out=low)
        np.maximum(source, target, out=high)
        if wide.size:
            (a_hi, a_lo, b_hi, b_lo, rest), swapped[wide] = key_words(batch, wide)
            low[wide] = self._digest(a_hi, a_lo, rest >> np.uint64(48))
            high[wide] = self._digest(b_hi, b_lo, rest >> np.uint64(32) & np.uint64(0xFFFF))
        np.left_shift(batch.protocol, _ABOVE_ADDRESS, out=other, dtype=np.uint64, casting="unsafe")
        low ^= other
        if batch.tunnel.any():
            np.left_shift(batch.tunnel, _ABOVE_ADDRESS, out=other, dtype=np.uint64, casting="unsafe")
            high ^= other
        return [low, high], swapped

    def _digest(self, hi: U64, lo: U64, port: U64) -> U64:
        """A keyed digest of an address and a port."""
        mix = self._mix[_ROUNDS]
        value: U64 = hi * mix[0]
        value ^= value >> np.uint64(29)
        value += lo
        value *= mix[1]
        value ^= value >> np.uint64(29)
        value += port * mix[2]  # not the port alone: near misses of addresses could be made up for by ports
        value *= mix[3]
        value ^= value >> np.uint64(32)
        return value

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
        part = np.empty_like(value) if turn else self._scratch[0, : len(value)]
        for number, word in enumerate(words[1:], 1):  # multiplication alone lets crafted differences cancel
            np.right_shift(value, np.uint64(29), out=part)
            value ^= part
            value += word
            value *= mix[number]
        np.right_shift(value, np.uint64(32), out=part)
        value ^= part
        value *= mix[5]
        value >>= np.uint64(64 - bits)
        return value.view(np.int64)


def _widest_steps(stamps: I64) -> tuple[int, int]:
    """The least and the largest step from one stamp to the next, 0 among them."""
    before = int(stamps[0])
    if kernels.COMPILED:
        return kernels.compiled.widest_steps(stamps, before)
    steps = np.diff(stamps, prepend=before)
    return int(steps.min()), int(steps.max())
