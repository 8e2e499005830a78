"""The fast path of IMAP, the state of one dialogue: what is known as long as it is plain, and the machine made of it.

Nearly all real dialogues are a greeting, then one command at a time and its whole answer. `PlainReader` reads such
turns; at the first chunk that is not so (several commands at once, a line or literal that ends in a later chunk,
AUTHENTICATE, IDLE, STARTTLS, anything odd) it stops before that chunk, and `machine_of` gives an `ImapDialogue` in
exactly the state that the same bytes bring it to: nothing is read twice, and no byte is kept for it.
tests/parse/test_plain.py compares the two attribute by attribute.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

import msgspec

from imapids.config import DialogueLimits
from imapids.parse.imap import HashSecret, ImapDialogue
from imapids.parse.imap_client import keep_words
from imapids.parse.imap_commands import ID, LOGIN, read_command
from imapids.parse.imap_pending import Pending
from imapids.parse.plain_turns import Capabilities, Greeting, Order
from imapids.protocols.imap_commands import STATE_NAMES, N
from imapids.records.dialogue import ImapFacts
from imapids.records.streams import Flow, Piece, StreamChunk


class PlainDialogue(msgspec.Struct, gc=False):
    """One IMAP connection as long as it is plain; `PlainReader.read` moves it on.

    A record, because one is made for every session: it costs a tenth of what an `__init__` of as many lines does.
    Names that `ImapFacts` has too mean the same there. What is not plain is constant here.
    """

    compress: ClassVar[str] = ""
    preauth: ClassVar[bool] = False
    client_nonsense: ClassVar[int] = 0
    limits: ClassVar[Sequence[str]] = ()

    flow: Flow | None = None
    """Whose dialogue it is, for the events."""
    direction: str = "unknown"
    greeting: Greeting | None = None
    greeting_text: str = ""
    greeting_packet: int = 0
    first_packet_client: int = 0
    """Frame number of the client's first line."""
    state: int = N
    mailbox: str = ""
    done_tags: dict[bytes, None] = {}
    kept: list[Sequence[Piece]] = []
    """The pieces that hold the first bytes of both sides, if anybody wants them."""

    # the command under way
    waiting: Order | None = None
    """What it says; None: the last one was completed."""
    asked: StreamChunk | None = None
    """The client's last line."""
    asked_state: int = 0
    """The state in which it was sent."""
    tag: bytes = b""
    login: re.Match[bytes] | None = None
    """The words of a LOGIN."""

    # what its answer adds up to
    touched: bool = False
    opaque: bool = False
    fetched: int = 0
    expunged: int = 0
    bodies: int = 0
    tally_bytes: int = 0
    found: int = -1
    exists: int = -1

    # facts
    software: str = ""
    client_software: str = ""
    starttls: str = ""
    capabilities: list[str] = []
    logindisabled: bool = False
    offers: bool = False
    """STARTTLS is among the capabilities."""
    bytes_client: int = 0
    bytes_server: int = 0
    more_lines: int = 0
    """Lines of responses that go on behind literals."""
    completed: int = 0
    completed_ok: int = 0
    completed_packet: int = 0
    completed_offset: int = 0
    untagged: int = 0
    byes: int = 0
    refusals: int = 0
    selected: int = 0
    literals: int = 0
    literal_bytes: int = 0
    logins: int = 0
    logins_failed: int = 0

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
        self.capabilities, self.logindisabled, self.offers = learned
        if self.offers and not self.starttls:
            self.starttls = "offered"

    def first_bytes(self) -> Iterator[tuple[int, bytes]]:
        """(side, bytes) of the kept pieces, in their order."""
        for pieces in self.kept:
            for piece in pieces:
                if type(piece) is StreamChunk:
                    yield piece.side, piece.data

    @property
    def facts(self) -> ImapFacts:
        """What was verified, as of now; nothing is broken in a plain dialogue."""
        commands = self.commands
        return ImapFacts(
            greeting="" if self.greeting is None else "ok", greeting_text=self.greeting_text,
            greeting_packet=self.greeting_packet, state=STATE_NAMES[self.state], commands=commands,
            known_commands=commands, ordered_commands=commands, completed=self.completed,
            completed_packet=self.completed_packet, completed_offset=self.completed_offset, selected=self.selected,
            completed_ok=self.completed_ok, completed_legal=self.completed_ok, untagged=self.untagged,
            tagged=self.completed, refusals=self.refusals, literals=self.literals, literal_bytes=self.literal_bytes,
            byes=self.byes, starttls=self.starttls, software=self.software, client_software=self.client_software,
            capabilities=self.capabilities, logins=self.logins, logins_failed=self.logins_failed,
            logindisabled=self.logindisabled, bytes_client=self.bytes_client, bytes_server=self.bytes_server,
            lines_client=commands, lines_server=self.lines_server,
        )


def machine_of(plain: PlainDialogue, limits: DialogueLimits, hash_secret: HashSecret | None) -> ImapDialogue:
    """The machine in the state that the bytes so far bring it to; it reads what follows."""
    machine = ImapDialogue(limits, hash_secret=hash_secret)
    machine.facts_ = plain.facts
    machine.state = plain.state
    machine.greeted = plain.greeting is not None
    machine.done_tags = plain.done_tags
    if plain.mailbox:
        machine.mailbox = plain.mailbox
    machine.logins = plain.logins
    line = plain.asked.data[:-2] if plain.asked is not None else b""
    machine.last_client_line = line
    tally = machine.tally
    tally.exists, tally.found, tally.touched, tally.opaque = plain.exists, plain.found, plain.touched, plain.opaque
    tally.fetched, tally.expunged, tally.bodies = plain.fetched, plain.expunged, plain.bodies
    tally.literal_bytes = plain.tally_bytes
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
