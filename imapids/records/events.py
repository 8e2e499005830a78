"""pipeline -> detect, output: one fact each. Events state facts and numbers, never judgements.

An event is an `Event` around one body; the body's class names the event type. Field names are the names of
the EVE line and of Sigma rules (`session.verdict`, `src_ip`). Text from the wire is safe text already.
"""

from __future__ import annotations

import msgspec

from imapids.records.candidates import Evidence
from imapids.records.streams import Flow
from imapids.records.verdicts import Revision


class Body(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Base of all event bodies."""


class Session(Body):
    """A flow on a watched port, or an IMAP flow elsewhere: what it was, when it ended."""

    verdict: str
    confidence: str
    protocol: str | None
    shape: str | None
    reason: str | None
    evidence: list[Evidence]
    sides_seen: str
    midstream: bool
    limits: list[str]
    packets: int
    bytes_client: int
    bytes_server: int
    direction: str
    state: str
    """open, closed, rejected, silent (see streams.Flow)."""
    transport: str = "tcp"
    roles_by: str = "syn"
    end_reason: str = ""
    packets_client: int = 0
    packets_server: int = 0
    duration_ms: int = 0
    missing_client: int = 0
    missing_server: int = 0
    snapped: bool = False
    anomalies: dict[str, int] = {}
    history: list[Revision] = []
    first_speaker: str = ""
    """client, server, or empty where nobody sent payload."""
    on_watched_port: bool = True
    tunnels: list[str] = []
    greeting: str = ""
    """The server's greeting line, safe text."""
    software: str = ""
    """Server software as its greeting or ID response names it."""
    client_software: str = ""
    """Client software as its ID command names it."""
    capabilities: list[str] = []
    starttls: str = ""
    """Empty (never offered), offered, asked, accepted, refused, tls (a handshake followed), no-tls."""
    compress: str = ""
    """Empty, asked, active, refused."""
    commands: int = 0
    completed: int = 0
    """Commands whose tagged completion was seen."""
    logins: int = 0
    logins_failed: int = 0
    preauth: bool = False
    client_nonsense: int = 0
    """Client lines that are no IMAP command, answered by a correct server."""
    sni: str = ""
    ja3: str = ""
    ja4: str = ""


class Command(Body):
    """One IMAP command and how it was completed."""

    tag: str
    name: str
    """Upper case, with UID for UID commands: `UID FETCH`."""
    result: str
    """ok, no, bad, none (no completion seen)."""
    state: str = ""
    """not-authenticated, authenticated, selected, logout, unknown: before the command."""
    code: str = ""
    """Response code of the completion: AUTHENTICATIONFAILED, READ-WRITE, ..."""
    arguments: str = ""
    """Safe and redacted text of the first line."""
    literal_bytes: int = 0
    """Announced bytes of the command's literals."""
    line_bytes: int = 0
    """Bytes of the whole command, literals left out."""
    longest_argument: int = 0
    literals: int = 0
    illegal_state: bool = False
    pipelined: bool = False
    """Sent before the completion of an earlier command."""
    duration_us: int = 0
    traits: list[str] = []
    """Oddities: nul-byte, 8-bit, format-string, path-traversal, unbalanced-quote, deep-nesting, ..."""
    direction: str = "unknown"


class Login(Body):
    """One attempt to sign in. The secret is never kept: only its keyed hash."""

    mechanism: str
    """login (the command), or the SASL mechanism in lower case: plain, cram-md5, xoauth2, ..."""
    outcome: str
    """success, failure, aborted, unknown."""
    user: str = ""
    code: str = ""
    tag: str = ""
    encrypted: bool = False
    secret_hash: str = ""
    """Keyed BLAKE2b of the secret under the run's key, 16 hex digits; empty where the secret is not on the wire."""
    secret_traits: list[str] = []
    """equal-to-user, empty, default:<list name> (compared inside the process, never stored)."""
    attempt: int = 1
    """Counts the attempts of the session."""
    starttls_offered: bool = False
    logindisabled: bool = False
    initial_response: bool = False
    direction: str = "unknown"


class Message(Body):
    """Mailbox use: what was stored, fetched, searched, removed."""

    action: str
    """append, fetch, store, expunge, copy, move, search, create, delete, rename, select."""
    mailbox: str = ""
    count: int = 0
    """Messages that the server's answers named."""
    bytes: int = 0
    """Bytes of literals in it (bodies)."""
    bodies: int = 0
    """Whole bodies fetched."""
    flags: list[str] = []
    criteria: str = ""
    """SEARCH criteria, safe text."""
    result: str = ""
    opaque_body: bool = False
    """The body is one blob without mail headers."""
    direction: str = "unknown"


class Ja3(msgspec.Struct):
    """JA3 as EVE writes it."""

    hash: str
    string: str


class Tls(Body):
    """A TLS handshake, direct or after STARTTLS; the fields are EVE's `tls` object."""

    sni: str = ""
    version: str = ""
    ja3: Ja3 | None = None
    ja3s: Ja3 | None = None
    ja4: str = ""
    subject: str = ""
    issuerdn: str = ""
    serial: str = ""
    fingerprint: str = ""
    notbefore: str = ""
    notafter: str = ""
    client_alpns: list[str] = []
    server_alpns: list[str] = []
    subjectaltname: list[str] = []
    session_resumed: bool = False
    from_proto: str = ""
    """The protocol that handed the connection over (STARTTLS): imap."""


class Anomaly(Body):
    """Something odd on the wire; the fields are EVE's `anomaly` object."""

    type: str
    """decode, stream or applayer."""
    event: str
    """Name from the closed list (docs/reference/anomalies.md)."""
    layer: str = ""
    app_proto: str = ""
    code: int | None = None


class FlowBody(Body):
    """A flow's counts; the fields are EVE's `flow` object."""

    pkts_toserver: int
    pkts_toclient: int
    bytes_toserver: int
    bytes_toclient: int
    start: str
    end: str
    age: int
    state: str
    reason: str
    alerted: bool = False


class InputAccount(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What became of one input."""

    name: str
    status: str
    """ok, cut, damaged, unreadable, unsupported."""
    format: str = ""
    packets: int = 0
    bytes: int = 0
    start: str = ""
    end: str = ""
    damage: list[str] = []
    """Where it is damaged, or why it could not be read at all."""
    skipped: dict[str, int] = {}
    notes: dict[str, int] = {}


class Capture(Body):
    """What the run could and could not see: the account of packets."""

    packets: int
    """Packets read of all inputs."""
    processed: int
    """Packets that gave a segment; packets == processed + the sum of `skipped`."""
    skipped: dict[str, int]
    flows: int
    sessions: int
    inputs: list[InputAccount]
    events: dict[str, int] = {}
    notes: dict[str, int] = {}
    limits: dict[str, int] = {}
    """Limits that were hit, and how often."""
    start: str = ""
    end: str = ""
    one_sided: int = 0
    midstream: int = 0
    capture_loss: float = 0.0
    """Percent of the payload bytes of selected flows that the capture does not hold."""
    interrupted: bool = False


class Signature(Body):
    """A YARA rule that matched the first bytes of a side."""

    rule: str
    namespace: str = ""
    side: str = ""
    tags: list[str] = []
    meta: dict[str, str] = {}
    strings: list[str] = []
    """`$name@offset` of the matches."""
    direction: str = "unknown"


class Indicator(Body):
    """An indicator that matched."""

    kind: str
    """address, network, endpoint, domain, ja3, ja4, certificate, user."""
    value: str
    field: str
    """The event field that matched: dest_ip, tls.sni, ..."""
    source: str = ""
    name: str = ""
    valid_from: str = ""
    valid_until: str = ""
    direction: str = "unknown"


EventBody = Session | Command | Login | Message | Tls | Anomaly | FlowBody | Capture | Signature | Indicator

EVENT_TYPES: dict[type[Body], str] = {
    Session: "session", Command: "command", Login: "login", Message: "message", Tls: "tls",
    Anomaly: "anomaly", FlowBody: "flow", Capture: "capture", Signature: "signature", Indicator: "indicator",
}
"""The event type that each body stands for, in EVE lines and as a Sigma category."""


class Event(msgspec.Struct):
    """One fact, with the conversation and the packet it is about."""

    kind: str
    """Event type: session, command, login, ..."""
    time_ns: int
    body: Body
    flow: Flow | None = None
    packet: int = 0
    """Frame number (EVE's pcap_cnt); 0 where none applies."""
    known_ns: int = 0
    """When the run could know it (a session's event is known when it ends): the order of output."""
