"""What the machine remembers of commands under way and of the answers that belong to them."""

from __future__ import annotations

from imapids.parse.imap_commands import Shape
from imapids.parse.imap_replies import Reply


class Pending:
    """A command that waits for its completion."""

    __slots__ = ("line_bytes", "literal_bytes", "literals", "longest", "offset", "packet", "parts", "pipelined", "shape",
                 "state", "tag", "time_ns", "twin")

    def __init__(self, tag: bytes, shape: Shape, packet: int, time_ns: int, offset: int, state: int,
                 pipelined: bool) -> None:
        self.tag = tag
        self.shape = shape
        self.packet = packet
        self.time_ns = time_ns
        self.offset = offset
        self.state = state
        """When it was sent."""
        self.pipelined = pipelined
        self.literals = 0
        self.literal_bytes = 0
        self.line_bytes = len(tag) + 1 + shape.size
        self.longest = shape.longest
        self.parts: list[bytes] = []
        """First line, literal, next line, literal ...: only what logins and mailbox names need."""
        self.twin: Pending | None = None
        """An earlier command of the same tag (Medusa sends one tag for all) that has no answer yet."""


class Tally:
    """What the untagged responses since the last completion add up to: they belong to the next command completed."""

    __slots__ = ("bodies", "exists", "expunged", "fetched", "found", "literal_bytes", "opaque", "reply", "touched")

    def __init__(self) -> None:
        self.reply: Reply | None = None
        """The response whose literal is being read."""
        self.exists = -1
        self.clear()

    def clear(self) -> None:
        """A command was completed."""
        self.fetched = self.bodies = self.expunged = self.literal_bytes = 0
        self.found = -1
        self.opaque = self.touched = False
