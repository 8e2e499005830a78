"""Adds a batch to the columns of its conversations: packets, bytes, flags, first handshakes, newest times."""

from __future__ import annotations

import numpy as np

from imapids.flows.columns import COUNTED, UNKNOWN, FlowColumns
from imapids.flows.grouping import Groups
from imapids.records.packets import I64, U8
from imapids.records.segments import FIN, SYN, SegmentBatch

_FEW_KINDS = 16
"""Different flag bytes in a batch up to which a table of (direction, kind) is made: traffic holds eight or so."""


def count_batch(columns: FlowColumns, batch: SegmentBatch, groups: Groups, alive: I64) -> None:
    """Adds a batch to the columns of the rows that it touches.

    Args:
        alive: until when each segment keeps its flow alive, at least.
    """
    rows, cell = groups.rows, groups.cell
    count = len(rows)
    is_followed = columns.selected[rows] != COUNTED
    followed = rows[is_followed]
    columns.heard[followed] = columns.packets[followed] > 0
    columns.finished[followed] = (columns.flags[followed] & FIN) != 0
    columns.packets[rows] += np.bincount(cell, minlength=2 * count).reshape(count, 2)
    sizes = np.bincount(cell, weights=batch.length, minlength=2 * count).reshape(count, 2)
    columns.bytes[rows] += sizes.astype(np.int64)
    columns.spoke[rows] |= sizes > 0
    syn = np.flatnonzero((batch.flags & SYN) != 0)  # of bools it takes a fifth of the time
    if syn.size:
        flows, ends = rows.take(groups.local.take(syn)), groups.end.take(syn)
        fresh = np.flatnonzero((columns.flags[flows, ends] & SYN) == 0)[::-1]
        columns.isn[flows[fresh], ends[fresh]] = batch.seq[syn[fresh]]  # backwards: the first SYN of a side stays
    fin = np.flatnonzero((batch.flags & FIN) != 0)
    fin = fin[is_followed.take(groups.local.take(fin))]
    if fin.size:
        flows, ends = rows.take(groups.local.take(fin)), groups.end.take(fin)
        fresh = np.flatnonzero((columns.flags[flows, ends] & FIN) == 0)[::-1]
        chosen = fin[fresh]
        columns.fin_end[flows[fresh], ends[fresh]] = batch.seq[chosen] + batch.length[chosen].astype(np.uint32)
    columns.flags[rows] |= _flags_of_cells(batch.flags, cell, 2 * count).reshape(count, 2)
    last = np.empty(count, np.int64)
    last[groups.local] = np.arange(len(cell))
    columns.due[rows] = UNKNOWN
    columns.last_clock[rows] = alive.take(last)
    columns.last_number[rows] = batch.number.take(last)
    stamps = batch.time_ns.take(last)
    if alive is not batch.time_ns:  # stamps that go back
        np.maximum.at(stamps, groups.local, batch.time_ns)
    columns.last_ns[rows] = np.maximum(columns.last_ns[rows], stamps)


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
