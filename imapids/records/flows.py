"""flows -> observe: conversations that are over and that scans or exposure may ask for, as columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy.typing as npt

from imapids.records.packets import I64, U8, U16, U32, U64, Bool
from imapids.records.streams import Flow

OPEN, CLOSED, REJECTED, SILENT = range(4)
STATES = ("open", "closed", "rejected", "silent")
"""Names of `EndedFlows.state` (see streams.Flow.state)."""


class EndedFlows(msgspec.Struct, eq=False):
    """Conversations that ended: those with a mail port at either end, those whose bytes were delivered, and the TCP
    connections to any port in which nobody said anything. Columns have shape (n,), or (n, 2) with the client's value
    first.

    They stand in one order however the packets were cut into batches: by `known`, then `over_ns`, `first_ns`,
    `first_number`.
    The order goes on from one record to the next. All of it is copied: it may be kept.
    """

    protocol: U8
    """6 TCP, 17 UDP."""
    client_hi: U64
    client_lo: U64
    """128 bits of the client's address in two columns; IPv4 stands as IPv4-mapped (segments.V4_PREFIX)."""
    server_hi: U64
    server_lo: U64
    client_port: U16
    server_port: U16
    tunnel: U32
    """Index into `EncapsulationTable.paths`."""
    state: U8
    """Index into `STATES`."""
    first_ns: I64
    last_ns: I64
    """Times of the first and the last packet."""
    over_ns: I64
    """When the conversation counted as over: its timeout, or the end of the capture."""
    first_number: I64
    last_number: I64
    known: I64
    """Frame number of the packet (of any flow) whose time showed the end."""
    packets: I64
    bytes: I64
    """Payload bytes on the wire."""
    flags: U8
    """TCP flags of all packets of the side, or-ed."""
    unreachable: Bool
    """An ICMP error was about this flow."""
    began: Bool
    """The start of the conversation is in the capture (always true for UDP)."""
    roles_by: U8
    """How client and server were told apart: index into flows.columns.ROLES (0: by a SYN)."""
    selected: U8
    """0 only counted, 1 on a watched port, 2 found by its greeting, 3 on a mail port that is peeked at."""
    tool: U8
    """The scanning tool whose mark the SYN to a mail port bears: index into scan_tools.TOOLS, 0 for none."""
    traits: U64
    """What is constant in the SYN packets of one program, where no ordinary stack made the SYN to a mail port: see
    scan_tools.hand_made; 0 for none."""
    describe: Callable[[Sequence[int]], list[Flow]]
    """Makes full records of the conversations at some positions: few, they cost 10 us each."""

    rows: EndedRows | None = None
    """The same as the flow table keeps it, for other processes."""

    def __len__(self) -> int:
        return len(self.protocol)


class EndedRows(msgspec.Struct, eq=False):
    """Ended conversations as a flow table keeps them: plain columns, which the table of another process understands."""

    columns: dict[str, npt.NDArray[Any]]
    """Columns of the table by name; `path` and `source` are numbers in the tables of the process that made them."""
    over_ns: I64
    known: I64
    reasons: I64
    """Index into `names`."""
    names: list[str]
    """Why they ended (see streams.Flow.end_reason)."""
