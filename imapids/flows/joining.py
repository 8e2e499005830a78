"""Joins the two directions of a flow that were captured on different VLANs.

The same 5-tuple on several VLANs is several flows; but where one row holds only one direction and a new one with
other VLAN tags holds the other, they are one conversation (asymmetric tagging on a span port).
"""

from __future__ import annotations

import numpy as np

from imapids.flows.columns import FlowColumns
from imapids.flows.index import KEY_WORDS, FlowIndex, Keys
from imapids.records.packets import I32, I64, U8, Bool
from imapids.records.segments import EncapsulationTable

_TUNNEL_SHIFT = np.uint64(8)
_TUNNEL_MASK = np.uint64(0x00FF_FFFF << 8)


class VlanJoiner:
    """Knows all rows by their key without VLAN tags, once any tag was seen."""

    def __init__(self, columns: FlowColumns, encapsulations: EncapsulationTable) -> None:
        self.columns = columns
        self.encapsulations = encapsulations
        self._index = FlowIndex()
        self._keys: Keys = np.zeros((0, KEY_WORDS), np.uint64)
        """The bare keys of all rows."""
        self._joined: set[int] = set()
        """Rows that hold both directions because another one joined them."""
        self._seen_paths = 1
        self._active = False

    def active(self) -> bool:
        """Whether any packet of the run carried a VLAN tag."""
        paths = self.encapsulations.paths
        if not self._active and len(paths) > self._seen_paths:
            self._active = any(path.vlan for path in paths[self._seen_paths :])
            self._seen_paths = len(paths)
            if self._active:
                columns = self.columns
                self._rebuild(np.flatnonzero(columns.live[: columns.used]).astype(np.int32))
        return self._active

    def _bare(self, keys: Keys) -> Keys:
        join = np.array(self.encapsulations.join, np.uint64)
        bare = keys.copy()
        tunnel = (keys[:, 4] & _TUNNEL_MASK) >> _TUNNEL_SHIFT
        bare[:, 4] = (keys[:, 4] & ~_TUNNEL_MASK) | (join[tunnel.astype(np.int64)] << _TUNNEL_SHIFT)
        return bare

    def join(self, entry: I32, end: U8, made: I32, first: I64) -> int:
        """Lets new rows count for the flow whose missing direction they are; returns how many did.

        Args:
            entry: the row of each segment of the batch; `end`: which end of the key sent it.
            made: the new rows in the order of their first segments; `first`: the positions of these.
        """
        columns = self.columns
        if len(self._keys) < columns.capacity or 4 * columns.used > len(self._index.slots):
            live = columns.live[: columns.used].copy()
            live[made] = False
            self._rebuild(np.flatnonzero(live).astype(np.int32))
        holder = self._index.add(self._bare(columns.keys[made]), made, self._keys)
        shared = np.flatnonzero(holder != made)
        if not shared.size:
            return 0
        earliest = np.full(2 * columns.used, len(entry), np.int64)
        earliest[entry[::-1].astype(np.int64) * 2 + end[::-1]] = np.arange(len(entry) - 1, -1, -1)
        joined = 0
        for row, position, other in zip(made[shared].tolist(), first[shared].tolist(), holder[shared].tolist(),
                                        strict=True):
            side = int(end[position])
            if (columns.live[other] and other not in self._joined and columns.target[other] == other
                    and columns.path[other] != columns.path[row]
                    and not columns.packets[other, side] and earliest[other * 2 + side] > position):
                columns.target[row] = other
                self._joined.add(other)
                joined += 1
            else:  # a flow of its own: from now on the newest one stands for the bare key
                self._index.replace(self._keys[other : other + 1], self._keys, row)
                self._keys[row] = self._keys[other]
        return joined

    def _rebuild(self, rows: I32) -> None:
        columns = self.columns
        self._keys = np.zeros((columns.capacity, KEY_WORDS), np.uint64)
        self._index.clear(4 * columns.capacity)
        if rows.size:
            self._index.add(self._bare(columns.keys[rows]), rows, self._keys)

    def forget(self, live: Bool) -> None:
        """Drops the rows that are over."""
        if not self._active:
            return
        self._joined = {row for row in self._joined if live[row]}
        self._rebuild(np.flatnonzero(live).astype(np.int32))
