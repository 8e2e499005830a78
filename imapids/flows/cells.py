"""What a batch holds of each direction of each conversation: one walk over its segments for all who ask."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from imapids import kernels
from imapids.records.packets import I64, U8
from imapids.records.segments import FIN, SYN, SegmentBatch

LEAST_BYTES = 5
"""Shorter segments do not show whether a line of IMAP begins (`* OK `)."""
_FEW_KINDS = 16
"""Different flag bytes in a batch up to which a table of (direction, kind) is made: traffic holds eight or so."""
CELL = np.dtype([
    ("size", np.int64),      # payload bytes on the wire
    ("packets", np.int32),
    ("syn", np.int32),       # position of the first SYN; positions are -1 where there is none
    ("fin", np.int32),       # position of the first FIN
    ("told", np.int32),      # position of the first segment that has `LEAST_BYTES` of payload
    ("last", np.int32),      # position of the last segment
    ("flags", np.uint8),     # TCP flags or-ed
    ("differs", np.uint8),   # whether another SYN has another sequence number than the first one
], align=True)
"""What a batch holds of one direction of a conversation."""


class Cells:
    """Sums of the segments of g groups, by the end of the key that sent them."""

    __slots__ = ("table",)

    def __init__(self, table: npt.NDArray[np.void]) -> None:
        """`table`: shape (g, 2), of CELL."""
        self.table = table

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """A column, shape (g, 2)."""
        column: npt.NDArray[Any] = self.table[name]
        return column

    @classmethod
    def of(cls, batch: SegmentBatch, local: I64, end: U8, groups: int) -> Cells:
        """Walks over a batch.

        Args:
            local, end: group of each segment, and which end of its key sent it.
        """
        table = _room_for(groups)
        if kernels.COMPILED:
            kernels.compiled.sum_cells(batch, local, end, LEAST_BYTES, table)
        else:
            for name, column in _sums(batch, 2 * local + end, 2 * groups).items():
                table[name] = column.reshape(groups, 2)
        return cls(table)


def _room_for(groups: int) -> npt.NDArray[np.void]:
    """A table of so many groups, each in a line of the cache."""
    line = 2 * CELL.itemsize
    block = np.empty(line * (groups + 1), np.uint8)
    start = -block.ctypes.data % line
    return block[start : start + line * groups].view(CELL).reshape(groups, 2)


def _sums(batch: SegmentBatch, cell: I64, cells: int) -> dict[str, npt.NDArray[Any]]:
    """The columns of `Cells`, flat; `cell`: 2 * group + end of each segment."""
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
    told = np.flatnonzero(batch.captured >= LEAST_BYTES)
    return {"packets": np.bincount(cell, minlength=cells), "size": sizes, "syn": first_syn, "differs": differs,
            "flags": _flags_of_cells(batch.flags, cell, cells), "fin": _first(fin, cell, cells),
            "told": _first(told, cell, cells), "last": last}


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
