"""Routing, signalling and accounting between network devices: BGP, LDP, OpenFlow, Diameter and their like."""

from __future__ import annotations

from imapids.protocols.probing import Probe, be16, be32, dialogue, fixed, frames, prefix


def _bgp(header: bytes) -> int:
    """RFC 4271 section 4.1: a marker of ones, BE16 length 19 to 4096 (65535 with RFC 8654), type 1 to 5."""
    good = header[:16] == b"\xff" * 16 and be16(header, 16) >= 19 and 1 <= header[18] <= 5
    return be16(header, 16) if good else -1


def ldp_header(header: bytes) -> int:
    """RFC 5036 section 3.1: version 1, PDU length, LDP identifier, then a message type of the registry."""
    message = be16(header, 10) & 0x7FFF
    good = (
        be16(header) == 1
        and 14 <= be16(header, 2) <= 4_096
        and be32(header, 4)
        and 4 <= be16(header, 12) <= be16(header, 2) - 10
        and message in (0x0001, 0x0100, 0x0200, 0x0201, 0x0300, 0x0301, 0x0400, 0x0401, 0x0402, 0x0403, 0x0404, 0x3E00)
    )
    return 4 + be16(header, 2) if good else -1


def _openflow(header: bytes) -> int:
    """OpenFlow 1.0 to 1.5: version, type, BE16 length, transaction id."""
    good = 1 <= header[0] <= 6 and header[1] <= 35 and be16(header, 2) >= 8
    return be16(header, 2) if good else -1


def _openflow_hello(data: bytes) -> bool:
    """HELLO: nothing behind the header before version 1.3, then elements (1.3.1 section A.5.1)."""
    length = be16(data, 2)
    return data[1] == 0 and (length == 8 or (data[0] >= 4 and 8 < length <= 64 and length % 8 == 0))


_OPENFLOW_HELLO = fixed(8, _openflow_hello, bytes(range(1, 7)))


def _diameter(header: bytes) -> int:
    """RFC 6733 section 3: version 1, BE24 length a multiple of 4, flags, command code, application id."""
    length, command = be32(header) & 0xFFFFFF, be32(header, 4) & 0xFFFFFF
    good = (
        header[0] == 1
        and 20 <= length <= 65_536
        and length % 4 == 0
        and not header[4] & 0x0F
        and (257 <= command <= 330 or 8_388_600 <= command <= 8_388_740)
    )
    return length if good else -1


def _pptp(data: bytes) -> bool:
    """RFC 2637 section 2: length, message type 1, magic cookie, control message type."""
    return data[2:8] == b"\x00\x01\x1a\x2b\x3c\x4d" and be16(data) >= 16 and 1 <= be16(data, 8) <= 15


def _tacacs(header: bytes) -> int:
    """RFC 8907 section 4.1: version C0 or C1, type, sequence number, flags, session, length."""
    good = (
        header[0] in (0xC0, 0xC1)
        and 1 <= header[1] <= 3
        and header[2]
        and header[3] in (0, 1, 4, 5)
        and 5 <= be32(header, 8) <= 65_536
    )
    return 12 + be32(header, 8) if good else -1


_RPKI_SIZES = {0: (12,), 3: (8,), 4: (20,), 6: (32,), 7: (12, 24), 8: (8,)}


def _rpki_server(header: bytes) -> int:
    """RFC 8210 section 5: version, PDU type, session or zero, BE32 length that the type demands."""
    length = be32(header, 4)
    if header[0] > 2:
        return -1
    if header[1] in (9, 10):  # a router key and an error report hold other data
        return length if 16 <= length <= 4_096 else -1
    return length if length in _RPKI_SIZES.get(header[1], ()) else -1


def _rpki_client(header: bytes) -> int:
    length = be32(header, 4)
    good = header[0] <= 2 and (
        (header[1] == 1 and length == 12)
        or (header[1] == 2 and length == 8)
        or (header[1] == 10 and 16 <= length <= 4_096)
    )
    return length if good else -1


PROBES: tuple[Probe, ...] = (
    dialogue("bgp", server=frames(19, _bgp, b"\xff", wanted=1), client=frames(19, _bgp, b"\xff", wanted=1)),
    dialogue("ldp", server=frames(14, ldp_header, b"\x00"), client=frames(14, ldp_header, b"\x00")),
    dialogue(
        "openflow", server=_OPENFLOW_HELLO, client=_OPENFLOW_HELLO, both=True, server_alone=False, client_alone=False
    ),
    dialogue(
        "openflow",
        server=frames(8, _openflow, bytes(range(1, 7)), wanted=3, least=2),
        client=frames(8, _openflow, bytes(range(1, 7)), wanted=3, least=2),
        both=True,
    ),
    dialogue(
        "diameter",
        server=frames(20, _diameter, b"\x01", wanted=1),
        client=frames(20, _diameter, b"\x01", wanted=1),
        both=True,
    ),
    dialogue("pptp", server=fixed(10, _pptp, b"\x00\x01"), client=fixed(10, _pptp, b"\x00\x01")),
    dialogue(
        "tacacs",
        server=frames(12, _tacacs, b"\xc0\xc1", wanted=1),
        client=frames(12, _tacacs, b"\xc0\xc1", wanted=1),
        both=True,
    ),
    dialogue(
        "rpki-rtr",
        server=frames(8, _rpki_server, b"\x00\x01\x02"),
        client=frames(8, _rpki_client, b"\x00\x01\x02", wanted=1),
        both=True,
        client_alone=False,
    ),
    dialogue(
        "msdp",
        server=prefix(b"\x04\x00\x03"),
        client=prefix(b"\x04\x00\x03"),
        both=True,
        client_alone=False,
        server_alone=False,
    ),
)
