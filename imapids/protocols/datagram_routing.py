"""Routing and monitoring between network devices in datagrams: sFlow, NetFlow, BFD, RIP, HSRP, Babel and their like."""

from __future__ import annotations

from imapids.protocols.datagram_exchange import exchange
from imapids.protocols.datagram_tunnels import ip_packet
from imapids.protocols.probing import Probe, be16, be32


def _lisp(data: bytes) -> bool:
    """RFC 9301 section 5: control message type 1 to 4 or 8, reserved bits, a count of records, key and nonce."""
    kind = data[0] >> 4
    if len(data) < 24:
        return False
    if kind == 8:
        return data[0] & 0x03 == 0 and not any(data[1:4]) and ip_packet(data, 4)
    if kind in (3, 4):
        return (1 <= data[3] <= 64 and be16(data, 12) <= 2 and be16(data, 14) in (0, 20, 32)) or (
            kind == 3 and be16(data, 14) in (20, 32)
        )
    return kind == 1 and data[2] < 32 and 1 <= data[3] <= 8 and be16(data, 12) <= 2


# ---- media --------------------------------------------------------------------------------------------------


def _sflow(data: bytes) -> bool:
    """sFlow 5: version, address type, sequence, uptime, a count of samples."""
    return (
        len(data) >= 28
        and be32(data) in (2, 4, 5)
        and be32(data, 4) in (1, 2)
        and be32(data, 24 if data[7] == 1 else 36) <= 64
    )


def _netflow(data: bytes) -> bool:
    """NetFlow 1, 5, 7, 9 and IPFIX: version, then a count or length that fits the datagram."""
    version, count = be16(data), be16(data, 2)
    if version in (1, 5, 7):
        size = {1: (16, 52), 5: (24, 48), 7: (24, 52)}[version]
        return 1 <= count <= 64 and len(data) == size[0] + count * size[1]
    if version == 9:
        return len(data) >= 24 and 1 <= count <= 512 and be16(data, 22) <= len(data) - 20
    return version == 10 and count == len(data) and len(data) >= 20 and 4 <= be16(data, 18) <= len(data) - 16


def _bfd(data: bytes) -> bool:
    """RFC 5880 section 4.1: version 1, length of the whole, detect multiplier, a discriminator, intervals."""
    return (
        24 <= len(data) <= 72
        and data[0] >> 5 == 1
        and data[0] & 0x1F <= 8
        and data[3] == len(data)
        and data[2] > 0
        and be32(data, 4) > 0
    )


def _rip_entry(data: bytes, at: int) -> bool:
    """Address family, tag (zero in version 1), a metric of at most 16; or authentication."""
    family = be16(data, at)
    return family == 0xFFFF or (
        family in (0, 2) and (data[1] == 2 or not be16(data, at + 2)) and be32(data, at + 16) <= 16
    )


def _rip(data: bytes) -> bool:
    """RFC 2453 section 4, RFC 2080 section 2.1: command, version, entries of 20 bytes."""
    if len(data) < 4 or data[0] not in (1, 2, 9, 10, 11) or data[1] not in (1, 2) or (len(data) - 4) % 20:
        return False
    return len(data) >= 24 and all(_rip_entry(data, at) for at in range(4, len(data), 20)) and data[2:4] == b"\x00\x00"


def _ripng(data: bytes) -> bool:
    return (
        len(data) >= 24
        and data[0] in (1, 2)
        and data[1:4] == b"\x01\x00\x00"
        and (len(data) - 4) % 20 == 0
        and all(
            data[at + 18] <= 128 and (1 <= data[at + 19] <= 16 or data[at + 19] == 0xFF)
            for at in range(4, len(data), 20)
        )
    )


def _hsrp(data: bytes) -> bool:
    """RFC 2281 section 5 (version 0), and version 2 in TLVs: group state 1, 40 bytes, version 2."""
    if data[:3] == b"\x01\x28\x02":
        return len(data) >= 42 and data[3] <= 2 and data[4] <= 6 and data[5] in (4, 6)
    if data[:3] == b"\x02\x04\x00":
        return len(data) == 6
    if data[:2] == b"\x00\x03":  # advertisement: type, length, state
        return len(data) >= 16 and be16(data, 2) in (1, 2) and be16(data, 4) <= 14 and data[6] <= 2
    return (
        len(data) >= 20
        and data[0] == 0
        and data[1] <= 2
        and data[2] in (0, 1, 2, 4, 8, 16)
        and 0 < data[3] <= data[4]
        and data[7] == 0
    )


def _babel(data: bytes) -> bool:
    """RFC 8966 section 4.2: magic 42, version 2, body length, then TLVs."""
    return len(data) >= 4 and data[:2] == b"\x2a\x02" and abs(be16(data, 2) + 4 - len(data)) <= 64


def _olsr(data: bytes) -> bool:
    """RFC 3626 section 3.3: packet length of the whole, then a message with its size."""
    return (
        len(data) >= 16
        and be16(data) == len(data)
        and 1 <= data[4] <= 4
        and 12 <= be16(data, 6) <= len(data) - 4
        and be32(data, 8) > 0
    )


def _mpls_echo(data: bytes) -> bool:
    """RFC 8029 section 3: version 1, message type, reply mode, return code, then times."""
    return (
        len(data) >= 32
        and data[:2] == b"\x00\x01"
        and data[4] in (1, 2, 3, 4)
        and data[5] <= 4
        and data[6] <= 15
        and be16(data, 2) <= 7
    )


# ---- others -------------------------------------------------------------------------------------------------


PROBES: tuple[Probe, ...] = (
    exchange("babel", _babel, starts=b"*"),
    exchange("bfd", _bfd),
    exchange("hsrp", _hsrp, starts=b"\x00\x01\x02"),
    exchange("netflow", _netflow, starts=b"\x00"),
    exchange("sflow", _sflow, starts=b"\x00"),
    exchange("rip", _rip),
    exchange("ripng", _ripng, starts=b"\x01\x02"),
    exchange("lisp", _lisp),
    exchange("mpls-echo", _mpls_echo, starts=b"\x00"),
    exchange("olsr", _olsr),
)
