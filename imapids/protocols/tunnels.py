"""Proxies, tunnels and their control channels: SOCKS, OpenVPN, STUN/TURN, tinc, frp, TeamViewer."""

from __future__ import annotations

from imapids.protocols.probing import (
    NEED_MORE,
    NO,
    YES,
    Probe,
    be16,
    be32,
    dialogue,
    first_line,
    fixed,
    frames,
    prefix,
)
from imapids.records.candidates import Look

# ---- SOCKS (RFC 1928 sections 3 and 4; Ylonen and Koblas for version 4) -------------------------------------


def _socks5_client(data: bytes, ended: bool) -> Look:
    """05, the number of methods, and that many methods; then, if more came, the request 05 01..03 00 01|03|04."""
    if data[0] != 5:
        return NO
    if len(data) < 2:
        return NO if ended else NEED_MORE
    methods = data[1]
    if not 1 <= methods <= 16:
        return NO
    if len(data) < 2 + methods:
        return NO if ended else NEED_MORE
    chosen = data[2 : 2 + methods]
    return YES if len(set(chosen)) == methods and all(byte <= 9 or byte >= 0x80 for byte in chosen) else NO


def _socks5_server(data: bytes, ended: bool) -> Look:
    """05 and the chosen method; what follows is the reply to the request or to the user name."""
    if data[0] != 5:
        return NO
    if len(data) < 2:
        return NO if ended else NEED_MORE
    return YES if data[1] in (0, 1, 2, 3, 0x80, 0xFF) and (len(data) == 2 or data[2] in (1, 5)) else NO


def _socks4_client(data: bytes) -> bool:
    """04, CONNECT or BIND, port, address, user id."""
    return data[1] in (1, 2) and be16(data, 2) > 0 and (be32(data, 4) > 0x00FFFFFF or 0 < be32(data, 4) < 256)


# ---- OpenVPN over TCP: BE16 length, opcode and key id, session id -------------------------------------------

_OVPN_CLIENT_RESETS, _OVPN_SERVER_RESETS = b"\x08\x38\x50", b"\x10\x40"


def _openvpn_frame(opcodes: bytes, data: bytes) -> bool:
    """The first packet is a hard reset; a session id follows that is not all zeros."""
    return 14 <= be16(data) <= 1_500 and data[2] in opcodes and any(data[3:11])


def stun_header(data: bytes) -> bool:
    """RFC 8489 section 5: two zero bits, a length that is a multiple of 4, the magic cookie."""
    return data[0] < 0x40 and not data[3] & 3 and data[4:8] == b"\x21\x12\xa4\x42"


def _stun_tcp(data: bytes) -> bool:
    return stun_header(data) or (be16(data) >= 20 and stun_header(data[2:]))


def _teamviewer(header: bytes) -> int:
    """17 24, a command, LE16 length."""
    return 5 + int.from_bytes(header[3:5], "little") if header[:2] == b"\x17\x24" and 10 <= header[2] <= 110 else -1


PROBES: tuple[Probe, ...] = (
    dialogue("socks5", server=_socks5_server, client=_socks5_client, both=True, server_alone=False),
    dialogue(
        "socks4",
        server=fixed(8, lambda data: 0x5A <= data[1] <= 0x5D, b"\x00"),
        client=fixed(9, _socks4_client, b"\x04"),
        both=True,
        server_alone=False,
    ),
    dialogue(
        "openvpn",
        server=fixed(11, lambda data: _openvpn_frame(_OVPN_SERVER_RESETS, data), b"\x00\x01\x02\x03\x04\x05"),
        client=fixed(11, lambda data: _openvpn_frame(_OVPN_CLIENT_RESETS, data), b"\x00\x01\x02\x03\x04\x05"),
        both=True,
    ),
    dialogue("stun", server=fixed(10, _stun_tcp), client=fixed(10, _stun_tcp)),
    dialogue(
        "tinc",
        server=first_line(rb"0 [^ ]{1,64} 17(?:\.[0-9]+)?", b"0"),
        client=first_line(rb"0 [^ ]{1,64} 17(?:\.[0-9]+)?", b"0"),
        both=True,
    ),
    dialogue(
        "frp",
        client=fixed(10, lambda data: data[0] in b"o1" and not any(data[1:7]) and data[9] == 0x7B, b"o1"),
        server=fixed(10, lambda data: data[0] in b"12" and not any(data[1:7]) and data[9] == 0x7B, b"12"),
        both=True,
    ),
    dialogue(
        "teamviewer",
        server=frames(5, _teamviewer, b"\x17", wanted=1),
        client=frames(5, _teamviewer, b"\x17", wanted=1),
        both=True,
    ),
    dialogue("chisel", server=prefix(b"SSH-chisel-"), client=prefix(b"SSH-chisel-")),
)
