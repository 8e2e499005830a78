"""What only shows over time: guessing that is spread or slow, calls in a rhythm, and mailboxes that pass on orders."""

from __future__ import annotations

import base64
import hashlib

from making.attacks import CLEAR_GREETING, STARTTLS_GREETING, USERS, sign_in
from making.catalogue import mail_server, provider, sample, stranger, workstation
from making.genuine import INBOX, encrypted, said
from making.network import CLIENT, SERVER, Host, Tcp, Trace, outside, play
from making.office import ask_name

CRAM_GREETING = "S: * OK [CAPABILITY IMAP4rev1 AUTH=CRAM-MD5] ready"


def password(number: int) -> str:
    """One of many, none of them anybody's."""
    return f"hunter{number}"


@sample(
    "credential-stuffing",
    "One address tries 14 users, each with another password: a list of stolen pairs.",
    verdicts={"genuine": 14},
    protocol="imap",
    alerts=("credentials",),
)
def credential_stuffing(trace: Trace) -> None:
    for number, user in enumerate(USERS[:14]):
        tcp = Tcp(trace, stranger(101), mail_server(), start=6.0 * number + trace.random.uniform(0, 2))
        sign_in(tcp, user, password(100 + number), False).close(CLIENT)


@sample(
    "few-users-guessing",
    "One address tries four passwords for each of four users.",
    verdicts={"genuine": 4},
    protocol="imap",
    alerts=("credentials",),
)
def few_users_guessing(trace: Trace) -> None:
    for number, user in enumerate(USERS[:4]):
        tcp = Tcp(trace, stranger(102), mail_server(), start=30.0 * number)
        play(tcp, CLEAR_GREETING)
        for attempt in range(4):
            play(
                tcp,
                f'C: {attempt + 2} LOGIN "{user}" "{password(200 + 4 * number + attempt)}"\n~ 2.0\n'
                f"S: {attempt + 2} NO [AUTHENTICATIONFAILED] Authentication failed.",
            )
        tcp.close(CLIENT)


@sample(
    "hydra-stops",
    "Six passwords for one user, counted and written as Hydra does, three in a connection; then only a desk asks for "
    "names, for an hour and a half.",
    verdicts={"genuine": 2},
    protocol="imap",
    alerts=("credentials",),
)
def hydra_stops(trace: Trace) -> None:
    source, desk = stranger(103), workstation(44)
    for connection in range(2):
        tcp = play(
            Tcp(trace, source, mail_server(), start=9.0 * connection),
            CLEAR_GREETING + "\nC: 1 CAPABILITY\nS: * CAPABILITY IMAP4rev1 SASL-IR\nS: 1 OK Capability completed.",
        )
        for attempt in range(3):
            play(
                tcp,
                f'C: {attempt + 2} LOGIN "maria" "{password(400 + 3 * connection + attempt)}"\n~ 2.0\n'
                f"S: {attempt + 2} NO [AUTHENTICATIONFAILED] Authentication failed.",
            )
        tcp.close(CLIENT)
    for minute in range(0, 95, 5):
        ask_name(trace, 60.0 * minute + 30.0, desk, "www.example.net", "203.0.113.10")


@sample(
    "distributed-guessing",
    "Logins of one user fail from ten addresses, those of others from twelve more, one try each.",
    verdicts={"genuine": 22},
    protocol="imap",
    alerts=("credentials",),
)
def distributed_guessing(trace: Trace) -> None:
    for number in range(22):
        user = "maria" if number % 2 == 0 and number < 20 else USERS[number]
        tcp = Tcp(trace, stranger(110 + number), mail_server(), start=40.0 * number + trace.random.uniform(0, 20))
        sign_in(tcp, user, password(300 + number), False).close(CLIENT)


@sample(
    "slow-guessing",
    "Three tries an hour for one user, for five hours.",
    verdicts={"genuine": 15},
    protocol="imap",
    alerts=("credentials",),
)
def slow_guessing(trace: Trace) -> None:
    for number in range(15):
        tcp = Tcp(trace, stranger(103), mail_server(), start=1_200.0 * number + trace.random.uniform(0, 300))
        sign_in(tcp, "ivan", password(400 + number), False).close(CLIENT)


def challenge_response(tcp: Tcp, tag: str, user: str, number: int) -> None:
    """A failed CRAM-MD5 exchange (RFC 2195): the password is not on the wire."""
    challenge = base64.b64encode(b"<%d.1767355200@mail.example.org>" % (1_000 + number)).decode()
    digest = hashlib.md5(b"%d" % number, usedforsecurity=False).hexdigest()
    response = base64.b64encode(f"{user} {digest}".encode()).decode()
    play(
        tcp,
        f"C: {tag} AUTHENTICATE CRAM-MD5\nS: + {challenge}\nC: {response}\n~ 0.3\n"
        f"S: {tag} NO [AUTHENTICATIONFAILED] Authentication failed.",
    )


@sample(
    "failed-logins-flood",
    "Forty CRAM-MD5 logins of one user fail within a minute; the mechanism hides the passwords.",
    verdicts={"genuine": 4},
    protocol="imap",
    alerts=("credentials",),
)
def failed_logins_flood(trace: Trace) -> None:
    for session in range(4):
        tcp = play(Tcp(trace, stranger(104), mail_server(), start=10.0 * session), CRAM_GREETING)
        for attempt in range(10):
            challenge_response(tcp, f"a{attempt}", "olga", 10 * session + attempt)
        tcp.close(CLIENT)


@sample(
    "user-harvest",
    "One address fails as twelve users with CRAM-MD5; the mechanism hides the passwords.",
    verdicts={"genuine": 3},
    protocol="imap",
    alerts=("credentials",),
)
def user_harvest(trace: Trace) -> None:
    for session in range(3):
        tcp = play(Tcp(trace, stranger(105), mail_server(), start=60.0 * session), CRAM_GREETING)
        for attempt in range(4):
            challenge_response(tcp, f"a{attempt}", USERS[4 * session + attempt], 4 * session + attempt)
            tcp.wait(8.0)
        tcp.close(CLIENT)


@sample(
    "shared-password",
    "Four users sign in from their desks, all with the password that everybody was given.",
    verdicts={"genuine": 4},
    protocol="imap",
    alerts=("credentials",),
)
def shared_password(trace: Trace) -> None:
    for number, user in enumerate(USERS[:4]):
        tcp = Tcp(trace, workstation(80 + number), mail_server(), start=200.0 * number)
        sign_in(tcp, user, "Welcome-s3cret", True)
        play(tcp, "C: a2 LOGOUT\nS: * BYE Logging out\nS: a2 OK Logout completed.").close(SERVER)


@sample(
    "mail-polling",
    "Two mail programs that look for new mail by the clock: every five minutes, and every minute. Nothing is wrong.",
    verdicts={"genuine": 30},
    protocol="imap",
)
def mail_polling(trace: Trace) -> None:
    for desk, beats, seconds in ((84, 10, 300.0), (85, 20, 60.0)):
        for beat in range(beats):
            tcp = play(
                Tcp(trace, workstation(desk), mail_server(), start=seconds * beat + trace.random.uniform(0, 0.2)),
                CRAM_GREETING,
            )
            challenge = base64.b64encode(b"<%d.1767355200@mail.example.org>" % beat).decode()
            digest = hashlib.md5(b"poll %d" % beat, usedforsecurity=False).hexdigest()
            response = base64.b64encode(f"desk{desk} {digest}".encode()).decode()
            play(
                tcp,
                f"C: A1 AUTHENTICATE CRAM-MD5\nS: + {challenge}\nC: {response}\nS: A1 OK Logged in\n"
                f"C: A2 SELECT INBOX\n{INBOX}\nS: A2 OK [READ-WRITE] Select completed.\n"
                "C: A3 UID SEARCH UNSEEN\nS: * SEARCH\nS: A3 OK Search completed.\n"
                "C: A4 LOGOUT\nS: * BYE Logging out\nS: A4 OK Logout completed.",
            ).close(SERVER)


@sample(
    "tls-beacon",
    "Every half minute or so a short TLS connection to port 143 outside: the check-in of an implant.",
    verdicts={"not-imap": 12},
    protocol="tls",
    alerts=("c2", "verdict"),
)
def tls_beacon(trace: Trace) -> None:
    client, server = workstation(86), outside("203.0.113.97")
    seconds = 0.0
    for _ in range(12):
        encrypted(Tcp(trace, client, server, start=seconds), "tls-without-sni", 0.05).close(CLIENT)
        seconds += 30 * trace.random.uniform(0.8, 1.2)


@sample(
    "irregular-calls",
    "Calls with binary frames to port 143 of one server outside, without any rhythm in time or size.",
    verdicts={"not-imap": 9},
    shape="length-prefixed-frames",
    alerts=("c2", "verdict"),
)
def irregular_calls(trace: Trace) -> None:
    client, server = workstation(87), outside("203.0.113.98")
    for seconds in (0.0, 4.0, 9.5, 200.0, 215.0, 230.0, 700.0, 1_500.0, 1_506.0):
        tcp = Tcp(trace, client, server, start=seconds)
        for _ in range(trace.random.randrange(2, 7)):
            asked = trace.random.randbytes(trace.random.choice((5, 37, 410, 1_300)))
            answered = trace.random.randbytes(trace.random.choice((3, 64, 900, 2_800)))
            tcp.client(len(asked).to_bytes(4, "big") + asked, trace.random.uniform(0.05, 3))
            tcp.server(len(answered).to_bytes(4, "big") + answered)
        tcp.close(CLIENT)


def post(tcp: Tcp, tag: str, subject: str, size: int, trace: Trace) -> None:
    """A note with a header, stored among the drafts."""
    blob = base64.b64encode(trace.random.randbytes(size)).decode()
    note = f"Subject: {subject}\r\n\r\n{blob}\r\n"
    play(tcp, f"C: {tag} APPEND Drafts (\\Draft) {{{len(note)}}}\nS: + go ahead\n"
              f"{said('C', note)}\nC: {''}\nS: {tag} OK [APPENDUID 3 {trace.random.randrange(9_000)}] done")


def collect(tcp: Tcp, number: int, subject: str, trace: Trace) -> None:
    """What the other side left: searched, fetched, removed."""
    order = f"Subject: {subject}\r\n\r\n{base64.b64encode(trace.random.randbytes(60)).decode()}\r\n"
    play(
        tcp,
        rf"""
C: b{number} SELECT Drafts
S: * 1 EXISTS
S: * 0 RECENT
S: b{number} OK [READ-WRITE] done
C: c{number} SEARCH SUBJECT {subject}
S: * SEARCH 1
S: c{number} OK done
C: d{number} FETCH 1 (BODY[])
S: * 1 FETCH (BODY[] {{{len(order)}}}
{said("S", order)}
S: )
S: d{number} OK done
C: e{number} STORE 1 +FLAGS (\Deleted)
S: * 1 FETCH (FLAGS (\Deleted))
S: e{number} OK done
C: f{number} EXPUNGE
S: * 1 EXPUNGE
S: f{number} OK done
""",
    )


@sample(
    "dead-drop-peers",
    "Two clients with one account leave notes for each other among the drafts; no mail is ever sent.",
    verdicts={"genuine": 2},
    protocol="imap",
    alerts=("mailbox-abuse",),
)
def dead_drop_peers(trace: Trace) -> None:
    operator = sign_in(Tcp(trace, stranger(106), provider()), "drop", "s3cret", True, CLEAR_GREETING)
    implant = sign_in(Tcp(trace, workstation(88), provider(), start=2.0), "drop", "s3cret", True, CLEAR_GREETING)
    for number in range(6):
        both = max(operator.now, implant.now) + 5 * 10**9
        operator.now = both
        post(operator, f"p{number}", "tsk", 90, trace)
        implant.now = operator.now + 3 * 10**9
        collect(implant, number, "tsk", trace)
        post(implant, f"p{number}", "rpt", 300, trace)
        operator.now = implant.now + 4 * 10**9
        collect(operator, number, "rpt", trace)
    operator.close(CLIENT)
    implant.close(CLIENT)


def short_encrypted(trace: Trace, client: Host, server: Host, start: float) -> None:
    """A session that goes into TLS and ends soon."""
    tcp = play(
        Tcp(trace, client, server, start=start),
        f"{STARTTLS_GREETING}\nC: a1 STARTTLS\nS: a1 OK Begin TLS negotiation now.",
    )
    encrypted(tcp, "starttls").close(CLIENT)


@sample(
    "encrypted-polling",
    "Every ten seconds a short session inside TLS: whatever talks through this mailbox is no mail program.",
    verdicts={"genuine": 14},
    protocol="imap+starttls",
    alerts=("mailbox-abuse",),
)
def encrypted_polling(trace: Trace) -> None:
    for beat in range(14):
        short_encrypted(trace, workstation(89), provider(), 10.0 * beat + trace.random.uniform(0, 0.6))
