"""Finds all record boundaries of a window without a loop over packets: lanes are walked in lockstep, then proved.

The data is cut into lanes. In each, the first offset at which a chain of plausible records starts is its entry. All
lanes walk at the same time, one vector step for each record. Lane 0 starts at the true start, and a lane counts only
when a proved one ends exactly on its entry; where that fails the walk goes on serially from the last proved offset
and joins again at the next record of any lane that it meets. So the result never depends on how good the entries were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imapids.capture.framing import STUCK, Framing
from imapids.records.packets import I64

I16 = npt.NDArray[np.int16]

PREFIX_RECORDS = 256
"""Walked serially first: tells the mean record, and ends early in data that is all damage."""
SERIAL_RECORDS = 1_500
"""Fewer expected records are walked serially: lanes would cost more."""
SPAN_MIN_BYTES = 128 << 10
LANES_MAX = 1_024
"""More walk no faster: each lane reads a memory page of its own (measured)."""
LANES_MIN = 32
"""Fewer lanes that still walk are left to the serial walk: a vector step costs as much as 32 serial ones."""
SEARCH_FIRST_BYTES = 256
SEARCH_BUDGET = 4
"""Bytes looked at for entries, in all: this many times the span at most."""


@dataclass(slots=True)
class Chain:
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
                stuck = framing.serial(after, 1, framing.stop)[2] if after < framing.stop else False
                if 2 * (after - at) < span:
                    self._allowance = max(4 * (after - at), SPAN_MIN_BYTES // 2)
                else:
                    self._allowance = max(self._allowance, 4 * span)
            pieces += found
            count += sum(map(len, found))
            at = after
        return Chain(np.concatenate(pieces), at, stuck)


def _walk_lanes(framing: Framing, start: int, stop: int, mean: int) -> tuple[list[I64], int]:
    """Proved records from `start` (a true start) that start before `stop`, and where they end."""
    # One step costs about 10 us whatever the number of lanes, and a searched byte about 1 ns.
    lanes = int(np.clip(np.sqrt((stop - start) / mean * 10_000 / mean), 16, LANES_MAX))
    entry = _find_entries(framing, start, stop, lanes, mean)
    goal = np.append(entry[1:], stop)
    offsets, lane, end = _lockstep(framing, entry, goal)
    if not len(offsets):
        return [], start  # too few entries: the caller goes on serially
    return _prove(framing, stop, entry, offsets, lane, end)


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


def _lockstep(framing: Framing, entry: I64, goal: I64) -> tuple[I64, I16, I64]:
    """Walk all lanes until each is stuck or at its goal, or few still walk.

    Returns:
        All record offsets, ascending; the lane of each; and where each lane ended (+ STUCK where no record starts).
    """
    end: I64 = np.empty(len(entry), np.int64)
    lane = np.arange(len(entry), dtype=np.int16)
    at = entry
    rows: list[I64] = []
    ids = []
    while len(at) >= LANES_MIN:
        after = framing.step(at)
        going = after < goal
        if going.all():
            rows.append(at)
            ids.append(lane)
            at = after
            continue
        end[lane[~going]] = after[~going]
        moved = after < STUCK
        rows.append(at[moved])
        ids.append(lane[moved])
        at, goal, lane = after[going], goal[going], lane[going]
    end[lane] = at
    if not rows:
        return entry[:0], lane[:0], end
    lanes = np.concatenate(ids)
    order = np.argsort(lanes, kind="stable")  # a radix sort: 16-bit keys
    return np.concatenate(rows)[order], lanes[order], end


def _prove(framing: Framing, stop: int, entry: I64, offsets: I64, lane: I16, end: I64) -> tuple[list[I64], int]:
    """The records that hang together with the first entry: proved pieces in order, and where they end."""
    last_of_lane = np.searchsorted(lane, np.arange(len(entry)), side="right")
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
                at_lane = int(lane[index])
                break
            pieces.append(walked)
            at = after
            if stuck:
                return pieces, at
            count = min(count * 2, 4_096)
