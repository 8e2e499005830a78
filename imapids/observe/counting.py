"""Counts of groups over time as columns: how much of each thing every source, network or target has had so far.

A batch of rows goes in at once. Counts are additive, so that the state after any row is the state before the batch
and the sum of the group's rows so far: what is told at a row does not depend on how the rows were cut into batches.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from imapids.records.packets import I64, U64, Bool

_SALT = np.frombuffer(secrets.token_bytes(32), np.uint64)
"""Makes the hashes of this process its own: nobody can choose addresses that collide."""
_MIX = np.array([0x9E37_79B9_7F4A_7C15, 0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB], np.uint64)
_SHIFTS = np.array([30, 27, 31], np.uint64)
_YOUNG = 8_192
"""New values are kept apart until there are so many, so that a batch does not copy all values that are known."""

STEPS = np.array([10**power for power in range(1, 12)], np.int64)
"""Counts at which something is told: 10, 100, 1,000 ..."""


def mixed(*columns: U64 | int) -> U64:
    """One keyed 64-bit hash for each row of some columns of shape (n,), uint64 (single numbers stand for columns)."""
    state: U64 = _SALT[:1]
    for number, column in enumerate(columns):
        state = (state ^ np.asarray(column, np.uint64)) + _SALT[1 + number % 3]
        state = (state ^ (state >> _SHIFTS[0])) * _MIX[1]
        state = (state ^ (state >> _SHIFTS[1])) * _MIX[2]
        state = state ^ (state >> _SHIFTS[2])
    return state


class SeenBefore:
    """A set of hashes of bounded size: which values of a batch are new? The half that was added first is forgotten."""

    def __init__(self, limit: int) -> None:
        self._room = max(limit // 2, 1)
        self._sets = [np.zeros(0, np.uint64)] * 3
        """The older half, the newer half, and the newest of the newer half; each sorted."""
        self.forgotten = 0
        """How often a half was forgotten."""

    def add(self, values: U64) -> Bool:
        """Adds values; the mask of shape (n,) tells which of them stood neither in the set nor earlier in the batch."""
        fresh = np.zeros(len(values), np.bool_)
        start = 0
        while start < len(values):
            start = self._add(values, start, fresh)
        return fresh

    def _add(self, values: U64, start: int, fresh: Bool) -> int:
        """Adds values from `start` on, up to the one that finds no room; the position where to go on."""
        found, first = np.unique(values[start:], return_index=True)
        new = np.ones(len(found), np.bool_)
        for known in self._sets:
            if len(known):
                at = np.searchsorted(known, found)
                new &= known[np.minimum(at, len(known) - 1)] != found
        found, first = found[new], first[new]
        room = self._room - len(self._sets[1]) - len(self._sets[2])
        stop = len(values)
        if len(found) > room:
            last = np.partition(first, room)[room]
            found, first, stop = found[first < last], first[first < last], start + int(last)
        fresh[start + first] = True
        self._sets[2] = np.sort(np.concatenate((self._sets[2], found)))
        if len(self._sets[2]) > _YOUNG:
            self._sets[1], self._sets[2] = np.sort(np.concatenate(self._sets[1:])), self._sets[2][:0]
        if stop < len(values):
            self._sets = [np.sort(np.concatenate(self._sets[1:])), found[:0], found[:0]]
            self.forgotten += 1
        return stop


class Snapshot(NamedTuple):
    """The state of a group right after a row."""

    row: int
    """Position of the row in the batch."""
    group: int
    counts: I64
    """Shape (fields,)."""
    first_ns: int
    last_ns: int


Decide = Callable[[I64, I64], Bool]
"""From rows (n, fields) and the running counts of their groups (n, fields): at which is something told?"""


class GroupCounts:
    """Counts by group: columns of shape (groups,) and (groups, fields)."""

    def __init__(self, fields: int, limit: int) -> None:
        """`limit`: groups at one time, 4 at least; the caller makes room by `drop`."""
        self.limit = max(limit, 4)
        self._capacity = min(256, self.limit)
        self._index: dict[int, int] = {}
        self._keys = np.zeros(self._capacity, np.uint64)
        self._free = list(range(self._capacity - 1, -1, -1))
        self._made = 0
        self.counts: I64 = np.zeros((self._capacity, fields), np.int64)
        self.serial: U64 = np.zeros(self._capacity, np.uint64)
        """A number of its own for each group that ever was: part of the hashes of what it was counted with."""
        self.first_ns: I64 = np.zeros(self._capacity, np.int64)
        self.last_ns: I64 = np.zeros(self._capacity, np.int64)
        self.over_ns: I64 = np.zeros(self._capacity, np.int64)
        """When the newest row of the group was over: what expiry looks at."""
        self.example: I64 = np.zeros((self._capacity, 4), np.int64)
        """What the caller notes of a group when it is made."""

    def __len__(self) -> int:
        return len(self._index)

    def fitting(self, keys: U64) -> int:
        """How many of the rows can be taken before a group would find no room."""
        room = self.limit - len(self._index)
        found, first = np.unique(keys, return_index=True)
        if len(found) <= room:
            return len(keys)
        index = self._index
        new = [position for key, position in zip(found.tolist(), first.tolist(), strict=True) if key not in index]
        return len(keys) if len(new) <= room else sorted(new)[room]

    def groups_of(self, keys: U64) -> tuple[I64, I64]:
        """The groups of rows by their keys, shape (n,), and the rows that made a new group, ascending."""
        found, first, back = np.unique(keys, return_index=True, return_inverse=True)
        index, free = self._index, self._free
        rows = [index.get(key, -1) for key in found.tolist()]
        new = [number for number, row in enumerate(rows) if row < 0]
        if new:
            new.sort(key=first.tolist().__getitem__)
            if len(new) > len(free):
                self._grow(len(new) - len(free))
            for number in new:
                row = rows[number] = index[int(found[number])] = free.pop()
                self.serial[row] = self._made = self._made + 1
            made = np.array([rows[number] for number in new], np.int64)
            self._keys[made] = found[new]
            self.counts[made] = 0
            self.first_ns[made], self.last_ns[made], self.over_ns[made] = np.int64(2**62), -(2**62), -(2**62)
        groups: I64 = np.array(rows, np.int64)[back.reshape(-1)]
        return groups, first[new] if new else np.zeros(0, np.int64)

    def _grow(self, wanted: int) -> None:
        capacity = min(max(2 * self._capacity, self._capacity + wanted), max(self.limit, self._capacity + wanted))
        for name in ("_keys", "counts", "serial", "first_ns", "last_ns", "over_ns", "example"):
            old = getattr(self, name)
            longer = np.zeros((capacity, *old.shape[1:]), old.dtype)
            longer[: self._capacity] = old
            setattr(self, name, longer)
        self._free[:0] = range(capacity - 1, self._capacity - 1, -1)
        self._capacity = capacity

    def add(self, groups: I64, rows: I64, first_ns: I64, last_ns: I64, over_ns: I64, decide: Decide) -> list[Snapshot]:
        """Adds rows of shape (n, fields) to their groups; snapshots where `decide` says so, in the rows' order."""
        if not len(groups):
            return []
        order = np.argsort(groups, kind="stable")
        group, row = groups[order], rows[order]
        starts = np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))
        running = np.cumsum(row, axis=0)
        lengths = np.diff(np.concatenate((starts, [len(group)])))
        before = self.counts[group[starts]] - running[starts] + row[starts]
        running += np.repeat(before, lengths, axis=0)
        begin = np.minimum(first_ns[order], np.repeat(self.first_ns[group[starts]], lengths))
        end = np.maximum(last_ns[order], np.repeat(self.last_ns[group[starts]], lengths))
        told = []
        for at in np.flatnonzero(decide(row, running)).tolist():
            start = starts[np.searchsorted(starts, at, side="right") - 1]
            told.append(Snapshot(int(order[at]), int(group[at]), running[at], int(begin[start : at + 1].min()),
                                 int(end[start : at + 1].max())))
        at_end = starts + lengths - 1
        which = group[starts]
        self.counts[which] = running[at_end]
        self.first_ns[which] = np.minimum.reduceat(begin, starts)
        self.last_ns[which] = np.maximum.reduceat(end, starts)
        self.over_ns[which] = np.maximum(self.over_ns[which], np.maximum.reduceat(over_ns[order], starts))
        told.sort(key=lambda each: each.row)
        return told

    def now(self, group: int) -> Snapshot:
        """The state of a group."""
        return Snapshot(-1, group, self.counts[group].copy(), int(self.first_ns[group]), int(self.last_ns[group]))

    def every(self) -> I64:
        """All groups, in the order in which they were made."""
        rows = np.fromiter(self._index.values(), np.int64, len(self._index))
        return rows[np.argsort(self.serial[rows])]

    def quiet_since(self, time_ns: int) -> I64:
        """Groups whose newest row was over before a time, in the order in which they were made."""
        rows = self.every()
        return rows[self.over_ns[rows] < time_ns]

    def quietest(self, count: int) -> I64:
        """The groups of which nothing came for longest, in the order in which they were made."""
        rows = self.every()
        chosen = rows[np.lexsort((self.serial[rows], self.over_ns[rows]))[:count]]
        return chosen[np.argsort(self.serial[chosen])]

    def drop(self, groups: I64) -> None:
        """Forgets groups."""
        for key, row in zip(self._keys[groups].tolist(), groups.tolist(), strict=True):
            del self._index[key]
            self._free.append(row)


def at_step(rows: I64, running: I64, field: int, *also: int) -> Bool:
    """Where a count becomes 10, 100, 1,000 ... (or one of `also`)."""
    steps = np.concatenate((np.array(also, np.int64), STEPS)) if also else STEPS
    hit: Bool = (rows[:, field] != 0) & np.isin(running[:, field], steps)
    return hit


def parts_of(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` rows: what is held for a batch stays small."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
