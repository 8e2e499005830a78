"""Builds segment batches by hand: one line for each segment, in the order of the capture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from imapids.records.packets import CaptureSource
from imapids.records.segments import SEGMENT_COLUMNS, TCP, V4_PREFIX, SegmentBatch

CLIENT = (0x0A000005, 40_000)
SERVER = (0xCB00710A, 143)
START_NS = 1_700_000_000 * 10**9
MS = 10**6
S = 10**9


@dataclass(frozen=True)
class Segment:
    """One TCP segment or UDP datagram; addresses are IPv4 as integers."""

    source: tuple[int, int]
    target: tuple[int, int]
    seq: int = 0
    ack: int = 0
    flags: int = 0x10
    data: bytes = b""
    time_ns: int = START_NS
    length: int | None = None
    """Bytes on the wire, where the snaplen cut."""
    tunnel: int = 0
    protocol: int = TCP


def batch_of(segments: Sequence[Segment], first_number: int = 1, name: str = "test.pcap") -> SegmentBatch:
    """The columns of some segments."""
    blob = bytearray()
    starts = []
    for segment in segments:
        starts.append(len(blob))
        blob += segment.data
    count = len(segments)
    low = int(V4_PREFIX)
    values: dict[str, Iterable[int]] = {
        "number": range(first_number, first_number + count),
        "time_ns": [s.time_ns for s in segments],
        "protocol": [s.protocol for s in segments],
        "src_hi": [0] * count, "src_lo": [low | s.source[0] for s in segments],
        "dst_hi": [0] * count, "dst_lo": [low | s.target[0] for s in segments],
        "src_port": [s.source[1] for s in segments], "dst_port": [s.target[1] for s in segments],
        "tunnel": [s.tunnel for s in segments], "payload": starts,
        "captured": [len(s.data) for s in segments],
        "length": [len(s.data) if s.length is None else s.length for s in segments],
        "seq": [s.seq & 0xFFFFFFFF for s in segments], "ack": [s.ack & 0xFFFFFFFF for s in segments],
        "flags": [s.flags for s in segments], "window": [8192] * count, "ttl": [64] * count,
        "ip_offset": [0] * count, "transport_offset": [0] * count, "fragmented": [0] * count,
    }
    types = {"number": np.int64, "time_ns": np.int64, "protocol": np.uint8, "tunnel": np.uint32, "payload": np.int64,
             "captured": np.int64, "length": np.int64, "seq": np.uint32, "ack": np.uint32, "flags": np.uint8,
             "window": np.uint16, "ttl": np.uint8, "ip_offset": np.int64, "transport_offset": np.int64,
             "fragmented": np.bool_, "src_port": np.uint16, "dst_port": np.uint16}
    columns = [np.array(list(values[column]), types.get(column, np.uint64)) for column in SEGMENT_COLUMNS]
    return SegmentBatch(CaptureSource(name, 0), np.frombuffer(bytes(blob) + b"\0" * 16, np.uint8), *columns)


class Talk:
    """Writes the segments of one conversation."""

    def __init__(self, client: tuple[int, int] = CLIENT, server: tuple[int, int] = SERVER, *,
                 client_isn: int = 1000, server_isn: int = 9000, start_ns: int = START_NS, step_ns: int = 10 * MS,
                 tunnels: tuple[int, int] = (0, 0)) -> None:
        self.ends = (client, server)
        self.seq = [client_isn, server_isn]
        self.now = start_ns
        self.step_ns = step_ns
        self.tunnels = tunnels
        self.segments: list[Segment] = []

    def send(self, side: int, flags: int, data: bytes = b"", *, length: int | None = None) -> Segment:
        """One segment of a side (0 client, 1 server) with the next sequence number."""
        ack = self.seq[1 - side] if flags & 0x10 else 0
        segment = Segment(self.ends[side], self.ends[1 - side], self.seq[side], ack, flags, data, self.now, length,
                          self.tunnels[side])
        self.seq[side] += (len(data) if length is None else length) + bool(flags & 0x03)
        self.now += self.step_ns
        self.segments.append(segment)
        return segment

    def open(self) -> Talk:
        """The handshake."""
        self.send(0, 0x02)
        self.send(1, 0x12)
        self.send(0, 0x10)
        return self

    def say(self, side: int, data: bytes, size: int = 1460) -> Talk:
        """Payload of a side, cut into segments, each acknowledged."""
        for start in range(0, len(data), size):
            self.send(side, 0x18, data[start : start + size])
            self.send(1 - side, 0x10)
        return self

    def close(self) -> Talk:
        """FIN of both sides."""
        self.send(0, 0x11)
        self.send(1, 0x11)
        self.send(0, 0x10)
        return self
