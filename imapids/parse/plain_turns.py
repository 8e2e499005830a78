"""What the texts of a plain IMAP dialogue say: greetings, command lines, runs of responses; read once, remembered.

All of it is read by the functions of the machine; here it is only added up for a whole turn. Nothing here depends on a
dialogue, so that equal texts of all dialogues share one record. Memos are bounded by entries and by bytes of a key.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from imapids.config import DialogueLimits
from imapids.parse import imap_replies as replies
from imapids.parse.imap_client import arguments_of
from imapids.parse.imap_commands import ID, LOGIN, LOGOUT, PLAIN, REDACTED, SELECT, Shape, read_command
from imapids.parse.imap_events import set_size
from imapids.parse.imap_replies import TAGGED_MEMO, Reply, form_of, read_tagged, read_untagged
from imapids.protocols.imap_commands import NEXT_STATE, STATE_NAMES, N, State
from imapids.protocols.imap_grammar import AFTER_LITERAL, GREETING, TAG, UNTAGGED
from imapids.protocols.imap_responses import CLEARTEXT_BAN
from imapids.protocols.imap_software import server_software
from imapids.protocols.text import safe_text
from imapids.records.events import Command, Message

_PLAIN_CODES = frozenset((PLAIN, ID, LOGOUT, SELECT))
"""Kinds of commands that are one line, whose answer changes nothing about how bytes are read (and LOGIN, if simple)."""
LINE_BYTES = 1_024
"""Longer commands are the machine's: real ones that are plain are far shorter."""
_SIZE_DIGITS = 9
ZEROS = bytes.maketrans(b"123456789", b"000000000")
TAG_CHARS = bytes(code for code in range(256) if TAG.match(bytes((code,))))
"""What a tag is made of (RFC 9051 section 9)."""

# A login without anything that the machine has more to say about: no escapes, no literal, no 8-bit byte, and none of
# the signs of a trait (imap_commands.traits_of): `%`, `..`, `(`.
_CHARS = rb"!#$&'*+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|~"
_WORD = rb'(?:"([ ' + _CHARS + rb']*+)"|([' + _CHARS + rb"]++))"
LOGIN_LINE = re.compile(rb"(?!.*\.\.)[Ll][Oo][Gg][Ii][Nn] " + _WORD + rb" " + _WORD + rb"\r\n\Z")
_LITERAL = re.compile(rb"\{([0-9]{1,9})\}\r\n")
# A run of FETCH responses without literals: what mail clients ask for most, with other numbers in each line.
_FETCHES = re.compile(rb"(?:\* [0-9]{1,10}+ FETCH [^\r\n]{1,1000}+(?<!\})\r\n)++\Z")


class Order:
    """What one command line says, its tag left out; shared by all lines that are equal (those of LOGIN, and those of
    FETCH that differ in numbers, share one)."""

    __slots__ = ("action", "arguments", "arguments_at", "code", "criteria", "flags", "longest", "mailbox", "name",
                 "next_no", "next_ok", "numbers", "size", "software", "special", "states")

    def __init__(self, shape: Shape, states: int, action: str, argument: int) -> None:
        self.name, self.states, self.action, self.size = shape.name, states, action, shape.size
        self.code = shape.code
        self.arguments, self.longest, self.criteria, self.flags = (
            shape.arguments, shape.longest, shape.criteria, shape.flags)
        self.mailbox = shape.mailbox if argument >= 0 else None
        """The mailbox that it names; None: it is about the one that is open."""
        self.next_ok, self.next_no = NEXT_STATE.get((shape.name, "ok"), 0), NEXT_STATE.get((shape.name, "no"), 0)
        self.software = ""
        """Client software that an ID names."""
        self.arguments_at = 0
        """Where the arguments stand in the line, if they are all in which lines differ that share this; else 0."""
        self.special = self.code in (SELECT, LOGIN, ID) or bool(action)
        """Its completion says more than that it was one."""
        self.numbers = False
        """Its answers hold numbers that differ from one to the other: they are looked up without them."""


LOGIN_ORDER = Order(Shape("LOGIN", None, 0), N, "", -1)
LOGIN_ORDER.arguments = REDACTED


class Capabilities:
    """What matters of a list of capabilities; shared by all that hear it."""

    __slots__ = ("logindisabled", "starttls", "words")

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.logindisabled = CLEARTEXT_BAN.decode() in words
        self.starttls = "STARTTLS" in words


NO_CAPABILITIES = Capabilities([])


class Answer:
    """What a completion says, its tag left out; shared by all that are equal."""

    __slots__ = ("alike", "code", "code_text", "learned", "result")

    def __init__(self, reply: Reply) -> None:
        self.alike = False
        """It is the same with other numbers."""
        self.result = reply.result
        self.code = reply.code
        self.code_text = reply.code_text
        self.learned = None if reply.capabilities is None else Capabilities(reply.capabilities)


class Greeting:
    """What one greeting line says; shared by all that are equal."""

    __slots__ = ("learned", "software", "text")

    def __init__(self, text: str, software: str, capabilities: list[str] | None) -> None:
        self.text = text
        self.software = software
        self.learned = None if capabilities is None else Capabilities(capabilities)


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


class Turn:
    """A command and its whole answer, sent in one state; shared by all turns that are alike."""

    __slots__ = ("answer", "command", "literals", "message", "more", "ok", "order", "select", "state", "told",
                 "untagged")

    def __init__(self, order: Order, told: Data, answer: Answer, state: int) -> None:
        self.order, self.told, self.answer = order, told, answer
        self.literals = len(told.whole)
        """How many the responses hold."""
        self.untagged = told.untagged
        self.ok = int(answer.result == "ok")
        self.state = _LOGOUT_STATE if told.byes else state
        """After it."""
        if answer.result != "bad":
            self.state = (order.next_ok if self.ok else order.next_no) or self.state
        self.command = Command(
            tag="", name=order.name, result=answer.result, state=STATE_NAMES[state], code=answer.code,
            arguments=order.arguments, longest_argument=order.longest)
        """Its event; tag, length, duration and direction are to be added."""
        self.message = _message(order, answer) if order.action else None
        """The same of mailbox use; mailbox, direction, and what the responses say are to be added."""
        self.select = order.code == SELECT
        self.more = bool(order.special or told.touched or told.special or answer.learned)
        """More follows from it than counts."""


def _message(order: Order, answer: Answer) -> Message:
    message = Message(action=order.action, result=answer.result)
    if order.action == "search":
        message.criteria = order.criteria
    elif order.action == "store":
        message.flags = order.flags
    elif order.action in ("copy", "move") and answer.code == "COPYUID":
        message.count = set_size(answer.code_text)
    return message


NOTHING = Data()
"""What a completion says that no response stands before."""

_LOGOUT_STATE = int(State.LOGOUT)
_MEMO_ENTRIES = 4_096
_MEMO_BYTES = 1_024
_GREETINGS: dict[bytes, Greeting] = {}
ORDERS: dict[bytes, Order] = {}
"""By the line after its tag, with its end."""
ORDERS_ALIKE: dict[bytes, Order] = {}
"""The same with every digit as a zero, for FETCH: each message has another number, and nothing follows from it."""
ANSWERS: dict[bytes, Answer] = {}
"""By the completion after its tag and a space, with its end."""
ANSWERS_ALIKE: dict[bytes, Answer] = {}
"""The same with every digit as a zero: where numbers do not matter, as the times at the end of Dovecot's."""
TURNS: dict[tuple[Order, Data, Answer, int], Turn] = {}
"""By what the command says, the responses, the completion, and the state in which it was sent."""
WHOLE_TURNS: dict[tuple[Order, int, bytes, bytes], Turn] = {}
"""The same by their texts: command, state, responses without their literals, completion; without numbers, where the
command says so. One look-up for a whole turn."""
EXACT: dict[bytes, Data] = {}
"""By the text of the responses, literals left out: where numbers matter."""
ALIKE: dict[bytes, Data] = {}
"""The same with every digit as a zero: where numbers do not matter but by their place."""


def read_greeting(data: bytes, limits: DialogueLimits) -> Greeting | None:
    """RFC 9051 7.1.1: `* OK`, alone in its chunk; None for anything else."""
    greeting = _GREETINGS.get(data)
    if greeting is None:
        line = data[:-2]
        match = GREETING.match(line) if data[-2:] == b"\r\n" else None
        if match is None or match[1].upper() != b"OK" or b"\n" in line or len(line) > limits.line_bytes:
            return None
        reply = read_untagged(line, limits)
        greeting = Greeting(safe_text(line, limits.text_bytes), server_software(line),
                            reply.capabilities if reply is not None else None)
        if len(data) <= _MEMO_BYTES:
            if len(_GREETINGS) >= _MEMO_ENTRIES:
                _GREETINGS.clear()
            _GREETINGS[data] = greeting
    return greeting


def read_order(rest: bytes, limits: DialogueLimits) -> Order | None:
    """What a command line says that nobody remembers (`rest`: after its tag, with its end); None: not plain."""
    if rest[-2:] != b"\r\n" or len(rest) > LINE_BYTES or rest.find(b"\n") != len(rest) - 1:
        return None
    line = rest[:-2]
    shape = read_command(line, limits)
    if shape is None or shape.code not in _PLAIN_CODES or shape.literal >= 0 or shape.traits or shape.opaque:
        return None
    spec = shape.spec
    if spec is None or spec.action == "append":  # a message in one line is none
        return None
    order = Order(shape, spec.states, spec.action, spec.mailbox)
    if shape.code == ID:
        order.software = replies.id_name(arguments_of(b"x " + line))
    if len(rest) <= _MEMO_BYTES:
        memo, key = ORDERS, rest
        at = len(line) - len(order.arguments)
        if order.action == "fetch" and line[at:] == order.arguments.encode():  # neither cut nor escaped
            order.arguments_at = at
            memo, key = ORDERS_ALIKE, rest.translate(ZEROS)
        if len(memo) >= _MEMO_ENTRIES:
            memo.clear()
        memo[key] = order
    return order


def read_turn(order: Order, told: Data, answer: Answer, state: int, text: bytes, words: bytes) -> Turn:
    """What such a turn says.

    Args:
        state: in which the command was sent.
        text: the responses without their literals; `words`: the completion behind its tag.
    """
    if len(text) + len(words) > _MEMO_BYTES:
        return Turn(order, told, answer, state)
    turn = TURNS.get((order, told, answer, state))
    if turn is None:
        turn = Turn(order, told, answer, state)
        if len(TURNS) >= _MEMO_ENTRIES:
            TURNS.clear()
        TURNS[order, told, answer, state] = turn
    if not told.exact and (answer.alike or words == words.translate(ZEROS)):
        forms = text.translate(ZEROS), words.translate(ZEROS)
        order.numbers = order.numbers or forms != (text, words)
        text, words = forms
    if len(WHOLE_TURNS) >= _MEMO_ENTRIES:
        WHOLE_TURNS.clear()
    WHOLE_TURNS[order, state, text, words] = turn
    return turn


def read_answer(words: bytes) -> Answer | None:
    """What a completion says that nobody remembers (`words`: after its tag, with its end); None: not plain."""
    if words[-2:] != b"\r\n":
        return None
    line = words[:-2]
    reply = read_tagged(line)
    if reply is None or reply.opaque is not None:
        return None
    answer = Answer(reply)
    memo, key = ANSWERS, words
    if line not in TAGGED_MEMO:
        if form_of(line) not in TAGGED_MEMO:  # too long to be remembered
            return answer
        answer.alike = True
        memo, key = ANSWERS_ALIKE, words.translate(ZEROS)
    if len(memo) >= _MEMO_ENTRIES:
        memo.clear()
    memo[key] = answer
    return answer


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
    if _FETCHES.match(text) and len(text) > _MEMO_BYTES:
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
    if len(text) <= _MEMO_BYTES:
        key = text.translate(ZEROS)
        known.exact = known.exact or b"RFC000" in key.upper()  # RFC822 is a word of FETCH, RFC823 is none
        memo = ALIKE
        if known.exact:
            memo, key = EXACT, text
        if len(memo) >= _MEMO_ENTRIES:
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
