"""A small office day: web, names, shells and mail of several machines, with one visitor who guesses."""

from __future__ import annotations

import struct

from making.attacks import CLEAR_GREETING, sign_in
from making.catalogue import mail_server, provider, sample, stranger, workstation
from making.genuine import encrypted, mail_program
from making.impostors import ssh_key_exchange
from making.network import CLIENT, SERVER, Host, Tcp, Trace, at, datagram, inside, outside, play


def ask_name(trace: Trace, seconds: float, client: Host, name: str, address: str) -> None:
    """A DNS question and its answer (RFC 1035 section 4)."""
    server = inside("10.20.0.53", 0x53)
    number = trace.random.randrange(65_536)
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    question = labels + b"\0\1\0\1"
    port = client.ephemeral_port()
    datagram(trace, at(seconds), client, server, port, 53, struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + question)
    answer = b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", 300, 4) + bytes(map(int, address.split(".")))
    datagram(
        trace,
        at(seconds) + trace.jitter(3_000_000),
        server,
        client,
        53,
        port,
        struct.pack(">6H", number, 0x8180, 1, 1, 0, 0) + question + answer,
    )


def send_mail(trace: Trace, seconds: float, sender: Host, server: Host, port: int = 25) -> None:
    """A message over SMTP (RFC 5321)."""
    play(
        Tcp(trace, sender, server, port, start=seconds),
        """
S: 220 mail.example.org ESMTP
C: EHLO desk.example.org
S: 250-mail.example.org
S: 250 SIZE 52428800
C: MAIL FROM:<maria@example.org>
S: 250 2.1.0 Ok
C: RCPT TO:<ines@example.org>
S: 250 2.1.5 Ok
C: DATA
S: 354 End data with <CR><LF>.<CR><LF>
C: From: maria@example.org
C: To: ines@example.org
C: Subject: Lunch
C: .
S: 250 2.0.0 Ok: queued as 4F1C22A0
C: QUIT
S: 221 2.0.0 Bye
""",
    ).close(SERVER)


def collect_mail(trace: Trace, seconds: float, client: Host, server: Host) -> None:
    """POP3 in the clear (RFC 1939)."""
    play(
        Tcp(trace, client, server, 110, start=seconds),
        """
S: +OK POP3 ready
C: USER omar
S: +OK
C: PASS hunter2
S: +OK logged in
C: STAT
S: +OK 0 0
C: QUIT
S: +OK bye
""",
    ).close(SERVER)


def remote_shell(trace: Trace, seconds: float, client: Host, server: Host) -> None:
    """SSH where it belongs."""
    tcp = Tcp(trace, client, server, 22, start=seconds)
    tcp.server(b"SSH-2.0-OpenSSH_9.6\r\n").client(b"SSH-2.0-OpenSSH_9.6\r\n")
    ssh_key_exchange(tcp, trace)
    for size in (44, 68, 148, 36, 36):
        tcp.client(trace.random.randbytes(size), 0.7).server(trace.random.randbytes(size + 64))
    tcp.close()


def browse(trace: Trace, seconds: float, client: Host) -> None:
    """A page over HTTP and one over HTTPS."""
    plain, secure = outside("203.0.113.10"), outside("203.0.113.11")
    ask_name(trace, seconds - 0.02, client, "www.example.net", plain.address)
    tcp = Tcp(trace, client, plain, 80, start=seconds)
    page = b"<html>" + b"<p>news of the day</p>" * 160 + b"</html>"
    tcp.client(b"GET /news HTTP/1.1\r\nHost: www.example.net\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n\r\n")
    tcp.server(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(page) + page, 0.03
    ).close()
    ask_name(trace, seconds + 1.0, client, "www.example.com", secure.address)
    encrypted(Tcp(trace, client, secure, 443, start=seconds + 1.1), "office-https").close()


@sample(
    "office-day",
    "An ordinary office for ten minutes: web, DNS, SSH, SMTP, POP3, IMAPS, genuine IMAP of several desks (one with "
    "STARTTLS to a provider), and one outside visitor who guesses passwords.",
    verdicts={"genuine": 11},
    protocol="imap",
    alerts=("credentials",),
)
def office_day(trace: Trace) -> None:
    desks = [workstation(20 + number, "windows" if number % 3 else "linux") for number in range(6)]
    server, outer = mail_server(), provider()
    for number, desk in enumerate(desks):
        browse(trace, 5.0 + 37 * number, desk)
        browse(trace, 260.0 + 31 * number, desk)
        ask_name(trace, 11.0 + 40 * number, desk, "mail.example.org", server.address)
        if number < 4:
            mail_program(
                Tcp(trace, desk, server, start=11.1 + 40 * number),
                ("maria", "jonas", "ines", "omar")[number],
                60.0 + 50 * number,
            )
    encrypted(Tcp(trace, desks[4], outer, 993, start=70.0), "office-imaps", 0.4).close()
    tcp = play(
        Tcp(trace, desks[5], outer, start=90.0),
        """
S: * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready
C: t1 STARTTLS
S: t1 OK go ahead
""",
    )
    encrypted(tcp, "starttls", 0.2).close()
    send_mail(trace, 120.0, desks[0], server)
    send_mail(trace, 205.0, server, outside("203.0.113.40"))
    collect_mail(trace, 150.0, desks[3], server)
    remote_shell(trace, 300.0, desks[2], server)
    visitor = stranger(93)
    for number, password in enumerate(("hunter1", "s3cret", "hunter12", "hunter123", "s3cret1", "hunter22")):
        tcp = Tcp(trace, visitor, server, start=400.0 + 8 * number)
        sign_in(tcp, "info", password, False, CLEAR_GREETING, "01").close(CLIENT)
