"""The fast path of IMAP: reads whole turns of plain dialogues with a few look-ups each, and tells their events.

Three ways lead to the same events, and each leaves to the next what it does not know:

1. `_read_known`: a command and its answer, the texts of which were read before, from any dialogue. Compiled where the
   kernels are (kernels.events.Turns), the greeting too.
2. `_read_piece`: any other plain chunk; its texts are read by the functions of the machine, and remembered for 1.
3. `ImapDialogue`, the machine: everything. It is the truth; what 1 and 2 tell is what it tells of the same bytes,
   field by field (see parse/plain.py).

The first is seven times as fast as the last (compiled, it takes a third of that again), and programs say the same
things thousands of times.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec.structs import replace

from imapids import kernels
from imapids.config import DialogueLimits
from imapids.parse.imap import HashSecret, ImapDialogue
from imapids.parse.imap_events import MAIL_HEADER
from imapids.parse.imap_login import login_form
from imapids.parse.imap_server import BODY_BYTES, DONE_TAGS
from imapids.parse.plain import PlainDialogue, first_bytes_of, machine_of, remembered_tags
from imapids.parse.plain_data import (
    ALIKE,
    EXACT,
    MEMO_BYTES,
    NO_LITERALS,
    NOTHING,
    ZEROS,
    Capabilities,
    Data,
    Literals,
    read_responses,
    without_literals,
)
from imapids.parse.plain_facts import USUAL_HEADERS, LoginWords, count_up, counted, hear, login_words
from imapids.parse.plain_turns import (
    ANSWERS,
    ANSWERS_ALIKE,
    GREETINGS,
    LINE_BYTES,
    LOGIN_CHARS,
    LOGIN_LINE,
    LOGIN_ORDER,
    ORDERS,
    ORDERS_ALIKE,
    TAG_CHARS,
    WHOLE_TURNS,
    Answer,
    Greeting,
    Order,
    Turn,
    read_answer,
    read_greeting,
    read_order,
    read_turn,
)
from imapids.protocols.imap_commands import N, State
from imapids.protocols.secrets import SecretHasher
from imapids.protocols.text import safe_text
from imapids.records.events import Command, Event, Login, Message
from imapids.records.streams import SERVER, Flow, Piece, StreamChunk

_TAG_BYTES = 63
_TAGS_KEPT = 4 * DONE_TAGS
"""Tags of completed commands are counted off now and then, not one by one."""
_BRACE = ord("}")
_LOGOUT_STATE = int(State.LOGOUT)


class PlainReader:
    """Reads the plain dialogues of a run."""

    def __init__(self, limits: DialogueLimits, *, hash_secret: HashSecret | None = None,
                 kinds: frozenset[str] | None = None, keep: int = 0) -> None:
        """
        Args:
            hash_secret: (user, secret) -> (keyed hash, traits); without it secrets leave no trace at all.
            kinds: event types that somebody wants; None: all.
            keep: first bytes of each side that are to be kept, for others to look at.
        """
        self._limits = limits
        self._hash = hash_secret
        self._want_commands = kinds is None or "command" in kinds
        self._want_logins = kinds is None or "login" in kinds
        self._want_messages = kinds is None or "message" in kinds
        self._keep = keep
        self._turns: kernels.events.Turns | None = None
        """The compiled loop over what was read before, made when it is used first."""

    def begin(self, flow: Flow | None) -> PlainDialogue:
        """The dialogue of a new flow."""
        return PlainDialogue(flow, "unknown" if flow is None else flow.direction)

    def machine(self, plain: PlainDialogue) -> ImapDialogue:
        """The machine that reads on where `read` stopped."""
        return machine_of(plain, self._limits, self._hash)

    def read(self, plain: PlainDialogue, pieces: list[Piece], events: list[Event], known: list[int]) -> int:
        """Reads the pieces of both sides in order as long as they are plain; the next is for `machine`, or an end.

        Args:
            events: gets what was told, and `known` for each event the frame number of the packet that showed it.

        Returns:
            How many pieces were read.
        """
        if self._limits.line_bytes < 2 * LINE_BYTES:
            return 0
        turns = (self._turns or self._compiled()) if kernels.COMPILED else None
        count, end = 0, len(pieces)
        while count < end:
            if turns is not None:
                count = turns.read(plain, pieces, count, events, known)
            elif plain.waiting is None and plain.greeting is not None:
                count = self._read_known(plain, pieces, count, events, known)
            if count == end or not self._read_piece(plain, pieces[count], events, known):
                break
            count += 1
        if count and turns is not None:
            turns.settle(plain, pieces, count)
        elif count:
            self._settle(plain, pieces, count)
        return count

    def turns(self) -> kernels.events.Turns | None:
        """The compiled loop over what was read before; None where nothing is read here."""
        return None if self._limits.line_bytes < 2 * LINE_BYTES else self._turns or self._compiled()

    def _compiled(self) -> kernels.events.Turns:
        """The compiled loop, on the same memory of turns."""
        self._turns = kernels.events.Turns(
            classes=(StreamChunk, Event, Command, Message, PlainDialogue, Turn, Order, Data, Answer, Greeting,
                     Capabilities),
            greetings=GREETINGS, orders=ORDERS, orders_alike=ORDERS_ALIKE, whole_turns=WHOLE_TURNS,
            login_order=LOGIN_ORDER, login=Login(mechanism="login", outcome=""), tag_chars=TAG_CHARS,
            login_chars=LOGIN_CHARS, login_form=login_form, hash_secret=self._hash,
            keyed=self._hash.compiled() if isinstance(self._hash, SecretHasher) else None, safe_text=safe_text,
            mail_header=MAIL_HEADER.match, remembered_tags=remembered_tags, usual_headers=USUAL_HEADERS,
            text_bytes=self._limits.text_bytes, body_bytes=BODY_BYTES, memo_bytes=MEMO_BYTES, keep=self._keep,
            most_tags=_TAGS_KEPT, want_commands=self._want_commands, want_logins=self._want_logins,
            want_messages=self._want_messages)
        return self._turns

    def _settle(self, plain: PlainDialogue, pieces: Sequence[Piece], count: int) -> None:
        """Notes how far both sides were read, and keeps their first bytes for who wants them."""
        client, server, keep = plain.bytes_client, plain.bytes_server, self._keep
        asked, heard = plain.asked, plain.heard
        if asked is not None:
            plain.bytes_client = asked.offset + len(asked.data)
        if heard is not None:
            plain.bytes_server = heard.offset + len(heard.data)
            plain.heard = None
        if client < keep or server < keep:
            first = first_bytes_of(pieces[:count], keep - client, keep - server)
            if plain.kept is None:
                plain.kept = [first]
            else:
                plain.kept.append(first)
        if len(plain.done) > _TAGS_KEPT:
            plain.done = list(remembered_tags(plain.done))

    # ---- whole turns that were read before ----------------------------------------------------------------------

    def _read_known(self, plain: PlainDialogue, pieces: Sequence[Piece], count: int, events: list[Event],
                    known: list[int]) -> int:
        """Reads whole turns, a command and its answer, as long as equal ones were read before; how far it came.

        What it does not know is left to `_read_piece`, which remembers it: this is nothing but the shorter way.
        """
        last = len(pieces) - 1
        while count < last:
            asked, heard = pieces[count], pieces[count + 1]
            if type(asked) is not StreamChunk or type(heard) is not StreamChunk or asked.side or not heard.side:
                break
            tag, _, rest = asked.data.partition(b" ")
            order, login = ORDERS.get(rest) or ORDERS_ALIKE.get(rest.translate(ZEROS)), None
            if order is None:
                login = LOGIN_LINE.match(rest)
                if login is None:
                    break
                order = LOGIN_ORDER
            head, mark, words = heard.data.rpartition(tag + b" ")
            text, literals = head, NO_LITERALS
            if _BRACE in head:
                text, literals = without_literals(head)
            if order.numbers:
                turn = WHOLE_TURNS.get((order, plain.state, text.translate(ZEROS), words.translate(ZEROS)))
            else:
                turn = WHOLE_TURNS.get((order, plain.state, text, words))
            if turn is None or turn.literals != len(literals) or not mark or not (
                    (tag.isalnum() and len(tag) <= _TAG_BYTES) or _is_tag(tag)):
                break
            plain.asked, plain.heard = asked, heard
            self._complete(plain, turn, tag, login, asked, heard, text, literals, len(head), events, known)
            count += 2
        return count

    # ---- anything else that is plain ----------------------------------------------------------------------------

    def _read_piece(self, plain: PlainDialogue, piece: Piece, events: list[Event], known: list[int]) -> bool:
        """Reads one chunk; false where it is not plain, and nothing was changed."""
        if type(piece) is not StreamChunk:
            return False
        if piece.side == SERVER:
            if plain.greeting is None:
                return self._greeted(plain, piece)
            return self._answered(plain, piece, events, known)
        return plain.greeting is not None and plain.waiting is None and self._asked(plain, piece)

    def _greeted(self, plain: PlainDialogue, piece: StreamChunk) -> bool:
        """Reads the server's first line."""
        greeting = read_greeting(piece.data, self._limits)
        if greeting is None:
            return False
        plain.heard = piece
        plain.greeting = greeting
        plain.greeting_packet = piece.packet
        plain.software = greeting.software
        if greeting.learned is not None:
            plain.learn(greeting.learned)
        return True

    def _asked(self, plain: PlainDialogue, piece: StreamChunk) -> bool:
        """Reads a command."""
        tag, _, rest = piece.data.partition(b" ")
        login = None
        order = ORDERS.get(rest) or ORDERS_ALIKE.get(rest.translate(ZEROS))
        if order is None:
            login = LOGIN_LINE.match(rest)
            order = read_order(rest, self._limits) if login is None else LOGIN_ORDER
        if order is None or not order.states & plain.state or not _is_tag(tag):
            return False
        if order.software and not plain.client_software:
            plain.client_software = order.software
        if not plain.first_packet_client:
            plain.first_packet_client = piece.packet
        plain.waiting, plain.asked, plain.asked_state, plain.tag, plain.login = order, piece, plain.state, tag, login
        return True

    def _answered(self, plain: PlainDialogue, piece: StreamChunk, events: list[Event], known: list[int]) -> bool:
        """Reads untagged responses, whole, and the completion of the command that waits, if it ends the chunk."""
        order, asked, state, tag = plain.waiting, plain.asked, plain.state, plain.tag
        head, words, answer = piece.data, None, None
        if order is not None:
            head, words = _last_line(head, tag)
            if words is not None:
                answer = ANSWERS.get(words) or ANSWERS_ALIKE.get(words.translate(ZEROS)) or read_answer(words)
                if answer is None or state != plain.asked_state:
                    return False
        text, literals = without_literals(head)
        told = NOTHING if not head else (
            ALIKE.get(text.translate(ZEROS)) or EXACT.get(text) or read_responses(text, self._limits))
        if told is None or len(told.whole) != len(literals) or (told.illegal and state == N):
            return False
        plain.heard = piece
        if answer is not None and order is not None and asked is not None and words is not None:
            plain.waiting = None
            turn = read_turn(order, told, answer, state, text, words)
            self._complete(plain, turn, tag, plain.login, asked, piece, text, literals, len(head), events, known)
            return True
        plain.untagged += told.untagged
        if told.byes:
            plain.state = _LOGOUT_STATE
        hear(plain, told, text, asked is not None)
        if told.touched:
            count_up(plain, told, literals, piece.data)
        return True

    # ---- what a completion says ---------------------------------------------------------------------------------

    def _complete(self, plain: PlainDialogue, turn: Turn, tag: bytes, login: re.Match[bytes] | None,
                  asked: StreamChunk, heard: StreamChunk, text: bytes, literals: Literals, at: int,
                  events: list[Event], known: list[int]) -> None:
        """A command is over: its events, and what they change.

        Args:
            text, literals: the responses before the completion; it stands at `at` in the chunk `heard`.
        """
        packet = known_packet = heard.packet
        time_ns = heard.time_ns
        if heard.packets is not None:
            packet, time_ns = heard.locate(at)
            known_packet = heard.packets[-1]
        if not plain.completed:
            plain.first_packet_client = asked.packet
            plain.completed_packet, plain.completed_offset = packet, heard.offset + at
        plain.completed += 1
        plain.completed_ok += turn.ok
        plain.untagged += turn.untagged
        plain.state = turn.state
        plain.done.append(tag)
        asked_ns, packet, flow = asked.time_ns, asked.packet, plain.flow
        word, order = tag.decode(), turn.order
        words = None if login is None else login_words(login)
        if self._want_commands:
            command = replace(
                turn.command, tag=word, line_bytes=len(asked.data) - 2, direction=plain.direction,
                longest_argument=order.longest if words is None else words.longest,
                duration_us=(time_ns - asked_ns) // 1000 if time_ns > asked_ns else 0,
            )
            if order.arguments_at:
                command.arguments = asked.data[len(tag) + 1 + order.arguments_at:-2].decode()
            events.append(Event("command", asked_ns, command, flow, packet, asked_ns))
            known.append(known_packet)
        if not turn.more and plain.tally is None:
            return
        told, answer = turn.told, turn.answer
        if order.software and not plain.client_software:
            plain.client_software = order.software
        if told.special:
            hear(plain, told, text, True)
        if told.touched:
            count_up(plain, told, literals, heard.data)
        body: Login | Message | None = None
        if words is not None:
            body = self._login(plain, words, word, answer)
        elif turn.message is not None or plain.tally is not None:
            body = self._message(plain, turn)
        if body is not None:
            events.append(Event("message" if words is None else "login", asked_ns, body, flow, packet, asked_ns))
            known.append(known_packet)
        if answer.learned is not None:
            plain.learn(answer.learned)

    def _message(self, plain: PlainDialogue, turn: Turn) -> Message | None:
        """The event of mailbox use, if the command is one and it is wanted; and what the command changes."""
        message, tally, order = None, plain.tally, turn.order
        if turn.message is not None and self._want_messages:
            direction, mailbox = plain.direction, plain.mailbox if order.mailbox is None else order.mailbox
            if turn.select:
                message = replace(turn.message, direction=direction, mailbox=mailbox, count=max(plain.exists, 0))
            elif tally is None:
                message = replace(turn.message, direction=direction, mailbox=mailbox)
            else:
                message = counted(turn.message, tally, direction, mailbox)
        if turn.select:
            plain.mailbox = order.mailbox or "" if turn.ok else ""
            plain.selected += turn.ok
            plain.exists = -1
        plain.tally = None
        return message

    def _login(self, plain: PlainDialogue, words: LoginWords, tag: str, answer: Answer) -> Login | None:
        """The `login` event of a LOGIN that was completed."""
        plain.tally = None
        plain.logins += 1
        if answer.result != "ok":
            plain.logins_failed += 1
        if not self._want_logins:
            return None
        hashed = ""
        traits: list[str] = []
        if self._hash is not None:
            hashed, traits = self._hash(words.user, words.secret)
        return Login(
            mechanism="login", outcome="success" if answer.result == "ok" else "failure",
            user=safe_text(words.user, self._limits.text_bytes), code=answer.code, tag=tag, secret_hash=hashed,
            secret_traits=traits, attempt=plain.logins, starttls_offered=plain.learned.starttls,
            logindisabled=plain.learned.logindisabled, form=words.form, client_software=plain.client_software,
            direction=plain.direction)


def _is_tag(word: bytes) -> bool:
    return 0 < len(word) <= _TAG_BYTES and not word.translate(None, TAG_CHARS)


def _last_line(data: bytes, tag: bytes) -> tuple[bytes, bytes | None]:
    """What stands before the last line, and what that line says behind its tag; None where it has another one."""
    start = data.rfind(b"\n", 0, -1) + 1
    mark = tag + b" "
    return (data[:start], data[start + len(mark):]) if data.startswith(mark, start) else (data, None)
