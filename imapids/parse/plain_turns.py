"""What the texts of a plain IMAP dialogue say: greetings, commands, completions, turns; read once, remembered.

All of it is read by the functions of the machine; here it is only added up for a whole turn. Nothing here depends on a
dialogue, so that equal texts of all dialogues share one record. Memos are bounded by entries and by bytes of a key.
"""

from __future__ import annotations

import re

from imapids.config import DialogueLimits
from imapids.parse.imap_client import arguments_of
from imapids.parse.imap_commands import ID, LOGIN, LOGOUT, PLAIN, REDACTED, SELECT, Shape, read_command
from imapids.parse.imap_events import set_size
from imapids.parse.imap_replies import TAGGED_MEMO, Reply, form_of, id_name, read_tagged, read_untagged
from imapids.parse.plain_data import MEMO_BYTES, MEMO_ENTRIES, ZEROS, Capabilities, Data
from imapids.protocols.imap_commands import NEXT_STATE, STATE_NAMES, N, State
from imapids.protocols.imap_grammar import GREETING, TAG
from imapids.protocols.imap_software import server_software
from imapids.protocols.late_patterns import late_pattern
from imapids.protocols.text import safe_text
from imapids.records.events import Command, Message

_PLAIN_CODES = frozenset((PLAIN, ID, LOGOUT, SELECT))
"""Kinds of commands that are one line, whose answer changes nothing about how bytes are read (and LOGIN, if simple)."""
LINE_BYTES = 1_024
"""Longer commands are the machine's: real ones that are plain are far shorter."""
TAG_CHARS = bytes(code for code in range(256) if TAG.match(bytes((code,))))
"""What a tag is made of (RFC 9051 section 9)."""

# A login without anything that the machine has more to say about: no escapes, no literal, no 8-bit byte, and none of
# the signs of a trait (imap_commands.traits_of): `%`, `..`, `(`.
_CHARS = rb"!#$&'*+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|~"
_WORD = rb'(?:"([ ' + _CHARS + rb']*+)"|([' + _CHARS + rb"]++))"
LOGIN_LINE = late_pattern(rb"(?!.*\.\.)[Ll][Oo][Gg][Ii][Nn] " + _WORD + rb" " + _WORD + rb"\r\n\Z")
LOGIN_CHARS = b"".join(re.findall(rb"[" + _CHARS + rb"]", bytes(range(256))))
"""What its words are made of; blanks too, where they are quoted."""


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


_LOGOUT_STATE = int(State.LOGOUT)
GREETINGS: dict[bytes, Greeting] = {}
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
def read_greeting(data: bytes, limits: DialogueLimits) -> Greeting | None:
    """RFC 9051 7.1.1: `* OK`, alone in its chunk; None for anything else."""
    greeting = GREETINGS.get(data)
    if greeting is None:
        line = data[:-2]
        match = GREETING.match(line) if data[-2:] == b"\r\n" else None
        if match is None or match[1].upper() != b"OK" or b"\n" in line or len(line) > limits.line_bytes:
            return None
        reply = read_untagged(line, limits)
        greeting = Greeting(safe_text(line, limits.text_bytes), server_software(line),
                            reply.capabilities if reply is not None else None)
        if len(data) <= MEMO_BYTES:
            if len(GREETINGS) >= MEMO_ENTRIES:
                GREETINGS.clear()
            GREETINGS[data] = greeting
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
        order.software = id_name(arguments_of(b"x " + line))
    if len(rest) <= MEMO_BYTES:
        memo, key = ORDERS, rest
        at = len(line) - len(order.arguments)
        if order.action == "fetch" and line[at:] == order.arguments.encode():  # neither cut nor escaped
            order.arguments_at = at
            memo, key = ORDERS_ALIKE, rest.translate(ZEROS)
        if len(memo) >= MEMO_ENTRIES:
            memo.clear()
        memo[key] = order
    return order


def read_turn(order: Order, told: Data, answer: Answer, state: int, text: bytes, words: bytes) -> Turn:
    """What such a turn says.

    Args:
        state: in which the command was sent.
        text: the responses without their literals; `words`: the completion behind its tag.
    """
    if len(text) + len(words) > MEMO_BYTES:
        return Turn(order, told, answer, state)
    turn = TURNS.get((order, told, answer, state))
    if turn is None:
        turn = Turn(order, told, answer, state)
        if len(TURNS) >= MEMO_ENTRIES:
            TURNS.clear()
        TURNS[order, told, answer, state] = turn
    if not told.exact and (answer.alike or words == words.translate(ZEROS)):
        forms = text.translate(ZEROS), words.translate(ZEROS)
        order.numbers = order.numbers or forms != (text, words)
        text, words = forms
    if len(WHOLE_TURNS) >= MEMO_ENTRIES:
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
    if len(memo) >= MEMO_ENTRIES:
        memo.clear()
    memo[key] = answer
    return answer
