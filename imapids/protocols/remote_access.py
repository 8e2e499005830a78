"""Remote control: SSH, telnet, RFB (VNC), RDP and its relatives on TPKT."""

from __future__ import annotations

from imapids.protocols.probing import (
    NEED_MORE,
    NO,
    YES,
    Answer,
    Probe,
    Recogniser,
    be16,
    client_only,
    dialogue,
    fixed,
    found,
    prefix,
    side_look,
    speaks,
    starts,
)
from imapids.records.candidates import Look, Opening

# RFC 4253 section 4.2: "SSH-protoversion-softwareversion"; 1.99 and 1.5 are the old ones.
_SSH = prefix(b"SSH-2.0-", b"SSH-1.99-", b"SSH-1.5-", b"SSH-1.3-")


def _ssh_later(data: bytes, ended: bool) -> Look:
    """RFC 4253 section 4.2: the server may send other lines before its version string."""
    if b"\nSSH-2.0-" in data[:2_048] or b"\nSSH-1." in data[:2_048]:
        return YES
    return NO if ended or len(data) >= 2_048 else NEED_MORE


# RFC 6143 section 7.1.1: "RFB xxx.yyy\n", 12 bytes, server first, and the client answers in the same form.
_RFB = fixed(
    12,
    lambda data: (
        data[:4] == b"RFB "
        and data[7:8] == b"."
        and data[11:12] == b"\n"
        and data[4:7].isdigit()
        and data[8:11].isdigit()
    ),
    starts=b"R",
)

_IAC, _SB = 0xFF, 0xFA
_TELNET_OPTIONS = frozenset((*range(50), 69, 70, 138, 139, 140, 200, 201, 255))
"""IANA telnet options, and those of MUD clients (MSDP, MCCP, GMCP)."""


def _look_telnet(data: bytes, ended: bool) -> Look:
    """RFC 854, 855: the first bytes negotiate options, IAC WILL/WONT/DO/DONT option."""
    if data[0] != _IAC:
        return NO
    if len(data) < 3:
        return NO if ended or (data[1:2] and not _SB <= data[1] <= 0xFE) else NEED_MORE
    if not _SB <= data[1] <= 0xFE or data[2] not in _TELNET_OPTIONS:
        return NO
    if len(data) == 3 or data[1] == _SB:
        return YES
    return YES if data[3] != _IAC or len(data) < 5 or data[4] >= 0xF0 else NO


# ---- TPKT (RFC 1006) with X.224 / COTP inside: RDP, S7, MMS, H.323 share the first bytes --------------------

_CONNECT_REQUEST, _CONNECT_CONFIRM, _DATA, _DISCONNECT = 0xE0, 0xD0, 0xF0, 0x80


def _tpkt(data: bytes) -> tuple[int, bytes] | None:
    """Code and user data of the first X.224 unit, or None where the bytes are no TPKT. 7 bytes at least."""
    if data[:2] != b"\x03\x00":
        return None
    length, indicator = data[2] << 8 | data[3], data[4]
    if not length >= 7 or not 2 <= indicator <= length - 5:
        return None
    return data[5], data[5 + indicator : length]


def _tpkt_look(*codes: int) -> Recogniser:
    def look(data: bytes, ended: bool) -> Look:
        if data[0] != 3 or data[1:2] not in (b"", b"\x00"):
            return NO
        if len(data) < 11:
            return NO if ended else NEED_MORE
        unit = _tpkt(data)
        return YES if unit is not None and unit[0] & 0xF0 in codes else NO

    return look


_TPKT_SERVER = fixed(7, lambda data: data[1] == 0 and be16(data, 2) >= 5, b"\x03")
"""The server's first unit may be an odd one: the client's tells what it is."""
_TPKT_CLIENT = _tpkt_look(_CONNECT_REQUEST, _DATA)


def _name_tpkt(opening: Opening) -> str:
    """Which protocol stands on TPKT, by the units that were exchanged first."""
    for data in (opening.client, opening.server):
        if b"mstshash=" in data[:200] or b"\x7f\x65\x82" in data[7:120]:
            return "rdp"
        if len(data) >= 19 and data[5] in (_CONNECT_REQUEST, _CONNECT_CONFIRM):
            length = data[2] << 8 | data[3]
            if length == 19 and data[11] in (1, 2, 3) and data[13:15] == b"\x08\x00":
                return "rdp"
    for data in (opening.client, opening.server):
        offset = 0
        for _ in range(4):
            unit = _tpkt(data[offset:]) if len(data) - offset >= 7 else None
            if unit is None:
                break
            if unit[0] == _DATA and unit[1][:1] == b"\x32":
                return "s7comm"
            if unit[0] == _DATA and unit[1][:2] in (b"\x0d\xb8", b"\x0e\x8f", b"\x01\x00"):
                return "mms"
            offset += data[offset + 2] << 8 | data[offset + 3]
    return "iso-tsap"


def _look_tpkt(opening: Opening) -> Answer:
    said = side_look(_TPKT_SERVER, opening.server, opening.server_ended)
    if said is NO:
        return NO, None
    asked = side_look(_TPKT_CLIENT, opening.client, opening.client_ended)
    if asked is NO or (said is None and asked is None):
        return NO, None
    if not (opening.server_ended and opening.client_ended) and min(len(opening.client), len(opening.server)) < 512:
        return NEED_MORE, None
    if said is None:
        return client_only(_name_tpkt(opening), opening)
    name = _name_tpkt(opening)
    return found(name, "high" if asked is YES else "medium", speaks("server", name, opening.server))


PROBES: tuple[Probe, ...] = (
    dialogue("ssh", server=_SSH, client=_SSH),
    dialogue("ssh", server=_ssh_later, client=_SSH, both=True, server_alone=False, client_alone=False),
    dialogue("rfb", server=_RFB, client=_RFB),
    dialogue("telnet", server=_look_telnet, client=_look_telnet),
    dialogue(
        "x11",
        server=fixed(8, lambda data: data[0] <= 2 and (data[2:4] in (b"\x0b\x00", b"\x00\x0b")), b"\x00\x01\x02"),
        client=fixed(12, lambda data: data[1] == 0 and data[2:6] in (b"\x0b\x00\x00\x00", b"\x00\x0b\x00\x00"), b"lB"),
        both=True,
    ),
    Probe("tpkt", _look_tpkt, starts(b"\x03", b"\x03")),
)
