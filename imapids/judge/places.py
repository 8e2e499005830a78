"""Where evidence about a whole side stands: in the packet with which that side's stream begins."""

from __future__ import annotations

from imapids.records.candidates import Evidence
from imapids.records.dialogue import SessionFacts


def at_start(facts: SessionFacts, code: str, side: str, text: str = "") -> Evidence:
    """Evidence at offset 0 of a side, in its first packet with payload; for `both` the one that came first."""
    client, server = facts.first_packet_client, facts.first_packet_server
    first = min(client, server) or client or server
    return Evidence(code, side, {"client": client, "server": server}.get(side, first), 0, text)
