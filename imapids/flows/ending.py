"""Ends conversations: when their time is over, when the table is full, when the capture is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from imapids.config import FlowLimits
from imapids.flows.assembly import Assembler
from imapids.flows.columns import COUNTED, NEVER, PEEKED, UNKNOWN, FlowColumns
from imapids.flows.ended import EndedFlowsGatherer
from imapids.flows.naming import FlowNamer
from imapids.flows.reuse import TICK_NS, deadlines, shortest_timeout
from imapids.records.packets import I32, I64
from imapids.records.segments import TCP
from imapids.records.streams import Flow, FlowAccount, FlowUpdate, StreamEnd

_ENDS_AT_ONCE = 4_096
"""Flows ended in one go at the end of a capture: their records live until the caller has used them."""


class FlowEnder:
    """Takes rows out of service and tells what of the selected ones is still to be told."""

    def __init__(self, limits: FlowLimits, columns: FlowColumns, assembler: Assembler, namer: FlowNamer,
                 account: FlowAccount, ended: EndedFlowsGatherer | None) -> None:
        self.limits = limits
        self.columns = columns
        self.account = account
        self.dead = 0
        """Rows that are over and not free yet: they leave when the index is made anew."""
        self._assembler = assembler
        self._namer = namer
        self._ended = ended
        self._shortest_ns = shortest_timeout(limits)
        self._swept = -(1 << 62)
        """The tick of the clock at which idle flows were looked for last."""

    def live_rows(self) -> I32:
        """Rows of conversations that are not over (rows that joined another one left out)."""
        columns = self.columns
        return np.flatnonzero(columns.due[: columns.used] != NEVER).astype(np.int32)

    def idle(self, clock_ns: int, shown_by: Callable[[I64], I64]) -> list[FlowUpdate]:
        """Ends flows whose time is over; looks for them once a tick of packet time.

        Args:
            shown_by: frame numbers of the packets that showed it, from the times at which flows were over.
        """
        tick = clock_ns // TICK_NS
        if tick <= self._swept:
            return []
        self._swept = tick
        columns = self.columns
        rows = np.flatnonzero(columns.due[: columns.used] <= clock_ns).astype(np.int32)  # with those that got packets
        rows = rows[columns.last_clock[rows] <= clock_ns - self._shortest_ns]
        due = deadlines(self.limits, columns, rows)
        columns.due[rows] = due
        over = due <= clock_ns
        if not over.any():
            return []
        return self.over(rows[over], "idle", due[over], shown_by(due[over]))

    def clock_stepped(self, by_ns: int, clock_ns: int) -> None:
        """The clock that stamps packets was set by so much, and shows `clock_ns` now."""
        columns = self.columns
        columns.last_clock[: columns.used] += by_ns
        columns.due[self.live_rows()] = UNKNOWN
        self._swept = min(self._swept + by_ns // TICK_NS, clock_ns // TICK_NS)

    def evict(self, count: int, now: tuple[int, int]) -> list[FlowUpdate]:
        """The table is full: conversations that nobody answered go first, then the ones that were quiet longest.

        Args:
            now: the clock, and the number of the newest packet.
        """
        columns = self.columns
        rows = self.live_rows()
        unanswered = (columns.packets[rows] == 0).any(axis=1)
        order = np.lexsort((columns.last_clock[rows], ~unanswered))
        return self._evict(np.sort(rows[order[:count]]), "flow-table", now)

    def limit_streams(self, now: tuple[int, int]) -> list[FlowUpdate]:
        """Too many flows hold bytes: the ones that were quiet longest end, those that are only peeked at first."""
        streams = self._assembler.streams
        excess = len(streams) - self.limits.streams
        if excess <= 0:
            return []
        rows = np.fromiter(streams, np.int32, len(streams))
        whole = self.columns.selected[rows] != PEEKED
        order = np.lexsort((rows, self.columns.last_clock[rows], whole))
        return self._evict(rows[order[: excess + self.limits.streams // 8]], "streams", now)

    def _evict(self, rows: I32, limit: str, now: tuple[int, int]) -> list[FlowUpdate]:
        self._count_limit(limit, len(rows))
        return self.over(rows, "evicted", *_at(now, len(rows)))

    def _count_limit(self, name: str, times: int) -> None:
        self.account.limits[name] = self.account.limits.get(name, 0) + times

    def all(self, now: tuple[int, int]) -> Iterator[list[FlowUpdate]]:
        """The capture is over: all flows end, some thousands at a time, the oldest first."""
        rows = self.live_rows()
        columns = self.columns  # frame numbers begin anew in each file: times come first
        rows = rows[np.lexsort((columns.first_number[rows], columns.first_ns[rows]))]
        for start in range(0, len(rows), _ENDS_AT_ONCE):
            part = rows[start : start + _ENDS_AT_ONCE]
            yield self.over(part, "end-of-capture", *_at(now, len(part)))

    def over(self, rows: I32, reason: str, over_ns: I64, known: I64) -> list[FlowUpdate]:
        """Ends flows: takes the rows out of service and hands on the ends of the selected ones, the oldest first.

        Args:
            over_ns: when they were over; `known`: the number of the packet that showed it.
        """
        columns, streams = self.columns, self._assembler.streams
        columns.live[rows] = False
        columns.due[rows] = NEVER
        self.dead += len(rows)
        if self._ended is not None:
            self._ended.add(rows, over_ns, known, reason)
        selected = columns.selected[rows]
        chosen = selected != COUNTED
        if self._assembler.peek_bytes:  # of a peeked flow in which nobody spoke, its columns say everything
            peeked = np.flatnonzero(selected == PEEKED)
            chosen[peeked] = [row in streams for row in rows[peeked].tolist()]
        if not chosen.any():
            return []
        rows, over_ns, known = rows[chosen], over_ns[chosen], known[chosen]
        order = np.lexsort((columns.first_number[rows], columns.first_ns[rows], over_ns))
        return self._tell(rows[order], reason, over_ns[order], known[order])

    def _tell(self, rows: I32, reason: str, over_ns: I64, known: I64) -> list[FlowUpdate]:
        """The last updates of selected flows."""
        assembler = self._assembler
        numbers = rows.tolist()
        held = [assembler.streams.pop(row, None) for row in numbers]
        unopened = iter(self._namer.open(rows[[stream is None for stream in held]]) if None in held else ())
        flows = [next(unopened) if stream is None else stream.flow for stream in held]
        when, shown = over_ns.tolist(), known.tolist()
        packets = self.columns.last_number[rows].tolist()
        pieces_of = [[] if stream is None or stream.reassembly is None else assembler.finish(stream, packet, time_ns)
                     for stream, packet, time_ns in zip(held, packets, when, strict=True)]
        self._namer.complete(rows, flows, reason)
        self._add_to_account(rows)
        for stream in held:
            if stream is not None and stream.reassembly is not None and not stream.flow.peeked:
                self._add_oddities(stream.flow)
        updates = []
        for row, flow, pieces, time_ns, packet, number in zip(numbers, flows, pieces_of, when, packets, shown,
                                                              strict=True):
            pieces.append(StreamEnd(time_ns, packet, flow.end_reason, number))
            updates.append(FlowUpdate(flow, pieces, row))
        return updates

    def _add_to_account(self, rows: I32) -> None:
        columns, account = self.columns, self.account
        rows = rows[columns.selected[rows] != PEEKED]
        packets, sizes = columns.packets[rows], columns.bytes[rows].sum(axis=1)
        account.midstream += int(np.count_nonzero(~columns.began[rows]))
        account.one_sided += int(np.count_nonzero((packets == 0).any(axis=1) & (sizes > 0)))
        account.payload_bytes += int(sizes[columns.protocol[rows] == TCP].sum())

    def _add_oddities(self, flow: Flow) -> None:
        """What only flows that were read segment by segment can have: missing bytes, limits that were hit."""
        if flow.protocol == "TCP" and (flow.bytes_client or flow.bytes_server):
            missing = flow.missing_client + flow.missing_server
            self.account.payload_bytes += missing
            self.account.missing_bytes += missing
        for name in flow.limits:
            self._count_limit(name, 1)


def _at(now: tuple[int, int], count: int) -> tuple[I64, I64]:
    """The clock and the newest packet's number, for `count` flows that end here."""
    return np.full(count, now[0], np.int64), np.full(count, now[1], np.int64)
