"""Reads one line of an IMAP server: what it is, its response code, and whether its words are words."""

from __future__ import annotations

import re

from imapids.config import DialogueLimits
from imapids.protocols.imap_grammar import CODE, TAGGED, UNTAGGED, literal_size, opaque_token
from imapids.protocols.imap_responses import CONDITIONS, LEGAL_IN, NUMBERED
from imapids.protocols.late_patterns import late_pattern
from imapids.protocols.text import safe_text

UNKNOWN, CONDITION, BYE, CAPABILITY, FETCH, EXISTS, EXPUNGE, SEARCH, ID, OTHER = range(10)
_KINDS = {
    b"OK": CONDITION,
    b"NO": CONDITION,
    b"BAD": CONDITION,
    b"PREAUTH": CONDITION,
    b"BYE": BYE,
    b"CAPABILITY": CAPABILITY,
    b"FETCH": FETCH,
    b"EXISTS": EXISTS,
    b"EXPUNGE": EXPUNGE,
    b"SEARCH": SEARCH,
    b"SORT": SEARCH,
    b"ESEARCH": SEARCH,
    b"VANISHED": EXPUNGE,
    b"ID": ID,
}

_NUMBERED_KINDS = {b"FETCH": FETCH, b"EXISTS": EXISTS, b"EXPUNGE": EXPUNGE, b"RECENT": OTHER}
_NUMBERS_MATTER = frozenset(("CAPABILITY", "COPYUID", "APPENDUID"))
"""Response codes whose arguments are read."""

_WHOLE_BODY = late_pattern(rb"(?:(?:BODY|BINARY)\[\](?:<[0-9]+>)?|RFC822) +~?\{[0-9]+\}\Z", re.IGNORECASE)
_ALL = late_pattern(rb"\bALL ([0-9:,]+)|\bCOUNT ([0-9]+)", re.IGNORECASE)
_ID_NAME = late_pattern(rb'"name" "([^"]*)"', re.IGNORECASE)
_ID_VERSION = late_pattern(rb'"version" "([^"]*)"', re.IGNORECASE)


class Reply:
    """What one server line says, its tag left out; shared by all lines that are equal."""

    # Class attributes are the defaults: most lines have none of these, and need not store that.
    code = ""
    code_text = b""
    capabilities: list[str] | None = None
    opaque: bytes | None = None
    """Encoded data where text for people stands."""
    legal = 7
    """States in which it can be true (bits of imap_commands.State)."""
    count = 0
    """The number in front, or how many messages a SEARCH names."""
    literal = -1
    whole_body = False
    software = ""
    plain = False
    """Nothing follows from it but that it was said."""

    def __init__(self, kind: int, result: str = "", word: bytes = b"") -> None:
        self.kind = kind
        self.result = result
        """ok, no, bad, preauth, bye of a condition."""
        self.word = word


UNTAGGED_MEMO: dict[bytes, Reply] = {}
"""Whole lines, and forms of lines whose numbers do not matter (see `form_of`), that were read before."""
TAGGED_MEMO: dict[bytes, Reply] = {}
_MEMO_LINES = 4_096
_MEMO_BYTES = 400
_DIGITS = b"0123456789"
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_NO_DIGITS = str.maketrans("", "", "0123456789")
_TEMPLATE_DIGITS = 20
_LONG_WORD = late_pattern(rb"[A-Za-z0-9+/_\-]{12}")


def form_of(line: bytes) -> bytes | None:
    """The form of a line: each digit a zero, where they change nothing because they differ from session to session.

    Few digits and short words only: together they cannot be a token of encoded data. The line feed in front, which no
    line holds, keeps forms apart from lines.
    """
    if line[-1:] == b"}":  # the size of a literal matters
        return None
    digits = len(line) - len(line.translate(None, _DIGITS))
    return b"\n" + line.translate(_ZEROS) if 0 < digits <= _TEMPLATE_DIGITS else None


def _remember(memo: dict[bytes, Reply], line: bytes, reply: Reply) -> Reply:
    if len(line) <= _MEMO_BYTES:
        if len(memo) >= _MEMO_LINES:
            memo.clear()
        if reply.kind == CONDITION and not _LONG_WORD.search(line) and (
                reply.code not in _NUMBERS_MATTER and reply.code.translate(_NO_DIGITS) == reply.code):
            form = form_of(line)
            if form is not None:
                memo[form] = reply
                return reply
        memo[line] = reply
    return reply


def read_untagged(line: bytes, limits: DialogueLimits) -> Reply | None:
    """A line that begins with `* `, or None where no response stands there. Lines repeat: short ones are remembered."""
    if line in UNTAGGED_MEMO:
        return UNTAGGED_MEMO[line]
    match = UNTAGGED.match(line)
    if match is None:
        return None
    number, word = match[1], match[2].upper()
    if number is not None:
        return _read_numbered(number, word, line, limits)
    if word in CONDITIONS:
        template = form_of(line)
        known = UNTAGGED_MEMO.get(template) if template is not None else None
        if known is not None:
            return known
        reply = _read_condition(word, line[match.end() :])
        reply.kind = _KINDS[word]
    else:
        # Lenient: a known word whose number is missing is told as an unknown one, as `* 15 EXPUNGED` of GNU imap4d is.
        legal = LEGAL_IN.get(word) if word not in NUMBERED else None
        reply = Reply(UNKNOWN if legal is None else _KINDS.get(word, OTHER), "", word)
        reply.legal = 7 if legal is None else legal
        _read_data(reply, line[match.end() :])
    announced = literal_size(line, limits.literal_digits)
    if announced is not None:
        reply.literal = announced[0]
    reply.plain = (
        reply.kind in (CONDITION, OTHER) and reply.opaque is None and reply.capabilities is None and (reply.literal < 0)
    )
    return _remember(UNTAGGED_MEMO, line, reply)


def _read_numbered(number: bytes, word: bytes, line: bytes, limits: DialogueLimits) -> Reply:
    """`* number WORD`: numbers differ from line to line, so nothing is remembered."""
    kind = _NUMBERED_KINDS.get(word)
    if kind is None:
        reply = Reply(UNKNOWN, "", word)
    else:
        reply = Reply(kind, "", word)
        reply.legal = 4
        reply.count = int(number[: limits.literal_digits])
    if line[-1:] == b"}":
        announced = literal_size(line, limits.literal_digits)
        if announced is not None:
            reply.literal = announced[0]
            reply.whole_body = kind == FETCH and _WHOLE_BODY.search(line) is not None
    reply.plain = kind == OTHER and reply.literal < 0
    return reply


def read_tagged(rest: bytes) -> Reply | None:
    """`OK|NO|BAD text` after a tag and a space, or None."""
    if rest in TAGGED_MEMO:
        return TAGGED_MEMO[rest]
    template = form_of(rest)
    if template is not None and template in TAGGED_MEMO:
        return TAGGED_MEMO[template]
    match = TAGGED.match(b"x " + rest.lstrip(b" "))
    if match is None:
        return None
    return _remember(TAGGED_MEMO, rest, _read_condition(match[2].upper(), rest.lstrip(b" ")[match.end() - 2 :]))


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


def _read_data(reply: Reply, text: bytes) -> None:
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
