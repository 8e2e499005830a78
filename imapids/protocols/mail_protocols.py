"""Mail, news and file transfer: line protocols whose server greets first, as IMAP's does.

Three families share their first bytes: three-digit replies (SMTP, FTP, NNTP), `+OK` (POP3), and capability lists in
quotes (ManageSieve). Within the first the greeting's text tells, and where it does not, the client's first command.
"""

from __future__ import annotations

import re

from imapids.protocols.databases import REDIS_ERROR
from imapids.protocols.late_patterns import late_pattern
from imapids.protocols.probing import (
    LINE_BYTES,
    NEED_MORE,
    NO,
    YES,
    Answer,
    Probe,
    client_only,
    dialogue,
    either,
    first_line,
    found,
    prefix,
    speaks,
    starts,
)
from imapids.records.candidates import Opening

_REPLY = late_pattern(rb"([1-6][0-9]{2})[ -](.*)|([1-6][0-9]{2})", re.DOTALL)

# Verbs that belong to one protocol only (RFC 5321 and 2033, RFC 959 and 2428, RFC 3977).
_SMTP_VERB = late_pattern(
    rb"(?:EHLO|HELO|LHLO|XCLIENT|VRFY|EXPN|BDAT) ?.*|(?:MAIL FROM|RCPT TO):.*|"
    rb"AUTH (?:PLAIN|LOGIN|CRAM-MD5|NTLM|XOAUTH2|DIGEST-MD5|GSSAPI|SCRAM-.*).*|"
    rb"STARTTLS|EHLO|HELO|DATA|RSET",
    re.IGNORECASE | re.DOTALL,
)
_FTP_VERB = late_pattern(
    rb"(?:USER|PASS|ACCT|CWD|SMNT|TYPE|STRU|MODE|RETR|STOR|STOU|APPE|ALLO|REST|RNFR|RNTO|DELE|RMD|"
    rb"MKD|NLST|SITE|PORT|EPRT|EPSV|SIZE|MDTM|OPTS|CLNT|MLSD|MLST|PBSZ|PROT)\b.*|"
    rb"AUTH (?:TLS|SSL|TLS-C|GSSAPI)|(?:PASV|SYST|FEAT|PWD|XPWD|CDUP|ABOR|REIN)",
    re.IGNORECASE | re.DOTALL,
)
_NNTP_VERB = late_pattern(
    rb"MODE READER|MODE STREAM|CAPABILITIES|AUTHINFO .*|(?:GROUP|LISTGROUP|XOVER|OVER|XHDR|HDR|ARTICLE|BODY|"
    rb"IHAVE|CHECK|TAKETHIS|NEWGROUPS|NEWNEWS)\b.*|LIST(?: .*)?|DATE|POST|SLAVE",
    re.IGNORECASE | re.DOTALL,
)
_SMTP_TEXT = late_pattern(
    rb"\b[EL]?S?MTP|ESMTP|\bRBL\b|spamhaus|"
    rb"\bpostfix\b|\bsendmail\b|\bexim\b|mail service ready|4\.[37]\.[0-9]|5\.[57]\.[0-9]",
    re.IGNORECASE,
)
_FTP_TEXT = late_pattern(rb"ftp|filezilla|FZ_", re.IGNORECASE)
# RFC 2229 section 3.1: text, capabilities and a message id, each in angle brackets; section 3 has the commands.
_DICT_TEXT = late_pattern(rb"<[A-Za-z0-9_.-]*> <[^<>@ ]+@[^<>@ ]*> *$")
_DICT_VERB = late_pattern(rb"(?:DEFINE|MATCH|SHOW|CLIENT|OPTION) .+", re.IGNORECASE | re.DOTALL)
_NNTP_TEXT = late_pattern(rb"nntp|nnrp|news|posting (?:ok|allowed)|no posting|usenet|\bINN\b", re.IGNORECASE)


def _line(data: bytes, ended: bool) -> bytes | None:
    """The first line; None while it may still grow. What is cut off by the end counts as far as it goes."""
    end = data.find(b"\n", 0, LINE_BYTES)
    if end >= 0:
        return data[:end].removesuffix(b"\r")
    return data[:LINE_BYTES] if ended or len(data) >= LINE_BYTES else None


def _name_reply(reply: re.Match[bytes], command: bytes | None) -> tuple[str, str]:
    """Protocol and confidence of a first reply and the client's first command; an empty name where they do not say."""
    code, text = reply[1] or reply[3], reply[2] or b""
    by_text = ""
    if code in (b"220", b"421", b"554", b"450", b"550", b"521", b"250") and _SMTP_TEXT.search(text):
        by_text = "smtp"
    elif code == b"220" and _DICT_TEXT.search(text):
        by_text = "dict"
    elif code == b"220" and b"(HylaFAX (tm) Version" in text:
        by_text = "hylafax"  # its commands are those of FTP, and jobs instead of files
    elif code in (b"220", b"120", b"230", b"331", b"421", b"500", b"530") and _FTP_TEXT.search(text):
        by_text = "ftp"
    elif code in (b"200", b"201", b"400", b"502") and _NNTP_TEXT.search(text):
        by_text = "nntp"
    by_command = ""
    if command is not None:
        if _SMTP_VERB.fullmatch(command):
            by_command = "smtp"
        elif code in (b"200", b"201", b"211", b"215", b"281", b"381", b"480", b"502", b"101") and _NNTP_VERB.fullmatch(
            command
        ):
            by_command = "nntp"
        elif by_text == "hylafax" or _FTP_VERB.fullmatch(command):
            by_command = by_text if by_text == "hylafax" else "ftp"
        elif code == b"220" and _DICT_VERB.fullmatch(command):
            by_command = "dict"
    if by_text and by_command == by_text:
        return by_text, "high"
    return by_text or by_command, "medium"


def _look_reply_codes(opening: Opening) -> Answer:
    """SMTP, FTP, NNTP: a three-digit reply from the server."""
    if opening.server:
        line = _line(opening.server, opening.server_ended)
        if line is None:
            possible = re.fullmatch(rb"[1-6](?:[0-9](?:[0-9](?:[ \r-].*)?)?)?", opening.server, re.DOTALL)
            return (NEED_MORE, None) if possible else (NO, None)
        reply = _REPLY.fullmatch(line)
        if reply is None:
            return NO, None
        command = _line(opening.client, opening.client_ended) if opening.client else None
        if command is None and not opening.client_ended:
            return NEED_MORE, None
        name, confidence = _name_reply(reply, command)
        if not name:
            return NO, None
        evidence = [speaks("server", name, opening.server)]
        if confidence == "high":
            evidence.append(speaks("client", name, opening.client))
        return found(name, confidence, *evidence)
    if not opening.server_ended or not opening.client:
        return (NO, None) if opening.server_ended and opening.client_ended else (NEED_MORE, None)
    command = _line(opening.client, opening.client_ended)
    if command is None:
        return NEED_MORE, None
    if re.fullmatch(rb"(?:EHLO|HELO|LHLO|MAIL FROM:|RCPT TO:) ?.+", command, re.IGNORECASE | re.DOTALL):
        return client_only("smtp", opening)
    return NO, None


# RFC 1939 section 4: "+OK" greets; RFC 2449 lists the commands that may come first.
_POP3_COMMAND = first_line(
    rb"(?i:USER .+|PASS .*|APOP .+|CAPA|STLS|AUTH(?: .*)?|STAT|QUIT|UTF8|LIST(?: .*)?|UIDL|RETR [0-9]+|"
    rb"NOOP|DELE [0-9]+|TOP [0-9]+ [0-9]+|XTND .*)"
)


def _look_pop3(opening: Opening) -> Answer:
    """`+OK` or `-ERR`: with a POP3 command, or where the server speaks first (Redis and NATS answer `+OK` too)."""
    start = opening.server[:4]
    if not start:
        return (NO, None) if opening.server_ended else (NEED_MORE, None)
    if len(start) < 4 and not opening.server_ended:
        return (
            (NEED_MORE, None)
            if (b"+OK" + b" ").startswith(start) or b"-ERR".startswith(start) or start == b"+OK"
            else (NO, None)
        )
    positive = start[:3] == b"+OK" and start[3:] in (b" ", b"\r", b"\n", b"")
    if not positive and not (start == b"-ERR" and opening.server[4:5] in (b" ", b"\r", b"")):
        return NO, None
    if not positive and opening.first_side == 1 and not opening.midstream:
        return _look_refusal(opening)
    if not opening.client:
        if not opening.client_ended:
            return NEED_MORE, None
        return found("pop3", "medium", speaks("server", "pop3", opening.server)) if positive else (NO, None)
    asked = _POP3_COMMAND(opening.client, opening.client_ended)
    if asked is NEED_MORE:
        return NEED_MORE, None
    if asked is YES:
        return found("pop3", "high", speaks("server", "pop3", opening.server), speaks("client", "pop3", opening.client))
    if positive and opening.first_side == 1 and not opening.midstream:
        return found("pop3", "medium", speaks("server", "pop3", opening.server))
    return NO, None


def _look_refusal(opening: Opening) -> Answer:
    """A server that greets with `-ERR`: one of POP3 that cannot serve now, unless the words are those of Redis."""
    line = _line(opening.server, opening.server_ended)
    if line is None:
        return NEED_MORE, None
    if REDIS_ERROR(line + b"\n", True) is YES:
        return NO, None
    return found("pop3", "medium", speaks("server", "pop3", opening.server))


# RFC 5804 section 1.7: the greeting is a list of capabilities in quotes that begins with IMPLEMENTATION.
_SIEVE = first_line(
    rb'(?i:"IMPLEMENTATION" ".*"|"(?:SIEVE|SASL|VERSION|STARTTLS|MAXREDIRECTS|NOTIFY)"(?: ".*")?|'
    rb'OK "Dovecot.*|OK "Logout.*)',
    starts=b'"Oo',
)

# RFC 2244 section 3.2: "* ACAP (" opens a greeting that otherwise looks like IMAP's.
_ACAP = prefix(b"* ACAP (")

PROBES: tuple[Probe, ...] = (
    Probe("reply-codes", _look_reply_codes, starts(b"123456")),
    Probe("pop3", _look_pop3, starts(b"+-")),
    dialogue("sieve", server=_SIEVE),
    dialogue("acap", server=_ACAP),
    dialogue(
        "irc",
        server=first_line(
            rb":[^ ]+ (?:[0-9]{3}|NOTICE|PRIVMSG|JOIN|PART|MODE|PING|CAP|NICK|QUIT|TOPIC|KICK)\b.*|"
            rb"NOTICE (?:AUTH|\*) .*|(?:PING|ERROR) :.*|PING [0-9A-Za-z.:-]+",
            starts=b":NPE",
        ),
        client=either(
            first_line(
                rb"(?i:NICK :?[^ ]+|PASS [^ ]+|CAP (?:LS|REQ|END).*|USER [^ ]+ [^ ]+ [^ ]+ .+|"
                rb"(?:JOIN|PART|PRIVMSG|NOTICE|MODE|PONG|WHO|WHOIS|TOPIC) .+)"
            )
        ),
    ),
)
