"""Databases and caches: what client and server say first."""

from __future__ import annotations

from collections.abc import Callable

from imapids.protocols.late_patterns import late_pattern
from imapids.protocols.probing import (
    NEED_MORE,
    NO,
    YES,
    Probe,
    Recogniser,
    be16,
    be32,
    dialogue,
    either,
    first_line,
    fixed,
    frames,
    le16,
    le32,
    prefix,
)
from imapids.records.candidates import Look

# ---- MySQL (client/server protocol, HandshakeV10) -----------------------------------------------------------

_MYSQL_VERSION = late_pattern(rb"[0-9]{1,2}\.[0-9]{1,3}[!-~]*\x00")


def _mysql_server(data: bytes, ended: bool) -> Look:
    """LE24 length, sequence number 0, then protocol version 10 and a version string, or an error."""
    if len(data) < 5:
        return NO if ended or data[3:4] not in (b"", b"\x00") else NEED_MORE
    length = le32(data) & 0xFFFFFF
    if data[3] or not 8 <= length <= 1_024:
        return NO
    if data[4] in (9, 10):
        if len(data) < 70 and b"\x00" not in data[5:]:
            return NO if ended else NEED_MORE
        return YES if _MYSQL_VERSION.match(data, 5, 70) else NO
    if data[4] == 0xFF:
        if len(data) < 12:
            return NO if ended else NEED_MORE
        return YES if 1_000 <= le16(data, 5) < 5_000 and all(0x20 <= byte < 0x7F for byte in data[7:12]) else NO
    return NO


def _mysql_client(data: bytes) -> bool:
    """LE24 length, sequence number 1, capability flags with protocol 4.1, and 23 bytes reserved."""
    return data[3] == 1 and 32 <= le32(data) & 0xFFFFFF <= 4_096 and data[17:36].count(0) >= 15


# ---- PostgreSQL (protocol 3.0) ------------------------------------------------------------------------------

_PG_STARTUPS = (0x00030000, 0x00020000, 80877102, 80877103, 80877104)
"""StartupMessage 3.0 and 2.0, CancelRequest, SSLRequest, GSSENCRequest."""


def _pg_startup(data: bytes) -> bool:
    length, code = be32(data), be32(data, 4)
    if code == 80877102:
        return 16 <= length <= 280
    return (
        code in _PG_STARTUPS
        and 8 <= length <= 10_000
        and (length == 8) == (code in (80877103, 80877104))
        and (code != 0x00020000 or length == 296)
    )


def _pg_answer(data: bytes, ended: bool) -> Look:
    """`S` or `N` to an SSLRequest, an authentication request, or an error with its severity field."""
    if data[0] in b"SNG" and (len(data) == 1 or data[1] in b"\x16REN"):
        return YES
    return _PG_REPLIES(data, ended)


def _pg_first(data: bytes) -> bool:
    length = be32(data, 1)
    if data[0] == 0x52:  # R: AuthenticationOk .. SASLFinal
        return 8 <= length <= 1_024 and be32(data, 5) <= 12
    return 8 <= length <= 30_000 and data[5] in b"SMV"


def _pg_frame(types: bytes) -> Callable[[bytes], int]:
    def length_of(header: bytes) -> int:
        length = be32(header, 1)
        return 1 + length if header[0] in types and 4 <= length <= 1 << 24 else -1

    return length_of


_PG_REPLIES = fixed(9, _pg_first, b"RE")
_PG_SERVER_TYPES, _PG_CLIENT_TYPES = b"RSKZTDCEN123tnIGHWcdsAVv", b"QPBEDSCXHFpdcf"

# ---- Microsoft SQL Server (MS-TDS 2.2.3.1) ------------------------------------------------------------------


def _tds_header(types: bytes) -> Callable[[bytes], int]:
    """Type, status, BE16 length, SPID, packet number, window 0."""

    def length_of(header: bytes) -> int:
        length = be16(header, 2)
        good = header[0] in types and header[1] <= 0x11 and 8 < length <= 32_768 and header[7] == 0
        return length if good else -1

    return length_of


_TDS_CLIENT, _TDS_SERVER = b"\x01\x02\x03\x07\x08\x0e\x0f\x10\x11\x12", b"\x04"

# ---- Oracle (TNS) -------------------------------------------------------------------------------------------


def _tns_header(types: range) -> Callable[[bytes], int]:
    """BE16 length (BE32 from 12.1 on), checksum 0, type, flags, header checksum 0."""

    def length_of(header: bytes) -> int:
        length = be16(header)
        if length == 0 and be16(header, 2):
            length = be32(header)
        elif be16(header, 2):
            return -1
        return length if 8 <= length <= 65_535 and header[4] in types and be16(header, 6) == 0 else -1

    return length_of


def _tns_connect(data: bytes, ended: bool) -> Look:
    """A CONNECT packet: its descriptor in parentheses stands at the offset that the packet names."""
    if data[0] > 0x10:
        return NO
    if len(data) < 30:
        return NO if ended else NEED_MORE
    offset = be16(data, 26)
    good = _tns_header(range(1, 2))(data[:8]) > 0 and 26 <= offset <= 128 and 300 <= be16(data, 8) <= 400
    return YES if good else NO


# ---- MongoDB (wire protocol) --------------------------------------------------------------------------------

_MONGO_OPCODES = frozenset((1, 1_000, 2_001, 2_002, 2_003, 2_004, 2_005, 2_006, 2_007, 2_010, 2_011, 2_012, 2_013))


def _mongo_header(header: bytes) -> int:
    length = le32(header)
    return length if 16 < length <= 48_000_000 and le32(header, 12) in _MONGO_OPCODES else -1


# ---- Cassandra (native protocol) ----------------------------------------------------------------------------


_CQL_FIRST_REQUESTS, _CQL_FIRST_ANSWERS = (0x01, 0x05), (0x00, 0x02, 0x03, 0x06)
"""STARTUP, OPTIONS; ERROR, READY, AUTHENTICATE, SUPPORTED."""


def _cql(response: bool) -> Recogniser:
    """Version and direction, flags, stream id (two bytes from version 3 on), opcode, BE32 length."""

    def first(data: bytes) -> bool:
        version = data[0] & 0x7F
        if data[1] & ~0x1F:
            return False
        opcode, length = (data[4], be32(data, 5)) if version >= 3 else (data[3], be32(data, 4))
        if response:
            return opcode in _CQL_FIRST_ANSWERS and length <= 65_536
        return (opcode == 1 and 10 <= length <= 4_096) or (opcode == 5 and length == 0)

    return fixed(9, first, bytes((version | 0x80 if response else version) for version in range(1, 6)))


# ---- others -------------------------------------------------------------------------------------------------

_REDIS_COMMAND = first_line(
    rb"\*[1-9][0-9]{0,6}|(?i:PING|INFO|AUTH|GET|SET|CONFIG|QUIT|KEYS|SELECT|CLIENT|EVAL|SLAVEOF|REPLICAOF|"
    rb"HELLO|PSYNC|MONITOR|DBSIZE|FLUSHALL|EXISTS|COMMAND)(?: [^:]*)?|\$[0-9]+"
)
_REDIS_REPLY = first_line(
    rb"\+[ -~]{1,200}|-[A-Z]+(?: .*)?|:-?[0-9]{1,20}|\$-?[0-9]{1,10}|\*-?[0-9]{1,10}|[%~>=(#,_].{0,40}"
)
REDIS_ERROR = first_line(
    rb"-(?:ERR unknown command|ERR Protocol error|NOAUTH |DENIED Redis|WRONGTYPE |WRONGPASS |ERR wrong "
    rb"number of arguments|ERR max number of clients|ERR operation not permitted|MISCONF |LOADING Redis).*",
    b"-",
)

_MEMCACHED_COMMAND_LINE = (
    rb"(?:get|gets|gat|gats|delete|incr|decr|touch|cas|set|add|replace|append|prepend|mg|ms|md|ma|me) .{1,400}|"
    rb"(?:stats|version|flush_all|verbosity|quit)(?: .*)?|mn"
)
_MEMCACHED_REPLY_LINE = (
    rb"STAT .+|VALUE .+|END|STORED|NOT_STORED|EXISTS|NOT_FOUND|DELETED|TOUCHED|ERROR|VERSION [0-9.]+.*|"
    rb"CLIENT_ERROR.*|SERVER_ERROR.*|OK|[0-9]+|HD.*|VA .*|EN|ME .*|MN|NS|NF"
)
_MEMCACHED_COMMAND, _MEMCACHED_REPLY = first_line(_MEMCACHED_COMMAND_LINE), first_line(_MEMCACHED_REPLY_LINE)
_MEMCACHED_LINE = late_pattern(b"(?:" + _MEMCACHED_COMMAND_LINE + b"|" + _MEMCACHED_REPLY_LINE + rb")\r?\n")


def memcached_line(data: bytes) -> bool:
    """Does a whole line of the text protocol, of either side, begin here?"""
    return _MEMCACHED_LINE.match(data) is not None


def _memcached_header(magic: int) -> Callable[[bytes], int]:
    def length_of(header: bytes) -> int:
        body = be32(header, 8)
        good = (
            header[0] == magic
            and header[1] <= 0x60
            and header[5] in (0, 1, 2, 4)
            and be16(header, 2) + header[4] <= body <= 1 << 21
        )
        return 24 + body if good else -1

    return length_of


def _drda_header(header: bytes) -> int:
    """DRDA DSS: BE16 length, D0, format, correlation id, and the DDM object's length that must fit inside."""
    length, inner = be16(header), be16(header, 6)
    good = header[2] == 0xD0 and header[3] & 0x0F in (1, 2, 3, 4, 5) and length >= 10 and inner + 6 == length
    return length if good else -1


def _es_header(header: bytes) -> int:
    """Elasticsearch's transport protocol: `ES`, BE32 length, request id, status, version."""
    length = be32(header, 2)
    return 6 + length if header[:2] == b"ES" and 0 < length <= 1 << 28 else -1


_PG_STARTUP = fixed(8, _pg_startup, b"\x00")

PROBES: tuple[Probe, ...] = (
    dialogue("mysql", server=_mysql_server, client=fixed(36, _mysql_client)),
    dialogue("postgresql", server=_pg_answer, client=_PG_STARTUP, both=True, server_alone=False),
    dialogue(
        "postgresql",
        server=frames(5, _pg_frame(_PG_SERVER_TYPES), _PG_SERVER_TYPES, wanted=3),
        client=frames(5, _pg_frame(_PG_CLIENT_TYPES), _PG_CLIENT_TYPES),
        both=True,
        server_alone=False,
        client_alone=False,
    ),
    dialogue(
        "postgresql",
        server=either(
            fixed(9, _pg_first, b"R"), fixed(12, lambda data: data[5:12] in (b"SFATAL\x00", b"SERROR\x00"), b"E")
        ),
    ),
    dialogue(
        "mssql",
        server=frames(8, _tds_header(_TDS_SERVER), _TDS_SERVER),
        client=frames(8, _tds_header(_TDS_CLIENT), _TDS_CLIENT),
        both=True,
    ),
    dialogue("oracle", server=frames(8, _tns_header(range(2, 15))), client=_tns_connect, both=True, server_alone=False),
    dialogue("mongodb", server=frames(16, _mongo_header), client=frames(16, _mongo_header)),
    dialogue("redis", server=REDIS_ERROR, client=_REDIS_COMMAND),
    dialogue("redis", server=_REDIS_REPLY, client=_REDIS_COMMAND, both=True, server_alone=False, client_alone=False),
    dialogue("redis", client=first_line(rb"\*[1-9][0-9]{0,6}", b"*"), both=True),
    dialogue(
        "memcached",
        server=_MEMCACHED_REPLY,
        client=_MEMCACHED_COMMAND,
        both=True,
        server_alone=False,
        client_alone=False,
    ),
    dialogue(
        "memcached",
        server=frames(24, _memcached_header(0x81), b"\x81"),
        client=frames(24, _memcached_header(0x80), b"\x80"),
        both=True,
    ),
    dialogue("cassandra", server=_cql(True), client=_cql(False), both=True, client_alone=False),
    dialogue("elasticsearch", server=frames(6, _es_header, b"E"), client=frames(6, _es_header, b"E")),
    dialogue("drda", server=frames(8, _drda_header), client=frames(8, _drda_header)),
    dialogue(
        "zabbix",
        server=prefix(b"ZBXD\x01", b"ZBXD\x02", b"ZBXD\x03"),
        client=prefix(b"ZBXD\x01", b"ZBXD\x02", b"ZBXD\x03"),
    ),
    dialogue(
        "bolt",
        server=fixed(4, lambda data: data[:2] == b"\x00\x00", b"\x00"),
        client=prefix(b"\x60\x60\xb0\x17"),
        both=True,
        server_alone=False,
    ),
    dialogue(
        "clickhouse",
        server=prefix(b"\x00\x0aClickHouse"),
        client=either(
            prefix(b"\x00\x11ClickHouse client"),
            fixed(12, lambda data: data[0] == 0 and data[2:12] == b"ClickHouse", b"\x00"),
        ),
    ),
)
