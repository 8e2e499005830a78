"""The ports of mail, and what a mail server's first lines say of it: software, sign-in in clear, STARTTLS, a proxy.

Ports never decide what a service is: they only say where to look. Pure functions over the first bytes of both sides.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice

import msgspec

from imapids.protocols.imap_software import server_software
from imapids.protocols.late_patterns import late_pattern
from imapids.protocols.text import safe_text

MAIL_PORTS = (25, 110, 143, 465, 587, 993, 995)
"""TCP ports of mail (IANA): SMTP, POP3, IMAP, submissions, submission, IMAPS, POP3S."""
PEEKED_PORTS = (25, 110, 465, 587, 993, 995)
"""Of these, the ones whose first bytes are looked at for the exposure sheet only."""
STORE_PORTS = {110: "pop3", 143: "imap", 993: "imap", 995: "pop3"}
"""Ports where mailboxes are read, and the protocol that is meant to be behind them, with or without TLS."""

_BANNER_BYTES = 200
_LINES = 64
"""Lines of each side that are looked at: the first KiB holds no more that matter."""

# Software as its own banner names it: RFC 5321 section 4.2 and RFC 1939 leave the text to the server.
_BANNERS: tuple[tuple[str, re.Pattern[bytes]], ...] = tuple(
    (name, late_pattern(pattern, re.IGNORECASE))
    for name, pattern in (
        ("Postfix", rb"\bPostfix\b"),
        ("Exim", rb"\bExim ([0-9][^ ]*)"),
        ("Sendmail", rb"\bSendmail ([0-9][^ ;/]*)"),
        ("OpenSMTPD", rb"\bOpenSMTPD\b"),
        ("Haraka", rb"\bHaraka ?([0-9][^ ]*)?"),
        ("Microsoft SMTP", rb"\bMicrosoft ESMTP MAIL Service(?:, Version: ([0-9][^ ]*))?"),
        ("qmail", rb"\bqmail\b|\bnetqmail\b"),
        ("Google SMTP", rb"\bgsmtp\b"),
        ("Gpop", rb"\bGpop\b"),
        ("Qpopper", rb"\bQPOP \(version ([0-9][^ )]*)"),
        ("Cyrus POP3", rb"\bCyrus POP3 v?([0-9][^ ]*)"),
        ("Exchange POP3", rb"Microsoft Exchange(?: Server)?(?: [0-9]{4})? POP3"),
        ("Teapop", rb"\bTeapop\b"),
        ("Popa3d", rb"\bpopa3d\b"),
        ("Solid POP3", rb"\bSolid POP3\b"),
    )
)

# Programs on a workstation that stand between the mail program and the provider, by the words of their greetings.
_PROXY_WORDS = late_pattern(
    rb"\bproxy\b|\bavast\b|\bAVG\b|\bAvira\b|\bKaspersky\b|\bESET\b|\bBitdefender\b|\bNorton\b|\bMcAfee\b|"
    rb"\bSpamihilator\b|\bPOPFile\b|\bPOPcon\b|\bSpamPal\b|\bSpamBayes\b|\bK9\b|\bSpamfighter\b|\bmail ?scanner\b|"
    rb"\bstunnel\b|\bDavMail\b|\bProton Mail Bridge\b|\bperdition\b|\bimapproxy\b|\bp3scan\b|\bMail Shield\b",
    re.IGNORECASE,
)
_LOOPBACK = late_pattern(rb"\b127\.0\.0\.1\b|\blocalhost\b|(?<![0-9a-f:])::1(?![0-9a-f:])", re.IGNORECASE)

# user#server, user/server:port, user@domain@server: the forms in which local proxies are told where to go.
_RELAYED = late_pattern(
    r"[^#@%\s]+(?:@[A-Za-z0-9.-]+)?[#][A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::\d{1,5})?"
    r"|[^@\s]+@[A-Za-z0-9.-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::\d{1,5})?"
    r"|[^/:\s]+[/:][A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+:\d{1,5}"
)

_OFFERED_AUTH = late_pattern(rb"\n250[- ]AUTH[ =]")
_POP3_SIGN_IN = late_pattern(rb"\n(?:USER|APOP|AUTH) ")
_POP3_USER = late_pattern(rb"^USER ([^\n]+)", re.IGNORECASE | re.MULTILINE)

# A TLS record: handshake (22) or alert (21), version 3.x, a plausible length (RFC 8446 section 5.1).
_TLS_HEAD = late_pattern(rb"[\x15\x16]\x03[\x00-\x04][\x00-\x48]", re.DOTALL)


class ServiceFacts(msgspec.Struct, frozen=True):
    """What the first bytes of a conversation say of the server."""

    protocol: str = ""
    banner: str = ""
    software: str = ""
    tls: bool = False
    starttls_offered: bool = False
    starttls_used: bool = False
    sign_in_in_clear: bool = False
    signed_in_in_clear: bool = False
    proxy: tuple[str, ...] = ()


def software_of(banner: bytes) -> str:
    """Name (and version) of the software that a greeting of SMTP, POP3 or IMAP names; empty for none that we know."""
    for name, pattern in _BANNERS:
        match = pattern.search(banner, 0, 2_048)
        if match is not None:
            version = match[1] if pattern.groups else None
            return f"{name} {safe_text(version, 40)}" if version else name
    return server_software(banner)


@lru_cache(maxsize=1_024)  # a server greets all its clients alike
def proxy_signs(banner: bytes) -> tuple[str, ...]:
    """Signs of a local mail proxy in a server's greeting: `banner`, `loopback-name`."""
    signs = ("banner",) if _PROXY_WORDS.search(banner, 0, 2_048) else ()
    return (*signs, "loopback-name") if _LOOPBACK.search(banner, 0, 2_048) else signs


def is_relayed_user(user: str) -> bool:
    """Whether a user name also names a server to go on to: `maria#imap.example.net`, `maria@example.org@mail...`."""
    if "#" not in user and ":" not in user and user.count("@") < 2:  # each form has one of these
        return False
    return len(user) <= 512 and _RELAYED.fullmatch(user) is not None


def clear_sign_in(capabilities: list[str]) -> bool:
    """Whether the capabilities of an IMAP server offer a sign-in on the plain connection (RFC 9051 section 6.2.3)."""
    words = {word.upper() for word in capabilities}
    if not words:
        return False
    return "LOGINDISABLED" not in words or bool(words & {"AUTH=PLAIN", "AUTH=LOGIN"})


def service_facts(protocol: str, client: bytes, server: bytes) -> ServiceFacts:
    """What the first bytes of both sides say of a server.

    Args:
        protocol: what the sniffer made of them (`smtp`, `pop3`, `imap`, `tls` ...), empty where nothing.
        client, server: the bytes of each side, cut anywhere.
    """
    if protocol == "tls":
        return _OF_TLS[_TLS_HEAD.match(server) is not None]
    facts, said = _of_server(protocol, server)
    reader = _READERS.get(protocol)
    return facts if reader is None or not said else reader(facts, said, client)


@lru_cache(maxsize=256)  # many conversations with a server are alike on its side
def _of_server(protocol: str, server: bytes) -> tuple[ServiceFacts, bytes]:
    """What the server's side alone says, and its lines; none where they do not begin with text."""
    line = server.split(b"\n", 1)[0].rstrip(b"\r")
    if not line or _NO_TEXT.search(line) is not None:
        return ServiceFacts(protocol), b""
    facts, said = _of_banner(protocol, line), _plain_text(server)
    if protocol == "smtp":
        facts = msgspec.structs.replace(
            facts, starttls_offered=b"\n250-STARTTLS\n" in said or b"\n250 STARTTLS\n" in said,
            sign_in_in_clear=_OFFERED_AUTH.search(said) is not None)
    elif protocol == "pop3":
        facts = msgspec.structs.replace(facts, starttls_offered=b"\nSTLS\n" in said,
                                        sign_in_in_clear=b"\nUSER\n" in said or b"\nSASL " in said)
    return facts, said


@lru_cache(maxsize=1_024)  # a server greets all its clients alike
def _of_banner(protocol: str, line: bytes) -> ServiceFacts:
    return ServiceFacts(protocol, safe_text(line, _BANNER_BYTES), software_of(line), proxy=proxy_signs(line))


_NO_TEXT = late_pattern(rb"[^\t\n\x20-\x7e]")
_TEXT = bytes((9, 10, *range(0x20, 0x7F)))
"""All that is text: what remains without it is found faster than by the pattern."""


def _plain_text(data: bytes) -> bytes:
    """The first lines in upper case, each between newlines, up to the first that is no text: TLS or a blob follows.

    What is asked of lines is then looked for in all of them at once.
    """
    text = data.replace(b"\r\n", b"\n").removesuffix(b"\r").upper()
    if text.count(b"\n") >= _LINES:
        text = b"\n".join(text.split(b"\n", _LINES)[:_LINES])
    if text.translate(None, _TEXT):
        foreign = _NO_TEXT.search(text)
        text = text[: max(text.rfind(b"\n", 0, foreign.start()), 0)] if foreign else text
    return b"\n%b\n" % text


def plain_protocol(client: bytes, server: bytes) -> str:
    """The protocol of a conversation whose first words leave no doubt: `smtp`, `pop3`, `tls`; empty for all others.

    Most conversations on mail ports are of that kind, and need no sniffer: the greeting of one side and the first
    command of the other are those of the RFC (5321 sections 4.1.1.1 and 4.2, 1939 section 4, 8446 section 5.1).
    """
    if server[:4] in (b"220 ", b"220-") and client[:5].upper() in (b"EHLO ", b"HELO "):
        return "smtp"
    if server[:3] == b"+OK" and client[:5].rstrip(b"\r\n").upper() in (b"USER ", b"CAPA", b"APOP ", b"AUTH ", b"STLS"):
        return "pop3"
    return "tls" if _TLS_HEAD.match(client) and _TLS_HEAD.match(server) else ""


def _upgraded(client: bytes, command: bytes) -> bool:
    """A TLS record of the client stands right behind its line `command`."""
    if b"\x03" not in client:  # the version of every record
        return False
    at = client.upper().find(command)
    end = client.find(b"\n", at) + 1 if at >= 0 else 0
    return bool(end) and _TLS_HEAD.match(client, end) is not None


def _smtp(facts: ServiceFacts, said: bytes, client: bytes) -> ServiceFacts:
    """SMTP: keywords of EHLO (RFC 5321 section 4.1.1.1), STARTTLS (RFC 3207), AUTH (RFC 4954)."""
    words = client.upper()
    if b"AUTH " not in words and b"STARTTLS" not in words:  # most of them: a server hands a message to the next
        return facts
    signed = b"\nAUTH " in _plain_text(client).partition(b"\nSTARTTLS\n")[0]
    refused = signed and any(code in said for code in (b"\n502", b"\n503", b"\n504", b"\n530", b"\n538"))
    used = _upgraded(client, b"STARTTLS")
    if not used and (refused or not signed):
        return facts
    return msgspec.structs.replace(facts, starttls_used=used, signed_in_in_clear=signed and not refused)


def _pop3(facts: ServiceFacts, said: bytes, client: bytes) -> ServiceFacts:
    """POP3: CAPA (RFC 2449), STLS (RFC 2595), USER and PASS (RFC 1939 section 7); USER that is taken is an offer."""
    before = _plain_text(client).partition(b"\nSTLS\n")[0]
    sign_in = _POP3_SIGN_IN.search(before)
    taken = sign_in is not None and _answer(said, before.count(b"\n", 0, sign_in.start())).startswith((b"+OK", b"+ "))
    user = _POP3_USER.search(client)
    relayed = user is not None and is_relayed_user(safe_text(user[1].rstrip(b"\r")))
    used = _upgraded(client, b"STLS")
    if not (taken or used or relayed):
        return facts
    return ServiceFacts(
        facts.protocol, facts.banner, facts.software,
        proxy=(*facts.proxy, "relayed-user") if relayed else facts.proxy,
        starttls_offered=facts.starttls_offered, starttls_used=used, sign_in_in_clear=taken or facts.sign_in_in_clear,
        signed_in_in_clear=taken and any(word in before for word in (b"\nPASS ", b"\nAPOP ", b"\nAUTH ")))


def _answer(said: bytes, number: int) -> bytes:
    """The answer to the client's line `number`, as far as replies of one line can be counted; the greeting is 0."""
    replies = (line for line in said.split(b"\n") if line.startswith((b"+", b"-ERR")))
    return next(islice(replies, number + 1, None), b"")


def _imap(facts: ServiceFacts, said: bytes, client: bytes) -> ServiceFacts:
    """IMAP on a port that is not watched: capabilities of the greeting or of CAPABILITY (RFC 9051 section 7.2.2)."""
    words: set[bytes] = set()
    for line in said.split(b"\n"):
        found = re.search(rb"\bCAPABILITY ([^\]]*)", line)
        words.update(found[1].split() if found else ())
    capabilities = [str(word, "ascii", "replace") for word in words]
    signed = any(re.match(rb"[^ ]+ (?:LOGIN|AUTHENTICATE) ", line) for line in _plain_text(client).split(b"\n"))
    return msgspec.structs.replace(
        facts,
        starttls_offered=b"STARTTLS" in words, starttls_used=_upgraded(client, b" STARTTLS"),
        sign_in_in_clear=clear_sign_in(capabilities), signed_in_in_clear=signed)


_READERS = {"smtp": _smtp, "pop3": _pop3, "imap": _imap}
_OF_TLS = (ServiceFacts("tls"), ServiceFacts("tls", tls=True))
"""What is said of a server that was taken for one of TLS: by whether its own first bytes are a record."""
