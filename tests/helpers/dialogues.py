"""Captures of written TCP dialogues: each turn one or more segments, each connection opened and closed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from helpers.captures import START_S, Packet, pcap
from helpers.frames import ethernet, ip4, tcp

from imapids.records.segments import ACK, FIN, PSH, SYN
from imapids.records.streams import CLIENT

Turn = tuple[int, bytes]
"""Who speaks (0 the client, 1 the server), and what."""


def packets_of(turns: Iterable[Turn], *, client: str = "10.0.0.5", server: str = "203.0.113.10",
               client_port: int = 40_000, server_port: int = 143, segment_bytes: int = 1_400,
               start_ns: int = START_S * 10**9, opened: bool = True) -> list[Packet]:
    """The packets of one connection, ten milliseconds apart; without `opened` the capture begins mid-stream."""
    sequence = [1_000, 9_000]
    found: list[Packet] = []

    def send(side: int, flags: int, data: bytes = b"") -> None:
        ends = (client, server) if side == CLIENT else (server, client)
        ports = (client_port, server_port) if side == CLIENT else (server_port, client_port)
        segment = tcp(data, *ports, seq=sequence[side], ack=sequence[1 - side] if flags & ACK else 0, flags=flags)
        found.append(Packet(ethernet(ip4(segment, src=ends[0], dst=ends[1])), start_ns + len(found) * 10**7))
        sequence[side] += len(data) + bool(flags & (SYN | FIN))

    if opened:
        for side, flags in ((0, SYN), (1, SYN | ACK), (0, ACK)):
            send(side, flags)
    for side, data in turns:
        for start in range(0, len(data), segment_bytes):
            send(side, PSH | ACK, data[start : start + segment_bytes])
            send(1 - side, ACK)
    for side, flags in ((0, FIN | ACK), (1, FIN | ACK), (0, ACK)):
        send(side, flags)
    return found


def capture_of(dialogues: Sequence[Sequence[Turn]], *, gap_ns: int = 10**9, **fields: int) -> bytes:
    """A capture of dialogues one after the other, each from a client port of its own."""
    content: list[Packet] = []
    for number, turns in enumerate(dialogues):
        start = content[-1].time_ns + gap_ns if content else START_S * 10**9
        content += packets_of(turns, client_port=20_000 + number, start_ns=start, **fields)
    return pcap(content)
