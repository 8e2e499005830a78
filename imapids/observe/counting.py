"""Counts of groups over time as columns: how much of each thing every source, network or target has had so far.

A batch of rows goes in at once. Counts are additive, so that the state after any row is the state before the batch
and the sum of the group's rows so far: what is told at a row does not depend on how the rows were cut into batches.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from imapids import kernels
from imapids.records.packets import I64, U64, Bool

Marks = npt.NDArray[np.int8]
"""What rows add to counts, shape (n, fields): 0 or 1 each."""

SALT = np.frombuffer(secrets.token_bytes(32), np.uint64)
"""Makes the hashes of this process its own: nobody can choose addresses that collide."""
_SALTS: list[int] = SALT.tolist()
_MIX = np.array([0x9E37_79B9_7F4A_7C15, 0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB], np.uint64)
_FACTORS: list[int] = _MIX[1:].tolist()
_MASK = (1 << 64) - 1
_SHIFTS = np.array([30, 27, 31], np.uint64)
_YOUNG = 8_192
"""New values are kept apart until there are so many, so that a batch does not copy all values that are known."""

STEPS = np.array([10**power for power in range(1, 12)], np.int64)
"""Counts at which something is told: 10, 100, 1,000 ..."""
_LARGE = 100_001
_IS_STEP = np.zeros(_LARGE + 1, np.bool_)
_IS_STEP[STEPS[STEPS < _LARGE]] = True


def mixed(*columns: U64 | int) -> U64:
    """One keyed 64-bit hash for each row of some columns of shape (n,), uint64 (single numbers stand for columns)."""
    if kernels.COMPILED and len({np.shape(column) for column in columns}) == 1:
        return _mixed(*columns)
    state: U64 = SALT[:1]
    for number, column in enumerate(columns):
        state = (state ^ np.asarray(column, np.uint64)) + SALT[1 + number % 3]
        state = (state ^ (state >> _SHIFTS[0])) * _MIX[1]
        state = (state ^ (state >> _SHIFTS[1])) * _MIX[2]
        state = state ^ (state >> _SHIFTS[2])
    return state


def mixed_one(*numbers: int) -> int:
    """`mixed` of one row."""
    state = _SALTS[0]
    for number, value in enumerate(numbers):
        state = (state ^ value) + _SALTS[1 + number % 3] & _MASK
        state = (state ^ state >> 30) * _FACTORS[0] & _MASK
        state = (state ^ state >> 27) * _FACTORS[1] & _MASK
        state ^= state >> 31
    return state


def _mixed(*columns: U64 | int) -> U64:
    state: U64 = np.full(np.shape(columns[0]), SALT[0])
    for number, column in enumerate(columns):
        kernels.compiled.mix_column(state, np.ascontiguousarray(column, np.uint64), _SALTS[1 + number % 3])
    return state


class SeenBefore:
    """A set of hashes of bounded size: which values of a batch are new? The half that was added first is forgotten."""

    def __init__(self, limit: int) -> None:
        self._room = max(limit // 2, 1)
        self._sets = [np.zeros(0, np.uint64)] * 3
        """The older half, the newer half, and the newest of the newer half; each sorted."""
        self._forgotten = 0

    @property
    def forgotten(self) -> int:
        """How often a half was forgotten."""
        return self._forgotten

    def add(self, values: U64, unseen: Bool | None = None) -> Bool:
        """Adds values; the mask of shape (n,) tells which of them stood neither in the set nor earlier in the batch.

        `unseen`: values that cannot be in the set, whatever stands earlier in the batch.
        """
        fresh = np.zeros(len(values), np.bool_)
        start = 0
        while start < len(values):
            start, unseen = self._add(values, start, fresh, unseen), None  # a second part has seen the first
        return fresh

    def _add(self, values: U64, start: int, fresh: Bool, unseen: Bool | None) -> int:
        """Adds values from `start` on, up to the one that finds no room; the position where to go on."""
        found, first = np.unique(values[start:], return_index=True)
        new = np.ones(len(found), np.bool_)
        doubtful = slice(None) if unseen is None else np.flatnonzero(~unseen[start + first])
        asked = found[doubtful]
        for known in self._sets if len(asked) else ():
            if len(known):
                at = np.searchsorted(known, asked)
                new[doubtful] &= known[np.minimum(at, len(known) - 1)] != asked
        found, first = found[new], first[new]
        room = self._room - len(self._sets[1]) - len(self._sets[2])
        stop = len(values)
        if len(found) > room:
            last = np.partition(first, room)[room]
            found, first, stop = found[first < last], first[first < last], start + int(last)
        fresh[start + first] = True
        self._sets[2] = np.sort(np.concatenate((self._sets[2], found)), kind="stable")  # merges what is sorted
        if len(self._sets[2]) > _YOUNG:
            self._sets[1], self._sets[2] = np.sort(np.concatenate(self._sets[1:]), kind="stable"), found[:0]
        if stop < len(values):
            self._sets = [np.sort(np.concatenate(self._sets[1:]), kind="stable"), found[:0], found[:0]]
            self._forgotten += 1
        return stop


class Snapshot(msgspec.Struct, frozen=True):
    """The state of a group right after a row."""

    row: int
    """Position of the row in the batch."""
    group: int
    counts: I64
    """Shape (fields,)."""
    first_ns: int
    last_ns: int


Decide = Callable[[Marks, I64], Bool]
"""From the decisive fields of rows, and the running counts of their groups, (n, k) each: where is something told?"""


class Rows(msgspec.Struct, eq=False):
    """What there is to count. Sets of fields are bits: 1 << field."""

    columns: U64
    """Hashes and other values, shape (columns, n)."""
    certain: U64
    """The fields that each row adds to, shape (n,)."""
    offered: U64
    """Those that it adds to if a value of it is new to its group."""
    first_ns: I64
    last_ns: I64
    over_ns: I64
    """Times of the conversations."""


class Offer(NamedTuple):
    """Different values that each group has counted."""

    seen: SeenBefore
    column: int
    """Which of the columns holds the values."""
    fields: int
    """The fields, as bits, to which a row with a new value adds, where it offers them; it has no value if it does not
    offer any."""


class Decision(msgspec.Struct, frozen=True):
    """When something is told of a group."""

    decide: Decide
    fields: Sequence[int]
    """The decisive fields."""
    notable: U64
    """By field, the counts (0 to 63, as bits) at which something may be told, and the steps: see `decision`."""
    timeless: int = 0
    """Rows that add to one of these fields, as bits, are no packets: their times do not count."""


EVERY = -1
"""Something may be told at every count."""


def decision(decide: Decide, fields: int, decisive: Sequence[int], also: Mapping[int, Sequence[int]],
             timeless: int = 0) -> Decision:
    """A `Decision` that tells at steps of the decisive fields.

    Args:
        fields: how many there are in all.
        also: by field, other counts up to 63 at which something may be told; `EVERY` stands for all counts.
    """
    notable = np.zeros(fields, np.uint64)
    for field in decisive:
        counts = also.get(field, ())
        notable[field] = 2**64 - 1 if EVERY in counts else sum(1 << count for count in {int(STEPS[0]), *counts})
    return Decision(decide, decisive, notable, timeless)


class GroupCounts:
    """Counts by group: columns of shape (groups,) and (groups, fields)."""

    def __init__(self, fields: int, limit: int) -> None:
        """`limit`: groups at one time, 4 at least; the caller makes room by `drop`."""
        self.limit = max(limit, 4)
        self._capacity = min(256, self.limit)
        self._keys: U64 = np.zeros(0, np.uint64)
        """Hashes of all groups, ascending; `_groups` holds their rows in the columns, in the same order."""
        self._groups: I64 = np.zeros(0, np.int64)
        self._free: I64 = np.arange(self._capacity)
        self._made = 0
        self.counts: I64 = np.zeros((self._capacity, fields), np.int64)
        self.serial: U64 = np.zeros(self._capacity, np.uint64)
        """A number of its own for each group that ever was: part of the hashes of what it was counted with."""
        self.first_ns: I64 = np.zeros(self._capacity, np.int64)
        self.last_ns: I64 = np.zeros(self._capacity, np.int64)
        self.over_ns: I64 = np.zeros(self._capacity, np.int64)
        """When the newest row of the group was over: what expiry looks at."""

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def _alive(self) -> I64:
        """All groups."""
        return self._groups

    @property
    def made(self) -> int:
        """How many groups there ever were: the greatest `serial`."""
        return self._made

    def fitting(self, keys: U64) -> int:
        """How many of the rows can be taken before a group would find no room."""
        room = self.limit - len(self)
        if len(keys) <= room:
            return len(keys)
        found, first = np.unique(keys, return_index=True)
        if len(found) <= room:
            return len(keys)
        new = first[~self._known(found)[0]]
        return len(keys) if len(new) <= room else int(np.partition(new, room)[room])

    def _known(self, keys: U64) -> tuple[Bool, I64]:
        """Which keys have a group, and where it stands (or would stand) among all."""
        at = np.searchsorted(self._keys, keys)
        if not len(self._keys):
            return np.zeros(len(keys), np.bool_), at
        known: Bool = self._keys[np.minimum(at, len(self._keys) - 1)] == keys
        return known, at

    def holds(self, keys: U64) -> Bool:
        """Which keys have a group."""
        return self._known(keys)[0]

    def groups_of(self, keys: U64) -> tuple[I64, I64]:
        """The groups of rows by their keys, shape (n,), and the rows that made a new group, ascending."""
        found, first, back = np.unique(keys, return_index=True, return_inverse=True)
        known, at = self._known(found)
        new = np.flatnonzero(~known)
        groups = np.empty(len(found), np.int64)
        groups[known] = self._groups[at[known]]
        if new.size:
            made = groups[new] = self._make(len(new))
            self._keys = np.insert(self._keys, at[new], found[new])
            self._groups = np.insert(self._groups, at[new], made)
            order = np.argsort(first[new])
            self.serial[made[order]] = np.arange(self._made + 1, self._made + 1 + len(new), dtype=np.uint64)
            self._made += len(new)
        return groups[back.reshape(-1)], np.sort(first[new])

    def place(self, rows: Rows, key: int, at: I64, offers: Sequence[Offer]) -> tuple[I64, I64, U64]:
        """Finds or makes the groups of rows, up to the first that finds no room, and says what the rows add.

        Args:
            key: the column that tells groups apart.
            at: the rows that are meant, ascending, shape (n,).

        Returns:
            The groups of the rows that found room, shape (m,); the positions in `at` of those that made one; and the
            fields that the rows add to, as bits, shape (m,).
        """
        keys = rows.columns[key, at]
        at = at[: self.fitting(keys)]
        before = self.made
        groups, new = self.groups_of(keys[: len(at)])
        bits, serial = rows.certain[at], self.serial[groups]
        for seen, column, fields in offers:
            offered = rows.offered[at] & np.uint64(fields)
            asking = np.flatnonzero(offered)
            fresh = asking[seen.add(mixed(serial[asking], rows.columns[column, at[asking]]), serial[asking] > before)]
            bits[fresh] |= offered[fresh]
        return groups, new, bits

    def count(self, rows: Rows, at: I64, groups: I64, bits: U64, decision: Decision) -> list[Snapshot]:
        """Adds rows to their groups; snapshots where something is to be told, in the order of the rows.

        Args:
            at, groups, bits: see `place`. Positions in `at` are what the snapshots tell as `row`.
        """
        marks = marks_of(bits, np.arange(self.counts.shape[1], dtype=np.uint64))
        own = (bits & np.uint64(decision.timeless)) == 0
        return self.add(groups, marks, np.where(own, rows.first_ns[at], 2**62),
                        np.where(own, rows.last_ns[at], -(2**62)), np.where(own, rows.over_ns[at], -(2**62)),
                        decision.decide, decision.fields)

    def _make(self, count: int) -> I64:
        """Rows for new groups, cleared."""
        if count > len(self._free):
            self._lengthen(count)
        made, self._free = self._free[:count], self._free[count:]
        self.counts[made] = 0
        self.first_ns[made], self.last_ns[made], self.over_ns[made] = 2**62, -(2**62), -(2**62)
        return made

    def _lengthen(self, more: int) -> None:
        """Makes columns that are long enough for more groups."""
        capacity = max(2 * self._capacity, self._capacity + more)
        for name in ("counts", "serial", "first_ns", "last_ns", "over_ns"):
            old = getattr(self, name)
            longer = np.zeros((capacity, *old.shape[1:]), old.dtype)
            longer[: self._capacity] = old
            setattr(self, name, longer)
        self._free = np.concatenate((self._free, np.arange(self._capacity, capacity)))
        self._capacity = capacity

    def add(self, groups: I64, rows: Marks, first_ns: I64, last_ns: I64, over_ns: I64, decide: Decide,
            decisive: Sequence[int]) -> list[Snapshot]:
        """Adds rows to their groups; snapshots where something is to be told, in the order of the rows.

        Args:
            groups: shape (n,); `rows`: what each adds, shape (n, fields).
            first_ns, last_ns, over_ns: times of the conversations, shape (n,).
            decide: looks at the fields `decisive` only.
        """
        if not len(groups):
            return []
        order = np.argsort(groups, kind="stable")
        group = groups[order]
        starts = np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))
        which = group[starts]
        lengths = np.diff(np.concatenate((starts, [len(group)])))
        part = rows[order[:, None], decisive]
        running: I64 = np.cumsum(part, axis=0, dtype=np.int64)
        before = self.counts[which[:, None], decisive]
        running += np.repeat(before - running[starts] + part[starts], lengths, axis=0)
        told = []
        for at in np.flatnonzero(decide(part, running)).tolist():
            segment = int(np.searchsorted(starts, at, side="right")) - 1
            of, here = int(which[segment]), order[starts[segment] : at + 1]
            told.append(Snapshot(
                int(order[at]), of, self.counts[of] + rows[here].sum(axis=0, dtype=np.int64),
                min(int(self.first_ns[of]), int(first_ns[here].min())),
                max(int(self.last_ns[of]), int(last_ns[here].max()))))
        if len(starts) == len(group):
            self.counts[which] += rows[order]
        else:
            self.counts[which] += np.add.reduceat(rows[order], starts, axis=0, dtype=np.int64)
        self.first_ns[which] = np.minimum(self.first_ns[which], np.minimum.reduceat(first_ns[order], starts))
        self.last_ns[which] = np.maximum(self.last_ns[which], np.maximum.reduceat(last_ns[order], starts))
        self.over_ns[which] = np.maximum(self.over_ns[which], np.maximum.reduceat(over_ns[order], starts))
        told.sort(key=lambda each: each.row)
        return told

    def now(self, group: int) -> Snapshot:
        """The state of a group."""
        return Snapshot(-1, group, self.counts[group].copy(), int(self.first_ns[group]), int(self.last_ns[group]))

    def every(self) -> I64:
        """All groups, in the order in which they were made."""
        alive = self._alive
        groups: I64 = alive[np.argsort(self.serial[alive])]
        return groups

    def quiet_since(self, time_ns: int) -> I64:
        """Groups whose newest row was over before a time, in the order in which they were made."""
        rows = self.every()
        return rows[self.over_ns[rows] < time_ns]

    def quietest(self, count: int) -> I64:
        """The groups of which nothing came for longest, in the order in which they were made."""
        rows = self.every()
        chosen = rows[np.argsort(self.over_ns[rows], kind="stable")[:count]]
        return chosen[np.argsort(self.serial[chosen])]

    def drop(self, groups: I64) -> None:
        """Forgets groups."""
        keep = ~np.isin(self._groups, groups)
        self._keys, self._groups = self._keys[keep], self._groups[keep]
        self._free = np.concatenate((self._free, groups))


def at_step(rows: Marks, running: I64, column: int, *also: int) -> Bool:
    """Where a count becomes 10, 100, 1,000 ... (or one of `also`)."""
    hit: Bool = rows[:, column] != 0
    at = np.flatnonzero(hit)
    counts = running[at, column]
    step = _IS_STEP.take(counts, mode="clip")  # the last one, of all that are larger, is none
    if counts.size and int(counts.max()) > _LARGE:
        step |= (counts > _LARGE) & np.isin(counts, STEPS)
    hit[at] = step
    for count in also:
        hit[at] |= counts == count
    return hit


def marks_of(bits: U64, fields: U64) -> Marks:
    """Fields as columns, shape (n, k), from fields as bits, shape (n,)."""
    marks: Marks = (bits[:, None] >> fields & np.uint64(1)).astype(np.int8)
    return marks


def parts_of(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` rows: what is held for a batch stays small."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
