"""The first facts of a conversation: what its first segment tells of its identity, its roles and its selection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imapids import kernels
from imapids.flows.columns import COUNTED, PEEKED, WATCHED, FlowColumns
from imapids.protocols.mail_services import MAIL_PORTS
from imapids.protocols.scan_tools import hand_made, tool_marks
from imapids.records.packets import I32, I64, U8, Bool
from imapids.records.segments import ACK, SYN, TCP, SegmentBatch

_PORTS = 65_536


class FlowBeginner:
    """Fills in the rows of new conversations."""

    def __init__(self, columns: FlowColumns, watch_tcp: Sequence[int], watch_udp: Sequence[int],
                 peek_tcp: Sequence[int], *, watch_all: bool, tell_tools: bool) -> None:
        """
        Args:
            watch_tcp: server ports whose flows are selected; `watch_all` selects every flow.
            peek_tcp: server ports of which the first bytes are delivered.
            tell_tools: look for the marks of scanning tools in handshakes.
        """
        self._columns = columns
        self._watch = np.zeros((2, _PORTS), np.bool_)
        self._watch[0, list(watch_tcp)] = True
        self._watch[1, list(watch_udp)] = True
        self._watch |= watch_all
        self._peek = np.zeros(_PORTS, np.bool_)
        self._peek[list(peek_tcp)] = True
        self._probed = np.zeros(_PORTS, np.bool_)
        """Server ports at which scanning tools are looked for."""
        self._probed[list(MAIL_PORTS) if tell_tools else []] = True
        self._facts: U8 = np.zeros(_PORTS, np.uint8)
        """The same as bits of a byte for each port: compiled loops read one small table."""
        for bit, marked in enumerate((self._watch[0], self._watch[1], self._peek, self._probed)):
            self._facts |= marked.view(np.uint8) << np.uint8(bit)
        self._begun = 0
        """Conversations so far."""

    def begin(self, batch: SegmentBatch, first: I64, rows: I32, end: U8, alive: I64) -> int:
        """Fills in new rows; returns how many of them are watched.

        Args:
            first: positions of their first segments.
            end: which end of its key sent each segment of the batch; `alive`: until when it keeps its flow alive.
        """
        columns, begun = self._columns, self._begun
        self._begun += len(rows)
        if kernels.COMPILED:
            probes = np.empty(len(rows), np.int64)
            watched, count = kernels.compiled.begin_rows(
                columns, batch, first, rows, end, alive, begun, self._facts, probes)
            if count:
                kernels.compiled.find_tools(columns, batch, first, rows, probes[:count])
        else:
            self._copy(batch, first, rows, alive, begun)
            watched = self._select(batch, first, rows, end)
            self._find_tools(batch, first, rows)
        if batch.interface is not None:
            columns.interface[rows] = batch.interface[first]
        return watched

    def _copy(self, batch: SegmentBatch, first: I64, rows: I32, alive: I64, begun: int) -> None:
        columns = self._columns
        columns.protocol[rows] = batch.protocol[first]
        columns.path[rows] = batch.tunnel[first]
        columns.serial[rows] = np.arange(begun, begun + len(rows))
        columns.source[rows] = batch.source.index
        columns.first_ns[rows] = columns.last_ns[rows] = batch.time_ns[first]
        columns.last_clock[rows] = alive[first]
        columns.first_number[rows] = batch.number[first]
        columns.first_seq[rows] = batch.seq[first]

    def _select(self, batch: SegmentBatch, first: I64, rows: I32, end: U8) -> int:
        """Fills in who is the client, and whether the conversations are selected; returns how many are watched."""
        columns, tcp = self._columns, batch.protocol[first] == TCP
        sender_is_client, role, watched = self._roles(batch, first)
        columns.roles[rows] = role
        columns.began[rows] = (role == 0) | ~tcp
        columns.client_end[rows] = np.where(sender_is_client, end[first], 1 - end[first])
        server_port = np.where(sender_is_client, batch.dst_port[first], batch.src_port[first])
        columns.selected[rows] = np.where(watched, WATCHED, np.where(tcp & self._peek[server_port], PEEKED, COUNTED))
        return int(np.count_nonzero(watched))

    def _roles(self, batch: SegmentBatch, first: I64) -> tuple[Bool, U8, Bool]:
        """Who is the client of conversations that begin with some segments, and whether their servers are watched.

        The client is the sender of a SYN; the receiver of a SYN/ACK; who talks to a watched port; for TCP who has the
        higher port; else who was seen first.

        Returns:
            (whether the sender is the client, how that is known (see `FlowColumns.roles`), whether it is watched).
        """
        flags, tcp = batch.flags[first], batch.protocol[first] == TCP
        kind = (~tcp).astype(np.int64)
        src_port, dst_port = batch.src_port[first], batch.dst_port[first]
        to_watched, from_watched = self._watch[kind, dst_port], self._watch[kind, src_port]
        syn = tcp & ((flags & SYN) != 0)
        by_port = to_watched != from_watched
        lower = tcp & (src_port != dst_port)
        sender_is_client = np.where(syn, (flags & ACK) == 0, np.where(
            by_port, to_watched, np.where(lower, src_port > dst_port, True)))
        role = np.where(syn, 0, np.where(by_port, 1, np.where(lower, 3, 4))).astype(np.uint8)
        return sender_is_client, role, np.where(sender_is_client, to_watched, from_watched)

    def _find_tools(self, batch: SegmentBatch, first: I64, rows: I32) -> None:
        """Notes what the SYNs among some first segments tell of the tools that sent them."""
        probes = np.flatnonzero(self._probed.take(batch.dst_port.take(first)) & (batch.protocol[first] == TCP)
                                & ((batch.flags[first] & (SYN | ACK)) == SYN))
        if probes.size:
            columns, at = self._columns, first[probes]
            columns.tool[rows[probes]] = tools = tool_marks(batch, at)
            columns.traits[rows[probes]] = hand_made(batch, at, tools)

    def begins_watched(self, batch: SegmentBatch, position: int) -> bool:
        """Whether a conversation that begins with this segment goes to a watched port."""
        return bool(self._roles(batch, np.array([position], np.int64))[2][0])
