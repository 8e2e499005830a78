"""Industrial control and instruments: Modbus, DNP3, IEC 104, EtherNet/IP, OPC UA and their like."""

from __future__ import annotations

from collections.abc import Callable

from imapids.protocols.directories import ber_length
from imapids.protocols.probing import (
    NEED_MORE,
    NO,
    Answer,
    Probe,
    Recogniser,
    be16,
    be32,
    client_only,
    dialogue,
    fixed,
    found,
    frames,
    le16,
    le32,
    may_start,
    prefix,
    side_look,
    speaks,
)
from imapids.records.candidates import Opening

# ---- Modbus/TCP (Modbus Messaging on TCP/IP 1.0b section 3.1.3) ---------------------------------------------

_MODBUS_FUNCTIONS = frozenset((*range(1, 9), 11, 12, *range(15, 18), *range(20, 25), 43, 90, 91, 100))
_MODBUS_SIZES = {1: 6, 2: 6, 3: 6, 4: 6, 5: 6, 6: 6}
"""Length field of the fixed-size requests."""


def _modbus_request(header: bytes) -> int:
    """Transaction id, protocol 0, length of what follows, unit, function."""
    length, function = be16(header, 4), header[7]
    good = not be16(header, 2) and 2 <= length <= 260 and function in _MODBUS_FUNCTIONS
    return 6 + length if good and _MODBUS_SIZES.get(function, length) == length else -1


def _modbus_reply(header: bytes) -> int:
    length, function = be16(header, 4), header[7]
    good = not be16(header, 2) and 2 <= length <= 260 and function & 0x7F in _MODBUS_FUNCTIONS
    if good and function & 0x80:
        good = length == 3
    elif good and function <= 4:
        good = header[8] + 3 == length
    elif good and function <= 6:
        good = length == 6
    return 6 + length if good else -1


_MODBUS_CLIENT, _MODBUS_SERVER = frames(9, _modbus_request), frames(9, _modbus_reply)

# ---- DNP3 (IEEE 1815 section 9.2) ---------------------------------------------------------------------------


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ 0xA6BC if value & 1 else value >> 1
        table.append(value)
    return tuple(table)


_CRC_DNP = _crc_table()


def dnp3_header(data: bytes) -> bool:
    """05 64, length 5 or more, and the CRC over the first eight bytes (10 bytes are needed)."""
    if data[:2] != b"\x05\x64" or data[2] < 5:
        return False
    crc = 0
    for byte in data[:8]:
        crc = crc >> 8 ^ _CRC_DNP[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFF == le16(data, 8)


_DNP3 = fixed(10, dnp3_header, b"\x05")

# ---- IEC 60870-5-104 (section 5) ----------------------------------------------------------------------------


def _iec104(header: bytes) -> int:
    """68, length, four control octets: I, S or U format. U formats are a closed list."""
    length, first = header[1], header[2]
    if header[0] != 0x68 or not 4 <= length <= 253:
        return -1
    if first & 3 == 3:
        good = length == 4 and header[3:6] == b"\x00\x00\x00" and first in (0x07, 0x0B, 0x13, 0x23, 0x43, 0x83)
    elif first & 3 == 1:
        good = length == 4 and first == 1 and header[3] == 0 and not header[4] & 1
    else:
        good = length >= 10 and not header[4] & 1
    return 2 + length if good else -1


_IEC104 = frames(6, _iec104, b"\x68", wanted=1)

# ---- EtherNet/IP (CIP volume 2 section 2-3) -----------------------------------------------------------------

_ENIP_COMMANDS = (0x0001, 0x0004, 0x0063, 0x0064, 0x0065, 0x0066, 0x006F, 0x0070, 0x0072, 0x0073)
_ENIP_STATUS = (0, 1, 2, 3, 0x64, 0x65, 0x69, 0x6A)


def enip_header(header: bytes) -> int:
    """LE16 command, LE16 length, session, status, sender context, options 0 (24 bytes)."""
    good = le16(header) in _ENIP_COMMANDS and le32(header, 8) in _ENIP_STATUS and not le32(header, 20)
    return 24 + le16(header, 2) if good else -1


_ENIP = frames(24, enip_header, b"\x01\x04\x63\x64\x65\x66\x6f\x70\x72\x73", wanted=1)

# ---- OPC UA (part 6 section 7.1), HiSLIP (IVI-6.1), DoIP (ISO 13400-2), synchrophasors (IEEE C37.118.2) -----


def _opcua(kinds: tuple[bytes, ...]) -> Recogniser:
    return fixed(8, lambda data: data[:3] in kinds and data[3] in b"FCA" and 8 <= le32(data, 4) <= 1 << 24)


def doip_header(data: bytes) -> bool:
    """Version and its inverse, a payload type of the standard, BE32 length."""
    return (
        data[0] ^ data[1] == 0xFF
        and (be16(data, 2) <= 8 or be16(data, 2) in (0x4001, 0x4002, 0x4003, 0x4004, 0x8001, 0x8002, 0x8003))
        and be32(data, 4) <= 1 << 24
    )


def _hislip(header: bytes) -> int:
    """`HS`, message type, control code, parameter, BE64 length."""
    return 16 + be32(header, 12) if header[:2] == b"HS" and header[2] <= 27 and not be32(header, 8) else -1


def synphasor_header(header: bytes) -> int:
    """AA, frame type and version, BE16 size, id code, then time."""
    good = header[0] == 0xAA and header[1] & 0x8F in (1, 2) and header[1] >> 4 <= 5 and be16(header, 2) >= 16
    return be16(header, 2) if good else -1


# ---- BER and others -----------------------------------------------------------------------------------------


def _c1222(data: bytes) -> bool:
    """ANSI C12.22 over ACSE: [APPLICATION 0] whose first elements are titles as object identifiers."""
    length, at = ber_length(data, 1)
    if length < 16 or data[at] not in (0xA2, 0xA4, 0xA6, 0xA1):
        return False
    inner, contents = ber_length(data, at + 1)
    return 2 <= inner <= 64 and data[contents] in (0x06, 0x0D, 0x02, 0x80) and inner == data[contents + 1] + 2


def _z3950(tag: int) -> Recogniser:
    """Z39.50 InitializeRequest [20] and -Response [21]: protocol version, options, sizes."""

    def check(data: bytes) -> bool:
        length, at = ber_length(data, 1)
        return (
            length >= 12
            and data[at] in (0x82, 0x83)
            and any(
                data[at + skip : at + skip + 1] == b"\x84" or data[at + skip : at + skip + 1] == b"\x83"
                for skip in (4, 5, 3)
            )
        )

    return fixed(16, check, bytes((tag,)))


def _ams(header: bytes) -> int:
    """Beckhoff AMS/TCP: reserved 0, LE32 length, then an AMS header with its own length that must agree."""
    length, inner = le32(header, 2), le32(header, 26)
    good = (
        le16(header) == 0 and length == 32 + inner and le16(header, 22) <= 9 and le16(header, 24) in (4, 5, 0x44, 0x45)
    )
    return 6 + length if good else -1


def _hart(header: bytes) -> int:
    """HART-IP: version 1 or 2, message type, message id, status, sequence, length of the whole."""
    good = header[0] in (1, 2) and header[1] <= 2 and header[2] <= 4 and be16(header, 6) >= 8 and header[3] < 64
    return be16(header, 6) if good else -1


def trdp_header(data: bytes) -> bool:
    """IEC 61375-2-3 annex A: sequence counter, protocol version 1.x, message type in ASCII."""
    return data[4] == 1 and data[6:8] in (b"Pd", b"Pp", b"Pr", b"Pe", b"Mn", b"Mr", b"Mp", b"Mq", b"Mc", b"Me")


def dlms_header(data: bytes) -> bool:
    """DLMS/COSEM wrapper: version 1, source and destination ports, length; then an APDU tag."""
    return (
        data[:2] == b"\x00\x01"
        and 0 < be16(data, 6) <= 2_048
        and data[8] in (0x60, 0x61, 0xC0, 0xC1, 0xC3, 0xC4, 0xC8, 0xCB, 0x62, 0x63)
        and be16(data, 2) <= 0x0100
        and be16(data, 4) <= 0x0100
    )


def _look_pairs(name: str, client: Recogniser, server: Recogniser, fields: slice) -> Callable[[Opening], Answer]:
    """Request and reply that must carry the same bytes in `fields` (a transaction id)."""

    def look(opening: Opening) -> Answer:
        asked = side_look(client, opening.client, opening.client_ended)
        said = side_look(server, opening.server, opening.server_ended)
        if NO in (asked, said) or (asked is None and said is None):
            return NO, None
        if NEED_MORE in (asked, said):
            return NEED_MORE, None
        if said is None:
            return client_only(name, opening)
        evidence = speaks("server", name, opening.server)
        if asked is None or (opening.midstream and opening.client[fields] != opening.server[fields]):
            return found(name, "medium", evidence)
        if opening.client[fields] != opening.server[fields]:
            return NO, None
        return found(name, "high", evidence, speaks("client", name, opening.client))

    return look


PROBES: tuple[Probe, ...] = (
    dialogue("dnp3", server=_DNP3, client=_DNP3),
    Probe(
        "modbus",
        _look_pairs("modbus", _MODBUS_CLIENT, _MODBUS_SERVER, slice(0, 2)),
        lambda said, asked: may_start(_MODBUS_SERVER, said) and may_start(_MODBUS_CLIENT, asked),
    ),
    dialogue("iec-104", server=_IEC104, client=_IEC104, both=True),
    dialogue("ethernet-ip", server=_ENIP, client=_ENIP, both=True),
    dialogue("opcua", server=_opcua((b"ACK", b"ERR", b"OPN", b"MSG")), client=_opcua((b"HEL", b"OPN", b"MSG", b"RHE"))),
    dialogue("hislip", server=frames(16, _hislip, b"H"), client=frames(16, _hislip, b"H")),
    dialogue("doip", server=fixed(8, doip_header), client=fixed(8, doip_header), both=True),
    dialogue(
        "synphasor",
        server=frames(14, synphasor_header, b"\xaa", wanted=1),
        client=frames(14, synphasor_header, b"\xaa", wanted=1),
        both=True,
    ),
    dialogue("c1222", server=fixed(20, _c1222, b"\x60"), client=fixed(20, _c1222, b"\x60"), both=True),
    dialogue("z3950", server=_z3950(0xB5), client=_z3950(0xB4), both=True),
    dialogue("ams", server=frames(38, _ams, b"\x00", wanted=1), client=frames(38, _ams, b"\x00", wanted=1)),
    dialogue(
        "hart-ip",
        server=frames(8, _hart, b"\x01\x02", least=2),
        client=frames(8, _hart, b"\x01\x02"),
        both=True,
        client_alone=False,
    ),
    dialogue("trdp", server=fixed(8, trdp_header), client=fixed(8, trdp_header), both=True),
    dialogue("dlms", server=fixed(9, dlms_header, b"\x00"), client=fixed(9, dlms_header, b"\x00"), both=True),
    dialogue("fox", server=prefix(b"fox a "), client=prefix(b"fox a ")),
    dialogue("fins", server=prefix(b"FINS\x00\x00"), client=prefix(b"FINS\x00\x00")),
    dialogue(
        "knxnet_ip",
        server=prefix(b"\x06\x10"),
        client=prefix(b"\x06\x10"),
        both=True,
        client_alone=False,
        server_alone=False,
    ),
)
