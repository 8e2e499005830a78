"""A port only suggests a tunnel: what holds no packet stays a datagram, and watched ports are never unwrapped."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from helpers.encapsulations import CASES, PLAIN, TZSP, V4, V6, VNI, gtp, in_udp
from helpers.frames import Decoded, batch_of, check_account, ethernet, ip4, mpls, readable, udp, vlan

from imapids.config import DecodeLimits
from imapids.decode import Decoder
from imapids.protocols import encapsulations as tun
from imapids.records.packets import PacketBatch
from imapids.records.segments import EncapsulationTable

PORTS = (*tun.VXLAN_PORTS, tun.VXLAN_GPE_PORT, tun.GENEVE_PORT, tun.GTP_U_PORT, tun.TEREDO_PORT, tun.L2TP_PORT,
         tun.CAPWAP_PORT, tun.GRE_IN_UDP_PORT, tun.MPLS_IN_UDP_PORT, tun.LISP_PORT, tun.TZSP_PORT)
UDP_TUNNELS = [case for case in CASES if len(case.values[3]) == 1 and case.values[3][0].partition(":")[0] in {
    "vxlan", "geneve", "gtp-u", "teredo", "l2tp", "capwap", "lisp", "tzsp"}]


def dns_answer(flags: int, name: bytes, answers: int = 1) -> bytes:
    question = b"".join(bytes((len(label),)) + label for label in name.split(b".")) + b"\0" + struct.pack(">HH", 1, 1)
    answer = struct.pack(">HHHIH4s", 0xC00C, 1, 1, 300, 4, b"\xc0\x00\x02\x01")
    return struct.pack(">HHHHHH", 0, flags, 1, answers, 0, 0) + question + answer * answers


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("payload", [
    pytest.param(dns_answer(0x8180, b"www.example.org"), id="an answer"),
    pytest.param(dns_answer(0x8580, b"eXample.oRg", 4), id="four answers in mixed case, authoritative"),
    pytest.param(dns_answer(0x8183, b"no.such.name.example", 0), id="no such name"),
    pytest.param(dns_answer(0x8380, b"a.very.long.name.with.many.labels.example.net", 0), id="truncated"),
    pytest.param(dns_answer(0x0100, b"imap.example.com", 0), id="a question"),
])
def test_dns_messages_of_every_id_to_a_tunnel_port_stay_datagrams(port, payload):
    frame = np.frombuffer(ethernet(ip4(udp(payload, 53, port), 17)), np.uint8)
    count, size = 65_536, len(frame)
    buffer = np.tile(frame, (count, 1))
    buffer[:, 42:44] = np.arange(count, dtype=">u2").view(np.uint8).reshape(-1, 2)
    one = batch_of([frame.tobytes()])
    sizes, offsets = np.full(count, size), np.arange(count) * size
    zero, numbers = np.zeros(count, np.int64), np.arange(1, count + 1)
    decoder = Decoder(DecodeLimits(), EncapsulationTable())
    segments = decoder.feed(PacketBatch(
        one.source, buffer.reshape(-1), offsets, sizes, sizes, zero, numbers, np.ones(count, np.uint16),
        zero.astype(np.uint16),
    )).segments
    check_account(decoder.account)
    assert decoder.account.skipped == {}
    assert np.all(segments.length == len(payload))
    assert np.all(segments.dst_port == port)
    assert not segments.tunnel.any()


@pytest.mark.parametrize("ports", [pytest.param((33333,), id="source"), pytest.param(PORTS, id="destination")])
@pytest.mark.parametrize(("link_type", "frame", "vlans", "tunnels"), UDP_TUNNELS)
def test_datagrams_of_plain_ports_are_never_unwrapped(link_type, frame, vlans, tunnels, ports):
    table = EncapsulationTable()
    decoder = Decoder(DecodeLimits(), table, (*ports, 55555, tun.TEREDO_PORT, tun.GTP_U_PORT))
    (segment,) = readable(decoder.feed(batch_of([frame], link_type)).segments, table)
    assert (segment["protocol"], segment["tunnels"], segment["vlan"]) == (17, (), ())
    assert segment["length"] == len(frame) - 42


@pytest.mark.parametrize(("payload", "port"), [
    pytest.param(VNI + PLAIN, 4789, id="VXLAN"),
    pytest.param(struct.pack(">BBHI", 0, 0, 0x6558, 7 << 8) + PLAIN, 6081, id="Geneve"),
    pytest.param(mpls(16) + V4, 6635, id="MPLS in UDP"),
    pytest.param(bytes(8) + V4, 4341, id="LISP"),
    pytest.param(TZSP + PLAIN, 37008, id="TZSP"),
])
def test_the_source_port_of_one_way_tunnels_suggests_nothing(payload, port):
    assert Decoded([in_udp(payload, 40_000, port)]).only["tunnels"] == ()


@pytest.mark.parametrize(("payload", "port"), [
    pytest.param(VNI + ethernet(b"\x45" + bytes(40)), 4789, id="VXLAN around a broken IP header"),
    pytest.param(VNI + ethernet(V4, 0x88B5), 4789, id="VXLAN around an unknown type"),
    pytest.param(VNI + ethernet(vlan(5, 0x88B5) + V4, 0x8100), 4789, id="VXLAN around an unknown type behind a tag"),
    pytest.param(struct.pack(">BBHI", 0, 0, 0x0800, 7 << 8), 6081, id="Geneve around nothing"),
    pytest.param(struct.pack(">BBHI", 0x3F, 0, 0x0800, 7 << 8) + V4, 6081, id="Geneve with options past the datagram"),
    pytest.param(mpls(16, 17, 18)[:8], 6635, id="MPLS labels without an end"),
    pytest.param(mpls(16) + b"\x77" * 40, 6635, id="MPLS around nothing known"),
    pytest.param(gtp(b"\x77" * 40), 2152, id="GTP-U around nothing known"),
    pytest.param(gtp(V4, 0x34, b"\x00\x00\x00\x85" + b"\x00" * 4), 2152, id="a GTP-U extension of no length"),
    pytest.param(gtp(V4, 0x34, b"\x00\x00\x00\x85" + b"\xff" + bytes(3)), 2152, id="a GTP-U extension past the end"),
    pytest.param(struct.pack(">HHH", 0x0002, 1, 2) + b"\x77" * 20, 1701, id="L2TP around nothing known"),
    pytest.param(struct.pack(">HHHH", 0x0202, 1, 2, 0xFFFF) + V4, 1701, id="L2TP with padding past the end"),
    pytest.param(struct.pack(">HHH", 0xC802, 12, 1) + bytes(6), 1701, id="an L2TP control message"),
    pytest.param(b"\x00\x10\x02\x80" + bytes(4) + PLAIN, 5247, id="a fragment of CAPWAP"),
    pytest.param(b"\x00\x10\x02\x08" + bytes(4), 5247, id="CAPWAP keep-alive"),
    pytest.param(V6[:39], 3544, id="Teredo around a piece of a header"),
    pytest.param(TZSP[:7] * 3 + PLAIN, 37008, id="TZSP without an end tag"),
])
def test_a_tunnel_header_around_nothing_known_is_an_ordinary_datagram(payload, port):
    segment = Decoded([in_udp(payload, port)]).only
    assert (segment["protocol"], segment["dport"], segment["payload"]) == (17, port, payload)


@pytest.mark.parametrize("inner", [
    pytest.param(ethernet(bytes((0, 1, 8, 0, 6, 4, 0, 1)) + bytes(20), 0x0806), id="ARP"),
    pytest.param(ethernet(vlan(5, 0x0806) + bytes(28), 0x8100), id="ARP behind a tag"),
    pytest.param(ethernet(b"\x42\x42\x03" + bytes(35), 38), id="spanning tree"),
])
def test_known_frames_without_ip_are_still_followed_into_a_tunnel(inner):
    result = Decoded([in_udp(VNI + inner, 4789)])
    assert result.segments == []
    assert sum(result.account.skipped.values()) == 1
