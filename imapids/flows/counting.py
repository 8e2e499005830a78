"""Adds a batch to the columns of its conversations: packets, bytes, flags, first handshakes, newest times."""

from __future__ import annotations

import numpy as np

from imapids import kernels
from imapids.flows.columns import COUNTED, UNKNOWN, FlowColumns
from imapids.flows.grouping import Groups
from imapids.records.packets import I64
from imapids.records.segments import FIN, SYN, SegmentBatch

_IN_ORDER: I64 = np.empty(0, np.int64)


def count_batch(columns: FlowColumns, batch: SegmentBatch, groups: Groups, alive: I64) -> None:
    """Adds a batch to the columns of the rows that it touches.

    Args:
        alive: until when each segment keeps its flow alive, at least; the stamps themselves where they are in order.
    """
    rows, cells = groups.rows, groups.cells(batch)
    newest = groups.newest(batch) if alive is not batch.time_ns or not kernels.COMPILED else _IN_ORDER
    if kernels.COMPILED:
        kernels.compiled.count_rows(columns, batch, cells.table, newest, rows, alive, UNKNOWN)
        return
    is_followed = columns.selected[rows] != COUNTED
    followed = rows[is_followed]
    packets, flags = columns.packets[rows], columns.flags[rows]
    columns.heard[followed] = packets[is_followed] > 0
    columns.finished[followed] = (flags[is_followed] & FIN) != 0
    columns.packets[rows] = packets + cells["packets"]
    columns.bytes[rows] += cells["size"]
    columns.spoke[rows] |= cells["size"] > 0
    group, end = np.nonzero((cells["syn"] >= 0) & ((flags & SYN) == 0))
    columns.isn[rows[group], end] = batch.seq[cells["syn"][group, end]]
    group, end = np.nonzero((cells["fin"] >= 0) & ((flags & FIN) == 0) & is_followed[:, None])
    chosen = cells["fin"][group, end]
    columns.fin_end[rows[group], end] = batch.seq[chosen] + batch.length[chosen].astype(np.uint32)
    columns.flags[rows] = flags | cells["flags"]
    last = cells["last"].max(axis=1)
    columns.due[rows] = UNKNOWN
    columns.last_clock[rows] = alive.take(last)
    columns.last_number[rows] = batch.number.take(last)
    columns.last_ns[rows] = np.maximum(columns.last_ns[rows], newest)
