"""Makes the records of selected flows out of the columns: who, where, since when, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from imapids.flows.columns import PEEKED, ROLES, WATCHED, FlowColumns
from imapids.protocols.addresses import address_bytes, address_text
from imapids.protocols.identifiers import community_id, flow_hash
from imapids.records.packets import I32, I64, CaptureSource
from imapids.records.segments import FIN, RST, SYN, TCP, EncapsulationTable
from imapids.records.streams import Flow

Direction = Callable[[int, int, int, int], str]
"""Names the direction of a flow from (client hi, lo, server hi, lo)."""

_AT_FIRST = ("keys", "client_end", "path", "source", "interface", "selected", "roles", "first_ns", "first_number",
             "first_seq", "began")
_AT_LAST = ("last_number", "last_ns", "client_end", "packets", "bytes", "flags", "unreachable")


class KeptRows:
    """Copies of some columns of some rows, for what is told of them after the rows are used again."""

    __slots__ = ("columns",)

    def __init__(self, columns: dict[str, npt.NDArray[Any]]) -> None:
        self.columns = columns

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.columns[name]


class FlowNamer:
    """Turns rows into records, many at a time: single reads of columns cost more than the records."""

    def __init__(self, columns: FlowColumns, encapsulations: EncapsulationTable, sources: list[CaptureSource],
                 direction: Direction | None) -> None:
        self.columns = columns
        self._encapsulations = encapsulations
        self._sources = sources
        self._direction = direction

    def open(self, rows: I32 | I64, kept: KeptRows | None = None) -> list[Flow]:
        """Records of flows that were just selected, or that end without payload (rows of the table, or of `kept`)."""
        source = self.columns if kept is None else kept
        fields = [source[name][rows].tolist() for name in _AT_FIRST]
        return [self._record(*row) for row in zip(*fields, strict=True)]

    def _record(self, key: list[int], client_end: int, path_number: int, source: int, interface: int, selected: int,
                roles: int, start: int, first_number: int, first_seq: int, began: bool) -> Flow:
        a_hi, a_lo, b_hi, b_lo, rest = key
        protocol, a_port, b_port = rest & 0xFF, rest >> 48, rest >> 32 & 0xFFFF
        path = self._encapsulations.paths[path_number]
        a, b = address_bytes(a_hi, a_lo), address_bytes(b_hi, b_lo)
        identity = b"%b%b%b%b%b" % (a, b, rest.to_bytes(8, "big")[:4], start.to_bytes(8, "big", signed=True),
                                    (first_seq << 8 | protocol).to_bytes(5, "big"))
        if path_number:
            identity += repr((path.vlan, path.tunnels)).encode()
        client_hi, client_lo, client_port, server_hi, server_lo, server_port = (
            (b_hi, b_lo, b_port, a_hi, a_lo, a_port) if client_end else (a_hi, a_lo, a_port, b_hi, b_lo, b_port))
        return Flow(
            protocol="TCP" if protocol == TCP else "UDP",
            client=address_text(client_hi, client_lo), client_port=client_port,
            server=address_text(server_hi, server_lo), server_port=server_port,
            vlan=path.vlan, tunnels=path.tunnels, source=self._sources[source].name,
            interface=_name_at(self._sources[source].interfaces, interface), flow_id=flow_hash(identity),
            community_id=community_id(protocol, a, a_port, b, b_port), watched=selected == WATCHED,
            peeked=selected == PEEKED,
            direction=self._direction(client_hi, client_lo, server_hi, server_lo) if self._direction else "unknown",
            midstream=not began, roles_by=ROLES[roles], first_packet=first_number, start_ns=start,
            anomalies={}, limits=[],
        )

    def complete(self, rows: I32 | I64, flows: list[Flow], reason: str, kept: KeptRows | None = None) -> None:
        """Fills in what is known of flows when they are over."""
        source = self.columns if kept is None else kept
        fields = [source[name][rows].tolist() for name in _AT_LAST]
        for flow, packet, last_ns, client, packets, sizes, flags, unreachable in zip(flows, *fields, strict=True):
            server = 1 - client
            flow.end_ns, flow.last_packet = last_ns, packet
            flow.packets_client, flow.packets_server = packets[client], packets[server]
            flow.bytes_client, flow.bytes_server = sizes[client], sizes[server]
            flow.flags_client, flow.flags_server = flags[client], flags[server]
            flow.state, flow.end_reason = _state(flow, unreachable), _ended(flow, reason)


def _name_at(names: list[str], number: int) -> str:
    """The capture's name of an interface, "" where it tells none."""
    return names[number] if number < len(names) else ""


def _state(flow: Flow, unreachable: bool) -> str:
    """open, closed, rejected or silent: what the flags of a flow's packets say of it."""
    either = flow.flags_client | flow.flags_server
    refused = flow.flags_server & (RST | SYN) == RST and not flow.bytes_server and flow.flags_client & SYN
    if (refused and flow.protocol == "TCP") or (unreachable and not flow.packets_server):
        return "rejected"
    if not flow.packets_server and not flow.bytes_client:
        return "silent"
    return "closed" if either & (FIN | RST) else "open"


def _ended(flow: Flow, reason: str) -> str:
    """Why a flow is over: its own close counts more than the timeout that found it closed."""
    either = flow.flags_client | flow.flags_server
    if reason in ("idle", "end-of-capture") and either & (FIN | RST):
        return "rst" if either & RST else "fin"
    return reason
