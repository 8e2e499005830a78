"""Buses, clusters and remote objects whose frames carry a mark or lengths that agree: CORBA, .NET, milters, storage."""

from __future__ import annotations

import zlib

from imapids.protocols.probing import (
    NEED_MORE,
    NO,
    YES,
    Answer,
    Probe,
    Recogniser,
    be16,
    be32,
    dialogue,
    either,
    first_line,
    fixed,
    found,
    frames,
    le32,
    prefix,
    side_look,
    speaks,
    starts,
    varint,
)
from imapids.records.candidates import Look, Opening

# CORBA 3.3 part 2 section 9.4: magic, version 1.0 to 1.3, flags, message type.
_GIOP = fixed(8, lambda data: data[:4] == b"GIOP" and data[4] == 1 and data[5] <= 3 and data[7] <= 7, b"G")

# Java Object Serialization, chapter 6.4: both streams begin with the magic and version 5.
_JAVA_OBJECTS = prefix(b"\xac\xed\x00\x05")

# MC-NMF 2.2.3: version record 1.0, mode record, via record with its URI; acknowledged, upgraded or faulted.
_NMF_CLIENT = fixed(
    9, lambda data: data[:4] == b"\x00\x01\x00\x01" and 1 <= data[4] <= 4 and data[5] == 2 and data[7:9].isalpha()
)
_NMF_SERVER = fixed(1, lambda data: data[0] in (0x08, 0x0A, 0x0B))

# MS-NRTP 2.2.3.3: protocol id, version 1.0, operation, content.
_NRTP = fixed(8, lambda data: data[:6] == b".NET\x01\x00" and be16(data[6:]) in (0x0000, 0x0100, 0x0200), b".")


def _frame32(types: tuple[int, ...]) -> Recogniser:
    """NSQ: BE32 size that counts the type, BE32 frame type."""

    def length_of(head: bytes) -> int:
        return 4 + be32(head) if 4 <= be32(head) <= 1 << 20 and be32(head, 4) in types else -1

    return frames(8, length_of, b"\x00", wanted=1)


def _agentx(header: bytes) -> int:
    """RFC 2741 section 6.1: version 1, type 1 to 18, flags, zero, three ids, length of what follows in whole words."""
    length = le32(header, 16) if not header[2] & 0x10 else be32(header, 16)
    good = header[0] == 1 and 1 <= header[1] <= 18 and header[2] < 0x20 and not header[3]
    return 20 + length if good and length % 4 == 0 and length <= 65_536 else -1


_AGENTX = frames(20, _agentx, b"\x01", wanted=1)


def _milter(data: bytes) -> bool:
    """Sendmail's mfdef.h: the option negotiation opens: BE32 size 13, `O`, version 2 to 6."""
    return be32(data) >= 13 and data[:2] == b"\x00\x00" and data[4:8] == b"O\x00\x00\x00" and 2 <= data[8] <= 6


_MILTER = fixed(9, _milter, b"\x00")


def _nrpe(data: bytes, ended: bool) -> Look:
    """NRPE 2 to 4 (common.h): version, type, CRC-32 of the whole without the sum, result; sizes by the version."""
    if data[:1] != b"\x00" or data[1:2] not in (b"", b"\x02", b"\x03", b"\x04"):
        return NO
    if len(data) < 16:
        return NO if ended else NEED_MORE
    size = 1_036 if data[1] == 2 else 16 + be32(data, 12) + 3
    if be16(data, 2) not in (1, 2, 3) or (data[1] > 2 and (be16(data, 10) or be32(data, 12) > 65_536)):
        return NO
    spare = (3, 2, 1, 0) if data[1] > 2 else (0,)  # the padding of the struct depends on the sender
    for whole in (size - padding for padding in spare):
        if len(data) >= whole and zlib.crc32(data[:4] + bytes(4) + data[8:whole]) == be32(data, 4):
            return YES
    return NO if ended or len(data) >= size else NEED_MORE


# Erlang, "Distribution Protocol": BE16 length, then a name with version and flags; `s` and a status.
_ERLANG_NAME = fixed(
    5,
    lambda data: 7 <= be16(data) <= 512 and ((data[2:3] == b"n" and data[3:5] == b"\x00\x05") or data[2:3] == b"N"),
    b"\x00\x01",
)
_ERLANG_STATUS = fixed(5, lambda data: be16(data) >= 3 and data[2:5] in (b"sok", b"sno", b"sal", b"sna"), b"\x00")
# The same, "EPMD Protocol": requests have a length, answers a type or, to NAMES and DUMP, the daemon's own port.
_EPMD_CLIENT = either(
    fixed(3, lambda data: be16(data) == 1 and data[2] in b"ndk", b"\x00"),
    fixed(7, lambda data: 13 <= be16(data) <= 511 and data[2:3] == b"x" and data[5] in (72, 77, 109, 110), b"\x00\x01"),
    fixed(4, lambda data: 2 <= be16(data) <= 256 and data[2:3] == b"z" and 0x20 < data[3] < 0x7F, b"\x00"),
)
_EPMD_SERVER = either(
    fixed(2, lambda data: data[0] in b"yv" and data[1] <= 1, b"yv"),
    fixed(2, lambda data: data[0] == 0x77, b"w"),
    fixed(4, lambda data: 0 < be32(data) < 65_536, b"\x00"),
)


def _zookeeper_request(data: bytes) -> bool:
    """ConnectRequest (zookeeper.jute): BE32 length, version 0, last id, time-out, session, password of 16 bytes."""
    return be32(data) in (44, 45) and not be32(data, 4) and 0 < be32(data, 16) < 1 << 24 and be32(data, 28) == 16


_ZOOKEEPER_REQUEST = fixed(32, _zookeeper_request, b"\x00")
_ZOOKEEPER_ANSWER = fixed(
    24, lambda data: be32(data) in (36, 37) and not be32(data, 4) and be32(data, 20) == 16, b"\x00"
)


def _minecraft_client(data: bytes) -> bool:
    """Handshake: length, packet 0, version, server address, port, next state 1 to 3: the address ends where it must."""
    length, at = varint(data, 0, 3)
    if not 6 <= length <= 300 or data[at]:
        return False
    _, host = varint(data, at + 1, 5)
    size, name = varint(data, host, 3)
    return 0 <= size <= 255 and name + size + 3 == at + length and data[name : name + 2].isascii()


def _minecraft_server(data: bytes) -> bool:
    """Status as JSON, or a packet of the login: length, packet id 0 to 3."""
    length, at = varint(data, 0, 3)
    return length > 0 and data[at] <= 3


# Isc's iscc_cc (lib/isccc/cc.c): BE32 length, version 1, a table whose first key is _auth.
_RNDC = fixed(14, lambda data: be32(data, 4) == 1 and data[8:14] == b"\x05_auth" and be32(data) <= 1 << 20, b"\x00")

# Firebird (remote/protocol.h): op_connect with op_attach, then op_accept or its kin, or op_reject.
_FIREBIRD_CLIENT = fixed(
    12, lambda data: be32(data) == 1 and be32(data, 4) in (0, 19, 20, 82) and be32(data, 8) in (2, 3), b"\x00"
)
_FIREBIRD_SERVER = fixed(4, lambda data: be32(data) in (3, 4, 9, 94, 98), b"\x00")


def _aerospike(head: bytes) -> int:
    """Aerospike's wire protocol: version 2, type info, admin, message or compressed message, 48 bits of length."""
    good = head[0] == 2 and 1 <= head[1] <= 4 and head[2:5] == bytes(3)
    return 8 + int.from_bytes(head[2:8], "big") if good else -1


_AEROSPIKE = frames(8, _aerospike, b"\x02", wanted=1)


# ---- BSD's remote commands: fields that end with NUL, one of which may be a password -------------------------

_REMOTE_FIELDS = 4


def _remote_fields(data: bytes, ended: bool) -> tuple[Look, str]:
    """rlogin (RFC 1282): empty, user, user, terminal with its speed. rsh and rexec: port, two words, a command."""
    fields = data[:1_024].split(b"\x00", _REMOTE_FIELDS)
    whole = fields[:-1]
    for at, field in enumerate(fields[:_REMOTE_FIELDS]):
        printable = all(0x20 <= byte < 0x7F for byte in field)
        if not printable or (at == 0 and field and not (field.isdigit() and len(field) <= 5)):
            return NO, ""
        if at and at < len(whole) and not field and at != 1:
            return NO, ""
    if len(whole) < _REMOTE_FIELDS:
        return (NO if ended or len(data) >= 1_024 else NEED_MORE), ""
    if not whole[0]:
        name, slash, speed = whole[3].partition(b"/")
        return (YES, "rlogin") if name and slash and speed.isdigit() else (NO, "")
    return (YES, "rsh") if whole[1] and whole[2] and whole[3] else (NO, "")


def _look_remote_commands(opening: Opening) -> Answer:
    """The client's fields, and a zero byte (or 01 and a reason) of the server. Evidence shows the first two fields."""
    if opening.first_side == 1 or opening.midstream:
        return NO, None
    if not opening.client:
        return (NO if opening.client_ended else NEED_MORE), None
    look, name = _remote_fields(opening.client, opening.client_ended)
    if look is not YES:
        return look, None
    if not opening.server:
        return (NO if opening.server_ended else NEED_MORE), None
    if opening.server[0] > 1:
        return NO, None
    head = b"\x00".join(opening.client.split(b"\x00", 2)[:2])
    return found(name, "high", speaks("server", name, opening.server[:1]), speaks("client", name, head))


# ---- Source RCON: the first packet carries a password, so only the server's bytes are shown ------------------


def _rcon(kinds: tuple[int, ...]) -> Recogniser:
    """Valve, "Source RCON Protocol": LE32 size, id, type, body, two NUL."""
    return frames(
        12,
        lambda head: 4 + le32(head) if 10 <= le32(head) <= 4_110 and le32(head, 8) in kinds else -1,
        wanted=1,
    )


_RCON_CLIENT, _RCON_SERVER = _rcon((2, 3)), _rcon((0, 2))


def _look_rcon(opening: Opening) -> Answer:
    """A password (type 3), and an empty answer or its verdict with the same id, or the id -1."""
    asked = side_look(_RCON_CLIENT, opening.client, opening.client_ended)
    said = side_look(_RCON_SERVER, opening.server, opening.server_ended)
    if asked is not YES or le32(opening.client, 8) != 3:
        return (asked if asked is NEED_MORE else NO), None
    if said is not YES:
        return said or NO, None
    if le32(opening.server) != 10 or le32(opening.server, 4) not in (le32(opening.client, 4), 0xFFFFFFFF):
        return NO, None
    return found("source-rcon", "high", speaks("server", "source-rcon", opening.server))


PROBES: tuple[Probe, ...] = (
    dialogue("giop", server=_GIOP, client=_GIOP),
    dialogue("java-objects", server=_JAVA_OBJECTS, client=_JAVA_OBJECTS),
    dialogue("mc-nmf", server=_NMF_SERVER, client=_NMF_CLIENT, both=True, server_alone=False),
    dialogue("ms-nrtp", server=_NRTP, client=_NRTP),
    dialogue("ceph", server=prefix(b"ceph v0", b"ceph v2\n"), client=prefix(b"ceph v0", b"ceph v2\n")),
    dialogue("redis-cluster", server=prefix(b"RCmb"), client=prefix(b"RCmb")),
    dialogue("ibm-mqseries", server=prefix(b"TSH ", b"TSHM", b"TSHC"), client=prefix(b"TSH ", b"TSHM", b"TSHC")),
    dialogue(
        "hadoop-rpc",
        server=fixed(4, lambda data: 0 < be32(data) < 1 << 24, b"\x00"),
        client=fixed(5, lambda data: data[:4] in (b"hrpc", b"HBas") and data[4] <= 16, b"hH"),
        both=True,
        server_alone=False,
    ),
    dialogue("nsq", server=_frame32((0, 1, 2)), client=prefix(b"  V1", b"  V2"), both=True, server_alone=False),
    dialogue("agentx", server=_AGENTX, client=_AGENTX, both=True),
    dialogue("milter", server=_MILTER, client=_MILTER, both=True),
    dialogue("nrpe", server=_nrpe, client=_nrpe),
    dialogue("nbd", server=prefix(b"NBDMAGIC")),
    dialogue("spice", server=prefix(b"REDQ"), client=prefix(b"REDQ")),
    dialogue("tarantool", server=first_line(rb"Tarantool [0-9.]+.*\(Binary\).*", b"T")),
    dialogue("rndc", server=_RNDC, client=_RNDC),
    dialogue("gds-db", server=_FIREBIRD_SERVER, client=_FIREBIRD_CLIENT, both=True, server_alone=False),
    dialogue("epmd", server=_EPMD_SERVER, client=_EPMD_CLIENT, both=True, server_alone=False, client_alone=False),
    dialogue("erlang", server=_ERLANG_STATUS, client=_ERLANG_NAME, both=True, server_alone=False, client_alone=False),
    dialogue("zookeeper", server=_ZOOKEEPER_ANSWER, client=_ZOOKEEPER_REQUEST, both=True),
    dialogue(
        "minecraft",
        server=fixed(4, _minecraft_server),
        client=fixed(13, _minecraft_client),
        both=True,
        server_alone=False,
        client_alone=False,
    ),
    dialogue("aerospike", server=_AEROSPIKE, client=_AEROSPIKE, both=True, client_alone=False),
    Probe("remote-commands", _look_remote_commands, starts(b"\x00\x01", b"\x000123456789")),
    Probe("source-rcon", _look_rcon, starts(b"\x0a", bytes(range(10, 256)))),
)
