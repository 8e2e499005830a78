"""Genuine IMAP used badly: guessing, probing, exploits, broken upgrades, and mailboxes as dead drops."""

from __future__ import annotations

import base64

from making.catalogue import mail_server, provider, sample, stranger, workstation
from making.genuine import CAPABILITIES, INBOX, encrypted, letter, said
from making.network import CLIENT, MILLISECOND, SERVER, Tcp, Trace, inside, outside, play, unreachable

CLEAR_GREETING = f"S: * OK [CAPABILITY {CAPABILITIES} AUTH=PLAIN] Dovecot ready."
STARTTLS_GREETING = f"S: * OK [CAPABILITY {CAPABILITIES} STARTTLS AUTH=PLAIN] Dovecot ready."
USERS = (
    "aisha",
    "anton",
    "bea",
    "carlos",
    "chen",
    "dana",
    "elif",
    "emil",
    "farid",
    "greta",
    "hana",
    "ines",
    "ivan",
    "jonas",
    "julia",
    "karim",
    "lena",
    "luca",
    "maria",
    "mateo",
    "nadia",
    "noor",
    "olga",
    "omar",
    "petra",
    "rosa",
    "samir",
    "sven",
    "tariq",
    "yuki",
)


@sample(
    "scan",
    "One address knocks on port 143 of 40 hosts: four open, most closed, some silent, two filtered by a firewall.",
    verdicts={"undecided": 4, "silent": 36},
    alerts=("scanning",),
)
def scan(trace: Trace) -> None:
    scanner, router = stranger(66), inside("10.20.0.1", 0x01)
    for number in range(40):
        target = inside(f"10.20.0.{number + 11}", 0x60 + number)
        tcp = Tcp(trace, scanner, target, start=0.05 * number, connect=False)
        tcp.packet(CLIENT, "S")
        sent = trace.frames[-1][2][14:]
        if number in {3, 14, 22, 31}:
            tcp._react(SERVER)
            tcp.packet(SERVER, "SA")
            tcp._react(CLIENT)
            tcp.packet(CLIENT, "A")
            tcp.server(b"* OK IMAP4 ready\r\n", 0.02).reset(CLIENT)
        elif number in {8, 9}:
            unreachable(trace, tcp.now + MILLISECOND, router, scanner, 13, sent)
        elif number % 5 == 1:
            for wait in (1.0, 2.0):  # a silent host: the SYN is sent again
                tcp.now += round(wait * 10**9)
                tcp.sequence[CLIENT] = (tcp.sequence[CLIENT] - 1) & 0xFFFFFFFF
                tcp.packet(CLIENT, "S")
        else:
            tcp.reset(SERVER)


def sign_in(tcp: Tcp, user: str, password: str, success: bool, greeting: str = CLEAR_GREETING, tag: str = "a1") -> Tcp:
    """One LOGIN, its answer, and the end of the session."""
    answer = "OK Logged in" if success else "NO [AUTHENTICATIONFAILED] Authentication failed."
    return play(
        tcp,
        f"""
{greeting}
C: {tag} LOGIN "{user}" "{password}"
~ {0.1 if success else 2.0}
S: {tag} {answer}
""",
    )


@sample(
    "password-spraying",
    "One address tries one password on 30 users, one session each; the last one works.",
    verdicts={"genuine": 30},
    protocol="imap",
    alerts=("credentials",),
)
def password_spraying(trace: Trace) -> None:
    server, source = mail_server(), stranger(71)
    for number, user in enumerate(USERS):
        tcp = Tcp(trace, source, server, start=4.0 * number + trace.random.uniform(0, 1))
        sign_in(tcp, user, "Winter2024!", number == len(USERS) - 1).close(CLIENT)


@sample(
    "password-guessing",
    "One user, 24 passwords in eight sessions of three, the most common ones first, no LOGOUT; then the right one.",
    verdicts={"genuine": 9},
    protocol="imap",
    alerts=("credentials",),
)
def password_guessing(trace: Trace) -> None:
    server, source = mail_server(), stranger(72)
    guesses = ["123456", "password", "qwerty", *(f"hunter{number}" for number in range(13, 34))]
    for number in range(8):
        tcp = play(
            Tcp(trace, source, server, start=9.0 * number),
            CLEAR_GREETING + f"\nC: 1 CAPABILITY\nS: * CAPABILITY {CAPABILITIES} AUTH=PLAIN\nS: 1 OK done",
        )
        for attempt in range(3):
            play(
                tcp,
                f'C: {attempt + 2} LOGIN "maria" "{guesses[3 * number + attempt]}"\n~ 2.0\n'
                f"S: {attempt + 2} NO [AUTHENTICATIONFAILED] Authentication failed.",
            )
        tcp.close(CLIENT)
    tcp = sign_in(Tcp(trace, source, server, start=75.0), "maria", "hunter2", True)
    play(tcp, f"C: a2 SELECT INBOX\n{INBOX}\nS: a2 OK [READ-WRITE] Select completed.").close(CLIENT)


@sample(
    "default-account",
    "A login with a device's factory account.",
    verdicts={"genuine": 1},
    protocol="imap",
    alerts=("credentials",),
)
def default_account(trace: Trace) -> None:
    tcp = sign_in(Tcp(trace, stranger(73), mail_server()), "admin", "admin", True)
    play(tcp, "C: a2 LOGOUT\nS: * BYE Logging out\nS: a2 OK Logout completed.").close(SERVER)


@sample(
    "guessing-tool",
    "The habits of a guessing program: every command bears the tag `gerg`.",
    verdicts={"genuine": 4},
    protocol="imap",
    alerts=("credentials",),
)
def guessing_tool(trace: Trace) -> None:
    source, server = stranger(74), mail_server()
    for number, password in enumerate(("hunter2", "s3cret", "hunter3", "s3cret!")):
        tcp = play(
            Tcp(trace, source, server, start=3.0 * number),
            CLEAR_GREETING + "\nC: gerg CAPABILITY\n"
            f"S: * CAPABILITY {CAPABILITIES} AUTH=PLAIN\nS: gerg OK done\n"
            f'C: gerg LOGIN "root" "{password}"\n~ 2.0\nS: gerg NO [AUTHENTICATIONFAILED] Authentication failed.',
        )
        tcp.close(CLIENT)


@sample(
    "cleartext-login",
    "A login in the clear to a provider outside, although the server offered STARTTLS.",
    verdicts={"genuine": 1},
    protocol="imap",
    alerts=("transport-security",),
)
def cleartext_login(trace: Trace) -> None:
    tcp = sign_in(Tcp(trace, workstation(70), provider()), "petra", "s3cret", True, STARTTLS_GREETING)
    play(
        tcp,
        f"""
C: a2 SELECT INBOX
{INBOX}
S: a2 OK [READ-WRITE] Select completed.
~ 1.0
C: a3 LOGOUT
S: * BYE Logging out
S: a3 OK Logout completed.
""",
    ).close(SERVER)


@sample(
    "login-despite-logindisabled",
    "The server forbids logins in the clear (LOGINDISABLED); the client sends its password all the same.",
    verdicts={"genuine": 1},
    protocol="imap",
    alerts=("transport-security",),
)
def login_despite_logindisabled(trace: Trace) -> None:
    play(
        Tcp(trace, workstation(71), provider()),
        f"""
S: * OK [CAPABILITY {CAPABILITIES} STARTTLS LOGINDISABLED] Dovecot ready.
C: a1 LOGIN "sven" "s3cret"
S: a1 NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.
C: a2 LOGOUT
S: * BYE Logging out
S: a2 OK Logout completed.
""",
    ).close(SERVER)


@sample(
    "starttls-no-tls",
    "STARTTLS is asked for and accepted, and then binary frames follow instead of a handshake.",
    verdicts={"mimic": 1},
    alerts=("verdict",),
)
def starttls_no_tls(trace: Trace) -> None:
    tcp = play(
        Tcp(trace, workstation(72), outside("203.0.113.110")),
        f"""
S: * OK [CAPABILITY {CAPABILITIES} STARTTLS LOGINDISABLED] ready
C: a1 STARTTLS
S: a1 OK Begin TLS negotiation now.
""",
    )
    for size in (120, 64, 300, 64, 64):
        tcp.client(b"\x00\x00" + size.to_bytes(2, "big") + trace.random.randbytes(size), 5.0)
        tcp.server(b"\x00\x00\x00\x20" + trace.random.randbytes(32))
    tcp.close()


@sample(
    "starttls-injection",
    "A command is smuggled in behind STARTTLS, in the same write, before the handshake.",
    verdicts={"genuine": 1},
    protocol="imap+starttls",
    alerts=("transport-security",),
)
def starttls_injection(trace: Trace) -> None:
    tcp = play(
        Tcp(trace, stranger(75), mail_server()),
        f"""
S: * OK [CAPABILITY {CAPABILITIES} STARTTLS LOGINDISABLED] Dovecot ready.
C: a1 STARTTLS
C: a2 NOOP
S: a1 OK Begin TLS negotiation now.
""",
    )
    encrypted(tcp, "starttls").close(CLIENT)


@sample(
    "starttls-stripped",
    "The same server, first with STARTTLS on offer, later, with somebody in between, without: a login in the clear.",
    verdicts={"genuine": 2},
    alerts=("transport-security",),
)
def starttls_stripped(trace: Trace) -> None:
    client, server = workstation(73), provider()
    tcp = play(
        Tcp(trace, client, server),
        f"""
S: * OK [CAPABILITY {CAPABILITIES} STARTTLS LOGINDISABLED] Dovecot ready.
C: a1 STARTTLS
S: a1 OK Begin TLS negotiation now.
""",
    )
    encrypted(tcp, "starttls").close(CLIENT)
    tcp = sign_in(Tcp(trace, client, server, start=300.0), "maria", "hunter2", True)
    play(tcp, "C: a2 LOGOUT\nS: * BYE Logging out\nS: a2 OK Logout completed.").close(SERVER)


@sample(
    "preauth",
    "An outside server greets with PREAUTH: the client never gets to ask for STARTTLS and goes on in the clear.",
    verdicts={"genuine": 1},
    protocol="imap",
    alerts=("transport-security",),
)
def preauth(trace: Trace) -> None:
    text = letter("maria", "Draft of the offer", "Dear customer, our offer is as follows.")
    play(
        Tcp(trace, workstation(74), provider()),
        f"""
S: * PREAUTH IMAP4rev1 server ready, logged in as maria
C: a1 CAPABILITY
S: * CAPABILITY IMAP4rev1
S: a1 OK done
C: a2 APPEND Drafts {{{len(text)}}}
S: + go ahead
{said("C", text)}
C: {""}
S: a2 OK done
C: a3 LOGOUT
S: * BYE bye
S: a3 OK done
""",
    ).close(SERVER)


@sample(
    "overlong-login",
    "A LOGIN with a user name of 1,500 bytes, and a second one with a literal far too large: old buffer overflows.",
    verdicts={"genuine": 2},
    protocol="imap",
    alerts=("service-abuse",),
)
def overlong_login(trace: Trace) -> None:
    server, source = mail_server(), stranger(80)
    filler = "A" * 1_500
    play(
        Tcp(trace, source, server), f"{CLEAR_GREETING}\nC: a1 LOGIN {filler} x\nS: a1 BAD Command line too long."
    ).reset(CLIENT)
    play(
        Tcp(trace, source, server, start=2.0),
        f"{CLEAR_GREETING}\nC: a1 LOGIN {{4294967295}}\nS: a1 NO [LIMIT] Literal too large."
        "\nC: a2 NOOP\nS: a2 OK NOOP completed.",
    ).reset(CLIENT)


@sample(
    "odd-bytes",
    "Requests that broke real servers: NUL in a string, format directives, a climbing path, hundreds of parentheses.",
    verdicts={"genuine": 1},
    protocol="imap",
    alerts=("service-abuse",),
)
def odd_bytes(trace: Trace) -> None:
    tcp = play(Tcp(trace, stranger(81), mail_server()), CLEAR_GREETING)
    for number, line in enumerate(
        (
            b'LOGIN "mar\x00ia" "s3cret"',
            b'LOGIN "%n%n%n%n%s" "s3cret"',
            b'LOGIN "../../../../etc/passwd" "s3cret"',
            b"AUTHENTICATE PLAIN =!!not-base64!!=",
            b"LIST " + b"(" * 400,
            b'LOGIN "\xff\xfe\xfd" "s3cret"',
        )
    ):
        tag = b"a%d " % number
        tcp.client(tag + line + b"\r\n", 0.3).server(tag + b"BAD Error in IMAP command.\r\n")
    tcp.close(SERVER)


@sample(
    "mass-fetch",
    "Somebody outside signs in and takes every message, in one session.",
    verdicts={"genuine": 1},
    protocol="imap",
    alerts=("mailbox-abuse",),
)
def mass_fetch(trace: Trace) -> None:
    tcp = sign_in(Tcp(trace, stranger(82), mail_server()), "ines", "hunter2", True)
    play(
        tcp,
        "C: a2 SELECT INBOX\nS: * 120 EXISTS\nS: * 0 RECENT\nS: * OK [UIDVALIDITY 7] ok\nS: a2 OK [READ-WRITE] done\n"
        "C: a3 UID FETCH 1:* (RFC822)",
    )
    for number in range(1, 121):
        text = letter("team", f"Report {number}", f"Figures of week {number % 52}.\r\n" * (3 + number % 9))
        tcp.server(f"* {number} FETCH (UID {number} RFC822 {{{len(text)}}}\r\n{text})\r\n".encode())
    play(tcp, "S: a3 OK Fetch completed.\nC: a4 LOGOUT\nS: * BYE bye\nS: a4 OK done").close(SERVER)


@sample(
    "password-search",
    "A relayed NTLM login, then a search of the mailbox for passwords, and the hits taken.",
    verdicts={"genuine": 1},
    protocol="imap",
    alerts=("mailbox-abuse",),
)
def password_search(trace: Trace) -> None:
    # The three NTLM messages are skeletons ([MS-NLMP] section 2.2.1) with empty answers.
    negotiate = base64.b64encode(b"NTLMSSP\0\x01\0\0\0" + bytes(20)).decode()
    challenge = base64.b64encode(b"NTLMSSP\0\x02\0\0\0" + bytes(36)).decode()
    response = base64.b64encode(b"NTLMSSP\0\x03\0\0\0" + bytes(52)).decode()
    text = letter("helpdesk", "Your new account", "The first password is handed out in person.")
    play(
        Tcp(trace, workstation(75), mail_server()),
        f"""
S: * OK [CAPABILITY IMAP4rev1 AUTH=NTLM] ready
C: a1 AUTHENTICATE NTLM
S: + {""}
C: {negotiate}
S: + {challenge}
C: {response}
S: a1 OK AUTHENTICATE completed.
C: a2 EXAMINE INBOX
S: * 311 EXISTS
S: * 0 RECENT
S: a2 OK [READ-ONLY] EXAMINE completed.
C: a3 SEARCH OR SUBJECT "password" BODY "password"
S: * SEARCH 17
S: a3 OK SEARCH completed.
C: a4 FETCH 17 (RFC822)
S: * 17 FETCH (RFC822 {{{len(text)}}}
{said("S", text)}
S: )
S: a4 OK FETCH completed.
""",
    ).reset(CLIENT)


@sample(
    "expunge-sweep",
    "Every message of a mailbox is marked deleted and removed: traces covered, or a mailbox wiped.",
    verdicts={"genuine": 1},
    protocol="imap",
    alerts=("mailbox-abuse",),
)
def expunge_sweep(trace: Trace) -> None:
    tcp = sign_in(Tcp(trace, stranger(83), mail_server()), "lena", "hunter2", True)
    stored = "\n".join(rf"S: * {number} FETCH (FLAGS (\Deleted))" for number in range(1, 61))
    gone = "\n".join(["S: * 1 EXPUNGE"] * 60)
    play(
        tcp,
        rf"""
C: a2 SELECT INBOX
S: * 60 EXISTS
S: * 0 RECENT
S: a2 OK [READ-WRITE] done
C: a3 STORE 1:* +FLAGS (\Deleted)
{stored}
S: a3 OK Store completed.
C: a4 EXPUNGE
{gone}
S: a4 OK Expunge completed.
C: a5 LOGOUT
S: * BYE bye
S: a5 OK done
""",
    ).close(SERVER)


@sample(
    "dead-drop",
    "A mailbox as a letter box for orders: every 30 seconds the same search for a token; twice an order is "
    "fetched, deleted and answered with an encoded draft.",
    verdicts={"genuine": 12},
    protocol="imap",
    alerts=("mailbox-abuse",),
)
def dead_drop(trace: Trace) -> None:
    token = "job:5f0c2a91-77d3-4b1e-9f60-1c2d3e4f5a6b"
    client, server = workstation(76), provider()
    for beat in range(12):
        tcp = sign_in(
            Tcp(trace, client, server, start=30.0 * beat + trace.random.uniform(0, 0.4)), "drop", "s3cret", True
        )
        work = beat in {4, 9}
        found = f"S: * SEARCH {40 + beat}\n" if work else "S: * SEARCH\n"
        play(
            tcp,
            f"C: a2 SELECT Drafts\nS: * {int(work)} EXISTS\nS: * 0 RECENT\nS: a2 OK [READ-WRITE] done\n"
            f'C: a3 UID SEARCH SUBJECT "{token}"\n{found}S: a3 OK done',
        )
        if work:
            order = base64.b64encode(trace.random.randbytes(48)).decode() + "\r\n"
            answer = base64.b64encode(trace.random.randbytes(930)).decode() + "\r\n"
            play(
                tcp,
                rf"""
C: a4 UID FETCH {40 + beat} (RFC822)
S: * 1 FETCH (UID {40 + beat} RFC822 {{{len(order)}}}
{said("S", order)}
S: )
S: a4 OK done
C: a5 UID STORE {40 + beat} +FLAGS (\Deleted)
S: * 1 FETCH (UID {40 + beat} FLAGS (\Deleted))
S: a5 OK done
C: a6 EXPUNGE
S: * 1 EXPUNGE
S: a6 OK done
~ 1.0
C: a7 APPEND INBOX {{{len(answer)}}}
S: + go ahead
{said("C", answer)}
C: {""}
S: a7 OK [APPENDUID 3 {80 + beat}] done
""",
            )
        play(tcp, "C: a9 LOGOUT\nS: * BYE bye\nS: a9 OK done").close(SERVER)


@sample(
    "open-mail-proxy",
    "The mail proxy of a security program on a workstation answers the whole Internet; sessions of strangers make it "
    "connect to the provider.",
    verdicts={"genuine": 5},
    protocol="imap",
    alerts=("exposure",),
)
def open_mail_proxy(trace: Trace) -> None:
    desk, upstream = inside("192.0.2.44", 0x44, "windows"), provider()
    greeting = "S: * OK IMAP4rev1 Mail Shield proxy ready on 127.0.0.1"
    # A stranger asks what this is, without signing in.
    play(
        Tcp(trace, stranger(90), desk),
        f"""
{greeting}
C: A001 CAPABILITY
S: * CAPABILITY IMAP4rev1
S: A001 OK CAPABILITY completed
C: A002 LOGOUT
S: * BYE proxy closing
S: A002 OK LOGOUT completed
""",
    ).close(SERVER)
    # Another one names a provider in the user name: the proxy connects there a moment later, twice.
    for number, port in enumerate((143, 143)):
        start = 6.0 + 12 * number
        user = "maria#imap.example.net" if number else "test#imap.example.net"
        outer = play(
            Tcp(trace, stranger(91 + number), desk, start=start), f'{greeting}\nC: A001 LOGIN "{user}" "s3cret"'
        )
        inner = Tcp(trace, desk, upstream, port, start=outer.seconds + 0.03)
        sign_in(
            inner,
            user.partition("#")[0],
            "s3cret",
            False,
            f"S: * OK [CAPABILITY {CAPABILITIES} AUTH=PLAIN] ready",
            "p1",
        )
        play(outer, f"~ {inner.seconds - outer.seconds + 0.01:.3f}\nS: A001 NO LOGIN failed").close(CLIENT)
        inner.close(CLIENT)
    # Its POP3 side does the same.
    inner = play(
        Tcp(trace, desk, upstream, 110, start=40.0),
        "S: +OK ready\nC: USER test\nS: +OK\nC: PASS s3cret\n~ 2.0\nS: -ERR failed",
    )
    inner.close(SERVER)
