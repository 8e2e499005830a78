"""Columns of the conversations that are over, for the observers: gathered while the table ends them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imapids.flows.columns import FlowColumns
from imapids.flows.naming import FlowNamer
from imapids.records.flows import CLOSED, OPEN, REJECTED, SILENT, EndedFlows
from imapids.records.packets import I32, I64, U8, Bool
from imapids.records.segments import FIN, RST, SYN, TCP
from imapids.records.streams import Flow


class EndedFlowsGatherer:
    """Keeps which rows ended since it was last asked; their columns stay as they are until the next batch."""

    def __init__(self, columns: FlowColumns, namer: FlowNamer) -> None:
        self._columns = columns
        self._namer = namer
        self._parts: list[tuple[I32, I64, I64, str]] = []

    def add(self, rows: I32, over_ns: I64, known: I64, reason: str) -> None:
        """Notes rows that are over."""
        if len(rows):
            self._parts.append((rows, over_ns, known, reason))

    def take(self) -> EndedFlows | None:
        """All that ended since the last call, in order; None if nothing did."""
        if not self._parts:
            return None
        parts, self._parts = self._parts, []
        rows = np.concatenate([part[0] for part in parts])
        over_ns = np.concatenate([part[1] for part in parts])
        known = np.concatenate([part[2] for part in parts])
        reasons = np.concatenate([np.full(len(part[0]), number) for number, part in enumerate(parts)])
        order = np.lexsort((self._columns.first_number[rows], over_ns, known))
        names = [part[3] for part in parts]
        return self._ended(rows[order], over_ns[order], known[order], reasons[order], names)

    def _ended(self, rows: I32, over_ns: I64, known: I64, reasons: I64, names: list[str]) -> EndedFlows:
        columns = self._columns
        keys, client = columns.keys[rows], columns.client_end[rows].astype(np.int64)
        swapped = client == 1  # the key's second end is the client
        end = np.stack((client, 1 - client), axis=1)
        line = np.arange(len(rows))[:, None]
        ports = ((keys[:, 4] >> np.uint64(48)).astype(np.uint16), (keys[:, 4] >> np.uint64(32)).astype(np.uint16))
        packets: I64 = columns.packets[rows][line, end]
        sizes: I64 = columns.bytes[rows][line, end]
        flags: U8 = columns.flags[rows][line, end]

        def describe(positions: Sequence[int]) -> list[Flow]:
            chosen = rows[np.asarray(positions, np.int64)]
            flows = self._namer.open(chosen)
            for number, (flow, position) in enumerate(zip(flows, positions, strict=True)):
                self._namer.complete(chosen[number : number + 1], [flow], names[int(reasons[position])])
            return flows

        return EndedFlows(
            protocol=columns.protocol[rows],
            client_hi=np.where(swapped, keys[:, 2], keys[:, 0]), client_lo=np.where(swapped, keys[:, 3], keys[:, 1]),
            server_hi=np.where(swapped, keys[:, 0], keys[:, 2]), server_lo=np.where(swapped, keys[:, 1], keys[:, 3]),
            client_port=np.where(swapped, ports[1], ports[0]), server_port=np.where(swapped, ports[0], ports[1]),
            tunnel=columns.path[rows], state=_states(columns.protocol[rows], packets, sizes, flags,
                                                     columns.unreachable[rows]),
            first_ns=columns.first_ns[rows], last_ns=columns.last_ns[rows], over_ns=over_ns,
            first_number=columns.first_number[rows], last_number=columns.last_number[rows], known=known,
            packets=packets, bytes=sizes, flags=flags, unreachable=columns.unreachable[rows],
            began=columns.began[rows], roles_by=columns.roles[rows], selected=columns.selected[rows],
            describe=describe,
        )


def _states(protocol: U8, packets: I64, sizes: I64, flags: U8, unreachable: Bool) -> U8:
    """The twin of naming's `_state` for columns."""
    refused = (protocol == TCP) & ((flags[:, 1] & (RST | SYN)) == RST) & (sizes[:, 1] == 0) & ((flags[:, 0] & SYN) != 0)
    unanswered = packets[:, 1] == 0
    rejected = refused | (unreachable & unanswered)
    silent = unanswered & (sizes[:, 0] == 0)
    closed = ((flags[:, 0] | flags[:, 1]) & (FIN | RST)) != 0
    states: U8 = np.select([rejected, silent, closed], [REJECTED, SILENT, CLOSED], OPEN).astype(np.uint8)
    return states
