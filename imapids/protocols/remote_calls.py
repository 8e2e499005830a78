"""Calls between programs: Thrift, Java RMI, FastCGI, AJP, MessagePack-RPC, and the control of phones and trades."""

from __future__ import annotations

from collections.abc import Callable

from imapids.protocols.probing import (
    Probe,
    Recogniser,
    be16,
    be32,
    dialogue,
    first_line,
    fixed,
    frames,
    le32,
    prefix,
)

# ---- AMQP 0-9-1 (section 2.2.4, 2.3.5) and 1.0 (section 2.2) ------------------------------------------------


def _thrift(kinds: bytes, framed: bool) -> Recogniser:
    """Apache Thrift, strict binary protocol: 80 01 00 kind, BE32 length of a printable method name."""
    skip = 4 if framed else 0

    def check(data: bytes) -> bool:
        name = be32(data, skip + 4)
        if framed and not 12 <= be32(data) <= 1 << 24:
            return False
        text = data[skip + 8 : skip + 8 + min(name, 4)]
        return (
            data[skip : skip + 3] == b"\x80\x01\x00" and data[skip + 3] in kinds and 1 <= name <= 255 and text.isascii()
        )

    return fixed(skip + 12, check, b"\x00" if framed else b"\x80")


def _smpp(header: bytes) -> int:
    """SMPP 3.4 section 3.2: BE32 length, command id, status, sequence number."""
    length, command, status = be32(header), be32(header, 4), be32(header, 8)
    known = command & 0x7FFFFFFF in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xB, 0x15, 0x21, 0x102, 0x103, 0x111, 0x112, 0x113)
    good = (
        known and 16 <= length <= 70_000 and (command & 0x80000000 or not status) and 0 < be32(header, 12) < 0x80000000
    )
    return length if good else -1


def _skinny(header: bytes) -> int:
    """Cisco SCCP: LE32 length of what follows the version, header version, message id."""
    length, version, message = le32(header), le32(header, 4), le32(header, 8)
    return 8 + length if 4 <= length <= 4_096 and version in (0, 1, *range(10, 23)) and message <= 0x15F else -1


def _fastcgi(kinds: bytes) -> Callable[[bytes], int]:
    """FastCGI 1.0 section 3.3: version 1, type, request id, content length, padding, reserved."""

    def length_of(header: bytes) -> int:
        return 8 + be16(header, 4) + header[6] if header[0] == 1 and header[1] in kinds and header[7] == 0 else -1

    return length_of


def _rtmp(data: bytes) -> bool:
    """RTMP: C0 or S0 is version 3, then a time, and four bytes that are zero or a version number."""
    return data[0] == 3 and (
        data[5:9] == b"\x00\x00\x00\x00" or (data[5] in (9, 10, 128, 3, 4, 12) and data[5:9] != b"    ")
    )


_JRMI = fixed(7, lambda data: data[:5] == b"JRMI\x00" and data[6] in b"KLM", b"J")
_AJP_CLIENT = frames(4, lambda header: 4 + be16(header, 2) if header[:2] == b"\x12\x34" else -1, b"\x12")
_AJP_SERVER = frames(4, lambda header: 4 + be16(header, 2) if header[:2] == b"AB" and be16(header, 2) else -1, b"A")
_STRATUM = first_line(
    rb'\{.*"method" ?: ?"(?:mining\.[a-z_.]+|login|eth_submitLogin|eth_getWork|eth_submitHashrate|'
    rb'keepalived|submit|job)".*',
    b"{",
    limit=4_096,
)
_STRATUM_SERVER = first_line(rb"\{.*\"(?:result|method|jsonrpc|id|error)\".*", b"{", limit=8_192)


def _msgpack_rpc(kind: int) -> Recogniser:
    """MessagePack-RPC: an array of four (three for a notification), the type, the message id."""
    return fixed(4, lambda data: (data[1] == kind and data[2] < 0x80) or data[1:3] == bytes((kind, 0xCC)), b"\x94")


PROBES: tuple[Probe, ...] = (
    dialogue("thrift", server=_thrift(b"\x02\x03", False), client=_thrift(b"\x01\x04", False)),
    dialogue("thrift", server=_thrift(b"\x02\x03", True), client=_thrift(b"\x01\x04", True)),
    dialogue(
        "java-rmi",
        server=fixed(4, lambda data: 0 < be16(data, 1) < 256, b"NO"),
        client=_JRMI,
        both=True,
        server_alone=False,
    ),
    dialogue("jdwp", server=prefix(b"JDWP-Handshake"), client=prefix(b"JDWP-Handshake")),
    dialogue("smpp", server=frames(16, _smpp, b"\x00"), client=frames(16, _smpp, b"\x00"), both=True),
    dialogue("skinny", server=frames(12, _skinny), client=frames(12, _skinny), both=True, client_alone=False),
    dialogue(
        "fastcgi",
        server=frames(8, _fastcgi(b"\x03\x06\x07\x0a"), b"\x01"),
        client=frames(8, _fastcgi(b"\x01\x02\x04\x05\x09"), b"\x01"),
        both=True,
    ),
    dialogue("ajp13", server=_AJP_SERVER, client=_AJP_CLIENT, both=True),
    dialogue(
        "rtmp",
        server=fixed(9, _rtmp, b"\x03"),
        client=fixed(9, _rtmp, b"\x03"),
        both=True,
        client_alone=False,
        server_alone=False,
    ),
    dialogue("fix", server=prefix(b"8=FIX.4.", b"8=FIXT.1"), client=prefix(b"8=FIX.4.", b"8=FIXT.1")),
    dialogue(
        "msnp",
        server=first_line(rb"(?:VER|CVR|XFR|USR) [0-9]+ .*"),
        client=first_line(rb"VER [0-9]+ (?:MSNP|CVR).*", b"V"),
        both=True,
    ),
    dialogue("stratum", server=_STRATUM_SERVER, client=_STRATUM, both=True),
    dialogue("msgpack-rpc", server=_msgpack_rpc(1), client=_msgpack_rpc(0), both=True),
)
