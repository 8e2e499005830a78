"""How an IMAP conversation begins, or goes on where its start was not captured: enough to route it, no judgement.

Whether it is genuine is for the IMAP machine and the judge to say.
"""

from __future__ import annotations

import re

from imapids.protocols.late_patterns import late_pattern
from imapids.protocols.probing import NEED_MORE, NO, YES
from imapids.records.candidates import Look, Opening
from imapids.records.streams import CLIENT, SERVER

# RFC 9051 9: greeting = "*" SP (resp-cond-auth / resp-cond-bye) CRLF. A text after the word is demanded by the
# grammar; some servers end the line at once.
_GREETING = late_pattern(rb"\* (?:OK|PREAUTH|BYE)[ \r\n]", re.IGNORECASE)
_GREETINGS = (
    b"* ok ",
    b"* ok\r",
    b"* ok\n",
    b"* preauth ",
    b"* preauth\r",
    b"* preauth\n",
    b"* bye ",
    b"* bye\r",
    b"* bye\n",
)
_GREETING_BYTES = 10

# RFC 9051 9: tag = 1*<any ASTRING-CHAR except "+">.
_TAG = rb"[!#$&',\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]{1,255}"

# RFC 9051 6, RFC 3501 6, and the extensions that have commands of their own. Words that other line protocols use
# as a second word (OK, LIST, STATUS ...) are safe here: a tag stands before them.
_COMMANDS = (
    rb"APPEND|AUTHENTICATE|CAPABILITY|CHECK|CLOSE|COMPRESS|COPY|CREATE|DELETE|DELETEACL|ENABLE|ESEARCH|EXAMINE|"
    rb"EXPUNGE|FETCH|GENURLAUTH|GETACL|GETANNOTATION|GETMETADATA|GETQUOTA|GETQUOTAROOT|ID|IDLE|LIST|LISTRIGHTS|"
    rb"LOGIN|LOGOUT|LSUB|MOVE|MYRIGHTS|NAMESPACE|NOOP|NOTIFY|RENAME|RESETKEY|SEARCH|SELECT|SETACL|SETANNOTATION|"
    rb"SETMETADATA|SETQUOTA|SORT|STARTTLS|STATUS|STORE|SUBSCRIBE|THREAD|UID|UNAUTHENTICATE|UNSELECT|UNSUBSCRIBE|"
    rb"URLFETCH|XLIST|X-[A-Z0-9-]+"
)
_CLIENT_LINE = late_pattern(rb"(?:(" + _TAG + rb") (?:" + _COMMANDS + rb")(?: [^\x00]*)?|DONE)", re.IGNORECASE)
_CONTINUED = late_pattern(
    rb"(" + _TAG + rb") (?:AUTHENTICATE|APPEND|IDLE|LOGIN|SEARCH|STORE|SELECT|EXAMINE|LIST|ID|"
    rb"STATUS|CREATE|UID)\b[^\x00]*|DONE",
    re.IGNORECASE,
)

# RFC 9051 7: untagged responses. A word of IMAP after "* " is more than any other protocol has.
_UNTAGGED = late_pattern(
    rb"\* (?:[0-9]{1,10} (?:EXISTS|RECENT|EXPUNGE|FETCH)\b|(?:CAPABILITY|FLAGS|LIST|LSUB|XLIST|SEARCH|ESEARCH|SORT|"
    rb"THREAD|STATUS|NAMESPACE|ENABLED|QUOTA|QUOTAROOT|ACL|MYRIGHTS|LISTRIGHTS|METADATA|ANNOTATION|VANISHED|ID|"
    rb"GENURLAUTH|URLFETCH)(?: |$)|(?:OK|NO|BAD|BYE|PREAUTH)(?: |$))[^\x00]*",
    re.IGNORECASE,
)
_TAGGED = late_pattern(rb"(" + _TAG + rb") (?:OK|NO|BAD)(?: [^\x00]*)?", re.IGNORECASE)

_LINE_BYTES = 2_048
"""A longer first line decides nothing; real first lines are far shorter (RFC 9051 section 4)."""
_LINES = 12
"""Lines of each side that are looked at where the start is missing: a literal may stand before the next reply."""


def look_for_greeting(server: bytes) -> Look:
    """Does the server's first byte string begin with an IMAP greeting, whatever the letters' case?"""
    if _GREETING.match(server):
        return YES
    if len(server) >= _GREETING_BYTES:
        return NO
    start = server.lower()
    return NEED_MORE if any(greeting.startswith(start) for greeting in _GREETINGS) else NO


def _first_line(data: bytes, ended: bool) -> bytes | None:
    """The first line without its end; None while it is not complete and may become so, empty where it is too long."""
    end = data.find(b"\n", 0, _LINE_BYTES)
    if end >= 0:
        return data[:end].removesuffix(b"\r")
    if ended:
        return data[:_LINE_BYTES]
    return None if len(data) < _LINE_BYTES else b""


def look_for_dialogue(opening: Opening) -> Look:
    """Do the lines look like IMAP although no greeting came first?

    True to the end: a first server line that is an untagged IMAP response; a tagged reply to a tag that the client
    used with an IMAP command; a continuation request after a command that may ask for one. Where the server said
    nothing, a first client line with tag and command.
    """
    if opening.midstream:
        return _look_midstream(opening)
    if not opening.server:
        if not opening.server_ended:
            return NEED_MORE
        return _look_client(opening)
    first = opening.server[0]
    if first == 0x2A:  # "*"
        line = _first_line(opening.server, opening.server_ended)
        if line is None:
            return NEED_MORE
        return YES if _UNTAGGED.fullmatch(line) else NO
    if not 0x21 <= first <= 0x7E:
        return NO
    return _look_replies(opening)


def _look_replies(opening: Opening) -> Look:
    """The server's first line is a tagged reply or a continuation request: it must answer the client's first line."""
    reply = _first_line(opening.server, opening.server_ended)
    if reply is None:
        return NEED_MORE if _may_be_reply(opening.server) else NO
    tagged = _TAGGED.fullmatch(reply)
    continued = reply[:1] == b"+" and reply[1:2] in (b"", b" ")
    if tagged is None and not continued:
        return NO
    if not opening.client:
        return NO if opening.client_ended else NEED_MORE
    command = _first_line(opening.client, opening.client_ended)
    if command is None:
        return NEED_MORE
    asked = (_CONTINUED if continued else _CLIENT_LINE).fullmatch(command)
    if asked is None:
        return NO
    return YES if tagged is None or asked[1] in (None, tagged[1]) else NO


_REPLY_START = late_pattern(
    rb"\+(?: .*)?|" + _TAG + rb"(?: (?:O|OK|N|NO|B|BA|BAD|(?:OK|NO|BAD)[ \r].*)?)?", re.IGNORECASE | re.DOTALL
)


def _may_be_reply(server: bytes) -> bool:
    """Can an incomplete first line still become a tagged reply or a continuation request?"""
    return _REPLY_START.fullmatch(server) is not None


def _look_client(opening: Opening) -> Look:
    if not opening.client:
        return NO if opening.client_ended else NEED_MORE
    line = _first_line(opening.client, opening.client_ended)
    if line is None:
        return NEED_MORE
    return YES if _CLIENT_LINE.fullmatch(line) else NO


def _look_midstream(opening: Opening) -> Look:
    """The start is missing, and a literal may be under way: look for IMAP lines among the first ones of each side."""
    if opening.server and not _is_text(opening.server):
        return NO
    replies, server_over = _complete_lines(opening.server, opening.server_ended)
    commands, client_over = _complete_lines(opening.client, opening.client_ended)
    if opening.client and not _is_text(opening.client):
        commands, client_over = [], True
    asked = [match[1] for line in commands if (match := _CLIENT_LINE.fullmatch(line))]
    for line in replies:
        if _UNTAGGED.fullmatch(line):
            return YES
        reply = _TAGGED.fullmatch(line)
        if reply and (reply[1] in asked or None in asked or (opening.client_ended and not opening.client)):
            return YES  # None: the client sent DONE, and the tag of its IDLE was not captured
    if not (server_over and client_over):
        return NEED_MORE
    return YES if asked and not opening.server else NO


def _complete_lines(data: bytes, ended: bool) -> tuple[list[bytes], bool]:
    """The complete ones of the first lines, and whether no more will be looked at."""
    lines = data[: _LINE_BYTES * 4].split(b"\n", _LINES)[:-1]
    return [line.removesuffix(b"\r") for line in lines], ended or len(lines) >= _LINES or len(data) >= _LINE_BYTES * 4


def _is_text(data: bytes) -> bool:
    """The first bytes hold no control character but tab, CR and LF (IMAP data may hold 8-bit text)."""
    return data[:16].translate(None, _CONTROLS) == data[:16]


_CONTROLS = bytes(code for code in range(32) if code not in b"\t\r\n") + b"\x7f"


def who_speaks(head: bytes, *, midstream: bool) -> int | None:
    """Which side of an IMAP dialogue sends a segment that begins so; None where it is none of IMAP.

    A server that greets says it at the start of a flow. Where the start was not captured (`midstream`), a whole line
    of a dialogue says it too: an untagged or tagged response, a command, or the DONE that ends IDLE.
    """
    if look_for_greeting(head) is YES:
        return SERVER
    if not midstream:
        return None
    line = head.partition(b"\n")[0].removesuffix(b"\r")
    if _UNTAGGED.fullmatch(line) or _TAGGED.fullmatch(line):
        return SERVER
    return CLIENT if _CLIENT_LINE.fullmatch(line) else None
