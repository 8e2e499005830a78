"""Tunnels over UDP: found by port, believed only where their header is well-formed and a known packet follows."""

from __future__ import annotations

import numpy as np

from imapids.decode.columns import Rows, u8, u16, u24, u32
from imapids.decode.contents import (
    first,
    holds_frame,
    holds_ip,
    holds_labels,
    holds_ppp,
    holds_type,
    holds_wlan,
    spread,
)
from imapids.decode.headers import Header
from imapids.decode.links import by_ethertype
from imapids.decode.work import Work
from imapids.protocols import encapsulations as tun
from imapids.records.packets import I64, U8, Bool

_TEREDO_PREFIX = 0x2001_0000
"""First 32 bits of the addresses of Teredo clients (RFC 4380 section 2.6)."""
_GTP_EXTENSIONS = 8
"""Extension headers of one GTP-U header that are stepped over; there are six kinds."""
_TZSP_TAGS = 16


def enter_udp_tunnel(work: Work, rows: Rows, ports: I64) -> Bool:
    """Go on inside the datagrams that are tunnels; returns which of the rows were.

    `rows.at` is the first byte behind the UDP header; `ports` the header's first word. A datagram on a tunnel's
    port in which no packet can be seen is an ordinary datagram.
    """
    service = work.tunnel_ports.services(ports)
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


def _is_vxlan(data: U8, rows: Rows) -> Bool:
    """The VNI bit is set and an Ethernet frame follows; reserved bits may be anything (RFC 7348 section 5)."""
    room, rows = first(rows, 8)
    return spread(room, (u8(data, rows.at) & tun.VXLAN_VNI_VALID != 0) & holds_frame(data, rows.moved(8)))


def _is_vxlan_gpe(data: U8, rows: Rows) -> Bool:
    """Version 0 with VNI and next protocol (RFC 9305 section 3)."""
    room, rows = first(rows, 8)
    kind, inner = u8(data, rows.at + 3), rows.moved(8)
    holds = (kind <= tun.NEXT_IPV6) & holds_ip(data, inner) | (kind == tun.NEXT_ETHERNET) & holds_frame(data, inner)
    holds |= (kind == tun.NEXT_MPLS) & holds_labels(data, inner) | (kind == tun.NEXT_NSH) & _is_nsh(data, inner)
    return spread(room, (u8(data, rows.at) & 0xCC == 0x0C) & (kind > 0) & holds)


def _is_nsh(data: U8, rows: Rows) -> Bool:
    """Version 0, a length within the packet, a known next protocol (RFC 8300 section 2.2)."""
    room, rows = first(rows, 8)
    head, following = u16(data, rows.at), u8(data, rows.at + 3)
    size = (head & 0x3F) * 4
    good = (head >> 14 == 0) & (size >= 8) & (size <= rows.wire - rows.at)
    return spread(room, good & (following >= 1) & (following <= tun.NEXT_MPLS))


def _is_geneve(data: U8, rows: Rows) -> Bool:
    """Version 0, options within the datagram, then what the protocol type says (RFC 8926 section 3.4)."""
    room, rows = first(rows, 8)
    inner = _go_to(rows, rows.at + 8 + (u8(data, rows.at) & 0x3F) * 4)
    return spread(room, (u8(data, rows.at) >> 6 == 0) & holds_type(data, inner, u16(data, rows.at + 2)))


def _go_to(rows: Rows, at: I64) -> Rows:
    """The rows at an offset that may lie behind their end: there they hold nothing."""
    return rows.moved(np.minimum(at, rows.end))


def _is_gtp(data: U8, rows: Rows) -> Bool:
    """Version 1 user data whose length fits the datagram, with IP or Ethernet in it (TS 29.281 section 5.1)."""
    room, rows = first(rows, 8)
    flags = u8(data, rows.at)
    good = (flags & tun.GTP_FLAGS_MASK == tun.GTP_VERSION_1) & (u8(data, rows.at + 1) == tun.GTP_T_PDU)
    good &= u16(data, rows.at + 2) + 8 <= rows.wire - rows.at
    inner = _gtp_content(data, rows)
    return spread(room, good & (holds_ip(data, inner) | holds_frame(data, inner)))


def _gtp_content(data: U8, rows: Rows) -> Rows:
    """The rows behind the GTP-U header and its extensions; at their end where the header breaks its format."""
    flags = u8(data, rows.at)
    rows = rows.within(u16(data, rows.at + 2) + 8)
    at = rows.at + np.where(flags & tun.GTP_OPTIONAL, 12, 8)
    more = np.flatnonzero((flags & tun.GTP_EXTENSION != 0) & (at <= rows.end))
    more = more[u8(data, at[more] - 1) != 0]
    for _ in range(_GTP_EXTENSIONS):
        if not len(more):
            break
        # Each extension has its length in units of four bytes first, and the type of the next one last.
        size = np.where(rows.end[more] > at[more], u8(data, np.minimum(at[more], len(data) - 1)) * 4, 0)
        broken = (size == 0) | (at[more] + size > rows.end[more])
        at[more] = np.where(broken, rows.end[more], at[more] + size)
        more = more[~broken]
        more = more[u8(data, at[more] - 1) != 0]
    at[more] = rows.end[more]
    return _go_to(rows, at)


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
    room, head = first(inner, 40)
    return spread(room, u8(data, head.at) >> 4 == 6) & holds_ip(data, inner)


def _is_teredo_peer(data: U8, rows: Rows) -> Bool:
    """IPv6 alone, from or to a Teredo address: peers talk on ports of their own (RFC 4380 section 5.2.9)."""
    room, rows = first(rows, 40)
    alone = (u8(data, rows.at) >> 4 == 6) & (u16(data, rows.at + 4) + 40 == rows.wire - rows.at)
    source, destination = u32(data, rows.at + 8), u32(data, rows.at + 24)
    return spread(room, alone & ((source == _TEREDO_PREFIX) | (destination == _TEREDO_PREFIX)))


def _is_l2tp(data: U8, rows: Rows) -> Bool:
    """A data message of version 2 with PPP in it (RFC 2661 section 3.1); control messages stay datagrams."""
    room, rows = first(rows, 6)
    flags = u16(data, rows.at)
    good = (flags & tun.L2TP_VERSION == 2) & (flags & tun.L2TP_CONTROL == 0) & (flags & 0x34F0 == 0)
    sized = flags & tun.L2TP_LENGTH != 0
    good &= ~sized | (u16(data, rows.at + 2) <= rows.wire - rows.at)
    return spread(room, good & holds_ppp(data, _l2tp_content(data, rows)))


def _l2tp_content(data: U8, rows: Rows) -> Rows:
    """The rows behind the optional fields: length, sequence numbers, an offset and its padding."""
    flags = u16(data, rows.at)
    at = rows.at + 6 + (flags & tun.L2TP_LENGTH != 0) * 2 + (flags & tun.L2TP_SEQUENCE != 0) * 4
    padded = np.flatnonzero((flags & tun.L2TP_OFFSET != 0) & (at + 2 <= rows.end))
    at[padded] += 2 + u16(data, at[padded])
    return _go_to(rows, at)


def _is_capwap(data: U8, rows: Rows) -> Bool:
    """Version 0, no DTLS, with a frame in it (RFC 5415 section 4.3); fragments and keep-alives stay datagrams."""
    room, rows = first(rows, 8)
    native, inner = u8(data, rows.at + 2) & 0x01 != 0, _capwap_content(data, rows)
    good = (u8(data, rows.at) == 0) & (inner.at >= rows.at + 8) & (u8(data, rows.at + 3) & 0x88 == 0)
    binding = u8(data, rows.at + 2) >> 1 & 0x1F
    wlan = native & (binding == tun.CAPWAP_WLAN) & holds_wlan(data, inner)
    return spread(room, good & (wlan | ~native & holds_frame(data, inner)))


def _capwap_content(data: U8, rows: Rows) -> Rows:
    return _go_to(rows, rows.at + (u8(data, rows.at + 1) >> 3) * 4)


def _is_gre(data: U8, rows: Rows) -> Bool:
    """GRE version 0 without routing, then what the protocol type says (RFC 8086)."""
    room, rows = first(rows, 4)
    flags = u16(data, rows.at)
    optional = (flags & tun.GRE_CHECKSUM != 0) + 0 + (flags & tun.GRE_KEY != 0) + (flags & tun.GRE_SEQUENCE != 0)
    inner = _go_to(rows, rows.at + 4 + 4 * optional)
    return spread(room, (flags & 0x4FFF == 0) & holds_type(data, inner, u16(data, rows.at + 2)))


def _is_lisp(data: U8, rows: Rows) -> Bool:
    """Eight bytes, then IP (RFC 9300 section 5)."""
    room, rows = first(rows, 8)
    return spread(room, holds_ip(data, rows.moved(8)))


def _is_tzsp(data: U8, rows: Rows) -> Bool:
    """Version 1, a received or sent packet, tags, then an Ethernet frame (TaZmen Sniffer Protocol)."""
    room, rows = first(rows, 5)
    good = (u8(data, rows.at) == 1) & (u8(data, rows.at + 1) <= 1) & (u16(data, rows.at + 2) == 1)
    return spread(room, good & holds_frame(data, _tzsp_content(data, rows)))


def _tzsp_content(data: U8, rows: Rows) -> Rows:
    """The rows behind the end tag (1); at their end where there is none. Tag 0 is padding; the others tell a length."""
    at, found = rows.at + 4, np.zeros(len(rows), np.bool_)
    for _ in range(_TZSP_TAGS):
        open_ = np.flatnonzero(~found & (at + 2 <= rows.end))
        if not len(open_):
            break
        tag = u8(data, at[open_])
        at[open_] += np.where(tag <= 1, 1, 2 + u8(data, at[open_] + 1))
        found[open_] = tag == 1
    return _go_to(rows, np.where(found, at, rows.end))


_LOOKS = {
    Header.VXLAN: _is_vxlan, Header.VXLAN_GPE: _is_vxlan_gpe, Header.GENEVE: _is_geneve, Header.GTP_U: _is_gtp,
    Header.TEREDO: _is_teredo, Header.L2TP: _is_l2tp, Header.CAPWAP: _is_capwap, Header.GRE: _is_gre,
    Header.MPLS: holds_labels, Header.LISP: _is_lisp, Header.TZSP: _is_tzsp,
}
"""Whether a tunnel's header and a packet behind it stand at `rows.at`."""


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
    types = u16(work.data, rows.at + 2)
    size = 8 + (u8(work.data, rows.at) & 0x3F) * 4
    by_ethertype(work, rows.moved(rows.at + size, work.paths.tunnel(rows, "geneve")), types)


def decode_gtp_u(work: Work, rows: Rows) -> None:
    """GTP-U: IP, or an Ethernet frame of a 5G session, told apart by the version bits (TS 29.281)."""
    inner = _gtp_content(work.data, rows.moved(0, work.paths.tunnel(rows, "gtp-u")))
    internet = holds_ip(work.data, inner)
    work.push(Header.IP, inner.select(internet))
    work.push(Header.ETHERNET, inner.select(~internet))


def decode_teredo(work: Work, rows: Rows) -> None:
    """Teredo: IPv6 through an IPv4 address translator (RFC 4380)."""
    work.push(Header.IP, rows.moved(_teredo_start(work.data, rows), work.paths.tunnel(rows, "teredo")))


def decode_l2tp(work: Work, rows: Rows) -> None:
    """L2TP version 2 data: PPP behind the optional fields. Ids are chosen by the receiver: not in the path."""
    work.push(Header.PPP, _l2tp_content(work.data, rows.moved(0, work.paths.tunnel(rows, "l2tp"))))


def decode_capwap(work: Work, rows: Rows) -> None:
    """CAPWAP data: an 802.11 frame where the T bit is set, an 802.3 frame else (RFC 5415 section 4.3)."""
    native = u8(work.data, rows.at + 2) & 0x01 != 0
    inner = _capwap_content(work.data, rows.moved(0, work.paths.tunnel(rows, "capwap")))
    work.push(Header.WLAN, inner.select(native))
    work.push(Header.ETHERNET, inner.select(~native))


def decode_lisp(work: Work, rows: Rows) -> None:
    """LISP data: eight bytes before the inner IP header."""
    work.push(Header.IP, rows.moved(8, work.paths.tunnel(rows, "lisp")))


def decode_tzsp(work: Work, rows: Rows) -> None:
    """TZSP: tags up to the end tag, then the sniffed Ethernet frame."""
    work.push(Header.ETHERNET, _tzsp_content(work.data, rows.moved(0, work.paths.tunnel(rows, "tzsp"))))
