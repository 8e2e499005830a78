"""One frame for every link layer and tunnel, all around the same inner packet."""

from __future__ import annotations

import struct

import pytest
from helpers.frames import MACS, ethernet, extension, fragment6, ip4, ip6, mpls, tcp, udp, vlan

TEXT = b"* OK ready\r\n"
V4, V6 = ip4(tcp(TEXT)), ip6(tcp(TEXT))
PLAIN = ethernet(V4)
SNAP = bytes.fromhex("aaaa03000000")
NO_VLAN, NO_TUNNEL = (), ()


def in_udp(payload: bytes, port: int, source: int = 33333) -> bytes:
    return ethernet(ip4(udp(payload, source, port), 17, "192.0.2.1", "192.0.2.2"))


def gre(flags: int, kind: int, payload: bytes, options: bytes = b"") -> bytes:
    return ethernet(ip4(struct.pack(">HH", flags, kind) + options + payload, 47, "192.0.2.1", "192.0.2.2"))


def gtp(payload: bytes, flags: int = 0x30, optional: bytes = b"") -> bytes:
    return struct.pack(">BBHI", flags, 0xFF, len(optional) + len(payload), 0x1234) + optional + payload


def sll2(kind: int, payload: bytes) -> bytes:
    return struct.pack(">HHIHBB8s", kind, 0, 2, 1, 0, 6, bytes(8)) + payload


def radiotap(payload: bytes) -> bytes:
    return struct.pack("<BBHI", 0, 0, 8, 0) + payload


def wlan(payload: bytes, control: int = 0x08, flags: int = 0x01, extra: bytes = b"") -> bytes:
    return bytes((control, flags)) + bytes(22) + extra + payload


LLC_V4 = SNAP + b"\x08\x00" + V4
ERSPAN_II = struct.pack(">HHI", 0x1000 | 77, 0x1000 | 21, 0)  # version 1, VLAN 77 taken off, session 21
VNI = struct.pack(">II", 0x08000000, 5001 << 8)
TZSP = bytes((1, 0, 0, 1)) + bytes((10, 1, 200)) + bytes((0, 1))

CASES = [  # link type, frame, VLAN ids, tunnels
    pytest.param(1, PLAIN, NO_VLAN, NO_TUNNEL, id="plain Ethernet"),
    pytest.param(1, ethernet(V6, 0x86DD), NO_VLAN, NO_TUNNEL, id="IPv6"),
    pytest.param(1, ethernet(ip4(tcp(TEXT), options=b"\x01\x01\x01\x00")), NO_VLAN, NO_TUNNEL, id="IPv4 options"),
    pytest.param(1, ethernet(ip4(tcp(TEXT, options=b"\x01" * 40))), NO_VLAN, NO_TUNNEL, id="TCP options to the limit"),
    pytest.param(1, ethernet(vlan(5) + V4, 0x8100), (5,), NO_TUNNEL, id="802.1Q"),
    pytest.param(1, ethernet(vlan(0x6005) + V4, 0x8100), (5,), NO_TUNNEL, id="802.1Q with a priority"),
    pytest.param(1, ethernet(vlan(0) + V4, 0x8100), NO_VLAN, NO_TUNNEL, id="a priority tag is no VLAN"),
    pytest.param(1, ethernet(vlan(9, 0x8100) + vlan(5) + V4, 0x88A8), (9, 5), NO_TUNNEL, id="802.1ad"),
    pytest.param(1, ethernet(vlan(9, 0x9100) + vlan(8, 0x8100) + vlan(7) + V4, 0x8100), (9, 8, 7), NO_TUNNEL,
                 id="three tags"),
    pytest.param(1, ethernet(bytes(4) + struct.pack(">H", 0x8100) + vlan(5) + V4, 0x8926), (5,), NO_TUNNEL,
                 id="VN-Tag before a VLAN"),
    pytest.param(1, ethernet(bytes(6) + b"\x08\x00" + V4, 0x893F), NO_VLAN, NO_TUNNEL, id="E-Tag"),
    pytest.param(1, ethernet(LLC_V4, len(LLC_V4)), NO_VLAN, NO_TUNNEL, id="802.3 with SNAP"),
    pytest.param(1, ethernet(b"\x06\x06\x03" + V4, 3 + len(V4)), NO_VLAN, NO_TUNNEL, id="802.3 with the IP SAP"),
    pytest.param(1, ethernet(b"\xfe\xfe\x03\xcc" + V4, 4 + len(V4)), NO_VLAN, NO_TUNNEL, id="802.3 with a NLPID"),
    pytest.param(1, ethernet(mpls(17) + V4, 0x8847), NO_VLAN, ("mpls",), id="MPLS"),
    pytest.param(1, ethernet(mpls(17, 18, 19) + V6, 0x8847), NO_VLAN, ("mpls",), id="three MPLS labels"),
    pytest.param(1, ethernet(mpls(17) + bytes(4) + PLAIN, 0x8847), NO_VLAN, ("mpls", "pseudowire"),
                 id="MPLS pseudowire with a control word"),
    pytest.param(1, ethernet(mpls(17) + PLAIN, 0x8847), NO_VLAN, ("mpls", "pseudowire"),
                 id="MPLS pseudowire without a control word"),
    pytest.param(1, ethernet(struct.pack(">BBHHH", 0x11, 0, 3, 2 + len(V4), 0x21) + V4, 0x8864), NO_VLAN, ("pppoe:3",),
                 id="PPPoE"),
    pytest.param(1, ethernet(struct.pack(">I", 0xABCD) + PLAIN, 0x88E7), NO_VLAN, ("pbb:43981",), id="802.1ah"),
    pytest.param(1, ethernet(bytes(2) + PLAIN, 0x8903), NO_VLAN, NO_TUNNEL, id="FabricPath"),
    pytest.param(1, ethernet(bytes(6) + PLAIN, 0x22F3), NO_VLAN, NO_TUNNEL, id="TRILL"),
    pytest.param(1, ethernet(bytes((0, 2, 2, 3, 0, 0, 0, 0)) + PLAIN, 0x894F), NO_VLAN, NO_TUNNEL, id="NSH"),
    pytest.param(0, b"\x02\x00\x00\x00" + V4, NO_VLAN, NO_TUNNEL, id="null, little-endian"),
    pytest.param(0, b"\x00\x00\x00\x1e" + V6, NO_VLAN, NO_TUNNEL, id="null, big-endian"),
    pytest.param(108, b"\x00\x00\x00\x02" + V4, NO_VLAN, NO_TUNNEL, id="loop"),
    pytest.param(101, V4, NO_VLAN, NO_TUNNEL, id="raw IPv4"),
    pytest.param(12, V6, NO_VLAN, NO_TUNNEL, id="raw IPv6"),
    pytest.param(228, V4, NO_VLAN, NO_TUNNEL, id="LINKTYPE_IPV4"),
    pytest.param(229, V6, NO_VLAN, NO_TUNNEL, id="LINKTYPE_IPV6"),
    pytest.param(113, struct.pack(">HHH8sH", 0, 1, 6, bytes(8), 0x0800) + V4, NO_VLAN, NO_TUNNEL, id="SLL"),
    pytest.param(113, struct.pack(">HHH8sH", 0, 1, 6, bytes(8), 0x8100) + vlan(5) + V4, (5,), NO_TUNNEL,
                 id="SLL, VLAN"),
    pytest.param(113, struct.pack(">HHH8sH", 0, 1, 6, bytes(8), 4) + LLC_V4, NO_VLAN, NO_TUNNEL, id="SLL, LLC"),
    pytest.param(276, sll2(0x86DD, V6), NO_VLAN, NO_TUNNEL, id="SLL2"),
    pytest.param(9, b"\xff\x03\x00\x21" + V4, NO_VLAN, NO_TUNNEL, id="PPP in HDLC framing"),
    pytest.param(9, b"\x21" + V4, NO_VLAN, NO_TUNNEL, id="PPP with a compressed protocol field"),
    pytest.param(50, b"\xff\x03\x00\x57" + V6, NO_VLAN, NO_TUNNEL, id="PPP_SERIAL"),
    pytest.param(50, b"\x0f\x00\x08\x00" + V4, NO_VLAN, NO_TUNNEL, id="PPP_SERIAL with Cisco HDLC"),
    pytest.param(51, struct.pack(">BBHHH", 0x11, 0, 3, 2 + len(V4), 0x21) + V4, NO_VLAN, ("pppoe:3",), id="PPP_ETHER"),
    pytest.param(9, b"\x00\x3d\xc0\x00\x00\x01\x00\x21" + V4, NO_VLAN, NO_TUNNEL, id="whole multilink PPP packet"),
    pytest.param(104, b"\x0f\x00\x86\xdd" + V6, NO_VLAN, NO_TUNNEL, id="Cisco HDLC"),
    pytest.param(107, b"\x18\x41\x03\xcc" + V4, NO_VLAN, NO_TUNNEL, id="frame relay with a NLPID"),
    pytest.param(107, b"\x18\x41\x03\x00\x80\x00\x00\x00\x08\x00" + V4, NO_VLAN, NO_TUNNEL, id="frame relay with SNAP"),
    pytest.param(107, b"\x18\x41\x08\x00" + V4, NO_VLAN, NO_TUNNEL, id="frame relay of Cisco"),
    pytest.param(10, b"\x50" + MACS + LLC_V4, NO_VLAN, NO_TUNNEL, id="FDDI"),
    pytest.param(6, b"\x10\x40" + MACS + LLC_V4, NO_VLAN, NO_TUNNEL, id="token ring"),
    pytest.param(6, b"\x10\x40" + MACS[:6] + b"\x82" + MACS[7:] + b"\x06\x00\x12\x34\x56\x70" + LLC_V4, NO_VLAN,
                 NO_TUNNEL, id="token ring with source routing"),
    pytest.param(129, b"\x01\x02\x00\x00\xd4\x00\x00\x01" + V4, NO_VLAN, NO_TUNNEL, id="ARCNET"),
    pytest.param(8, bytes(16) + V4, NO_VLAN, NO_TUNNEL, id="SLIP"),
    pytest.param(117, b"\x3d" + bytes(63) + V4, NO_VLAN, NO_TUNNEL, id="PFLOG"),
    pytest.param(239, struct.pack("<BBH", 2, 0, 5) + struct.pack("<HHI", 8, 6, 1) + struct.pack("<HHH2x", 6, 3, 1)
                 + struct.pack("<HH", 4 + len(V4), 9) + V4, NO_VLAN, NO_TUNNEL, id="NFLOG"),
    pytest.param(239, struct.pack(">BBH", 2, 0, 5) + struct.pack(">HH", 4 + len(V4), 9) + V4, NO_VLAN, NO_TUNNEL,
                 id="NFLOG of a big-endian machine"),
    pytest.param(105, wlan(LLC_V4), NO_VLAN, NO_TUNNEL, id="802.11 data"),
    pytest.param(105, wlan(LLC_V4, 0x88, 0x01, bytes(2)), NO_VLAN, NO_TUNNEL, id="802.11 data with QoS"),
    pytest.param(105, wlan(LLC_V4, 0x08, 0x03, bytes(6)), NO_VLAN, NO_TUNNEL, id="802.11 data between access points"),
    pytest.param(105, wlan(MACS + struct.pack(">H", len(LLC_V4)) + LLC_V4, 0x88, 0x01, b"\x80\x00"), NO_VLAN, NO_TUNNEL,
                 id="802.11 aggregate"),
    pytest.param(127, radiotap(wlan(LLC_V4)), NO_VLAN, NO_TUNNEL, id="radiotap"),
    pytest.param(192, struct.pack("<BBHI", 0, 0, 8, 105) + wlan(LLC_V4), NO_VLAN, NO_TUNNEL, id="PPI"),
    pytest.param(258, struct.pack("<III", 16, 1, 1) + bytes(4) + PLAIN, NO_VLAN, NO_TUNNEL, id="PKTAP"),
    pytest.param(197, bytes(8) + b"\x82" + bytes(7) + b"\x03" + bytes(7) + bytes(2) + PLAIN, NO_VLAN, NO_TUNNEL,
                 id="ERF with an extension header"),
    pytest.param(178, b"MGC\x00" + PLAIN, NO_VLAN, NO_TUNNEL, id="Juniper Ethernet"),
    pytest.param(178, b"MGC\x80\x00\x03\x01\x02\x03" + PLAIN, NO_VLAN, NO_TUNNEL,
                 id="Juniper Ethernet with extensions"),
    pytest.param(242, bytes(40) + b"\x08\x00\x00\x00" + V4, NO_VLAN, NO_TUNNEL, id="IP over InfiniBand"),
    pytest.param(274, bytes(8) + PLAIN, NO_VLAN, NO_TUNNEL, id="mPacket"),
    pytest.param(1, ethernet(ip4(V4, 4, "192.0.2.1", "192.0.2.2")), NO_VLAN, ("ipip",), id="IP in IP"),
    pytest.param(1, ethernet(ip4(V6, 41, "192.0.2.1", "192.0.2.2")), NO_VLAN, ("6in4",), id="6in4"),
    pytest.param(1, ethernet(ip6(V4, 4), 0x86DD), NO_VLAN, ("4in6",), id="4in6"),
    pytest.param(1, ethernet(ip6(V6, 41), 0x86DD), NO_VLAN, ("ip6ip6",), id="IPv6 in IPv6"),
    pytest.param(1, ethernet(ip4(b"\x30\x00" + PLAIN, 97)), NO_VLAN, ("etherip",), id="EtherIP"),
    pytest.param(1, ethernet(ip4(mpls(16) + V4, 137)), NO_VLAN, ("mpls",), id="MPLS in IP"),
    pytest.param(1, gre(0, 0x0800, V4), NO_VLAN, ("gre",), id="GRE"),
    pytest.param(1, gre(0xB000, 0x86DD, V6, struct.pack(">III", 0, 99, 1)), NO_VLAN, ("gre:99",),
                 id="GRE with checksum, key and sequence number"),
    pytest.param(1, gre(0x2000, 0x6558, PLAIN, struct.pack(">I", 99)), NO_VLAN, ("gre",),
                 id="bridged GRE, its key left out"),
    pytest.param(1, gre(0x3001, 0x880B, b"\xff\x03\x00\x21" + V4, struct.pack(">HHI", 4 + len(V4), 77, 1)), NO_VLAN,
                 ("pptp",), id="PPTP"),
    pytest.param(1, gre(0, 0x88BE, PLAIN), NO_VLAN, ("erspan",), id="ERSPAN I"),
    pytest.param(1, gre(0x1000, 0x88BE, ERSPAN_II + PLAIN, bytes(4)), (77,), ("erspan:21",), id="ERSPAN II"),
    pytest.param(1, gre(0x1000, 0x22EB, struct.pack(">HHIHH", 0x2000, 21, 0, 0, 0) + PLAIN, bytes(4)), NO_VLAN,
                 ("erspan:21",), id="ERSPAN III"),
    pytest.param(1, gre(0x1000, 0x22EB, struct.pack(">HHIHH", 0x2000, 21, 0, 0, 1) + bytes(8) + PLAIN, bytes(4)),
                 NO_VLAN,
                 ("erspan:21",), id="ERSPAN III with a platform header"),
    pytest.param(1, gre(0, 0x883E, bytes(4) + V4), NO_VLAN, ("gre",), id="WCCP with a redirect header"),
    pytest.param(1, gre(0, 0x8200, wlan(LLC_V4)), NO_VLAN, ("gre",), id="802.11 in GRE"),
    pytest.param(1, in_udp(VNI + PLAIN, 4789), NO_VLAN, ("vxlan:5001",), id="VXLAN"),
    pytest.param(1, in_udp(VNI + ethernet(vlan(5) + V4, 0x8100), 8472), (5,), ("vxlan:5001",), id="VLAN in VXLAN"),
    pytest.param(1, in_udp(b"\xff\xff\xff\xff" + VNI[4:7] + b"\xff" + PLAIN, 4789), NO_VLAN, ("vxlan:5001",),
                 id="VXLAN with reserved bits set"),
    pytest.param(1, in_udp(b"\x0c\x00\x00\x01" + VNI[4:] + V4, 4790), NO_VLAN, ("vxlan:5001",), id="VXLAN-GPE"),
    pytest.param(1, in_udp(struct.pack(">BBHI", 2, 0, 0x6558, 7 << 8) + bytes(8) + PLAIN, 6081), NO_VLAN, ("geneve",),
                 id="Geneve with options"),
    pytest.param(1, in_udp(struct.pack(">BBHI", 0, 0, 0x86DD, 7 << 8) + V6, 6081), NO_VLAN, ("geneve",),
                 id="Geneve, IPv6"),
    pytest.param(1, in_udp(gtp(V4), 2152, 2152), NO_VLAN, ("gtp-u",), id="GTP-U"),
    pytest.param(1, in_udp(gtp(V6, 0x32, bytes(4)), 2152), NO_VLAN, ("gtp-u",), id="GTP-U with a sequence number"),
    pytest.param(1, in_udp(gtp(V4, 0x34, b"\x00\x00\x00\x85" + b"\x01\x00\x00\xc0" + b"\x02" + bytes(6) + b"\x00"),
                 2152),
                 NO_VLAN, ("gtp-u",), id="GTP-U with extension headers"),
    pytest.param(1, in_udp(V6, 3544), NO_VLAN, ("teredo",), id="Teredo"),
    pytest.param(1, in_udp(b"\x00\x01\x02\x03" + bytes(5 + 8 + 1) + bytes(8) + V6, 55555, 3544), NO_VLAN, ("teredo",),
                 id="Teredo with authentication and origin"),
    pytest.param(1, in_udp(ip6(tcp(TEXT), src="2001:0:1::1"), 55555), NO_VLAN, ("teredo",), id="Teredo between peers"),
    pytest.param(1, in_udp(struct.pack(">HHHH", 0x4002, 12 + len(V4), 1, 2) + b"\xff\x03\x00\x21" + V4, 1701), NO_VLAN,
                 ("l2tp",), id="L2TP"),
    pytest.param(1, in_udp(struct.pack(">HHHHHHH", 0x0A02, 1, 2, 0, 0, 2, 0) + b"\x21" + V4, 1701), NO_VLAN, ("l2tp",),
                 id="L2TP with sequence numbers and an offset"),
    pytest.param(1, in_udp(b"\x00\x10\x03\x00" + bytes(4) + wlan(LLC_V4), 5247), NO_VLAN, ("capwap",),
                 id="CAPWAP, 802.11"),
    pytest.param(1, in_udp(b"\x00\x10\x00\x00" + bytes(4) + PLAIN, 5247), NO_VLAN, ("capwap",), id="CAPWAP, 802.3"),
    pytest.param(1, in_udp(b"\x00\x00\x08\x00" + V4, 4754), NO_VLAN, ("gre",), id="GRE in UDP"),
    pytest.param(1, in_udp(mpls(16) + V4, 6635), NO_VLAN, ("mpls",), id="MPLS in UDP"),
    pytest.param(1, in_udp(bytes(8) + V4, 4341), NO_VLAN, ("lisp",), id="LISP"),
    pytest.param(1, in_udp(TZSP + PLAIN, 37008), NO_VLAN, ("tzsp",), id="TZSP"),
    pytest.param(1, gre(0x1000, 0x88BE, ERSPAN_II + in_udp(VNI + ethernet(mpls(17) + V4, 0x8847), 4789), bytes(4)),
                 (77,),
                 ("erspan:21", "vxlan:5001", "mpls"), id="MPLS in VXLAN in ERSPAN"),
    pytest.param(1, ethernet(ip4(struct.pack(">BBHII", 6, 4, 0, 1, 1) + bytes(12) + tcp(TEXT), 51)), NO_VLAN, NO_TUNNEL,
                 id="AH"),
    pytest.param(1, ethernet(ip6(extension(43) + extension(60, b"\x00\x00" + bytes(4)) + extension(6) + tcp(TEXT), 0),
                             0x86DD), NO_VLAN, NO_TUNNEL, id="IPv6 extension headers"),
    pytest.param(1, ethernet(ip6(fragment6(6, 0, False) + tcp(TEXT), 44), 0x86DD), NO_VLAN, NO_TUNNEL,
                 id="IPv6 atomic fragment"),
]
