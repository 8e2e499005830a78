"""The fast path of IMAP: reads whole turns of a plain dialogue, and hands anything else to the machine in mid-talk.

Nearly all real dialogues are a greeting, then one command at a time and its whole answer. `PlainDialogue` reads such a
turn with a few look-ups and tells what `ImapDialogue` tells of it, field by field. At the first chunk that is not so
(several commands at once, a line or literal that ends in a later chunk, AUTHENTICATE, IDLE, STARTTLS, anything odd) it
stops before that chunk, and `machine` gives an `ImapDialogue` in exactly the state that the same bytes bring it to:
nothing is read twice, and no byte is kept for it. tests/parse/test_plain.py compares the two attribute by attribute.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from imapids.config import DialogueLimits
from imapids.parse.imap import HashSecret, ImapDialogue
from imapids.parse.imap_client import arguments_of
from imapids.parse.imap_commands import ID, LOGIN, SELECT, read_command
from imapids.parse.imap_events import MAIL_HEADER, set_size
from imapids.parse.imap_pending import Pending
from imapids.parse.imap_replies import TAGGED_MEMO, Reply, id_name, read_tagged
from imapids.parse.imap_server import BODY_BYTES
from imapids.parse.plain_turns import (
    LINE_BYTES,
    LOGIN_LINE,
    LOGIN_ORDER,
    ORDERS,
    Capabilities,
    Data,
    Greeting,
    Order,
    read_data,
    read_greeting,
    read_order,
    told_capabilities,
)
from imapids.protocols.imap_commands import STATE_NAMES, N, State
from imapids.protocols.imap_grammar import TAG
from imapids.protocols.text import safe_text
from imapids.records.dialogue import ImapFacts
from imapids.records.events import Command, Event, Login, Message
from imapids.records.streams import CLIENT, SERVER, Flow, Piece, StreamChunk

_TAG_BYTES = 63
_DONE_TAGS = 64  # as many as the machine remembers (imap_server)
_LOGOUT_STATE = int(State.LOGOUT)

_Waiting = tuple[bytes, Order, int, int, int, "re.Match[bytes] | None"]
"""The command under way: tag, what it says, packet and time of its line, the state at that time, words of a login."""


class PlainDialogue:
    """One IMAP connection as long as it is plain. `read` the pieces of both sides in order; read `events`, `facts`."""

    __slots__ = (
        "_flow", "_hash", "_limits", "_want_commands", "_want_logins", "_want_messages", "bodies", "byes",
        "bytes_client", "bytes_server", "capabilities", "client_software", "commands", "completed",
        "completed_offset", "completed_ok", "completed_packet", "direction", "done_tags", "events", "exists",
        "expunged", "fetched", "first_packet_client", "found", "greeting", "keep", "kept", "known", "last_line",
        "lines_server", "literal_bytes", "literals", "logindisabled", "logins", "logins_failed", "mailbox", "offers",
        "opaque", "packet", "refusals", "selected", "software", "starttls", "state", "tally_bytes", "touched",
        "untagged", "waiting",
    )

    def __init__(self, limits: DialogueLimits, *, flow: Flow | None = None, hash_secret: HashSecret | None = None,
                 kinds: frozenset[str] | None = None, keep: int = 0) -> None:
        """
        Args:
            flow: whose dialogue it is, for the events.
            hash_secret: (user, secret) -> (keyed hash, traits); without it secrets leave no trace at all.
            kinds: event types that somebody wants; None: all.
            keep: first bytes of each side that are to be kept in `kept`, for others to look at.
        """
        self._limits = limits
        self._flow = flow
        self._hash = hash_secret
        self._want_commands = kinds is None or "command" in kinds
        self._want_logins = kinds is None or "login" in kinds
        self._want_messages = kinds is None or "message" in kinds
        self.direction = "unknown" if flow is None else flow.direction
        self.events: list[Event] = []
        """What was told since the owner last took it; the owner empties this list and the next."""
        self.known: list[int] = []
        """For each of them the frame number of the packet that made it known."""
        self.keep = keep
        self.kept: list[tuple[int, bytes]] = []
        """(side, bytes) in the order of the pieces."""
        self.greeting: Greeting | None = None
        self.packet = self.first_packet_client = 0
        """Frame numbers of the greeting, and of the client's first line."""
        self.state = N
        self.mailbox = ""
        self.done_tags: dict[bytes, None] = {}
        self.waiting: _Waiting | None = None
        self.last_line = b""
        # what belongs to the command under way
        self.touched = self.opaque = False
        self.fetched = self.expunged = self.bodies = self.tally_bytes = 0
        self.found = self.exists = -1
        # facts
        self.software = self.client_software = self.starttls = ""
        self.capabilities: list[str] = []
        self.logindisabled = self.offers = False
        self.bytes_client = self.bytes_server = self.lines_server = 0
        self.commands = self.completed = self.completed_ok = self.completed_packet = self.completed_offset = 0
        self.untagged = self.byes = self.refusals = self.selected = self.literals = self.literal_bytes = 0
        self.logins = self.logins_failed = 0

    # ---- pieces in ----------------------------------------------------------------------------------------------

    def read(self, pieces: Sequence[Piece]) -> int:
        """Reads pieces as long as they are plain; returns how many. The next one is for `machine()`, or an end.

        One long function, because it is called for every turn of nearly every dialogue: calls and attributes cost more
        than what is done here.
        """
        orders, line_bytes = ORDERS, self._limits.line_bytes
        most_bytes, keep = min(LINE_BYTES, line_bytes), self.keep
        waiting, state, greeting = self.waiting, self.state, self.greeting
        bytes_client, bytes_server, commands, lines = (
            self.bytes_client, self.bytes_server, self.commands, self.lines_server)
        count = 0
        for piece in pieces:
            if type(piece) is not StreamChunk or piece.reading:
                break
            data = piece.data
            size = len(data)
            if piece.side == CLIENT:
                if waiting is not None or greeting is None or piece.offset != bytes_client:
                    break
                tag, _, rest = data.partition(b" ")
                order = orders.get(rest)
                login = None
                if order is None:
                    login = LOGIN_LINE.match(rest)
                    order = read_order(rest, self._limits) if login is None else LOGIN_ORDER
                if order is None or not order.states & state or size > most_bytes or len(tag) > _TAG_BYTES or not (
                        tag.isalnum() or TAG.match(tag)):
                    break
                if order.code == ID and not self.client_software:
                    self.client_software = id_name(arguments_of(data[:-2]))
                waiting = tag, order, piece.packet, piece.time_ns, state, login
                self.last_line = data
                if not commands:
                    self.first_packet_client = piece.packet
                if bytes_client < keep:
                    self.kept.append((CLIENT, data))
                commands += 1
                bytes_client += size
                count += 1
                continue
            if data[-2:] != b"\r\n" or piece.offset != bytes_server:
                break
            if greeting is None:
                greeting = read_greeting(data, self._limits)
                if greeting is None:
                    break
                self._greeted(greeting, piece.packet)
                if keep:
                    self.kept.append((SERVER, data[:keep]))
                lines += 1
                bytes_server += size
                count += 1
                continue
            # Untagged responses, whole, and the completion of the command that waits, if it ends the chunk.
            start = data.rfind(b"\n", 0, -1) + 1
            reply: Reply | None = None
            if waiting is not None:
                tag = waiting[0]
                after = start + len(tag)
                if data.startswith(tag, start) and data[after] == 0x20:
                    words = data[after + 1:-2]
                    reply = TAGGED_MEMO.get(words) or read_tagged(words)
                    if reply is None or reply.opaque is not None or size - start > line_bytes:
                        break
            if reply is None:
                start = size
            if start:
                self.bytes_client = bytes_client
                self.state = state
                known = self._read_data(data, start)
                if known is None:
                    break
                state = self.state
                lines += known.lines
            if reply is not None:
                assert waiting is not None
                lines += 1
                if piece.starts is None:
                    packet = known_packet = piece.packet
                    time_ns = piece.time_ns
                else:
                    packet, time_ns = piece.locate(start)
                    known_packet = piece.locate(size - 1)[0]
                if not self.completed:
                    self.completed_packet, self.completed_offset = packet, bytes_server + start
                state = self._complete(waiting, reply, state, time_ns, known_packet)
                waiting = None
            if bytes_server < keep:
                self.kept.append((SERVER, data[:keep - bytes_server]))
            bytes_server += size
            count += 1
        self.waiting, self.state, self.greeting = waiting, state, greeting
        self.bytes_client, self.bytes_server, self.commands, self.lines_server = (
            bytes_client, bytes_server, commands, lines)
        return count

    def _greeted(self, greeting: Greeting, packet: int) -> None:
        self.packet = packet
        self.software = greeting.software
        if greeting.capabilities is not None:
            self._learn(greeting.capabilities)

    def _read_data(self, data: bytes, end: int) -> Data | None:
        """The untagged responses that stand before `end`; None (and nothing changed) where they are not plain."""
        found = read_data(data, end, self._limits)
        if found is None:
            return None
        known, text, literals = found
        if known.illegal and self.state == N:
            return None
        self.untagged += known.untagged
        if known.touched:
            self.touched = True
            self.fetched += known.fetched
            self.expunged += known.expunged
            if known.found >= 0:
                self.found = max(self.found, 0) + known.found
            for whole, (start, size) in zip(known.whole, literals, strict=True):
                self.tally_bytes += size
                self.literal_bytes += size
                self.literals += 1
                if whole:
                    self.bodies += 1
                    if size and not MAIL_HEADER.match(data[start:start + min(size, BODY_BYTES)]):
                        self.opaque = True
        if known.special:
            if known.exists is not None:
                self.exists = int(text[known.exists[0]:known.exists[1]])
            if known.byes:
                self.byes += known.byes
                self.state = _LOGOUT_STATE
                if self.bytes_client:
                    self.refusals += known.byes
            if known.software:
                self.software = known.software
            for capabilities in known.capabilities:
                self._learn(capabilities)
        return known

    def _learn(self, learned: Capabilities) -> None:
        self.capabilities, self.logindisabled, self.offers = learned
        if self.offers and not self.starttls:
            self.starttls = "offered"

    # ---- completions --------------------------------------------------------------------------------------------

    def _complete(self, waiting: _Waiting, reply: Reply, state: int, time_ns: int, known: int) -> int:
        """The tagged answer to the command that waits: its events, and what it changes; returns the state after it."""
        tag, order, asked_packet, asked_ns, asked_state, login = waiting
        done = self.done_tags
        done[tag] = None
        if len(done) > _DONE_TAGS:
            del done[next(iter(done))]
        self.completed += 1
        result = reply.result
        if result == "ok":
            self.completed_ok += 1
            if order.next_ok:
                state = order.next_ok
        elif result == "no" and order.next_no:
            state = order.next_no
        name = tag.decode()
        if self._want_commands:
            size, longest = order.size, order.longest
            if login is not None:
                size, longest = len(login.string) - 2, max(map(len, login.string[6:-2].split(b" ")))
            command = Command(
                tag=name, name=order.name, result=result, state=STATE_NAMES[asked_state], code=reply.code,
                arguments=order.arguments, line_bytes=len(tag) + 1 + size, longest_argument=longest,
                duration_us=(time_ns - asked_ns) // 1000 if time_ns > asked_ns else 0, direction=self.direction)
            self.events.append(Event("command", asked_ns, command, self._flow, asked_packet, asked_ns))
            self.known.append(known)
        if order.special:
            if login is not None:
                self._tell_login(login, name, reply, asked_packet, asked_ns, known)
            elif order.action and self._want_messages:
                message = self._message(order, reply)
                self.events.append(Event("message", asked_ns, message, self._flow, asked_packet, asked_ns))
                self.known.append(known)
            if order.code == SELECT:
                self.mailbox = order.mailbox or "" if result == "ok" else ""
                self.selected += result == "ok"
                self.exists = -1
        if reply.capabilities is not None:
            self._learn(told_capabilities(reply.capabilities))
        if self.touched:
            self.touched = self.opaque = False
            self.fetched = self.expunged = self.bodies = self.tally_bytes = 0
            self.found = -1
        return state

    def _tell_login(self, login: re.Match[bytes], tag: str, reply: Reply, packet: int, time_ns: int,
                    known: int) -> None:
        """The `login` event of a LOGIN that was completed."""
        self.logins += 1
        if reply.result != "ok":
            self.logins_failed += 1
        if not self._want_logins:
            return
        quoted_user, user, quoted_secret, secret = login.groups()
        user = user if quoted_user is None else quoted_user
        hashed = ""
        traits: list[str] = []
        if self._hash is not None:
            hashed, traits = self._hash(user, secret if quoted_secret is None else quoted_secret)
        body = Login(
            mechanism="login", outcome="success" if reply.result == "ok" else "failure",
            user=safe_text(user, self._limits.text_bytes), code=reply.code, tag=tag, secret_hash=hashed,
            secret_traits=traits, attempt=self.logins, starttls_offered=self.offers,
            logindisabled=self.logindisabled, direction=self.direction)
        self.events.append(Event("login", time_ns, body, self._flow, packet, time_ns))
        self.known.append(known)

    def _message(self, order: Order, reply: Reply) -> Message:
        """What a command did to the mailbox, out of its arguments and of the responses before its completion."""
        action = order.action
        message = Message(action=action, mailbox=self.mailbox if order.mailbox is None else order.mailbox,
                          result=reply.result, direction=self.direction)
        if action == "fetch":
            message.count = self.fetched
            if self.tally_bytes or self.bodies:
                message.bytes, message.bodies, message.opaque_body = self.tally_bytes, self.bodies, self.opaque
        elif action == "select":
            message.count = max(self.exists, 0)
        elif action == "search":
            message.count, message.criteria = max(self.found, 0), order.criteria
        elif action == "expunge":
            message.count = self.expunged
        elif action == "store":
            message.count, message.flags = self.fetched, order.flags
        elif action in ("copy", "move") and reply.code == "COPYUID":
            message.count = set_size(reply.code_text)
        return message

    # ---- what the owner asks for --------------------------------------------------------------------------------

    @property
    def facts(self) -> ImapFacts:
        """What was verified, as of now; nothing is broken in what this class reads."""
        greeting = self.greeting
        return ImapFacts(
            greeting="" if greeting is None else "ok", greeting_text="" if greeting is None else greeting.text,
            greeting_packet=self.packet, state=STATE_NAMES[self.state], commands=self.commands,
            known_commands=self.commands, ordered_commands=self.commands, completed=self.completed,
            completed_packet=self.completed_packet, completed_offset=self.completed_offset, selected=self.selected,
            completed_ok=self.completed_ok, completed_legal=self.completed_ok, untagged=self.untagged,
            tagged=self.completed, refusals=self.refusals, literals=self.literals, literal_bytes=self.literal_bytes,
            byes=self.byes, starttls=self.starttls, software=self.software, client_software=self.client_software,
            capabilities=self.capabilities, logins=self.logins, logins_failed=self.logins_failed,
            logindisabled=self.logindisabled, bytes_client=self.bytes_client, bytes_server=self.bytes_server,
            lines_client=self.commands, lines_server=self.lines_server,
        )

    def machine(self) -> ImapDialogue:
        """The machine in the state that the bytes so far bring it to; it reads what follows."""
        machine = ImapDialogue(self._limits, hash_secret=self._hash)
        machine.facts_ = self.facts
        machine.state = self.state
        machine.greeted = self.greeting is not None
        machine.done_tags = self.done_tags
        if self.mailbox:
            machine.mailbox = self.mailbox
        machine.logins = self.logins
        machine.last_client_line = self.last_line[:-2]
        tally = machine.tally
        tally.exists, tally.found, tally.touched, tally.opaque = self.exists, self.found, self.touched, self.opaque
        tally.fetched, tally.expunged, tally.bodies = self.fetched, self.expunged, self.bodies
        tally.literal_bytes = self.tally_bytes
        for reader, lines, size in ((machine.reader_client, self.commands, self.bytes_client),
                                    (machine.reader_server, self.lines_server, self.bytes_server)):
            reader.lines, reader.offset = lines, size
        if self.waiting is not None:
            tag, _, packet, time_ns, state, _ = self.waiting
            line = self.last_line[:-2]
            shape = read_command(line[len(tag) + 1:], self._limits)
            assert shape is not None
            pending = Pending(tag, shape, packet, time_ns, self.bytes_client - len(line) - 2, state, False)
            if shape.code in (LOGIN, ID):
                pending.parts = (arguments_of(line),)
            machine.pending[tag] = pending
        return machine
