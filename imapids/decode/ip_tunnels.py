"""Tunnels that IP carries by protocol number: IP in IP, GRE with ERSPAN and PPTP, Ethernet, MPLS."""

from __future__ import annotations

import numpy as np

from imapids.decode.columns import Rows, u8, u16, u32
from imapids.decode.headers import Header
from imapids.decode.links import by_ethertype
from imapids.decode.work import Work
from imapids.protocols import encapsulations as tun
from imapids.protocols import ip_headers as ip
from imapids.protocols import link_layers as link
from imapids.records.packets import I64, Bool

IP_TUNNELS = np.zeros(256, np.bool_)
"""IP protocol numbers that `enter_ip_tunnel` follows."""
IP_TUNNELS[[ip.IPV4, ip.IPIP_OLD, ip.IPV6, ip.GRE, ip.ETHERIP, ip.ETHERNET, ip.MPLS_IN_IP]] = True

_NAMES = {(4, ip.IPV4): "ipip", (4, ip.IPIP_OLD): "ipip", (4, ip.IPV6): "6in4",
          (6, ip.IPV4): "4in6", (6, ip.IPIP_OLD): "4in6", (6, ip.IPV6): "ip6ip6"}


def enter_ip_tunnel(work: Work, rows: Rows, protocol: I64, version: int) -> None:
    """Go on inside a tunnel; `version` is that of the outer IP header (RFC 2003, 4213, 2473, 3378, 4023)."""
    for number in np.flatnonzero(np.bincount(protocol)).tolist():
        part = rows.select(protocol == number)
        if number == ip.GRE:
            work.push(Header.GRE, part)
        elif number == ip.MPLS_IN_IP:
            work.push(Header.MPLS, part)
        elif number == ip.ETHERNET:
            work.push(Header.ETHERNET, part.moved(0, work.paths.tunnel(part, "ethernet-in-ip")))
        elif number == ip.ETHERIP:
            part = work.need(part, 2)
            work.push(Header.ETHERNET, part.moved(2, work.paths.tunnel(part, "etherip")))
        else:
            work.push(Header.IP, part.moved(0, work.paths.tunnel(part, _NAMES[version, number])))


def decode_gre(work: Work, rows: Rows) -> None:
    """GRE version 0 with checksum, key and sequence number (RFC 2784, 2890) and 1, which carries PPTP (RFC 2637)."""
    rows = work.need(rows, 4)
    flags = u16(work.data, rows.at)
    version = flags & tun.GRE_VERSION
    work.skip("bad-gre-version", rows.select(version > 1))
    if np.any(version == 1):
        _decode_pptp(work, rows.select(version == 1), flags[version == 1])
    work.skip("gre-routing", rows.select((version == 0) & (flags & tun.GRE_ROUTING != 0)))
    good = (version == 0) & (flags & tun.GRE_ROUTING == 0)
    rows, flags = rows.select(good), flags[good]
    checksum, key = (flags & tun.GRE_CHECKSUM != 0) * 4, (flags & tun.GRE_KEY != 0) * 4
    sequence = (flags & tun.GRE_SEQUENCE != 0) * 4
    whole = rows.end - rows.at >= 4 + checksum + key + sequence
    rows = work.keep(rows, whole, "cut-header")
    checksum, key, sequence = checksum[whole], key[whole], sequence[whole]
    if len(rows):
        types = u16(work.data, rows.at + 2)
        inner = rows.moved(rows.at + 4 + checksum + key + sequence, _gre_paths(work, rows, types, checksum, key))
        _gre_payload(work, inner, types, sequence > 0)


def _gre_paths(work: Work, rows: Rows, types: I64, checksum: I64, key: I64) -> I64:
    """`gre`, or `gre:KEY` where IP follows: both ends of a keyed tunnel are configured with the same number.

    Bridged frames leave the key out: NVGRE writes a number for each flow into it (RFC 7637 section 3.2).
    """
    mirror = (types == link.ETHERTYPE_ERSPAN) | (types == link.ETHERTYPE_ERSPAN_III)
    path = rows.path.copy()
    keyed = (key > 0) & ((types == link.ETHERTYPE_IPV4) | (types == link.ETHERTYPE_IPV6))
    bare = ~keyed & ~mirror
    path[bare] = work.paths.tunnel(rows.select(bare), "gre")
    if keyed.any():
        part = rows.select(keyed)
        path[keyed] = work.paths.tunnel(part, "gre", u32(work.data, part.at + 4 + checksum[keyed]))
    return path


def _gre_payload(work: Work, rows: Rows, types: I64, sequence: Bool) -> None:
    erspan, erspan_iii = types == link.ETHERTYPE_ERSPAN, types == link.ETHERTYPE_ERSPAN_III
    wccp = types == link.ETHERTYPE_WCCP
    aruba = (types & 0xFF8F == 0x8200) | (types == 0x9000)
    work.push(Header.WCCP, rows.select(wccp))
    work.push(Header.ERSPAN_III, rows.select(erspan_iii))
    work.push(Header.WLAN, rows.select(aruba))
    if erspan.any():
        _decode_erspan(work, rows.select(erspan), sequence[erspan])
    empty = types == 0  # RFC 2784 section 2.4: reserved; routers send it as keep-alive
    work.skip("gre-keepalive", rows.select(empty))
    rest = ~(erspan | erspan_iii | wccp | empty | aruba)
    by_ethertype(work, rows.select(rest), types[rest])


def _decode_pptp(work: Work, rows: Rows, flags: I64) -> None:
    size = 8 + (flags & tun.GRE_SEQUENCE != 0) * 4 + (flags & tun.GRE_ACK != 0) * 4
    whole = rows.end - rows.at >= size
    rows, size = work.keep(rows, whole, "cut-header"), size[whole]
    if not len(rows):
        return
    length = u16(work.data, rows.at + 4)
    work.skip("pptp-acknowledgement", rows.select(length == 0))
    good = length > 0
    inner = rows.select(good)
    inner = inner.moved(inner.at + size[good], work.paths.tunnel(inner, "pptp")).within(length[good])
    work.push(Header.PPP, inner)


def _decode_erspan(work: Work, rows: Rows, sequence: Bool) -> None:
    """ERSPAN type I has no header at all, type II has eight bytes and a GRE sequence number
    (draft-foschiano-erspan-03 sections 4.1, 4.2)."""
    plain = rows.select(~sequence)
    work.push(Header.ETHERNET, plain.moved(0, work.paths.tunnel(plain, "erspan")))
    rows = work.need(rows.select(sequence), 8)
    work.push(Header.ETHERNET, _mirrored(work, rows).moved(8))


def decode_erspan_iii(work: Work, rows: Rows) -> None:
    """ERSPAN type III: twelve bytes, eight more where the O bit is set, an Ethernet frame or an IP packet."""
    rows = work.need(rows, 12)
    tail = u8(work.data, rows.at + 11)
    kind = u8(work.data, rows.at + 10) >> 2 & 0x1F
    size = 12 + (tail & 1) * 8
    whole = rows.end - rows.at >= size
    rows, kind, size = work.keep(rows, whole, "cut-header"), kind[whole], size[whole]
    inner = _mirrored(work, rows)
    inner = inner.moved(inner.at + size)
    work.push(Header.ETHERNET, inner.select(kind == 0))
    work.push(Header.IP, inner.select(kind == 2))
    rest = (kind != 0) & (kind != 2)
    work.skip("erspan", inner.select(rest))


def _mirrored(work: Work, rows: Rows) -> Rows:
    """The path of a mirrored frame: the session, and the VLAN whose tag the mirror took off.

    The two bits behind the class of service say whether the frame had a tag (1: ISL, 2: 802.1Q) that is not in
    the mirrored frame; 0 and 3 mean that the frame stands as it was.
    """
    if not len(rows):
        return rows
    first, second = u16(work.data, rows.at), u16(work.data, rows.at + 2)
    rows = rows.moved(0, work.paths.tunnel(rows, "erspan", second & 0x3FF))
    tag = second >> 11 & 3
    return rows.moved(0, work.paths.vlan(rows.path, np.where((tag == 1) | (tag == 2), first & 0xFFF, 0)))


def decode_wccp(work: Work, rows: Rows) -> None:
    """GRE type 0x883E: IP, with a redirect header of four bytes before it since WCCP version 2."""
    rows = work.need(rows, 1)
    redirect = u8(work.data, rows.at) >> 4 != 4
    work.push(Header.IP, rows.select(~redirect))
    work.push(Header.IP, work.need(rows.select(redirect), 4).moved(4))
