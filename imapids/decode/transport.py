"""TCP and UDP headers: the end of the way; and the hand-over to tunnels and ICMP."""

from __future__ import annotations

from typing import cast

import msgspec
import numpy as np

from imapids.decode.columns import Rows, header_words
from imapids.decode.icmp import decode_icmp
from imapids.decode.ip_tunnels import IP_TUNNELS, enter_ip_tunnel
from imapids.decode.udp_tunnels import enter_udp_tunnel
from imapids.decode.work import Work
from imapids.protocols import ip_headers as ip
from imapids.records.packets import I64, U32, U64, Bool


class Addresses(msgspec.Struct, eq=False):
    """Of the innermost IP header. Columns have shape (n,)."""

    src_hi: U64
    src_lo: U64
    dst_hi: U64
    dst_lo: U64
    ttl: I64 | U32
    at: I64
    """Offset of the IP header."""

    def columns(self) -> tuple[I64, I64, I64, I64]:
        """Source and destination halves."""
        return cast("tuple[I64, I64, I64, I64]", (self.src_hi, self.src_lo, self.dst_hi, self.dst_lo))

    def select(self, keep: Bool | I64) -> Addresses:
        """The rows that a mask or an index column picks."""
        return Addresses(self.src_hi[keep], self.src_lo[keep], self.dst_hi[keep], self.dst_lo[keep], self.ttl[keep],
                         self.at[keep])

    def with_destination(self, hi: U64, lo: U64) -> Addresses:
        """The same packets to another destination."""
        return Addresses(self.src_hi, self.src_lo, hi, lo, self.ttl, self.at)

    @staticmethod
    def join(parts: list[Addresses]) -> Addresses:
        """Several groups as one."""
        return Addresses(*(np.concatenate([getattr(part, name) for part in parts])
                           for name in Addresses.__struct_fields__))


def _emit(
    work: Work, rows: Rows, addresses: Addresses, protocol: int, words: U32, size: I64 | int, length: I64,
) -> None:
    """Write segments: TCP or UDP headers of `size` bytes at `rows.at`, `length` announced bytes from there.

    `words` are the first four words of TCP headers, the last three zero for UDP.
    """
    place, out, base = rows.row, work.segments.columns, work.base
    work.segments.present[place] = True
    payload = rows.at + size
    for name, values in (
        ("protocol", protocol), ("src_hi", addresses.src_hi), ("src_lo", addresses.src_lo),
        ("dst_hi", addresses.dst_hi), ("dst_lo", addresses.dst_lo), ("src_port", words[0] >> 16),
        ("dst_port", words[0] & 0xFFFF), ("tunnel", rows.path), ("payload", np.minimum(payload, rows.end) + base),
        ("captured", np.maximum(np.minimum(rows.end - payload, length - size), 0)), ("length", length - size),
        ("seq", words[1]), ("ack", words[2]), ("flags", words[3] >> 16 & 0x3F), ("window", words[3] & 0xFFFF),
        ("ttl", addresses.ttl), ("ip_offset", addresses.at + base), ("transport_offset", rows.at + base),
    ):
        out[name][place] = values


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
    work.skip("bad-tcp-header", short)
    work.skip("cut-header", ~whole & ~short)
    rows, addresses = rows.select(whole), addresses.select(whole)
    words = header_words(work.data, rows.at, 4)
    size = (words[3] >> 28 << 2).astype(np.int64)
    good = (size >= 20) & (size <= rows.wire - rows.at)
    if not good.all():
        work.skip("bad-tcp-header", ~good)
        rows, addresses, words, size = rows.select(good), addresses.select(good), words[:, good], size[good]
    _emit(work, rows, addresses, ip.TCP, words, size, rows.wire - rows.at)


def _decode_udp(work: Work, rows: Rows, addresses: Addresses) -> None:
    """UDP behind odd IP headers, with an odd length, or on the port of a tunnel (RFC 768)."""
    whole = rows.end - rows.at >= 8
    short = ~whole & (rows.wire - rows.at < 8)
    work.skip("bad-udp-length", short)
    work.skip("cut-header", ~whole & ~short)
    rows, addresses = rows.select(whole), addresses.select(whole)
    words = header_words(work.data, rows.at, 4)
    told = (words[1] >> 16).astype(np.int64)
    rest = rows.wire - rows.at
    good = (told >= 8) | (told == 0)
    work.skip("bad-udp-length", ~good)
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
    _emit(work, rows, addresses, ip.UDP, words, 8, length)
