"""Link types of captures: from the first byte of a frame to a header that `links`, `shims` or `network` know."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imapids.decode.columns import Rows, u8, u16, u24, u32
from imapids.decode.headers import Header
from imapids.decode.links import TAGS, by_ethertype, decode_snap, is_ip_type
from imapids.decode.rare import ask_dpkt
from imapids.decode.work import Work
from imapids.protocols import link_layers as link
from imapids.records.packets import I64, U8


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
    typed = is_ip_type(family)  # some writers put an EtherType there
    work.push(Header.IP, rows.select(internet | typed).moved(4))
    rest = ~(internet | typed)
    rows, family = rows.select(rest), family[rest]
    lost = ask_dpkt(work, rows)
    work.skip_each("address-family", family[lost], {}, rows.select(lost))


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
    rows, protocols = rows.select(rest), protocols[rest]
    lost = ask_dpkt(work, rows)
    work.skip_each("cooked-protocol", protocols[lost], {}, rows.select(lost))


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


def _little(data: U8, at: I64, size: int) -> I64:
    """Little-endian numbers at many offsets."""
    return sum((u8(data, at + index) << 8 * index for index in range(1, size)), u8(data, at))


def _wrapped(length_at: int, length_size: int, kind_at: int, least: int) -> Callable[[Work, Rows], None]:
    """A header that tells its own length and the link type of what follows, both little-endian."""
    def decode(work: Work, rows: Rows) -> None:
        rows = work.need(rows, least)
        length = _little(work.data, rows.at + length_at, length_size)
        kind = _little(work.data, rows.at + kind_at, 4)
        for number in np.unique(kind).tolist():
            same = kind == number
            if number in _WRAPPERS:  # a header of this sort in another one: nobody writes that
                work.skip("bad-link-header", rows.select(same))
            else:
                by_link_type(work, _jump(work, rows.select(same), length[same], least), number)

    return decode


_WRAPPERS = (link.PPI, link.PKTAP)


def by_link_type(work: Work, rows: Rows, number: int) -> None:
    """Frames of a LINKTYPE_ number; the unknown ones are counted as `unknown-link-type:N`."""
    decode = LINK_TYPES.get(number)
    if decode is not None:
        decode(work, rows)
    else:
        work.skip(f"unknown-link-type:{number}", rows)


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


def _juniper(follow: Callable[[Work, Rows], None]) -> Callable[[Work, Rows], None]:
    """Juniper's header: magic 4D4743, flags (0x80: extensions follow, 0x02: no link layer), then the frame."""
    def decode(work: Work, rows: Rows) -> None:
        rows = work.need(rows, 6)
        good = u24(work.data, rows.at) == 0x4D4743
        rows = work.keep(rows, good, "bad-link-header")
        flags = u8(work.data, rows.at + 3)
        length = np.where(flags & 0x80, u16(work.data, rows.at + 4) + 6, 4)
        bare = flags & 0x02 != 0
        work.push(Header.IP, _jump(work, rows.select(bare), length[bare] + 4, 4))
        follow(work, _jump(work, rows.select(~bare), length[~bare], 4))

    return decode


def _decode_ipfc(work: Work, rows: Rows) -> None:
    """IP over Fibre Channel: two addresses of eight bytes, then LLC (RFC 4338)."""
    work.push(Header.LLC, work.need(rows, 16).moved(16))


def _decode_frame_relay(work: Work, rows: Rows) -> None:
    """Frame relay: an address of two bytes, then 0x03 and a NLPID (RFC 2427), or an EtherType (Cisco)."""
    rows = work.need(rows, 6)
    rows = work.keep(rows, u8(work.data, rows.at + 1) & 1 == 1, "frame-relay-address")
    framed = u8(work.data, rows.at + 2) == 0x03
    typed, rows = rows.select(~framed), rows.select(framed)
    by_ethertype(work, typed.moved(4), u16(work.data, typed.at + 2))
    rows = rows.moved(rows.at + 3 + (u8(work.data, rows.at + 3) == 0))  # a zero pads to an even address
    kind = u8(work.data, rows.at)
    internet = (kind == link.NLPID_IPV4) | (kind == link.NLPID_IPV6)
    snap = (kind == link.NLPID_SNAP) & (rows.end - rows.at >= 6)
    work.push(Header.IP, rows.select(internet).moved(1))
    if snap.any():
        decode_snap(work, rows.select(snap).moved(-2))  # stands where the last byte of an LLC header would
    work.skip("llc", rows.select(~(internet | snap)))


def _decode_erf(work: Work, rows: Rows) -> None:
    """Endace ERF: 16 bytes with the type at 8, extension headers of eight bytes, two of padding before Ethernet."""
    rows = work.need(rows, 16)
    kind = u8(work.data, rows.at + 8)
    ethernet = np.isin(kind & 0x7F, (2, 11, 16, 20))
    work.skip_each("erf-type", kind[~ethernet] & 0x7F, {}, rows.select(~ethernet))
    rows, more = rows.select(ethernet).moved(16), kind[ethernet] & 0x80 != 0
    for _ in range(TAGS):
        work.push(Header.ETHERNET, work.need(rows.select(~more), 2).moved(2))
        rows = work.need(rows.select(more), 8)
        more = u8(work.data, rows.at) & 0x80 != 0
        rows = rows.moved(8)
    work.skip("too-many-tags", rows)


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
    link.PPI: _wrapped(2, 2, 4, 8),
    link.PKTAP: _wrapped(0, 4, 8, 12),
    link.ENC: _skip_bytes(12, Header.IP),
    link.SLL: _decode_sll,
    link.SLL2: _decode_sll2,
    link.PFLOG: _decode_pflog,
    link.IPFC: _decode_ipfc,
    link.APPLE_1394: _typed(16, 18),
    link.NFLOG: _decode_nflog,
    link.IPOIB: _typed(40, 44),
    link.MPACKET: _skip_bytes(8, Header.ETHERNET),
    link.JUNIPER_ETHER: _juniper(_pass(Header.ETHERNET)),
    link.JUNIPER_PPP: _juniper(_pass(Header.PPP)),
    link.JUNIPER_C_HDLC: _juniper(_decode_c_hdlc),
    link.JUNIPER_FRAME_RELAY: _juniper(_decode_frame_relay),
    link.FRAME_RELAY: _decode_frame_relay,
    link.SLIP: _skip_bytes(16, Header.IP),
    link.IPNET: _skip_bytes(24, Header.IP),
    link.NETANALYZER: _skip_bytes(4, Header.ETHERNET),
    link.NETANALYZER_RAW: _skip_bytes(12, Header.ETHERNET),
    link.ERF: _decode_erf,
}
"""What to do with the frames of a LINKTYPE_ number."""
