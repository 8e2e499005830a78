"""Joins the two directions of a flow that were captured on different VLANs.

The same 5-tuple on several VLANs is several flows; but where one row holds only one direction and a new one with
other VLAN tags holds the other, they are one conversation (asymmetric tagging on a span port).
"""

from __future__ import annotations

import numpy as np

from imapids.flows.columns import NEVER, FlowColumns
from imapids.flows.index import KEY_WORDS, FlowIndex, Keys
from imapids.records.packets import I32, I64, U8, Bool
from imapids.records.segments import EncapsulationTable

_TUNNEL_SHIFT = np.uint64(8)
_TUNNEL_MASK = np.uint64(0x00FF_FFFF << 8)


class VlanJoiner:
    """Knows the tagged rows by their key without VLAN tags, once any tag was seen."""

    def __init__(self, columns: FlowColumns, encapsulations: EncapsulationTable, untagged: FlowIndex) -> None:
        """`untagged`: the index of the flow table, in which rows without tags stand under their bare keys."""
        self.columns = columns
        self.encapsulations = encapsulations
        self._untagged = untagged
        self._tagged = FlowIndex()
        self._keys: Keys = np.zeros((0, KEY_WORDS), np.uint64)
        """The bare keys of tagged rows."""
        self._joined: set[int] = set()
        """Rows that hold both directions because another one joined them."""
        self._join = np.zeros(1, np.uint64)
        self._active = False

    def active(self) -> bool:
        """Whether any packet of the run carried a VLAN tag."""
        if len(self.encapsulations.paths) > len(self._join):
            self._join = np.array(self.encapsulations.join, np.uint64)
            self._active = self._active or any(path.vlan for path in self.encapsulations.paths)
        return self._active

    def _bare(self, keys: Keys) -> tuple[Keys, Bool]:
        """Keys without VLAN tags, and which of them had any."""
        bare = keys.copy()
        tunnel = (keys[:, 4] & _TUNNEL_MASK) >> _TUNNEL_SHIFT
        join = self._join.take(tunnel.astype(np.int64))
        bare[:, 4] = (keys[:, 4] & ~_TUNNEL_MASK) | (join << _TUNNEL_SHIFT)
        tagged: Bool = join != tunnel
        return bare, tagged

    def join(self, entry: I32, end: U8, made: I32, first: I64) -> int:
        """Lets new rows count for the flow whose missing direction they are; returns how many did.

        Args:
            entry: the row of each segment of the batch; `end`: which end of the key sent it.
            made: the new rows in the order of their first segments; `first`: the positions of these.
        """
        columns = self.columns
        bare, tagged = self._bare(columns.keys[made])
        if len(self._keys) < columns.capacity or 4 * columns.used > len(self._tagged.slots):
            live = columns.live[: columns.used].copy()
            live[made] = False
            self._rebuild(np.flatnonzero(live).astype(np.int32))
        with_tags, without = np.flatnonzero(tagged), np.flatnonzero(~tagged)
        other = np.full(len(made), -1, np.int32)
        if with_tags.size:
            rows = made[with_tags]
            plain, _ = self._untagged.find(bare[with_tags], columns.keys)
            holder = self._tagged.add(bare[with_tags], rows, self._keys)
            other[with_tags] = np.where(holder != rows, holder, plain)
        if without.size:
            other[without], _ = self._tagged.find(bare[without], self._keys)
        shared = np.flatnonzero(other >= 0)
        if not shared.size:
            return 0
        earliest = np.full(2 * columns.used, len(entry), np.int64)
        earliest[entry[::-1].astype(np.int64) * 2 + end[::-1]] = np.arange(len(entry) - 1, -1, -1)
        at = first[shared]
        return sum(
            self._join_one(row, older, side, position, with_tag, earliest)
            for row, older, side, position, with_tag in zip(
                made[shared].tolist(), other[shared].tolist(), end[at].tolist(), at.tolist(), tagged[shared].tolist(),
                strict=True))

    def _join_one(self, row: int, other: int, side: int, position: int, tagged: bool, earliest: I64) -> bool:
        columns = self.columns
        one_sided = not columns.packets[other, side] and earliest[other * 2 + side] > position
        older = earliest[other * 2 + 1 - side] < position or columns.packets[other, 1 - side]
        if (columns.live[other] and other not in self._joined and columns.target[other] == other
                and columns.path[other] != columns.path[row] and one_sided and older):
            columns.target[row] = other
            columns.due[row] = NEVER
            self._joined.add(other)
            return True
        if tagged and other < len(self._keys) and self._keys[other].any():
            # a flow of its own: from now on the newest one stands for the bare key
            self._tagged.replace(self._keys[other : other + 1], self._keys, row)
            self._keys[row] = self._keys[other]
        return False

    def _rebuild(self, rows: I32) -> None:
        columns = self.columns
        self._keys = np.zeros((columns.capacity, KEY_WORDS), np.uint64)
        self._tagged.clear(1 << (4 * columns.capacity - 1).bit_length())
        if rows.size:
            bare, tagged = self._bare(columns.keys[rows])
            self._tagged.add(bare[tagged], rows[tagged], self._keys)

    def forget(self, live: Bool) -> None:
        """Drops the rows that are over."""
        if self._active:
            self._joined = {row for row in self._joined if live[row]}
            self._rebuild(np.flatnonzero(live).astype(np.int32))
