"""sniff -> parse, judge: what a conversation looks like from its first bytes."""

from __future__ import annotations

import enum

import msgspec


class Look(enum.Enum):
    """The answer of a probe. YES and NO stay true whatever bytes follow; only NEED_MORE may change."""

    YES = "yes"
    NO = "no"
    NEED_MORE = "need-more"


class Evidence(msgspec.Struct, frozen=True, omit_defaults=False, gc=False):
    """One reason for a verdict. Codes are a closed list (docs/reference/evidence.md)."""

    code: str
    side: str
    """client, server or both."""
    packet: int
    """Frame number of the packet that holds it; 0 while a sniffer knows only the offset."""
    offset: int
    """Position in the side's stream."""
    text: str = ""
    """Safe, redacted text from the wire or about it (protocols/text.py)."""


class Opening(msgspec.Struct, kw_only=True):
    """The first bytes of a conversation: all that a probe may look at. Never a port number."""

    transport: str = "TCP"
    """TCP or UDP."""
    client: bytes = b""
    """First bytes that the client sent, up to `sniff_bytes`, up to the first gap."""
    server: bytes = b""
    first_side: int | None = None
    """Who sent payload first: CLIENT 0, SERVER 1; None before any payload."""
    turns: list[tuple[int, int]] = []
    """(side, bytes): runs of one side's bytes, in order. They do not depend on how the bytes were cut into
    segments; the last one may still grow."""
    datagrams: list[tuple[int, bytes]] = []
    """UDP: the first datagrams, each with its side. Empty for TCP."""
    midstream: bool = False
    """The start of the conversation was not captured: prefixes may begin anywhere."""
    client_ended: bool = False
    """No more client bytes will be added: the prefix is full, or the flow ended, or a gap came."""
    server_ended: bool = False
    sides_seen: str = "both"
    """both, client, server, none: which sides sent any packet (one-sided captures)."""
    after_upgrade: str = ""
    """Empty at the start of a flow; `starttls` or `compress` for the bytes after an upgrade."""


class Finding(msgspec.Struct):
    """What a probe found: a name and its evidence."""

    protocol: str | None = None
    """IANA service name in lower case where one exists."""
    shape: str | None = None
    """For the unnamed: interactive-shell, length-prefixed-frames, executable-stage, fully-encrypted, ..."""
    confidence: str = "medium"
    """low, medium, high: by what was verified (docs/explanation/what-is-genuine-imap.md)."""
    evidence: list[Evidence] = []
    by_client_only: bool = False
    """Only client bytes support the name: the server's protocol must not be named from it."""


class Candidate(msgspec.Struct):
    """What a conversation looks like so far."""

    kind: str
    """imap, tls, opaque (neither), or undecided (more bytes are needed)."""
    final: bool = False
    """The sniffer will not change its mind, whatever follows."""
    finding: Finding | None = None
    """Who it is, where kind is tls or opaque and a probe said yes."""


class Upgraded(msgspec.Struct):
    """A dialogue handed its bytes over: what follows is to be sniffed again."""

    to: str
    """tls or deflate."""
    time_ns: int
    packet: int
