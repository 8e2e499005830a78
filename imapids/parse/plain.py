"""The fast path of IMAP, the state of one dialogue: what is known as long as it is plain, and the machine made of it.

Nearly all real dialogues are a greeting, then one command at a time and its whole answer. `PlainReader` reads such
turns; at the first chunk that is not so (several commands at once, a line or literal that ends in a later chunk,
AUTHENTICATE, IDLE, STARTTLS, anything odd) it stops before that chunk, and `machine_of` gives an `ImapDialogue` in
exactly the state that the same bytes bring it to: nothing is read twice, and no byte is kept for it.
tests/parse/test_plain.py compares the two attribute by attribute.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence

from imapids.config import DialogueLimits
from imapids.parse.imap import HashSecret, ImapDialogue
from imapids.parse.imap_client import keep_words
from imapids.parse.imap_commands import ID, LOGIN, read_command
from imapids.parse.imap_pending import Pending, Tally
from imapids.parse.imap_server import DONE_TAGS
from imapids.parse.plain_data import NO_CAPABILITIES, Capabilities
from imapids.parse.plain_turns import Greeting, Order
from imapids.protocols.imap_commands import STATE_NAMES, N
from imapids.records.dialogue import ImapFacts
from imapids.records.streams import Flow, Piece, StreamChunk


class PlainDialogue:
    """One IMAP connection as long as it is plain; `PlainReader.read` moves it on.

    Names that `ImapFacts` has too mean the same there. What is not plain is constant here.
    """

    __slots__ = (
        "asked", "asked_state", "byes", "bytes_client", "bytes_server", "client_software", "completed",
        "completed_offset", "completed_ok", "completed_packet", "direction", "done", "exists",
        "first_packet_client", "flow", "greeting", "greeting_packet", "heard", "kept", "learned",
        "literal_bytes", "literals", "login", "logins", "logins_failed", "mailbox", "more_lines", "refusals",
        "selected", "software", "starttls", "state", "tag", "tally", "untagged", "waiting",
    )

    compress = ""
    preauth = False
    client_nonsense = 0
    limits: Sequence[str] = ()

    def __init__(self, flow: Flow | None = None, direction: str = "unknown") -> None:
        self.flow = flow
        """Whose dialogue it is, for the events."""
        self.direction = direction
        self.greeting: Greeting | None = None
        self.greeting_packet = 0
        self.first_packet_client = 0
        """Frame number of the client's first line."""
        self.state: int = N
        self.mailbox = ""
        self.done: list[bytes] = []
        """Tags of completed commands, the newest last (see `remembered_tags`)."""
        self.kept: list[tuple[bytes, bytes]] | None = None
        """The first bytes of both sides, if anybody wants them (see `first_bytes`)."""

        # the command under way
        self.waiting: Order | None = None
        """What it says; None: the last one was completed."""
        self.asked: StreamChunk | None = None
        """The client's last line."""
        self.heard: StreamChunk | None = None
        """The server's last chunk, while a batch is read."""
        self.asked_state = 0
        """The state in which it was sent."""
        self.tag = b""
        self.login: re.Match[bytes] | None = None
        """The words of a LOGIN."""
        self.tally: Tally | None = None
        """What its answer adds up to; None: nothing so far."""
        self.exists = -1
        """Messages of the mailbox, as the last EXISTS says."""

        # facts
        self.software = self.client_software = self.starttls = ""
        self.learned = NO_CAPABILITIES
        self.bytes_client = self.bytes_server = 0
        self.more_lines = 0
        """Lines of responses that go on behind literals."""
        self.completed = self.completed_ok = self.completed_packet = self.completed_offset = 0
        self.untagged = self.byes = self.refusals = self.selected = 0
        self.literals = self.literal_bytes = self.logins = self.logins_failed = 0

    @property
    def greeting_text(self) -> str:
        """The greeting line, safe text."""
        return "" if self.greeting is None else self.greeting.text

    @property
    def capabilities(self) -> list[str]:
        """What the server listed last."""
        return self.learned.words

    @property
    def commands(self) -> int:
        """The client's lines: each is a whole command, and one of them at most is under way."""
        return self.completed + (self.waiting is not None)

    @property
    def lines_server(self) -> int:
        """The server's lines."""
        return self.untagged + self.completed + self.more_lines + (self.greeting is not None)

    def learn(self, learned: Capabilities) -> None:
        """The server told its capabilities."""
        self.learned = learned
        if learned.starttls:
            self.starttls = "offered"

    def first_bytes(self) -> Iterator[tuple[int, bytes]]:
        """(side, bytes) of what was kept of the chunks, in their order."""
        for marks, data in self.kept or ():
            at = 0
            for mark in memoryview(marks).cast("q"):
                size, side = mark >> 1, mark & 1
                yield side, data[at:at + size]
                at += size

    @property
    def facts(self) -> ImapFacts:
        """What was verified, as of now; nothing is broken in a plain dialogue."""
        commands = self.commands
        # In steps: of more than fifteen keywords the interpreter makes a dictionary first.
        facts = ImapFacts(
            greeting="" if self.greeting is None else "ok", greeting_text=self.greeting_text,
            greeting_packet=self.greeting_packet, state=STATE_NAMES[self.state], commands=commands,
            known_commands=commands, ordered_commands=commands, starttls=self.starttls,
            capabilities=self.learned.words, logindisabled=self.learned.logindisabled, bytes_client=self.bytes_client,
            bytes_server=self.bytes_server, lines_client=commands, lines_server=self.lines_server,
        )
        if self.completed:
            facts.completed = facts.tagged = self.completed
            facts.completed_packet, facts.completed_offset = self.completed_packet, self.completed_offset
            facts.completed_ok = facts.completed_legal = self.completed_ok
        facts.selected, facts.untagged, facts.refusals = self.selected, self.untagged, self.refusals
        facts.literals, facts.literal_bytes, facts.byes = self.literals, self.literal_bytes, self.byes
        facts.software, facts.client_software = self.software, self.client_software
        facts.logins, facts.logins_failed = self.logins, self.logins_failed
        return facts


def first_bytes_of(pieces: Sequence[Piece], room_client: int, room_server: int) -> tuple[bytes, bytes]:
    """The bytes of chunks that there is room for; not the chunks: they go when they were read.

    Returns:
        (for each chunk twice its size, plus its side, as 64-bit numbers; bytes of all).
    """
    room = [room_client, room_server]
    marks, parts = array("q"), []
    for piece in pieces:
        assert type(piece) is StreamChunk
        side, left = piece.side, room[piece.side]
        if left > 0:
            parts.append(piece.data[:left])
            marks.append(len(parts[-1]) << 1 | side)
            room[side] -= len(piece.data)
    return marks.tobytes(), b"".join(parts)


def remembered_tags(tags: Sequence[bytes]) -> dict[bytes, None]:
    """The tags that the machine remembers of completed commands: each at its first place, the oldest ones forgotten."""
    done: dict[bytes, None] = {}
    for tag in tags:
        done[tag] = None
        if len(done) > DONE_TAGS:
            del done[next(iter(done))]
    return done


def machine_of(plain: PlainDialogue, limits: DialogueLimits, hash_secret: HashSecret | None) -> ImapDialogue:
    """The machine in the state that the bytes so far bring it to; it reads what follows."""
    machine = ImapDialogue(limits, hash_secret=hash_secret)
    machine.facts_ = plain.facts
    machine.state = plain.state
    machine.greeted = plain.greeting is not None
    machine.done_tags = remembered_tags(plain.done)
    if plain.mailbox:
        machine.mailbox = plain.mailbox
    machine.logins = plain.logins
    line = plain.asked.data[:-2] if plain.asked is not None else b""
    machine.last_client_line = line
    if plain.tally is not None:
        machine.tally = plain.tally
    machine.tally.exists = plain.exists
    for reader, lines, size in ((machine.reader_client, plain.commands, plain.bytes_client),
                                (machine.reader_server, plain.lines_server, plain.bytes_server)):
        reader.lines, reader.offset = lines, size
    asked = plain.asked
    if plain.waiting is not None and asked is not None:
        tag = plain.tag
        shape = read_command(line[len(tag) + 1:], limits)
        assert shape is not None
        pending = Pending(tag, shape, asked.packet, asked.time_ns, plain.bytes_client - len(line) - 2,
                          plain.asked_state, False)
        if shape.code in (LOGIN, ID):
            keep_words(pending, line)
        machine.pending[tag] = pending
    return machine
