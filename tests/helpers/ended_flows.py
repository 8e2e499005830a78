"""Ended flows for the observers, from a few words a row: who, whom, which port, and how it went."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imapids.protocols.addresses import parse_address
from imapids.records.flows import STATES, EndedFlows
from imapids.records.segments import ACK, FIN, PSH, RST, SYN, TCP, UDP, URG
from imapids.records.streams import Flow

SECOND = 10**9

# flags of both sides, packets, payload bytes, state
WAYS: dict[str, tuple[int, int, tuple[int, int], tuple[int, int], str]] = {
    "silent": (SYN, 0, (1, 0), (0, 0), "silent"),
    "refused": (SYN, RST | ACK, (1, 1), (0, 0), "rejected"),
    "half-open": (SYN | RST, SYN | ACK, (2, 1), (0, 0), "closed"),
    "connect": (SYN | ACK | FIN, SYN | ACK | FIN, (4, 3), (0, 0), "closed"),
    "banner": (SYN | ACK | FIN, SYN | ACK | FIN | PSH, (4, 4), (0, 40), "closed"),
    "talk": (SYN | ACK | FIN | PSH, SYN | ACK | FIN | PSH, (9, 9), (90, 400), "closed"),
    "fin": (FIN, 0, (1, 0), (0, 0), "silent"),
    "null": (0, RST | ACK, (1, 1), (0, 0), "closed"),
    "xmas": (FIN | PSH | URG, RST | ACK, (1, 1), (0, 0), "closed"),
    "ack": (ACK, RST, (1, 1), (0, 0), "closed"),
    "udp": (0, 0, (1, 0), (12, 0), "open"),
    "udp-answered": (0, 0, (1, 1), (12, 30), "open"),
    "one-sided": (SYN | ACK | PSH, 0, (9, 0), (90, 0), "open"),
    "tail": (ACK | FIN, ACK, (2, 2), (0, 0), "closed"),
}


@dataclass
class Row:
    """One conversation."""

    client: str
    server: str
    port: int = 143
    way: str = "silent"
    at: float = 0.0
    """Seconds of its start."""
    tool: int = 0
    traits: int = 0
    source_port: int = 40_000
    selected: int = 1
    known: int | None = None
    """Frame number that showed the end; its own number where none is given."""


def ended_flows(rows: Sequence[Row], first: int = 1) -> EndedFlows:
    """The record of some conversations; they begin in packets `first`, `first` + 1 ..."""
    clients = [parse_address(row.client) for row in rows]
    servers = [parse_address(row.server) for row in rows]
    ways = [WAYS[row.way] for row in rows]
    starts = np.array([round(row.at * SECOND) for row in rows], np.int64)
    numbers = np.arange(first, first + len(rows))

    def describe(positions: Sequence[int]) -> list[Flow]:
        return [Flow(
            protocol="UDP" if rows[i].way.startswith("udp") else "TCP", client=rows[i].client,
            client_port=rows[i].source_port, server=rows[i].server, server_port=rows[i].port, flow_id=first + i,
            first_packet=first + i,
            start_ns=int(starts[i]), bytes_server=ways[i][3][1]) for i in positions]

    def column(values: Sequence[Any], kind: type) -> Any:
        return np.array(values, kind)

    return EndedFlows(
        protocol=column([UDP if row.way.startswith("udp") else TCP for row in rows], np.uint8),
        client_hi=column([hi for hi, _ in clients], np.uint64), client_lo=column([lo for _, lo in clients], np.uint64),
        server_hi=column([hi for hi, _ in servers], np.uint64), server_lo=column([lo for _, lo in servers], np.uint64),
        client_port=column([row.source_port for row in rows], np.uint16),
        server_port=column([row.port for row in rows], np.uint16),
        tunnel=np.zeros(len(rows), np.uint32), state=column([STATES.index(way[4]) for way in ways], np.uint8),
        first_ns=starts, last_ns=starts + SECOND // 10, over_ns=starts + 10 * SECOND, first_number=numbers,
        last_number=numbers, known=column([numbers[i] if row.known is None else row.known
                                           for i, row in enumerate(rows)], np.int64),
        packets=column([way[2] for way in ways], np.int64).reshape(-1, 2),
        bytes=column([way[3] for way in ways], np.int64).reshape(-1, 2),
        flags=column([way[:2] for way in ways], np.uint8).reshape(-1, 2),
        unreachable=np.zeros(len(rows), np.bool_),
        began=column([bool(way[0] & SYN) or row.way.startswith("udp") for row, way in zip(rows, ways, strict=True)],
                     np.bool_),
        roles_by=np.zeros(len(rows), np.uint8), selected=column([row.selected for row in rows], np.uint8),
        tool=column([row.tool for row in rows], np.uint8),
        traits=column([row.traits for row in rows], np.uint64), describe=describe)


def parts(ended: EndedFlows, cuts: Sequence[int]) -> list[EndedFlows]:
    """The same conversations as several records, cut before some positions."""
    edges = [0, *sorted(set(cuts)), len(ended)]
    found = []
    for start, stop in itertools.pairwise(edges):
        if start < stop:
            columns = {name: column[start:stop] for name in EndedFlows.__struct_fields__
                       if isinstance(column := getattr(ended, name), np.ndarray)}
            found.append(EndedFlows(**columns, describe=lambda positions, start=start: ended.describe(
                [start + position for position in positions])))
    return found
