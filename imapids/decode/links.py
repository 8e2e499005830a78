"""Link layers: from the first byte of a frame to its EtherType or IP header."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imapids.decode.columns import Rows, u8, u16, u24, u32
from imapids.decode.work import Header, Work
from imapids.protocols import link_layers as link
from imapids.records.packets import I64, U8, Bool

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


def by_ethertype(work: Work, rows: Rows, types: I64) -> None:
    """Go on behind an EtherType: tags are stripped, then each packet goes to the header that its type names."""
    headers = _NEXT[types]
    known = headers != Header.UNKNOWN
    if not known.all():
        odd, odd_types = rows.select(~known), types[~known]
        tags = _TAG[odd_types] != 0
        work.skip_each("ethertype", odd_types[~tags], link.ETHERTYPE_NAMES, odd.select(~tags), "#06x")
        if tags.any():
            _strip_tags(work, odd.select(tags), odd_types[tags])
        rows, headers = rows.select(known), headers[known]
    work.push_each(headers, rows)


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
            path = work.paths.vlan(rows, u16(work.data, rows.at) & 0xFFF)
        elif tagged.any():
            path = path.copy()
            path[tagged] = work.paths.vlan(rows.select(tagged), u16(work.data, rows.at[tagged]) & 0xFFF)
        rows = rows.moved(rows.at + _TAG[types], path)
        types = u16(work.data, rows.at - 2)
    work.skip("too-many-tags", rows)


def looks_like_ethernet(data: U8, rows: Rows) -> Bool:
    """Whether an Ethernet frame with a known type may start here."""
    room = rows.end - rows.at >= 14
    types = u16(data, np.where(room, rows.at + 12, 0)) if len(data) > 1 else np.zeros(len(rows), np.int64)
    names = np.isin(types, (0x0806, 0x88CC, 0x8863, 0x888E))
    known: Bool = room & ((_NEXT[types] != Header.UNKNOWN) | (_TAG[types] != 0) | names)
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
    work.skip("llc", rows.select(~(snap | direct | iso)))
    if snap.any():
        _decode_snap(work, rows.select(snap))


def _decode_snap(work: Work, rows: Rows) -> None:
    oui, types = u24(work.data, rows.at + 3), u16(work.data, rows.at + 6)
    ethertype = np.isin(oui, link.SNAP_ETHERTYPE_OUIS) & (types > link.LENGTH_MAX)
    bridged = (oui == link.SNAP_BRIDGED_OUI) & ((types == 1) | (types == 7))
    by_ethertype(work, rows.select(ethertype).moved(8), types[ethertype])
    work.push(Header.ETHERNET, work.need(rows.select(bridged), 10).moved(10))
    work.skip("llc", rows.select(~(ethertype | bridged)))


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


def _skip_bytes(length: int, header: Header) -> Callable[[Work, Rows], None]:
    def decode(work: Work, rows: Rows) -> None:
        work.push(header, work.need(rows, length).moved(length))

    return decode


def _typed(type_at: int, length: int) -> Callable[[Work, Rows], None]:
    """A header of fixed length with an EtherType in it."""
    def decode(work: Work, rows: Rows) -> None:
        rows = work.need(rows, length)
        by_ethertype(work, rows.moved(length), u16(work.data, rows.at + type_at))

    return decode


def _decode_null(work: Work, rows: Rows) -> None:
    """BSD loopback: an address family in the byte order of the writer; IP tells its version itself."""
    rows = work.need(rows, 4)
    family = u32(work.data, rows.at)
    family = np.where(family >= 1 << 16, family >> 24 | family >> 8 & 0xFF00, family)
    internet = np.isin(family, (2, 10, 24, 28, 30))  # AF_INET, and AF_INET6 of Linux, NetBSD, FreeBSD, Darwin
    typed = _NEXT[np.minimum(family, 65_535)] == Header.IP  # some writers put an EtherType there
    work.push(Header.IP, rows.select(internet | typed).moved(4))
    rest = ~(internet | typed)
    work.skip_each("address-family", family[rest], {}, rows.select(rest))


def _cooked(work: Work, rows: Rows, protocols: I64, hardware: I64, length: int) -> None:
    """Linux cooked captures: an EtherType, or a small number for frames without one (ARPHRD_ in if_arp.h)."""
    rows = rows.moved(length)
    llc = protocols == link.SLL_802_2
    wlan, radiotap = hardware == link.ARPHRD_WLAN, hardware == link.ARPHRD_RADIOTAP
    typed = (protocols > link.LENGTH_MAX) & ~(wlan | radiotap) & (hardware != link.ARPHRD_NETLINK)
    by_ethertype(work, rows.select(typed), protocols[typed])
    work.push(Header.LLC, rows.select(llc))
    work.push(Header.WLAN, rows.select(wlan & ~llc))
    work.push(Header.RADIOTAP, rows.select(radiotap & ~llc))
    rest = ~(typed | llc | wlan | radiotap)
    work.skip_each("cooked-protocol", protocols[rest], {}, rows.select(rest))


def _decode_sll(work: Work, rows: Rows) -> None:
    rows = work.need(rows, 16)
    _cooked(work, rows, u16(work.data, rows.at + 14), u16(work.data, rows.at + 2), 16)


def _decode_sll2(work: Work, rows: Rows) -> None:
    rows = work.need(rows, 20)
    _cooked(work, rows, u16(work.data, rows.at), u16(work.data, rows.at + 8), 20)


def _decode_ppp_hdlc(work: Work, rows: Rows) -> None:
    """LINKTYPE_PPP_HDLC: PPP, or Cisco HDLC where the first byte is 0x0F or 0x8F (RFC 1547 section 4.3.1)."""
    rows = work.need(rows, 4)
    cisco = np.isin(u8(work.data, rows.at), (0x0F, 0x8F))
    work.push(Header.PPP, rows.select(~cisco))
    _decode_c_hdlc(work, rows.select(cisco))


def _decode_c_hdlc(work: Work, rows: Rows) -> None:
    """Cisco HDLC: address, control, EtherType; 0x8035 is its keep-alive there."""
    rows = work.need(rows, 4)
    by_ethertype(work, rows.moved(4), u16(work.data, rows.at + 2))


def _decode_token_ring(work: Work, rows: Rows) -> None:
    """IEEE 802.5: access and frame control, addresses, source routing where the source says so, then LLC."""
    rows = work.need(rows, 14)
    routed = u8(work.data, rows.at + 8) >= 0x80
    route = work.need(rows.select(routed), 16)
    work.push(Header.LLC, rows.select(~routed).moved(14))
    route = route.moved(route.at + 14 + (u8(work.data, route.at + 14) & 0x1F))
    work.push(Header.LLC, work.need(route, 0))


def _decode_fddi(work: Work, rows: Rows) -> None:
    """FDDI: frame control, two addresses, LLC in asynchronous frames (RFC 1188)."""
    rows = work.need(rows, 13)
    llc = u8(work.data, rows.at) & 0x50 == 0x50
    work.push(Header.LLC, rows.select(llc).moved(13))
    work.skip("fddi-management", rows.select(~llc))


def _arcnet(addresses: int) -> Callable[[Work, Rows], None]:
    def decode(work: Work, rows: Rows) -> None:
        """ARCNET: protocol 212 with a split header, 240 without one (RFC 1201, RFC 1051)."""
        rows = work.need(rows, addresses + 1)
        protocol = u8(work.data, rows.at + addresses)
        new, old = protocol == 212, protocol == 240
        work.push(Header.IP, rows.select(old).moved(addresses + 1))
        rest = ~(new | old)
        work.skip_each("arcnet", protocol[rest], {213: "arp", 241: "arp", 214: "rarp"}, rows.select(rest))
        rows = work.need(rows.select(new), addresses + 4)
        whole = u8(work.data, rows.at + addresses + 1) == 0
        work.skip("arcnet-fragment", rows.select(~whole))
        work.push(Header.IP, rows.select(whole).moved(addresses + 4))

    return decode


def _decode_nflog(work: Work, rows: Rows) -> None:
    """NFLOG: family, version, resource, then type-length-values in the writer's byte order (LINKTYPE_NFLOG)."""
    rows = work.need(rows, 4)
    rows = rows.moved(4)
    for _ in range(32):
        rows = work.need(rows, 4, "nflog-no-payload")
        if not len(rows):
            return
        length, kind = u16(work.data, rows.at), u16(work.data, rows.at + 2)
        little = kind >= 256  # attribute types are small numbers: this one is in the other byte order
        length = np.where(little, length >> 8 | (length & 0xFF) << 8, length)
        kind = np.where(little, kind >> 8, kind) & 0x7FFF
        found = kind == link.NFLOG_PAYLOAD
        work.push(Header.IP, rows.select(found).within(length[found]).moved(4))
        good = length >= 4
        work.skip("nflog-bad-length", rows.select(~found & ~good))
        go_on = ~found & good
        rows = rows.select(go_on).moved(rows.at[go_on] + (length[go_on] + 3 & ~3))
    work.skip("nflog-no-payload", rows)


def _decode_pflog(work: Work, rows: Rows) -> None:
    """OpenBSD's packet filter log: the first byte is its length, padded to four."""
    rows = work.need(rows, 1)
    work.push(Header.IP, _jump(work, rows, u8(work.data, rows.at) + 3 & ~3, 4))


def _decode_ppi(work: Work, rows: Rows) -> None:
    """Per-Packet Information: length and link type of what follows, both little-endian."""
    rows = work.need(rows, 8)
    length = u8(work.data, rows.at + 2) | u8(work.data, rows.at + 3) << 8
    kind = u8(work.data, rows.at + 4) | u8(work.data, rows.at + 5) << 8
    followers = {link.WLAN: Header.WLAN, link.ETHERNET: Header.ETHERNET, link.RADIOTAP: Header.RADIOTAP}
    for number, header in followers.items():
        same = kind == number
        work.push(header, _jump(work, rows.select(same), length[same], 8))
    rest = ~np.isin(kind, list(followers))
    work.skip_each("unknown-link-type", kind[rest], {}, rows.select(rest))


def _jump(work: Work, rows: Rows, length: I64, least: int) -> Rows:
    """Go on behind a header that tells its own length."""
    good = length >= least
    rows, length = work.keep(rows, good, "bad-link-header"), length[good]
    whole = rows.end - rows.at >= length
    return work.keep(rows, whole, "cut-header").moved(rows.at[whole] + length[whole])


def _decode_prism(work: Work, rows: Rows) -> None:
    """Prism and AVS headers before 802.11: AVS is big-endian with its length at 4, Prism tells its own at 4."""
    rows = work.need(rows, 8)
    avs = u32(work.data, rows.at) & 0xFFFF_F000 == 0x8021_1000
    big = u32(work.data, rows.at + 4)
    little = big >> 24 | big >> 8 & 0xFF00 | (big & 0xFF00) << 8 | (big & 0xFF) << 24
    work.push(Header.WLAN, _jump(work, rows, np.where(avs | (big < little), big, little), 8))


def _decode_juniper_ether(work: Work, rows: Rows) -> None:
    """Juniper's header: magic 4D4743, flags (0x80: extensions follow, 0x02: no link layer), then Ethernet."""
    rows = work.need(rows, 6)
    good = u24(work.data, rows.at) == 0x4D4743
    rows = work.keep(rows, good, "bad-link-header")
    flags = u8(work.data, rows.at + 3)
    length = np.where(flags & 0x80, u16(work.data, rows.at + 4) + 6, 4)
    bare = flags & 0x02 != 0
    work.push(Header.IP, _jump(work, rows.select(bare), length[bare] + 4, 4))
    work.push(Header.ETHERNET, _jump(work, rows.select(~bare), length[~bare], 4))


def _decode_ipfc(work: Work, rows: Rows) -> None:
    """IP over Fibre Channel: two addresses of eight bytes, then LLC (RFC 4338)."""
    work.push(Header.LLC, work.need(rows, 16).moved(16))


def _pass(header: Header) -> Callable[[Work, Rows], None]:
    def decode(work: Work, rows: Rows) -> None:
        work.push(header, rows)

    return decode


LINK_TYPES: dict[int, Callable[[Work, Rows], None]] = {
    link.NULL: _decode_null,
    link.LOOP: _decode_null,
    link.ETHERNET: _pass(Header.ETHERNET),
    link.TOKEN_RING: _decode_token_ring,
    link.ARCNET: _arcnet(2),
    link.ARCNET_LINUX: _arcnet(4),
    link.PPP: _pass(Header.PPP),
    link.PPP_PPPD: _pass(Header.PPP),
    link.PPP_WITH_DIRECTION: _skip_bytes(1, Header.PPP),
    link.PPP_HDLC: _decode_ppp_hdlc,
    link.PPP_ETHER: _pass(Header.PPPOE),
    link.FDDI: _decode_fddi,
    link.ATM_RFC1483: _pass(Header.LLC),
    **dict.fromkeys(link.RAW_NUMBERS, _pass(Header.IP)),
    link.C_HDLC: _decode_c_hdlc,
    link.WLAN: _pass(Header.WLAN),
    link.RADIOTAP: _pass(Header.RADIOTAP),
    link.PRISM: _decode_prism,
    link.WLAN_AVS: _decode_prism,
    link.PPI: _decode_ppi,
    link.ENC: _skip_bytes(12, Header.IP),
    link.SLL: _decode_sll,
    link.SLL2: _decode_sll2,
    link.PFLOG: _decode_pflog,
    link.IPFC: _decode_ipfc,
    link.APPLE_1394: _typed(16, 18),
    link.NFLOG: _decode_nflog,
    link.IPOIB: _typed(40, 44),
    link.MPACKET: _skip_bytes(8, Header.ETHERNET),
    link.JUNIPER_ETHER: _decode_juniper_ether,
}
"""What to do with the frames of a LINKTYPE_ number; the others are counted as `unknown-link-type:N`."""
