"""Which parser a conversation goes to: IMAP by its greeting or its dialogue, TLS by its hellos."""

from __future__ import annotations

import pytest
from helpers.openings import c, datagrams, s, talk

from imapids.records.candidates import Opening
from imapids.sniff import sniff

HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(32)) + bytes(160)
SERVER_HELLO = bytes.fromhex("160303007a0200007603030102030405060708") + bytes(100)
ALERT = bytes.fromhex("15030100020228")


@pytest.mark.parametrize(
    ("opening", "kind"),
    [
        pytest.param(
            talk(s(b"* OK ready\r\n"), over=False), "imap", id="a greeting alone is enough to choose the parser"
        ),
        pytest.param(talk(s(b"* ok x"), over=False), "imap", id="the greeting's words may be lower case"),
        pytest.param(talk(s(b"* PREAUTH x\r\n"), over=False), "imap", id="PREAUTH greets too"),
        pytest.param(talk(s(b"* BYE full\r\n"), over=False), "imap", id="BYE greets and goes"),
        pytest.param(talk(s(b"* OK\r\n"), over=False), "imap", id="a greeting without text"),
        pytest.param(talk(s(b"* O"), over=False), "undecided", id="three bytes may still become a greeting"),
        pytest.param(talk(s(b"* OKAY\r\n")), "opaque", id="OKAY is not OK"),
        pytest.param(talk(s(b"* ACAP (SASL)\r\n")), "opaque", id="ACAP greets with a star too"),
        pytest.param(
            talk(c(b"GET / HTTP/1.0\r\n\r\n"), s(b"* OK ready\r\n"), over=False),
            "imap",
            id="an HTTP probe of a server that greets: the server decides",
        ),
        pytest.param(talk(c(HELLO), s(b"* OK ready\r\n"), over=False), "imap", id="TLS sent to a server that greets"),
        pytest.param(
            talk(c(b"a1 NOOP\r\n"), s(b"a1 OK done\r\n")), "imap", id="no greeting, but the tags answer each other"
        ),
        pytest.param(
            talk(c(b"a1 NOOP\r\n"), s(b"b7 OK done\r\n")), "opaque", id="no greeting, and a tag that nobody sent"
        ),
        pytest.param(
            talk(c(b"a1 AUTHENTICATE PLAIN\r\n"), s(b"+ \r\n")), "imap", id="a continuation after AUTHENTICATE"
        ),
        pytest.param(
            talk(s(b"* CAPABILITY IMAP4rev1\r\n")), "imap", id="an untagged response where the greeting must stand"
        ),
        pytest.param(
            talk(c(b"a1 LOGIN bob hunter2\r\n"), sides_seen="client"), "imap", id="only the client was captured"
        ),
        pytest.param(
            talk(c(b"a1 LOGIN bob hunter2\r\n"), s(b"\x00\x01\x02\x03\x04\x05\x06\x07")),
            "opaque",
            id="IMAP sent to a server that answers in binary",
        ),
        pytest.param(
            talk(c(b"DONE\r\n"), s(b"a9 OK idle done\r\n"), midstream=True), "imap", id="an IDLE seen from its middle"
        ),
        pytest.param(
            talk(s(b"rest of a mail\r\n)\r\na7 OK fetch\r\n"), c(b"a8 NOOP\r\n"), s(b"a8 OK noop\r\n"), midstream=True),
            "imap",
            id="a capture that starts inside a literal",
        ),
        pytest.param(talk(c(b"* OK fooled\r\n"), s(b"a0 LOGIN a b\r\n")), "opaque", id="the client plays the server"),
        pytest.param(
            talk(c(b"a1 NOOP\r\n"), s(b"a1 OK done\r\n"), after="compress"),
            "imap",
            id="inside COMPRESS no greeting comes",
        ),
        pytest.param(talk(c(HELLO), s(SERVER_HELLO)), "tls", id="TLS from the first byte"),
        pytest.param(talk(c(HELLO), s(ALERT)), "tls", id="TLS refused with an alert"),
        pytest.param(talk(c(b"a1 CAPABILITY\r\n"), s(ALERT)), "tls", id="IMAP sent to a TLS server"),
        pytest.param(talk(c(HELLO), s(b"HTTP/1.1 400 Bad Request\r\n\r\n")), "opaque", id="TLS sent to an HTTP server"),
        pytest.param(
            talk(c(b"\x17\x03\x03\x00\x04abcd"), s(b"\x17\x03\x03\x00\x04efgh")),
            "tls",
            id="TLS records without a handshake",
        ),
        pytest.param(talk(), "undecided", id="nothing was said"),
        pytest.param(datagrams(c(b"a1 NOOP\r\n"), s(b"* OK IMAP4rev1\r\n")), "opaque", id="UDP is never IMAP"),
    ],
)
def test_the_parser_that_is_chosen(opening: Opening, kind: str) -> None:
    assert sniff(opening).kind == kind


def test_a_decision_is_final_and_a_wait_is_not() -> None:
    assert sniff(talk(s(b"* OK ready\r\n"), over=False)).final
    assert not sniff(talk(s(b"* "), over=False)).final
    assert sniff(talk(s(b"\x00\xff\x00"), over=True)).final


def test_fake_tls_has_a_shape_and_no_protocol() -> None:
    finding = sniff(talk(c(b"\x17\x03\x03\x00\x04abcd"), s(b"\x17\x03\x03\x00\x04efgh"))).finding
    assert finding is not None
    assert (finding.protocol, finding.shape) == (None, "fake-tls")


def test_records_of_a_conversation_under_way_are_no_fake_tls() -> None:
    records = b"\x17\x03\x03\x00\x04abcd" * 3
    finding = sniff(talk(c(records), s(records), midstream=True)).finding
    assert finding is not None
    assert (finding.protocol, finding.shape) == ("tls", None)


def test_the_client_alone_never_names_the_server() -> None:
    finding = sniff(talk(c(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"))).finding
    assert finding is not None
    assert finding.by_client_only
    assert finding.confidence == "low"


def test_both_sides_make_the_confidence_high() -> None:
    both = sniff(talk(s(b"SSH-2.0-x\r\n"), c(b"SSH-2.0-y\r\n"))).finding
    alone = sniff(talk(s(b"SSH-2.0-x\r\n"), c(b"GET / HTTP/1.0\r\n"))).finding
    assert both is not None
    assert alone is not None
    assert (both.confidence, alone.confidence) == ("high", "medium")
    assert [row.code for row in both.evidence] == ["server-speaks-ssh", "client-speaks-ssh"]


def test_half_of_a_conversation_that_was_under_way_has_a_name() -> None:
    line = b"SSH-2.0-OpenSSH_9.2\r\n"
    half = sniff(talk(c(line), midstream=True, sides_seen="client")).finding
    unanswered = sniff(talk(c(line), sides_seen="client")).finding
    assert half is not None
    assert unanswered is not None
    assert (half.by_client_only, unanswered.by_client_only) == (False, True)
