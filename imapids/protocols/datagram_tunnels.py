"""Datagram protocols that carry others: QUIC, DTLS, WireGuard, OpenVPN, VXLAN, GTP, media and games."""

from __future__ import annotations

from imapids.protocols.datagram_calls import dtls_record
from imapids.protocols.datagram_exchange import exchange, firsts
from imapids.protocols.probing import NEED_MORE, NO, Answer, Probe, anything, be16, be32, found, speaks
from imapids.records.candidates import Opening


def _quic_long(data: bytes) -> bool:
    """RFC 9000 section 17.2: long header with the fixed bit, a known version, connection ids of at most 20 bytes."""
    if len(data) < 20 or not data[0] & 0x80:
        return False
    version = be32(data, 1)
    if version == 0:  # version negotiation (section 17.2.1): two connection ids, then versions
        ids = 7 + data[5] + (data[6 + data[5]] if 6 + data[5] < len(data) else 255)
        return (
            data[5] <= 20
            and ids + 4 <= len(data)
            and (len(data) - ids) % 4 == 0
            and all(be32(data, at) > 0 for at in range(ids, len(data), 4))
        )
    known = (
        version in (1, 0x6B3343CF, 0x709A50C4)
        or version & 0xFFFFFF00 == 0xFF000000
        or version & 0x0F0F0F0F == 0x0A0A0A0A
        or (data[1:2] in (b"Q", b"T") and data[2:5].isdigit())
        or version & 0xFFFFF000 == 0xFACEB000
    )
    size = data[5]
    if known and data[1:2] == b"Q" and not data[0] & 0x40:
        return True
    return known and size <= 20 and 6 + size < len(data) and data[6 + size] <= 20


def _gquic(data: bytes) -> bool:
    """Google QUIC before version 46: public flags with version and an 8-byte connection id."""
    return (
        len(data) >= 20
        and data[0] & 0x09 == 0x09
        and not data[0] & 0xC0
        and data[9:10] == b"Q"
        and data[10:13].isdigit()
    )


def _quic_any(data: bytes) -> bool:
    """An answer: long header, or a short one (its fixed bit), or gQUIC's."""
    return _quic_long(data) or _gquic(data) or data[0] & 0xC0 == 0x40 or not data[0] & 0xC2


def _wireguard(data: bytes) -> bool:
    """WireGuard section 5.4: message type, three zero bytes, and the size that the type demands."""
    if data[1:4] != b"\x00\x00\x00":
        return False
    size = len(data)
    return (
        (data[0] == 1 and size == 148)
        or (data[0] == 2 and size == 92)
        or (data[0] == 3 and size == 64)
        or (data[0] == 4 and size >= 32 and size % 16 == 0)
    )


def _openvpn_client(data: bytes) -> bool:
    """Opcode and key id, session id; the HMAC variants are longer. A hard reset of the client comes first."""
    return (
        len(data) >= 14 and data[0] in (0x38, 0x08, 0x50) and any(data[1:9]) and (len(data) > 14 or not any(data[9:14]))
    )


def _openvpn_server(data: bytes) -> bool:
    return len(data) >= 22 and data[0] in (0x40, 0x10) and any(data[1:9])


def _look_openvpn(opening: Opening) -> Answer:
    """The server's reset must name the client's session id, or both carry an HMAC of the same size. Alone, only a reset
    without HMAC has marks enough: an empty list of acknowledgements and packet 0, or one acknowledgement and packet 0.
    """
    client, server = firsts(opening)
    if (not client and not opening.client_ended) or (not server and not opening.server_ended):
        return NEED_MORE, None
    if client and not server and len(client[0]) == 14 and client[0][0] == 0x38 and _openvpn_client(client[0]):
        look, finding = found("openvpn", "medium", speaks("client", "openvpn", client[0]))
        assert finding is not None
        finding.by_client_only = True
        return look, finding
    if server and not client and len(server[0]) == 26 and server[0][0] == 0x40 and any(server[0][1:9]):
        if server[0][9:14] != b"\x01\x00\x00\x00\x00" or any(server[0][22:]):
            return NO, None
        return found("openvpn", "medium", speaks("server", "openvpn", server[0]))
    if not client or not server or not _openvpn_client(client[0]) or not _openvpn_server(server[0]):
        return NO, None
    if client[0][1:9] not in server[0] and client[0][9:18][:5] == b"\x00" * 5:
        return NO, None
    return found("openvpn", "high", speaks("server", "openvpn", server[0]), speaks("client", "openvpn", client[0]))


# ---- carriers of frames and packets -------------------------------------------------------------------------


def _ethernet(data: bytes, at: int) -> bool:
    """An Ethernet frame: a known EtherType after two addresses."""
    return len(data) >= at + 14 and be16(data, at + 12) in (
        0x0800,
        0x0806,
        0x86DD,
        0x8100,
        0x88A8,
        0x8847,
        0x88CC,
        0x8035,
        0x88E5,
    )


def ip_packet(data: bytes, at: int) -> bool:
    """An IP header whose length fits the rest."""
    if len(data) < at + 20:
        return False
    version = data[at] >> 4
    if version == 4:
        return (
            data[at] & 0x0F >= 5
            and 20 <= be16(data, at + 2) <= len(data) - at + 64
            and be16(data, at + 2) > len(data) - at - 64
        )
    return version == 6 and len(data) >= at + 40 and abs(be16(data, at + 4) + 40 - (len(data) - at)) <= 64


def _vxlan(data: bytes) -> bool:
    """RFC 7348 section 5: the I flag, a network id, reserved bits 0 or used by an extension, a frame."""
    return len(data) >= 22 and data[0] & 0x08 == 0x08 and (data[7] == 0 or not data[0] & 0xC7) and _ethernet(data, 8)


def _geneve(data: bytes) -> bool:
    """RFC 8926 section 3.4: version 0, option length, reserved bits 0, protocol type, then such a payload."""
    options = (data[0] & 0x3F) * 4
    if len(data) < 8 + options or data[0] & 0xC0 or data[1] & 0x3F or data[7]:
        return False
    kind, at = be16(data, 2), 8 + options
    return (kind == 0x6558 and _ethernet(data, at)) or (kind in (0x0800, 0x86DD) and ip_packet(data, at))


def _gtp(data: bytes) -> bool:
    """GTPv1 (3GPP TS 29.281 section 5): version 1, protocol type 1, length of the rest; GTPv2 alike; GTP' too."""
    if len(data) < 8:
        return False
    version, length = data[0] >> 5, be16(data, 2)
    if version == 1:
        message = data[1]
        if data[0] & 0x10:
            known = message in (
                1,
                2,
                26,
                31,
                253,
                254,
                255,
                *range(3, 8),
                *range(16, 64),
                *range(96, 106),
                *range(112, 122),
                128,
                129,
            )
            return known and abs(length + 8 - len(data)) <= 32 and (message != 255 or _gtp_payload(data))
        return data[0] & 0x0E == 0x0E and message in (*range(1, 8), 240, 241) and length + 6 <= len(data) + 2
    if version == 2:
        return not data[0] & 0x07 and abs(length + 4 - len(data)) <= 4 and 1 <= data[1] <= 240
    return (
        version == 0
        and data[0] & 0x10 == 0x10
        and data[0] & 0x0E == 0x0E
        and len(data) >= 20
        and length + 20 == len(data)
    )


def _gtp_payload(data: bytes) -> bool:
    """An IP packet behind the header and its extensions, or next to nothing."""
    at = 12 if data[0] & 7 else 8
    for _ in range(4):
        if not data[0] & 4 or at >= len(data) or not data[at - 1] or not data[at]:
            break
        at += data[at] * 4  # an extension header: its length in words, and the type of the next in its last byte
    return ip_packet(data, at) or len(data) - at < 20


def _pfcp(data: bytes) -> bool:
    """3GPP TS 29.244 section 7.2: version 1, message type, length of the rest, information elements."""
    if len(data) < 12 or data[0] >> 5 != 1 or data[0] & 0x18:
        return False
    known = data[1] in (*range(1, 16), *range(50, 58))
    return known and be16(data, 2) + 4 == len(data)


def _teredo(data: bytes) -> bool:
    """RFC 4380 section 5.1.1: optional authentication 00 01 and origin 00 00 indications, then IPv6."""
    at = 0
    if data[:2] == b"\x00\x01" and len(data) > 13:
        at = 4 + data[2] + data[3] + 9
    if data[at : at + 2] == b"\x00\x00" and len(data) >= at + 8:
        at += 8
    if at == 0 and data[0] >> 4 != 6:
        return False
    return (
        len(data) >= at + 40
        and data[at] >> 4 == 6
        and data[at + 6] in (0, 6, 17, 44, 58, 59)
        and (
            at + 40 + be16(data, at + 4) == len(data)
            or (data[at + 6] in (58, 59) and at + 40 + be16(data, at + 4) < len(data))
        )
    )


def _ayiya(data: bytes) -> bool:
    """AYIYA section 3: identity of 2^4 bytes as integer, SHA-1 signature in 5 words, next header IPv6 or none."""
    return (
        len(data) >= 44
        and data[0] in (0x41, 0x42, 0x44)
        and data[1] in (0x52, 0x53, 0x50)
        and data[2] & 0xF0 in (0x10, 0x20)
        and data[3] in (41, 59)
    )


def _gre_udp(data: bytes) -> bool:
    """RFC 8086: a GRE header (version 0), a protocol type, and a payload of that type."""
    if len(data) < 24 or data[0] & 0x4F or data[1] & 0x07 or data[1]:
        return False
    at = 4 + 4 * ((data[0] >> 7 & 1) + (data[0] >> 5 & 1) + (data[0] >> 4 & 1))
    kind = be16(data, 2)
    return (kind in (0x0800, 0x86DD) and ip_packet(data, at)) or (kind == 0x6558 and _ethernet(data, at))


_PPP_PROTOCOLS = frozenset(
    (0x0021, 0x0057, 0x003D, 0x00FD, 0x8021, 0x8057, 0x80FD, 0xC021, 0xC023, 0xC025, 0xC223, 0xC227)
)
"""IPv4, IPv6, multilink, compressed; their control protocols; LCP, PAP, link quality, CHAP, EAP (IANA, PPP numbers)."""


def _l2tp_data(data: bytes) -> bool:
    """RFC 2661 section 3.1: a data message of version 2 (T not set, reserved bits zero), whose contents are PPP."""
    if data[0] & 0xB4 or data[1] != 2:
        return False
    at = 6
    if data[0] & 0x40:
        if be16(data, 2) != len(data):
            return False
        at += 2
    if data[0] & 0x08:  # Ns and Nr
        at += 4
    if data[0] & 0x02:  # an offset, and padding of that size
        at += 2 + be16(data, at)
    return data[at : at + 2] == b"\xff\x03" and len(data) > at + 4 and be16(data, at + 2) in _PPP_PROTOCOLS


def _l2tp(data: bytes) -> bool:
    """RFC 2661 section 3.1: a control message (T, L and S set, version 2 or 3) with a length that fits, or data."""
    if len(data) >= 12 and data[0] & 0x80 == 0:
        return _l2tp_data(data)
    if len(data) < 12 or data[1] & 0x0F not in (2, 3) or data[0] & 0x48 != 0x48:
        return False
    if be16(data, 2) == len(data):
        return len(data) == 12 or (len(data) >= 20 and data[12] & 0x3C == 0 and be16(data, 14) < 64)
    return data[0] & 0x34 == 0x30 or (
        data[0] & 0x34 == 0 and be16(data, 2) < 2_048 and len(data) >= 14 and be16(data, 2) > 12
    )


def _rx(data: bytes) -> bool:
    """AFS's RX: epoch, connection id, call, sequence, serial, type 1 to 13, flags, service."""
    return (
        len(data) >= 28
        and 1 <= data[20] <= 13
        and data[21] <= 0x3F
        and be32(data, 8) < 1 << 24
        and be32(data, 12) < 1 << 24
        and 0 < be32(data, 16) < 1 << 24
        and data[23] <= 3
    )


def _cpha(data: bytes) -> bool:
    """Check Point high availability: magic 1A 90, protocol version."""
    return len(data) >= 20 and data[:2] == b"\x1a\x90" and be16(data, 2) < 0x1000


def _caneth(data: bytes) -> bool:
    """CAN over Ethernet: the standard's name, a version, a count of frames."""
    return data[:8] == b"ISO11898" and len(data) >= 11


def _sbus(data: bytes) -> bool:
    """SAIA S-Bus over Ethernet: BE32 length of the whole, version, type 0, sequence."""
    return len(data) >= 11 and be32(data) == len(data) and data[4] <= 1 and data[5] == 0 and data[8] <= 2


def _knx(data: bytes) -> bool:
    """KNXnet/IP: header size 6, version 1.0, service type, length of the whole."""
    return len(data) >= 6 and data[:2] == b"\x06\x10" and be16(data, 4) == len(data)


def _bacnet(data: bytes) -> bool:
    """BACnet/IP annex J: type 81, function, length of the whole."""
    return len(data) >= 4 and data[0] == 0x81 and data[1] <= 12 and be16(data, 2) == len(data)


def _thrift_compact(data: bytes) -> bool:
    """Apache Thrift's compact protocol: 82, type and version 1, sequence id, then a printable method name."""
    if len(data) < 10 or data[0] != 0x82 or data[1] & 0x1F != 1 or not 1 <= data[1] >> 5 <= 4:
        return False
    at = 2
    while at < 7 and data[at] & 0x80:
        at += 1
    name = data[at + 2 : at + 2 + data[at + 1]]
    return 1 <= data[at + 1] <= 64 and name.isascii() and name.replace(b"_", b"").replace(b":", b"").isalnum()


def _someip(data: bytes) -> bool:
    """SOME/IP: service, method, length of the rest, client, session, protocol version 1, message type."""
    return (
        len(data) >= 16
        and be32(data, 4) == len(data) - 8
        and data[12] == 1
        and data[14] in (0, 1, 2, 0x40, 0x41, 0x42, 0x80, 0x81, 0xC0, 0xC1)
    )


# ---- marks --------------------------------------------------------------------------------------------------


PROBES: tuple[Probe, ...] = (
    exchange("dtls", dtls_record, starts=bytes(range(20, 26))),
    exchange("wireguard", _wireguard, starts=b"\x01\x02\x03\x04"),
    Probe("openvpn", _look_openvpn, anything),
    exchange("quic", _quic_long, _quic_any),
    exchange("quic", _gquic, _quic_any),
    exchange("vxlan", _vxlan),
    exchange("geneve", _geneve),
    exchange("gtp", _gtp),
    exchange("pfcp", _pfcp),
    exchange("teredo", _teredo),
    exchange("ayiya", _ayiya),
    exchange("gre", _gre_udp),
    exchange("caneth", _caneth, starts=b"I"),
    exchange("knxnet_ip", _knx, starts=b"\x06"),
    exchange("bacnet", _bacnet, starts=b"\x81"),
    exchange("l2tp", _l2tp),
    exchange("sbus", _sbus, starts=b"\x00"),
    exchange("someip", _someip),
    exchange("rx", _rx),
    exchange("cpha", _cpha, starts=b"\x1a"),
    exchange("thrift", _thrift_compact, starts=b"\x82"),
)
