"""What the machine remembers of commands under way and of the answers that belong to them."""

from __future__ import annotations

import msgspec

from imapids.parse.imap_commands import Shape
from imapids.parse.imap_replies import Reply


class Pending:
    """A command that waits for its completion."""

    # Class attributes are the defaults: most commands have no literal and no twin, and need not store that.
    literals = 0
    literal_bytes = 0
    longest = 0
    """Bytes of the longest literal."""
    more_bytes = 0
    """Bytes of the lines after literals."""
    parts: tuple[bytes, ...] = ()
    """First line's arguments, literal, next line, literal ...: only what logins and mailbox names need."""
    word = b""
    """The command word in the client's capitals: only where a login needs it."""
    cut = False
    """A line of it is not whole: what stands last may be a part of a secret."""
    twin: Pending | None = None
    """An earlier command of the same tag (Medusa sends one tag for all) that has no answer yet."""

    def __init__(
        self, tag: bytes, shape: Shape, packet: int, time_ns: int, offset: int, state: int, pipelined: bool
    ) -> None:
        self.tag = tag
        self.shape = shape
        self.packet = packet
        self.time_ns = time_ns
        self.offset = offset
        self.state = state
        """When it was sent."""
        self.pipelined = pipelined
        """An earlier command had no answer yet."""


class Tally:
    """What the untagged responses since the last completion add up to: they belong to the next command completed."""

    __slots__ = ("bodies", "exists", "expunged", "fetched", "found", "literal_bytes", "opaque", "reply", "touched")
    # touched: something was counted since the last completion

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


class Early(msgspec.Struct, frozen=True):
    """A tagged answer whose command did not come yet."""

    reply: Reply
    packet: int
    time_ns: int
    offset: int


class Unsure(msgspec.Struct, frozen=True):
    """What was counted as broken while the client's stream stood at one place.

    A gap is told when bytes behind it come, or at the end: the server may have answered the missing commands by then.
    """

    client_offset: int
    counts: dict[str, int]
    """Names of facts, and how often each was counted."""
    evidence: int
    """Pieces of evidence before that."""
    was_imap: bool
    """The dialogue had not stopped being IMAP."""
