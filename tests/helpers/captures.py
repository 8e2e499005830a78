"""Small writers of pcap, pcapng and snoop files, and a slow reader to compare with."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imapids.capture import open_captures
from imapids.config import CaptureLimits
from imapids.errors import InputError
from imapids.records.packets import PacketBatch, SourceAccount

START_S = 1_700_000_000


@dataclass(frozen=True)
class Packet:
    """What goes into a capture, and what must come out of it."""

    data: bytes
    time_ns: int = START_S * 10**9
    original: int | None = None


def packets(count: int, size: int = 60, step_ns: int = 10**6) -> list[Packet]:
    """Packets of different contents, a fixed time apart."""
    return [Packet(bytes([i % 251]) * size, START_S * 10**9 + i * step_ns) for i in range(count)]


# ---- classic pcap and snoop ------------------------------------------------------------------------------------------


def pcap_header(
    order: str = "<", nano: bool = False, modified: bool = False, snaplen: int = 65535, link_type: int = 1,
    version: tuple[int, int] = (2, 4),
) -> bytes:
    magic = 0xA1B2CD34 if modified else 0xA1B23C4D if nano else 0xA1B2C3D4
    return struct.pack(order + "IHHiIII", magic, *version, 0, 0, snaplen, link_type)


def pcap_record(
    packet: Packet, order: str = "<", nano: bool = False, modified: bool = False, swapped: bool = False
) -> bytes:
    seconds, rest = divmod(packet.time_ns, 10**9)
    lengths = [len(packet.data), len(packet.data) if packet.original is None else packet.original]
    if swapped:
        lengths.reverse()
    head = struct.pack(order + "IIII", seconds, rest if nano else rest // 1000, *lengths)
    return head + (struct.pack(order + "IHBB", 3, 2, 1, 0) if modified else b"") + packet.data


def pcap(
    content: Iterable[Packet], order: str = "<", nano: bool = False, modified: bool = False, **header: int
) -> bytes:
    records = (pcap_record(packet, order, nano, modified) for packet in content)
    return pcap_header(order, nano, modified, **header) + b"".join(records)  # type: ignore[arg-type]


def snoop(content: Iterable[Packet], datalink: int = 4) -> bytes:
    parts = [b"snoop\0\0\0" + struct.pack(">II", 2, datalink)]
    for packet in content:
        seconds, rest = divmod(packet.time_ns, 10**9)
        pad = -len(packet.data) % 4
        original = len(packet.data) if packet.original is None else packet.original
        captured = len(packet.data)
        parts.append(struct.pack(">IIIIII", original, captured, 24 + captured + pad, 0, seconds, rest // 1000))
        parts.append(packet.data + b"\0" * pad)
    return b"".join(parts)


# ---- pcapng ----------------------------------------------------------------------------------------------------------


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += b"\0" * (-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def section(order: str = "<", version: tuple[int, int] = (1, 0)) -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, *version, -1), order)


def interface(
    order: str = "<", link_type: int = 1, snaplen: int = 0, name: str = "", tsresol: int | None = None,
    tsoffset: int | None = None,
) -> bytes:
    options = option(2, name.encode(), order) if name else b""
    options += b"" if tsresol is None else option(9, bytes([tsresol]), order)
    options += b"" if tsoffset is None else option(14, struct.pack(order + "q", tsoffset), order)
    return block(1, struct.pack(order + "HHI", link_type, 0, snaplen) + options + option(0, b"", order), order)


def enhanced(packet: Packet, order: str = "<", iface: int = 0, per_second: int = 10**6, options: bytes = b"") -> bytes:
    ticks = packet.time_ns * per_second // 10**9
    original = len(packet.data) if packet.original is None else packet.original
    head = struct.pack(order + "IIIII", iface, ticks >> 32, ticks & 0xFFFFFFFF, len(packet.data), original)
    return block(6, head + packet.data + b"\0" * (-len(packet.data) % 4) + options, order)


def obsolete(packet: Packet, order: str = "<", iface: int = 0) -> bytes:
    ticks = packet.time_ns // 1000
    original = len(packet.data) if packet.original is None else packet.original
    head = struct.pack(order + "HHIIII", iface, 7, ticks >> 32, ticks & 0xFFFFFFFF, len(packet.data), original)
    return block(2, head + packet.data, order)


def simple(packet: Packet, order: str = "<") -> bytes:
    original = len(packet.data) if packet.original is None else packet.original
    return block(3, struct.pack(order + "I", original) + packet.data, order)


def pcapng(content: Iterable[Packet], order: str = "<") -> bytes:
    return section(order) + interface(order) + b"".join(enhanced(packet, order) for packet in content)


# ---- reading back ----------------------------------------------------------------------------------------------------


@dataclass
class Read:
    """Everything that a run over captures gave."""

    data: list[bytes] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    originals: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    link_types: list[int] = field(default_factory=list)
    interfaces: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    batches: int = 0
    accounts: list[SourceAccount] = field(default_factory=list)
    error: InputError | None = None

    @property
    def account(self) -> SourceAccount:
        """The only account."""
        assert len(self.accounts) == 1
        return self.accounts[0]


def read(*paths: Path | str, **limits: int) -> Read:
    """Read captures to their end, with limits as named."""
    reader = open_captures([str(path) for path in paths], limits=CaptureLimits(**limits))
    result = Read()
    try:
        for batch in reader:
            add_batch(result, batch)
    except InputError as error:
        result.error = error
    result.accounts = reader.accounts
    return result


def add_batch(result: Read, batch: PacketBatch) -> None:
    """Copy what a batch holds."""
    result.batches += 1
    for start, length in zip(batch.offset.tolist(), batch.captured.tolist(), strict=True):
        assert 0 <= start <= start + length <= len(batch.buffer)
        result.data.append(batch.buffer[start : start + length].tobytes())
    result.times += batch.time_ns.tolist()
    result.originals += batch.original.tolist()
    result.numbers += batch.number.tolist()
    result.link_types += batch.link_type.tolist()
    result.interfaces += [batch.source.interfaces[i] for i in batch.interface.tolist()]
    result.sources += [batch.source.name] * len(batch)


def same(result: Read, content: Sequence[Packet]) -> bool:
    """Whether exactly these packets came out (times to the microsecond)."""
    return (
        result.data == [packet.data for packet in content]
        and [t // 1000 for t in result.times] == [packet.time_ns // 1000 for packet in content]
    )
