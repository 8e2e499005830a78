"""Finds where a 5-tuple begins a new conversation: a new handshake after a close, or a pause longer than the timeout.

Whether a packet belongs to the old conversation depends on packet time and flags alone, never on how the packets
were cut into batches.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imapids import kernels
from imapids.config import FlowLimits
from imapids.flows.columns import WATCHED, FlowColumns
from imapids.flows.grouping import Groups
from imapids.records.packets import I32, I64, Bool
from imapids.records.segments import FIN, RST, SYN, TCP, SegmentBatch

TICK_NS = 8 * 10**9
"""Flows end at whole ticks of the clock: the table looks for them once a tick, and the result is the same."""
_SILENT_REUSE_NS = 30 * 10**9
"""A new SYN on a flow that was never seen to close counts as reuse after this pause; a nearer one may be forged."""

LINGER_NS = 240 * 10**9
"""What a side sends again after the close is known as such for so long: twice the maximum segment lifetime (RFC 9293
section 3.4.1), after which the ports may be used again without a word."""

Cut = tuple[int, I64, str, int]
"""(old row, positions of the segments that leave it, reason, time at which the old conversation was over)."""


def deadlines(limits: FlowLimits, columns: FlowColumns, rows: I32) -> I64:
    """When flows are over if nothing more comes, on the clock of the table."""
    if kernels.COMPILED:
        found = np.empty(len(rows), np.int64)
        kernels.compiled.row_deadlines(columns, rows, _timeouts(limits), found)
        return found
    flags, packets, spoke = columns.flags[rows], columns.packets[rows], columns.spoke[rows]
    either = flags[:, 0] | flags[:, 1]
    closed = ((either & RST) != 0) | ((flags[:, 0] & flags[:, 1] & FIN) != 0)
    lonely = (packets[:, 0] == 0) | (packets[:, 1] == 0)
    half_open = lonely & ((either & SYN) != 0) & ~(spoke[:, 0] | spoke[:, 1])
    timeout = np.where(columns.protocol[rows] != TCP, limits.udp_idle_ns, np.where(
        closed, limits.tcp_closed_ns, np.where(half_open, limits.tcp_half_open_ns, limits.tcp_idle_ns)))
    due: I64 = -(-(columns.last_clock[rows] + timeout) // TICK_NS) * TICK_NS
    return due


def overdue(limits: FlowLimits, columns: FlowColumns, clock_ns: int) -> tuple[I32, I64]:
    """Finds the rows that are over, and since when; the column `due` says until when the others wait."""
    used, shortest_ns = columns.used, shortest_timeout(limits)
    if kernels.COMPILED:
        rows, due = np.empty(used, np.int32), np.empty(used, np.int64)
        count = kernels.compiled.overdue_rows(columns, clock_ns, shortest_ns, _timeouts(limits), rows, due)
        return rows[:count].copy(), due[:count].copy()
    rows = np.flatnonzero(columns.due[:used] <= clock_ns).astype(np.int32)  # with those that got packets
    rows = rows[columns.last_clock[rows] <= clock_ns - shortest_ns]
    due = deadlines(limits, columns, rows)
    columns.due[rows] = due
    over = due <= clock_ns
    return rows[over], due[over]


def _timeouts(limits: FlowLimits) -> tuple[int, int, int, int, int]:
    """What the compiled loops ask of the limits."""
    return limits.udp_idle_ns, limits.tcp_closed_ns, limits.tcp_half_open_ns, limits.tcp_idle_ns, TICK_NS


def lingering(columns: FlowColumns, clock_ns: int, most: int) -> Bool:
    """Marks the rows (below `used`) that are over and still wait for strays: the newest ones, `most` at most."""
    used = columns.used
    chosen: Bool = ~columns.live[:used] & (columns.selected[:used] == WATCHED)
    rows = np.flatnonzero(chosen)  # few: other columns are looked at for these only
    flags = columns.flags.take(rows, axis=0)
    closed = (((flags[:, 0] | flags[:, 1]) & RST) != 0) | ((flags[:, 0] & flags[:, 1] & FIN) != 0)
    closed &= (columns.protocol[rows] == TCP) & (columns.last_clock[rows] > clock_ns - LINGER_NS)
    chosen[rows[~closed]] = False
    rows = rows[closed]
    if len(rows) > most:
        chosen[rows[np.argpartition(columns.last_clock[rows], len(rows) - most)[: len(rows) - most]]] = False
    return chosen


def _is_closed(flags: list[int]) -> bool:
    """A reset of either side, or a FIN of both."""
    return bool((flags[0] | flags[1]) & RST or flags[0] & flags[1] & FIN)


def shortest_timeout(limits: FlowLimits) -> int:
    """A flow with packets nearer than this is not over, whatever it is."""
    return min(limits.tcp_closed_ns, limits.tcp_half_open_ns, limits.tcp_idle_ns, limits.udp_idle_ns)


class ReuseSplitter:
    """Finds the segments that begin a new conversation on a known 5-tuple."""

    def __init__(self, limits: FlowLimits, columns: FlowColumns) -> None:
        self.limits = limits
        self.columns = columns
        self._shortest_ns = shortest_timeout(limits)

    def cuts(self, batch: SegmentBatch, groups: Groups, clock: I64, alive: I64,
             watched: Callable[[SegmentBatch, int], bool]) -> tuple[list[Cut], list[int]]:
        """Where new conversations begin, those of one row in order; and what came late of old ones.

        A closed conversation of a watched port is over after some seconds, but a side may send its FIN, or an empty
        segment, again much later. Such strays begin nothing.

        Args:
            clock: the table's clock at each segment; `alive`: until when the segment keeps its flow alive, at least.
            watched: whether a conversation that begins with a segment of the batch goes to a watched port.

        Returns:
            (cuts, positions of strays).
        """
        suspects = self._suspects(batch, groups, clock)
        if not suspects.any():
            return [], []
        found: list[Cut] = []
        strays: list[int] = []
        at = np.flatnonzero(suspects.take(groups.local))
        at = at[np.argsort(groups.local[at], kind="stable")]
        bounds = np.flatnonzero(np.diff(groups.local[at], prepend=-1, append=1 << 62))
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            self._replay(batch, groups, clock, alive, at[start:stop], watched, found, strays)
        return found, strays

    def _suspects(self, batch: SegmentBatch, groups: Groups, clock: I64) -> Bool:
        """Marks the groups that need a closer look; few, on ordinary traffic."""
        columns, rows, local, first = self.columns, groups.rows, groups.local, groups.first
        doubtful, quiet = self._look(batch, groups, clock)
        if quiet.size:
            doubtful[quiet] |= clock[first[quiet]] >= deadlines(self.limits, columns, rows[quiet])
        if int(clock[-1]) - int(clock[0]) >= self._shortest_ns:  # pauses inside the batch
            order = np.argsort(local, kind="stable")
            pause = np.diff(clock[order], prepend=clock[order[:1]])
            long = (pause >= self._shortest_ns) & (np.diff(local[order], prepend=-1) == 0)
            doubtful[local[order[long]]] = True
        return doubtful

    def _look(self, batch: SegmentBatch, groups: Groups, clock: I64) -> tuple[Bool, I64]:
        """Marks the groups that are over, or saw another SYN; and the groups that may be over: so long they paused."""
        columns, rows, cells, first = self.columns, groups.rows, groups.cells(batch), groups.first
        if kernels.COMPILED:
            marks, quiet = np.empty(len(rows), np.uint8), np.empty(len(rows), np.int64)
            count = kernels.compiled.doubtful_rows(columns, batch, cells.table, rows, first, clock, self._shortest_ns,
                                                   marks, quiet)
            return marks.view(np.bool_), quiet[:count]
        doubtful: Bool = ~columns.live[rows]
        doubtful |= cells["differs"].any(axis=1)
        group, end = np.nonzero(cells["syn"] >= 0)
        row = rows[group]
        had = (columns.flags[row, end] & SYN) != 0
        doubtful[group[had & (columns.isn[row, end] != batch.seq[cells["syn"][group, end]])]] = True
        return doubtful, np.flatnonzero(clock.take(first) - columns.last_clock[rows] >= self._shortest_ns)

    def _replay(self, batch: SegmentBatch, groups: Groups, clock: I64, alive_until: I64, mine: I64,
                watched: Callable[[SegmentBatch, int], bool], found: list[Cut], strays: list[int]) -> None:
        """Walks the segments of one row as if they came alone, and notes where a new conversation begins."""
        columns = self.columns
        row = int(groups.rows[groups.local[mine[0]]])
        alive = bool(columns.live[row])
        tcp = int(columns.protocol[row]) == TCP
        lingers = tcp and int(columns.selected[row]) == WATCHED
        flags = [int(columns.flags[row, 0]), int(columns.flags[row, 1])]
        packets = [int(columns.packets[row, 0]), int(columns.packets[row, 1])]
        spoke = bool(columns.spoke[row].any())
        isn = [int(columns.isn[row, 0]), int(columns.isn[row, 1])]
        fin_end = [int(columns.fin_end[row, 0]), int(columns.fin_end[row, 1])]
        last = int(columns.last_clock[row])
        current = row
        steps = zip(groups.end[mine].tolist(), clock[mine].tolist(), alive_until[mine].tolist(),
                    batch.flags[mine].tolist(), batch.seq[mine].tolist(), batch.length[mine].tolist(), strict=True)
        for number, (side, now, until, bits, seq, length) in enumerate(steps):
            reason = ""
            # the end of a side's stream may come once more with its last data
            again = bits & flags[side] & FIN and (seq + length) & 0xFFFF_FFFF == fin_end[side]
            if lingers and (again or not length) and not bits & SYN and _is_closed(flags) and (
                    now - last < LINGER_NS and (
                        not alive or now >= self._deadline(last, flags, packets, spoke, tcp))):
                strays.append(int(mine[number]))
                continue
            if not alive:
                reason = "over"
            elif packets[0] or packets[1]:
                due = self._deadline(last, flags, packets, spoke, tcp)
                closed = (flags[0] | flags[1]) & (RST | FIN)
                if now >= due:
                    reason = "idle"
                    last = due
                elif bits & SYN and flags[side] & SYN and isn[side] != seq and (
                        closed or now - last >= _SILENT_REUSE_NS):
                    reason, last = "reused", now
            if reason:
                found.append((current, mine[number:], reason, last))
                current = -1  # the row that the caller makes for this cut
                alive, flags, packets, spoke = True, [0, 0], [0, 0], False
                lingers = tcp and watched(batch, int(mine[number]))
            if bits & SYN and not flags[side] & SYN:
                isn[side] = seq
            if bits & FIN and not flags[side] & FIN:
                fin_end[side] = (seq + length) & 0xFFFF_FFFF
            flags[side] |= bits
            packets[side] += 1
            spoke |= length > 0
            last = until

    def _deadline(self, last: int, flags: list[int], packets: list[int], spoke: bool, tcp: bool) -> int:
        """The scalar twin of `deadlines`."""
        limits = self.limits
        if not tcp:
            timeout = limits.udp_idle_ns
        elif _is_closed(flags):
            timeout = limits.tcp_closed_ns
        elif not (packets[0] and packets[1]) and (flags[0] | flags[1]) & SYN and not spoke:
            timeout = limits.tcp_half_open_ns
        else:
            timeout = limits.tcp_idle_ns
        return -(-(last + timeout) // TICK_NS) * TICK_NS
