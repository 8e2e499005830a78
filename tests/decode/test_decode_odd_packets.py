"""What is broken, cut, oversized or not TCP and UDP is counted by its reason; what can be read is read."""

from __future__ import annotations

import struct

import pytest
from helpers.frames import (
    CLIENT,
    CLIENT6,
    SERVER6,
    Decoded,
    ethernet,
    extension,
    ip4,
    ip6,
    mpls,
    syn,
    tcp,
    udp,
    vlan,
)

from imapids.config import DecodeLimits

TEXT = b"a1 NOOP\r\n"
JUMBO = bytes(range(256)) * 320  # 81,920 bytes


def v6(packet: bytes) -> bytes:
    return ethernet(packet, 0x86DD)


@pytest.mark.parametrize(("frame", "reason"), [
    pytest.param(ethernet(bytes(28), 0x0806), "arp", id="ARP"),
    pytest.param(ethernet(bytes(28), 0x1234 + 0x1000), "ethertype:0x2234", id="an unknown EtherType, by its number"),
    pytest.param(ethernet(b"\x42\x42\x03" + bytes(35), 38), "llc", id="spanning tree"),
    pytest.param(b"\x01\x02\x03", "cut-header", id="three bytes"),
    pytest.param(b"", "cut-header", id="nothing"),
    pytest.param(ethernet(vlan(1, 0x8100) + vlan(2, 0x8100) + vlan(3, 0x8100) + vlan(4) + ip4(tcp()), 0x8100),
                 "too-many-vlan-tags", id="a fourth VLAN tag"),
    pytest.param(ethernet(b"\x75" + bytes(30)), "bad-ip-version", id="IP version 7"),
    pytest.param(ethernet(ip4(tcp(), ihl=0)), "bad-ip-header", id="IPv4 header length 0"),
    pytest.param(ethernet(ip4(tcp(), ihl=4)), "bad-ip-header", id="IPv4 header length 16"),
    pytest.param(ethernet(ip4(tcp(), total=19)), "bad-ip-length", id="IPv4 total length below the header"),
    pytest.param(ethernet(ip4(tcp()[:12] + b"\x40" + tcp()[13:])), "bad-tcp-header", id="TCP data offset 16"),
    pytest.param(ethernet(ip4(tcp()[:12] + b"\xf0" + tcp()[13:])), "bad-tcp-header",
                 id="TCP data offset past the packet"),
    pytest.param(ethernet(ip4(tcp()[:14])), "bad-tcp-header", id="TCP in 14 announced bytes"),
    pytest.param(ethernet(ip4(tcp()))[:44], "cut-header", id="TCP header cut by the capture"),
    pytest.param(ethernet(ip4(udp(TEXT, length=7), 17)), "bad-udp-length", id="UDP length 7"),
    pytest.param(ethernet(ip4(b"\0\0\0\1\0", 17)), "bad-udp-length", id="UDP in five bytes"),
    pytest.param(ethernet(ip4(b"\x08\x00" + bytes(6), 1)), "icmp", id="ICMP echo"),
    pytest.param(v6(ip6(b"\x80\x00" + bytes(6), 58)), "icmpv6", id="ICMPv6 echo"),
    pytest.param(ethernet(ip4(bytes(12), 132)), "sctp", id="SCTP"),
    pytest.param(ethernet(ip4(bytes(12), 253)), "ip-protocol:253", id="an unknown IP protocol, by its number"),
    pytest.param(ethernet(ip4(bytes(12), 50)), "esp", id="ESP"),
    pytest.param(ethernet(ip4(bytes(12), 108)), "ipcomp", id="IPComp"),
    pytest.param(v6(ip6(b"", 59)), "no-next-header", id="IPv6 with nothing in it"),
    pytest.param(v6(ip6(extension(60) * 16 + extension(6) + tcp(), 60)), "too-many-extension-headers",
                 id="seventeen IPv6 extension headers"),
    pytest.param(v6(ip6(b"\x06\xff" + bytes(22), 0)), "bad-extension-header", id="an extension header past the packet"),
    pytest.param(v6(ip6(extension(6) + tcp(), 0))[:58], "cut-header", id="extension header cut by the capture"),
    pytest.param(ethernet(mpls(*range(16, 40)) + ip4(tcp()), 0x8847), "too-many-labels", id="24 MPLS labels"),
    pytest.param(ethernet(ip4(struct.pack(">HHHHI", 0x2001, 0x880B, 0, 1, 1), 47)), "pptp-acknowledgement",
                 id="PPTP acknowledgement without data"),
    pytest.param(ethernet(ip4(bytes(4), 47)), "gre-keepalive", id="GRE keep-alive"),
    pytest.param(ethernet(ip4(b"\x00\x07\x08\x00", 47)), "bad-gre-version", id="GRE version 7"),
    pytest.param(ethernet(b"\x11\x00\x00\x03\x00\x04\xc0\x21\x01\x02", 0x8864), "ppp-control", id="PPP negotiation"),
])
def test_what_gives_no_segment_is_counted_by_reason(frame, reason):
    result = Decoded([frame])
    assert result.segments == []
    assert result.account.skipped == {reason: 1}


def test_unknown_link_types_are_counted_by_number():
    result = Decoded([b"x" * 60] * 3, [147, 147, 65535])
    assert result.account.skipped == {"unknown-link-type:147": 2, "unknown-link-type:65535": 1}


def test_hostile_numbers_do_not_make_endless_counters():
    result = Decoded([ethernet(b"", 0x600 + i) for i in range(2000)])
    assert len(result.account.skipped) <= 300
    assert sum(result.account.skipped.values()) == 2000


@pytest.mark.parametrize(("frame", "original", "length", "payload", "notes"), [
    pytest.param(ethernet(ip4(tcp(TEXT), total=0)), None, len(TEXT), TEXT, {"presumed-offload": 1},
                 id="IPv4 length 0 is an offloaded frame"),
    pytest.param(ethernet(ip4(tcp(JUMBO), total=0)), None, len(JUMBO), JUMBO, {"presumed-offload": 1},
                 id="80 kB in an offloaded IPv4 frame"),
    pytest.param(v6(ip6(tcp(JUMBO), length=0)), None, len(JUMBO), JUMBO, {"presumed-offload": 1},
                 id="80 kB in an offloaded IPv6 frame"),
    pytest.param(v6(ip6(b"\x06\x00\xc2\x04" + struct.pack(">I", 8 + 20 + len(JUMBO)) + tcp(JUMBO), 0, length=0)), None,
                 len(JUMBO), JUMBO, {"jumbogram": 1}, id="a jumbogram"),
    pytest.param(v6(ip6(b"\x06\x01\x00\x01\x02\x00\x00\x00\x00\x00\xc2\x04" + struct.pack(">I", 16 + 20 + len(JUMBO))
                        + tcp(JUMBO), 0, length=0)), None, len(JUMBO), JUMBO, {"jumbogram": 1},
                 id="a jumbo option behind other options"),
    pytest.param(ethernet(ip4(tcp(TEXT), total=40 + len(TEXT) + 1)), None, len(TEXT) + 1, TEXT,
                 {"ip-length-past-frame": 1}, id="IPv4 length one past the frame"),
    pytest.param(ethernet(ip4(tcp(TEXT)))[:-4], 54 + len(TEXT), len(TEXT), TEXT[:-4], {},
                 id="payload cut by the snaplen"),
    pytest.param(ethernet(ip4(tcp(TEXT, options=bytes(12))))[:60], 66 + len(TEXT), len(TEXT), b"", {},
                 id="TCP options cut by the snaplen"),
    pytest.param(ethernet(ip4(tcp(TEXT)) + b"PADDING"), None, len(TEXT), TEXT, {}, id="Ethernet padding is no payload"),
    pytest.param(v6(ip6(extension(6) + tcp(TEXT), 0) + b"PADDING"), None, len(TEXT), TEXT, {},
                 id="padding behind IPv6 extension headers"),
    pytest.param(ethernet(ip4(udp(TEXT, length=0), 17)), None, len(TEXT), TEXT, {"udp-length-zero": 1},
                 id="UDP length 0"),
    pytest.param(ethernet(ip4(udp(TEXT, length=999), 17)), None, len(TEXT), TEXT, {"udp-length-past-ip": 1},
                 id="UDP length past the packet"),
    pytest.param(ethernet(ip4(udp(TEXT + b"options", length=8 + len(TEXT)), 17)), None, len(TEXT), TEXT, {},
                 id="bytes behind the UDP length"),
])
def test_odd_lengths(frame, original, length, payload, notes):
    result = Decoded([frame], originals=None if original is None else [original])
    assert result.only["length"] == length
    assert result.only["payload"] == payload
    assert result.account.notes == notes


@pytest.mark.parametrize("cut", [1, 2, 100])
def test_big_tcp_inside_vxlan_whose_lengths_are_all_zero(cut):
    inner = ethernet(ip4(tcp(JUMBO), total=0))
    frame = ethernet(ip4(udp(struct.pack(">II", 0x08000000, 5001 << 8) + inner, 1, 4789, length=0), 17, total=0))
    result = Decoded([frame] * 2, cut=cut)
    assert [segment["payload"] for segment in result.segments] == [JUMBO] * 2


def test_a_datagram_on_a_tunnel_port_that_is_no_tunnel_stays_a_datagram():
    ports = (4789, 8472, 4790, 6081, 2152, 3544, 1701, 5247, 4754, 4341, 37008)
    result = Decoded([ethernet(ip4(udp(payload, 53, port), 17)) for port in ports for payload in (b"", b"\xff" * 60)])
    assert [segment["dport"] for segment in result.segments] == [port for port in ports for _ in range(2)]
    assert all(segment["tunnels"] == () for segment in result.segments)


def test_a_thousand_tunnels_inside_each_other_stop_at_the_limit():
    packet = ip4(tcp())
    for _ in range(1000):
        packet = ip4(packet, 4, total=min(20 + len(packet), 65535))
    result = Decoded([ethernet(packet), ethernet(ip4(tcp()))])
    assert result.account.skipped == {"too-many-layers": 1}
    assert len(result.segments) == 1


def test_as_many_tunnels_as_the_limit_allows_are_followed():
    packet = ip4(tcp(TEXT))
    for _ in range(14):
        packet = ip4(packet, 4)
    assert Decoded([packet], 101, limits=DecodeLimits(layers=15)).only["payload"] == TEXT
    assert Decoded([packet], 101, limits=DecodeLimits(layers=14)).account.skipped == {"too-many-layers": 1}


def test_forged_tunnel_ids_share_one_path_when_the_table_is_full():
    vni = [struct.pack(">II", 0x08000000, number << 8) for number in range(300)]
    frames = [ethernet(ip4(udp(one + ethernet(ip4(tcp())), 1, 4789), 17)) for one in vni]
    result = Decoded(frames, limits=DecodeLimits(encapsulations=100))
    assert len(result.paths) <= 102
    assert result.segments[-1]["tunnels"] == ("other",)
    assert result.account.notes["encapsulations-full"] > 0


def test_the_routing_header_names_the_final_destination():
    stops = bytes.fromhex("20010db8000000000000000000000099")
    type_0 = b"\x06\x02\x00\x01" + bytes(4) + stops
    segment_routing = b"\x06\x02\x04\x01\x00\x00\x00\x00" + stops
    done = b"\x06\x02\x00\x00" + bytes(4) + stops
    result = Decoded([v6(ip6(header + tcp(), 43)) for header in (type_0, segment_routing, done)])
    assert [segment["dst"] for segment in result.segments] == ["2001:db8::99", "2001:db8::99", SERVER6]


def test_flags_and_ports_of_a_syn():
    segment = Decoded([ethernet(ip4(syn(4444, 143), ttl=3))]).only
    assert (segment["flags"], segment["ttl"], segment["sport"], segment["dport"]) == (2, 3, 4444, 143)
    assert Decoded([ethernet(ip4(tcp(flags=0xC2)))]).only["flags"] == 2  # ECN bits are not among the flags


def icmp4(kind: int, code: int, quoted: bytes) -> bytes:
    return ethernet(ip4(bytes((kind, code)) + bytes(6) + quoted, 1, "192.0.2.9", CLIENT))


def icmp6(kind: int, code: int, quoted: bytes) -> bytes:
    return v6(ip6(bytes((kind, code)) + bytes(6) + quoted, 58, "2001:db8::9", CLIENT6))


@pytest.mark.parametrize(("frame", "kind", "protocol", "port"), [
    pytest.param(icmp4(3, 3, ip4(udp(TEXT), 17)), "port-unreachable", 17, 143, id="closed UDP port"),
    pytest.param(icmp4(3, 13, ip4(syn())[:28]), "admin-prohibited", 6, 143, id="filtered port, 28 bytes quoted"),
    pytest.param(icmp4(3, 1, ip4(syn(), options=bytes(8))), "host-unreachable", 6, 143, id="quoted options"),
    pytest.param(icmp4(11, 0, ip4(syn())), "time-exceeded", 6, 143, id="time exceeded"),
    pytest.param(icmp6(1, 4, ip6(udp(TEXT), 17)), "port-unreachable", 17, 143, id="closed UDP port, IPv6"),
    pytest.param(icmp6(1, 1, ip6(extension(6) + syn(), 0)), "admin-prohibited", 6, 143, id="quoted extension headers"),
])
def test_icmp_errors_name_the_refused_packet(frame, kind, protocol, port):
    result = Decoded([frame])
    (error,) = result.icmp_errors
    assert (error.kind, error.protocol, error.dst_port, error.number) == (kind, protocol, port, 1)
    assert (len(error.reporter), len(error.src), len(error.dst)) == (16, 16, 16)
    assert sum(result.account.skipped.values()) == 1


@pytest.mark.parametrize("frame", [
    pytest.param(icmp4(8, 0, ip4(udp(), 17)), id="an echo request"),
    pytest.param(icmp4(3, 3, ip4(bytes(8), 1)), id="about another ICMP packet"),
    pytest.param(icmp4(3, 3, ip4(syn(), offset=8)), id="about a later fragment"),
    pytest.param(icmp4(3, 3, b"\x45" + bytes(27)), id="quoted zeros"),
    pytest.param(icmp6(1, 4, b"\x60" + bytes(30)), id="a cut IPv6 header"),
])
def test_other_icmp_is_only_counted(frame):
    result = Decoded([frame])
    assert result.icmp_errors == []
    assert sum(result.account.skipped.values()) == 1


def test_icmp_errors_are_bounded_for_each_batch():
    result = Decoded([icmp4(3, 3, ip4(udp(TEXT), 17))] * 30, limits=DecodeLimits(icmp_errors=10))
    assert len(result.icmp_errors) == 10
    assert result.account.notes == {"icmp-errors-dropped": 20}
