"""The sets and counts of observe/counting.py over hash tables, for the compiled loops; without them NumPy sorts.

Values and keys are keyed hashes already, and the tables are keyed once more: nobody can bring about collisions.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from imapids import kernels
from imapids.observe.counting import Decide, GroupCounts, Marks, SeenBefore, Snapshot
from imapids.records.packets import I64, U64, Bool

_FEWEST = 1_024
"""Slots of a table at least."""
_FREE = -(1 << 63)
"""In place of a group's number: the slot is free."""


def seen_before(limit: int) -> SeenBefore:
    """A set of hashes of bounded size, made the fastest way there is."""
    return SeenTable(limit) if kernels.COMPILED else SeenBefore(limit)


def group_counts(fields: int, limit: int) -> GroupCounts:
    """Counts by group, made the fastest way there is."""
    return GroupTable(fields, limit) if kernels.COMPILED else GroupCounts(fields, limit)


@lru_cache(maxsize=64)
def _fields_of(fields: int, decisive: tuple[int, ...]) -> tuple[I64, I64]:
    """The fields that decide when something is told, and the others."""
    others = [field for field in range(fields) if field not in decisive]
    return np.array(decisive, np.int64), np.array(others, np.int64)


def _slots_for(values: int) -> int:
    """Slots of a table that is at most half full."""
    return max(_FEWEST, 1 << (2 * values - 1).bit_length())


class SeenTable(SeenBefore):
    """`SeenBefore` over two hash tables, one of each half."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._mix = secrets.randbits(64) | 1
        self._older, self._newer = np.zeros(_FEWEST, np.uint64), np.zeros(_FEWEST, np.uint64)
        self._zeros = np.zeros(2, np.uint8)
        """Whether the older and the newer half hold 0, which marks free slots."""
        self._held = 0
        """Values in the newer half."""

    def add(self, values: U64, unseen: Bool | None = None) -> Bool:  # noqa: ARG002  # to look is as fast as to know
        """See `SeenBefore.add`."""
        fresh = np.zeros(len(values), np.bool_)
        values = np.ascontiguousarray(values)
        stop = 0
        while True:
            self._make_room(min(len(values) - stop, self._room - self._held))
            stop, added = kernels.compiled.new_values(
                values, stop, self._older, self._newer, self._zeros, self._room - self._held, self._mix,
                fresh.view(np.uint8))
            self._held += added
            if stop == len(values):
                return fresh
            self._older, self._newer, self._held = self._newer, np.zeros(_FEWEST, np.uint64), 0
            self._zeros = np.array([self._zeros[1], 0], np.uint8)
            self.forgotten += 1

    def _make_room(self, more: int) -> None:
        """Makes the newer table large enough for more values."""
        slots = _slots_for(self._held + more)
        if slots > len(self._newer):
            values, self._newer = self._newer[self._newer != 0], np.zeros(slots, np.uint64)
            kernels.compiled.new_values(values, 0, np.zeros(1, np.uint64), self._newer, np.zeros(2, np.uint8),
                                        len(values), self._mix, np.zeros(len(values), np.uint8))


class GroupTable(GroupCounts):
    """`GroupCounts` that finds groups in a hash table, and counts row by row."""

    def __init__(self, fields: int, limit: int) -> None:
        super().__init__(fields, limit)
        self._mix = secrets.randbits(64) | 1
        self._table = np.zeros(_FEWEST, np.uint64)
        self._numbers = np.full(_FEWEST, _FREE, np.int64)
        """The group in each slot of the table."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def _alive(self) -> I64:
        alive: I64 = self._numbers[self._numbers != _FREE]
        return alive

    def _known(self, keys: U64) -> tuple[Bool, I64]:
        held = np.sort(self._table[self._numbers != _FREE])
        at = np.searchsorted(held, keys)
        return (held[np.minimum(at, len(held) - 1)] == keys if len(held) else np.zeros(len(keys), np.bool_)), at

    def groups_of(self, keys: U64) -> tuple[I64, I64]:
        """See `GroupCounts.groups_of`."""
        slots = _slots_for(self._count + len(keys))
        if slots > len(self._table):
            self._rebuild(self._numbers != _FREE, slots)
        groups, rows, places = (np.empty(len(keys), np.int64) for _ in range(3))
        new = kernels.compiled.find_groups(
            np.ascontiguousarray(keys), self._table, self._numbers, self._mix, groups, rows, places)
        if new:
            made = self._make(new)
            self._numbers[places[:new]] = made
            fresh = np.flatnonzero(groups < 0)
            groups[fresh] = made[-1 - groups[fresh]]
            self.serial[made] = np.arange(self._made + 1, self._made + 1 + new, dtype=np.uint64)
            self._made += new
            self._count += new
        return groups, rows[:new]

    def add(self, groups: I64, rows: Marks, first_ns: I64, last_ns: I64, over_ns: I64, decide: Decide,
            decisive: Sequence[int]) -> list[Snapshot]:
        """See `GroupCounts.add`."""
        if not len(groups):
            return []
        asked, others = _fields_of(rows.shape[1], tuple(decisive))
        part, running = np.empty((len(groups), len(asked)), np.int8), np.empty((len(groups), len(asked)), np.int64)
        kernels.compiled.count_decisive(groups, rows, asked, self.counts, part, running)
        told = np.flatnonzero(decide(part, running))
        shown = np.empty((len(told), 2 + len(others)), np.int64)
        kernels.compiled.count_others(groups, rows, others, self.counts, first_ns, last_ns, over_ns,
                                      self.first_ns, self.last_ns, self.over_ns, told, shown)
        if not told.size:
            return []
        counts = np.empty((len(told), rows.shape[1]), np.int64)
        counts[:, asked], counts[:, others] = running[told], shown[:, 2:]
        return list(map(Snapshot, told.tolist(), groups[told].tolist(), counts, shown[:, 0].tolist(),
                        shown[:, 1].tolist()))

    def drop(self, groups: I64) -> None:
        """Forgets groups."""
        self._rebuild((self._numbers != _FREE) & ~np.isin(self._numbers, groups), _FEWEST)
        self._free = np.concatenate((self._free, groups))

    def _rebuild(self, keep: Bool, slots: int) -> None:
        """Makes the table anew with the entries in some slots."""
        keys, numbers = self._table[keep], self._numbers[keep]
        self._count = len(keys)
        slots = max(slots, _slots_for(self._count))
        self._table, self._numbers = np.zeros(slots, np.uint64), np.full(slots, _FREE, np.int64)
        places = np.empty(len(keys), np.int64)
        kernels.compiled.find_groups(keys, self._table, self._numbers, self._mix, np.empty_like(places),
                                     np.empty_like(places), places)
        self._numbers[places] = numbers
