"""Finds the flow of each segment: a hash index over packed keys, looked up for whole batches at once."""

from __future__ import annotations

import secrets

import numpy as np
import numpy.typing as npt

from imapids.records.packets import I32, I64, U64, Bool
from imapids.records.segments import SegmentBatch

KEY_WORDS = 5
"""A key is five 64-bit words: both addresses (two words each), then ports, encapsulation and protocol."""

Keys = npt.NDArray[np.uint64]
"""Shape (n, KEY_WORDS)."""


def key_words(batch: SegmentBatch, at: I64 | slice = slice(None)) -> tuple[U64, Bool]:
    """Direction-free keys of segments, a row for each word, and whether a segment's sender is its key's second end.

    Keys are packed words, never tuples of ints: those can be made to collide in a Python dict.

    Args:
        at: positions in the batch.

    Returns:
        (shape (KEY_WORDS, n), shape (n,)).
    """
    src_hi, src_lo, dst_hi, dst_lo = batch.src_hi[at], batch.src_lo[at], batch.dst_hi[at], batch.dst_lo[at]
    src_port, dst_port = batch.src_port[at].astype(np.uint64), batch.dst_port[at].astype(np.uint64)
    swapped: Bool = src_lo > dst_lo
    ties = src_lo == dst_lo
    if ties.any():
        swapped |= ties & (src_port > dst_port)
    keys = np.empty((KEY_WORDS, len(swapped)), np.uint64)
    if src_hi.any() or dst_hi.any():  # some IPv6: the high half decides first
        higher = src_hi != dst_hi
        np.copyto(swapped, src_hi > dst_hi, where=higher)
        mask = np.negative(swapped.astype(np.uint64))
        turn = (src_hi ^ dst_hi) & mask
        np.bitwise_xor(src_hi, turn, out=keys[0])
        np.bitwise_xor(dst_hi, turn, out=keys[2])
    else:
        mask = np.negative(swapped.astype(np.uint64))
        keys[0] = keys[2] = 0
    turn = (src_lo ^ dst_lo) & mask  # exchanging by exclusive-or is eight times as fast as np.where
    np.bitwise_xor(src_lo, turn, out=keys[1])
    np.bitwise_xor(dst_lo, turn, out=keys[3])
    turn = (src_port ^ dst_port) & mask
    src_port ^= turn
    dst_port ^= turn
    src_port <<= np.uint64(48)
    dst_port <<= np.uint64(32)
    src_port |= dst_port
    src_port |= batch.tunnel[at].astype(np.uint64) << np.uint64(8)
    np.bitwise_or(src_port, batch.protocol[at], out=keys[4])
    return keys, swapped


class FlowIndex:
    """Open-addressing hash index from packed keys to entries, looked up by columns.

    The hash is keyed with random multipliers for each process (no result depends on them), and every hit is
    verified on the whole key, so crafted keys cannot be confused, only be slower.
    """

    def __init__(self, slots: int = 1 << 13) -> None:
        self._mix = np.array([secrets.randbits(64) | 1 for _ in range(KEY_WORDS + 1)], np.uint64)
        self.clear(slots)

    def clear(self, slots: int) -> None:
        """Forgets everything; `slots` is a power of two."""
        self.slots: I32 = np.full(slots, -1, np.int32)
        self._claim: I32 = np.empty(slots, np.int32)
        self._shift = np.uint64(64 - (slots.bit_length() - 1))
        self._mask = np.int64(slots - 1)

    def _home(self, keys: Keys) -> I64:
        mix = self._mix
        value = keys[:, 0] * mix[0]
        for word in range(1, KEY_WORDS):  # fold between words: multiplication alone lets crafted differences cancel
            value ^= value >> np.uint64(29)
            value += keys[:, word]
            value *= mix[word]
        value ^= value >> np.uint64(32)
        value *= mix[KEY_WORDS]
        home: I64 = (value >> self._shift).astype(np.int64)
        return home

    def find(self, keys: Keys, stored: Keys) -> tuple[I32, I64]:
        """For each key its entry (-1 where there is none) and the slot where the search ended.

        Args:
            keys: shape (n, 5).
            stored: the keys of all entries, shape (entries, 5).
        """
        slot = self._home(keys)
        entry = self.slots.take(slot)
        pending = self._missed(entry, keys, stored)
        while pending.size:
            slot[pending] = (slot[pending] + 1) & self._mask
            at = self.slots.take(slot[pending])
            entry[pending] = at
            pending = pending[self._missed(at, keys[pending], stored)]
        return entry, slot

    @staticmethod
    def _missed(entry: I32, keys: Keys, stored: Keys) -> I64:
        """Positions whose entry holds another key."""
        held = stored.take(entry, axis=0, mode="clip")  # take is four times as fast as indexing with rows
        held ^= keys
        if not held.any():
            return np.empty(0, np.int64)
        odd = held[:, 0] | held[:, 1]
        for word in range(2, KEY_WORDS):
            odd |= held[:, word]
        return np.flatnonzero((odd != 0) & (entry >= 0))

    def add(self, keys: Keys, rows: I32, stored: Keys) -> I32:
        """Adds rows under their keys; returns for each the row that holds its key first (itself where it is new)."""
        entry, slot = self.find(keys, stored)
        missing = np.flatnonzero(entry < 0)
        while missing.size:
            at = slot[missing]
            self._claim[at[::-1]] = missing[::-1]  # the earliest position is written last
            first = self._claim[at] == missing
            winners, losers = missing[first], missing[~first]
            stored[rows[winners]] = keys[winners]
            self.slots[at[first]] = rows[winners]
            entry[winners] = rows[winners]
            if losers.size:
                entry[losers], slot[losers] = self.find(keys[losers], stored)
            missing = losers[entry[losers] < 0]
        return entry

    def insert(self, slot: I64, entries: I32) -> None:
        """Adds entries whose keys are all different and not in the index.

        Args:
            slot: for each entry the empty slot at which a search for its key ended, or its home.
        """
        pending = np.arange(len(entries))
        while pending.size:
            at = slot[pending]
            empty = self.slots[at] < 0
            self._claim[at[::-1]] = pending[::-1]  # the earliest one is written last
            won = empty & (self._claim[at] == pending)
            self.slots[at[won]] = entries[pending[won]]
            pending = pending[~won]
            slot[pending] = (slot[pending] + (self.slots[slot[pending]] >= 0)) & self._mask

    def replace(self, key: Keys, stored: Keys, entry: int) -> None:
        """Points a stored key (shape (1, 5)) to another entry, which holds the same key."""
        _, slot = self.find(key, stored)
        self.slots[slot] = entry

    def rebuild(self, entries: I32, stored: Keys, slots: int) -> None:
        """Makes the index anew for the live entries: the only way in which entries leave it."""
        self.clear(slots)
        self.insert(self._home(stored[entries]), entries)
