"""The verdict on any session: silent, not IMAP, or for the IMAP judge.

Port numbers are never looked at. The order of the questions has reasons; each stands at its question.
"""

from __future__ import annotations

from imapids.judge.evidence import weight
from imapids.judge.imap import judge_imap
from imapids.judge.places import at_start
from imapids.records.candidates import Evidence, Finding
from imapids.records.dialogue import SessionFacts, TlsFacts
from imapids.records.streams import CLIENT, SIDES
from imapids.records.verdicts import Verdict

SHORT_BYTES = 2
"""Fewer bytes of a server show nothing: `* ` could still follow."""


def judge(facts: SessionFacts) -> Verdict:
    """The verdict, its confidence and its evidence in order of weight."""
    verdict = _judge(facts)
    evidence = verdict.evidence
    other = facts.other_reading
    if other is not None:
        conflict = other.conflict
        text = ", ".join(part for part in (other.verdict, other.name) if part)
        evidence.append(Evidence("reads-otherwise", SIDES[conflict.side], conflict.packet, conflict.offset, text))
        if verdict.verdict == "genuine" and other.verdict in ("mimic", "not-imap"):
            verdict.confidence = "low"  # a host that takes the later copy sees no IMAP
    if facts.first_side is not None and verdict.verdict == "not-imap" and facts.flow.protocol == "TCP":
        first = facts.first_side == CLIENT
        evidence.append(
            Evidence(
                "client-spoke-first" if first else "server-spoke-first",
                "client" if first else "server",
                facts.first_packet_client if first else facts.first_packet_server,
                0,
                "",
            )
        )
    if len(evidence) > 1:
        evidence.sort(key=_by_weight)
    return verdict


def _by_weight(evidence: Evidence) -> int:
    return -weight(evidence.code)


def _judge(facts: SessionFacts) -> Verdict:
    # 1. no payload at all: nothing to judge
    if not facts.seen_client and not facts.seen_server and not facts.gaps_client and not facts.gaps_server:
        if facts.flow.bytes_client or facts.flow.bytes_server:  # the text of a reset: payload that no stream holds
            return Verdict(verdict="undecided", confidence="low", reason="too-short")
        return Verdict(verdict="silent", confidence="high")
    # 2. UDP: IMAP has no such form, whatever the bytes are
    if facts.flow.protocol == "UDP":
        return _udp(facts)
    # 3. a dialogue that the IMAP machine followed
    if facts.imap is not None and (facts.imap.bytes_client or facts.imap.bytes_server):
        return judge_imap(facts, facts.imap)
    # 4. TLS from the first byte
    if facts.tls is not None:
        return _direct_tls(facts, facts.tls)
    finding = facts.candidate.finding if facts.candidate is not None else None
    # 5. a probe knows the server's bytes
    if finding is not None and not finding.by_client_only and (facts.seen_server or facts.flow.sides_seen == "client"):
        return _named(finding)
    # 6. only the client spoke: the server's protocol is never named from it
    if not facts.seen_server:
        return _server_silent(facts, finding)
    # 7. the server spoke, and not like IMAP
    return _unnamed(facts, finding)


def _udp(facts: SessionFacts) -> Verdict:
    finding = facts.candidate.finding if facts.candidate is not None else None
    evidence = [Evidence("udp", "both", facts.first_packet_client or facts.first_packet_server, 0, "")]
    if finding is None:
        return Verdict(verdict="not-imap", confidence="high", evidence=evidence)
    return Verdict(
        verdict="not-imap",
        confidence="high",
        protocol=finding.protocol,
        shape=finding.shape,
        evidence=evidence + list(finding.evidence),
    )


def _direct_tls(facts: SessionFacts, tls: TlsFacts) -> Verdict:
    if tls.client_hello or tls.server_hello:
        text = " ".join(part for part in (tls.version, tls.sni) if part)
        evidence = [Evidence("tls-from-first-byte", "both", facts.first_packet_client, 0, text), *tls.evidence]
        if "imap" in tls.client_alpns or "imap" in tls.server_alpns:
            evidence.append(Evidence("tls-alpn-imap", "both", tls.hello_packet, tls.hello_offset, "imap"))
        if facts.flow.midstream:  # what came before may have been STARTTLS
            return Verdict(
                verdict="undecided", confidence="low", protocol="tls", reason="mid-stream", evidence=evidence
            )
        if (facts.gaps_client or facts.gaps_server) and (tls.hello_offset or not tls.server_hello):
            # bytes before the hello are missing, STARTTLS among them perhaps; or those of the server, which may be IMAP
            reason = "snaplen" if facts.flow.snapped else "gap"
            return Verdict(verdict="undecided", confidence="low", reason=reason, evidence=evidence)
        if not tls.server_hello and not facts.seen_server:
            return Verdict(verdict="undecided", confidence="low", reason="server-silent", evidence=evidence)
        return Verdict(
            verdict="not-imap", confidence="high" if tls.server_hello else "medium", protocol="tls", evidence=evidence
        )
    finding = facts.candidate.finding if facts.candidate is not None else None
    evidence = list(tls.evidence) or [at_start(facts, "tls-without-handshake", "both")]
    if not facts.seen_server:
        return Verdict(verdict="undecided", confidence="low", reason="server-silent", evidence=evidence)
    if facts.flow.midstream and not tls.fake:
        return Verdict(
            verdict="undecided",
            confidence="low",
            protocol="tls",
            reason="mid-stream",
            evidence=[at_start(facts, "mid-stream", "both"), *tls.evidence],
        )
    shape = finding.shape if finding is not None and finding.shape else "fake-tls" if tls.fake else None
    protocol = None if tls.fake else finding.protocol if finding is not None else None
    return Verdict(verdict="not-imap", confidence="medium", protocol=protocol, shape=shape, evidence=evidence)


def _named(finding: Finding) -> Verdict:
    return Verdict(
        verdict="not-imap",
        confidence=finding.confidence,
        protocol=finding.protocol,
        shape=finding.shape,
        evidence=list(finding.evidence),
    )


def _server_silent(facts: SessionFacts, finding: Finding | None) -> Verdict:
    evidence = [
        Evidence("server-silent", "server", facts.first_packet_client, 0, ""),
        *(finding.evidence if finding else []),
    ]
    reason = "server-silent"
    if facts.flow.sides_seen == "client":
        reason = "one-sided"
        evidence[0] = at_start(facts, "one-sided", "client", "client")
    elif facts.gaps_server:
        reason = "snaplen" if facts.flow.snapped else "gap"
    return Verdict(verdict="undecided", confidence="low", reason=reason, evidence=evidence)


def _unnamed(facts: SessionFacts, finding: Finding | None) -> Verdict:
    """The server's bytes are known to nobody, or only the client's bytes have a name."""
    flow = facts.flow
    evidence = [
        Evidence("server-is-no-imap", "server", facts.first_packet_server, 0, f"[{facts.seen_server} bytes]"),
        *(finding.evidence if finding is not None else []),
    ]
    opening = facts.candidate
    if (opening is not None and opening.kind == "imap") or (facts.seen_server < SHORT_BYTES and not facts.seen_client):
        return Verdict(verdict="undecided", confidence="low", reason="too-short", evidence=evidence)
    if flow.midstream or facts.gaps_server:
        reason = "snaplen" if flow.snapped else "gap" if facts.gaps_server and not flow.midstream else "mid-stream"
        return Verdict(verdict="undecided", confidence="low", reason=reason, evidence=evidence)
    return Verdict(
        verdict="not-imap", confidence="medium", shape=finding.shape if finding is not None else None, evidence=evidence
    )
