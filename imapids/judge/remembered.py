"""Verdicts of dialogues in which nothing was odd, remembered by the few counts that decide them.

Thousands of sessions have the same counts; they differ in where their evidence stands and in what their greeting says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from imapids.judge.session import judge
from imapids.records.candidates import Evidence
from imapids.records.dialogue import SessionFacts
from imapids.records.streams import Flow
from imapids.records.verdicts import Verdict

_MEMO_ENTRIES = 4_096


class PlainCounts(Protocol):
    """What is known of a dialogue that is plain IMAP to its end: no gap, no oddity, no upgrade, a greeting first."""

    @property
    def greeting_text(self) -> str: ...
    @property
    def greeting_packet(self) -> int: ...
    @property
    def commands(self) -> int: ...
    @property
    def completed(self) -> int: ...
    @property
    def completed_ok(self) -> int: ...
    @property
    def completed_packet(self) -> int: ...
    @property
    def completed_offset(self) -> int: ...
    @property
    def selected(self) -> int: ...
    @property
    def logins(self) -> int: ...
    @property
    def logins_failed(self) -> int: ...


class _Known(NamedTuple):
    """A verdict, and its evidence without places: (code, side, text)."""

    verdict: str
    confidence: str
    protocol: str | None
    evidence: list[tuple[str, str, str]]


REMEMBERED: dict[tuple[int, int, int, bool, bool], _Known] = {}
"""By commands, completed ones, those completed well, whether a mailbox was selected, whether a login succeeded."""
_AT_COMPLETION = frozenset(("completions-match", "login-and-mailbox"))
"""Evidence that stands at the first completion."""
AT_GREETING = "greeting"
"""Evidence that stands in the greeting."""


def judge_plain(flow: Flow, plain: PlainCounts, facts: Callable[[], SessionFacts]) -> Verdict:
    """What `judge` says of such a dialogue; `facts` makes the record that it wants, where nobody remembers it."""
    if not plain.completed or not flow.packets_client or not flow.packets_server:
        return judge(facts())
    key = (plain.commands, plain.completed, plain.completed_ok, plain.selected > 0, plain.logins > plain.logins_failed)
    known = REMEMBERED.get(key)
    if known is None:
        verdict = judge(facts())
        _remember(key, verdict)
        return verdict
    packet, offset = plain.completed_packet, plain.completed_offset
    return Verdict(
        verdict=known.verdict, confidence=known.confidence, protocol=known.protocol,
        evidence=[
            Evidence(code, side, plain.greeting_packet, 0, plain.greeting_text) if code == AT_GREETING
            else Evidence(code, side, packet, offset, text)
            for code, side, text in known.evidence
        ])


def _remember(key: tuple[int, int, int, bool, bool], verdict: Verdict) -> None:
    """Keeps a verdict whose evidence can be placed again from counts alone."""
    if verdict.verdict != "genuine" or any(
            each.code not in _AT_COMPLETION and each.code != AT_GREETING for each in verdict.evidence):
        return
    if len(REMEMBERED) >= _MEMO_ENTRIES:
        REMEMBERED.clear()
    REMEMBERED[key] = _Known(verdict.verdict, verdict.confidence, verdict.protocol,
                        [(each.code, each.side, each.text) for each in verdict.evidence])
