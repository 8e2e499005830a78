"""How a shape is reported, and what counts as cut by the sniffer's limit."""

from __future__ import annotations

from imapids.records.candidates import Evidence, Finding, Opening

CUT_BYTES = 4_096
"""A prefix as long as this may have been cut by the sniffer's limit (8 KiB a side by default)."""


def shape_finding(opening: Opening, name: str, confidence: str, *evidence: Evidence) -> Finding:
    return Finding(shape=name, confidence=confidence, evidence=list(evidence), by_client_only=not opening.server)


def shape_evidence(code: str, side: str, text: str, offset: int = 0) -> Evidence:
    return Evidence(code=code, side=side, packet=0, offset=offset, text=text)


# ---- executable stages --------------------------------------------------------------------------------------
