"""Whether a packet may start at an offset: a tunnel is believed only where something known stands behind its header."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imapids.decode.columns import Rows, u8, u16
from imapids.decode.links import TAGS, is_labelled, is_tag, looks_like_ethernet, names_a_header, tag_bytes
from imapids.protocols import ip_headers as ip
from imapids.protocols import link_layers as link
from imapids.records.packets import I64, U8, Bool

LABELS = 16
"""MPLS labels that are looked through: real stacks have one to ten."""

_PROTOCOLS = np.zeros(256, np.bool_)
"""IP protocols in use; the other numbers are taken as a sign that no IP header stands here."""
_PROTOCOLS[[*ip.PROTOCOL_NAMES, *ip.EXTENSION_HEADERS, ip.ICMP, ip.IPV4, ip.TCP, ip.UDP, ip.IPV6, ip.FRAGMENT, ip.GRE,
            ip.AH, ip.ICMPV6, ip.IPIP_OLD, ip.ETHERIP, ip.MPLS_IN_IP, ip.ETHERNET]] = True

_SHORTEST = np.zeros(256, np.int64)
"""Bytes that an IPv6 packet with this next header has at least (in IPv4 the last fragment may be shorter)."""
_SHORTEST[[*ip.EXTENSION_HEADERS, ip.FRAGMENT, ip.UDP]] = 8
_SHORTEST[[ip.TCP, ip.IPV6, ip.AH, ip.ICMPV6, ip.IPV4]] = 20, 40, 12, 4, 20


def first(rows: Rows, size: int) -> tuple[Bool, Rows]:
    """Which rows hold `size` captured bytes, and those rows."""
    room = rows.end - rows.at >= size
    return room, rows.select(room)


def spread(room: Bool, good: Bool) -> Bool:
    """The answer for the rows that have room, as an answer for all rows: no room is a no."""
    result = room.copy()
    result[room] = good
    return result


def holds_ip(data: U8, rows: Rows) -> Bool:
    """An IP header with a protocol in use and lengths that fit; length 0 only before TCP and UDP (offload)."""
    room, rows = first(rows, 20)
    head = u8(data, rows.at)
    rest = rows.wire - rows.at
    v4 = (head >= 0x45) & (head <= 0x4F)
    v6 = (head >> 4 == 6) & (rows.end - rows.at >= 40)
    length = u16(data, rows.at + np.where(v4, 2, 4)) + np.where(v4, 0, 40)
    protocol = u8(data, rows.at + np.where(v4, 9, 6))
    least = np.where(v4, (head & 0x0F) * 4, 40 + _SHORTEST[protocol])
    # IPv6 length 0: nothing follows (a Teredo bubble), a jumbogram, or an offloaded packet.
    empty = (length == np.where(v4, 0, 40)) & ((protocol == ip.TCP) | (protocol == ip.UDP) | ~v4)
    return spread(room, (v4 | v6) & _PROTOCOLS[protocol] & (empty | (length >= least) & (length <= rest)))


def holds_frame(data: U8, rows: Rows) -> Bool:
    """An Ethernet frame with a known type; where that is IP or MPLS, with such a packet in it."""
    good = looks_like_ethernet(data, rows)
    pick = np.flatnonzero(good)
    frames = rows.select(pick).moved(14)
    types = u16(data, frames.at - 2)
    good[pick] = (types <= link.LENGTH_MAX) | holds_type(data, frames, types, bridged=False)
    return good


def holds_type(data: U8, rows: Rows, types: I64, *, bridged: bool = True) -> Bool:
    """What these EtherTypes announce, tags stepped over; `bridged` allows a whole Ethernet frame."""
    good = np.zeros(len(rows), np.bool_)
    index, types = np.arange(len(rows)), types.copy()
    for _ in range(TAGS):
        tags = np.flatnonzero(is_tag(types))
        tags = tags[rows.end[tags] - rows.at[tags] >= tag_bytes(types[tags])]
        straight = np.flatnonzero(~is_tag(types))
        good[index[straight]] = _holds_untagged(data, rows.select(straight), types[straight], bridged)
        if not len(tags):
            break
        rows, index, types = rows.select(tags), index[tags], types[tags]
        rows = rows.moved(rows.at + tag_bytes(types))
        types = u16(data, rows.at - 2)
    return good


def _holds_untagged(data: U8, rows: Rows, types: I64, bridged: bool) -> Bool:
    good = names_a_header(types)
    internet = (types == link.ETHERTYPE_IPV4) | (types == link.ETHERTYPE_IPV6)
    good[internet] = holds_ip(data, rows.select(internet))
    labelled = is_labelled(types)
    if labelled.any():  # a frame below these labels is looked at less closely, so that this ends
        good[labelled] = holds_labels(data, rows.select(labelled), looks_like_ethernet)
    frames = types == link.ETHERTYPE_BRIDGED
    if frames.any():
        good[frames] = holds_frame(data, rows.select(frames)) if bridged else False
    return good


def holds_labels(data: U8, rows: Rows, is_frame: Callable[[U8, Rows], Bool] = holds_frame) -> Bool:
    """MPLS labels, then IP, an Ethernet frame with or without a control word, or an associated channel (RFC 5586).

    The first label's time to live is not over.
    """
    good = np.zeros(len(rows), np.bool_)
    index = np.flatnonzero(rows.end - rows.at >= 4)
    index = index[u8(data, rows.at[index] + 3) > 0]
    rows = rows.select(index)
    for _ in range(LABELS):
        bottom = u8(data, rows.at + 2) & 1 == 1
        rows = rows.moved(4)
        inner = rows.select(bottom)
        good[index[bottom]] = holds_ip(data, inner) | is_frame(data, inner) | _below_word(data, inner, is_frame)
        more = ~bottom & (rows.end - rows.at >= 4)
        rows, index = rows.select(more), index[more]
        if not len(rows):
            break
    return good


def _below_word(data: U8, rows: Rows, is_frame: Callable[[U8, Rows], Bool]) -> Bool:
    """A pseudowire's control word begins with four zero bits, the word of a channel with 1 (RFC 4385 section 3)."""
    room, rows = first(rows, 4)
    return spread(room, (u8(data, rows.at) >> 4 == 0) & is_frame(data, rows.moved(4)) | (u16(data, rows.at) == 0x1000))


def holds_ppp(data: U8, rows: Rows) -> Bool:
    """PPP with IP in it, a control message whose length fits, or content that PPP compressed or encrypted."""
    room, rows = first(rows, 4)
    framed = u16(data, rows.at) == 0xFF03
    rows = rows.moved(rows.at + 2 * framed)
    short = u8(data, rows.at) & 1
    protocol = np.where(short, u8(data, rows.at), u16(data, rows.at))
    rows = rows.moved(rows.at + 2 - short)
    good = ((protocol == link.PPP_IPV4) | (protocol == link.PPP_IPV6)) & holds_ip(data, rows)
    good |= np.isin(protocol, list(link.PPP_NAMES)) & framed
    return spread(room, good | _is_control(data, rows, protocol))


def _is_control(data: U8, rows: Rows, protocol: I64) -> Bool:
    """Negotiation and authentication of links (RFC 1661 section 5): code, identifier, length."""
    room, rows = first(rows, 4)
    protocol = protocol[room]
    length = u16(data, rows.at + 2)
    kind = (protocol >= 0x8000) & (protocol & 0x0101 == 0x0001) & (u8(data, rows.at) <= 15)
    return spread(room, kind & (length >= 4) & (length <= rows.wire - rows.at))


def holds_wlan(data: U8, rows: Rows) -> Bool:
    """An 802.11 frame of version 0 that has a whole header; controllers may swap the first two bytes."""
    room, rows = first(rows, 24)
    one, other = u8(data, rows.at), u8(data, rows.at + 1)
    return spread(room, (one & 0x0F == 0x08) | (other & 0x0F == 0x08) | (one & 0x0F == 0x00) & (one < 0xE0))
