"""Joins the two directions of a flow that were captured on different VLANs.

The same 5-tuple on several VLANs is several flows; but where one row holds only one direction and a new one with
other VLAN tags holds the other, they are one conversation (asymmetric tagging on a span port).
"""

from __future__ import annotations

import numpy as np

from imapids.flows.columns import FlowColumns
from imapids.flows.index import Keys
from imapids.records.packets import I32, I64, U8, Bool
from imapids.records.segments import EncapsulationTable

_TUNNEL_SHIFT = np.uint64(8)
_TUNNEL_MASK = np.uint64(0x00FF_FFFF << 8)


class VlanJoiner:
    """Knows all rows by their key without VLAN tags, once any tag was seen."""

    def __init__(self, columns: FlowColumns, encapsulations: EncapsulationTable) -> None:
        self.columns = columns
        self.encapsulations = encapsulations
        self._rows: dict[bytes, list[int]] = {}
        self._joined: set[int] = set()
        self._known = False

    def active(self) -> bool:
        """Whether any packet of the run carried a VLAN tag."""
        return any(path.vlan for path in self.encapsulations.paths[1:])

    def _bare(self, keys: Keys) -> list[bytes]:
        join = np.array(self.encapsulations.join, np.uint64)
        bare = keys.copy()
        tunnel = (keys[:, 4] & _TUNNEL_MASK) >> _TUNNEL_SHIFT
        bare[:, 4] = (keys[:, 4] & ~_TUNNEL_MASK) | (join[tunnel.astype(np.int64)] << _TUNNEL_SHIFT)
        return [row.tobytes() for row in bare]

    def join(self, entry: I32, end: U8, made: I32, first: I64) -> int:
        """Lets new rows count for the flow whose missing direction they are; returns how many did.

        Args:
            entry: the row of each segment of the batch; `end`: which end of the key sent it.
            made: the new rows; `first`: position of the first segment of each.
        """
        columns = self.columns
        if not self._known:  # rows from before the first tag
            self._known = True
            old = np.setdiff1d(np.flatnonzero(columns.live[: columns.used]), made).astype(np.int32)
            for row, key in zip(old.tolist(), self._bare(columns.keys[old]), strict=True):
                self._rows.setdefault(key, []).append(row)
        if not len(made):
            return 0
        earliest = np.full(2 * columns.used, len(entry), np.int64)
        earliest[(entry[::-1].astype(np.int64) * 2 + end[::-1])] = np.arange(len(entry) - 1, -1, -1)
        joined = 0
        for row, position, side, key in zip(made.tolist(), first.tolist(), end[first].tolist(),
                                            self._bare(columns.keys[made]), strict=True):
            rows = self._rows.setdefault(key, [])
            for other in rows:
                if (columns.live[other] and other not in self._joined and columns.path[other] != columns.path[row]
                        and not columns.packets[other, side] and earliest[other * 2 + side] > position):
                    columns.target[row] = other
                    self._joined.add(other)
                    joined += 1
                    break
            else:
                rows.append(row)
                del rows[:-64]  # a flood of tags must not grow one list
        return joined

    def forget(self, live: Bool) -> None:
        """Drops the rows that are over."""
        if not self._known:
            return
        self._joined = {row for row in self._joined if live[row]}
        held = {key: [row for row in rows if live[row]] for key, rows in self._rows.items()}
        self._rows = {key: rows for key, rows in held.items() if rows}
