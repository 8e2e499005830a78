"""Ends conversations: when their time is over, when the table is full, when the capture is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import compress
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from imapids import kernels
from imapids.config import FlowLimits
from imapids.flows.assembly import Assembler, Stream
from imapids.flows.columns import COUNTED, NEVER, PEEKED, UNKNOWN, FlowColumns
from imapids.flows.ended import EndedFlowsGatherer
from imapids.flows.naming import FlowNamer, KeptRows
from imapids.flows.reuse import TICK_NS, overdue
from imapids.records.packets import I32, I64
from imapids.records.segments import TCP
from imapids.records.streams import Flow, FlowAccount, FlowUpdate, Piece, StreamEnd

if TYPE_CHECKING:
    from imapids.kernels._events import LastUpdates

_ENDS_AT_ONCE = 4_096
"""Ends told in one go: their records live until the caller has used them."""
_EVICTED_SHARE = 32
"""A full table drops this part of itself: looking at all rows and making the index anew costs as much as dropping."""
_TOLD = ("keys", "serial", "protocol", "path", "source", "interface", "client_end", "roles", "selected", "first_ns",
         "last_ns", "first_number", "last_number", "first_seq", "packets", "bytes", "flags", "began", "unreachable")
"""Columns that the records of ended flows are made of."""


class _Ends(msgspec.Struct, eq=False):
    """Flows that are over and not told of yet: a copy of what their records are made of, a tenth of their size."""

    kept: KeptRows
    streams: list[Stream | None]
    reasons: list[str]
    over_ns: I64
    known: I64


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
        self._waiting: list[_Ends] = []
        self._swept = -(1 << 62)
        """The tick of the clock at which idle flows were looked for last."""

    def live_rows(self) -> I32:
        """Rows of conversations that are not over (rows that joined another one left out)."""
        columns = self.columns
        return np.flatnonzero(columns.due[: columns.used] != NEVER).astype(np.int32)

    def idle(self, clock_ns: int, shown_by: Callable[[I64], I64]) -> None:
        """Ends flows whose time is over; looks for them once a tick of packet time.

        Args:
            shown_by: frame numbers of the packets that showed it, from the times at which flows were over.
        """
        tick = clock_ns // TICK_NS
        if tick <= self._swept:
            return
        self._swept = tick
        rows, due = overdue(self.limits, self.columns, clock_ns)
        if rows.size:
            self.over(rows, "idle", due, shown_by(due))

    def clock_stepped(self, by_ns: int, clock_ns: int) -> None:
        """The clock that stamps packets was set by so much, and shows `clock_ns` now."""
        columns = self.columns
        columns.last_clock[: columns.used] += by_ns
        columns.due[self.live_rows()] = UNKNOWN
        self._swept = min(self._swept + by_ns // TICK_NS, clock_ns // TICK_NS)

    def evict(self, count: int, now: tuple[int, int]) -> int:
        """The table is full: conversations that nobody answered go first, then the ones that were quiet longest.

        Args:
            count: how many have to go at least.
            now: the clock, and the number of the newest packet.

        Returns:
            How many went.
        """
        columns = self.columns
        rows = self.live_rows()
        count = min(len(rows), max(count, self.limits.flows // _EVICTED_SHARE))
        quiet = columns.last_clock[rows]
        quiet[(columns.packets[rows] > 0).all(axis=1)] += NEVER
        self._evict(np.sort(rows[np.argpartition(quiet, count - 1)[:count]]), "flow-table", now)
        return count

    def limit_streams(self, now: tuple[int, int]) -> None:
        """Too many flows hold bytes: the ones that were quiet longest end, those that are only peeked at first."""
        streams = self._assembler.streams
        excess = len(streams) - self.limits.streams
        if excess <= 0:
            return
        rows = np.fromiter(streams, np.int32, len(streams))
        whole = self.columns.selected[rows] != PEEKED
        order = np.lexsort((rows, self.columns.last_clock[rows], whole))
        self._evict(rows[order[: excess + self.limits.streams // 8]], "streams", now)

    def _evict(self, rows: I32, limit: str, now: tuple[int, int]) -> None:
        self._count_limit(limit, len(rows))
        self.over(rows, "evicted", *_at(now, len(rows)))

    def _count_limit(self, name: str, times: int) -> None:
        self.account.limits[name] = self.account.limits.get(name, 0) + times

    def all(self, now: tuple[int, int]) -> Iterator[list[FlowUpdate]]:
        """The capture is over: all flows end, some thousands at a time, the oldest first."""
        rows = self.live_rows()
        columns = self.columns  # frame numbers begin anew in each file: times come first
        rows = rows[np.lexsort((columns.first_number[rows], columns.first_ns[rows]))]
        for start in range(0, len(rows), _ENDS_AT_ONCE):
            part = rows[start : start + _ENDS_AT_ONCE]
            self.over(part, "end-of-capture", *_at(now, len(part)))
            yield from self.tell()

    def over(self, rows: I32, reason: str, over_ns: I64, known: I64) -> None:
        """Ends flows: takes the rows out of service. `tell` has the ends of the selected ones.

        Args:
            over_ns: when they were over; `known`: the number of the packet that showed it.
        """
        columns, streams = self.columns, self._assembler.streams
        followed = self._take_out(rows)
        self.dead += len(rows)
        if self._ended is not None:
            self._ended.add(rows, over_ns, known, reason)
        if not followed.size:
            return
        rows, over_ns, known = rows[followed], over_ns[followed], known[followed]
        held = [streams.pop(row, None) for row in rows.tolist()]
        if self._assembler.peek_bytes:  # of a peeked flow in which nobody spoke, its columns say everything
            told = [stream is not None or number != PEEKED
                    for stream, number in zip(held, columns.selected[rows].tolist(), strict=True)]
            if not all(told):
                rows, over_ns, known = rows[told], over_ns[told], known[told]
                held = list(compress(held, told))
        if held:
            self._waiting.append(_Ends(KeptRows.of(columns, _TOLD, rows), held, [reason] * len(rows), over_ns, known))

    def _take_out(self, rows: I32) -> I64:
        """Takes rows out of service; returns the places of those whose bytes are delivered."""
        columns = self.columns
        if kernels.COMPILED:
            followed = np.empty(len(rows), np.int64)
            return followed[: kernels.compiled.close_rows(columns, rows, NEVER, followed)]
        columns.live[rows] = False
        columns.due[rows] = NEVER
        return np.flatnonzero(columns.selected[rows] != COUNTED)

    def tell(self) -> Iterator[list[FlowUpdate]]:
        """The last updates of selected flows that are over, some thousands at a time.

        They stand in the order of the packets that showed the ends, then of the times, then of the flows' beginnings.
        """
        if not self._waiting:
            return
        parts, self._waiting = self._waiting, []
        ends = parts[0] if len(parts) == 1 else _joined(parts)
        parts.clear()
        kept, streams, reasons, over_ns, known = ends.kept, ends.streams, ends.reasons, ends.over_ns, ends.known
        del ends
        order = np.lexsort((kept["first_number"], over_ns, known))
        for start in range(0, len(order), _ENDS_AT_ONCE):
            at = order[start : start + _ENDS_AT_ONCE]
            some = at.tolist()
            yield self._tell(_Ends(
                KeptRows.of(kept, _TOLD, at), [streams[i] for i in some],
                [reasons[i] for i in some], over_ns[at], known[at]))

    def _tell(self, ends: _Ends) -> list[FlowUpdate]:
        assembler, kept = self._assembler, ends.kept
        unopened = np.array([i for i, stream in enumerate(ends.streams) if stream is None], np.int64)
        opened = iter(self._namer.open(unopened, kept) if unopened.size else ())
        flows = [next(opened) if stream is None else stream.flow for stream in ends.streams]
        pieces_of: list[list[Piece]] = [
            [] if stream is None or stream.reassembly is None else assembler.finish(stream, packet, time_ns)
            for stream, packet, time_ns in zip(ends.streams, kept["last_number"].tolist(), ends.over_ns.tolist(),
                                               strict=True)]
        self._namer.complete(np.arange(len(flows)), flows, ends.reasons, kept)
        self._add_to_account(kept)
        for stream in ends.streams:
            if stream is not None and stream.reassembly is not None and not stream.flow.peeked:
                self._add_oddities(stream.flow, stream.reassembly.hit_limits)
        return _last_updates(flows, pieces_of, kept, ends)

    def _add_to_account(self, kept: KeptRows) -> None:
        account, whole = self.account, kept["selected"] != PEEKED
        packets, sizes = kept["packets"][whole], kept["bytes"][whole]
        sizes = sizes[:, 0] + sizes[:, 1]
        account.midstream += int(np.count_nonzero(~kept["began"][whole]))
        account.one_sided += int(np.count_nonzero(((packets[:, 0] == 0) | (packets[:, 1] == 0)) & (sizes > 0)))
        account.payload_bytes += int(sizes[kept["protocol"][whole] == TCP].sum())

    def _add_oddities(self, flow: Flow, limits: Iterable[str]) -> None:
        """What only flows that were read segment by segment can have: missing bytes, limits that were hit."""
        if flow.protocol == "TCP" and (flow.bytes_client or flow.bytes_server):
            missing = flow.missing_client + flow.missing_server
            self.account.payload_bytes += missing
            self.account.missing_bytes += missing
        for name in limits:
            self._count_limit(name, 1)


def _joined(parts: list[_Ends]) -> _Ends:
    """Parts as one."""
    return _Ends(
        KeptRows({name: np.concatenate([part.kept[name] for part in parts]) for name in _TOLD}),
        [stream for part in parts for stream in part.streams], [reason for part in parts for reason in part.reasons],
        np.concatenate([part.over_ns for part in parts]), np.concatenate([part.known for part in parts]))


def _last_updates(flows: list[Flow], pieces_of: list[list[Piece]], kept: KeptRows, ends: _Ends) -> list[FlowUpdate]:
    """The updates that tell of the ends, each with the last pieces of its flow."""
    if kernels.COMPILED:
        return _compiled().make(flows, pieces_of, kept["serial"], ends.over_ns, kept["last_number"], ends.known)
    updates = []
    for key, flow, pieces, time_ns, packet, number in zip(
            kept["serial"].tolist(), flows, pieces_of, ends.over_ns.tolist(), kept["last_number"].tolist(),
            ends.known.tolist(), strict=True):
        pieces.append(StreamEnd(time_ns, packet, flow.end_reason, number))
        updates.append(FlowUpdate(flow, pieces, key))
    return updates


@lru_cache(maxsize=1)
def _compiled() -> LastUpdates:
    return kernels.events.LastUpdates(Flow, StreamEnd, FlowUpdate)


def _at(now: tuple[int, int], count: int) -> tuple[I64, I64]:
    """The clock and the newest packet's number, for `count` flows that end here."""
    return np.full(count, now[0], np.int64), np.full(count, now[1], np.int64)
