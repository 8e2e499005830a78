"""Datagram protocols of hosts and networks: one datagram is one message, so each is checked from end to end.

A conversation is named when the first datagram of every side that spoke is well formed.
"""

from __future__ import annotations

from imapids.protocols.databases import memcached_line
from imapids.protocols.datagram_exchange import exchange, firsts
from imapids.protocols.directories import ber_length, kerberos_message
from imapids.protocols.dns_messages import name_service
from imapids.protocols.industrial import (
    dlms_header,
    dnp3_header,
    doip_header,
    enip_header,
    synphasor_header,
    trdp_header,
)
from imapids.protocols.probing import NEED_MORE, NO, Answer, Probe, be16, be32, found, speaks, starts
from imapids.protocols.routing import ldp_header
from imapids.records.candidates import Opening


def _dhcp(data: bytes) -> bool:
    """RFC 2131 section 2: op 1 or 2, hardware type and length, and the magic cookie after 236 bytes."""
    return len(data) >= 240 and data[0] in (1, 2) and data[2] <= 16 and data[236:240] == b"\x63\x82\x53\x63"


def _dhcpv6(data: bytes) -> bool:
    """RFC 8415 sections 8 and 9: type and transaction id, or a relay header, then options to the end."""
    if not 1 <= data[0] <= 36:
        return False
    at, seen = 34 if data[0] in (12, 13) else 4, 0
    while at + 4 <= len(data) and seen < 8:
        if not 1 <= be16(data, at) <= 150 or be16(data, at + 2) > 2_048:
            return False
        at += 4 + be16(data, at + 2)
        seen += 1
    return seen == 8 or (seen > 0 and at == len(data)) or (seen > 1 and data[0] in (12, 13))


def _ntp(data: bytes) -> bool:
    """RFC 5905 section 7.3: version 1 to 4, mode, stratum, poll and precision in their ranges; or mode 6 and 7."""
    version, mode = data[0] >> 3 & 7, data[0] & 7
    if mode == 6:  # RFC 9327: leap 0, opcode, sequence, status, association, offset, count
        return (
            data[0] < 0x40
            and version >= 2
            and len(data) >= 12
            and data[1] & 0x1F in (*range(13), 31)
            and (be16(data, 10) <= len(data) - 12 <= be16(data, 10) + 24)
        )
    if mode == 7:
        return version in (2, 3) and len(data) >= 8 and data[2] in (0, 2, 3) and data[3] <= 46 and data[1] & 0x7F <= 127
    if not 1 <= mode <= 5 or not 1 <= version <= 4 or len(data) < 48:
        return False
    precision = data[3] - 256 if data[3] > 127 else data[3]
    return (
        data[1] <= 16
        and (data[2] <= 17 or data[2] >= 250)
        and -32 <= precision <= (32 if mode == 3 else 1)
        and (len(data) in (48, 60, 68, 72) or _extended(data))
    )


def _extended(data: bytes) -> bool:
    """RFC 7822: an extension field of 16 bytes or more follows the header."""
    return len(data) >= 64 and 16 <= be16(data, 50) <= len(data) - 48


def snmp_message(data: bytes) -> bool:
    """RFC 1157, RFC 3416, RFC 3412: SEQUENCE, version 0, 1 or 3, then the community or the global data."""
    if data[:1] != b"\x30":
        return False
    length, at = ber_length(data, 1)
    if length < 8 or data[at : at + 2] != b"\x02\x01" or data[at + 2 : at + 3] not in (b"\x00", b"\x01", b"\x03"):
        return False
    if data[at + 2] == 3:
        return data[at + 3 : at + 4] == b"\x30"
    if data[at + 3 : at + 4] != b"\x04":
        return False
    size, start = ber_length(data, at + 4)
    return size >= 0 and (start + size >= len(data) or 0xA0 <= data[start + size] <= 0xA8)


def _ldap(data: bytes) -> bool:
    """CLDAP (RFC 1798): a search or its answer in one datagram."""
    if data[:1] != b"\x30":
        return False
    length, at = ber_length(data, 1)
    size, value = ber_length(data, at + 1)
    operation = data[value + size : value + size + 1]
    return (
        length > 8
        and data[at : at + 1] == b"\x02"
        and 1 <= size <= 4
        and operation in (b"\x63", b"\x64", b"\x65", b"\x60", b"\x61", b"\x42")
    )


_RADIUS_CODES = frozenset((1, 2, 3, 4, 5, 11, 12, 13, *range(40, 46)))


def _radius(data: bytes) -> bool:
    """RFC 2865 section 3: code, identifier, length of the whole, authenticator, attributes to the end."""
    end = be16(data, 2)
    if len(data) < 20 or data[0] not in _RADIUS_CODES or not 20 <= end <= min(4_096, len(data)):
        return False
    at = 20
    while at + 2 <= end:
        if data[at + 1] < 2:
            return False
        at += data[at + 1]
    return at == end


def _syslog(data: bytes) -> bool:
    """RFC 5424 section 6.2.1, RFC 3164: <PRI> of at most 191, then text."""
    end = data.find(b">", 1, 5)
    if data[:1] != b"<" or end < 2 or not data[1:end].isdigit() or int(data[1:end]) > 191 or end + 1 >= len(data):
        return False
    text = data[end + 1 : end + 41].rstrip(b"\x00")
    return sum(0x20 <= byte < 0x7F or byte in b"\t\r\n" or byte >= 0x80 for byte in text) == len(text)


def _memcached(data: bytes) -> bool:
    """memcached, protocol.txt, UDP: request id, first of some datagrams, zero; then a line, or a binary header whose
    key and extras fit the body."""
    if len(data) < 12 or be16(data, 6) or be16(data, 2) or not 1 <= be16(data, 4) <= 4_096:
        return False
    if data[8] in (0x80, 0x81):
        return len(data) >= 32 and data[9] <= 0x60 and be16(data, 10) + data[12] <= be32(data, 16) <= 1 << 21
    return memcached_line(data[8:])


_COLLECTD_STRINGS = frozenset((0, 2, 3, 4, 5, 0x0100))
_COLLECTD_PARTS = _COLLECTD_STRINGS | {1, 6, 7, 8, 9, 0x0101, 0x0200, 0x0210}


def _collectd(data: bytes) -> bool:
    """collectd, "Binary protocol": parts of BE16 type, BE16 length and contents up to the end; text ends with NUL."""
    at = seen = 0
    while at + 4 < len(data) and seen < 64:
        kind, size = be16(data, at), be16(data, at + 2)
        if kind not in _COLLECTD_PARTS or size < 5 or at + size > len(data):
            return False
        if kind in _COLLECTD_STRINGS and data[at + size - 1]:
            return False
        at += size
        seen += 1
    return seen >= 2 and (at == len(data) or seen == 64)


_TFTP_MODES = (b"octet", b"netascii", b"mail")


def _tftp_request(data: bytes) -> bool:
    """RFC 1350 section 5: RRQ or WRQ, a file name and a mode, both ended by NUL."""
    if data[:2] not in (b"\x00\x01", b"\x00\x02"):
        return False
    parts = data[2:].split(b"\x00", 2)
    return len(parts) == 3 and bool(parts[0]) and parts[0].isascii() and parts[1].lower() in _TFTP_MODES


def _tftp_any(data: bytes) -> bool:
    if data[:2] in (b"\x00\x01", b"\x00\x02"):
        return _tftp_request(data)
    if data[:2] == b"\x00\x05":
        return len(data) >= 5 and be16(data, 2) <= 8 and data[-1] == 0
    if data[:2] == b"\x00\x06":
        return data[-1] == 0 and data[2:3].isalpha()
    return (data[:2] == b"\x00\x04" and len(data) == 4) or (data[:2] == b"\x00\x03" and 4 <= len(data) <= 516)


def _look_transfer(opening: Opening) -> Answer:
    """A transfer whose request came from another port, as it does: blocks one way, their numbers the other."""
    client, server = firsts(opening)
    over = opening.client_ended and opening.server_ended
    if not client or not server:
        return (NO if over else NEED_MORE), None
    for blocks, marks in ((client[0], server[0]), (server[0], client[0])):
        if (
            blocks[:2] == b"\x00\x03"
            and 4 <= len(blocks) <= 1_472
            and marks[:2] == b"\x00\x04"
            and len(marks) == 4
            and (be16(blocks, 2) - be16(marks, 2)) & 0xFFFF in (0, 1)
        ):
            return found("tftp", "high", speaks("server", "tftp", server[0]), speaks("client", "tftp", client[0]))
        if _tftp_any(blocks) and blocks[:2] == b"\x00\x06" and marks[:4] == b"\x00\x04\x00\x00":
            return found("tftp", "high", speaks("server", "tftp", server[0]), speaks("client", "tftp", client[0]))
    return NO, None


def _isakmp(data: bytes) -> bool:
    """RFC 7296 section 3.1, RFC 2408 section 3.1: cookies, next payload, version, exchange, flags, length; after four
    zero bytes where it passes NAT (RFC 3948)."""
    if data[:4] == b"\x00\x00\x00\x00" and len(data) >= 32 and data[21] in (0x10, 0x20):
        data = data[4:]
    if len(data) < 28 or data[17] not in (0x10, 0x20) or data[19] & ~0x3F:
        return False
    exchange_type, length = data[18], be32(data, 24)
    known = exchange_type in (*range(6), 32, 33, *range(34, 44)) or exchange_type >= 240
    return (
        known
        and (data[16] <= 21 or 33 <= data[16] <= 54 or data[16] >= 128)
        and 28 <= length <= 65_535
        and (length == len(data) or data[19] & 1 == 0)
    )


def _nbdgm(data: bytes) -> bool:
    """RFC 1002 section 4.4: type 10 to 16, flags, id, source address and port."""
    if len(data) < 11 or not 0x10 <= data[0] <= 0x16 or data[1] & 0xF0:
        return False
    if data[0] <= 0x12:
        return len(data) > 48 and data[14] == 0x20 and data[15:47].isalpha()
    return len(data) == 11 if data[0] == 0x13 else len(data) >= 44 and data[10] == 0x20 and data[11:43].isalpha()


def _srvloc(data: bytes) -> bool:
    """RFC 2608 section 8: version 2, function, length of the whole, language tag (or version 1)."""
    if len(data) < 14 or not 1 <= data[1] <= 11:
        return False
    if data[0] == 2:
        size = be16(data, 12)
        return int.from_bytes(data[2:5], "big") == len(data) and 2 <= size <= 8 and data[14 : 14 + size].isascii()
    return data[0] == 1 and be16(data, 2) == len(data) and data[8:10].isalpha()


def _wol(data: bytes) -> bool:
    """Six bytes FF, then sixteen times the same address."""
    at = data.find(b"\xff" * 6, 0, 32)
    return at >= 0 and len(data) >= at + 102 and data[at + 6 : at + 102] == data[at + 6 : at + 12] * 16


def _xdmcp(data: bytes) -> bool:
    """XDMCP: version 1, operation 1 to 15, length of the rest."""
    return len(data) >= 6 and data[:2] == b"\x00\x01" and 1 <= be16(data, 2) <= 15 and be16(data, 4) == len(data) - 6


def _rmcp(data: bytes) -> bool:
    """ASF 2.0 section 3.2.2: version 6, reserved 0, sequence, class; ASF with its enterprise number, or IPMI."""
    if len(data) < 8 or data[:2] != b"\x06\x00" or data[3] & 0x7F not in (6, 7, 8):
        return data[:2] == b"\x06\x00" and len(data) == 4 and data[3] == 0x86
    return be32(data, 4) == 4_542 if data[3] & 0x7F == 6 else data[4] in (0, 1, 2, 4, 5, 6)


def _x_sequence(data: bytes) -> bool:
    return len(data) >= 10 and dnp3_header(data)


def name_probe(kind: str) -> Probe:
    """One of the family of DNS."""
    return exchange(kind, lambda data: name_service(data) == kind or (kind == "dns" and bool(name_service(data))))


PROBES: tuple[Probe, ...] = (
    # Marks of four bytes and more, and structures that are checked to their end: they exclude each other.
    exchange("dhcp", _dhcp, starts=b"\x01\x02"),
    exchange("syslog", _syslog, starts=b"<"),
    exchange("dnp3", _x_sequence, starts=b"\x05"),
    exchange("snmp", snmp_message, starts=b"\x30"),
    exchange("cldap", _ldap, starts=b"\x30"),
    exchange(
        "kerberos",
        lambda data: kerberos_message(data, b"\x6a\x6b\x6c\x6d\x6e\x6f\x7e"),
        starts=b"\x6a\x6b\x6c\x6d\x6e\x6f\x7e",
    ),
    exchange("wol", _wol),
    exchange("tftp", _tftp_request, _tftp_any, starts=b"\x00"),
    exchange("memcached", _memcached),
    exchange("collectd", _collectd, starts=b"\x00\x01\x02"),
    name_probe("netbios-ns"),
    name_probe("mdns"),
    name_probe("llmnr"),
    name_probe("dns"),
    exchange("radius", _radius),
    exchange("isakmp", _isakmp),
    exchange("srvloc", _srvloc, starts=b"\x01\x02"),
    exchange("netbios-dgm", _nbdgm, starts=bytes(range(0x10, 0x17))),
    exchange("xdmcp", _xdmcp, starts=b"\x00"),
    exchange("asf-rmcp", _rmcp, starts=b"\x06"),
    exchange("ntp", _ntp),
    exchange("doip", lambda data: len(data) >= 8 and doip_header(data) and be32(data, 4) == len(data) - 8),
    exchange("ethernet-ip", lambda data: len(data) >= 24 and enip_header(data[:24]) == len(data)),
    exchange(
        "ldp", lambda data: len(data) >= 14 and ldp_header(data) > 0 and be16(data, 2) <= len(data) + 64, starts=b"\x00"
    ),
    exchange("synphasor", lambda data: len(data) >= 16 and synphasor_header(data) == len(data), starts=b"\xaa"),
    exchange("trdp", lambda data: len(data) >= 40 and trdp_header(data)),
    exchange(
        "dlms", lambda data: len(data) >= 9 and dlms_header(data) and be16(data, 6) == len(data) - 8, starts=b"\x00"
    ),
)


LATE: tuple[Probe, ...] = (
    exchange("dhcpv6", _dhcpv6, starts=bytes(range(1, 37))),
    Probe("tftp", _look_transfer, starts(b"\x00", b"\x00")),
)
"""Weak formats: asked for after all others."""
