"""What a batch holds of each direction of each conversation: one walk over its segments for all who ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imapids import kernels
from imapids.records.packets import I64, U8, Bool
from imapids.records.segments import FIN, SYN, SegmentBatch

LEAST_BYTES = 5
"""Shorter segments do not show whether a line of IMAP begins (`* OK `)."""
_FEW_KINDS = 16
"""Different flag bytes in a batch up to which a table of (direction, kind) is made: traffic holds eight or so."""
_SUMS = 9


@dataclass(slots=True, eq=False, repr=False)
class Cells:
    """Columns of shape (g, 2) for g groups: by the end of the key that sent the segments. Positions: -1 is none."""

    packets: I64
    bytes: I64
    """Payload bytes on the wire."""
    flags: U8
    """TCP flags or-ed."""
    syn: I64
    """Position of the first SYN."""
    differs: Bool
    """Whether another SYN has another sequence number than the first one."""
    fin: I64
    """Position of the first FIN."""
    told: I64
    """Position of the first segment that has `LEAST_BYTES` of payload."""
    last: I64
    """Position of the last segment."""
    newest: I64
    """The newest of all stamps; the least int64 where there is none."""

    @classmethod
    def of(cls, batch: SegmentBatch, cell: I64, groups: int) -> Cells:
        """Walks over a batch.

        Args:
            cell: 2 * group + end of each segment.
        """
        if kernels.COMPILED:
            table = np.empty((2 * groups, _SUMS), np.int64)
            kernels.compiled.sum_cells(batch, cell, LEAST_BYTES, table)
            sums: list[npt.NDArray[Any]] = list(table.T)
            sums[2], sums[4] = sums[2].astype(np.uint8), sums[4].astype(np.bool_)
        else:
            sums = _sums(batch, cell, 2 * groups)
        return cls(*(column.reshape(groups, 2) for column in sums))


def _sums(batch: SegmentBatch, cell: I64, cells: int) -> list[npt.NDArray[Any]]:
    """The columns of `Cells`, flat."""
    sizes = np.bincount(cell, weights=batch.length, minlength=cells).astype(np.int64)
    syn = np.flatnonzero((batch.flags & SYN) != 0)  # of bools it takes a fifth of the time
    fin = np.flatnonzero((batch.flags & FIN) != 0)
    first_syn = _first(syn, cell, cells)
    differs = np.zeros(cells, np.bool_)
    if syn.size:
        of_syn = cell.take(syn)
        differs[of_syn[batch.seq.take(syn) != batch.seq.take(first_syn.take(of_syn))]] = True
    last = np.full(cells, -1, np.int64)
    last[cell] = np.arange(len(cell))
    newest = batch.time_ns.take(last)
    newest[last < 0] = np.iinfo(np.int64).min
    if (batch.time_ns[1:] < batch.time_ns[:-1]).any():  # stamps that go back
        np.maximum.at(newest, cell, batch.time_ns)
    told = np.flatnonzero(batch.captured >= LEAST_BYTES)
    return [np.bincount(cell, minlength=cells), sizes, _flags_of_cells(batch.flags, cell, cells), first_syn, differs,
            _first(fin, cell, cells), _first(told, cell, cells), last, newest]


def _first(at: I64, cell: I64, cells: int) -> I64:
    """The first of some positions in each cell."""
    first = np.full(cells, -1, np.int64)
    first[cell.take(at[::-1])] = at[::-1]  # the earliest position is written last
    return first


def _flags_of_cells(flags: U8, cell: I64, cells: int) -> U8:
    """The flags of each cell's segments, or-ed."""
    kinds = np.flatnonzero(np.bincount(flags, minlength=256)).astype(np.uint8)
    if len(kinds) > _FEW_KINDS:  # only a fuzzer sends so many: one bit after the other
        kinds = np.uint8(1) << np.arange(8, dtype=np.uint8)
        several = np.zeros(cells, np.uint8)
        for bit in kinds:
            several[cell.compress((flags & bit) != 0)] |= bit
        return several
    place = np.zeros(256, np.int64)
    place[kinds] = np.arange(len(kinds))
    at = cell * len(kinds)
    at += place.take(flags)
    seen = np.zeros(cells * len(kinds), np.uint8)
    seen[at] = 1
    table = seen.reshape(cells, len(kinds))
    merged: U8 = table[:, 0] * kinds[0]
    for number in range(1, len(kinds)):
        merged |= table[:, number] * kinds[number]
    return merged
