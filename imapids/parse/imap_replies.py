"""Reads one line of an IMAP server: what it is, its response code, and whether its words are words."""

from __future__ import annotations

import re

from imapids.config import DialogueLimits
from imapids.protocols.imap_grammar import CODE, TAGGED, UNTAGGED, literal_size, opaque_token
from imapids.protocols.imap_responses import CONDITIONS, LEGAL_IN, NUMBERED
from imapids.protocols.text import safe_text

UNKNOWN, CONDITION, BYE, CAPABILITY, FETCH, EXISTS, EXPUNGE, SEARCH, ID, OTHER = range(10)
_KINDS = {b"OK": CONDITION, b"NO": CONDITION, b"BAD": CONDITION, b"PREAUTH": CONDITION, b"BYE": BYE,
          b"CAPABILITY": CAPABILITY, b"FETCH": FETCH, b"EXISTS": EXISTS, b"EXPUNGE": EXPUNGE, b"SEARCH": SEARCH,
          b"SORT": SEARCH, b"ESEARCH": SEARCH, b"VANISHED": EXPUNGE, b"ID": ID}

_WHOLE_BODY = re.compile(rb"(?:(?:BODY|BINARY)\[\](?:<[0-9]+>)?|RFC822) +~?\{[0-9]+\}\Z", re.IGNORECASE)
_BODY = re.compile(rb"(?:BODY|BINARY)\[|RFC822(?:\.TEXT|\.HEADER)? ", re.IGNORECASE)
_ALL = re.compile(rb"\bALL ([0-9:,]+)|\bCOUNT ([0-9]+)", re.IGNORECASE)
_ID_NAME = re.compile(rb'"name" "([^"]*)"', re.IGNORECASE)
_ID_VERSION = re.compile(rb'"version" "([^"]*)"', re.IGNORECASE)


class Reply:
    """What one server line says, its tag left out; shared by all lines that are equal."""

    __slots__ = ("capabilities", "code", "code_text", "count", "kind", "legal", "literal", "opaque", "result", "software",
                 "whole_body", "word")

    def __init__(self, kind: int, result: str = "", word: bytes = b"") -> None:
        self.kind = kind
        self.result = result
        """ok, no, bad, preauth, bye of a condition."""
        self.word = word
        self.code = ""
        self.code_text = b""
        self.capabilities: list[str] | None = None
        self.opaque: bytes | None = None
        """Encoded data where text for people stands."""
        self.legal = 7
        """States in which it can be true (bits of imap_commands.State)."""
        self.count = 0
        """The number in front, or how many messages a SEARCH names."""
        self.literal = -1
        self.whole_body = False
        self.software = ""


_MEMO: dict[bytes, Reply | None] = {}
_MEMO_LINES = 4_096
_MEMO_BYTES = 400


def _remember(line: bytes, reply: Reply | None) -> Reply | None:
    if len(line) <= _MEMO_BYTES:
        if len(_MEMO) >= _MEMO_LINES:
            _MEMO.clear()
        _MEMO[line] = reply
    return reply


def read_untagged(line: bytes, limits: DialogueLimits) -> Reply | None:
    """A line that begins with `* `, or None where no response stands there. Lines repeat: short ones are remembered."""
    if line in _MEMO:
        return _MEMO[line]
    match = UNTAGGED.match(line)
    if match is None:
        return _remember(line, None)
    number, word = match[1], match[2].upper()
    if word in CONDITIONS and number is None:
        reply = _read_condition(word, line[match.end() :])
        reply.kind = _KINDS[word]
    else:
        # Lenient: GNU imap4d says `* 15 EXPUNGED`; a number before or missing at a known word is told as an unknown one.
        legal = LEGAL_IN.get(word) if (word in NUMBERED) == (number is not None) else None
        reply = Reply(UNKNOWN if legal is None else _KINDS.get(word, OTHER), "", word)
        reply.legal = 7 if legal is None else legal
        _read_data(reply, number, line[match.end() :], limits)
    announced = literal_size(line, limits.literal_digits)
    if announced is not None:
        reply.literal = announced[0]
        if reply.kind == FETCH:
            reply.whole_body = _WHOLE_BODY.search(line) is not None
    return _remember(line, reply)


def read_tagged(rest: bytes) -> Reply | None:
    """`OK|NO|BAD text` after a tag and a space, or None."""
    if rest in _MEMO:
        return _MEMO[rest]
    match = TAGGED.match(b"x " + rest.lstrip(b" "))
    if match is None:
        return _remember(rest, None)
    reply = _read_condition(match[2].upper(), rest.lstrip(b" ")[match.end() - 2 :])
    return _remember(rest, reply)


def continued(line: bytes, reply: Reply, limits: DialogueLimits) -> tuple[int, bool]:
    """(size, whole body?) of the literal that ends a later line of a response; size -1: none."""
    announced = literal_size(line, limits.literal_digits)
    if announced is None:
        return -1, False
    return announced[0], reply.kind == FETCH and _WHOLE_BODY.search(line) is not None


def _read_condition(word: bytes, text: bytes) -> Reply:
    reply = Reply(CONDITION, word.decode().lower(), word)
    match = CODE.match(text)
    if match is not None:
        reply.code = safe_text(match[1].upper(), 64)
        reply.code_text = (match[2] or b"")[:4096]
        if reply.code == "CAPABILITY":
            reply.capabilities = _capabilities(reply.code_text)
        text = text[match.end() :]
    reply.opaque = opaque_token(text)
    return reply


def _read_data(reply: Reply, number: bytes | None, text: bytes, limits: DialogueLimits) -> None:
    if number is not None:
        reply.count = int(number[: limits.literal_digits])
    if reply.kind == CAPABILITY:
        reply.capabilities = _capabilities(text)
    elif reply.kind == SEARCH:
        reply.count = _search_count(reply.word, text)
    elif reply.kind == ID:
        reply.software = id_name(text)


def _capabilities(text: bytes) -> list[str]:
    return [safe_text(word, 64).upper() for word in text.split()[:128]]


def _search_count(word: bytes, text: bytes) -> int:
    if word == b"ESEARCH":
        match = _ALL.search(text)
        if match is None:
            return 0
        return int(match[2][:20]) if match[2] else match[1].count(b",") + 1
    return len(text.partition(b"(")[0].split())


def id_name(text: bytes) -> str:
    """Name and version out of the field list of ID (RFC 2971 section 3.3), safe text; empty where none is given."""
    name = _ID_NAME.search(text, 0, 4096)
    if name is None:
        return ""
    version = _ID_VERSION.search(text, 0, 4096)
    return safe_text(name[1] + b" " + version[1] if version else name[1], 100)


def speaks_of_body(line: bytes) -> bool:
    """Whether a FETCH line carries content of a message."""
    return _BODY.search(line) is not None
