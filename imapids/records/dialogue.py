"""parse -> judge: the facts of a dialogue."""

from __future__ import annotations

import msgspec

from imapids.records.candidates import Candidate, Evidence
from imapids.records.streams import Flow, StreamConflict


class TlsFacts(msgspec.Struct, kw_only=True):
    """What the records of a TLS stream showed (parse/tls -> judge).

    Real TLS: a well-formed ClientHello and a well-formed ServerHello that chooses from it, then encrypted records.
    """

    client_hello: bool = False
    """A well-formed ClientHello (also in the form of SSL 2.0)."""
    server_hello: bool = False
    """A well-formed ServerHello."""
    application_data: bool = False
    """Records of type 23 were seen."""
    valid_records: int = 0
    """Record headers of both sides that follow one another without a break."""
    broken: bool = False
    """Something stands where TLS cannot have it, and no gap explains it: a record header that is none, or what
    `fake` names."""
    fake: bool = False
    """Record headers of TLS around something else, from a start that was seen: application data without a hello of
    that side, a hello that is none, or a choice that was never offered and is used."""
    alert: str = ""
    """Description of the first alert in clear, without close_notify: handshake_failure, unknown_ca, ..."""
    version: str = ""
    """The version that the server chose, as EVE writes it; the highest that the client offers while no server spoke."""
    sni: str = ""
    client_alpns: list[str] = []
    server_alpns: list[str] = []
    ja3: str = ""
    ja3_string: str = ""
    ja3s: str = ""
    ja4: str = ""
    subject: str = ""
    issuer: str = ""
    fingerprint: str = ""
    """SHA-1 of the server's certificate, hex pairs with colons; visible up to TLS 1.2."""
    evidence: list[Evidence] = []
    """Where it is `fake` or broken: the place, in the order of the capture."""
    offered_version: str = ""
    """The highest version that the client offers."""
    ja3s_string: str = ""
    cipher: int = 0
    """The cipher suite that the server chose."""
    choice_offered: bool = True
    """Version and cipher suite of the ServerHello are among those that the client offered."""
    alert_side: str = ""
    """Who sent that alert; or a close_notify in clear, by which some servers refuse what was no handshake."""
    encrypted_client: bool = False
    """The client sent ChangeCipherSpec or application data."""
    encrypted_server: bool = False
    resumed: bool = False
    """The session or pre-shared key of an earlier connection was taken up."""
    retried: bool = False
    """The server asked for another ClientHello."""
    certificate: bool = False
    """The server's certificate was read."""
    serial: str = ""
    not_before: str = ""
    not_after: str = ""
    names: list[str] = []
    """Subject alternative names of the server's certificate."""
    self_issued: bool = False
    """Subject and issuer of the certificate are the same."""
    records_client: int = 0
    records_server: int = 0
    application_bytes_client: int = 0
    """Bytes inside records of type 23, as far as the capture holds them."""
    application_bytes_server: int = 0
    hello_packet: int = 0
    """The packet in which the ClientHello begins; that of the ServerHello where the client's was not seen."""
    hello_offset: int = 0
    """Position of that record in its side's stream."""
    gaps: int = 0
    limits: list[str] = []


class ImapFacts(msgspec.Struct, kw_only=True):
    """What the IMAP machine verified and what it found broken (parse/imap -> judge).

    Counts of broken things hold only what is certain: nothing that a gap, a missing side or a start before the
    capture could explain.
    """

    greeting: str = ""
    """ok, preauth, bye, or empty where the server's first line was none (or the start was not seen)."""
    greeting_text: str = ""
    """The line, safe text."""
    greeting_packet: int = 0
    greeting_missing: bool = False
    """The start was seen, and the server's first line was an answer: no greeting came before it."""
    midstream: bool = False
    state: str = "unknown"
    """not-authenticated, authenticated, selected, logout, unknown: at the end."""

    # what was verified
    commands: int = 0
    """Client lines of the form `tag word`, continued lines not counted."""
    known_commands: int = 0
    """Those whose word is a command of an IMAP document or begins with X."""
    ordered_commands: int = 0
    """Known commands that the state allowed when they were sent."""
    completed: int = 0
    """Commands whose tagged completion came."""
    completed_packet: int = 0
    """Where the first of these completions stands."""
    completed_offset: int = 0
    selected: int = 0
    """Mailboxes that were opened."""
    completed_ok: int = 0
    completed_legal: int = 0
    """Known commands that ended OK in a state that allows them."""
    untagged: int = 0
    """Server lines `* word` with a word of an IMAP document."""
    tagged: int = 0
    """Server lines `tag OK|NO|BAD`, of whatever tag."""
    continuations: int = 0
    prompts: int = 0
    """Those that the client was waiting for: a literal, a SASL response, IDLE."""
    refusals: int = 0
    """`* BYE` after the client spoke."""
    literals: int = 0
    """Literals that were followed to their end, both sides."""
    literal_bytes: int = 0
    byes: int = 0
    answers_to_nonsense: int = 0
    """`BAD` or `NO` lines that answer client lines which were no commands."""

    # what was broken
    server_nonsense: int = 0
    """Server lines that no IMAP server sends."""
    server_binary: int = 0
    """Those of them that are no text."""
    server_pending: bool = False
    """The server's last, unfinished line is already none that an IMAP server sends."""
    unmatched: int = 0
    """Tagged answers whose tags were never sent."""
    echoes: int = 0
    """Server lines equal to the client's line before."""
    impossible: int = 0
    """Commands that ended OK in a state in which no server carries them out."""
    before_login: int = 0
    """Data about mailboxes or messages before anyone signed in."""
    literal_lies: int = 0
    """Literals after whose announced size the response does not go on."""
    literal_open: bool = False
    """The server's last literal is not complete."""
    opaque_texts: int = 0
    """Responses whose text is encoded data where the grammar has words for people."""
    opaque_arguments: int = 0
    """Commands that take no argument, sent with encoded data, and ended OK."""
    auth_rounds: int = 0
    """Most client responses inside one AUTHENTICATE."""
    auth_open: bool = False
    """That AUTHENTICATE was never completed."""
    reversed_roles: bool = False
    """The side that opened the connection greets and answers, the other sends commands."""
    client_nonsense: int = 0
    """Client lines that are no IMAP command."""
    client_binary: int = 0

    # upgrades
    starttls: str = ""
    """Empty (never offered), offered, asked, accepted, refused."""
    compress: str = ""
    """Empty, asked, active, refused, broken."""
    compress_broken: str = ""
    """client, server or both: whose bytes were no deflate stream after COMPRESS was accepted."""
    inflated: bool = False
    """Lines of IMAP were read from inflated bytes."""
    injected: int = 0
    """Commands sent between STARTTLS and its answer (command injection, CVE-2011-0411)."""
    sasl_layer: bool = False
    """A SASL security layer followed AUTHENTICATE: its frames fit, their content cannot be seen."""
    sasl_frames: int = 0
    sasl_packet: int = 0
    """Frame number of the answer after which that layer began."""
    upgrade_packet: int = 0
    """Frame number of the server's last answer to STARTTLS or COMPRESS."""

    # for the session record
    software: str = ""
    client_software: str = ""
    capabilities: list[str] = []
    logins: int = 0
    """Attempts to sign in."""
    logins_failed: int = 0
    preauth: bool = False
    logindisabled: bool = False
    gaps_client: int = 0
    gaps_server: int = 0
    bytes_client: int = 0
    """Bytes of the side that the machine was given."""
    bytes_server: int = 0
    lines_client: int = 0
    lines_server: int = 0
    limits: list[str] = []
    evidence: list[Evidence] = []
    """What was broken or odd, in the order of the stream."""
    completed_before: list[int] = []
    """For each piece of evidence, how many commands had been completed before it."""


class OtherReading(msgspec.Struct):
    """What a conversation is when its later copies of the same bytes are taken instead of the first ones."""

    verdict: str
    name: str
    """Its protocol or shape; empty where it has none."""
    confidence: str
    conflict: StreamConflict
    """The first place at which the copies differ."""


class SessionFacts(msgspec.Struct, kw_only=True):
    """Everything that is known of one conversation (pipeline -> judge)."""

    flow: Flow
    first_side: int | None = None
    """Who sent payload first: CLIENT 0, SERVER 1; None: nobody."""
    seen_client: int = 0
    """Payload bytes of the side that were delivered (retransmissions left out)."""
    seen_server: int = 0
    gaps_client: int = 0
    gaps_server: int = 0
    candidate: Candidate | None = None
    """What the sniffer said of the first bytes."""
    imap: ImapFacts | None = None
    tls: TlsFacts | None = None
    """Direct TLS, or what followed STARTTLS."""
    foreign: Candidate | None = None
    """What the sniffer said of the bytes where a dialogue stopped being IMAP."""
    after_starttls: Candidate | None = None
    """What the sniffer said of bytes after STARTTLS that are not TLS."""
    first_packet_client: int = 0
    """Frame number of the first payload of the side; 0: none."""
    first_packet_server: int = 0
    other_reading: OtherReading | None = None
    """Where copies of first bytes differ, and the conversation reads as something else with the later ones."""
