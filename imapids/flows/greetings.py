"""Finds IMAP on any port: by the first bytes of each side, looked at once."""

from __future__ import annotations

import numpy as np

from imapids import kernels
from imapids.flows.columns import COUNTED, FOUND, PEEKED, ROLES, FlowColumns
from imapids.flows.grouping import Groups
from imapids.protocols.imap_opening import who_speaks
from imapids.records.packets import I32, I64, U8, Bool
from imapids.records.segments import TCP, SegmentBatch
from imapids.records.streams import CLIENT

_BY_SYN = ROLES.index("syn")
_HEAD_BYTES = 128
"""First bytes of a segment that show whether it holds a line of IMAP."""


def find_dialogues(columns: FlowColumns, batch: SegmentBatch, groups: Groups) -> tuple[I32, I64 | None]:
    """Selects flows on any port whose first bytes are those of IMAP.

    That is a greeting from the server (RFC 9051 section 7.1); where the start was not captured, any line of a
    dialogue.

    Returns:
        (rows of the flows found, for each group the position of its first such bytes if it was found now, else 0; None
        where no segment came before them).
        The rows are selected as FOUND; `PEEKED` ones lose that mark.
    """
    at = _openings(columns, batch, groups)
    if not at.size:
        return groups.rows[:0], None
    return _listen(columns, batch, groups, np.sort(at).tolist())


def _openings(columns: FlowColumns, batch: SegmentBatch, groups: Groups) -> I64:
    """Positions of the first segments of each side that may begin with a line of IMAP; their sides are looked at."""
    rows, cells = groups.rows, groups.cells(batch)
    if kernels.COMPILED:
        found = np.empty(2 * len(rows), np.int64)
        return found[: kernels.compiled.likely_openings(columns, batch, cells.table, rows, found)]
    selected = columns.selected[rows]
    open_rows = ((selected == COUNTED) | (selected == PEEKED)) & (columns.protocol[rows] == TCP)
    unheard = open_rows[:, None] & ~columns.looked[rows]
    opener = np.flatnonzero(columns.roles[rows] == _BY_SYN)  # who opened a flow greets nobody
    unheard[opener, columns.client_end[rows[opener]]] = False
    group, end = np.nonzero(unheard & (cells["told"] >= 0))
    columns.looked[rows[group], end] = True
    at = cells["told"][group, end].astype(np.int64)
    begin = batch.payload.take(at)
    lead = batch.buffer.take(begin)
    likely = lead == 0x2A
    stars = np.flatnonzero(likely)
    likely[stars] = batch.buffer.take(begin[stars] + 1) == 0x20
    likely |= ~columns.began[rows[group]] & _may_start_line(lead)
    chosen: I64 = at[likely]
    return chosen


def _listen(columns: FlowColumns, batch: SegmentBatch, groups: Groups, positions: list[int]) -> tuple[I32, I64 | None]:
    """Reads the first lines of segments that may be of IMAP: few, on ordinary traffic."""
    view = batch.buffer.data
    start = np.zeros(len(groups.rows), np.int64)
    found: list[int] = []
    for position in positions:
        group = int(groups.local[position])
        row, end = int(groups.rows[group]), int(groups.end[position])
        low = int(batch.payload[position])
        head = bytes(view[low : low + min(_HEAD_BYTES, int(batch.captured[position]))])
        speaker = who_speaks(head, midstream=not columns.began[row])
        if speaker is None or columns.selected[row] == FOUND:
            continue
        client_end = end if speaker == CLIENT else 1 - end
        if client_end != int(columns.client_end[row]):
            columns.client_end[row] = client_end
            columns.roles[row] = ROLES.index("content")
        columns.selected[row] = FOUND
        found.append(row)
        start[group] = position
    return np.array(found, np.int32), start if (groups.first < start).any() else None


def _may_start_line(first: U8) -> Bool:
    """Whether a byte may start a tag (RFC 9051 section 9): a letter, a digit, a full stop, or `*`."""
    letter = ((first | 0x20) >= 0x61) & ((first | 0x20) <= 0x7A)
    may: Bool = letter | ((first >= 0x30) & (first <= 0x39)) | (first == 0x2E) | (first == 0x2A)
    return may
