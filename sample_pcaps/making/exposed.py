"""Searches for mail servers from inside and outside, and services that nobody put on the inventory."""

from __future__ import annotations

from dataclasses import replace

from scapy.layers.inet import TCP

from making.attacks import CLEAR_GREETING, sign_in
from making.catalogue import mail_server, sample, stranger, workstation
from making.genuine import mail_program
from making.impostors import ssh_key_exchange
from making.network import CLIENT, MILLISECOND, SECOND, SERVER, START_NS, Host, Tcp, Trace, inside, outside, play

MAIL_PORTS = (25, 110, 143, 465, 587, 993, 995)


def probe(
    trace: Trace,
    time_ns: int,
    scanner: Host,
    target: Host,
    port: int,
    answer: str = "RA",
    flags: str = "S",
    source_port: int = 48_926,
    mss_only: bool = True,
    window: int = 1_024,
) -> None:
    """One raw segment as scanning tools make it, and the target's answer (flags; empty: it says nothing)."""
    sequence = 0x5B9C_2F11
    trace.add(
        time_ns,
        scanner,
        target,
        TCP(
            sport=source_port,
            dport=port,
            flags=flags,
            seq=sequence,
            window=window,
            options=[("MSS", 1_460)] if mss_only and flags == "S" else [],
        ),
    )
    if not answer:
        return
    time_ns += trace.jitter(MILLISECOND // 5)
    trace.add(
        time_ns,
        target,
        scanner,
        TCP(
            sport=port,
            dport=source_port,
            flags=answer,
            seq=0x1F00_0000 + port,
            ack=sequence + 1,
            window=64_240 if "S" in answer else 0,
            options=[("MSS", 1_460)] if "S" in answer else [],
        ),
    )
    if "S" in answer:  # the scanner's kernel knows nothing of the connection
        time_ns += trace.jitter(MILLISECOND // 5)
        trace.add(
            time_ns, scanner, target, TCP(sport=source_port, dport=port, flags="R", seq=sequence + 1, window=0)
        )


@sample(
    "scan-inside",
    "A host inside searches for mail servers with nmap: port 143 of 24 hosts, then many ports of one.",
    verdicts={"silent": 25},
    alerts=("scanning",),
)
def scan_inside(trace: Trace) -> None:
    scanner = workstation(88, "linux")
    for number in range(24):
        target = inside(f"10.20.0.{number + 11}", 0x60 + number)
        answer = "SA" if number == 14 else "" if number % 6 == 3 else "RA"
        probe(trace, START_NS + number * 9 * MILLISECOND, scanner, target, 143, answer)
    found = mail_server()
    others = (21, 22, 53, 80, 111, 135, 139, 389, 443, 445, 631, 1025, 3306, 3389, 5432, 5900, 8080, 8443)
    for number, port in enumerate(sorted((*MAIL_PORTS, *others))):
        answer = "SA" if port in {22, 25, 143} else "RA"
        when = START_NS + 2 * SECOND + number * 3 * MILLISECOND
        probe(trace, when, scanner, found, port, answer, source_port=48_927)


@sample(
    "slow-scan",
    "A host inside tries port 143 of one host every eight minutes, twelve in all: below all limits a minute.",
    verdicts={"silent": 12},
    alerts=("scanning",),
)
def slow_scan(trace: Trace) -> None:
    scanner = workstation(89, "linux")
    for number in range(12):
        target = inside(f"10.20.0.{3 * number + 11}", 0x60 + number)
        tcp = Tcp(trace, scanner, target, start=0.0, connect=False)
        tcp.now = START_NS + trace.jitter(480 * SECOND * number, 0.02)
        tcp.packet(0, "S")
        if number % 3 == 1:
            tcp._react(1)
            tcp.packet(1, "RA")


@sample(
    "odd-probes",
    "Six addresses of one network outside share a scan of 18 hosts with masscan; a seventh sends FIN, NULL and XMAS.",
    verdicts={"silent": 27},
    alerts=("scanning",),
)
def odd_probes(trace: Trace) -> None:
    for number in range(18):
        scanner = stranger(20 + number % 6)
        target = inside(f"10.20.0.{number + 11}", 0x60 + number)
        low_half = number + 11  # of 10.20.0.x
        scanner.identification = ((low_half ^ 143 ^ 0x2F11) - 1) & 0xFFFF
        when = START_NS + number * 350 * MILLISECOND
        probe(trace, when, scanner, target, 143, "" if number % 4 else "RA", source_port=40_019, mss_only=False)
    odd = outside("203.0.113.77", 14)
    for number in range(9):
        target = inside(f"10.20.0.{number + 61}", 0x80 + number)
        flags = ("F", "", "FPU")[number % 3]
        when = START_NS + 9 * SECOND + number * 120 * MILLISECOND
        probe(trace, when, odd, target, 143, "RA" if number % 2 else "", flags, source_port=51_333)


@sample(
    "shared-scan",
    "Six hosts of three networks run one program that makes its packets itself, and divide 36 hosts among themselves.",
    verdicts={"silent": 36},
    alerts=("scanning",),
)
def shared_scan(trace: Trace) -> None:
    scanners = [outside(address, 9 + number) for number, address in enumerate(
        ("192.0.2.17", "192.0.2.83", "198.51.100.140", "198.51.100.201", "203.0.113.60", "203.0.113.152"))]
    targets = list(range(36))
    trace.random.shuffle(targets)
    for turn, number in enumerate(targets):
        scanner = scanners[number % len(scanners)]
        when = START_NS + turn * 1_900 * MILLISECOND + trace.jitter(400 * MILLISECOND)
        probe(trace, when, scanner, inside(f"10.20.0.{number + 11}", 0x60 + number), 143, "" if number % 3 else "RA",
              source_port=31_337, mss_only=False, window=29_200)


@sample(
    "research-scanner",
    "A search engine for the Internet asks 18 hosts with zmap, and the mail server as ZGrab does; another one's "
    "crawler grabs the banner with ID NIL.",
    verdicts={"silent": 18, "genuine": 2},
    protocol="imap",
    alerts=("scanning",),
)
def research_scanner(trace: Trace) -> None:
    scanner, crawler = outside("203.0.113.135", 12), outside("198.51.100.185", 15)
    raw = replace(scanner, ttl=255 - 12)  # what zmap makes past the stack of its system
    for number in range(18):
        target = inside(f"10.20.0.{number + 30}", 0x60 + number)
        raw.identification = 54_321 - 1
        when = START_NS + number * 90 * MILLISECOND
        probe(trace, when, raw, target, 143, "" if number % 4 else "RA", mss_only=False, window=65_535,
              source_port=34_000 + 37 * number)
    greeting = CLEAR_GREETING
    play(
        Tcp(trace, scanner, mail_server(), start=9.0),
        greeting + "\nC: a001 CLOSE\nS: a001 BAD Error in IMAP command received by server.",
    ).close(CLIENT)
    play(
        Tcp(trace, crawler, mail_server(), start=31.0),
        greeting + """
C: A001 CAPABILITY
S: * CAPABILITY IMAP4rev1 ID AUTH=PLAIN
S: A001 OK Capability completed.
C: A002 ID NIL
S: * ID ("name" "Dovecot")
S: A002 OK ID completed.
C: A003 STARTTLS
S: A003 BAD Error in IMAP command received by server.
C: A004 LOGOUT
S: * BYE Logging out
S: A004 OK Logout completed.
""",
    ).close(SERVER)


@sample(
    "unexpected-server",
    "An office and its inventory: a second IMAP server on a desk, a stranger at the first one, SSH behind port 993.",
    verdicts={"genuine": 4},
    protocol="imap",
    alerts=("exposure",),
    inventory="""\
# What is meant to be where: compared with the exposure sheet of unexpected-server.pcap.
networks:
  office: [10.20.0.0/16]
services:
  - servers: [10.20.0.25]
    ports: [143, 993]
    clients: [office]
    protocols: [imap, tls]
    note: the mail server
""",
)
def unexpected_server(trace: Trace) -> None:
    server, second = mail_server(), workstation(61, "linux")
    mail_program(Tcp(trace, workstation(41), server, start=0.0), "maria", 20.0)
    mail_program(Tcp(trace, workstation(42), server, start=4.0), "jonas", 15.0)
    sign_in(Tcp(trace, stranger(58), server, start=12.0), "ines", "s3cret", False).close()
    play(
        Tcp(trace, workstation(43), second, start=30.0),
        f"""
{CLEAR_GREETING}
C: b1 LOGIN "omar" "hunter2"
S: b1 OK Logged in
C: b2 LOGOUT
S: * BYE bye
S: b2 OK done
""",
    ).close(1)
    tunnel = Tcp(trace, workstation(44, "linux"), server, 993, start=40.0)
    tunnel.server(b"SSH-2.0-OpenSSH_9.6\r\n").client(b"SSH-2.0-OpenSSH_9.6\r\n")
    ssh_key_exchange(tunnel, trace)
    tunnel.close()
