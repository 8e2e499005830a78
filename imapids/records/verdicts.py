"""judge -> events: what a flow is, how sure that is, and why."""

from __future__ import annotations

import msgspec

from imapids.records.candidates import Evidence

VERDICTS = ("genuine", "not-imap", "mimic", "undecided", "silent")
CONFIDENCES = ("low", "medium", "high")
UNDECIDED_REASONS = ("greeting-only", "server-silent", "one-sided", "mid-stream", "gap", "too-short", "snaplen")


class Verdict(msgspec.Struct, kw_only=True, gc=False):
    """What a flow is, how sure that is, and why (DESIGN section 7)."""

    verdict: str
    confidence: str
    protocol: str | None = None
    shape: str | None = None
    reason: str | None = None
    """Why undecided; None for the other verdicts."""
    evidence: list[Evidence] = []
    """In order of weight."""


class Revision(msgspec.Struct):
    """An earlier verdict of a session that later bytes contradicted."""

    verdict: str
    confidence: str
    protocol: str | None
    packet: int
    """The packet up to which it held."""
    why: str
    """The evidence code that ended it."""
