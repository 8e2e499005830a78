"""What the first bytes of mail servers say of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.protocols import mail_services
from imapids.protocols.mail_services import (
    clear_sign_in,
    is_relayed_user,
    plain_protocol,
    proxy_signs,
    service_facts,
    software_of,
)

HELLO = b"\x16\x03\x01\x00\xf1\x01\x00"


@pytest.mark.parametrize(
    ("protocol", "client", "server", "facts"),
    [
        pytest.param(
            "smtp",
            b"EHLO desk\r\nQUIT\r\n",
            b"220 mx ESMTP Postfix\r\n250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n",
            {"software": "Postfix", "starttls_offered": True, "sign_in_in_clear": True},
            id="SMTP that offers both",
        ),
        pytest.param(
            "smtp",
            b"EHLO a\r\nSTARTTLS\r\n" + HELLO,
            b"220 mx ESMTP Exim 4.97 Tue\r\n250-mx\r\n250 STARTTLS\r\n220 go\r\n",
            {"software": "Exim 4.97", "starttls_offered": True, "starttls_used": True},
            id="SMTP with STARTTLS",
        ),
        pytest.param(
            "smtp",
            b"EHLO a\r\nAUTH PLAIN AGEAYg==\r\n",
            b"220 mx\r\n250-mx\r\n250 AUTH PLAIN\r\n235 2.7.0 ok\r\n",
            {"sign_in_in_clear": True, "signed_in_in_clear": True},
            id="SMTP with a sign-in before TLS",
        ),
        pytest.param(
            "smtp",
            b"EHLO a\r\nAUTH PLAIN AGEAYg==\r\n",
            b"220 mx\r\n250 mx\r\n538 encryption required\r\n",
            {"sign_in_in_clear": False, "signed_in_in_clear": False},
            id="SMTP that refuses it",
        ),
        pytest.param(
            "pop3",
            b"USER omar\r\nPASS hunter2\r\n",
            b"+OK ready\r\n+OK\r\n+OK logged in\r\n",
            {"sign_in_in_clear": True, "signed_in_in_clear": True},
            id="POP3 with USER and PASS",
        ),
        pytest.param(
            "pop3",
            b"USER omar\r\n",
            b"+OK ready\r\n-ERR use TLS\r\n",
            {"sign_in_in_clear": False, "signed_in_in_clear": False},
            id="POP3 that refuses USER",
        ),
        pytest.param(
            "pop3",
            b"CAPA\r\nSTLS\r\n" + HELLO,
            b"+OK ready\r\n+OK\r\nSTLS\r\nUIDL\r\n.\r\n+OK begin\r\n",
            {"starttls_offered": True, "starttls_used": True, "sign_in_in_clear": False},
            id="POP3 with STLS",
        ),
        pytest.param(
            "pop3",
            b"USER maria#pop.example.net\r\n",
            b"+OK POP3 proxy on localhost\r\n+OK\r\n",
            {"proxy": ("banner", "loopback-name", "relayed-user")},
            id="a POP3 proxy",
        ),
        pytest.param(
            "imap",
            b"",
            b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] Dovecot ready\r\n",
            {"software": "Dovecot", "starttls_offered": True, "sign_in_in_clear": False},
            id="IMAP elsewhere",
        ),
        pytest.param(
            "imap",
            b"a LOGIN x y\r\n",
            b"* OK [CAPABILITY IMAP4rev1] hi\r\n",
            {"sign_in_in_clear": True, "signed_in_in_clear": True},
            id="IMAP elsewhere, with a sign-in",
        ),
        pytest.param(
            "tls", HELLO, b"\x16\x03\x03\x00\x40\x02", {"tls": True, "banner": ""}, id="TLS from the first byte"
        ),
        pytest.param("", b"", b"\x00\x01\x02\x03\n", {"banner": "", "software": ""}, id="bytes that are no text"),
    ],
)
def test_what_a_server_says(protocol: str, client: bytes, server: bytes, facts: dict[str, object]) -> None:
    found = service_facts(protocol, client, server)
    assert {name: getattr(found, name) for name in facts} == facts


@given(st.sampled_from(["smtp", "pop3", "imap", "tls", "ssh", ""]), st.binary(max_size=300), st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_no_bytes_raise_and_texts_are_safe(protocol: str, client: bytes, server: bytes) -> None:
    facts = service_facts(protocol, b"USER " + client + b"\r\n", server)
    for text in (facts.banner, facts.software):
        assert text.isascii()
        assert text == "" or text.isprintable()


@pytest.mark.parametrize(
    ("banner", "software"),
    [
        pytest.param(b"220 mail.example.org ESMTP Postfix (Debian)", "Postfix", id="Postfix"),
        pytest.param(
            b"220 ex Microsoft ESMTP MAIL Service, Version: 10.0.17763.1 ready", "Microsoft SMTP 10.0.17763.1", id="IIS"
        ),
        pytest.param(b"+OK Dovecot ready.", "Dovecot", id="Dovecot's POP3"),
        pytest.param(b"+OK hello", "", id="nothing that is known"),
    ],
)
def test_software_by_its_own_words(banner: bytes, software: str) -> None:
    assert software_of(banner) == software


@pytest.mark.parametrize(
    ("user", "relayed"),
    [
        pytest.param("maria#imap.example.net", True, id="user#server"),
        pytest.param("maria@example.org#imap.example.net:143", True, id="address#server:port"),
        pytest.param("maria@example.org@mail.example.net", True, id="two @"),
        pytest.param("maria/mail.example.net:143", True, id="user/server:port"),
        pytest.param("maria@example.org", False, id="an address"),
        pytest.param("maria", False, id="a name"),
        pytest.param("maria#7", False, id="a number sign without a server"),
        pytest.param("#" * 4_000, False, id="very long"),
    ],
)
def test_users_that_name_a_server(user: str, relayed: bool) -> None:
    assert is_relayed_user(user) is relayed


@settings(max_examples=150, deadline=None)
@given(st.text("a1#@:/.% ", max_size=24))
def test_users_are_dismissed_without_a_pattern_only_where_none_fits(user: str) -> None:
    assert is_relayed_user(user) is (mail_services._RELAYED.fullmatch(user) is not None)


def test_signs_of_a_proxy_and_offers() -> None:
    assert proxy_signs(b"* OK Mail Shield proxy ready on 127.0.0.1") == ("banner", "loopback-name")
    assert proxy_signs(b"* OK Dovecot ready at 127.0.0.100x") == ()
    assert clear_sign_in(["IMAP4rev1"])
    assert clear_sign_in(["LOGINDISABLED", "AUTH=PLAIN"])
    assert not clear_sign_in([])
    assert not clear_sign_in(["IMAP4rev1", "logindisabled", "AUTH=SCRAM-SHA-256"])


@pytest.mark.parametrize(("client", "server", "protocol"), [
    pytest.param(b"EHLO a\r\n", b"220 mail ESMTP\r\n", "smtp", id="a greeting and EHLO"),
    pytest.param(b"ehlo a\r\n", b"220-mail\r\n220 x\r\n", "smtp", id="lower case, and a greeting of several lines"),
    pytest.param(b"USER a\r\n", b"+OK ready\r\n", "pop3", id="a POP3 greeting and USER"),
    pytest.param(b"CAPA\r\n", b"+OK\r\n", "pop3", id="CAPA has no argument"),
    pytest.param(b"\x16\x03\x01\x00\xc8" + bytes(200), b"\x16\x03\x03\x00\x7a" + bytes(9), "tls",
                 id="TLS on both sides"),
    pytest.param(b"", b"220 mail ESMTP\r\n", "", id="a greeting alone leaves doubt: FTP begins so, too"),
    pytest.param(b"USER a\r\n", b"220 ftp\r\n", "", id="FTP"),
    pytest.param(b"\x16\x03\x01\x00\xc8", b"220 mail\r\n", "", id="TLS to a server that speaks in the clear"),
    pytest.param(b"EHLO a\r\n", b"", "", id="no server"),
])
def test_first_words_of_both_sides_name_a_plain_protocol(client, server, protocol):
    assert plain_protocol(client, server) == protocol
