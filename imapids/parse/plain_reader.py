"""The fast path of IMAP: reads whole turns of plain dialogues with a few look-ups each, and tells their events.

What it tells is what `ImapDialogue` tells of the same bytes, field by field (see parse/plain.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec.structs import replace

from imapids.config import DialogueLimits
from imapids.parse.imap import HashSecret, ImapDialogue
from imapids.parse.imap_client import arguments_of
from imapids.parse.imap_commands import ID, SELECT
from imapids.parse.imap_events import MAIL_HEADER
from imapids.parse.imap_login import login_form
from imapids.parse.imap_replies import id_name
from imapids.parse.imap_server import BODY_BYTES
from imapids.parse.plain import PlainDialogue, machine_of
from imapids.parse.plain_turns import (
    ALIKE,
    ANSWERS,
    EXACT,
    LINE_BYTES,
    LOGIN_LINE,
    LOGIN_ORDER,
    NO_LITERALS,
    NOTHING,
    ORDERS,
    TAG_CHARS,
    TURNS,
    ZEROS,
    Answer,
    Data,
    Literals,
    Order,
    Turn,
    read_answer,
    read_greeting,
    read_order,
    read_responses,
    read_turn,
    without_literals,
)
from imapids.protocols.imap_commands import N, State
from imapids.protocols.text import safe_text
from imapids.records.events import Event, Login, Message
from imapids.records.streams import CLIENT, Flow, Piece, StreamChunk

_TAG_BYTES = 63
_DONE_TAGS = 64  # as many as the machine remembers (imap_server)
_LOGOUT_STATE = int(State.LOGOUT)
_USUAL_HEADERS = (b"Return-Path:", b"Received:", b"Delivered-To:", b"From:", b"Date:", b"Message-ID:", b"MIME-Version:")
"""What most messages begin with: one comparison instead of a pattern."""


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

    def begin(self, flow: Flow | None) -> PlainDialogue:
        """The dialogue of a new flow."""
        return PlainDialogue(flow, "unknown" if flow is None else flow.direction)

    def machine(self, plain: PlainDialogue) -> ImapDialogue:
        """The machine that reads on where `read` stopped."""
        return machine_of(plain, self._limits, self._hash)

    def read(self, plain: PlainDialogue, pieces: Sequence[Piece], events: list[Event],  # noqa: C901
             known: list[int]) -> int:
        """Reads the pieces of both sides in order as long as they are plain; the next is for `machine`, or an end.

        One long function, because it reads every turn of nearly every dialogue: calls and attributes cost more than
        what is done here.

        Args:
            events: gets what was told, and `known` for each event the frame number of the packet that showed it.

        Returns:
            How many pieces were read.
        """
        limits, want_commands = self._limits, self._want_commands
        if limits.line_bytes < 2 * LINE_BYTES:
            return 0
        flow, direction, done = plain.flow, plain.direction, plain.done_tags
        order, state, greeted = plain.waiting, plain.state, plain.greeting is not None
        asked, asked_state, tag, login = plain.asked, plain.asked_state, plain.tag, plain.login
        completed, completed_ok, untagged = plain.completed, plain.completed_ok, plain.untagged
        told_last: StreamChunk | None = None
        count = 0
        for count, piece in enumerate(pieces):  # noqa: B007
            if type(piece) is not StreamChunk:
                break
            data = piece.data
            if piece.side == CLIENT:
                if order is not None or not greeted:
                    break
                tag, _, rest = data.partition(b" ")
                order, login = ORDERS.get(rest), None
                if order is None:
                    login = LOGIN_LINE.match(rest)
                    order = read_order(rest, limits) if login is None else LOGIN_ORDER
                    if order is None:
                        break
                if not order.states & state or len(tag) > _TAG_BYTES or not (
                        tag.isalnum() or (tag and not tag.translate(None, TAG_CHARS))):
                    order = None
                    break
                if order.code == ID and not plain.client_software:
                    plain.client_software = id_name(arguments_of(data[:-2]))
                if not completed:
                    plain.first_packet_client = piece.packet
                asked, asked_state = piece, state
                continue
            if not greeted:
                if not self._greeted(plain, piece):
                    break
                greeted = True
                told_last = piece
                continue
            # Untagged responses, whole, and the completion of the command that waits, if it ends the chunk.
            head, answer = data, None
            if order is not None:
                head, mark, words = data.rpartition(tag + b" ")
                answer = ANSWERS.get(words) if mark else None
                if answer is None:
                    head, line = _last_line(data, tag)
                    if line is not None:
                        answer = read_answer(line)
                        if answer is None:
                            break
            told: Data | None = NOTHING
            text, literals = head, NO_LITERALS
            if head:
                if b"}" in head:
                    parted = without_literals(head)
                    if parted is None:
                        break
                    text, literals = parted
                told = ALIKE.get(text.translate(ZEROS)) or EXACT.get(text) or read_responses(text, limits)
            if told is None or len(told.whole) != len(literals) or (told.illegal and state == N):
                break
            if answer is None or order is None or asked is None:
                untagged += told.untagged
                if told.byes:
                    state = _LOGOUT_STATE
                _hear(plain, told, text, literals, data, asked is not None)
                told_last = piece
                continue
            if state != asked_state:
                break
            turn = TURNS.get((order, told, answer, state)) or read_turn(order, told, answer, state)
            packet = known_packet = piece.packet
            time_ns = piece.time_ns
            if piece.packets is not None:
                packet, time_ns = piece.locate(len(head))
                known_packet = piece.packets[-1]
            if not completed:
                plain.completed_packet, plain.completed_offset = packet, piece.offset + len(head)
            untagged += turn.untagged
            completed += 1
            completed_ok += turn.ok
            state = turn.state
            done[tag] = None
            if completed > _DONE_TAGS and len(done) > _DONE_TAGS:
                del done[next(iter(done))]
            asked_ns = asked.time_ns
            if want_commands:
                size, longest = order.size, order.longest
                if login is not None:
                    size, longest = len(login.string) - 2, max(map(len, login.string[6:-2].split(b" ")))
                events.append(Event("command", asked_ns, replace(
                    turn.command, tag=tag.decode(), line_bytes=len(tag) + 1 + size, longest_argument=longest,
                    direction=direction, duration_us=(time_ns - asked_ns) // 1000 if time_ns > asked_ns else 0,
                ), flow, asked.packet, asked_ns))
                known.append(known_packet)
            if turn.special or plain.touched:
                if told.touched or told.special:
                    _hear(plain, told, text, literals, data, True)
                body: Login | Message | None
                if login is not None:
                    body = self._login(plain, login, tag, answer)
                else:
                    body = self._message(plain, order, turn)
                if body is not None:
                    kind = "message" if login is None else "login"
                    events.append(Event(kind, asked_ns, body, flow, asked.packet, asked_ns))
                    known.append(known_packet)
                if answer.learned is not None:
                    plain.learn(answer.learned)
            order = None
            told_last = piece
        else:
            count = len(pieces)
        size_client = 0 if asked is None else asked.offset + len(asked.data)
        size_server = plain.bytes_server if told_last is None else told_last.offset + len(told_last.data)
        keep = self._keep
        if count and (plain.bytes_client < keep or plain.bytes_server < keep):
            whole = size_client + size_server <= keep
            plain.kept.append(pieces[:count] if whole else _first_bytes(plain, pieces[:count], keep))
        plain.waiting, plain.state, plain.asked = order, state, asked
        if order is not None:
            plain.tag, plain.asked_state, plain.login = tag, asked_state, login
        plain.bytes_client, plain.bytes_server = size_client, size_server
        plain.completed, plain.completed_ok, plain.untagged = completed, completed_ok, untagged
        return count

    def _greeted(self, plain: PlainDialogue, piece: StreamChunk) -> bool:
        """Reads the server's first line; false where it is no plain greeting."""
        greeting = read_greeting(piece.data, self._limits)
        if greeting is None:
            return False
        plain.greeting = greeting
        plain.greeting_text = greeting.text
        plain.greeting_packet = piece.packet
        plain.software = greeting.software
        if greeting.capabilities is not None:
            plain.learn(greeting.capabilities)
        return True

    # ---- what a completion says beside that it is one -----------------------------------------------------------

    def _message(self, plain: PlainDialogue, order: Order, turn: Turn) -> Message | None:
        """The event of mailbox use, if the command is one and it is wanted; and what the command changes."""
        message = None
        if turn.message is not None and self._want_messages:
            message = replace(turn.message, direction=plain.direction,
                              mailbox=plain.mailbox if order.mailbox is None else order.mailbox)
            if plain.touched:
                _count(message, plain)
        if order.code == SELECT:
            if message is not None:
                message.count = max(plain.exists, 0)
            plain.mailbox = order.mailbox or "" if turn.ok else ""
            plain.selected += turn.ok
            plain.exists = -1
        if plain.touched:
            plain.touched = plain.opaque = False
            plain.fetched = plain.expunged = plain.bodies = plain.tally_bytes = 0
            plain.found = -1
        return message

    def _login(self, plain: PlainDialogue, login: re.Match[bytes], tag: bytes, answer: Answer) -> Login | None:
        """The `login` event of a LOGIN that was completed."""
        plain.logins += 1
        if answer.result != "ok":
            plain.logins_failed += 1
        if not self._want_logins:
            return None
        quoted_user, user, quoted_secret, secret = login.groups()
        user = user if quoted_user is None else quoted_user
        hashed = ""
        traits: list[str] = []
        if self._hash is not None:
            hashed, traits = self._hash(user, secret if quoted_secret is None else quoted_secret)
        return Login(
            mechanism="login", outcome="success" if answer.result == "ok" else "failure",
            user=safe_text(user, self._limits.text_bytes), code=answer.code, tag=tag.decode(), secret_hash=hashed,
            secret_traits=traits, attempt=plain.logins, starttls_offered=plain.offers,
            form=login_form(login.string[:5], (quoted_user is not None, quoted_secret is not None)),
            client_software=plain.client_software,
            logindisabled=plain.logindisabled, direction=plain.direction)


def _last_line(data: bytes, tag: bytes) -> tuple[bytes, bytes | None]:
    """What stands before the last line, and what that line says behind its tag; None where it has another one."""
    start = data.rfind(b"\n", 0, -1) + 1
    mark = tag + b" "
    return (data[:start], data[start + len(mark):]) if data.startswith(mark, start) else (data, None)


def _hear(plain: PlainDialogue, told: Data, text: bytes, literals: Literals, data: bytes, asked: bool) -> None:
    """Adds what responses say beside that they came.

    Args:
        text: the responses without their literals; `data`: with them.
        asked: the client spoke before.
    """
    if told.special:
        if told.exists is not None:
            plain.exists = int(text[told.exists[0]:told.exists[1]])
        if told.byes:
            plain.byes += told.byes
            plain.refusals += told.byes if asked else 0
        if told.software:
            plain.software = told.software
        for capabilities in told.capabilities:
            plain.learn(capabilities)
    if told.touched:
        plain.touched = True
        plain.more_lines += told.lines - told.untagged
        plain.fetched += told.fetched
        plain.expunged += told.expunged
        if told.found >= 0:
            plain.found = max(plain.found, 0) + told.found
        for whole, (start, size) in zip(told.whole, literals, strict=True):
            plain.tally_bytes += size
            plain.literal_bytes += size
            plain.literals += 1
            if whole:
                plain.bodies += 1
                end = start + min(size, BODY_BYTES)
                if size and not data.startswith(_USUAL_HEADERS, start, end) and not MAIL_HEADER.match(data, start, end):
                    plain.opaque = True


def _count(message: Message, plain: PlainDialogue) -> None:
    """Puts into an event what the responses before the completion add up to."""
    action = message.action
    if action == "fetch":
        message.count, message.bytes, message.bodies, message.opaque_body = (
            plain.fetched, plain.tally_bytes, plain.bodies, plain.opaque)
    elif action == "store":
        message.count = plain.fetched
    elif action == "search":
        message.count = max(plain.found, 0)
    elif action == "expunge":
        message.count = plain.expunged


def _first_bytes(plain: PlainDialogue, pieces: Sequence[Piece], keep: int) -> list[Piece]:
    """The parts of pieces that lie in the first `keep` bytes of their side."""
    room = [keep - plain.bytes_client, keep - plain.bytes_server]
    first: list[Piece] = []
    for piece in pieces:
        assert type(piece) is StreamChunk
        if room[piece.side] > 0:
            first.append(piece if len(piece.data) <= room[piece.side] else piece.head(room[piece.side]))
            room[piece.side] -= len(piece.data)
    return first
