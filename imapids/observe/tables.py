"""The sets and counts of observe/counting.py over hash tables, for the compiled loops; without them NumPy sorts.

Values and keys are keyed hashes already, and the tables are keyed once more: nobody can bring about collisions.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np

from imapids import kernels
from imapids.observe.counting import (
    SALT,
    Decision,
    GroupCounts,
    Offer,
    Rows,
    SeenBefore,
    Snapshot,
    marks_of,
)
from imapids.records.packets import I64, U64, Bool

_FEWEST = 1_024
"""Slots of a table at least."""
_FREE = -1
"""In place of a group's number: the slot is free."""
_SHOWN = 256
"""Groups that are shown at once: few rows show any."""
_NO_LIMIT = 1 << 62


def seen_before(limit: int) -> SeenBefore:
    """A set of hashes of bounded size, made the fastest way there is."""
    return SeenTable(limit) if kernels.COMPILED else SeenBefore(limit)


def group_counts(fields: int, limit: int) -> GroupCounts:
    """Counts by group, made the fastest way there is."""
    return GroupTable(fields, limit) if kernels.COMPILED else GroupCounts(fields, limit)


def _slots_for(values: int) -> int:
    """Slots of a table that is at most half full."""
    return max(_FEWEST, 1 << (2 * values - 1).bit_length())


def _table_of(slots: int) -> U64:
    return np.zeros(slots, np.uint64)


class SeenTable(SeenBefore):
    """`SeenBefore` over two hash tables, one of each half."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.values = kernels.compiled.ValueSet(self._room, secrets.randbits(64) | 1, _table_of)

    @property
    def forgotten(self) -> int:
        """See `SeenBefore.forgotten`."""
        return self.values.forgotten

    def add(self, values: U64, unseen: Bool | None = None) -> Bool:  # noqa: ARG002  # to look is as fast as to know
        """See `SeenBefore.add`."""
        fresh = np.zeros(len(values), np.bool_)
        self.values.add(np.ascontiguousarray(values), fresh.view(np.uint8))
        return fresh


class GroupTable(GroupCounts):
    """`GroupCounts` that finds groups in a hash table, and counts row by row."""

    def __init__(self, fields: int, limit: int) -> None:
        super().__init__(fields, limit)
        self._rows = kernels.compiled.GroupRows(SALT, secrets.randbits(64) | 1)
        self._numbers: I64
        """The group in each slot of the table."""
        self._rebuild(np.zeros(0, np.uint64), np.zeros(0, np.int64), _FEWEST)
        self._hold(len(self._free))

    def __len__(self) -> int:
        return self._rows.count

    @property
    def made(self) -> int:
        """See `GroupCounts.made`."""
        return self._rows.made

    @property
    def _alive(self) -> I64:
        alive: I64 = self._numbers[self._numbers != _FREE]
        return alive

    def _known(self, keys: U64) -> tuple[Bool, I64]:
        held = np.sort(self._keys[self._numbers != _FREE])
        at = np.searchsorted(held, keys)
        return (held[np.minimum(at, len(held) - 1)] == keys if len(held) else np.zeros(len(keys), np.bool_)), at

    def groups_of(self, keys: U64) -> tuple[I64, I64]:
        """See `GroupCounts.groups_of`."""
        keys = np.ascontiguousarray(keys)
        groups, new, _ = self._place(keys[None], 0, np.arange(len(keys)), keys, keys, (), _NO_LIMIT)
        return groups, new

    def place(self, rows: Rows, key: int, at: I64, offers: Sequence[Offer]) -> tuple[I64, I64, U64]:
        """See `GroupCounts.place`."""
        return self._place(rows.columns, key, at, rows.certain, rows.offered, offers, self.limit)

    def _place(self, columns: U64, key: int, at: I64, certain: U64, offered: U64, offers: Sequence[Offer],
               most: int) -> tuple[I64, I64, U64]:
        self._reserve(min(len(at), max(most - len(self), 0)))
        groups, new, bits = np.empty(len(at), np.int64), np.empty(len(at), np.int64), np.empty(len(at), np.uint64)
        placed, begun = self._rows.place(
            columns, key, at, certain, offered,
            tuple((seen.values, column, fields) for seen, column, fields in offers if isinstance(seen, SeenTable)),
            most, groups, new, bits)
        return groups[:placed], new[:begun], bits[:placed]

    def _reserve(self, more: int) -> None:
        """Makes room for more groups."""
        slots = _slots_for(len(self) + more)
        if slots > len(self._keys):
            held = self._numbers != _FREE
            self._rebuild(self._keys[held], self._numbers[held], slots)
        left = self._rows.left
        if more > left:
            self._free = self._free[:left]
            self._lengthen(more)
            self._hold(len(self._free))

    def count(self, rows: Rows, at: I64, groups: I64, bits: U64, decision: Decision) -> list[Snapshot]:
        """See `GroupCounts.count`."""
        fields = self.counts.shape[1]
        place = np.empty(min(len(at), _SHOWN), np.int64)
        shown = np.empty((len(place), fields + 2), np.int64)
        told: list[Snapshot] = []
        start = 0
        while start < len(at):
            start, found = self._rows.add(at, groups, bits, rows.first_ns, rows.last_ns, rows.over_ns,
                                          decision.notable, decision.timeless, start, place, shown)
            if found:
                decisive = np.array(decision.fields)
                marks = marks_of(bits[place[:found]], decisive.astype(np.uint64))
                chosen = np.flatnonzero(decision.decide(marks, shown[:found, decisive]))
                where = place[chosen]
                told += map(Snapshot, where.tolist(), groups[where].tolist(), shown[chosen, :fields],
                            *shown[chosen, fields:].T.tolist())
        return told

    def drop(self, groups: I64) -> None:
        """Forgets groups."""
        gone = np.zeros(len(self.serial) + 1, np.bool_)
        gone[groups] = gone[_FREE] = True
        keep = ~gone[self._numbers]
        self._rebuild(self._keys[keep], self._numbers[keep], _FEWEST)
        self._free = np.concatenate((self._free[: self._rows.left], groups))
        self._hold(len(self._free))

    def _rebuild(self, keys: U64, groups: I64, slots: int) -> None:
        """Makes the table anew, of these groups and their keys."""
        slots = max(slots, _slots_for(len(keys)))
        self._keys, self._numbers = np.zeros(slots, np.uint64), np.full(slots, _FREE, np.int64)
        self._rows.hold_table(self._keys, self._numbers, keys, groups)

    def _hold(self, left: int) -> None:
        """Tells the compiled loops of columns that were made; `left`: how many numbers are free."""
        self._rows.hold_columns(self.counts, self.serial, self.first_ns, self.last_ns, self.over_ns, self._free, left)
