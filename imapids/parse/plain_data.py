"""What the untagged responses of a plain IMAP dialogue say, a run of them at a time; read once, remembered.

Every line is read by the function of the machine; here it is only added up. Texts that differ in numbers share one
record where nothing follows from the numbers but where they stand.
"""

from __future__ import annotations

from collections.abc import Sequence

from imapids.config import DialogueLimits
from imapids.parse import imap_replies as replies
from imapids.parse.imap_replies import Reply, read_untagged
from imapids.protocols.imap_commands import N
from imapids.protocols.imap_grammar import AFTER_LITERAL, UNTAGGED
from imapids.protocols.imap_responses import CLEARTEXT_BAN
from imapids.protocols.late_patterns import late_pattern

MEMO_ENTRIES = 4_096
"""A memo that holds so many texts is emptied: whoever fills it costs the others no more than to be read again."""
MEMO_BYTES = 1_024
"""Longer texts are not remembered."""
_SIZE_DIGITS = 9
ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LITERAL = late_pattern(rb"\{([0-9]{1,9})\}\r\n")
# A run of FETCH responses without literals: what mail clients ask for most, with other numbers in each line.
_FETCHES = late_pattern(rb"(?:\* [0-9]{1,10}+ FETCH [^\r\n]{1,1000}+(?<!\})\r\n)++\Z")


class Capabilities:
    """What matters of a list of capabilities; shared by all that hear it."""

    __slots__ = ("logindisabled", "starttls", "words")

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.logindisabled = CLEARTEXT_BAN.decode() in words
        self.starttls = "STARTTLS" in words


NO_CAPABILITIES = Capabilities([])


Literals = Sequence[tuple[int, int]]
"""(start, size) of the literals in a chunk."""
NO_LITERALS: Literals = ()


class Data:
    """What a run of untagged responses says; shared by all that are equal but for their numbers."""

    __slots__ = ("byes", "exact", "exists", "expunged", "fetched", "found", "illegal", "learned", "lines", "software",
                 "special", "starttls", "touched", "untagged", "whole")

    def __init__(self) -> None:
        self.lines = self.untagged = self.fetched = self.expunged = self.byes = 0
        self.found = -1
        """Messages that SEARCH named; -1: no such response."""
        self.exists: tuple[int, int] | None = None
        """Where the number of the last EXISTS stands."""
        self.learned: Capabilities | None = None
        """The last list of capabilities."""
        self.starttls = False
        """One of those lists offers STARTTLS."""
        self.software = ""
        self.touched = False
        """Something that belongs to the command under way: messages, or literals."""
        self.special = False
        """Something else: EXISTS, BYE, capabilities, software."""
        self.illegal = False
        """A response that cannot be true before a login."""
        self.exact = False
        """Numbers matter: it may be remembered for this very text only."""
        self.whole: list[bool] = []
        """For each literal: it is a whole message."""


NOTHING = Data()
"""What a completion says that no response stands before."""
EXACT: dict[bytes, Data] = {}
"""By the text of the responses, literals left out: where numbers matter."""
ALIKE: dict[bytes, Data] = {}
"""The same with every digit as a zero: where numbers do not matter but by their place."""


def without_literals(data: bytes) -> tuple[bytes, Literals]:
    """Responses without the literals between their lines, and where those begin and how long they are.

    Where a literal is longer than the data, nothing is taken out: there are fewer literals than the lines announce.
    """
    match = _LITERAL.search(data)
    if match is None:
        return data, NO_LITERALS
    parts: list[bytes] = []
    literals: list[tuple[int, int]] = []
    position, end = 0, len(data)
    while match is not None:
        start, size = match.end(), int(match[1])
        parts.append(data[position:start])
        literals.append((start, size))
        position = start + size
        if position > end:
            return data, NO_LITERALS
        match = _LITERAL.search(data, position)
    parts.append(data[position:])
    return b"".join(parts), literals


def read_responses(text: bytes, limits: DialogueLimits) -> Data | None:
    """Reads untagged responses that nobody remembers; None where one of them is for the machine."""
    if text[-2:] != b"\r\n":
        return None
    if _FETCHES.match(text) and len(text) > MEMO_BYTES:
        known = Data()
        known.lines = known.untagged = known.fetched = text.count(b"\n")
        known.touched = known.illegal = True
        return known
    known = Data()
    reply: Reply | None = None
    start = 0
    for line in text[:-2].split(b"\r\n"):
        if b"\n" in line or len(line) > limits.line_bytes:
            return None
        if reply is not None:  # what follows a literal
            if line and line[:1] not in AFTER_LITERAL:
                return None
            size, whole = replies.continued(line, reply, limits)
        else:
            reply = read_untagged(line, limits) if line[:2] == b"* " else None
            if reply is None or not _add(known, reply, line, start):
                return None
            size, whole = reply.literal, reply.whole_body
        known.lines += 1
        if size < 0:
            reply = None
        else:
            known.whole.append(whole)
            known.touched = True
        start += len(line) + 2
    if reply is not None:
        return None
    known.special = bool(known.exists or known.byes or known.software or known.learned)
    if len(text) <= MEMO_BYTES:
        key = text.translate(ZEROS)
        known.exact = known.exact or b"RFC000" in key.upper()  # RFC822 is a word of FETCH, RFC823 is none
        memo = ALIKE
        if known.exact:
            memo, key = EXACT, text
        if len(memo) >= MEMO_ENTRIES:
            memo.clear()
        memo[key] = known
    return known


def _add(known: Data, reply: Reply, line: bytes, start: int) -> bool:
    """Adds what one response says; False where it is not plain."""
    kind = reply.kind
    if kind == replies.UNKNOWN or reply.opaque is not None:
        return False
    known.untagged += 1
    if not reply.legal & N:
        known.illegal = True
    if kind == replies.FETCH:
        known.fetched += 1
        known.touched = True
    elif kind == replies.EXISTS:
        number = UNTAGGED.match(line)
        if number is None:
            return False
        known.exists = start + number.start(1), start + min(number.end(1), number.start(1) + _SIZE_DIGITS)
    elif kind == replies.EXPUNGE:
        known.expunged += 1
        known.touched = True
    elif kind == replies.SEARCH:
        known.found = max(known.found, 0) + reply.count
        known.touched = True
        known.exact = known.exact or reply.word == b"ESEARCH"
    elif kind == replies.BYE:
        known.byes += 1
    elif kind == replies.ID and reply.software:
        known.software = reply.software
        known.exact = True
    if reply.capabilities is not None:
        known.learned = Capabilities(reply.capabilities)
        known.starttls = known.starttls or known.learned.starttls
        known.exact = True
    return True
