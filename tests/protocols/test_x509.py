"""Certificates: the facts that openssl reads, and no bytes that raise."""

from __future__ import annotations

import ssl
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from helpers.tls_talk import make_certificate
from hypothesis import given
from hypothesis import strategies as st

from imapids.protocols import der
from imapids.protocols.x509 import Certificate, parse_certificate


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificate"))[0]


def openssl_says(pem: Path, *wanted: str) -> str:
    run = subprocess.run(["openssl", "x509", "-in", pem, "-noout", *wanted], check=True, capture_output=True, text=True)
    return run.stdout.strip().partition("=")[2]


def test_facts_are_those_that_openssl_reads(pem: Path) -> None:
    data = ssl.PEM_cert_to_DER_cert(pem.read_text())
    facts = parse_certificate(data)
    assert facts is not None
    assert facts.subject == facts.issuer == "C=DE, ST=Hessen, O=Example, Inc., CN=mail.example.org"
    assert facts.self_issued
    assert facts.names == ["mail.example.org", "*.imap.example.org", "192.0.2.7", "2001:db8::7", "post@example.org"]
    assert facts.fingerprint.upper() == openssl_says(pem, "-fingerprint", "-sha1")
    assert facts.serial.replace(":", "").lstrip("0") == openssl_says(pem, "-serial").lstrip("0")
    with_dates = ssl._ssl._test_decode_cert(str(pem))  # type: ignore[attr-defined]  # the only reader of dates there
    for ours, theirs in ((facts.not_before, with_dates["notBefore"]), (facts.not_after, with_dates["notAfter"])):
        assert ours == datetime.fromtimestamp(ssl.cert_time_to_seconds(theirs), UTC).isoformat()[:19]


def test_bytes_behind_the_certificate_do_not_change_it(pem: Path) -> None:
    data = ssl.PEM_cert_to_DER_cert(pem.read_text())
    assert parse_certificate(data + b"trailing") == parse_certificate(data)


def test_every_prefix_is_refused_quietly(pem: Path) -> None:
    data = ssl.PEM_cert_to_DER_cert(pem.read_text())
    assert all(parse_certificate(data[:size]) is None for size in range(len(data)))


@given(data=st.data())
def test_no_damage_raises_and_texts_stay_printable(pem: Path, data: st.DataObject) -> None:
    damaged = bytearray(ssl.PEM_cert_to_DER_cert(pem.read_text()))
    for position, value in data.draw(st.lists(st.tuples(st.integers(0, len(damaged) - 1), st.integers(0, 255)))):
        damaged[position] = value
    facts = parse_certificate(bytes(damaged))
    if facts is not None:
        for text in (facts.subject, facts.issuer, facts.serial, facts.not_before, facts.not_after, *facts.names):
            assert text.isascii()
            assert text.isprintable() or not text


def name(*values: tuple[int, bytes]) -> bytes:
    """A Name whose CN has the string type and bytes given."""
    def wrap(tag: int, data: bytes) -> bytes:
        size = bytes([len(data)]) if len(data) < 128 else b"\x82" + len(data).to_bytes(2, "big")
        return bytes([tag]) + size + data

    parts = b"".join(wrap(der.SET, wrap(der.SEQUENCE, wrap(der.OID, b"\x55\x04\x03") + wrap(tag, text)))
                     for tag, text in values)
    return wrap(der.SEQUENCE, parts)


@pytest.mark.parametrize(("tag", "raw", "text"), [
    pytest.param(der.UTF8_STRING, "Bücher".encode(), "CN=B\\xc3\\xbccher", id="UTF-8"),
    pytest.param(der.PRINTABLE_STRING, b"plain", "CN=plain", id="printable"),
    pytest.param(der.BMP_STRING, "Z\u00fc".encode("utf-16-be"), "CN=Z\\xc3\\xbc", id="two bytes a character"),
    pytest.param(der.UNIVERSAL_STRING, "Zz".encode("utf-32-be"), "CN=Zz", id="four bytes a character"),
    pytest.param(der.IA5_STRING, b"a\r\nb\x1b[2J", "CN=a\\x0d\\x0ab\\x1b[2J", id="control bytes are escaped"),
    pytest.param(der.UTF8_STRING, b"x" * 1000, "CN=" + "x" * 200 + "...", id="long values are cut"),
])
def test_strings_of_all_kinds_become_safe_text(tag: int, raw: bytes, text: str) -> None:
    from imapids.protocols.x509 import _name

    data = name((tag, raw))
    assert _name(data, der.element_at(data, 0, len(data))) == text


@pytest.mark.parametrize(("contents", "text"), [
    pytest.param(b"\x55\x04\x03", "2.5.4.3", id="a short one"),
    pytest.param(bytes.fromhex("2a864886f70d010901"), "1.2.840.113549.1.9.1", id="arcs of several octets"),
    pytest.param(b"", "oid:", id="an empty one"),
    pytest.param(b"\x55\x84", "oid:5584", id="one that is cut"),
])
def test_object_identifiers(contents: bytes, text: str) -> None:
    assert der.oid_text(contents) == text


@pytest.mark.parametrize("data", [
    pytest.param(b"", id="nothing"),
    pytest.param(b"\x30", id="half a header"),
    pytest.param(b"\x30\x80\x00\x00", id="indefinite length"),
    pytest.param(b"\x30\x84\xff\xff\xff\xff", id="a length beyond the data"),
    pytest.param(b"\x30\x85" + bytes(9), id="a length of five octets"),
    pytest.param(b"\x3f\x01\x00", id="a tag of several octets"),
])
def test_der_of_forms_that_der_has_not_is_malformed(data: bytes) -> None:
    with pytest.raises(der.MalformedError):
        der.element_at(data, 0, len(data))
    assert parse_certificate(data) is None


def test_a_certificate_is_a_plain_record() -> None:
    assert Certificate.__struct_fields__[0] == "subject"
