"""Columns of the conversations that are over, for the observers: gathered while the table ends them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imapids import kernels
from imapids.flows.columns import COUNTED, FlowColumns
from imapids.flows.naming import FlowNamer, KeptRows, states_of
from imapids.protocols.mail_services import MAIL_PORTS
from imapids.records.flows import EndedFlows, EndedRows
from imapids.records.packets import I32, I64, U8, U16, U64, Bool
from imapids.records.segments import TCP
from imapids.records.streams import Flow

_KEPT = ("keys", "protocol", "path", "source", "interface", "client_end", "roles", "selected", "first_ns", "last_ns",
         "first_number", "last_number", "first_seq", "packets", "bytes", "flags", "began", "unreachable", "tool",
         "traits")
_MAIL = np.zeros(65_536, np.bool_)
_MAIL[list(MAIL_PORTS)] = True
_MAIL_BITS = np.packbits(_MAIL, bitorder="little")


class EndedFlowsGatherer:
    """Keeps the columns of the rows that ended since it was last asked.

    They are copied at once: a full table may use the row of a conversation again within the batch that ended it.
    """

    def __init__(self, columns: FlowColumns, namer: FlowNamer) -> None:
        self._columns = columns
        self._namer = namer
        self._parts: list[tuple[KeptRows, I64, I64, str]] = []

    def add(self, rows: I32, over_ns: I64, known: I64, reason: str) -> None:
        """Notes rows that are over, where anybody may ask for them."""
        matter = self._matter(rows)
        if not len(matter):
            return
        columns, chosen = self._columns, rows[matter]
        order = _order(columns.first_number[chosen], columns.first_ns[chosen], over_ns[matter], known[matter])
        rows, matter = chosen[order], matter[order]
        kept = KeptRows.of(columns, _KEPT, rows)
        self._parts.append((kept, over_ns[matter], known[matter], reason))

    def _matter(self, rows: I32) -> I64:
        """Which rows `EndedFlows` tells of: nine of ten conversations of ordinary traffic are none of its matter."""
        columns = self._columns
        if kernels.COMPILED:
            found = np.empty(len(rows), np.int64)
            return found[: kernels.compiled.matter_rows(columns, rows, _MAIL_BITS, found)]
        ports = (columns.keys[rows, 4] >> np.uint64(32)).view(np.int64)
        sizes = columns.bytes[rows]
        matter: Bool = (columns.protocol[rows] == TCP) & (sizes[:, 0] + sizes[:, 1] == 0)
        matter |= columns.selected[rows] != COUNTED
        matter |= _MAIL.take(ports & 0xFFFF) | _MAIL.take(ports >> 16)
        return np.flatnonzero(matter)

    def take(self) -> EndedFlows | None:
        """All that ended since the last call, in order; None if nothing did."""
        if not self._parts:
            return None
        parts, self._parts = self._parts, []
        if len(parts) == 1:  # nearly always, and each part is in order
            kept, over_ns, known, reason = parts[0]
            return self.ended(EndedRows(kept.columns, over_ns, known, np.zeros(len(known), np.int64), [reason]))
        kept = KeptRows({name: np.concatenate([part[0].columns[name] for part in parts]) for name in _KEPT})
        over_ns = np.concatenate([part[1] for part in parts])
        known = np.concatenate([part[2] for part in parts])
        reasons = np.repeat(np.arange(len(parts)), [len(part[1]) for part in parts])
        order = _order(kept["first_number"], kept["first_ns"], over_ns, known)
        names = [part[3] for part in parts]
        kept = KeptRows.of(kept, _KEPT, order)
        return self.ended(EndedRows(kept.columns, over_ns[order], known[order], reasons[order], names))

    def ended(self, rows: EndedRows) -> EndedFlows:
        """The record of rows, of this table or of one in another process (with the paths and sources of this one)."""
        kept, reasons, names = KeptRows(rows.columns), rows.reasons, rows.names
        addresses, ports, packets, sizes, flags, states = (_turned_compiled if kernels.COMPILED else _turned)(kept)

        def describe(positions: Sequence[int]) -> list[Flow]:
            chosen = np.asarray(positions, np.int64)
            flows = self._namer.open(chosen, kept)
            self._namer.complete(chosen, flows, [names[reason] for reason in reasons[chosen].tolist()], kept)
            return flows

        return EndedFlows(
            protocol=kept["protocol"],
            client_hi=addresses[0], client_lo=addresses[1], server_hi=addresses[2], server_lo=addresses[3],
            client_port=ports[0], server_port=ports[1], tunnel=kept["path"], state=states,
            first_ns=kept["first_ns"], last_ns=kept["last_ns"], over_ns=rows.over_ns,
            first_number=kept["first_number"], last_number=kept["last_number"], known=rows.known,
            packets=packets, bytes=sizes, flags=flags, unreachable=kept["unreachable"],
            began=kept["began"], roles_by=kept["roles"], selected=kept["selected"], tool=kept["tool"],
            traits=kept["traits"], describe=describe, rows=rows,
        )


def _order(first_number: I64, first_ns: I64, over_ns: I64, known: I64) -> I64:
    """The order of `EndedFlows`."""
    order: I64 = np.lexsort((first_number, first_ns, over_ns, known))
    return order


def _turned(kept: KeptRows) -> tuple[U64, U16, I64, I64, U8, U8]:
    """The columns that stand by ends of the key, the client first.

    Returns:
        (client hi, lo, server hi, lo, shape (4, n); ports, shape (2, n); packets, bytes, flags, shape (n, 2); states).
    """
    keys, client = kept["keys"], kept["client_end"].astype(np.int64)
    swapped = client == 1  # the key's second end is the client
    end = np.stack((client, 1 - client), axis=1)
    line = np.arange(len(keys))[:, None]
    a_port, b_port = (keys[:, 4] >> np.uint64(48)).astype(np.uint16), (keys[:, 4] >> np.uint64(32)).astype(np.uint16)
    addresses = np.where(swapped, keys[:, [2, 3, 0, 1]].T, keys[:, :4].T)
    packets, sizes, flags = (kept[name][line, end] for name in ("packets", "bytes", "flags"))
    return (addresses, np.where(swapped, (b_port, a_port), (a_port, b_port)), packets, sizes, flags,
            states_of(kept["protocol"], packets, sizes, flags, kept["unreachable"]))


def _turned_compiled(kept: KeptRows) -> tuple[U64, U16, I64, I64, U8, U8]:
    count = len(kept["keys"])
    addresses, ports = np.empty((4, count), np.uint64), np.empty((2, count), np.uint16)
    packets, sizes = np.empty((2, count, 2), np.int64)
    flags, states = np.empty((count, 2), np.uint8), np.empty(count, np.uint8)
    kernels.compiled.turn_rows(
        kept["keys"], kept["client_end"], kept["protocol"], kept["packets"], kept["bytes"], kept["flags"],
        kept["unreachable"].view(np.uint8), addresses, ports, packets, sizes, flags, states)
    return addresses, ports, packets, sizes, flags, states
