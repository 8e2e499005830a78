"""Real IMAP: in the clear, upgraded, compressed, and where nobody looks for it."""

from __future__ import annotations

import base64
import hashlib
import hmac

from making.catalogue import mail_server, provider, sample, workstation
from making.network import CLIENT, SERVER, Tcp, Trace, inside, outside, play
from making.recordings import load

CAPABILITIES = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+"
INBOX = r"""
S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft \*)] Flags permitted.
S: * 3 EXISTS
S: * 1 RECENT
S: * OK [UIDVALIDITY 1772000001] UIDs valid
S: * OK [UIDNEXT 41] Predicted next UID
""".strip()


def letter(sender: str, subject: str, text: str) -> str:
    """A short mail message, every line ended by CRLF."""
    return "\r\n".join(
        [
            f"From: {sender}@example.org",
            "To: team@example.org",
            f"Subject: {subject}",
            "Date: Mon, 02 Mar 2026 09:14:00 +0000",
            f"Message-ID: <{subject.lower().replace(' ', '.')}@example.org>",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=utf-8",
            "",
            text,
            "",
        ]
    )


def said(side: str, text: str) -> str:
    """Lines of text (each ended by CRLF) as lines of a script for `play`."""
    return "\n".join(f"{side}: {line}" for line in text.removesuffix("\r\n").split("\r\n"))


def scram_sha_256(user: str, password: str) -> tuple[str, str, str, str]:
    """The four messages of RFC 7677 (client, server, client, server), in base64."""
    salt, nonce = bytes(range(16)), "rOprNGfwEbeRWgbNEkqO"
    first = f"n={user},r={nonce}"
    challenge = f"r={nonce}%hvYDpWUa2RaTCAfuxFIlj,s={base64.b64encode(salt).decode()},i=4096"
    final = f"c=biws,{challenge.split(',', maxsplit=1)[0]}"
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 4_096)
    message = f"{first},{challenge},{final}".encode()
    key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
    verifier = base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")).decode()
    texts = (f"n,,{first}", challenge, f"{final},p={proof}", f"v={verifier}")
    a, b, c, d = (base64.b64encode(text.encode()).decode() for text in texts)
    return a, b, c, d


def mail_program(tcp: Tcp, user: str = "maria", idle: float = 45.0) -> Tcp:
    """A mail program's session from greeting to logout, with nothing to object to."""
    first, challenge, proof, verifier = scram_sha_256(user, "hunter2")
    text = letter("ines", "Minutes of the meeting", "Please find the minutes below.\r\n" + "Point of order. " * 40)
    head = "From: ines@example.org\r\nTo: team@example.org\r\nSubject: Minutes of the meeting\r\n\r\n"
    return play(
        tcp,
        rf"""
S: * OK [CAPABILITY {CAPABILITIES} AUTH=SCRAM-SHA-256] Dovecot ready.
C: A1 AUTHENTICATE SCRAM-SHA-256 {first}
S: + {challenge}
C: {proof}
S: + {verifier}
C: {""}
S: A1 OK [CAPABILITY {CAPABILITIES} UIDPLUS MOVE CONDSTORE NAMESPACE UNSELECT] Logged in
C: A2 ID ("name" "Example Mail" "version" "140.2")
S: * ID ("name" "Dovecot")
S: A2 OK ID completed.
C: A3 LIST "" "*"
S: * LIST (\HasNoChildren \Drafts) "/" Drafts
S: * LIST (\HasNoChildren \Sent) "/" Sent
S: * LIST (\HasNoChildren) "/" INBOX
S: A3 OK List completed.
~ 0.2
C: A4 SELECT INBOX
{INBOX}
S: A4 OK [READ-WRITE] Select completed.
C: A5 UID FETCH 1:* (UID FLAGS RFC822.SIZE)
S: * 1 FETCH (UID 38 FLAGS (\Seen) RFC822.SIZE 1512)
S: * 2 FETCH (UID 39 FLAGS (\Seen \Answered) RFC822.SIZE 2210)
S: * 3 FETCH (UID 40 FLAGS (\Recent) RFC822.SIZE {len(text)})
S: A5 OK Fetch completed.
~ 0.8
C: A6 UID FETCH 40 (UID BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT)])
S: * 3 FETCH (UID 40 BODY[HEADER.FIELDS (FROM TO SUBJECT)] {{{len(head)}}}
{said("S", head)}
S: )
S: A6 OK Fetch completed.
~ 2.4
C: A7 UID FETCH 40 (UID BODY[])
S: * 3 FETCH (UID 40 FLAGS (\Seen \Recent) BODY[] {{{len(text)}}}
{said("S", text)}
S: )
S: A7 OK Fetch completed.
~ 0.3
C: A8 IDLE
S: + idling
~ {idle}
S: * 4 EXISTS
S: * 2 RECENT
~ 0.1
C: DONE
S: A8 OK Idle completed.
~ 1.2
C: A9 LOGOUT
S: * BYE Logging out
S: A9 OK Logout completed.
""",
    ).close(SERVER)


@sample(
    "genuine-session",
    "A mail program signs in with SCRAM-SHA-256, reads one message, idles and logs out.",
    verdicts={"genuine": 1},
    protocol="imap",
)
def genuine_session(trace: Trace) -> None:
    mail_program(Tcp(trace, workstation(40), mail_server()))


@sample(
    "starttls",
    "Greeting, STARTTLS, a real TLS 1.3 handshake and the encrypted session.",
    verdicts={"genuine": 1},
    protocol="imap+starttls",
)
def starttls(trace: Trace) -> None:
    tcp = play(
        Tcp(trace, workstation(41), provider()),
        f"""
S: * OK [CAPABILITY {CAPABILITIES} STARTTLS LOGINDISABLED] Dovecot ready.
C: a1 CAPABILITY
S: * CAPABILITY {CAPABILITIES} STARTTLS LOGINDISABLED
S: a1 OK Pre-login capabilities listed.
C: a2 STARTTLS
S: a2 OK Begin TLS negotiation now.
""",
    )
    encrypted(tcp, "starttls").close(CLIENT)


def encrypted(tcp: Tcp, recording: str, pause: float = 0.05) -> Tcp:
    """Play a recorded TLS session."""
    for side, data in load(recording):
        tcp.say(side, data, pause if side == CLIENT else 0.0)
    return tcp


@sample(
    "compress",
    "COMPRESS=DEFLATE (RFC 4978): after the OK both directions are deflated IMAP.",
    verdicts={"genuine": 1},
    protocol="imap+compress",
)
def compress(trace: Trace) -> None:
    first, challenge, proof, verifier = scram_sha_256("jonas", "hunter2")
    tcp = play(
        Tcp(trace, workstation(42, "linux"), mail_server()),
        f"""
S: * OK [CAPABILITY {CAPABILITIES} AUTH=SCRAM-SHA-256] Dovecot ready.
C: c1 AUTHENTICATE SCRAM-SHA-256 {first}
S: + {challenge}
C: {proof}
S: + {verifier}
C: {""}
S: c1 OK [CAPABILITY {CAPABILITIES} COMPRESS=DEFLATE] Logged in
C: c2 NOOP
S: c2 OK NOOP completed.
C: c3 COMPRESS DEFLATE
S: c3 OK Begin compression.
""",
    )
    for side, data in load("compress"):
        tcp.say(side, data, 0.08 if side == CLIENT else 0.0)
    tcp.close(SERVER)


@sample(
    "imap-on-other-port",
    "Genuine IMAP on port 2143, where no port list would look for it.",
    verdicts={"genuine": 1},
    protocol="imap",
    alerts=("verdict",),
)
def imap_on_other_port(trace: Trace) -> None:
    mail_program(Tcp(trace, workstation(43), outside("203.0.113.60"), 2143), "archive", 20.0)


@sample(
    "genuine-ipv6",
    "The same kind of session over IPv6, with the server's own odd spelling and pipelined commands.",
    verdicts={"genuine": 1},
    protocol="imap",
)
def genuine_ipv6(trace: Trace) -> None:
    client, server = inside("2001:db8:20:1::44", 0x44, "linux"), inside("2001:db8:20::25", 0x25)
    first, challenge, proof, verifier = scram_sha_256("noor", "hunter2")
    play(
        Tcp(trace, client, server),
        rf"""
S: * OK IMAP4rev1 service ready on mail.example.org
C: 0 CAPABILITY
C: 1 ID NIL
S: * CAPABILITY IMAP4rev1 ID AUTH=SCRAM-SHA-256
S: 0 OK CAPABILITY completed
S: * ID NIL
S: 1 OK ID completed
C: 2 AUTHENTICATE SCRAM-SHA-256
S: + {""}
C: {first}
S: + {challenge}
C: {proof}
S: + {verifier}
C: {""}
S: 2 OK welcome
C: 3 EXAMINE "INBOX"
C: 4 STATUS "Sent" (MESSAGES UNSEEN)
S: * 0 EXISTS
S: * 0 RECENT
S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
S: * OK [PERMANENTFLAGS ()] read only
S: * OK [UIDVALIDITY 1] ok
S: 3 OK [READ-ONLY] EXAMINE completed
S: * STATUS "Sent" (MESSAGES 12 UNSEEN 0)
S: 4 OK STATUS completed
~ 0.4
C: 5 LOGOUT
S: * BYE see you
S: 5 OK LOGOUT completed
""",
    ).close(SERVER)
