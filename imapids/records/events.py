"""pipeline -> detect, output: one fact each. Events state facts and numbers, never judgements.

An event is an `Event` around one body; the body's class names the event type. Field names are the names of
the EVE line and of Sigma rules (`session.verdict`, `src_ip`). Text from the wire is safe text already.
"""

from __future__ import annotations

import msgspec

from imapids.records.candidates import Evidence
from imapids.records.streams import Flow
from imapids.records.verdicts import Revision


class Body(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """Base of all event bodies. Records never form cycles: the garbage collector need not look at so many of them."""


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
    form: str = ""
    """How the client wrote the command: its word in the client's capitals, then user and secret of LOGIN, each `atom`,
    `quoted` or `literal`: `LOGIN quoted quoted`, `authenticate`."""
    client_software: str = ""
    """Client software as an ID command before the attempt names it."""
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
    """ok, cut, damaged, unreadable, unsupported; of an interface: lossy (packets came that nobody has seen)."""
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


class Service(Body):
    """What the first bytes of a conversation on a mail port other than the watched ones say of the server.

    Told of the first conversations with each service from each side of the border, and of some of the later ones.
    """

    protocol: str = ""
    """IANA service name; empty where the bytes do not say."""
    banner: str = ""
    """The server's first line, safe text; empty where it is no text."""
    software: str = ""
    """Server software as the banner names it."""
    tls: bool = False
    """TLS from the first byte."""
    starttls_offered: bool = False
    """The server lists STARTTLS (POP3: STLS)."""
    starttls_used: bool = False
    """The server agreed to STARTTLS (STLS for POP3), and a TLS record of the client followed."""
    sign_in_in_clear: bool = False
    """The server offered a sign-in before any TLS."""
    signed_in_in_clear: bool = False
    """A client sent a sign-in before any TLS, and the server did not refuse the command."""
    proxy: list[str] = []
    """Traits of a local mail proxy: banner, loopback-name, relayed-user."""
    direction: str = "unknown"


class Scan(Body):
    """Who knocks on mail ports: counts of a source, of a network of sources, or of what came to one target.

    A knock is a connection, or a probe, that led to no conversation: nobody answered, or the client said nothing.
    Told at the 10th, 100th, 1,000th ... host, knock, port or source (odd probes: at the first, too), and at the end.
    """

    by: str
    """source (one client address), network (sources of one /24 or /64), target (one server address and port),
    campaign (sources whose SYN packets one program seems to have made)."""
    hosts: int = 0
    """Different servers on whose mail ports the first contact was a knock."""
    hosts_failed: int = 0
    """Of these, those that refused or never answered at the first contact."""
    hosts_talked: int = 0
    """Different servers with which the first contact on a mail port was a conversation."""
    knocks: int = 0
    """Knocks on mail ports."""
    conversations: int = 0
    """Connections to mail ports in which both sides spoke."""
    refused: int = 0
    """Knocks that a reset or an ICMP error refused."""
    unanswered: int = 0
    """Knocks to which nothing came back."""
    half_open: int = 0
    """SYN, answered, then reset without an acknowledgement: no ordinary program connects like that."""
    odd_probes: int = 0
    """Half-open connections, and probes without SYN: FIN, NULL, XMAS, lone ACK."""
    methods: dict[str, int] = {}
    """Knocks by method: syn, connect, banner, fin, null, xmas, ack, udp."""
    mail_ports: list[int] = []
    """Mail ports that were knocked on, ascending."""
    sources: int = 1
    """Different clients."""
    ports: int = 0
    """Different TCP ports, mail or not, of any host that were tried in vain."""
    further_ports: int = 0
    """Different (host, port) tried in vain beyond the first of each host: none of a horizontal scan, many of a
    vertical one."""
    tools: dict[str, int] = {}
    """Knocks whose headers bear the mark of a tool: masscan, zmap, nmap, mirai."""
    likelihood: float = 0.0
    """Natural logarithm of the odds that a scanner, not an ordinary client, gets these first contacts (TRW)."""
    per_minute: float = 0.0
    """Hosts (for a target: sources) per minute between the first and the last knock."""
    span_s: float = 0.0
    """Seconds from the first knock to the last."""
    network: str = ""
    """CIDR of the sources, for `by: network`."""
    traits: str = ""
    """What stays the same in the SYN packets that a program made by itself, past the stack of its system: the tool
    where it has a mark, first time to live, window, segment size. Empty for SYN packets of ordinary systems."""
    scanner: str = ""
    """Who is known to search the whole Internet from that network, by the list rules/lists/research-scanners.csv."""
    campaign: str = ""
    """Identity of all knocks with the same traits that follow each other within hours, whoever sent them."""
    networks: int = 0
    """Different networks (/24, /64) of the sources, for `by: campaign`."""
    source_ports: int = 0
    """Different source ports, for `by: campaign`: 1 where all packets come from the same."""
    overlap: float = 0.0
    """Knocks for each of the hosts, for `by: campaign`: 1.0 where the sources divide the hosts among themselves, the
    number of sources where each asks all of them."""
    final: bool = False
    """No more will be told of it: it was quiet for hours, or the run is over."""
    direction: str = "unknown"


class Exposure(Body):
    """One line of the exposure sheet: a server address and mail port, who asked it, and what it answered.

    Told when a word of it changes (`changes`), and at the end of the run for every address and port.
    """

    state: str
    """open (it answered), closed (reset or ICMP error), stealth (asked, nothing came back)."""
    home: bool = False
    """The server is in the home network."""
    asked_by: list[str] = []
    """lan, wan: where its clients are, by the home network."""
    open_to: list[str] = []
    """lan, wan: to whom it answered."""
    service: str = ""
    """IANA service name, from the bytes."""
    software: str = ""
    """Server software, as its banner or ID response names it."""
    banner: str = ""
    """First line of the server, safe text."""
    tls: bool = False
    """TLS from the first byte was seen."""
    starttls_offered: bool = False
    """The server lists STARTTLS (POP3: STLS)."""
    starttls_used: bool = False
    """At least one client went on to TLS with it."""
    sign_in_in_clear: bool = False
    """A sign-in was offered before any TLS."""
    signed_in_in_clear: bool = False
    """Somebody signed in before any TLS."""
    wan_signed_in_in_clear: bool = False
    """Somebody outside, or from outside, did."""
    connections: int = 0
    """Connections that asked for this address and port, answered or not."""
    connections_wan: int = 0
    """Of these, the ones from outside."""
    answered: int = 0
    """Connections that the server answered."""
    refused: int = 0
    """Connections that a reset or an ICMP error refused."""
    unanswered: int = 0
    """Connections to which nothing came back."""
    clients_lan: int = 0
    """Different client addresses inside."""
    clients_wan: int = 0
    """Different client addresses outside."""
    networks: list[str] = []
    """Networks (/24, /64) of the clients that were answered, the first sixteen, as CIDR."""
    networks_asking: list[str] = []
    """Networks of clients outside that asked, answered or not, the first sixteen."""
    first_seen: str = ""
    """When the first of these connections began, as an EVE time."""
    last_seen: str = ""
    """The last packet of these connections, as an EVE time."""
    proxy: list[str] = []
    """Signs of a local mail proxy: banner, loopback-name, relayed-user, relays."""
    relayed: int = 0
    """Times that the server itself connected to the same service elsewhere, shortly after a client came."""
    upstream: list[str] = []
    """Where to, the first eight."""
    inventory: bool = False
    """There is an inventory to compare with."""
    unexpected: list[str] = []
    """What the inventory does not allow: service, client-network, protocol, clear-text."""
    changes: list[str] = []
    """What is new since this was last told: state, open-to-lan, open-to-wan, service, sign-in, proxy, unexpected."""
    final: bool = False
    """No more will be told of it: the run is over, or the sheet is full."""
    direction: str = "unknown"


class Guessing(Body):
    """Attempts to sign in over time, of one source, for one user or at one server, since the first one that failed."""

    by: str
    """Whose attempts are counted: source, user, server; secret: logins that succeed with one secret."""
    told: str
    """Why now: step (10, 100, 1000 ... attempts), success (after failures), window (it is over), end (of the run)."""
    window_s: int
    """Length of the window that the counts are of: 3600 or 86400. It begins with the first failure."""
    span_s: float
    """Time from the first attempt of the window to the last."""
    attempts: int
    """Failures, successes and others; with `by: secret` the users."""
    failures: int
    """Attempts that the server refused."""
    successes: int = 0
    """Attempts that worked."""
    others: int = 0
    """Attempts that were given up, or whose answer the capture does not hold."""
    user: str = ""
    """The user, where all attempts are for one."""
    users: int = 0
    """Different users that failed; with `by: secret`, that signed in with this secret."""
    sources: int = 0
    """Different addresses that failed."""
    servers: int = 0
    """Different servers that refused."""
    secrets: int = 0
    """Different secrets that failed, by their keyed hash; 0 where the mechanism hides them."""
    secrets_of_one_user: int = 0
    """Different secrets that failed for one user, where they are most."""
    users_of_one_secret: int = 0
    """Different users for whom one secret failed, where they are most."""
    failures_before_success: int = 0
    """The longest run of failures that a success ended."""
    succeeded: list[str] = []
    """Users who signed in after failures, the first ones."""
    peak_minute: int = 0
    """Most failures in one minute (of minutes that are counted from the first failure)."""
    peak_hour: int = 0
    """Most failures in one hour, counted alike."""
    default_accounts: int = 0
    """Failures with an account of the lists of factory accounts and common passwords."""
    weak: int = 0
    """Failures with an empty password, or one that is the user name."""
    mechanisms: list[str] = []
    """How it was tried: login, plain, cram-md5 ..."""
    tools: list[str] = []
    """Programs whose habits the failed attempts show, by tags and by how the command is written: medusa, ncrack, hydra,
    nmap; imaplib, curl, thunderbird and others (docs/how-to/tuning.md has the table)."""
    forms: list[str] = []
    """How the failed attempts were written (login.form)."""
    clients: list[str] = []
    """What the clients called themselves by ID commands."""
    connections: int = 0
    """Connections whose first attempt is among the failures."""
    most_in_one_connection: int = 0
    """Most attempts in one connection."""
    direction: str = "unknown"


class Beacon(Body):
    """How regular the connections of a client to a server are, or the turns inside one connection."""

    over: str
    """What was measured: connections (of one client, server and port) or turns (of one side, in one connection)."""
    told: str
    """Why now: step (10, 100, 1000 ... units), window (an hour after the last time), end (of the connection or run)."""
    units: int
    """Connections or turns so far."""
    scored: int = 0
    """Of these, the newest ones that the score looks at."""
    too_few: bool = False
    """Fewer units than a score needs; scores are 0 then."""
    score: float = 0.0
    """0 to 1: the sum of the sub-scores by their weights, damped where `damped` says so."""
    rhythm: float = 0.0
    """The same before damping."""
    damped: str = ""
    """Why the score is less than the rhythm: genuine-imap (mail programs poll as regularly as an implant calls)."""
    regularity: float = 0.0
    """Sub-score: 1 where all intervals are equal, 0 where they spread by half of their median or more."""
    symmetry: float = 0.0
    """Sub-score: 1 where intervals spread to both sides of their median alike (Bowley skewness)."""
    size_regularity: float = 0.0
    """Sub-score: 1 where all units have the same size, as `regularity`."""
    coverage: float = 0.0
    """Sub-score: the part of the time that the rhythm lasted, without long pauses."""
    amount: float = 0.0
    """Sub-score: 1 where there are 20 intervals or more."""
    interval_s: float = 0.0
    """Median of the intervals."""
    jitter: float = 0.0
    """Median deviation of the intervals from their median, as a part of it."""
    span_s: float = 0.0
    """From the first unit that was scored to the last."""
    side: str = "client"
    """Whose units these are: client or server (the one that keeps the better rhythm)."""
    bytes_client: float = 0.0
    """Median of the client's bytes in one unit."""
    bytes_server: float = 0.0
    """Median of the server's bytes in one unit."""
    upload_share: float = 0.0
    """Part of all bytes that the client sent."""
    duration_ms: int = 0
    """Median length of the connections."""
    genuine: int = 0
    """Connections that were genuine IMAP."""
    foreign: int = 0
    """Connections that were not IMAP, or imitated it."""
    silent: int = 0
    """Connections without payload."""
    encrypted: int = 0
    """Connections that went into TLS."""
    verdict: str = ""
    """Verdict of most of the connections."""
    protocol: str = ""
    """Protocol of the last connection, where it has a name."""
    shape: str = ""
    """What the last connection looked like, where it has no name."""
    direction: str = "unknown"


class Mailbox(Body):
    """What one client did to the mailboxes of a server over time, or what several did to one mailbox."""

    by: str
    """Whose doings are counted: client (at one server), or mailbox (of one user, of all clients)."""
    told: str
    """Why now: step (10, 100, 1000 ... of one of the counts), window (it is over), end (of the run)."""
    window_s: int
    """Length of the window that the counts are of, in seconds."""
    span_s: float
    """Time from the first counted command of the window to the last."""
    user: str = ""
    """User of the last of the conversations, where its login was seen."""
    mailbox: str = ""
    """The mailbox of which is told; of `by: client` the last one that something was stored in or removed from."""
    mailboxes: int = 0
    """Different mailboxes that were used."""
    appends: int = 0
    """Messages stored."""
    drafts: int = 0
    """Of these, into a mailbox of drafts, or as a draft."""
    opaque_appends: int = 0
    """Of these, without mail headers: one blob."""
    bytes_stored: int = 0
    """Bytes of these messages."""
    bodies: int = 0
    """Whole messages fetched."""
    bytes_fetched: int = 0
    """Bytes of what was fetched."""
    opaque_bodies: int = 0
    """Answers to FETCH with a body without mail headers."""
    deleted: int = 0
    r"""Messages marked as \Deleted."""
    expunged: int = 0
    """Messages removed for good."""
    searches: int = 0
    """Searches for a text: of the subject, a sender, the body, a header."""
    repeated_search: int = 0
    """How often the same of these searches came, where it is most."""
    repeated_criteria: str = ""
    """That search."""
    created: int = 0
    """Mailboxes created."""
    dropped: int = 0
    """Mailboxes deleted."""
    cycles: int = 0
    """Rounds of: a whole message fetched, one removed, one stored, all in one mailbox."""
    peers: int = 0
    """Different clients that stored something in the mailbox, or took something out of it."""
    handovers: int = 0
    """Messages that one client stored, and another one then fetched and removed."""
    direction: str = "unknown"


class KernelCounts(msgspec.Struct, kw_only=True):
    """What the kernel's packet ring counted since the start; the names are those of EVE's `stats.capture`."""

    kernel_packets: int
    """Packets that came and passed the filter, dropped ones among them."""
    kernel_drops: int
    """Packets for which the ring had no room: nobody has seen them."""
    frozen: int = 0
    """Times that the ring was full."""


class StatsInterval(msgspec.Struct, kw_only=True):
    """The same since the `stats` event before."""

    seconds: float
    """Length of the interval."""
    packets: int
    """Packets read."""
    bytes: int
    """Their captured bytes."""
    drops: int
    """Packets that the kernel dropped."""


class OutputCounts(msgspec.Struct, kw_only=True):
    """What became of the lines of a live run."""

    lines: int = 0
    """Lines that were handed on to the output."""
    lines_dropped: int = 0
    """Lines that the output had no room for: it was too slow, full or away."""
    bytes_waiting: int = 0
    """Bytes that wait for the output now."""
    failures: int = 0
    """Times that writing, connecting or opening failed."""
    files: int = 0
    """Times that a file was opened: at the start, by rotation, by request, because it was moved away."""


class Stats(Body):
    """How a live run is doing, told at fixed times: counts are since the start unless they say otherwise."""

    interface: str
    """The interface that is watched."""
    link: str
    """up, down, removed."""
    uptime: int
    """Seconds since the start."""
    capture: KernelCounts
    interval: StatsInterval
    packets: int
    """Packets read: capture.kernel_packets - capture.kernel_drops, but for those that wait in the ring."""
    bytes: int
    """Their captured bytes."""
    flows: int
    """Conversations of any port."""
    flows_open: int = 0
    """Of these, those that go on."""
    sessions: dict[str, int] = {}
    """Sessions by verdict."""
    alerts: dict[str, int] = {}
    """Alerts by level."""
    events: dict[str, int] = {}
    """Lines by event type."""
    skipped: dict[str, int] = {}
    """Packets that gave no segment, by reason."""
    limits: dict[str, int] = {}
    """Limits that were hit, and how often."""
    notes: dict[str, int] = {}
    """Oddities of the link: frames-above-mtu, link-went-down, interface-returned, clock-stepped ..."""
    output: OutputCounts | None = None
    workers: int = 1
    """Processes that share the packets."""
    reloads: int = 0
    """Times that rules, indicators and inventory were read again."""
    reloads_failed: int = 0
    """Times that they were wrong, and the old ones stayed."""
    lag_ms: int = 0
    """How old the newest packet was when it had been read."""
    memory_kib: int = 0
    """Resident memory of all processes."""
    cpu_ms: int = 0
    """Processor time of all processes."""


EventBody = (
    Session | Command | Login | Message | Tls | Anomaly | FlowBody | Capture | Signature | Indicator | Service | Scan
    | Exposure | Guessing | Beacon | Mailbox | Stats
)

EVENT_TYPES: dict[type[Body], str] = {
    Session: "session", Command: "command", Login: "login", Message: "message", Tls: "tls",
    Anomaly: "anomaly", FlowBody: "flow", Capture: "capture", Signature: "signature", Indicator: "indicator",
    Service: "service", Scan: "scan", Exposure: "exposure",
    Guessing: "guessing", Beacon: "beacon", Mailbox: "mailbox", Stats: "stats",
}
"""The event type that each body stands for, in EVE lines and as a Sigma category."""


class Turns(Body):
    """pipeline -> observe: when each side spoke in a conversation in which no IMAP was read. Never shown.

    It stands directly before the session event of its flow.
    """

    times: list[int]
    """When each turn began, in ns. A turn is the bytes of one side until the other speaks, or until it pauses."""
    sizes: list[int]
    """Bytes of each turn."""
    sides: bytes
    """0 client, 1 server, for each turn."""
    count: int
    """Turns of the conversation, those included that were forgotten."""


TURNS = "turns"
"""The kind of events with `Turns`: no event type, for nobody outside of the program sees them."""
OPEN_SESSION = "open-session"
"""pipeline -> detect: the kind of events with what a `Session` is so far that is still open. Never shown: a session is
told of once, when it is over; but the rules of sessions raise their alerts."""


class Minute(Body):
    """pipeline -> observe: another minute of packet time has begun. Never shown.

    It stands where the first packet of the minute does, behind what that packet made known: so windows of time are over
    at the same place however packets were cut into batches, although nothing else happens.
    """


MINUTE = "minute"
"""The kind of events with `Minute`: no event type, as `TURNS`."""


class Event(msgspec.Struct, gc=False):
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
