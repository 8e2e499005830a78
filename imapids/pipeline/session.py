"""The session event: a verdict and the facts of one conversation in one record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec.structs import replace

from imapids import kernels
from imapids.judge import AT_GREETING, REMEMBERED
from imapids.parse import Capabilities, Greeting, PlainDialogue
from imapids.protocols.timestamps import eve_time
from imapids.records.candidates import Evidence
from imapids.records.dialogue import TlsFacts
from imapids.records.events import FlowBody, Session
from imapids.records.streams import SERVER, SIDES, Flow
from imapids.records.verdicts import Revision, Verdict


class DialogueCounts(Protocol):
    """What the record tells of an IMAP dialogue: the facts of the machine, or a plain dialogue itself."""

    @property
    def limits(self) -> Sequence[str]: ...
    @property
    def greeting_text(self) -> str: ...
    @property
    def software(self) -> str: ...
    @property
    def client_software(self) -> str: ...
    @property
    def capabilities(self) -> list[str]: ...
    @property
    def starttls(self) -> str: ...
    @property
    def compress(self) -> str: ...
    @property
    def commands(self) -> int: ...
    @property
    def completed(self) -> int: ...
    @property
    def logins(self) -> int: ...
    @property
    def logins_failed(self) -> int: ...
    @property
    def preauth(self) -> bool: ...
    @property
    def client_nonsense(self) -> int: ...


def session_body(flow: Flow, verdict: Verdict, history: list[Revision], *, first_side: int | None = None,
                 imap: DialogueCounts | None = None, tls: TlsFacts | None = None) -> Session:
    """One record of what a flow was, when it has ended."""
    told_limits = () if imap is None else imap.limits
    packets_client, packets_server = flow.packets_client, flow.packets_server
    # In steps: of more than fifteen keywords the interpreter makes a dictionary, which costs three times as much.
    body = Session(
        verdict=verdict.verdict, confidence=verdict.confidence, protocol=verdict.protocol, shape=verdict.shape,
        reason=verdict.reason, evidence=verdict.evidence, sides_seen=flow.sides_seen, midstream=flow.midstream,
        limits=[*flow.limits, *told_limits] if told_limits else flow.limits, packets=packets_client + packets_server,
        bytes_client=flow.bytes_client, bytes_server=flow.bytes_server, direction=flow.direction, state=flow.state,
    )
    body = replace(
        body, transport="tcp" if flow.protocol == "TCP" else "udp", roles_by=flow.roles_by, end_reason=flow.end_reason,
        packets_client=packets_client, packets_server=packets_server,
        duration_ms=(flow.end_ns - flow.start_ns) // 1_000_000, missing_client=flow.missing_client,
        missing_server=flow.missing_server, snapped=flow.snapped, anomalies=flow.anomalies,
        on_watched_port=flow.watched, history=history, first_speaker="" if first_side is None else SIDES[first_side],
    )
    if imap is not None:
        body = replace(
            body, greeting=imap.greeting_text, software=imap.software, client_software=imap.client_software,
            capabilities=imap.capabilities, starttls=imap.starttls, compress=imap.compress, commands=imap.commands,
            completed=imap.completed, logins=imap.logins, logins_failed=imap.logins_failed, preauth=imap.preauth,
            client_nonsense=imap.client_nonsense,
        )
    if flow.tunnels:
        body.tunnels = list(flow.tunnels)
    if tls is not None:
        body.sni, body.ja3, body.ja4 = tls.sni, tls.ja3, tls.ja4
        if body.starttls == "accepted":
            body.starttls = "tls" if tls.client_hello or tls.server_hello else "no-tls"
    return body


def plain_sessions() -> kernels.events.PlainSessions:
    """Makes in one compiled step what `judge_plain` and `session_body` make of plain dialogues that are remembered."""
    return kernels.events.PlainSessions(
        classes=(Flow, PlainDialogue, Greeting, Capabilities, Evidence), remembered=REMEMBERED,
        greeting_code=AT_GREETING, alike=Session(
            verdict="", confidence="", protocol=None, shape=None, reason=None, evidence=[], sides_seen="both",
            midstream=False, limits=[], packets=0, bytes_client=0, bytes_server=0, direction="", state="",
            first_speaker=SIDES[SERVER]))


def flow_body(flow: Flow) -> FlowBody:
    """The counts of a flow, as EVE writes them."""
    return FlowBody(
        pkts_toserver=flow.packets_client, pkts_toclient=flow.packets_server, bytes_toserver=flow.bytes_client,
        bytes_toclient=flow.bytes_server, start=eve_time(flow.start_ns), end=eve_time(flow.end_ns),
        age=max(0, (flow.end_ns - flow.start_ns) // 10**9), state=_EVE_STATES[flow.state],
        reason="timeout" if flow.end_reason in ("idle", "fin", "rst") else "shutdown",
    )


_EVE_STATES = {"open": "established", "closed": "closed", "rejected": "closed", "silent": "new"}
