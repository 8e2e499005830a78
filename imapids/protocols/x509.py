"""What a certificate (RFC 5280) says of its holder and issuer, as EVE's `tls` object writes it. Nothing is verified."""

from __future__ import annotations

import hashlib

import msgspec

from imapids.protocols import der
from imapids.protocols.addresses import MAPPED, address_text
from imapids.protocols.der import Element, MalformedError
from imapids.protocols.text import safe_str, safe_text

NAME_PARTS = 32
"""Attributes of one name that are read: real ones have fewer than ten."""
ALTERNATIVE_NAMES = 32
"""Names of a certificate that are kept: shared hosting puts hundreds into one, and the first tell enough."""
TEXT_BYTES = 200
"""Bytes of one attribute that are shown: RFC 5280 appendix A.1 bounds most at 64 characters."""

_ATTRIBUTES = {  # RFC 4514 section 3 and what OpenSSL and Suricata call the rest
    "2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
    "2.5.4.9": "street", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.13": "description",
    "2.5.4.15": "businessCategory", "2.5.4.17": "postalCode", "2.5.4.41": "name", "2.5.4.42": "GN",
    "2.5.4.97": "organizationIdentifier", "1.2.840.113549.1.9.1": "emailAddress",
    "0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.25": "DC",
}
_SUBJECT_ALT_NAME = b"\x55\x1d\x11"  # 2.5.29.17
_EMAIL, _DNS, _URI, _IP = 0x81, 0x82, 0x86, 0x87  # RFC 5280 section 4.2.1.6: [1], [2], [6], [7]


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of one certificate; texts are safe, and empty where the certificate does not say."""

    subject: str
    """`C=DE, O=Example, CN=mail.example.org`, in the certificate's order; values are not quoted (as in Suricata)."""
    issuer: str
    serial: str
    """Upper-case hex pairs with colons."""
    not_before: str
    """`2026-01-02T03:04:05`, UTC."""
    not_after: str
    fingerprint: str
    """SHA-1, lower-case hex pairs with colons: the form of blocklists and of EVE."""
    names: list[str]
    """Subject alternative names: hosts, addresses, mailboxes, URIs."""
    self_issued: bool
    """Subject and issuer are the same bytes."""


def parse_certificate(data: bytes) -> Certificate | None:
    """The facts of a DER certificate; None where the bytes are none. Never raises."""
    try:
        return _parse(data)
    except MalformedError:
        return None


def _parse(data: bytes) -> Certificate:
    whole = der.expect(data, 0, len(data), der.SEQUENCE)
    body = der.expect(data, whole.start, whole.end, der.SEQUENCE)
    position = body.start
    first = der.element_at(data, position, body.end)
    if first.tag == 0xA0:  # [0] version; absent in version 1
        position = first.end
    serial = der.expect(data, position, body.end, der.INTEGER)
    algorithm = der.expect(data, serial.end, body.end, der.SEQUENCE)
    issuer = der.expect(data, algorithm.end, body.end, der.SEQUENCE)
    validity = der.expect(data, issuer.end, body.end, der.SEQUENCE)
    subject = der.expect(data, validity.end, body.end, der.SEQUENCE)
    times = [_time(data, element) for element in der.children(data, validity, 2)]
    return Certificate(
        subject=_name(data, subject), issuer=_name(data, issuer),
        serial=data[serial.start : min(serial.end, serial.start + 64)].hex(":").upper(),
        not_before=times[0] if times else "", not_after=times[1] if len(times) > 1 else "",
        fingerprint=hashlib.sha1(data[: whole.end]).digest().hex(":"),
        names=_alternative_names(data, subject.end, body.end),
        self_issued=data[issuer.start : issuer.end] == data[subject.start : subject.end],
    )


def _name(data: bytes, name: Element) -> str:
    """A Name (RFC 5280 section 4.1.2.4) as text; what is broken in it ends it."""
    parts: list[str] = []
    try:
        for group in der.children(data, name, NAME_PARTS):
            for pair in der.children(data, group, NAME_PARTS - len(parts)):
                kind = der.expect(data, pair.start, pair.end, der.OID)
                value = der.element_at(data, kind.end, pair.end)
                dotted = der.oid_text(data[kind.start : kind.end])
                parts.append(f"{_ATTRIBUTES.get(dotted, dotted)}={_text(data, value)}")
            if len(parts) >= NAME_PARTS:
                break
    except MalformedError:
        parts.append("...")
    return ", ".join(parts)


def _text(data: bytes, value: Element) -> str:
    """A DirectoryString of any kind as safe text."""
    contents = data[value.start : min(value.end, value.start + 4 * TEXT_BYTES + 4)]
    if value.tag == der.BMP_STRING:
        return safe_str(contents[: len(contents) & ~1].decode("utf-16-be", "replace"), TEXT_BYTES)
    if value.tag == der.UNIVERSAL_STRING:
        return safe_str(contents[: len(contents) & ~3].decode("utf-32-be", "replace"), TEXT_BYTES)
    return safe_text(contents, TEXT_BYTES)


def _time(data: bytes, value: Element) -> str:
    """UTCTime or GeneralizedTime (RFC 5280 section 4.1.2.5); empty where it is neither."""
    digits = data[value.start : min(value.end, value.start + 15)]
    if value.tag == der.UTC_TIME and len(digits) == 13:
        digits = (b"19" if digits[:2] >= b"50" else b"20") + digits
    if len(digits) != 15 or digits[14:] != b"Z" or not digits[:14].isdigit():
        return ""
    text = digits.decode("ascii")
    month, day, hour, minute, second = (int(text[i : i + 2]) for i in (4, 6, 8, 10, 12))
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 60):
        return ""
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[8:10]}:{text[10:12]}:{text[12:14]}"


def _alternative_names(data: bytes, position: int, end: int) -> list[str]:
    """The subjectAltName extension among what stands behind the subject; what is broken in it ends the list."""
    names: list[str] = []
    try:
        for field in der.children(data, Element(der.SEQUENCE, position, end), 5):
            if field.tag != 0xA3:  # [3] extensions; before them: public key, [1] and [2] unique ids
                continue
            extensions = der.expect(data, field.start, field.end, der.SEQUENCE)
            for extension in der.children(data, extensions, 64):
                kind = der.expect(data, extension.start, extension.end, der.OID)
                if data[kind.start : kind.end] == _SUBJECT_ALT_NAME:
                    _add_names(data, kind.end, extension.end, names)
                    return names
    except MalformedError:
        pass
    return names


def _add_names(data: bytes, position: int, end: int, names: list[str]) -> None:
    value = der.element_at(data, position, end)
    if value.tag == der.BOOLEAN:  # critical
        value = der.element_at(data, value.end, end)
    general = der.expect(data, value.start, value.end, der.SEQUENCE)
    for name in der.children(data, general, ALTERNATIVE_NAMES):
        contents = data[name.start : name.end]
        if name.tag in (_DNS, _EMAIL, _URI):
            names.append(safe_text(contents, TEXT_BYTES))
        elif name.tag == _IP and len(contents) == 4:
            names.append(address_text(0, MAPPED | int.from_bytes(contents, "big")))
        elif name.tag == _IP and len(contents) == 16:
            names.append(address_text(int.from_bytes(contents[:8], "big"), int.from_bytes(contents[8:], "big")))
