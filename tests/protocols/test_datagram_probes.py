"""Every probe of datagrams has a message that it names, and no cut message makes it stumble."""

from __future__ import annotations

import pytest
from helpers.openings import Turn, c, datagrams, s

from imapids.protocols.dns_messages import name_service
from imapids.sniff import sniff
from imapids.sniff.datagram_probes import UDP_PROBES


def be(value: int, size: int = 4) -> bytes:
    return value.to_bytes(size, "big")


def le(value: int, size: int = 4) -> bytes:
    return value.to_bytes(size, "little")


NAME = b"\x04mail\x07example\x04test\x00"
QUERY = be(7, 2) + b"\x01\x00" + be(1, 2) + bytes(6) + NAME + be(1, 2) * 2
IP4 = b"\x45\x00" + be(28, 2) + bytes(5) + b"\x11" + bytes(18)
IP6 = b"\x60\x00\x00\x00" + be(8, 2) + b"\x3a\xff" + bytes(40)
FRAME = bytes(12) + b"\x08\x00" + IP4
RPC = be(7) + be(0) + be(2) + be(100_000) + be(2) + be(3) + bytes(16)
RPC_REPLY = be(7) + be(1) + bytes(16)
SESSION = bytes.fromhex("c1a7f03b5e9d2284")


def dnp3() -> bytes:
    from imapids.protocols.industrial import dnp3_header

    head = b"\x05\x64\x05\xc0\x01\x00\x00\x04"
    return next(head + le(crc, 2) for crc in range(65_536) if dnp3_header(head + le(crc, 2)))


def rtp(number: int) -> bytes:
    return b"\x80\x00" + be(number, 2) + be(160 * number) + be(0xABCD) + bytes(160)


CASES: tuple[tuple[str, tuple[Turn, ...]], ...] = (
    ("dtls", (c(b"\x16\xfe\xfd" + bytes(8) + be(60, 2) + b"\x01" + bytes(59)),)),
    (
        "dtls",
        (
            c(b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)),
            s(b"\x01\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)),
            c(b"\x16\xfe\xfd" + bytes(8) + be(60, 2) + b"\x01" + bytes(59)),
        ),
    ),
    ("stun", (c(b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)), s(b"\x01\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)))),
    ("ssdp", (c(b'M-SEARCH * HTTP/1.1\r\nMAN: "ssdp:discover"\r\n\r\n'),)),
    ("sip", (c(b"OPTIONS sip:a@b.test SIP/2.0\r\n\r\n"), s(b"SIP/2.0 200 OK\r\n\r\n"))),
    ("sip", (c(b"\r\n\r\n"), c(b"REGISTER sip:b.test SIP/2.0\r\n\r\n"))),
    ("sunrpc", (c(RPC), s(RPC_REPLY))),
    ("dcerpc", (c(b"\x04\x00\x20\x00\x10\x00\x00\x00" + bytes(66) + le(16, 2) + bytes(4) + bytes(16)),)),
    ("coap", (c(b"\x40\x01\x00\x07\xb4test"), s(b"\x60\x45\x00\x07\xffhi"))),
    ("dhcp", (c(b"\x01\x01\x06\x00" + bytes(232) + b"\x63\x82\x53\x63\x35\x01\x01\xff"),)),
    ("syslog", (c(b"<34>Oct 11 22:14:15 host su: hello"),)),
    ("dnp3", (c(dnp3()), s(dnp3()))),
    ("snmp", (c(b"\x30\x19\x02\x01\x01\x04\x06public\xa0\x0c" + bytes(12)),)),
    ("cldap", (c(bytes.fromhex("300c020101630704000a01000a01")), s(bytes.fromhex("300c02010164070400300030003000")))),
    ("kerberos", (c(b"\x6a\x26\x30\x24\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\x0a" + bytes(26)),)),
    ("wol", (c(b"\xff" * 6 + b"\x02\x00\x00\x00\x00\x01" * 16),)),
    ("tftp", (c(b"\x00\x01boot.bin\x00octet\x00"),)),
    ("tftp", (c(b"\x00\x04\x00\x01"), s(b"\x00\x03\x00\x02" + bytes(512)))),
    (
        "netbios-ns",
        (c(be(7, 2) + b"\x01\x10" + be(1, 2) + bytes(6) + b"\x20" + b"CA" * 16 + b"\x00" + be(0x20, 2) + be(1, 2)),),
    ),
    ("mdns", (c(bytes(4) + be(1, 2) + bytes(6) + b"\x04host\x05local\x00" + be(1, 2) * 2),)),
    ("llmnr", (c(be(7, 2) + bytes(2) + be(1, 2) + bytes(6) + b"\x04host\x00" + be(1, 2) * 2),)),
    ("dns", (c(QUERY), s(QUERY.replace(b"\x01\x00", b"\x81\x80", 1)))),
    ("radius", (c(b"\x01\x07" + be(27, 2) + bytes(16) + b"\x01\x07alice"), s(b"\x02\x07" + be(20, 2) + bytes(16)))),
    ("isakmp", (c(SESSION + bytes(8) + b"\x21\x20\x22\x08" + be(0) + be(40) + bytes(12)),)),
    ("srvloc", (c(b"\x02\x01" + be(30, 3) + bytes(7) + be(2, 2) + b"en" + bytes(14)),)),
    ("netbios-dgm", (c(b"\x11\x02" + bytes(12) + b"\x20" + b"CA" * 16 + b"\x00" + bytes(40)),)),
    ("xdmcp", (c(b"\x00\x01\x00\x02\x00\x01\x00"), s(b"\x00\x01\x00\x05\x00\x04abcd"))),
    ("asf-rmcp", (c(b"\x06\x00\xff\x06" + be(4_542) + b"\x80\x00\x00\x00"),)),
    ("ntp", (c(b"\x23" + bytes(47)), s(b"\x24\x02\x06\xe8" + bytes(44)))),
    ("doip", (c(b"\x02\xfd\x00\x01" + be(0)), s(b"\x02\xfd\x00\x04" + be(32) + bytes(32)))),
    ("ethernet-ip", (c(le(0x63, 2) + bytes(22)),)),
    ("ldp", (c(be(1, 2) + be(20, 2) + b"\x0a\x00\x00\x01\x00\x00" + be(0x0100, 2) + be(10, 2) + bytes(10)),)),
    ("synphasor", (c(b"\xaa\x41" + be(18, 2) + bytes(14)),)),
    ("trdp", (c(bytes(4) + b"\x01\x00Pd" + bytes(40)),)),
    ("dlms", (c(b"\x00\x01\x00\x10\x00\x01" + be(4, 2) + b"\x60\x02\x00\x00"),)),
    ("dhcpv6", (c(b"\x01\x00\x00\x07" + be(8, 2) + be(2, 2) + bytes(2) + be(6, 2) + be(2, 2) + be(23, 2)),)),
    ("wireguard", (c(b"\x01\x00\x00\x00" + bytes(144)), s(b"\x02\x00\x00\x00" + bytes(88)))),
    (
        "openvpn",
        (c(b"\x38" + SESSION + bytes(5)), s(b"\x40" + SESSION[::-1] + b"\x01" + bytes(4) + SESSION + bytes(4))),
    ),
    (
        "quic",
        (
            c(b"\xc0\x00\x00\x00\x01\x08" + SESSION + b"\x00" + bytes(1_185)),
            s(b"\xc0\x00\x00\x00\x01\x00\x08" + SESSION + bytes(100)),
        ),
    ),
    ("vxlan", (c(b"\x08\x00\x00\x00\x00\x00\x7b\x00" + FRAME),)),
    ("geneve", (c(b"\x00\x00\x65\x58\x00\x00\x7b\x00" + FRAME),)),
    ("gtp", (c(b"\x30\xff" + be(len(IP4), 2) + be(7) + IP4),)),
    ("pfcp", (c(b"\x20\x05" + be(12, 2) + bytes(12)),)),
    ("teredo", (c(bytes(8) + IP6), s(IP6))),
    ("ayiya", (c(b"\x41\x52\x11\x29" + bytes(44)),)),
    ("gre", (c(b"\x00\x00\x08\x00" + IP4),)),
    ("l2tp", (c(b"\x02\x02" + be(7, 2) + be(9, 2) + be(0, 2) + b"\xff\x03\xc0\x21\x09\x5a\x00\x04"),
              s(b"\x00\x02" + be(3, 2) + be(4, 2) + b"\xff\x03\xc0\x21\x0a\x5a\x00\x04"))),
    ("l2tp", (c(b"\xc8\x02" + be(20, 2) + bytes(8) + b"\x80\x08" + bytes(6)),)),
    ("sbus", (c(be(13) + b"\x01\x00\x00\x01\x00" + bytes(4)), s(be(13) + b"\x00\x00\x00\x01\x01" + bytes(4)))),
    ("someip", (c(be(0x12340001) + be(8) + bytes(4) + b"\x01\x01\x00\x00"),)),
    ("rx", (c(SESSION + be(1) + be(1) + be(1) + b"\x01\x05\x00\x00" + bytes(8)),)),
    ("cpha", (c(b"\x1a\x90\x0c\x31" + bytes(20)),)),
    ("caneth", (c(b"ISO11898\x01\x02\x6a\x12"),)),
    ("knxnet_ip", (c(b"\x06\x10\x02\x01" + be(14, 2) + bytes(8)),)),
    ("bacnet", (c(b"\x81\x0b" + be(12, 2) + bytes(8)),)),
    ("thrift", (c(b"\x82\x81\x07\x04ping\x00\x00\x00\x00"),)),
    ("babel", (c(b"\x2a\x02" + be(8, 2) + bytes(8)),)),
    ("bfd", (c(b"\x20\x40\x03\x18" + be(1) + bytes(16)),)),
    ("hsrp", (c(b"\x00\x00\x10\x03\x0a\x78\x01\x00cisco\x00\x00\x00\x0a\x00\x00\x01"),)),
    ("netflow", (c(be(5, 2) + be(1, 2) + bytes(20) + bytes(48)),)),
    ("sflow", (c(be(5) + be(1) + bytes(12) + be(7) + be(1) + bytes(40)),)),
    ("rip", (c(b"\x02\x02\x00\x00" + be(2, 2) + bytes(18)),)),
    ("ripng", (c(b"\x01\x01\x00\x00" + bytes(18) + b"\x40\x01"),)),
    ("lisp", (c(b"\x30\x00\x01\x01" + SESSION + be(1, 2) + be(20, 2) + bytes(30)),)),
    ("mpls-echo", (c(b"\x00\x01\x00\x00\x01\x02\x00\x00" + bytes(40)),)),
    ("memcached", (c(b"\0\x07\0\0\0\x01\0\0get a\r\n"), s(b"\0\x07\0\0\0\x01\0\0VALUE a 0 1\r\nb\r\nEND\r\n"))),
    ("collectd", (c(be(0, 2) + be(6, 2) + b"h\0" + be(8, 2) + be(12, 2) + bytes(8) + be(2, 2) + be(8, 2) + b"cpu\0"),)),
    ("openvpn", (c(b"\x38abcdefgh" + bytes(5)),)),
    ("openvpn", (s(b"\x40hgfedcba\x01" + bytes(4) + b"abcdefgh" + bytes(4)),)),
    ("olsr", (c(be(20, 2) + be(1, 2) + b"\x01\x00" + be(16, 2) + be(0x0A000001) + bytes(8)),)),
    ("raknet", (c(b"\x05\x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78\x06" + bytes(20)),)),
    ("rtp", (c(rtp(1)), s(rtp(70)), c(rtp(2)), c(b"\x10\x00\xb2\x7dZRTP" + bytes(40)),
             s(b"\x10\x00\xb2\x7eZRTP" + bytes(40)),
             s(b"\x10\x00\xb2\x7fZRTP" + bytes(40)), c(rtp(3)), c(rtp(4)))),
    ("rtp", (c(rtp(1)), s(rtp(70)), c(rtp(2)), s(rtp(71)), c(rtp(3)), s(rtp(72)))),
    ("rtcp", (c(b"\x80\xc9\x00\x01" + be(7)),)),
    ("bt-dht", (c(b"d1:ad2:id20:" + b"a" * 20 + b"e1:q4:ping1:t2:aa1:y1:qe"),)),
    ("oicq", (c(b"\x02\x3b\x0b\x00\x01" + bytes(20) + b"\x03"),)),
    ("uftp", (c(b"\x40\x01\x00\x00" + be(0x0A000001) + bytes(32)),)),
    ("kcp", (c(le(7) + b"\x51\x00\x80\x00" + bytes(12) + le(8) + bytes(8)),)),
    ("source-engine", (c(b"\xff\xff\xff\xffTSource Engine Query\x00"),)),
    ("dropbox", (c(b'{"host_int": 1, "version": [2, 0]}'),)),
    ("spotify", (c(b"SpotUdp0" + bytes(36)),)),
    ("teamspeak", (c(b"TS3INIT1" + bytes(26)),)),
    ("syncthing", (c(b"\x2e\xa7\xd9\x0b" + bytes(60)),)),
    ("tailscale", (c(b"TS\xf0\x9f\x92\xac" + bytes(80)),)),
    ("telegram", (c(SESSION * 2 + b"\xff" * 12 + bytes(12)),)),
    ("roughtime", (c(b"ROUGHTIM" + bytes(1_016)),)),
    ("ethersio", (c(b"ESIO\x00\x01" + bytes(40)),)),
    ("steam", (c(b"\xff\xff\xff\xff\x21\x4c\x5f\xa0" + bytes(40)),)),
    ("discord", (c(b"\x00\x01\x00\x46" + bytes(70)),)),
    ("merakicloud", (c(b"\xfe\xf7\x28\x91" + bytes(40)),)),
)


@pytest.mark.parametrize(
    ("name", "turns"), [pytest.param(name, turns, id=f"{name} {at}") for at, (name, turns) in enumerate(CASES)]
)
def test_a_conversation_in_datagrams_is_named(name: str, turns: tuple[Turn, ...]) -> None:
    candidate = sniff(datagrams(*turns))
    assert candidate.kind == "opaque"
    assert candidate.finding is not None
    assert candidate.finding.protocol == name
    assert candidate.finding.by_client_only == (not any(side for side, _ in turns))


@pytest.mark.parametrize(
    ("name", "turns"), [pytest.param(name, turns, id=f"{name} {at}") for at, (name, turns) in enumerate(CASES)]
)
def test_a_message_that_is_cut_anywhere_raises_nothing(name: str, turns: tuple[Turn, ...]) -> None:
    for size in range(min(max(len(data) for _, data in turns), 80)):
        cut = [(side, data[:size]) for side, data in turns]
        assert sniff(datagrams(*cut)).final, name
        assert sniff(datagrams(*[(1 - side, data) for side, data in cut])).final, name


def test_every_probe_of_datagrams_has_a_case() -> None:
    assert {probe.name for probe in UDP_PROBES} - {"shape"} <= {name for name, _ in CASES}


def test_names_that_point_at_themselves_end() -> None:
    assert name_service(QUERY[:12] + b"\xc0\x0c" + be(1, 2) * 2) == ""
    assert name_service(QUERY[:12] + b"\x3f" * 300) == ""


def test_words_of_imap_in_datagrams_have_no_name() -> None:
    assert sniff(datagrams(c(b"a1 NOOP\r\n"), s(b"* OK IMAP4rev1\r\n"))).finding is None
