"""The session event: a verdict and the facts of one conversation in one record."""

from __future__ import annotations

from imapids.protocols.timestamps import eve_time
from imapids.records.dialogue import SessionFacts
from imapids.records.events import FlowBody, Session
from imapids.records.streams import SIDES
from imapids.records.verdicts import Revision, Verdict


def session_body(facts: SessionFacts, verdict: Verdict, history: list[Revision]) -> Session:
    """One record of what a flow was, when it has ended."""
    flow, imap, tls = facts.flow, facts.imap, facts.tls
    limits = flow.limits if imap is None or not imap.limits else [*flow.limits, *imap.limits]
    body = Session(
        verdict=verdict.verdict, confidence=verdict.confidence, protocol=verdict.protocol, shape=verdict.shape,
        reason=verdict.reason, evidence=verdict.evidence, sides_seen=flow.sides_seen, midstream=flow.midstream,
        limits=limits, packets=flow.packets_client + flow.packets_server, bytes_client=flow.bytes_client,
        bytes_server=flow.bytes_server, direction=flow.direction, state=flow.state,
        transport="tcp" if flow.protocol == "TCP" else "udp", roles_by=flow.roles_by, end_reason=flow.end_reason,
        packets_client=flow.packets_client, packets_server=flow.packets_server,
        duration_ms=(flow.end_ns - flow.start_ns) // 1_000_000, missing_client=flow.missing_client,
        missing_server=flow.missing_server, snapped=flow.snapped, anomalies=flow.anomalies,
        on_watched_port=flow.watched, history=history,
    )
    if flow.tunnels:
        body.tunnels = list(flow.tunnels)
    if facts.first_side is not None:
        body.first_speaker = SIDES[facts.first_side]
    if imap is not None:
        body.greeting = imap.greeting_text
        body.software = imap.software
        body.client_software = imap.client_software
        body.capabilities = imap.capabilities
        body.compress = imap.compress
        body.commands = imap.commands
        body.completed = imap.completed
        body.logins = imap.logins
        body.logins_failed = imap.logins_failed
        body.preauth = imap.preauth
        body.client_nonsense = imap.client_nonsense
        body.starttls = imap.starttls
        if imap.starttls == "accepted" and tls is not None:
            body.starttls = "tls" if tls.client_hello or tls.server_hello else "no-tls"
    if tls is not None:
        body.sni, body.ja3, body.ja4 = tls.sni, tls.ja3, tls.ja4
    return body


def flow_body(facts: SessionFacts) -> FlowBody:
    """The counts of a flow, as EVE writes them."""
    flow = facts.flow
    return FlowBody(
        pkts_toserver=flow.packets_client, pkts_toclient=flow.packets_server, bytes_toserver=flow.bytes_client,
        bytes_toclient=flow.bytes_server, start=eve_time(flow.start_ns), end=eve_time(flow.end_ns),
        age=max(0, (flow.end_ns - flow.start_ns) // 10**9), state=_EVE_STATES[flow.state],
        reason="timeout" if flow.end_reason in ("idle", "fin", "rst") else "shutdown",
    )


_EVE_STATES = {"open": "established", "closed": "closed", "rejected": "closed", "silent": "new"}
