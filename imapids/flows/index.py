"""Finds the flow of each segment: a hash index over packed keys, looked up for whole batches at once."""

from __future__ import annotations

import secrets

import numpy as np
import numpy.typing as npt

from imapids import kernels
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

    def __init__(self, slots: int = 1 << 13, alike: FlowIndex | None = None) -> None:
        """`alike`: an index that hashes keys in the same way."""
        self.mix: U64 = alike.mix if alike is not None else np.array(
            [secrets.randbits(64) | 1 for _ in range(KEY_WORDS + 1)], np.uint64)
        self._hashes: U64 = np.zeros(0, np.uint64)
        """The hash of each entry's key: it tells nearly always that a slot holds another key."""
        self.slots: I32 = np.zeros(0, np.int32)
        self._claim: I32 = np.zeros(0, np.int32)
        self.clear(slots)

    def clear(self, slots: int) -> None:
        """Forgets everything; `slots` is a power of two."""
        if slots != len(self.slots):
            self.slots = np.empty(slots, np.int32)
            self._claim = np.empty(slots, np.int32)
        self.slots.fill(-1)
        self._shift = np.uint64(64 - (slots.bit_length() - 1))
        self._mask = np.int64(slots - 1)

    def hashed(self, keys: Keys) -> U64:
        """Hashes of keys, shape (n,)."""
        mix = self.mix
        if kernels.COMPILED:
            hashes = np.empty(len(keys), np.uint64)
            kernels.compiled.hash_keys(keys, mix, hashes)
            return hashes
        value: U64 = keys[:, 0] * mix[0]
        for word in range(1, KEY_WORDS):  # fold between words: multiplication alone lets crafted differences cancel
            value ^= value >> np.uint64(29)
            value += keys[:, word]
            value *= mix[word]
        value ^= value >> np.uint64(32)
        value *= mix[KEY_WORDS]
        return value

    def find(self, keys: Keys, stored: Keys, hashes: U64 | None = None) -> tuple[I32, I64]:
        """For each key its entry (-1 where there is none) and the slot where the search ended.

        Args:
            keys: shape (n, 5).
            stored: the keys of all entries, shape (entries, 5).
            hashes: of the keys, where the caller has them.
        """
        if hashes is None:
            hashes = self.hashed(keys)
        if kernels.COMPILED:
            entry, slot = np.empty(len(keys), np.int32), np.empty(len(keys), np.int64)
            kernels.compiled.find_keys(keys, hashes, self.slots, self._hashes, stored, int(self._shift), entry, slot)
            return entry, slot
        slot = (hashes >> self._shift).view(np.int64)
        entry = self.slots.take(slot)
        held = np.flatnonzero(entry >= 0)
        pending = held[self._hashes.take(entry[held]) != hashes[held]]
        while pending.size:
            at = (slot[pending] + 1) & self._mask
            slot[pending] = at
            there = self.slots.take(at)
            entry[pending] = there
            full = there >= 0
            pending, there = pending[full], there[full]
            pending = pending[self._hashes.take(there) != hashes[pending]]
        held = np.flatnonzero(entry >= 0)
        differs = stored.take(entry[held], axis=0) != keys[held]
        if differs.any():  # two keys with one hash: not seen in practice
            wrong = held[differs.any(axis=1)]
            entry[wrong], slot[wrong] = self._search(keys[wrong], stored, hashes[wrong])
        return entry, slot

    def _search(self, keys: Keys, stored: Keys, hashes: U64) -> tuple[I32, I64]:
        """`find` that compares whole keys at each step."""
        slot = (hashes >> self._shift).view(np.int64)
        entry = self.slots.take(slot)
        pending = np.arange(len(slot))
        while True:
            there = entry[pending]
            differs = (there >= 0) & (stored.take(there, axis=0, mode="clip") != keys[pending]).any(axis=1)
            pending = pending[differs]
            if not pending.size:
                return entry, slot
            slot[pending] = (slot[pending] + 1) & self._mask
            entry[pending] = self.slots.take(slot[pending])

    def add(self, keys: Keys, rows: I32, stored: Keys) -> I32:
        """Adds rows under their keys; returns for each the row that holds its key first (itself where it is new).

        Where a key is new, it is written to `stored`.
        """
        hashes = self.hashed(keys)
        if kernels.COMPILED:
            self._make_room(len(stored))
            entry = np.empty(len(keys), np.int32)
            kernels.compiled.add_keys(keys, hashes, rows, self.slots, self._hashes, stored, int(self._shift), entry)
            return entry
        entry, slot = self.find(keys, stored, hashes)
        missing = np.flatnonzero(entry < 0)
        while missing.size:
            at = slot[missing]
            self._claim[at[::-1]] = missing[::-1]  # the earliest position is written last
            first = self._claim[at] == missing
            winners, losers = missing[first], missing[~first]
            stored[rows[winners]] = keys[winners]
            self._note(rows[winners], hashes[winners], len(stored))
            self.slots[at[first]] = rows[winners]
            entry[winners] = rows[winners]
            if losers.size:
                entry[losers], slot[losers] = self.find(keys[losers], stored, hashes[losers])
            missing = losers[entry[losers] < 0]
        return entry

    def insert(self, entries: I32, keys: Keys, hashes: U64, slot: I64, stored: Keys, capacity: int) -> None:
        """Adds entries under keys that are all different and not in the index, and writes the keys to `stored`.

        Args:
            hashes: of the keys.
            slot: for each entry the empty slot at which a search for its key ended.
            capacity: entries that there may be.
        """
        if kernels.COMPILED:
            self._make_room(capacity)
            kernels.compiled.insert_keys(entries, keys, hashes, slot, self.slots, self._hashes, stored)
            return
        stored[entries] = keys
        self._note(entries, hashes, capacity)
        self._place(entries, slot)

    def _note(self, entries: I32, hashes: U64, capacity: int) -> None:
        self._make_room(capacity)
        self._hashes[entries] = hashes

    def _make_room(self, capacity: int) -> None:
        if len(self._hashes) < capacity:
            longer = np.zeros(capacity, np.uint64)
            longer[: len(self._hashes)] = self._hashes
            self._hashes = longer

    def _place(self, entries: I32, slot: I64) -> None:
        """Puts entries into the first empty slots from the ones given."""
        if kernels.COMPILED:
            kernels.compiled.place_entries(entries, slot, self.slots)
            return
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
        hashes = self.hashed(key)
        _, slot = self.find(key, stored, hashes)
        self._note(np.array([entry], np.int32), hashes, len(stored))
        self.slots[slot] = entry

    def rebuild(self, entries: I32, slots: int) -> None:
        """Makes the index anew for the live entries: the only way in which entries leave it."""
        self.clear(slots)
        self._place(entries, (self._hashes[entries] >> self._shift).view(np.int64))
