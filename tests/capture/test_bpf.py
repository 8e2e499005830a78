"""The kernel filter of the watched ports, run by the kernel itself on frames that go through a local socket."""

from __future__ import annotations

import shutil
import socket
import struct
import sys
from collections.abc import Iterator

import pytest
from helpers.frames import ethernet, extension, fragment6, ip4, ip6, mpls, syn, tcp, udp, vlan

from imapids.capture import bpf
from imapids.errors import UsageError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="filters are the Linux kernel's")

WEB = tcp(dport=443)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ends[1].setblocking(False)
    yield ends
    for end in ends:
        end.close()


def passes(pair: tuple[socket.socket, socket.socket], frame: bytes) -> bool:
    pair[0].send(frame)
    try:
        return pair[1].recv(1 << 17) == frame
    except BlockingIOError:
        return False


def tagged(count: int, payload: bytes, kind: int = 0x0800) -> bytes:
    body = payload
    for number in range(count):
        body = vlan(5 + number, kind if number == 0 else 0x8100) + body
    return ethernet(body, 0x8100 if count else kind)


@pytest.mark.parametrize(("frame", "wanted"), [
    pytest.param(ethernet(ip4(syn())), True, id="to the watched port"),
    pytest.param(ethernet(ip4(tcp(sport=143, dport=40_000))), True, id="from the watched port"),
    pytest.param(ethernet(ip4(WEB)), False, id="another port"),
    pytest.param(ethernet(ip4(tcp(dport=2143))), True, id="the second watched port"),
    pytest.param(ethernet(ip4(udp(b"x", dport=143), 17)), True, id="UDP to the watched port"),
    pytest.param(ethernet(ip4(udp(b"x", dport=2143), 17)), False, id="UDP to a port that is watched for TCP only"),
    pytest.param(ethernet(ip4(tcp(), options=bytes(40))), True, id="IPv4 options before the ports"),
    pytest.param(ethernet(ip4(WEB, options=bytes(40))), False, id="another port behind IPv4 options"),
    pytest.param(tagged(1, ip4(tcp())), True, id="one tag"),
    pytest.param(tagged(2, ip4(tcp())), True, id="two tags"),
    pytest.param(tagged(3, ip4(tcp())), True, id="three tags"),
    pytest.param(tagged(4, ip4(tcp())), False, id="four tags are not of this world"),
    pytest.param(tagged(2, ip4(WEB)), False, id="another port behind two tags"),
    pytest.param(ethernet(ip6(tcp()), 0x86DD), True, id="IPv6"),
    pytest.param(tagged(1, ip6(tcp()), 0x86DD), True, id="IPv6 behind a tag"),
    pytest.param(ethernet(ip6(WEB), 0x86DD), False, id="another port over IPv6"),
    pytest.param(ethernet(ip6(extension(6) + WEB, 0), 0x86DD), True, id="IPv6 extension headers pass whole"),
    pytest.param(ethernet(ip6(fragment6(6, 0, True) + WEB, 44), 0x86DD), True, id="an IPv6 fragment"),
    pytest.param(ethernet(ip4(WEB, more=True)), True, id="a first fragment"),
    pytest.param(ethernet(ip4(WEB, offset=1480)), True, id="a later fragment"),
    pytest.param(ethernet(ip4(bytes(4) + ip4(WEB), 47)), True, id="GRE"),
    pytest.param(ethernet(ip4(ip4(WEB), 4)), True, id="IP in IP"),
    pytest.param(ethernet(ip4(udp(bytes(8), dport=4789), 17)), True, id="VXLAN"),
    pytest.param(ethernet(ip4(udp(bytes(8), sport=2152), 17)), True, id="GTP-U"),
    pytest.param(ethernet(mpls(17) + ip4(WEB), 0x8847), True, id="MPLS"),
    pytest.param(ethernet(bytes(6) + b"\0\x21" + ip4(WEB), 0x8864), True, id="PPPoE"),
    pytest.param(ethernet(ip4(bytes(8), 1)), True, id="ICMP tells of closed ports"),
    pytest.param(ethernet(bytes(28), 0x0806), False, id="ARP"),
    pytest.param(ethernet(ip4(tcp()))[:36], False, id="cut before the ports"),
    pytest.param(b"\0" * 10, False, id="cut inside the link header"),
])
def test_what_may_belong_to_a_watched_port_passes(
    pair: tuple[socket.socket, socket.socket], frame: bytes, wanted: bool,
) -> None:
    bpf.attach(pair[1], bpf.watch_program((143, 2143), (143,)))
    assert passes(pair, frame) is wanted


@pytest.mark.parametrize(("packet", "wanted"), [
    pytest.param(ip4(tcp()), True, id="IPv4"),
    pytest.param(ip6(tcp()), True, id="IPv6"),
    pytest.param(ip4(WEB), False, id="another port"),
    pytest.param(b"\x10" * 60, False, id="no IP"),
])
def test_links_without_ethernet_headers_have_their_program(
    pair: tuple[socket.socket, socket.socket], packet: bytes, wanted: bool,
) -> None:
    bpf.attach(pair[1], bpf.watch_program((143,), (143,), bpf.RAW_IP))
    assert passes(pair, packet) is wanted


def test_the_kernel_takes_the_programs_of_many_ports(pair: tuple[socket.socket, socket.socket]) -> None:
    bpf.attach(pair[1], bpf.watch_program(range(1, 600), (143,)))
    assert passes(pair, ethernet(ip4(tcp(dport=599))))
    assert not passes(pair, ethernet(ip4(tcp(dport=600))))


def test_more_ports_than_the_kernel_takes_are_refused_with_advice() -> None:
    with pytest.raises(UsageError, match="leave --filter out"):
        bpf.watch_program(range(1, 5_000), ())


def test_nothing_passes_a_closed_ring(pair: tuple[socket.socket, socket.socket]) -> None:
    bpf.attach(pair[1], bpf.REFUSE_ALL)
    assert not passes(pair, ethernet(ip4(tcp())))


@pytest.mark.parametrize("text", [
    pytest.param("", id="nothing"),
    pytest.param("2\n6 0 0 262144\n", id="fewer instructions than announced"),
    pytest.param("1\n6 0 0 262144\n6 0 0 0\n", id="more than announced"),
    pytest.param("0\n", id="none"),
    pytest.param("1\n6 0 999 0\n", id="a jump that does not fit"),
    pytest.param("1\n99999 0 0 0\n", id="a code that does not fit"),
    pytest.param("1\n6 0 0 9999999999\n", id="a number that does not fit"),
    pytest.param("tcpdump: syntax error\n", id="an error message"),
])
def test_what_is_no_program_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        bpf.parse_program(text)


def test_the_text_of_a_program_is_read() -> None:
    assert bpf.parse_program("2\n40 0 0 12\n6 0 0 262144\n") == ((40, 0, 0, 12), (6, 0, 0, 262144))
    assert bpf.encoded(((40, 1, 2, 12),)) == struct.pack("HBBI", 40, 1, 2, 12)


def test_without_tcpdump_the_message_names_the_built_in_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UsageError, match="--filter watched works without"):
        bpf.compile_expression("tcp port 143", "lo")
