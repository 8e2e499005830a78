"""How a TLS conversation begins (RFC 8446 section 5.1, RFC 5246 section 6.2): a light check of records and hellos.

The TLS parser reads the hellos; here it is only asked whether the bytes are TLS at all.
"""

from __future__ import annotations

from imapids.protocols.probing import (
    NEED_MORE,
    NO,
    YES,
    Answer,
    Probe,
    anything,
    client_only,
    found,
    frames,
    shaped,
    side_look,
    speaks,
    starts,
)
from imapids.records.candidates import Evidence, Look, Opening

_RECORD_BYTES = 5
_MAX_RECORD = 16_384 + 2_048
"""RFC 5246 section 6.2.3: a protected record is at most 2^14 + 2048 bytes."""
_ALERT_LEVELS = (1, 2)
_HANDSHAKE, _ALERT, _APPLICATION_DATA = 22, 21, 23
_CLIENT_HELLO, _SERVER_HELLO, _HELLO_REQUEST = 1, 2, 0


def _record_length(data: bytes) -> int:
    """Length of the record whose header begins `data` (5 bytes at least); negative where it cannot be a TLS record."""
    if not 20 <= data[0] <= 24 or data[1] != 3 or data[2] > 4:
        return -1
    length = data[3] << 8 | data[4]
    return length if 0 < length <= _MAX_RECORD else -_RECORD_BYTES


def _look_hello(data: bytes, ended: bool, kind: int) -> Look:
    """A handshake record whose first message is the hello of this kind, lengths agreeing."""
    if data[0] != _HANDSHAKE or data[1:2] not in (b"", b"\x03") or (len(data) > 2 and data[2] > 4):
        return NO
    if len(data) < 11:
        return NO if ended else NEED_MORE
    record = _record_length(data)
    message = int.from_bytes(data[6:9], "big")
    # A hello may be cut over several records (RFC 8446 section 5.1), so it may be longer than its first one.
    good = record >= 4 and data[5] == kind and 38 <= message <= 65_536 + 256 and data[9] == 3 and data[10] <= 4
    return YES if good else NO


def look_for_client_hello(data: bytes, ended: bool = False) -> Look:
    """A ClientHello in a TLS record, or in the form of SSLv2 (RFC 5246 appendix E.2)."""
    if data[0] == _HANDSHAKE:
        return _look_hello(data, ended, _CLIENT_HELLO)
    if data[0] & 0x80:
        return _look_sslv2_hello(data, ended)
    return NO


def _look_sslv2_hello(data: bytes, ended: bool) -> Look:
    if len(data) < 11:
        return NO if ended or data[2:3] not in (b"", b"\x01") else NEED_MORE
    length = (data[0] & 0x7F) << 8 | data[1]
    ciphers, session, challenge = (int.from_bytes(data[at : at + 2], "big") for at in (5, 7, 9))
    good = (
        data[2] == 1
        and data[3:5] in (b"\x00\x02", b"\x03\x00", b"\x03\x01", b"\x03\x02", b"\x03\x03")
        and ciphers
        and ciphers % 3 == 0
        and session in (0, 16)
        and 16 <= challenge <= 32
        and length == 9 + ciphers + session + challenge
    )
    return YES if good else NO


def look_for_server_answer(data: bytes, ended: bool = False) -> Look:
    """A ServerHello, a HelloRequest before it, or an alert that refuses the handshake."""
    if data[0] == _ALERT:
        if len(data) < 7:
            return NO if ended or data[1:2] not in (b"", b"\x03") else NEED_MORE
        length = _record_length(data)
        return YES if length == 2 and data[5] in _ALERT_LEVELS and data[6] <= 120 else NO
    if data[0] == _HANDSHAKE:
        return _look_hello(data, ended, _SERVER_HELLO)
    return NO


def look_for_sslv2_server(data: bytes, ended: bool = False) -> Look:
    """An SSLv2 SERVER-HELLO (Hickman 1995): obsolete, and still answered by old boxes."""
    if not data[0] & 0x80:
        return NO
    if len(data) < 13:
        return NO if ended or data[2:3] not in (b"", b"\x04") else NEED_MORE
    length = (data[0] & 0x7F) << 8 | data[1]
    certificate, ciphers, connection = (int.from_bytes(data[at : at + 2], "big") for at in (7, 9, 11))
    good = data[2] == 4 and data[5:7] == b"\x00\x02" and length == 11 + certificate + ciphers + connection
    return YES if good else NO


look_for_records = frames(_RECORD_BYTES, lambda header: _RECORD_BYTES + _record_length(header), bytes(range(20, 25)))
"""Several protected records, one after the other: what a TLS stream looks like after its handshake."""
_look_for_record = frames(_RECORD_BYTES, lambda header: _RECORD_BYTES + _record_length(header), b"\x17", wanted=1)


def _look_tls(opening: Opening) -> Answer:
    said = side_look(look_for_server_answer, opening.server, opening.server_ended)
    if said is NEED_MORE:
        return NEED_MORE, None
    if said is YES:
        return _answered(opening)
    asked = side_look(look_for_client_hello, opening.client, opening.client_ended)
    if asked is not YES:
        return asked or NO, None
    if said is None:
        return client_only("tls", opening)
    said = side_look(look_for_sslv2_server, opening.server, opening.server_ended)
    if said is YES:
        return found("tls", "high", speaks("server", "tls", opening.server), speaks("client", "tls", opening.client))
    return said or NO, None


def _answered(opening: Opening) -> Answer:
    """The server answered as TLS does: only the confidence hangs on the client."""
    asked = side_look(look_for_client_hello, opening.client, opening.client_ended)
    if asked is NEED_MORE:
        return NEED_MORE, None
    evidence = [speaks("server", "tls", opening.server)]
    if asked is YES:
        evidence.append(speaks("client", "tls", opening.client))
    return found("tls", "high" if asked is YES else "medium", *evidence)


def _look_midstream_tls(opening: Opening) -> Answer:
    """Protected records on every side that spoke, where the handshake was not captured."""
    if not opening.midstream:
        return NO, None
    looks = [
        side_look(look_for_records, opening.client, opening.client_ended),
        side_look(look_for_records, opening.server, opening.server_ended),
    ]
    if NO in looks or looks == [None, None]:
        return NO, None
    if NEED_MORE in looks:
        return NEED_MORE, None
    if looks[1] is None:
        return client_only("tls", opening)
    return found("tls", "medium", speaks("server", "tls", opening.server))


def _look_fake_tls(opening: Opening) -> Answer:
    """Application data records from the first byte although the start was captured: no handshake, so no TLS."""
    if opening.midstream or opening.after_upgrade:
        return NO, None
    looks: list[Look | None] = []
    for data, ended in ((opening.client, opening.client_ended), (opening.server, opening.server_ended)):
        if data and data[0] != _APPLICATION_DATA:
            return NO, None
        looks.append(side_look(_look_for_record, data, ended))
    if NO in looks or looks == [None, None]:
        return NO, None
    if NEED_MORE in looks:
        return NEED_MORE, None
    side = "client" if opening.first_side == 0 else "server"
    first = opening.client if opening.first_side == 0 else opening.server
    return shaped(
        "fake-tls",
        "high" if None not in looks else "medium",
        Evidence(
            code="tls-records-without-handshake", side=side, packet=0, offset=0, text=speaks(side, "tls", first).text
        ),
    )


PROBES = (
    Probe("tls", _look_tls, anything),
    Probe("fake-tls", _look_fake_tls, starts(bytes((_APPLICATION_DATA,)), bytes((_APPLICATION_DATA,)))),
    Probe("tls", _look_midstream_tls, starts(bytes(range(20, 25)), bytes(range(20, 25)))),
)
