"""Message brokers, chat and remote calls between programs: AMQP, MQTT, Kafka, XMPP, Thrift, Java RMI and their like."""

from __future__ import annotations

from collections.abc import Callable

from imapids.protocols.late_patterns import late_pattern
from imapids.protocols.probing import (
    NEED_MORE,
    NO,
    YES,
    Answer,
    Probe,
    be16,
    be32,
    client_only,
    dialogue,
    either,
    first_line,
    fixed,
    found,
    frames,
    prefix,
    side_look,
    speaks,
    starts,
    varint,
)
from imapids.records.candidates import Look, Opening

# ---- AMQP 0-9-1 (section 2.2.4, 2.3.5) and 1.0 (section 2.2) ------------------------------------------------


def _amqp_frame(header: bytes) -> int:
    """A method or content header with a class id of the specification, a body, or an empty heartbeat."""
    kind, size = header[0], be32(header, 3)
    if kind == 8:
        return 8 if header[:8] == b"\x08\x00\x00\x00\x00\x00\x00\xce" else -1
    good = 1 <= kind <= 3 and be16(header, 1) < 4_096 and 0 < size <= 1 << 20
    return 8 + size if good and (kind == 3 or be16(header, 7) in _AMQP_CLASSES) else -1


_AMQP_CLASSES = (10, 20, 30, 40, 50, 60, 85, 90)
_AMQP_PREFIX = fixed(8, lambda data: data[:4] == b"AMQP" and data[4] <= 3 and data[5] <= 2, b"A")
_AMQP_START = fixed(11, lambda data: data[:3] == b"\x01\x00\x00" and data[7:11] == b"\x00\x0a\x00\x0a", b"\x01")
_AMQP_FRAMES = frames(9, _amqp_frame, b"\x01\x08")

# ---- MQTT 3.1, 3.1.1, 5.0 (section 3.1, 3.2) ----------------------------------------------------------------


def _mqtt_connect(data: bytes) -> bool:
    length, at = varint(data, 1, 4)
    return (
        length >= 10
        and data[at : at + 7] in (b"\x00\x04MQTT\x03", b"\x00\x04MQTT\x04", b"\x00\x04MQTT\x05", b"\x00\x06MQIsd")
    ) or data[at : at + 6] == b"\x00\x04MQTT"


def _mqtt_packets(data: bytes, ended: bool) -> Look:
    """Control packets after each other, with the flags that their type demands: for a start that was not captured."""
    offset, published = 0, False
    for seen in range(3):
        if offset + 5 > len(data) and not ended:
            return NEED_MORE
        if offset >= len(data):
            return YES if seen and (offset == len(data) or published) else NO
        kind, flags = data[offset] >> 4, data[offset] & 0x0F
        length, at = varint(data, offset + 1, 4)
        if length < 0 or kind in (0, 15) or (kind != 3 and flags != (2 if kind in (6, 8, 10) else 0)):
            return NO
        if not _mqtt_size_fits(kind, length):
            return NO
        published = kind == 3  # its payload may be longer than the prefix
        if published and not (flags & 6 != 6 and be16(data, at) + 2 <= length and data[at + 2 : at + 6].isascii()):
            return NO
        offset = at + length
    return YES


def _mqtt_answers(data: bytes, ended: bool) -> Look:
    """A CONNACK and what a broker sends after it."""
    if not data.startswith(b"\x20\x02"[: len(data)]):
        return NO
    return _mqtt_packets(data, ended) if len(data) > 4 or not ended else NO


def _mqtt_size_fits(kind: int, length: int) -> bool:
    if kind in (12, 13):
        return length == 0
    if kind in (4, 5, 6, 7):
        return 2 <= length <= 40  # a packet id; version 5 adds a reason and properties
    return length <= 1 << 20 and (kind != 14 or length <= 256)


_MQTT_CONNACK = fixed(4, lambda data: 2 <= data[1] < 0x80 and data[2] <= 1 and (data[1] > 2 or data[3] <= 5), b" ")

# ---- Kafka (protocol guide: request header) -----------------------------------------------------------------


def _kafka_request(data: bytes) -> bool:
    """BE32 size, API key, API version, correlation id, client id (a printable string or null)."""
    size, key, version = be32(data), be16(data, 4), be16(data, 6)
    name = be16(data, 12)
    if not (10 <= size <= 1 << 24 and key <= 92 and version <= 18):
        return False
    if name in (0, 0xFFFF):
        return size <= 65_536 and key in (1, 2, 3, 8, 9, 10, 18)
    text = data[14 : 14 + name]
    return (
        0 < name <= 128
        and name + 10 <= size
        and bool(text)
        and text.isascii()
        and all(0x20 <= byte < 0x7F for byte in text)
    )


def _kafka_reply(opening: Opening) -> bool:
    """BE32 size, then the correlation id of the first request."""
    return opening.server[4:8] == opening.client[8:12] and 4 <= be32(opening.server) <= 1 << 28


_KAFKA_CLIENT = fixed(16, _kafka_request, b"\x00")
_KAFKA_SERVER = fixed(8, lambda data: 4 <= be32(data) <= 1 << 24, b"\x00")


def _look_kafka(opening: Opening) -> Answer:
    asked = side_look(_KAFKA_CLIENT, opening.client, opening.client_ended)
    if asked is not YES:
        return asked or NO, None
    said = side_look(_KAFKA_SERVER, opening.server, opening.server_ended)
    if said is None:
        return client_only("kafka", opening)
    if said is not YES:
        return said, None
    if not _kafka_reply(opening):
        return NO, None
    return found("kafka", "high", speaks("server", "kafka", opening.server), speaks("client", "kafka", opening.client))


# ---- XMPP (RFC 6120 section 4) ------------------------------------------------------------------------------


_XML_STREAM = late_pattern(rb"<(?:[a-z]+:)?stream(?:\s|$)|xmlns(?::stream)?=['\"](?:jabber:|http://etherx\.jabber\.org)")
_STANZA = late_pattern(rb"<(?:iq|message|presence|r|a|proceed|starttls|auth|challenge|success|enabled|resumed)[\s/>]")


def _xmpp(data: bytes, ended: bool) -> Look:
    """An XML declaration and a stream header of the jabber name space."""
    if data[0] not in b"< \n\r":
        return NO
    if _XML_STREAM.search(data, 0, 1_024):
        return YES
    start = data.lstrip()
    if not start:
        return NO if ended or len(data) > 64 else NEED_MORE
    if not (
        start.startswith((b"<?xml", b"<stream", b"<flash:stream"))
        or b"<?xml".startswith(start[:5])
        or b"<stream".startswith(start[:7])
    ):
        return NO
    return NO if ended or len(data) >= 1_024 else NEED_MORE


def _stanza(data: bytes, ended: bool) -> Look:
    """An XMPP stanza, where the stream header was not captured."""
    if data[0] != 0x3C:
        return NO
    if len(data) < 24 and not ended:
        return NEED_MORE
    return YES if _STANZA.match(data) else NO


# ---- others -------------------------------------------------------------------------------------------------


def _gearman(mark: bytes) -> Callable[[bytes], int]:
    def length_of(header: bytes) -> int:
        return (
            12 + be32(header, 8)
            if header[:4] == mark and 1 <= be32(header, 4) <= 42 and be32(header, 8) <= 1 << 24
            else -1
        )

    return length_of


def _dicom_request(data: bytes) -> bool:
    """DICOM PS3.8 section 9.3.2: A-ASSOCIATE-RQ: type, length, protocol version 1, two titles of 16 characters."""
    return data[1] == 0 and data[6:10] == b"\x00\x01\x00\x00" and data[10:26].isascii() and be32(data, 2) < 1 << 20


def _dicom_answer(data: bytes) -> bool:
    """A-ASSOCIATE-AC with the version, or A-ASSOCIATE-RJ, which has four bytes more."""
    if data[0] == 3:
        return data[1:6] == b"\x00\x00\x00\x00\x04"
    return data[1] == 0 and data[6:8] == b"\x00\x01" and be32(data, 2) < 1 << 20


_NATS_INFO = first_line(rb'INFO \{.*"server_id".*\}? *', b"I", limit=4_096)
_NATS_CLIENT = first_line(rb"(?:CONNECT \{.*|PING|SUB .*|PUB .*)", b"CPS", limit=4_096)
_STOMP_CLIENT = first_line(rb"CONNECT|STOMP", b"CS")
_STOMP_SERVER = first_line(rb"CONNECTED|ERROR", b"CE")
_ZMTP = fixed(
    10,
    lambda data: data[9] & 0x7F in (0x7F, 0x03, 0x01, 0x00) and data[1:8] == b"\x00" * 7 and data[9] == 0x7F,
    b"\xff",
)
_OPENWIRE = fixed(13, lambda data: data[4] == 1 and data[5:13] == b"ActiveMQ" and data[0] == 0, b"\x00")
_BEANSTALK_SERVER = first_line(
    rb"(?:INSERTED|RESERVED|USING|WATCHING|BURIED|KICKED|OK|FOUND) [0-9a-zA-Z_. -]+|DELETED|RELEASED|"
    rb"TOUCHED|NOT_FOUND|TIMED_OUT|DEADLINE_SOON|UNKNOWN_COMMAND|BAD_FORMAT|EXPECTED_CRLF"
)
_BEANSTALK_CLIENT = first_line(
    rb"put [0-9]+ [0-9]+ [0-9]+ [0-9]+|reserve|reserve-with-timeout [0-9]+|(?:use|watch|ignore|stats-tube|"
    rb"delete|bury|touch|kick|peek|stats-job|release) .*|stats|list-tubes.*|peek-(?:ready|delayed|buried)"
)
PROBES: tuple[Probe, ...] = (
    dialogue("amqp", server=either(_AMQP_PREFIX, _AMQP_START), client=_AMQP_PREFIX),
    dialogue("amqp", server=_AMQP_FRAMES, client=_AMQP_FRAMES, both=True),
    dialogue("mqtt", server=_MQTT_CONNACK, client=fixed(14, _mqtt_connect, b"\x10"), both=True, server_alone=False),
    dialogue("mqtt", server=_mqtt_answers),
    dialogue("mqtt", server=_mqtt_packets, client=_mqtt_packets, both=True, server_alone=False, client_alone=False),
    Probe("kafka", _look_kafka, starts(b"\x00", b"\x00")),
    dialogue("xmpp", server=_xmpp, client=_xmpp),
    dialogue("xmpp", server=_stanza, client=_stanza, both=True),
    dialogue("stomp", server=_STOMP_SERVER, client=_STOMP_CLIENT, both=True, server_alone=False),
    dialogue("stomp", server=prefix(b"CONNECTED\nversion:1.", b"CONNECTED\r\nversion:1."), client=_STOMP_CLIENT),
    dialogue("nats", server=_NATS_INFO, client=_NATS_CLIENT),
    dialogue("zmtp", server=_ZMTP, client=_ZMTP),
    dialogue("openwire", server=_OPENWIRE, client=_OPENWIRE),
    dialogue(
        "gearman",
        server=frames(12, _gearman(b"\x00RES"), b"\x00", wanted=1),
        client=frames(12, _gearman(b"\x00REQ"), b"\x00", wanted=1),
    ),
    dialogue(
        "gearman",
        server=first_line(rb"\.|OK [0-9.]+[^ ]*|.*\t[0-9]+\t[0-9]+\t[0-9]+|[0-9]+ [0-9.]+ [^ ]+ :.*"),
        client=first_line(rb"status|workers|version|maxqueue .*"),
        both=True,
        server_alone=False,
        client_alone=False,
    ),
    dialogue(
        "beanstalk",
        server=_BEANSTALK_SERVER,
        client=_BEANSTALK_CLIENT,
        both=True,
        server_alone=False,
        client_alone=False,
    ),
    dialogue("mpd", server=first_line(rb"OK MPD [0-9.]+", b"O")),
    dialogue("munin", server=first_line(rb"# munin node at .*", b"#")),
    dialogue(
        "bacula",
        server=fixed(12, lambda data: be32(data) < 4_096 and data[4:9] == b"auth ", b"\x00"),
        client=fixed(10, lambda data: be32(data) < 4_096 and data[4:10] == b"Hello ", b"\x00"),
    ),
    dialogue("distcc", server=first_line(rb"DONE0000000[123].*", b"D"), client=prefix(b"DIST0000000")),
    dialogue(
        "iperf3",
        server=fixed(1, lambda _data: True, b"\x09\xff"),
        client=fixed(37, lambda data: data[36] == 0 and data[:36].isalnum() and data[:36].islower()),
        both=True,
        server_alone=False,
    ),
    dialogue(
        "dicom",
        server=fixed(10, _dicom_answer, b"\x02\x03"),
        client=fixed(26, _dicom_request, b"\x01"),
        both=True,
        server_alone=False,
    ),
    dialogue(
        "spotify",
        server=fixed(
            8, lambda data: (data[:2] == b"\x00\x00" and data[6:7] == b"\x52") or data[4:5] == b"\x52", b"\x00"
        ),
        client=fixed(12, lambda data: data[:4] == b"\x00\x04\x00\x00" and data[6:8] == b"\x52\x0f", b"\x00"),
        both=True,
        server_alone=False,
    ),
)
