"""Tunnels over UDP: found by port, believed only where their header and what follows are well-formed."""

from __future__ import annotations

import numpy as np

from imapids.decode.columns import Rows, u8, u16, u24, u32
from imapids.decode.links import by_ethertype, looks_like_ethernet
from imapids.decode.work import Header, Work
from imapids.protocols import encapsulations as tun
from imapids.protocols import link_layers as link
from imapids.records.packets import I64, U8, Bool

_SERVICES: dict[int, Header] = {
    **dict.fromkeys(tun.VXLAN_PORTS, Header.VXLAN), tun.VXLAN_GPE_PORT: Header.VXLAN_GPE,
    tun.GENEVE_PORT: Header.GENEVE, tun.GTP_U_PORT: Header.GTP_U, tun.TEREDO_PORT: Header.TEREDO,
    tun.L2TP_PORT: Header.L2TP, tun.CAPWAP_PORT: Header.CAPWAP, tun.GRE_IN_UDP_PORT: Header.GRE,
    tun.MPLS_IN_UDP_PORT: Header.MPLS, tun.LISP_PORT: Header.LISP, tun.TZSP_PORT: Header.TZSP,
}
_EITHER_PORT = (Header.TEREDO, Header.L2TP, Header.CAPWAP, Header.GTP_U)
"""Tunnels whose answers come from the service's port; the others put entropy into the source port and the
service's number into the destination port in both directions."""

_BY_PORT = np.zeros(65_536, np.uint8)
for _port, _service in _SERVICES.items():
    _BY_PORT[_port] = _service
TUNNEL_PORTS = _BY_PORT != 0
"""Ports for which `enter_udp_tunnel` wants to see a datagram, shape (65536,)."""
_TEREDO_PREFIX = 0x2001_0000
"""First 32 bits of the addresses of Teredo clients (RFC 4380 section 2.6)."""


def enter_udp_tunnel(work: Work, rows: Rows, ports: I64) -> Bool:
    """Go on inside the datagrams that are tunnels; returns which of the rows were.

    `rows.at` is the first byte behind the UDP header; `ports` the header's first word. A datagram on a tunnel's
    port that does not look like one is an ordinary datagram.
    """
    service = _BY_PORT[ports & 0xFFFF]
    other = _BY_PORT[ports >> 16]
    service = np.where((service == 0) & np.isin(other, _EITHER_PORT), other, service)
    entered = np.zeros(len(rows), np.bool_)
    peers = np.flatnonzero(service == Header.UNKNOWN)
    service[peers[_is_teredo_peer(work.data, rows.select(peers))]] = Header.TEREDO
    for number in np.flatnonzero(np.bincount(service)).tolist():
        if number == Header.UNKNOWN:
            continue
        mine = np.flatnonzero(service == number)
        good = _LOOKS[Header(number)](work.data, rows.select(mine))
        mine = mine[good]
        entered[mine] = True
        work.push(Header(number), rows.select(mine))
    return entered


def _first(rows: Rows, size: int) -> tuple[Bool, Rows]:
    """Which rows hold `size` bytes, and those rows."""
    room = rows.end - rows.at >= size
    return room, rows.select(room)


def _where(room: Bool, good: Bool) -> Bool:
    result = room.copy()
    result[room] = good
    return result


def _is_vxlan(data: U8, rows: Rows) -> Bool:
    """The VNI bit is set and a known Ethernet frame follows; reserved bits may be anything (RFC 7348 section 5)."""
    room, rows = _first(rows, 8)
    flags = u8(data, rows.at)
    return _where(room, (flags & tun.VXLAN_VNI_VALID != 0) & looks_like_ethernet(data, rows.moved(8)))


def _is_vxlan_gpe(data: U8, rows: Rows) -> Bool:
    room, rows = _first(rows, 8)
    following = u8(data, rows.at + 3)
    return _where(room, (u8(data, rows.at) & 0xCC == 0x0C) & (following >= 1) & (following <= tun.NEXT_NSH))


def _is_geneve(data: U8, rows: Rows) -> Bool:
    """Version 0, options within the datagram, reserved byte zero (RFC 8926 section 3.4)."""
    room, rows = _first(rows, 8)
    first = u8(data, rows.at)
    size = 8 + (first & 0x3F) * 4
    return _where(room, (first >> 6 == 0) & (rows.wire - rows.at >= size) & (u16(data, rows.at + 2) > link.LENGTH_MAX))


def _is_gtp(data: U8, rows: Rows) -> Bool:
    """Version 1 user data whose length fills the datagram (TS 29.281 section 5.1)."""
    room, rows = _first(rows, 8)
    flags = u8(data, rows.at)
    good = (flags & tun.GTP_FLAGS_MASK == tun.GTP_VERSION_1) & (u8(data, rows.at + 1) == tun.GTP_T_PDU)
    length = u16(data, rows.at + 2)
    return _where(room, good & (length > 0) & (length + 8 <= rows.wire - rows.at))


def _teredo_start(data: U8, rows: Rows) -> I64:
    """Where IPv6 starts behind the authentication and origin indications (RFC 4380 section 5.1.1)."""
    at = rows.at.copy()
    auth = np.flatnonzero(rows.end - at >= 4)
    auth = auth[u16(data, at[auth]) == 0x0001]
    at[auth] += 13 + u8(data, at[auth] + 2) + u8(data, at[auth] + 3)
    origin = np.flatnonzero(rows.end - at >= 8)
    origin = origin[u16(data, at[origin]) == 0x0000]
    at[origin] += 8
    return np.minimum(at, rows.end)


def _is_teredo(data: U8, rows: Rows) -> Bool:
    """An IPv6 header whose payload length fits the datagram."""
    inner = rows.moved(_teredo_start(data, rows))
    room, inner = _first(inner, 40)
    fits = u16(data, inner.at + 4) + 40 <= inner.wire - inner.at
    return _where(room, (u8(data, inner.at) >> 4 == 6) & fits)


def _is_teredo_peer(data: U8, rows: Rows) -> Bool:
    """IPv6 alone, from or to a Teredo address: peers talk on ports of their own (RFC 4380 section 5.2.9)."""
    room, rows = _first(rows, 40)
    alone = (u8(data, rows.at) >> 4 == 6) & (u16(data, rows.at + 4) + 40 == rows.wire - rows.at)
    source, destination = u32(data, rows.at + 8), u32(data, rows.at + 24)
    return _where(room, alone & ((source == _TEREDO_PREFIX) | (destination == _TEREDO_PREFIX)))


def _is_l2tp(data: U8, rows: Rows) -> Bool:
    """A data message of version 2 (RFC 2661 section 3.1); control messages stay datagrams."""
    room, rows = _first(rows, 6)
    flags = u16(data, rows.at)
    good = (flags & tun.L2TP_VERSION == 2) & (flags & tun.L2TP_CONTROL == 0) & (flags & 0x34F0 == 0)
    sized = flags & tun.L2TP_LENGTH != 0
    return _where(room, good & (~sized | (u16(data, rows.at + 2) <= rows.wire - rows.at)))


def _is_capwap(data: U8, rows: Rows) -> Bool:
    """Version 0, no DTLS, a header length of at least eight bytes (RFC 5415 section 4.3)."""
    room, rows = _first(rows, 8)
    size = (u8(data, rows.at + 1) >> 3) * 4
    return _where(room, (u8(data, rows.at) == 0) & (size >= 8) & (size <= rows.wire - rows.at))


def _is_gre(data: U8, rows: Rows) -> Bool:
    room, rows = _first(rows, 8)
    flags = u16(data, rows.at)
    return _where(room, (flags & 0x4FFF == 0) & (u16(data, rows.at + 2) > link.LENGTH_MAX))


def _is_mpls(data: U8, rows: Rows) -> Bool:
    """A label whose time to live is not over."""
    room, rows = _first(rows, 8)
    return _where(room, u8(data, rows.at + 3) > 0)


def _is_lisp(data: U8, rows: Rows) -> Bool:
    """Eight bytes, then IP (RFC 9300 section 5)."""
    room, rows = _first(rows, 28)
    inner = u8(data, rows.at + 8)
    return _where(room, (inner == 0x45) | (inner >> 4 == 6))


def _is_tzsp(data: U8, rows: Rows) -> Bool:
    """Version 1, a received packet that is Ethernet (TaZmen Sniffer Protocol)."""
    room, rows = _first(rows, 5)
    return _where(room, (u8(data, rows.at) == 1) & (u8(data, rows.at + 1) <= 1) & (u16(data, rows.at + 2) == 1))


_LOOKS = {
    Header.VXLAN: _is_vxlan, Header.VXLAN_GPE: _is_vxlan_gpe, Header.GENEVE: _is_geneve, Header.GTP_U: _is_gtp,
    Header.TEREDO: _is_teredo, Header.L2TP: _is_l2tp, Header.CAPWAP: _is_capwap, Header.GRE: _is_gre,
    Header.MPLS: _is_mpls, Header.LISP: _is_lisp, Header.TZSP: _is_tzsp,
}


def decode_vxlan(work: Work, rows: Rows) -> None:
    """VXLAN: the network identifier is the same in both directions and part of the path (RFC 7348)."""
    work.push(Header.ETHERNET, rows.moved(8, work.paths.tunnel(rows, "vxlan", u24(work.data, rows.at + 4))))


def decode_vxlan_gpe(work: Work, rows: Rows) -> None:
    """VXLAN with a next protocol field."""
    following = u8(work.data, rows.at + 3)
    rows = rows.moved(8, work.paths.tunnel(rows, "vxlan", u24(work.data, rows.at + 4)))
    push_next(work, rows, following)


def push_next(work: Work, rows: Rows, following: I64) -> None:
    """Go on by a next protocol number of VXLAN-GPE or NSH."""
    internet = (following == tun.NEXT_IPV4) | (following == tun.NEXT_IPV6)
    work.push(Header.IP, rows.select(internet))
    work.push(Header.ETHERNET, rows.select(following == tun.NEXT_ETHERNET))
    work.push(Header.NSH, rows.select(following == tun.NEXT_NSH))
    work.push(Header.MPLS, rows.select(following == tun.NEXT_MPLS))
    rest = ~internet & ((following < tun.NEXT_ETHERNET) | (following > tun.NEXT_MPLS))
    work.skip_each("next-protocol", following[rest], {}, rows.select(rest))


def decode_geneve(work: Work, rows: Rows) -> None:
    """Geneve: options are stepped over; its identifier may differ by direction and is not in the path (RFC 8926)."""
    size = 8 + (u8(work.data, rows.at) & 0x3F) * 4
    whole = rows.end - rows.at >= size
    rows, size = work.keep(rows, whole, "cut-header"), size[whole]
    types = u16(work.data, rows.at + 2)
    by_ethertype(work, rows.moved(rows.at + size, work.paths.tunnel(rows, "geneve")), types)


def decode_gtp_u(work: Work, rows: Rows) -> None:
    """GTP-U: extension headers are stepped over, each in units of four bytes (TS 29.281 section 5.2.1)."""
    flags = u8(work.data, rows.at)
    inner = rows.moved(8).within(u16(work.data, rows.at + 2))
    optional = flags & tun.GTP_OPTIONAL != 0
    path = work.paths.tunnel(rows, "gtp-u")
    _push_user_packet(work, inner.moved(0, path).select(~optional))
    rows = work.need(inner.moved(0, path).select(optional), 4)
    has_extension = flags[optional & (inner.end - inner.at >= 4)] & 0x04 != 0
    following = np.where(has_extension, u8(work.data, rows.at + 3), 0)
    rows = rows.moved(4)
    for _ in range(work.limits.layers):
        last = following == 0
        _push_user_packet(work, rows.select(last))
        rows = rows.select(~last)
        if not len(rows):
            return
        rows = work.need(rows, 4)
        size = u8(work.data, rows.at) * 4
        good = (size > 0) & (rows.end - rows.at >= size)
        rows, size = work.keep(rows, good, "bad-gtp-extension"), size[good]
        rows = rows.moved(rows.at + size)
        following = u8(work.data, rows.at - 1)
    work.skip("bad-gtp-extension", rows)


def _push_user_packet(work: Work, rows: Rows) -> None:
    """IP, or an Ethernet frame of a 5G session, told apart by the version bits."""
    rows = work.need(rows, 1)
    version = u8(work.data, rows.at) >> 4
    internet = (version == 4) | (version == 6)
    work.push(Header.IP, rows.select(internet))
    rest = rows.select(~internet)
    frame = looks_like_ethernet(work.data, rest)
    work.push(Header.ETHERNET, rest.select(frame))
    work.skip("gtp-u-other", rest.select(~frame))


def decode_teredo(work: Work, rows: Rows) -> None:
    """Teredo: IPv6 through an IPv4 address translator (RFC 4380)."""
    work.push(Header.IP, rows.moved(_teredo_start(work.data, rows), work.paths.tunnel(rows, "teredo")))


def decode_l2tp(work: Work, rows: Rows) -> None:
    """L2TP version 2 data: PPP behind the optional fields. Ids are chosen by the receiver: not in the path."""
    flags = u16(work.data, rows.at)
    length, sequence = (flags & tun.L2TP_LENGTH != 0) * 2, (flags & tun.L2TP_SEQUENCE != 0) * 4
    offset = flags & tun.L2TP_OFFSET != 0
    size = 6 + length + sequence
    whole = rows.end - rows.at >= size + 2 * offset
    rows, size, offset = work.keep(rows, whole, "cut-header"), size[whole], offset[whole]
    pad = np.zeros(len(rows), np.int64)
    pad[offset] = 2 + u16(work.data, rows.at[offset] + size[offset])
    whole = rows.end - rows.at >= size + pad
    rows, size, pad = work.keep(rows, whole, "cut-header"), size[whole], pad[whole]
    work.push(Header.PPP, rows.moved(rows.at + size + pad, work.paths.tunnel(rows, "l2tp")))


def decode_capwap(work: Work, rows: Rows) -> None:
    """CAPWAP data: an 802.11 frame where the T bit is set, an 802.3 frame else (RFC 5415 section 4.3)."""
    size = (u8(work.data, rows.at + 1) >> 3) * 4
    flags = u8(work.data, rows.at + 3)
    native = u16(work.data, rows.at + 2) & 0x0100 != 0
    fragment, keepalive = flags & 0x80 != 0, flags & 0x08 != 0
    work.skip("capwap-fragment", rows.select(fragment))
    work.skip("capwap-keepalive", rows.select(keepalive & ~fragment))
    good = ~fragment & ~keepalive & (rows.end - rows.at >= size)
    work.skip("cut-header", rows.select(~fragment & ~keepalive & ~good))
    inner = rows.select(good)
    inner, native = inner.moved(inner.at + size[good], work.paths.tunnel(inner, "capwap")), native[good]
    work.push(Header.WLAN, inner.select(native))
    work.push(Header.ETHERNET, inner.select(~native))


def decode_lisp(work: Work, rows: Rows) -> None:
    """LISP data: eight bytes before the inner IP header."""
    work.push(Header.IP, rows.moved(8, work.paths.tunnel(rows, "lisp")))


def decode_tzsp(work: Work, rows: Rows) -> None:
    """TZSP: tags up to the end tag, then the sniffed Ethernet frame."""
    rows = rows.moved(4, work.paths.tunnel(rows, "tzsp"))
    for _ in range(work.limits.layers):
        rows = work.need(rows, 2)
        if not len(rows):
            return
        tag = u8(work.data, rows.at)
        size = np.where(tag <= 1, 1, 2 + u8(work.data, rows.at + 1))
        whole = rows.end - rows.at >= size
        rows, tag, size = work.keep(rows, whole, "cut-header"), tag[whole], size[whole]
        rows = rows.moved(rows.at + size)
        work.push(Header.ETHERNET, rows.select(tag == 1))
        rows = rows.select(tag != 1)
    work.skip("bad-tzsp-tags", rows)


