"""Limits and timeouts: every number has its unit in its name and its reason beside it."""

from __future__ import annotations

import msgspec


class CaptureLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a capture is held at one time."""

    batch_bytes: int = 12 << 20
    """One packet batch. Two are held where one is made while the one before it is followed; 16 MiB are no faster
    (measured)."""
    batch_packets: int = 65_536
    """One packet batch: 12 MiB of ordinary traffic (180 bytes a packet) in one go take less time than in two; what more
    small packets make of a batch would cost memory and gain nothing (measured)."""
    packet_bytes: int = 16 << 20
    """A longer record is damage: libpcap refuses blocks above 16 MiB."""
    resync_bytes: int = 64 << 20
    """Give up looking for the next plausible record after this many bytes of foreign data."""
    inflate_ratio: int = 1_000
    """A compressed capture that grows more than this is a bomb (deflate ends at 1029:1)."""


class DecodeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How deep frames are followed."""

    layers: int = 16
    """Encapsulations inside each other: Suricata's limit too."""
    ipv6_extension_headers: int = 16
    """A legal chain is far shorter (RFC 8200 section 4.1 lists seven kinds)."""
    fragment_datagrams: int = 4_096
    """Incomplete datagrams held: a flood of first fragments must not fill memory."""
    fragment_bytes: int = 8 << 20
    """Bytes of fragments held in all."""
    fragment_timeout_ns: int = 30 * 10**9
    """RFC 791 suggests 15 s, RFC 8200 demands 60 s; Linux uses 30 s."""
    encapsulations: int = 16_384
    """Distinct paths of VLANs and tunnels: a real network has some hundreds, forged ids must not fill memory."""
    icmp_errors: int = 4_096
    """ICMP errors of one batch that are handed on; the rest is counted."""
    rare_frames: int = 64
    """Frames of one batch that are shown to dpkt because the columns do not know their link header: 20 us each."""


class FlowLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many conversations are followed, how long, and how much of each is held."""

    flows: int = 262_144
    """Rows of the flow table (about 200 bytes each). Half-open ones are evicted first."""
    streams: int = 65_536
    """Selected flows with stream state at one time."""
    peeked_conversations: int = 64
    """Conversations with one port of a server, from one side of the border, whose first bytes are looked at."""
    peeked_every: int = 16
    """Of the later ones, one in so many: a service that changes is still noticed."""
    tcp_idle_ns: int = 3_600 * 10**9
    """IMAP's IDLE is renewed every 29 minutes (RFC 9051 section 6.3.13)."""
    tcp_half_open_ns: int = 60 * 10**9
    """A SYN without an answer is given up by most hosts within a minute."""
    tcp_closed_ns: int = 10 * 10**9
    """After FIN or RST: go on if data follows (a forged RST must not end the inspection)."""
    udp_idle_ns: int = 60 * 10**9
    """A UDP conversation has no end of its own."""
    forward_jump_ns: int = 3_600 * 10**9
    """One packet moves the clock at most this far: one far-future stamp must not expire every flow."""
    pending_bytes: int = 256 << 10
    """Out-of-order bytes held a direction: benign reordering is small and short-lived."""
    pending_segments: int = 1_024
    """Out-of-order segments held a direction."""
    pending_bytes_all: int = 64 << 20
    """Out-of-order bytes held in all flows together."""
    one_sided_hole_segments: int = 32
    """Where nobody acknowledges, a hole that this many later segments do not fill is a gap."""
    history_bytes: int = 4_096
    """Delivered bytes kept a direction, to compare with later copies of the same range."""


class DialogueLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a dialogue is looked at."""

    sniff_bytes: int = 8_192
    """First bytes a side that may decide what a stream is."""
    sniff_turns: int = 64
    """Changes of the speaking side that are remembered for shapes."""
    line_bytes: int = 65_536
    """A longer line is skipped to its end: RFC 9051 section 4 advises servers to take 8,192."""
    literal_digits: int = 20
    """A longer size of a literal is a lie: 2^63 has 19 digits."""
    pending_commands: int = 64
    """Commands without completion that are remembered; the oldest is dropped."""
    nesting: int = 64
    """Parentheses inside each other."""
    inflate_ratio: int = 100
    """COMPRESS=DEFLATE: output over input, after inflate_free_bytes."""
    inflate_free_bytes: int = 65_536
    """Output that is free of the ratio test: short text compresses well."""
    inflate_chunk_bytes: int = 1 << 20
    """Output of one step of inflation."""
    evidence: int = 32
    """Pieces of evidence kept in one session record."""
    text_bytes: int = 200
    """Bytes of the wire shown in one field, before escaping."""
    tls_handshake_bytes: int = 16_384
    """Bytes of one hello or certificate that are gathered: hellos have up to 2 KiB, chains are read to the first."""
    rhythm_turns: int = 256
    """Turns of a conversation without IMAP that are remembered for their rhythm: the newest ones (17 bytes each)."""
    rhythm_pause_ns: int = 200 * 10**6
    """A side that goes on after this pause begins a new turn: longer than a round trip, shorter than any keep-alive."""
    conflicts: int = 32
    """Differing later copies of first bytes that make another reading of a conversation."""
    conflict_bytes: int = 16_384
    """Bytes of those copies, for each conversation: as many as the first bytes of both sides."""
    anomalies: int = 25
    """Anomaly lines of one kind for each flow; the rest is counted in the session record."""


class DetectLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much the rules may remember (an attacker decides how many subjects and groups there are)."""

    open_alerts: int = 65_536
    """Rolling alerts at one time (about 1 KiB each); the one that was quiet longest gets its `final` line first."""
    alert_idle_ns: int = 24 * 3_600 * 10**9
    """A rolling alert that was quiet for a day of packet time ends; what follows is a new one."""
    alerts_per_event: int = 16
    """Rules that may fire on one event, the most severe first; the rest is counted."""
    groups: int = 65_536
    """Groups (values of `group-by`) that one correlation follows; the quietest is dropped."""
    group_entries: int = 4_096
    """Events remembered in one group of a correlation; the oldest is dropped."""
    memo_entries: int = 4_096
    """Remembered answers of one field or one combination of fields; a full memo starts anew."""


class LiveLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much a live run holds, and how long it waits."""

    ring_bytes: int = 64 << 20
    """Packets that wait in the kernel's ring: over half a second of a full gigabit link."""
    block_bytes: int = 128 << 10
    """A block of the ring: longer than frames that offloads make (64 KiB), of few enough packets to step through."""
    block_timeout_ns: int = 50 * 10**6
    """The kernel hands on a block that is not full after this time."""
    gather_ns: int = 50 * 10**6
    """On a quiet link a batch waits this long for more blocks: twenty batches a second cost little."""
    gather_blocks: int = 8
    """Blocks that are worth a batch at once."""
    batch_packets: int = 2_048
    """One batch while the run keeps up: batches of one size leave few holes in memory, and at 100,000 packets a second
    they cost 1.5 microseconds a packet more than the longest (measured)."""
    hurry_blocks: int = 32
    """Blocks that wait: then it does not keep up, and batches are longer."""
    hurry_packets: int = 8_192
    """One batch then: three times as many cost 13 % less (measured), and their columns would be kept for good."""
    tick_ns: int = 10**9
    """Statistics, the state of the link, and the clock of a silent link are looked at this often."""
    clock_margin_ns: int = 10**9
    """The clock of a silent link stays this far behind: a packet on its way must not come too late."""
    open_session_ns: int = 300 * 10**9
    """A session that is still open is judged at this age for the first time, then at twice that age, and so on: shells
    and tunnels stay open for weeks, while most sessions of mail programs that fetch are over by then."""
    output_bytes: int = 16 << 20
    """Lines that wait for a slow output; what does not fit is dropped and counted."""
    output_retry_ns: int = 10**9
    """An output that failed is tried again after this time."""
    stop_ns: int = 1_500 * 10**6
    """From the signal to the end of all output."""
    worker_events: int = 200_000
    """Events of one worker that wait for the others; then it waits, and the kernel counts what it drops."""
    worker_silence_ns: int = 3 * 10**9
    """The events of all wait this long at most for a worker that says nothing."""


class ObserveLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much is remembered over time (an attacker decides how many sources, users and mailboxes there are)."""

    groups: int = 16_384
    """Sources, users, servers or mailboxes that one observer counts at a time; the oldest is told of and dropped."""
    values: int = 262_144
    """Different users, addresses, secrets that one observer remembers in all, to count them (about 100 bytes each)."""
    group_values: int = 16_384
    """Of these in one group: one source must not use up what all have."""
    secrets: int = 262_144
    """Different secrets of a day's logins whose first user is remembered, as keyed hash (about 150 bytes each)."""
    pairs: int = 65_536
    """Pairs of client and server whose connections are counted; the one that began first is told of and dropped."""
    connections: int = 131_072
    """Connections of all pairs that are remembered for their rhythm (24 bytes each, reserved at the start)."""
    pair_connections: int = 256
    """Connections of one pair: its newest ones decide the score."""
    mailbox_values: int = 65_536
    """Different mailboxes, searches and clients that are remembered in all, to count them (up to 400 bytes each)."""
    mailbox_group_values: int = 128
    """Of these with one client or in one mailbox."""
    flow_users: int = 65_536
    """Conversations whose user is remembered, for what is done to the mailboxes; the oldest is forgotten."""
    hour_ns: int = 3_600 * 10**9
    """The short window of counts over time, and the longest silence about a pair whose connections go on."""
    day_ns: int = 24 * 3_600 * 10**9
    """The long window of counts over time: who guesses slowly stays below the counts of an hour."""
    scan_idle_ns: int = 6 * 3_600 * 10**9
    """A scanner that was quiet for so long is told of for the last time: one host an hour is still one scan."""
    endpoints: int = 65_536
    """Server addresses and ports on the exposure sheet at a time; the quietest are told of and dropped."""
    closed_endpoints: int = 4_096
    """Of these, the ones that never answered and are told of at the end: a sweep asks thousands that do not exist."""
    endpoint_networks: int = 16
    """Networks of clients that a line of the sheet names; a firewall rule with more is no rule any more."""
    relay_connections: int = 4_096
    """Newest connections to mailboxes among which a relay is looked for."""
    relay_ns: int = 5 * 10**9
    """A proxy connects upstream within seconds of its client's connection; a second program of the host need not."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """All limits of a run."""

    capture: CaptureLimits = CaptureLimits()
    decode: DecodeLimits = DecodeLimits()
    flows: FlowLimits = FlowLimits()
    dialogue: DialogueLimits = DialogueLimits()
    detect: DetectLimits = DetectLimits()
    observe: ObserveLimits = ObserveLimits()
    live: LiveLimits = LiveLimits()


DESIGN_MEMORY_BYTES = 400 << 20
"""What a run with the default limits holds at most (measured on the exhaustion captures)."""
BASE_MEMORY_BYTES = 112 << 20
"""Python, NumPy, the rules and the YARA engine: the part that no limit makes smaller."""


def limits_within(memory_bytes: int) -> Limits:
    """Limits for a run that is to hold at most about `memory_bytes`: every table and buffer shrinks or grows alike.

    Raises ValueError below 160 MiB, where too little would be left to follow conversations honestly.
    """
    if memory_bytes < 160 << 20:
        raise ValueError("at least 160M are needed")
    share = min(8.0, (memory_bytes - BASE_MEMORY_BYTES) / (DESIGN_MEMORY_BYTES - BASE_MEMORY_BYTES))
    capture, decode, flows = CaptureLimits(), DecodeLimits(), FlowLimits()
    # A batch never grows: 12 MiB is as fast as more. It must hold one packet of the greatest legal size.
    batch = min(capture.batch_bytes, max(4 << 20, int(capture.batch_bytes * share)))
    return Limits(
        capture=msgspec.structs.replace(capture, batch_bytes=batch, packet_bytes=min(batch, capture.packet_bytes)),
        decode=msgspec.structs.replace(
            decode, fragment_bytes=int(decode.fragment_bytes * share),
            fragment_datagrams=int(decode.fragment_datagrams * share)),
        flows=msgspec.structs.replace(
            flows, flows=int(flows.flows * share), streams=int(flows.streams * share),
            pending_bytes_all=int(flows.pending_bytes_all * share)),
    )


HOME_NETS = (
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # RFC 1918
    "169.254.0.0/16", "127.0.0.0/8", "100.64.0.0/10",  # link-local, loopback, shared (RFC 6598)
    "fc00::/7", "fe80::/10", "::1/128",  # RFC 4193, RFC 4291
)
"""The default of --home-net: private and unique local ranges."""
