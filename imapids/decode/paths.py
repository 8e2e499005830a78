"""Numbers for what stands around a packet: one dictionary look-up for each distinct tunnel, none for each packet."""

from __future__ import annotations

import numpy as np

from imapids.decode.columns import Rows
from imapids.records.packets import I64
from imapids.records.segments import Encapsulation, EncapsulationTable

NO_NUMBER = -1


class Paths:
    """Interns encapsulations, as deep as packets nest them, up to a limit.

    An id is part of the path only where both directions of a conversation carry the same one. MPLS labels,
    GTP-U tunnel endpoints, PPTP call ids, L2TP and Geneve numbers are chosen by the receiving side, so a path
    with them would tear the two directions of every flow apart; their path holds the kind alone.
    """

    def __init__(self, table: EncapsulationTable, limit: int) -> None:
        self._table = table
        self._limit = limit
        self._numbers: dict[tuple[int, str, int], int] = {}
        self.outermost = np.full(4_096, NO_NUMBER, np.int64)
        """The paths of single tags by VLAN id, as far as they were seen: what most tagged frames have."""
        self.outermost[0] = 0
        self.overflow = 0
        """Look-ups that found the table full: those packets share the path `other`."""

    def tunnel(self, rows: Rows, kind: str, ids: I64 | None = None) -> I64:
        """The paths of these rows inside one more tunnel; with ids it reads `kind:id`."""
        return self._enter(rows.path, kind, ids)

    def vlan(self, parents: I64, ids: I64) -> I64:
        """These paths inside one more VLAN (ids below 4,096). Id 0 is a priority tag: no VLAN (802.1Q clause 6.8)."""
        outermost = not parents.any()
        if outermost:
            known = self.outermost.take(ids)
            if known.min(initial=0) >= 0:
                return known
        path, tagged = parents.copy(), ids != 0
        path[tagged] = self._enter(parents[tagged], "", ids[tagged])
        if outermost and not self.overflow:
            self.outermost[ids] = path
        return path

    def _enter(self, parents: I64, kind: str, ids: I64 | None) -> I64:
        keys = parents << 32 if ids is None else parents << 32 | ids
        if not len(keys):
            return parents
        if np.all(keys == keys[0]):
            number = self._number(int(parents[0]), kind, NO_NUMBER if ids is None else int(ids[0]))
            return np.full(len(keys), number, np.int64)
        distinct, where = _distinct(keys)
        numbers = [
            self._number(key >> 32, kind, NO_NUMBER if ids is None else key & 0xFFFF_FFFF) for key in distinct.tolist()
        ]
        return np.array(numbers, np.int64)[where]

    def _number(self, parent: int, kind: str, number: int) -> int:
        key = (parent, kind, number)
        known = self._numbers.get(key)
        if known is not None:
            return known
        if len(self._table.paths) >= self._limit:
            self.overflow += 1
            return self._table.intern(Encapsulation((), ("other",)))
        outer = self._table.paths[parent]
        if not kind:
            path = Encapsulation((*outer.vlan, number), outer.tunnels)
        else:
            path = Encapsulation(outer.vlan, (*outer.tunnels, kind if number == NO_NUMBER else f"{kind}:{number}"))
        known = self._numbers[key] = self._table.intern(path)
        return known


def _distinct(keys: I64) -> tuple[I64, I64]:
    """The distinct keys, and for each key its place among them; without a sort where they lie close together."""
    low = int(keys.min())
    near = keys - low
    span = int(near.max()) + 1
    if span > 1 << 16:
        distinct, where = np.unique(keys, return_inverse=True)
        return distinct, where
    present = np.zeros(span, np.bool_)
    present[near] = True
    return np.flatnonzero(present) + low, (np.cumsum(present) - 1)[near]
