"""Hellos of TLS: fields, fingerprints with known answers, oracles, and bytes that are no hello."""

from __future__ import annotations

import shutil
import ssl
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapids.protocols.tls import GREASE, alert_name, is_record_header, version_name
from imapids.protocols.tls_hello import (
    ClientHello,
    ja3,
    ja3s,
    ja4,
    parse_client_hello,
    parse_server_hello,
    parse_sslv2_client_hello,
)


def openssl_hello(sni: str | None = "mail.example.org", alpn: tuple[str, ...] = ("imap",)) -> bytes:
    """The flight of a client: one record."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=sni)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def message_of(flight: bytes) -> bytes:
    return flight[9 : 5 + int.from_bytes(flight[3:5], "big")]


def shorts(*numbers: int) -> bytes:
    return b"".join(struct.pack("!H", number) for number in numbers)


def hello_bytes(ciphers: tuple[int, ...], extensions: list[tuple[int, bytes]], version: int = 0x0303) -> bytes:
    block = b"".join(shorts(kind, len(data)) + data for kind, data in extensions)
    offered = shorts(*ciphers)
    return (shorts(version) + bytes(32) + b"\x00" + shorts(len(offered)) + offered + b"\x01\x00"
            + shorts(len(block)) + block)


CHROME_CIPHERS = (0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014, 0x009C,
                  0x009D, 0x002F, 0x0035)
CHROME_ALGORITHMS = (0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)


def chrome_hello() -> bytes:
    """The example that the description of JA4 works through, with GREASE where Chrome puts it."""
    algorithms, versions = shorts(*CHROME_ALGORITHMS), shorts(0x2A2A, 0x0304, 0x0303)
    kinds = [(0x1A1A, b""), (0x001B, b"\x02\x00\x02"), (0x0000, b"\x00\x06\x00\x00\x03a.b"), (0x0033, b""),
             (0x0010, b"\x00\x0c\x02h2\x08http/1.1"), (0x4469, b"\x00\x03\x02h2"), (0x0017, b""), (0x002D, b"\x01\x01"),
             (0x000D, shorts(len(algorithms)) + algorithms), (0x0005, b"\x01" + bytes(4)), (0x0023, b""),
             (0x0012, b""), (0x002B, bytes([len(versions)]) + versions), (0xFF01, b"\x00"), (0x000B, b"\x01\x00"),
             (0x000A, shorts(8, 0x3A3A, 0x001D, 0x0017, 0x0018)), (0x0015, bytes(8)), (0x4A4A, b"\x00")]
    return hello_bytes((0x8A8A, *CHROME_CIPHERS), kinds)


def test_ja4_of_its_own_description() -> None:
    hello = parse_client_hello(chrome_hello())
    assert hello is not None
    assert ja4(hello) == "t13d1516h2_8daaf6152771_e5627efa2ab1"
    assert hello.sni == "a.b"
    assert hello.alpns == (b"h2", b"http/1.1")


def test_ja3_of_its_own_description() -> None:
    numbers = "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0"  # github.com/salesforce/ja3
    ciphers = (47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4)
    hello = parse_client_hello(hello_bytes(ciphers, [(0, b""), (10, shorts(6, 23, 24, 25)), (11, b"\x01\x00")], 0x0301))
    assert hello is not None
    assert ja3(hello) == ("ada70206e40642a3e4461f35503241d5", numbers)
    bare = parse_client_hello(hello_bytes((4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99), [], 0x0301)[:-2])
    assert bare is not None
    assert ja3(bare) == ("de350869b8c85de67a350c8d186f11e6", "769,4-5-10-9-100-98-3-6-19-18-99,,,")


def test_ja4_of_openssl_has_the_shape_that_is_known() -> None:
    hello = parse_client_hello(message_of(openssl_hello()))
    assert hello is not None
    head, ciphers, _ = ja4(hello).split("_")
    assert head.startswith("t13d")
    assert head.endswith("ip")  # the first and last character of `imap`
    assert int(head[4:6]) == len(hello.ciphers)
    assert int(head[6:8]) == len(hello.extensions)
    assert ciphers != "0" * 12


@pytest.mark.parametrize(("alpn", "ends"), [
    pytest.param((b"imap",), "ip", id="letters"), pytest.param((b"h2",), "h2", id="letter and digit"),
    pytest.param((b"x",), "xx", id="one letter"), pytest.param((), "00", id="none"),
    pytest.param((b"\xab",), "ab", id="a byte that is no letter"), pytest.param((b"\x0a\x0a",), "0a", id="GREASE"),
    pytest.param((b"0\xab",), "3b", id="one end is no letter"),
])
def test_ja4_names_the_ends_of_the_first_alpn(alpn: tuple[bytes, ...], ends: str) -> None:
    hello = ClientHello(version=0x0303, ciphers=(1,), alpns=alpn)
    assert ja4(hello).split("_")[0] == f"t12i0100{ends}"
    assert ja4(hello).endswith("_" + "0" * 12)


def test_grease_changes_no_fingerprint() -> None:
    assert len(GREASE) == 16
    plain = ClientHello(version=0x0303, ciphers=(1, 2), extensions=(10, 11), groups=(23,))
    greased = ClientHello(version=0x0303, ciphers=(0x0A0A, 1, 2), extensions=(0xFAFA, 10, 11), groups=(0x2A2A, 23),
                          versions=(0x1A1A,))
    assert ja3(plain) == ja3(greased)
    assert ja4(plain) == ja4(greased)


@pytest.mark.oracle
def test_ja3_is_that_of_tshark(tmp_path: Path) -> None:
    program = shutil.which("tshark")
    if program is None:
        pytest.skip("tshark is not installed")
    flight = openssl_hello()
    tcp = struct.pack("!HHIIBBHHH", 40000, 993, 1, 1, 0x50, 0x18, 65535, 0, 0) + flight
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0, b"\x0a\0\0\x01", b"\x0a\0\0\x02") + tcp
    capture = tmp_path / "hello.pcap"
    capture.write_bytes(struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
                        + struct.pack("<IIII", 1, 0, len(ip), len(ip)) + ip)
    said = subprocess.run([program, "-r", capture, "-T", "fields", "-e", "tls.handshake.ja3",
                           "-e", "tls.handshake.ja3_full"], check=True, capture_output=True, text=True).stdout.split()
    hello = parse_client_hello(message_of(flight))
    assert hello is not None
    assert list(ja3(hello)) == said


def test_a_server_hello_and_its_fingerprint() -> None:
    body = shorts(0x0303) + bytes(32) + b"\x04abcd" + shorts(0xC02F) + b"\x00"
    extensions = shorts(16, 7) + b"\x00\x05\x04imap" + shorts(65281, 1) + b"\x00"
    hello = parse_server_hello(body + shorts(len(extensions)) + extensions)
    assert hello is not None
    assert (hello.version, hello.cipher, hello.alpn, hello.session_id) == (0x0303, 0xC02F, b"imap", b"abcd")
    assert ja3s(hello)[1] == "771,49199,16-65281"
    assert parse_server_hello(body) is not None
    assert parse_server_hello(body + b"\x00") is None


def test_every_prefix_of_a_hello_is_none_and_so_is_a_longer_one() -> None:
    message = message_of(openssl_hello())
    assert parse_client_hello(message) is not None
    assert parse_client_hello(message + b"\x00") is None
    sound = [hello for size in range(len(message)) if (hello := parse_client_hello(message[:size])) is not None]
    assert [hello.has_extensions for hello in sound] == [False]  # just before the extensions, which may be absent


@given(st.binary(max_size=120), st.integers(0, 600))
def test_no_bytes_raise(garbage: bytes, position: int) -> None:
    message = chrome_hello()
    damaged = message[:position] + garbage + message[position + len(garbage) :]
    for data in (garbage, damaged):
        hello = parse_client_hello(data)
        if hello is not None:
            assert hello.sni.isascii()
            ja3(hello)
            ja4(hello)
        cut = parse_client_hello(data, announced=len(data) + 1)
        assert cut is None or (ja3(cut), ja4(cut)) == (("", ""), "")
        parse_server_hello(data)
        parse_sslv2_client_hello(data)


def test_names() -> None:
    assert [version_name(v) for v in (2, 0x300, 0x301, 0x303, 0x304, 0x7F1C, 0x9999)] == [
        "SSLv2", "SSLv3", "TLSv1", "TLS 1.2", "TLS 1.3", "TLS 1.3 draft-28", "0x9999"]
    assert (alert_name(40), alert_name(255)) == ("handshake_failure", "alert_255")


@pytest.mark.parametrize(("head", "is_one"), [
    pytest.param(b"\x16\x03\x01\x02\x00", True, id="a handshake"),
    pytest.param(b"\x17\x03\x03\x00\x00", True, id="empty application data"),
    pytest.param(b"\x16\x03\x01\x00\x00", False, id="an empty handshake"),
    pytest.param(b"\x17\x24\x1b\x00\x00", False, id="TeamViewer"),
    pytest.param(b"\x17\x03\x03\x48\x01", False, id="a record beyond the largest"),
    pytest.param(b"\x17\x03\x03\x48\x00", True, id="the largest record"),
    pytest.param(b"* OK ", False, id="a greeting"),
])
def test_record_headers(head: bytes, is_one: bool) -> None:
    assert is_record_header(head) is is_one
