"""Joins the two directions of a flow that were captured on different VLANs.

The same 5-tuple on several VLANs is several flows; but where one row holds only one direction and a new one with
other VLAN tags holds the other, they are one conversation (asymmetric tagging on a span port).
"""

from __future__ import annotations

import numpy as np

from imapids import kernels
from imapids.flows.columns import NEVER, FlowColumns
from imapids.flows.index import KEY_WORDS, FlowIndex, Keys
from imapids.records.packets import I32, I64, U8, U64, Bool
from imapids.records.segments import EncapsulationTable

_TUNNEL_SHIFT = np.uint64(8)
_TUNNEL_MASK = np.uint64(0x00FF_FFFF << 8)
_LARGER = 16
"""An index so much larger than it must be shrinks."""


class VlanJoiner:
    """Knows the tagged rows by their key without VLAN tags, once any tag was seen."""

    def __init__(self, columns: FlowColumns, encapsulations: EncapsulationTable, untagged: FlowIndex) -> None:
        """`untagged`: the index of the flow table, in which rows without tags stand under their bare keys."""
        self.columns = columns
        self.encapsulations = encapsulations
        self._untagged = untagged
        self._tagged = FlowIndex(alike=untagged)
        """Bare keys of tagged rows; its entries are numbers of their own, for such rows may be few."""
        self._keys: Keys = np.zeros((1024, KEY_WORDS), np.uint64)
        self._row: I32 = np.full(1024, -1, np.int32)
        """The row that stands for the bare key of an entry; -1 where there is no entry."""
        self._count = 0
        self._joined: set[int] = set()
        """Rows that hold both directions because another one joined them."""
        self._join = np.zeros(1, np.uint64)
        self._active = False

    def active(self) -> bool:
        """Whether any packet of the run carried a VLAN tag."""
        if len(self.encapsulations.paths) > len(self._join):
            self._join = np.array(self.encapsulations.join, np.uint64)
            if not self._active and any(path.vlan for path in self.encapsulations.paths):
                self._active = True
                self._note_tags(np.arange(self.columns.used, dtype=np.int32))
        return self._active

    def _bare(self, keys: Keys) -> Keys:
        """Keys without VLAN tags."""
        bare = keys.copy()
        tunnel = (keys[:, 4] & _TUNNEL_MASK) >> _TUNNEL_SHIFT
        bare[:, 4] = (keys[:, 4] & ~_TUNNEL_MASK) | (self._join.take(tunnel.view(np.int64)) << _TUNNEL_SHIFT)
        return bare

    def _note_tags(self, rows: I32) -> I64:
        """Marks the rows whose encapsulation holds VLAN tags; returns their places."""
        if kernels.COMPILED:
            found = np.empty(len(rows), np.int64)
            return found[: kernels.compiled.mark_tags(self.columns, rows, self._join, found)]
        paths = self.columns.path[rows]
        self.columns.tagged[rows] = tagged = self._join.take(paths) != paths
        return np.flatnonzero(tagged)

    def join(self, rows: I32, local: I64, end: U8, made: I32, first: I64, keys: Keys, hashes: U64) -> int:
        """Lets new rows count for the flow whose missing direction they are; returns how many did.

        Args:
            rows: the row of each group of the batch; `local`: the group of each segment; `end`: which end of the key
                sent it.
            made: the new rows in the order of their first segments; `first`: the positions of these.
            keys: of the new rows; `hashes`: of these keys.
        """
        columns = self.columns
        with_tags = self._note_tags(made)
        other, _ = self._tagged.find(keys, self._keys, hashes)  # no key that has tags is a bare one
        alike = np.flatnonzero(other >= 0)
        other[alike] = self._row.take(other.take(alike))
        holder = np.full(len(made), -1, np.int32)
        if with_tags.size:
            bare = self._bare(keys.take(with_tags, axis=0))
            plain, _ = self._untagged.find(bare, columns.keys)
            holder[with_tags] = held = self._enter(bare, made[with_tags])
            other[with_tags] = np.where(held >= 0, self._row.take(held, mode="clip"), plain)
        shared = np.flatnonzero(other >= 0)
        if not shared.size:
            return 0
        earliest = self._earliest(rows, local, end, other[shared])
        at = first[shared]
        return sum(
            self._join_one(row, older, side, position, entry, earliest)
            for row, older, side, position, entry in zip(
                made[shared].tolist(), other[shared].tolist(), end[at].tolist(), at.tolist(), holder[shared].tolist(),
                strict=True))

    def _enter(self, bare: Keys, rows: I32) -> I32:
        """Adds tagged rows under their bare keys; for each the entry of an earlier row with the same one, or -1."""
        count = self._count + len(rows)
        if count > len(self._row):
            more = 2 * count - len(self._row)
            self._keys = np.concatenate((self._keys, np.zeros((more, KEY_WORDS), np.uint64)))
            self._row = np.concatenate((self._row, np.full(more, -1, np.int32)))
        if 4 * count > len(self._tagged.slots):
            entries = np.flatnonzero(self._row >= 0).astype(np.int32)
            self._tagged.rebuild(entries, 1 << (8 * count - 1).bit_length())
        entries = np.arange(self._count, count, dtype=np.int32)
        held = self._tagged.add(bare, entries, self._keys)
        new = held == entries
        self._row[entries[new]] = rows[new]
        self._count = count
        return np.where(new, np.int32(-1), held)

    def _earliest(self, rows: I32, local: I64, end: U8, wanted: I32) -> dict[int, int]:
        """Position of the first segment of the batch for each direction (2 * row + end) of some rows."""
        mine = np.isin(rows, wanted)
        at = np.flatnonzero(mine.take(local))
        direction = rows.take(local[at]).astype(np.int64) * 2 + end[at]
        return dict(zip(direction[::-1].tolist(), at[::-1].tolist(), strict=True))  # the earliest is written last

    def _join_one(self, row: int, other: int, side: int, position: int, entry: int, earliest: dict[int, int]) -> bool:
        columns, never = self.columns, 1 << 62
        one_sided = not columns.packets[other, side] and earliest.get(other * 2 + side, never) > position
        older = earliest.get(other * 2 + 1 - side, never) < position or columns.packets[other, 1 - side]
        if (columns.live[other] and other not in self._joined and columns.target[other] == other
                and columns.path[other] != columns.path[row] and one_sided and older):
            columns.target[row] = other
            columns.due[row] = NEVER
            self._joined.add(other)
            return True
        if entry >= 0:  # a flow of its own: from now on the newest one stands for the bare key
            self._row[entry] = row
        return False

    def forget(self, live: Bool) -> None:
        """Drops the rows that are over."""
        if not self._active:
            return
        self._joined = {row for row in self._joined if live[row]}
        rows = np.flatnonzero(live & self.columns.tagged[: len(live)]).astype(np.int32)
        self._count = 0
        self._row[:] = -1
        slots = 1 << (8 * max(len(rows), 1024) - 1).bit_length()
        if slots < len(self._tagged.slots) < _LARGER * slots:  # it would grow to its size again, and again
            slots = len(self._tagged.slots)
        self._tagged.clear(slots)
        if rows.size:
            self._enter(self._bare(self.columns.keys[rows]), rows)
