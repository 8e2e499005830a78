"""What an EtherType, an LLC or a PPP header says of the header that follows it."""

from __future__ import annotations

import numpy as np

from imapids.decode.columns import Rows, u8, u16, u24
from imapids.decode.headers import Header
from imapids.decode.rare import ask_dpkt
from imapids.decode.work import Work
from imapids.protocols import link_layers as link
from imapids.records.packets import I64, U8, U16, Bool

VLAN_TAGS, TAGS = 3, 8
"""802.1Q tags in one frame, and tags of all kinds: a fourth VLAN tag is not of this world."""

_NEXT = np.zeros(65_536, np.uint8)
"""The header behind an EtherType."""
for _type, _header in {
    link.ETHERTYPE_IPV4: Header.IP, link.ETHERTYPE_IPV6: Header.IP, link.ETHERTYPE_BRIDGED: Header.ETHERNET,
    link.ETHERTYPE_MPLS: Header.MPLS, link.ETHERTYPE_MPLS_MULTICAST: Header.MPLS, link.ETHERTYPE_PPPOE: Header.PPPOE,
    link.ETHERTYPE_PBB: Header.PBB, link.ETHERTYPE_FABRICPATH: Header.FABRICPATH, link.ETHERTYPE_TRILL: Header.TRILL,
    link.ETHERTYPE_NSH: Header.NSH, link.ETHERTYPE_PPP: Header.PPP,
}.items():
    _NEXT[_type] = _header
_NEXT[: link.LENGTH_MAX + 1] = Header.LLC

_TAG = np.zeros(65_536, np.uint8)
"""Bytes from a tag's content to the end of the next EtherType; 0 for types that are no tag."""
_VLAN = np.zeros(65_536, np.bool_)
for _type, _bytes in link.TAG_BYTES.items():
    _TAG[_type] = _bytes + 2
_VLAN[list(link.VLAN_TYPES)] = True
_NAMED = np.zeros(65_536, np.bool_)
_NAMED[list(link.ETHERTYPE_NAMES)] = True


def by_ethertype(work: Work, rows: Rows, types: I64) -> None:
    """Go on behind an EtherType: tags are stripped, then each packet goes to the header that its type names."""
    headers = _NEXT[types]
    known = headers != Header.UNKNOWN
    if not known.all():
        odd, odd_types = rows.select(~known), types[~known]
        tags = _TAG[odd_types] != 0
        _give_up(work, odd.select(~tags), odd_types[~tags])
        if tags.any():
            _strip_tags(work, odd.select(tags), odd_types[tags])
        rows, headers = rows.select(known), headers[known]
    work.push_each(headers, rows)


def _give_up(work: Work, rows: Rows, types: I64) -> None:
    """EtherTypes that carry no IP, or that nobody here knows."""
    named = _NAMED[types]
    work.skip_each("ethertype", types[named], link.ETHERTYPE_NAMES, rows.select(named))
    rows, types = rows.select(~named), types[~named]
    lost = ask_dpkt(work, rows)
    work.skip_each("ethertype", types[lost], {}, rows.select(lost), "#06x")


def _strip_tags(work: Work, rows: Rows, types: I64) -> None:
    """Strip all tags; the packets whose tags end go on by EtherType."""
    vlans = np.zeros(len(rows), np.int64)
    for _ in range(TAGS + 1):
        tags = _TAG[types] != 0
        if not tags.all():
            by_ethertype(work, rows.select(~tags), types[~tags])  # no tag among them: it cannot come back here
            rows, types, vlans = rows.select(tags), types[tags], vlans[tags]
        if not len(rows):
            return
        whole = rows.end - rows.at >= _TAG[types]
        rows, types, vlans = work.keep(rows, whole, "cut-header"), types[whole], vlans[whole]
        tagged = _VLAN[types]
        vlans += tagged
        few = vlans <= VLAN_TAGS
        rows, types, vlans, tagged = work.keep(rows, few, "too-many-vlan-tags"), types[few], vlans[few], tagged[few]
        path = rows.path
        if tagged.all():
            path = work.paths.vlan(rows.path, u16(work.data, rows.at) & 0xFFF)
        elif tagged.any():
            path = path.copy()
            path[tagged] = work.paths.vlan(path[tagged], u16(work.data, rows.at[tagged]) & 0xFFF)
        rows = rows.moved(rows.at + _TAG[types], path)
        types = u16(work.data, rows.at - 2)
    work.skip("too-many-tags", rows)


def is_tag(types: I64) -> Bool:
    """Which EtherTypes are those of a tag."""
    result: Bool = _TAG[types] != 0
    return result


def tag_bytes(types: I64) -> I64:
    """Bytes from a tag's content to the end of the EtherType behind it; 0 for types that are no tag."""
    return _TAG[types].astype(np.int64)


def is_labelled(types: I64) -> Bool:
    """Which EtherTypes announce MPLS labels."""
    result: Bool = _NEXT[types] == Header.MPLS
    return result


def names_a_header(types: I64) -> Bool:
    """Which EtherTypes are known: as a way to IP, or by a name."""
    result: Bool = (types > link.LENGTH_MAX) & ((_NEXT[types] != Header.UNKNOWN) | _NAMED[types])
    return result


def is_ip_type(types: I64 | U16) -> Bool:
    """Which numbers are EtherTypes of IP."""
    result: Bool = (types == link.ETHERTYPE_IPV4) | (types == link.ETHERTYPE_IPV6)
    return result


def looks_like_ethernet(data: U8, rows: Rows) -> Bool:
    """Whether an Ethernet frame with a known type, or with a length and known LLC addresses, may start here."""
    room = np.flatnonzero(rows.end - rows.at >= 16)
    types = u16(data, rows.at[room] + 12)
    saps = u16(data, rows.at[room] + 14)
    typed = names_a_header(types) | is_tag(types)
    sized = types <= link.LENGTH_MAX
    known = np.zeros(len(rows), np.bool_)
    known[room] = np.where(sized, np.isin(saps, link.SAPS) & (types <= rows.wire[room] - rows.at[room] - 14), typed)
    return known


def decode_llc(work: Work, rows: Rows) -> None:
    """IEEE 802.2 LLC: SNAP, IP and the ISO network layer identifiers that name IP (RFC 1042, RFC 2684)."""
    rows = work.need(rows, 3)
    saps = u16(work.data, rows.at)
    snap = (saps == link.SAP_SNAP) & (rows.end - rows.at >= 8)
    direct = saps == link.SAP_IP
    iso = (saps == link.SAP_ISO) & (rows.end - rows.at >= 4)
    if iso.any():
        iso[iso] = np.isin(u8(work.data, rows.at[iso] + 3), (link.NLPID_IPV4, link.NLPID_IPV6))
    work.push(Header.IP, rows.select(direct).moved(3))
    work.push(Header.IP, rows.select(iso).moved(4))
    _give_up_llc(work, rows.select(~(snap | direct | iso)), np.isin(saps, link.SAPS)[~(snap | direct | iso)])
    if snap.any():
        decode_snap(work, rows.select(snap))


def decode_snap(work: Work, rows: Rows) -> None:
    """SNAP behind an LLC header at `at`: an EtherType or a bridged Ethernet frame; eight bytes are there."""
    oui, types = u24(work.data, rows.at + 3), u16(work.data, rows.at + 6)
    ethertype = np.isin(oui, link.SNAP_ETHERTYPE_OUIS) & (types > link.LENGTH_MAX)
    bridged = (oui == link.SNAP_BRIDGED_OUI) & ((types == 1) | (types == 7))
    by_ethertype(work, rows.select(ethertype).moved(8), types[ethertype])
    work.push(Header.ETHERNET, work.need(rows.select(bridged), 10).moved(10))
    control = (oui == link.SNAP_CISCO_OUI) & np.isin(types, link.SNAP_CISCO_TYPES)
    rest = ~(ethertype | bridged)
    _give_up_llc(work, rows.select(rest), control[rest])


def _give_up_llc(work: Work, rows: Rows, known: Bool) -> None:
    """LLC frames without IP; `known` tells which of them need no second look."""
    work.skip("llc", rows.select(known))
    rows = rows.select(~known)
    work.skip("llc", rows.select(ask_dpkt(work, rows)))


def decode_ppp(work: Work, rows: Rows) -> None:
    """PPP with or without its HDLC address and control bytes, protocol field of one or two bytes (RFC 1661, 1662)."""
    rows = work.need(rows, 2)
    framed = u16(work.data, rows.at) == 0xFF03
    rows = work.need(rows.moved(rows.at + 2 * framed), 2)
    first = u8(work.data, rows.at)
    short = (first & 1).astype(np.bool_)  # protocol field compression: the last byte is the odd one
    protocols = np.where(short, first, u16(work.data, rows.at))
    rows = rows.moved(rows.at + np.where(short, 1, 2))
    internet = (protocols == link.PPP_IPV4) | (protocols == link.PPP_IPV6)
    work.push(Header.IP, rows.select(internet))
    work.push(Header.MPLS, rows.select(protocols == link.PPP_MPLS))
    bridged, multilink = protocols == link.PPP_BRIDGED, protocols == link.PPP_MULTILINK
    # RFC 3518 section 4.1: flags with the number of pad bytes, MAC type (1: 802.3), then the frame.
    work.push(Header.ETHERNET, work.need(rows.select(bridged), 2).moved(2))
    if multilink.any():
        # RFC 1990 section 3: a packet that begins and ends here is whole; parts of one are not put together.
        links = work.need(rows.select(multilink), 4)
        whole = u8(work.data, links.at) & 0xC0 == 0xC0
        work.push(Header.PPP, links.select(whole).moved(4))
        work.skip("ppp-multilink-fragment", links.select(~whole))
    rest = ~(internet | bridged | multilink | (protocols == link.PPP_MPLS))
    control = rest & (protocols >= 0x4000)
    work.skip("ppp-control", rows.select(control))
    work.skip_each("ppp", protocols[rest & ~control], link.PPP_NAMES, rows.select(rest & ~control), "#06x")
