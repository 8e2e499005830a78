"""The verdicts that a session had before later bytes contradicted them (DESIGN section 7)."""

from __future__ import annotations

from imapids.judge.evidence import CODES
from imapids.records.dialogue import SessionFacts
from imapids.records.verdicts import Revision, Verdict

_AGAINST = frozenset(code.code for code in CODES if code.speaks_for in ("mimic", "not-imap"))


def history(facts: SessionFacts, verdict: Verdict) -> list[Revision]:
    """What was said of a session until the byte that ended it; empty where the first verdict was the last.

    Only a dialogue that began as IMAP can lose that name: it was `undecided` after the greeting, and `genuine` once
    commands had been completed; a flow that is not IMAP from the first byte never had another name.
    """
    imap = facts.imap
    if verdict.verdict not in ("mimic", "not-imap") or imap is None or not imap.greeting:
        return []
    for each, completed in zip(imap.evidence, imap.completed_before, strict=True):
        if each.code in _AGAINST:
            before = ("genuine", "medium") if completed else ("undecided", "low")
            return [Revision(*before, "imap", each.packet, each.code)]
    return []
