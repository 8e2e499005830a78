"""TCP and UDP headers: the end of the way; and the hand-over to tunnels and ICMP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from imapids.decode.columns import Rows, header_words
from imapids.decode.icmp import decode_icmp
from imapids.decode.ip_tunnels import IP_TUNNELS, enter_ip_tunnel
from imapids.decode.tunnel_ports import TunnelPorts
from imapids.decode.udp_tunnels import enter_udp_tunnel
from imapids.decode.work import Work
from imapids.protocols import ip_headers as ip
from imapids.records.packets import I64, U32, U64, Bool

Column = I64 | U32 | U64


@dataclass(slots=True)
class Addresses:
    """Of the innermost IP header. Columns have shape (n,); the upper halves may be the number 0 for plain IPv4."""

    src_hi: U64 | int
    src_lo: U64
    dst_hi: U64 | int
    dst_lo: U64
    ttl: I64 | U32
    at: I64
    """Offset of the IP header."""

    def columns(self) -> tuple[I64, I64, I64, I64]:
        """Source and destination halves."""
        return cast("tuple[I64, I64, I64, I64]", (self.src_hi, self.src_lo, self.dst_hi, self.dst_lo))

    def select(self, keep: Bool | I64) -> Addresses:
        """The rows that a mask or an index column picks."""
        src_hi, dst_hi = cast("U64", self.src_hi), cast("U64", self.dst_hi)
        return Addresses(src_hi[keep], self.src_lo[keep], dst_hi[keep], self.dst_lo[keep], self.ttl[keep],
                         self.at[keep])

    def with_destination(self, hi: U64, lo: U64) -> Addresses:
        """The same packets to another destination."""
        return Addresses(self.src_hi, self.src_lo, hi, lo, self.ttl, self.at)

    @staticmethod
    def join(parts: list[Addresses]) -> Addresses:
        """Several groups as one."""
        return Addresses(*(np.concatenate([getattr(part, name) for part in parts]) for name in Addresses.__slots__))


def is_plain(tunnels: TunnelPorts, protocol: U32, words: U32, length: I64, room: I64) -> Bool:
    """Whether whole TCP or UDP headers stand here: lengths agree and no tunnel port is named.

    `words` are the header's first four 32-bit words, shape (4, n); `length` the announced and `room` the captured
    bytes from the header on.
    """
    tcp, udp = protocol == ip.TCP, protocol == ip.UDP
    header = words[3] >> 28 << 2
    good: Bool = tcp & (header >= 20) & (header <= length) & (room >= 20)
    pick = np.flatnonzero(udp)
    if len(pick):
        ports, told = words[0, pick], words[1, pick] >> 16
        tunnel = tunnels.suspects(ports, words[2, pick], words[3, pick], told)
        good[pick] = (told >= 8) & (told <= length[pick]) & (room[pick] >= 8) & ~tunnel
    return good


def emit_plain(
    work: Work, rows: Rows, addresses: Addresses, protocol: U32, words: U32, header: int, length: U32,
) -> None:
    """Segments of packets for which `is_plain` holds.

    `header` is the length of the IP header, `length` the announced bytes behind it.
    """
    tcp = protocol == ip.TCP
    size = words[3] >> 28 << 2
    if not tcp.all():
        size = np.where(tcp, size, np.uint32(8))
        length = np.where(tcp, length, words[1] >> 16)
        words = np.vstack((words[:1], words[1:] * tcp))
    _emit(work, rows, addresses, protocol, words, rows.at + header, size, length)


def _emit(
    work: Work, rows: Rows, addresses: Addresses, protocol: Column, words: U32, at: I64, size: Column, length: Column,
) -> None:
    """Write segments: TCP or UDP headers of `size` bytes at `at`, `length` announced bytes from there.

    `words` are the first four words of TCP headers, the last three zero for UDP.
    """
    out, room, base = work.segments, work.segments.take(len(rows)), work.base
    out.row[room] = rows.row
    out.protocol[room] = protocol
    out.src_hi[room] = addresses.src_hi
    out.src_lo[room] = addresses.src_lo
    out.dst_hi[room] = addresses.dst_hi
    out.dst_lo[room] = addresses.dst_lo
    out.src_port[room] = words[0] >> 16
    out.dst_port[room] = words[0] & 0xFFFF
    out.tunnel[room] = rows.path
    payload = at + size
    out.length[room] = length - size
    held = np.minimum(rows.end - payload, out.length[room])
    np.maximum(held, 0, out=out.captured[room])
    out.seq[room] = words[1]
    out.ack[room] = words[2]
    out.flags[room] = words[3] >> 16 & 0x3F
    out.window[room] = words[3] & 0xFFFF
    out.ttl[room] = addresses.ttl
    payload = np.minimum(payload, rows.end)
    out.payload[room] = payload + base if base else payload
    out.ip_offset[room] = addresses.at + base if base else addresses.at
    out.transport_offset[room] = at + base if base else at


def decode_upper(work: Work, rows: Rows, addresses: Addresses, protocol: I64, version: int) -> None:
    """What an IP header of this version carries, for packets that are not plain."""
    tcp, udp = protocol == ip.TCP, protocol == ip.UDP
    if tcp.any():
        _decode_tcp(work, rows.select(tcp), addresses.select(tcp))
    if udp.any():
        _decode_udp(work, rows.select(udp), addresses.select(udp))
    rest = ~(tcp | udp)
    if not rest.any():
        return
    rows, addresses, protocol = rows.select(rest), addresses.select(rest), protocol[rest]
    icmp = protocol == (ip.ICMP if version == 4 else ip.ICMPV6)
    if icmp.any():
        src_hi, src_lo, _, _ = addresses.select(icmp).columns()
        decode_icmp(work, rows.select(icmp), src_hi, src_lo, version)
    tunnel = IP_TUNNELS[protocol] & ~icmp
    if tunnel.any():
        enter_ip_tunnel(work, rows.select(tunnel), protocol[tunnel], version)
    rest = ~(icmp | tunnel)
    work.skip_each("ip-protocol", protocol[rest], ip.PROTOCOL_NAMES, rows.select(rest))


def _decode_tcp(work: Work, rows: Rows, addresses: Addresses) -> None:
    """TCP behind odd IP headers, or odd itself (RFC 9293 section 3.1)."""
    whole = rows.end - rows.at >= 20
    short = ~whole & (rows.wire - rows.at < 20)
    work.skip("bad-tcp-header", rows.select(short))
    work.skip("cut-header", rows.select(~whole & ~short))
    rows, addresses = rows.select(whole), addresses.select(whole)
    words = header_words(work.data, rows.at, 4)
    size = (words[3] >> 28 << 2).astype(np.int64)
    good = (size >= 20) & (size <= rows.wire - rows.at)
    if not good.all():
        work.skip("bad-tcp-header", rows.select(~good))
        rows, addresses, words, size = rows.select(good), addresses.select(good), words[:, good], size[good]
    _emit(work, rows, addresses, np.full(len(rows), ip.TCP), words, rows.at, size, rows.wire - rows.at)


def _decode_udp(work: Work, rows: Rows, addresses: Addresses) -> None:
    """UDP behind odd IP headers, with an odd length, or on the port of a tunnel (RFC 768)."""
    whole = rows.end - rows.at >= 8
    short = ~whole & (rows.wire - rows.at < 8)
    work.skip("bad-udp-length", rows.select(short))
    work.skip("cut-header", rows.select(~whole & ~short))
    rows, addresses = rows.select(whole), addresses.select(whole)
    words = header_words(work.data, rows.at, 4)
    told = (words[1] >> 16).astype(np.int64)
    rest = rows.wire - rows.at
    good = (told >= 8) | (told == 0)
    work.skip("bad-udp-length", rows.select(~good))
    # Zero is a datagram above 64 KiB (RFC 2675 section 4) or an offloaded one; too long is a lie that changes nothing.
    work.note("udp-length-zero", np.count_nonzero(told == 0))
    work.note("udp-length-past-ip", np.count_nonzero(told > rest))
    length = np.where((told == 0) | (told > rest), rest, told)
    if not good.all():
        rows, addresses, words, length = rows.select(good), addresses.select(good), words[:, good], length[good]
    suspects = work.tunnel_ports.suspects(words[0], words[2], words[3], length)
    if suspects.any():
        inner = rows.select(suspects).within(length[suspects]).moved(8)
        inside = np.flatnonzero(suspects)[enter_udp_tunnel(work, inner, words[0, suspects].astype(np.int64))]
        plain = np.ones(len(rows), np.bool_)
        plain[inside] = False
        rows, addresses, words, length = rows.select(plain), addresses.select(plain), words[:, plain], length[plain]
    words = words.copy()
    words[1:] = 0
    _emit(work, rows, addresses, np.full(len(rows), ip.UDP), words, rows.at, np.full(len(rows), 8), length)
