"""Frames built header by header, and packet batches made of them."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence

import numpy as np

from imapids.config import DecodeLimits
from imapids.decode import Decoder
from imapids.records.packets import CaptureSource, PacketBatch
from imapids.records.segments import ACK, PSH, SYN, DecodeAccount, Encapsulation, EncapsulationTable, SegmentBatch

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
CLIENT6, SERVER6 = "2001:db8::1", "2001:db8::2"
MACS = bytes.fromhex("020000000002020000000001")


def tcp(payload: bytes = b"", sport: int = 40000, dport: int = 143, seq: int = 1, ack: int = 2, flags: int = PSH | ACK,
        window: int = 512, options: bytes = b"") -> bytes:
    offset = 5 + len(options) // 4
    return struct.pack(">HHIIBBHHH", sport, dport, seq, ack, offset << 4, flags, window, 0, 0) + options + payload


def syn(sport: int = 40000, dport: int = 143) -> bytes:
    return tcp(sport=sport, dport=dport, flags=SYN, ack=0)


def udp(payload: bytes = b"", sport: int = 5000, dport: int = 143, length: int | None = None) -> bytes:
    return struct.pack(">HHHH", sport, dport, 8 + len(payload) if length is None else length, 0) + payload


def ip4(payload: bytes, protocol: int = 6, src: str = CLIENT, dst: str = SERVER, options: bytes = b"", ident: int = 7,
        offset: int = 0, more: bool = False, total: int | None = None, ttl: int = 64, ihl: int | None = None) -> bytes:
    header = 20 + len(options)
    return struct.pack(
        ">BBHHHBBH4s4s", 0x40 | (header // 4 if ihl is None else ihl), 0,
        header + len(payload) if total is None else total, ident, more << 13 | offset // 8, ttl, protocol, 0,
        ipaddress.IPv4Address(src).packed, ipaddress.IPv4Address(dst).packed,
    ) + options + payload


def ip6(payload: bytes, following: int = 6, src: str = CLIENT6, dst: str = SERVER6, length: int | None = None,
        hops: int = 64) -> bytes:
    return struct.pack(
        ">IHBB16s16s", 6 << 28, len(payload) if length is None else length, following, hops,
        ipaddress.IPv6Address(src).packed, ipaddress.IPv6Address(dst).packed,
    ) + payload


def extension(following: int, body: bytes = bytes(6)) -> bytes:
    return bytes((following, (len(body) - 6) // 8)) + body


def fragment6(following: int, offset: int, more: bool, ident: int = 7) -> bytes:
    return struct.pack(">BBHI", following, 0, offset | more, ident)


def ethernet(payload: bytes, kind: int = 0x0800) -> bytes:
    return MACS + struct.pack(">H", kind) + payload


def vlan(number: int, following: int = 0x0800, tag_type: int | None = None) -> bytes:
    """The content of a tag and the next type; with `tag_type` also its own type before it."""
    return (b"" if tag_type is None else struct.pack(">H", tag_type)) + struct.pack(">HH", number, following)


def mpls(*labels: int) -> bytes:
    return b"".join(
        struct.pack(">I", label << 12 | (index == len(labels) - 1) << 8 | 64) for index, label in enumerate(labels)
    )


def batch_of(
    frames: Sequence[bytes], link_type: int | Sequence[int] = 1, times_ns: Sequence[int] | None = None,
    originals: Sequence[int] | None = None, first_number: int = 1,
) -> PacketBatch:
    """A batch with some foreign bytes around every frame, as record headers stand around packets."""
    parts, offsets, at = [b"\xee" * 3], [], 3
    for frame in frames:
        offsets.append(at)
        parts += [frame, b"\xee"]
        at += len(frame) + 1
    buffer = np.frombuffer(b"".join(parts)[: at - 1], np.uint8)  # the last frame ends where the buffer ends
    count = len(frames)
    kinds = [link_type] * count if isinstance(link_type, int) else list(link_type)
    return PacketBatch(
        CaptureSource("test", 0), buffer, np.array(offsets, np.int64), np.array([len(f) for f in frames], np.int64),
        np.array([len(f) for f in frames] if originals is None else originals, np.int64),
        np.array([10**9] * count if times_ns is None else times_ns, np.int64),
        np.arange(first_number, first_number + count), np.array(kinds, np.uint16), np.zeros(count, np.uint16),
    )


class Decoded:
    """What a decoder made of some frames, in a form that tests read."""

    def __init__(self, frames: Sequence[bytes], link_type: int | Sequence[int] = 1, *,
                 limits: DecodeLimits | None = None, times_ns: Sequence[int] | None = None,
                 originals: Sequence[int] | None = None, cut: int = 0) -> None:
        table = EncapsulationTable()
        decoder = Decoder(limits or DecodeLimits(), table)
        kinds = [link_type] * len(frames) if isinstance(link_type, int) else list(link_type)
        self.segments: list[dict[str, object]] = []
        self.icmp_errors = []
        step = cut or max(len(frames), 1)
        for at in range(0, len(frames), step):
            some = slice(at, at + step)
            times, sizes = times_ns and times_ns[some], originals and originals[some]
            result = decoder.feed(batch_of(frames[some], kinds[some], times, sizes, at + 1))
            check_account(decoder.account)
            self.segments += readable(result.segments, table)
            self.icmp_errors += result.icmp_errors
        self.held = dict(decoder.account.skipped)
        decoder.finish()
        check_account(decoder.account)
        self.account = decoder.account
        self.paths = table.paths

    @property
    def only(self) -> dict[str, object]:
        assert len(self.segments) == 1, (self.segments, self.account)
        return self.segments[0]


def check_account(account: DecodeAccount) -> None:
    """The law of the account: every packet is a segment or skipped for a reason."""
    assert account.packets == account.segments + sum(account.skipped.values()), account
    assert all(number > 0 for number in account.skipped.values()), account


def address(hi: int, lo: int) -> str:
    if hi == 0 and lo >> 32 == 0xFFFF:
        return str(ipaddress.IPv4Address(lo & 0xFFFFFFFF))
    return str(ipaddress.IPv6Address(hi << 64 | lo))


def readable(segments: SegmentBatch, table: EncapsulationTable) -> list[dict[str, object]]:
    """Segments as dictionaries, with the bytes of their payload and the name of their path."""
    result = []
    for index in range(len(segments)):
        at, size = int(segments.payload[index]), int(segments.captured[index])
        assert at >= 0
        assert size >= 0
        assert at + size <= len(segments.buffer)
        path: Encapsulation = table.paths[int(segments.tunnel[index])]
        result.append({
            "number": int(segments.number[index]), "time_ns": int(segments.time_ns[index]),
            "protocol": int(segments.protocol[index]),
            "src": address(int(segments.src_hi[index]), int(segments.src_lo[index])),
            "dst": address(int(segments.dst_hi[index]), int(segments.dst_lo[index])),
            "sport": int(segments.src_port[index]), "dport": int(segments.dst_port[index]),
            "vlan": path.vlan, "tunnels": path.tunnels, "payload": segments.buffer[at : at + size].tobytes(),
            "length": int(segments.length[index]), "seq": int(segments.seq[index]), "ack": int(segments.ack[index]),
            "flags": int(segments.flags[index]), "window": int(segments.window[index]), "ttl": int(segments.ttl[index]),
            "fragmented": bool(segments.fragmented[index]),
            "ip": segments.buffer[int(segments.ip_offset[index])] >> 4,
            "transport": segments.buffer[int(segments.transport_offset[index]) :][:4].tobytes(),
        })
    return result
