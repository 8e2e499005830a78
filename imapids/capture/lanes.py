"""Finds all record boundaries of a window without a loop over packets: lanes are walked in lockstep, then proved.

The data is cut into lanes. In each, the first offset at which a chain of plausible records starts is its entry. All
lanes walk at the same time, one vector step for each record. Lane 0 starts at the true start, and a lane counts only
when a proved one ends exactly on its entry; where that fails the walk goes on serially from the last proved offset
and joins again at the next record of any lane that it meets. So the result never depends on how good the entries were.
"""

from __future__ import annotations

import msgspec
import numpy as np

from imapids import kernels
from imapids.capture.framing import STUCK, Framing
from imapids.records.packets import I64, Bool

PREFIX_RECORDS = 256
"""Walked serially first: tells the mean record, and ends early in data that is all damage."""
SERIAL_RECORDS = 1_500
"""Fewer expected records are walked serially: lanes would cost more."""
SPAN_MIN_BYTES = 128 << 10
LANES_MAX = 1_024
"""More walk no faster: each lane reads a memory page of its own (measured)."""
LANES_MIN = 32
"""Fewer lanes that still walk are left to the serial walk: a vector step costs as much as 32 serial ones."""
STEPS = 8
"""Records that each lane walks before it is seen which lanes are at their goals."""
SEARCH_FIRST_BYTES = 256
SEARCH_BUDGET = 4
"""Bytes looked at for entries, in all: this many times the span at most."""


class Chain(msgspec.Struct, eq=False):
    """Records that follow each other without a gap."""

    offsets: I64
    """Where each record starts in the buffer."""
    end: int
    """Where the next one would start."""
    stuck: bool
    """No whole record starts at `end`: data is missing, damaged, or of another kind."""


class RecordFinder:
    """Finds chains of records, and remembers how far lanes are worth their cost on this data.

    Lanes over data that turns out to be damaged are lost work. After such a loss the next try covers four times what
    was gained, after a success four times more: the total cost stays proportional to the data.
    """

    def __init__(self, records_max: int) -> None:
        """`records_max`: about the most records in one chain."""
        self.records_max = records_max
        self._allowance = 1 << 40

    def find(self, framing: Framing, start: int) -> Chain:
        """The chain of whole records from `start`, which must be the true start of a record."""
        if kernels.COMPILED:
            return Chain(*framing.walk(start, self.records_max, framing.stop))
        listed, at, stuck = framing.serial(start, PREFIX_RECORDS, framing.stop)
        pieces: list[I64] = [np.array(listed, np.int64)]
        count = len(listed)
        while not stuck and count < self.records_max and at < framing.stop:
            mean = max(1, (at - start) // count)
            span = min(framing.stop - at, mean * (self.records_max - count) + 1, self._allowance)
            if span < SPAN_MIN_BYTES or span // mean < SERIAL_RECORDS:
                listed, after, stuck = framing.serial(at, SERIAL_RECORDS, framing.stop)
                found = [np.array(listed, np.int64)]
                self._allowance = max(self._allowance, 4 * (after - at))
            else:
                found, after = _walk_lanes(framing, at, at + span, mean)
                if 2 * (after - at) < span:
                    self._allowance = max(4 * (after - at), SPAN_MIN_BYTES // 2)
                else:
                    self._allowance = max(self._allowance, 4 * span)
                if after < framing.stop:  # whether it goes on is known behind the next record, which is kept
                    listed, after, stuck = framing.serial(after, 1, framing.stop)
                    found.append(np.array(listed, np.int64))
            pieces += found
            count += sum(map(len, found))
            at = after
        return Chain(np.concatenate(pieces), at, stuck)


def _walk_lanes(framing: Framing, start: int, stop: int, mean: int) -> tuple[list[I64], int]:
    """Proved records from `start` (a true start) that start before `stop`, and where they end."""
    # One step costs about 10 us whatever the number of lanes, and a searched byte about 1 ns.
    lanes = int(np.clip(np.sqrt((stop - start) / mean * 10_000 / mean), 16, LANES_MAX))
    entry = _find_entries(framing, start, stop, lanes, mean)
    if len(entry) < LANES_MIN:
        return [], start  # the caller goes on serially
    offsets, end = _lockstep(framing, entry, np.append(entry[1:], stop))
    first = np.searchsorted(offsets, entry)
    following = np.append(offsets[1:], stop)
    following[np.append(first[1:], len(offsets)) - 1] = end & STUCK - 1
    sound = framing.sound(offsets, following)
    if not sound.all():
        offsets, first, end = _cut_lanes(offsets, first, end, sound)
    return _prove(framing, stop, entry, offsets, first, end)


def _find_entries(framing: Framing, start: int, stop: int, lanes: int, mean: int) -> I64:
    """The true start, and for each lane behind it the first offset where a chain seems to start."""
    width = (stop - start) // lanes // 4 * 4
    base = start + np.arange(1, lanes, dtype=np.int64) * width
    found = [np.array([start], np.int64)]
    length = min(max(SEARCH_FIRST_BYTES, mean // 2 // 4 * 4), width)
    budget = SEARCH_BUDGET * (stop - start)
    at, done = base, 0
    while len(at) and done < width and budget > 0:
        length = min(length, width - done)
        rows, candidates = framing.entries(at, length)
        budget -= len(at) * length + 200 * len(candidates)
        first = np.unique(rows, return_index=True)[1]
        found.append(candidates[first])
        missing = np.ones(len(at), np.bool_)
        missing[rows] = False
        at = at[missing] + length
        done += length
        length *= 2
    return np.sort(np.concatenate(found))


def _lockstep(framing: Framing, entry: I64, goal: I64) -> tuple[I64, I64]:
    """Walk all lanes until each is at its goal or behind it.

    No length is checked on the way: a lane that meets foreign bytes goes on to anywhere.

    Returns:
        All record offsets, ascending (each lane has one at least); and where each lane ended (+ STUCK where no record
        starts).
    """
    end: I64 = np.empty(len(entry), np.int64)
    kind = np.int32 if framing.stop < 1 << 31 else np.int64  # 32 bits sort in half the time
    lane, at, found = np.arange(len(entry)), entry, []
    while len(at) >= LANES_MIN:
        rows = np.empty((STEPS, len(at)), np.int64)
        for step in range(STEPS):
            rows[step] = at
            at = framing.advance(at)
        inside = rows < goal
        if inside[-1].all():
            found.append(rows.ravel().astype(kind))
        else:
            found.append(rows[inside].astype(kind))
        going = at < goal
        if not going.all():
            over = np.flatnonzero(~going)
            steps = np.count_nonzero(inside[:, over], axis=0)
            reached = np.vstack((rows, at))
            end[lane[over]] = reached[steps, over]
            at, goal, lane = at[going], goal[going], lane[going]
    for index, start, stop in zip(lane.tolist(), at.tolist(), goal.tolist(), strict=True):
        listed, after, stuck = framing.serial(start, stop - start, stop)
        found.append(np.array(listed, kind))
        end[index] = after + STUCK if stuck else after
    return np.sort(np.concatenate(found)).astype(np.int64), end


def _cut_lanes(offsets: I64, first: I64, end: I64, sound: Bool) -> tuple[I64, I64, I64]:
    """The records, the first of each lane and the ends, when lanes end at their first record that is not sound."""
    bad = np.flatnonzero(~sound)
    lanes, places = np.unique(np.searchsorted(first, bad, side="right") - 1, return_index=True)
    bad = bad[places]
    behind = np.append(first[1:], len(offsets))[lanes]
    starts, stops = [0, *behind.tolist()], [*bad.tolist(), len(offsets)]
    kept = [offsets[start:stop] for start, stop in zip(starts, stops, strict=True)]
    end = end.copy()
    end[lanes] = offsets[bad] + STUCK
    lost = np.zeros(len(first) + 1, np.int64)
    lost[lanes + 1] = behind - bad
    return np.concatenate(kept), first - np.cumsum(lost[:-1]), end


def _prove(framing: Framing, stop: int, entry: I64, offsets: I64, first: I64, end: I64) -> tuple[list[I64], int]:
    """The records that hang together with the first entry: proved pieces in order, and where they end.

    `first` is the index in `offsets` of each lane's first record.
    """
    last_of_lane = np.append(first[1:], len(offsets))
    broken = np.flatnonzero(end[:-1] != entry[1:])
    pieces: list[I64] = []
    at_lane, index = 0, 0
    while True:
        where = int(np.searchsorted(broken, at_lane))
        final = int(broken[where]) if where < len(broken) else len(entry) - 1
        pieces.append(offsets[index : last_of_lane[final]])
        at = int(end[final])
        if at >= STUCK:
            return pieces, at - STUCK
        count = 64
        while True:
            if at >= stop:
                return pieces, at
            listed, after, stuck = framing.serial(at, count, stop)
            walked = np.array(listed, np.int64)
            place = np.minimum(np.searchsorted(offsets, walked), len(offsets) - 1)
            met = np.flatnonzero(offsets[place] == walked)
            if len(met):
                pieces.append(walked[: met[0]])
                index = int(place[met[0]])
                at_lane = int(np.searchsorted(first, index, side="right")) - 1
                break
            pieces.append(walked)
            at = after
            if stuck:
                return pieces, at
            count = min(count * 2, 4_096)
