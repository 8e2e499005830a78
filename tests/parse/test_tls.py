"""TLS streams: real handshakes, fake ones, damaged ones; any cut of the bytes gives the same facts."""

from __future__ import annotations

import ssl
import struct
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from helpers.tls_talk import contexts, make_certificate, talk
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.config import DialogueLimits
from imapids.parse.tls import TlsStream
from imapids.records.dialogue import TlsFacts
from imapids.records.events import Tls
from imapids.records.streams import CLIENT, SERVER, StreamChunk, StreamEnd, StreamGap

LIMITS = DialogueLimits()
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
Flights = list[tuple[int, bytes]]


@lru_cache(maxsize=8)
def flights_of(version: ssl.TLSVersion, sni: str | None = "Mail.Example.org", curve: str = "") -> Flights:
    with TemporaryDirectory() as folder:
        client, server = contexts(*make_certificate(Path(folder)), version)
        if curve:
            server.set_ecdh_curve(curve)
        return talk(client, server, sni=sni)[0]


@lru_cache(maxsize=1)
def resumed_flights() -> Flights:
    with TemporaryDirectory() as folder:
        client, server = contexts(*make_certificate(Path(folder)), V12)
        session = talk(client, server)[1].session
        return talk(client, server, session=session)[0]


def run(flights: Flights, cuts: list[int] | None = None, *, midstream: bool = False, after_starttls: bool = False,
        offset: int = 0) -> TlsStream:
    """Feeds flights (packet and time: the number of the flight), each cut at the sizes given, round and round."""
    stream = TlsStream(LIMITS, midstream=midstream, after_starttls=after_starttls)
    positions = [offset, offset]
    sizes = iter(cuts * 10_000) if cuts else None
    for number, (side, data) in enumerate(flights, 1):
        at = 0
        while at < len(data):
            size = next(sizes, len(data)) if sizes is not None else len(data)
            stream.feed(StreamChunk(side, positions[side], data[at : at + size], number * 1000, number))
            positions[side] += len(data[at : at + size])
            at += size
    stream.end(StreamEnd(99, 99, "fin"))
    return stream


def told(stream: TlsStream) -> tuple[TlsFacts, list[tuple[int, int, object]]]:
    return stream.facts, list(stream.events)


def test_tls_1_2_shows_hellos_and_the_certificate() -> None:
    stream = run(flights_of(V12))
    facts = stream.facts
    assert facts.client_hello
    assert facts.server_hello
    assert facts.choice_offered
    assert facts.encrypted_client
    assert facts.encrypted_server
    assert facts.application_data
    assert not facts.broken
    assert not facts.fake
    assert facts.evidence == []
    assert (facts.version, facts.sni, facts.hello_packet) == ("TLS 1.2", "mail.example.org", 1)
    assert (facts.client_alpns, facts.server_alpns) == (["imap", "h2"], ["imap"])
    assert facts.certificate
    assert facts.self_issued
    assert facts.subject == "C=DE, ST=Hessen, O=Example, Inc., CN=mail.example.org"
    assert "*.imap.example.org" in facts.names
    assert not facts.resumed
    assert facts.application_bytes_server > 20_000 > facts.application_bytes_client > 10
    (time_ns, packet, event), = stream.events
    assert (time_ns, packet) == (2000, 2)
    assert isinstance(event, Tls)
    assert (event.sni, event.fingerprint, event.from_proto) == ("mail.example.org", facts.fingerprint, "")
    assert event.ja3 is not None
    assert event.ja3.hash == facts.ja3
    assert len(event.ja4) == 36


def test_tls_1_3_hides_the_certificate() -> None:
    stream = run(flights_of(V13, sni=None), after_starttls=True)
    facts = stream.facts
    assert (facts.version, facts.offered_version, facts.sni) == ("TLS 1.3", "TLS 1.3", "")
    assert facts.ja4.startswith("t13i")
    assert not facts.certificate
    assert not facts.fake
    assert not facts.broken
    assert facts.encrypted_client
    assert facts.encrypted_server
    assert stream.events[0][2].from_proto == "imap"  # type: ignore[attr-defined]


def test_a_second_hello_after_a_retry_is_real() -> None:
    facts = run(flights_of(V13, curve="secp521r1")).facts
    assert facts.retried
    assert facts.client_hello
    assert facts.server_hello
    assert not facts.broken


def test_a_resumed_session_has_no_certificate_and_says_so() -> None:
    stream = run(resumed_flights())
    assert stream.facts.resumed
    assert not stream.facts.certificate
    assert not stream.facts.broken
    assert len(stream.events) == 1


CASES = [
    pytest.param(lambda: flights_of(V12), id="TLS 1.2"),
    pytest.param(lambda: flights_of(V13), id="TLS 1.3"),
    pytest.param(lambda: flights_of(V13, curve="secp521r1"), id="retry"),
    pytest.param(resumed_flights, id="resumed"),
]


OPAQUE = [
    b"\x17\x03\x03\x00\x05hello", b"\x17\x03\x03\x00\x00", b"\x17\x03\x01\x01\x00" + bytes(256),
    b"\x17\x03\x03\xff\xff", b"\x15\x03\x03\x00\x02\x01\x00", b"\x16\x03\x03\x00\x01a", b"\x14\x03\x03\x00\x01\x01",
    b"\x17", b"\x17\x03\x03"]


@given(st.lists(st.tuples(st.sampled_from([CLIENT, SERVER]), st.sampled_from(OPAQUE)), max_size=40),
       st.lists(st.integers(1, 600), min_size=1, max_size=9), st.sampled_from([V12, V13]))
@settings(max_examples=50, deadline=None)
def test_runs_of_opaque_records_count_like_single_ones(records: Flights, cuts: list[int],
                                                       version: ssl.TLSVersion) -> None:
    flights = [*flights_of(version), *records]
    with pytest.MonkeyPatch.context() as patch:
        quick = told(run(flights, cuts))
        patch.setattr(TlsStream, "_opaque", lambda *arguments: arguments[4])
        assert told(run(flights, cuts)) == quick


@pytest.mark.parametrize("flights", CASES)
@pytest.mark.parametrize("options", [{}, {"midstream": True}, {"after_starttls": True}])
def test_byte_by_byte_gives_the_same(flights: object, options: dict[str, bool]) -> None:
    data: Flights = flights()  # type: ignore[operator]
    assert told(run(data, **options)) == told(run(data, [1], **options))


@settings(max_examples=40)
@given(st.sampled_from([V12, V13]), st.lists(st.integers(1, 900), min_size=1, max_size=6), st.booleans())
def test_any_cut_gives_the_same(version: ssl.TLSVersion, cuts: list[int], midstream: bool) -> None:
    flights = flights_of(version)
    assert told(run(flights, midstream=midstream)) == told(run(flights, cuts, midstream=midstream))


@settings(max_examples=60)
@given(st.data())
def test_damage_anywhere_gives_the_same_for_any_cut(data: st.DataObject) -> None:
    flights = [(side, bytearray(raw)) for side, raw in flights_of(data.draw(st.sampled_from([V12, V13])))]
    for _ in range(data.draw(st.integers(1, 4))):
        raw = data.draw(st.sampled_from(flights[:5]))[1]
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    damaged = [(side, bytes(raw)) for side, raw in flights]
    options = {"midstream": data.draw(st.booleans()), "after_starttls": data.draw(st.booleans())}
    cuts = data.draw(st.lists(st.integers(1, 400), min_size=1, max_size=5))
    assert told(run(damaged, **options)) == told(run(damaged, cuts, **options))


@settings(max_examples=80)
@given(st.lists(st.tuples(st.sampled_from([CLIENT, SERVER]), st.binary(max_size=60)), max_size=8),
       st.lists(st.integers(1, 9), min_size=1, max_size=4), st.booleans())
def test_no_bytes_raise(flights: Flights, cuts: list[int], midstream: bool) -> None:
    typed = [(side, b"\x16\x03\x01" + raw) for side, raw in flights]
    for chosen in (flights, typed):
        assert told(run(chosen, midstream=midstream)) == told(run(chosen, cuts, midstream=midstream))


def record(kind: int, body: bytes, version: int = 0x0303) -> bytes:
    return struct.pack("!BHH", kind, version, len(body)) + body


def client_hello(ciphers: bytes = b"\x13\x01\xc0\x2f", extensions: bytes = b"", version: int = 0x0303) -> bytes:
    body = struct.pack("!H", version) + bytes(32) + b"\x00" + struct.pack("!H", len(ciphers)) + ciphers + b"\x01\x00"
    if extensions:
        body += struct.pack("!H", len(extensions)) + extensions
    return b"\x01" + len(body).to_bytes(3, "big") + body


def server_hello(cipher: bytes = b"\xc0\x2f", version: int = 0x0303) -> bytes:
    body = struct.pack("!H", version) + bytes(32) + b"\x00" + cipher + b"\x00"
    return b"\x02" + len(body).to_bytes(3, "big") + body


HELLO = record(22, client_hello())
ANSWER = record(22, server_hello())
DATA = record(23, b"\x00" * 40)


@pytest.mark.parametrize(("flights", "fake", "broken"), [
    pytest.param([(CLIENT, DATA), (SERVER, DATA)], True, True, id="application data from the first byte"),
    pytest.param([(SERVER, DATA), (CLIENT, DATA)], True, True, id="application data, server first"),
    pytest.param([(CLIENT, HELLO), (SERVER, DATA), (CLIENT, DATA)], True, True, id="a hello answered with data"),
    pytest.param([(CLIENT, record(22, b"hello server, this is a beacon")), (SERVER, DATA)], True, True,
                 id="a handshake record that holds no handshake"),
    pytest.param([(CLIENT, record(22, client_hello()[:-1] + b"\x07"))], True, True, id="a hello with a lie in it"),
    pytest.param([(CLIENT, record(20, b"\x01"))], True, True, id="cipher change before any hello"),
    pytest.param([(CLIENT, HELLO), (SERVER, record(22, server_hello(b"\x00\x05"))), (SERVER, DATA)], True, True,
                 id="a cipher that was never offered"),
    pytest.param([(CLIENT, HELLO), (SERVER, record(22, server_hello(b"\x00\x05"))), (CLIENT, record(21, b"\x02\x2f"))],
                 False, False, id="a cipher that was never offered, refused by the client"),
    pytest.param([(CLIENT, HELLO), (SERVER, ANSWER), (SERVER, DATA), (CLIENT, DATA)], False, False, id="all well"),
    pytest.param([(CLIENT, HELLO), (SERVER, record(21, b"\x02\x28"))], False, False, id="refused with an alert"),
    pytest.param([(CLIENT, HELLO)], False, False, id="a hello without an answer"),
    pytest.param([(CLIENT, HELLO), (SERVER, b"* BAD what?\r\n")], False, True, id="a hello answered with text"),
    pytest.param([(CLIENT, HELLO + DATA), (SERVER, ANSWER + DATA)], False, False, id="early data"),
    pytest.param([(CLIENT, HELLO), (SERVER, ANSWER + DATA + b"plain text")], False, True, id="text behind it all"),
    pytest.param([(SERVER, b"hi")], False, True, id="less than a record header that cannot be one"),
    pytest.param([(CLIENT, HELLO[:3])], False, False, id="less than a record header that can be one"),
    pytest.param([(CLIENT, record(22, b""))], False, True, id="an empty handshake record"),
    pytest.param([(CLIENT, b"\x17\x03\x03\xff\xff" + bytes(99))], False, True, id="a record longer than any"),
])
def test_real_and_fake_handshakes(flights: Flights, fake: bool, broken: bool) -> None:
    for cuts in (None, [1], [7, 3]):
        stream = run(flights, cuts)
        assert (stream.facts.fake, stream.facts.broken) == (fake, broken)
        assert [piece.code for piece in stream.facts.evidence] == (["tls-without-handshake"] if fake else [])


@pytest.mark.parametrize(("flights", "codes"), [
    pytest.param([(CLIENT, b"a2 LOGIN bob hunter2\r\n")], ["no-tls-after-starttls"], id="the client goes on in clear"),
    pytest.param([(CLIENT, HELLO), (SERVER, b"* OK more text\r\n")], ["no-tls-after-starttls"], id="the server does"),
    pytest.param([(CLIENT, DATA), (SERVER, DATA)], ["fake-tls-after-starttls"], id="records without a handshake"),
    pytest.param([(CLIENT, HELLO), (SERVER, ANSWER + DATA)], [], id="a handshake"),
])
def test_after_starttls_the_evidence_names_the_place(flights: Flights, codes: list[str]) -> None:
    facts = run(flights, after_starttls=True, offset=120).facts
    assert [piece.code for piece in facts.evidence] == codes
    for piece in facts.evidence:
        assert piece.offset == 120
        assert piece.packet in (1, 2)


def test_a_hello_split_over_records_is_read() -> None:
    message = client_hello(extensions=bytes.fromhex("00000010000e00000b6578616d706c652e6f7267"))
    split = b"".join(record(22, message[at : at + 20], 0x0301) for at in range(0, len(message), 20))
    facts = run([(CLIENT, split)]).facts
    assert facts.client_hello
    assert facts.sni == "example.org"
    assert facts.records_client == -(-len(message) // 20)


def test_an_oversized_hello_is_read_as_far_as_it_is_kept() -> None:
    padding = struct.pack("!HH", 21, 40_000) + bytes(40_000)
    sni = bytes.fromhex("00000010000e00000b6578616d706c652e6f7267")
    message = client_hello(extensions=sni + padding)
    flight = b"".join(record(22, message[at : at + 16_000]) for at in range(0, len(message), 16_000)) + DATA
    stream = run([(CLIENT, flight)])
    assert stream.facts.client_hello
    assert stream.facts.sni == "example.org"
    assert stream.facts.limits == ["tls-handshake-bytes"]
    assert (stream.facts.ja3, stream.facts.ja4) == ("", "")
    assert not stream.facts.broken
    assert stream.facts.application_data


def test_alerts_in_clear_are_named() -> None:
    facts = run([(CLIENT, HELLO), (SERVER, record(21, b"\x02\x46"))]).facts
    assert (facts.alert, facts.alert_side) == ("protocol_version", "server")
    assert run([(CLIENT, HELLO), (CLIENT, record(21, b"\x01\x00"))]).facts.alert == ""


def test_a_close_notify_in_clear_has_no_name_but_a_side() -> None:
    facts = run([(SERVER, record(21, b"\x01\x00") + b"a1 NO STARTTLS failed\r\n")]).facts
    assert (facts.alert, facts.alert_side, facts.broken) == ("", "server", True)


def sslv2_hello(version: bytes) -> bytes:
    body = b"\x01" + version + struct.pack("!HHH", 6, 0, 16) + b"\x00\x00\x2f\x07\x00\xc0" + bytes(16)
    return struct.pack("!H", 0x8000 | len(body)) + body


def test_a_hello_in_the_form_of_ssl_2_begins_tls() -> None:
    for cuts in (None, [1]):
        answer = record(22, server_hello(b"\x00\x2f", 0x0301), 0x0301)
        facts = run([(CLIENT, sslv2_hello(b"\x03\x01")), (SERVER, answer), (CLIENT, DATA), (SERVER, DATA)], cuts).facts
        assert (facts.client_hello, facts.server_hello, facts.broken, facts.version) == (True, True, False, "TLSv1")
        assert facts.choice_offered
        assert facts.ja3 == ""


def test_ssl_2_itself_is_named_and_not_followed() -> None:
    answer = b"\x80\x20\x04\x00\x01\x00\x02" + bytes(27)
    for cuts in (None, [1]):
        facts = run([(CLIENT, sslv2_hello(b"\x00\x02")), (SERVER, answer), (CLIENT, b"\x80\x05abcde")], cuts).facts
        assert (facts.version, facts.server_hello, facts.broken, facts.fake) == ("SSLv2", True, False, False)


def with_gap(flights: Flights, side: int, start: int, length: int, cuts: int = 10**6) -> TlsStream:
    """Feeds flights with `length` bytes of one side missing from `start` on."""
    stream = TlsStream(LIMITS)
    positions = [0, 0]
    for number, (who, data) in enumerate(flights, 1):
        for at in range(0, len(data), cuts):
            piece = data[at : at + cuts]
            offset = positions[who]
            positions[who] += len(piece)
            if who == side and start <= offset < start + length:
                skip = min(start + length - offset, len(piece))
                stream.gap(StreamGap(who, offset, skip, number, number))
                piece, offset = piece[skip:], offset + skip
            elif who == side and offset < start < offset + len(piece):
                stream.feed(StreamChunk(who, offset, piece[: start - offset], number, number))
                skip = min(length, offset + len(piece) - start)
                stream.gap(StreamGap(who, start, skip, number, number))
                piece, offset = piece[start - offset + skip :], start + skip
            if piece:
                stream.feed(StreamChunk(who, offset, piece, number, number))
    stream.end(StreamEnd(99, 99, "fin"))
    return stream


@settings(max_examples=60)
@given(st.sampled_from([V12, V13]), st.sampled_from([CLIENT, SERVER]), st.integers(0, 3000), st.integers(1, 30_000))
def test_a_gap_never_makes_a_real_handshake_fake_or_broken(version: ssl.TLSVersion, side: int, start: int, length: int
                                                           ) -> None:
    facts = with_gap(flights_of(version), side, start, length).facts
    assert not facts.fake
    assert not facts.broken


def test_records_are_found_again_behind_a_gap() -> None:
    many = [(CLIENT, HELLO), (SERVER, ANSWER), *[(SERVER, DATA)] * 50]
    facts = with_gap(many, SERVER, len(ANSWER) + 17, 100).facts
    assert facts.records_server >= 45
    assert facts.application_data


def test_midstream_records_are_counted_and_nothing_is_called_fake() -> None:
    flights = flights_of(V13)
    later = [(side, data) for side, data in flights[3:]]
    later[0] = (later[0][0], later[0][1][7:])
    facts = run(later, midstream=True).facts
    assert not facts.fake
    assert not facts.broken
    assert not facts.client_hello


def test_bulk_data_costs_nothing_but_headers() -> None:
    stream = TlsStream(LIMITS)
    stream.feed(StreamChunk(CLIENT, 0, HELLO, 1, 1))
    stream.feed(StreamChunk(SERVER, 0, ANSWER, 1, 1))
    big = record(23, bytes(16_000)) * 64
    for number in range(64):
        stream.feed(StreamChunk(SERVER, len(ANSWER) + number * len(big), big, 1, 1))
    assert stream.facts.records_server == 1 + 64 * 64
    assert stream.facts.application_bytes_server == 64 * 64 * 16_000


def test_facts_are_a_plain_record_that_can_be_sent_elsewhere() -> None:
    facts = run(flights_of(V12)).facts
    assert msgspec.json.decode(msgspec.json.encode(facts), type=TlsFacts) == facts
