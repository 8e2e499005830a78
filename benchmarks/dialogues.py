"""What hosts say to each other in the benchmark captures: scripts of IMAP, web, DNS, SSH and mail conversations."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable

from frames import ACK, CLIENT, FIN, PSH, RST, SERVER, SYN, TCP, UDP, Book

Turn = tuple[int, bytes]

USERS = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory", "niaj",
         "olivia", "peggy", "rupert", "sybil", "trent", "victor", "walter", "wendy", "info", "sales", "backup",
         "service.desk")
DOMAINS = ("example.com", "example.org", "example.net", "mail.example", "corp.example", "lab.test")
WORDS = ("meeting", "report", "budget", "travel", "minutes", "draft", "review", "offer", "schedule", "release",
         "customer", "please", "find", "attached", "the", "latest", "version", "of", "our", "notes", "regards",
         "thanks", "tomorrow", "project", "invoice", "question", "answer", "about", "next", "week", "office", "garden",
         "lunch", "printer")
CAPABILITIES = (
    "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=PLAIN",
    "IMAP4rev1 STARTTLS SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=PLAIN AUTH=LOGIN",
    "IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=NTLM AUTH=GSSAPI UIDPLUS CHILDREN IDLE NAMESPACE LITERAL+",
    "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE ACL",
    "IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN UIDPLUS COMPRESS=DEFLATE ENABLE MOVE CONDSTORE ESEARCH",
)
GREETINGS = (
    "* OK [CAPABILITY {caps}] Dovecot ready.", "* OK [CAPABILITY {caps}] Dovecot (Debian) ready.",
    "* OK {host} Cyrus IMAP 3.6.1 server ready", "* OK The Microsoft Exchange IMAP4 service is ready.",
    "* OK [CAPABILITY {caps}] Courier-IMAP ready. See COPYING for distribution information.",
    "* OK IMAP4rev1 server ready at {host}", "* OK {host} IMAP server ready",
)
CIPHERS = (0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014,
           0x009C, 0x009D, 0x002F, 0x0035)


def prose(rng: random.Random, size: int) -> bytes:
    """About `size` bytes of mail text in lines of at most 72 characters."""
    lines, line, have = [], "", 0
    while have < size:
        word = rng.choice(WORDS)
        if len(line) + len(word) > 71:
            lines.append(line)
            have += len(line) + 2
            line = word
        else:
            line = f"{line} {word}" if line else word
    return ("\r\n".join(lines) + "\r\n").encode()


def tag_maker(rng: random.Random) -> Callable[[], str]:
    """Tags as some client makes them, one after the other."""
    style, number = rng.randrange(7), rng.randrange(0, 40)
    letters = "".join(rng.choice("ABCDEFGHIJKLMNOP") for _ in range(4))

    def following() -> str:
        nonlocal number
        number += 1
        return (f"a{number:03}", f"A{number:04}", f"{number}", f"{letters}{number}", f"1.{number}", f"C{number}",
                f"tag{number:08}")[style]
    return following


def imap_opening(rng: random.Random) -> tuple[list[Turn], Callable[[str], str], str, Callable[[], str]]:
    """Greeting and CAPABILITY; and how this client writes commands, what the server can do, its tags."""
    host, caps, tags = f"mx{rng.randrange(1, 90)}.{rng.choice(DOMAINS)}", rng.choice(CAPABILITIES), tag_maker(rng)
    case = rng.choice((str.upper, str.lower))
    tag = tags()
    turns = [(SERVER, (rng.choice(GREETINGS).format(caps=caps, host=host) + "\r\n").encode()),
             (CLIENT, f"{tag} {case('capability')}\r\n".encode()),
             (SERVER, f"* CAPABILITY {caps}\r\n{tag} OK {rng.choice(('Pre-login capabilities listed', 'CAPABILITY'))}"
                      ", completed.\r\n".encode())]
    return turns, case, caps, tags


def imap_login(rng: random.Random, case: Callable[[str], str], tags: Callable[[], str]) -> list[Turn]:
    """LOGIN in one of the ways that clients write it."""
    user = rng.choice(USERS) + str(rng.randrange(1, 400)) + (f"@{rng.choice(DOMAINS)}" if rng.random() < 0.6 else "")
    secret, tag, quote = f"hunter{rng.randrange(2, 9999)}", tags(), '"' if rng.random() < 0.7 else ""
    return [(CLIENT, f"{tag} {case('login')} {quote}{user}{quote} {quote}{secret}{quote}\r\n".encode()),
            (SERVER, f"{tag} OK {rng.choice(('Logged in', 'LOGIN completed', 'User logged in'))}.\r\n".encode())]


def imap_select(rng: random.Random, case: Callable[[str], str], tags: Callable[[], str]) -> list[Turn]:
    """SELECT INBOX."""
    tag, count = tags(), rng.randrange(50, 4000)
    name = rng.choice(("INBOX", '"INBOX"'))
    return [(CLIENT, f"{tag} {case('select')} {name}\r\n".encode()),
            (SERVER, ("* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n"
                      "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] Flags permitted.\r\n"
                      f"* {count} EXISTS\r\n* {rng.randrange(3)} RECENT\r\n"
                      f"* OK [UIDVALIDITY {rng.randrange(10**9, 2 * 10**9)}] UIDs valid\r\n"
                      f"* OK [UIDNEXT {count + 9}] Predicted next UID\r\n"
                      f"{tag} OK [READ-WRITE] {name.strip(chr(34))} selected.\r\n").encode())]


def imap_fetch(rng: random.Random, case: Callable[[str], str], tags: Callable[[], str], size: int) -> list[Turn]:
    """FETCH of one small message as a literal."""
    tag, number = tags(), rng.randrange(1, 51)  # SELECT says that there are at least 50
    body = (f"From: {rng.choice(USERS)}@{rng.choice(DOMAINS)}\r\nTo: {rng.choice(USERS)}@{rng.choice(DOMAINS)}\r\n"
            f"Subject: {rng.choice(WORDS)} {rng.choice(WORDS)} {rng.randrange(1000)}\r\n\r\n").encode()
    body += prose(rng, size)
    command = (f"{tag} {case('fetch')} {number} BODY.PEEK[]\r\n" if rng.random() < 0.5 else
               f"{tag} {case('uid fetch')} {number} (UID BODY.PEEK[])\r\n")
    return [(CLIENT, command.encode()),
            (SERVER, f"* {number} FETCH (UID {number} BODY[] {{{len(body)}}}\r\n".encode() + body
             + f")\r\n{tag} OK Fetch completed.\r\n".encode())]


def imap_logout(case: Callable[[str], str], tags: Callable[[], str]) -> list[Turn]:
    """LOGOUT and its BYE."""
    tag = tags()
    return [(CLIENT, f"{tag} {case('logout')}\r\n".encode()),
            (SERVER, f"* BYE Logging out\r\n{tag} OK Logout completed.\r\n".encode())]


def imap_session(rng: random.Random, fetches: int = 1, size: int = 300) -> list[Turn]:
    """A whole genuine session."""
    turns, case, _, tags = imap_opening(rng)
    turns += imap_login(rng, case, tags) + imap_select(rng, case, tags)
    for _ in range(fetches):
        turns += imap_fetch(rng, case, tags, size)
    return turns + imap_logout(case, tags)


def tls_record(kind: int, body: bytes) -> bytes:
    """One record (RFC 8446 section 5.1)."""
    return struct.pack(">BHH", kind, 0x0303, len(body)) + body


def client_hello(rng: random.Random, name: str, alpn: bytes) -> bytes:
    """A ClientHello as browsers and mail programs send it (RFC 8446 section 4.1.2)."""
    host = name.encode()
    parts = ((0, struct.pack(">HBH", len(host) + 3, 0, len(host)) + host), (10, b"\0\x06\0\x1d\0\x17\0\x18"),
             (11, b"\1\0"), (13, b"\0\x08\x04\x03\x08\x04\x04\x01\x05\x03"),
             (16, struct.pack(">HB", len(alpn) + 1, len(alpn)) + alpn),
             (23, b""), (43, b"\4\3\4\3\3"), (51, b"\0\x24\0\x1d\0\x20" + rng.randbytes(32)))
    extensions = b"".join(struct.pack(">HH", kind, len(body)) + body for kind, body in parts)
    ciphers = b"".join(struct.pack(">H", cipher) for cipher in CIPHERS[:rng.randrange(9, len(CIPHERS) + 1)])
    body = (b"\3\3" + rng.randbytes(32) + b"\x20" + rng.randbytes(32) + struct.pack(">H", len(ciphers)) + ciphers
            + b"\1\0" + struct.pack(">H", len(extensions)) + extensions)
    return tls_record(22, b"\1" + struct.pack(">I", len(body))[1:] + body)


def tls_session(rng: random.Random, exchanges: int, size: int, alpn: bytes) -> list[Turn]:
    """A TLS 1.3 handshake and application data."""
    extensions = bytes.fromhex("002b0002030400330024001d0020") + rng.randbytes(32)  # TLS 1.3; key share x25519
    body = b"\3\3" + rng.randbytes(32) + b"\x20" + rng.randbytes(32) + b"\x13\1\0\0\x2e" + extensions
    hello = tls_record(22, b"\2" + struct.pack(">I", len(body))[1:] + body)
    name = f"{rng.choice(WORDS)}{rng.randrange(500)}.{rng.choice(DOMAINS)}"
    turns = [(CLIENT, client_hello(rng, name, alpn)),
             (SERVER, hello + tls_record(20, b"\1") + tls_record(23, rng.randbytes(rng.randrange(700, 1900)))),
             (CLIENT, tls_record(20, b"\1") + tls_record(23, rng.randbytes(53)))]
    for _ in range(exchanges):
        turns += [(CLIENT, tls_record(23, rng.randbytes(rng.randrange(40, 300)))),
                  (SERVER, tls_record(23, rng.randbytes(rng.randrange(40, 2 * size))))]
    return turns


def starttls_session(rng: random.Random) -> list[Turn]:
    """IMAP that turns to TLS."""
    turns, case, _, tags = imap_opening(rng)
    tag = tags()
    return [*turns, (CLIENT, f"{tag} {case('starttls')}\r\n".encode()),
            (SERVER, f"{tag} OK Begin TLS negotiation now.\r\n".encode()), *tls_session(rng, 5, 300, b"imap")]


def http_session(rng: random.Random) -> list[Turn]:
    """Some requests over one connection."""
    host, turns = f"www.{rng.choice(DOMAINS)}", list[Turn]()
    for _ in range(rng.randrange(1, 6)):
        body = prose(rng, rng.choice((40, 200, 500, 1500)))
        turns += [(CLIENT, (f"GET /{rng.choice(WORDS)}/{rng.randrange(9999)} HTTP/1.1\r\nHost: {host}\r\n"
                            "User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\n\r\n").encode()),
                  (SERVER, ("HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/plain\r\n"
                            f"Content-Length: {len(body)}\r\n\r\n").encode() + body)]
    return turns


def ssh_session(rng: random.Random) -> list[Turn]:
    """Banner, key exchange, then many small packets."""
    turns = [(SERVER, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), (CLIENT, b"SSH-2.0-OpenSSH_9.6\r\n")]
    for side in (CLIENT, SERVER):
        names = b"curve25519-sha256,ecdh-sha2-nistp256,diffie-hellman-group14-sha256" * 6
        turns.append((side, struct.pack(">IBB", len(names) + 24, 6, 20) + rng.randbytes(16) + names + bytes(6)))
    for _ in range(rng.randrange(20, 160)):
        turns += [(CLIENT, rng.randbytes(36)), (SERVER, rng.randbytes(rng.choice((36, 36, 52, 100, 220))))]
    return turns


def smtp_session(rng: random.Random) -> list[Turn]:
    """One message handed over."""
    said = [b"220 mx.example ESMTP Postfix", b"EHLO client.example",
            b"250-mx.example\r\n250-SIZE 10240000\r\n250 8BITMIME",
            b"MAIL FROM:<alice@example.com>", b"250 2.1.0 Ok", b"RCPT TO:<bob@example.org>", b"250 2.1.5 Ok", b"DATA",
            b"354 End data with <CR><LF>.<CR><LF>",
            b"Subject: hi\r\n\r\n" + prose(rng, rng.randrange(200, 2500)) + b".",
            b"250 2.0.0 Ok: queued", b"QUIT", b"221 2.0.0 Bye"]
    return [(SERVER if index % 2 == 0 else CLIENT, line + b"\r\n") for index, line in enumerate(said)]


def pop3_session(rng: random.Random) -> list[Turn]:
    """A look into an empty mailbox."""
    said = ["+OK Dovecot ready.", f"USER {rng.choice(USERS)}", "+OK", "PASS hunter2", "+OK Logged in.", "STAT",
            "+OK 0 0", "QUIT", "+OK Logging out."]
    return [(SERVER if index % 2 == 0 else CLIENT, f"{line}\r\n".encode()) for index, line in enumerate(said)]


def frames_session(rng: random.Random) -> list[Turn]:
    """A database-like protocol: four bytes of length, then data."""
    turns = list[Turn]()
    for _ in range(rng.randrange(5, 60)):
        for side in (CLIENT, SERVER):
            size = rng.randrange(8, 240)
            turns.append((side, struct.pack(">I", size) + rng.randbytes(size)))
    return turns


def dns_exchange(rng: random.Random) -> list[Turn]:
    """A question and its answer (RFC 1035)."""
    labels = (rng.choice(WORDS) + str(rng.randrange(99)), *rng.choice(DOMAINS).split("."))
    question = b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0\0\1\0\1"
    ident = rng.randbytes(2)
    return [(CLIENT, ident + b"\1\0\0\1\0\0\0\0\0\0" + question),
            (SERVER, ident + b"\x81\x80\0\1\0\1\0\0\0\0" + question
             + b"\xc0\x0c\0\1\0\1\0\0\1\x2c\0\4" + rng.randbytes(4))]


def quic_exchange(rng: random.Random) -> list[Turn]:
    """Long-header packets, then short ones (RFC 9000 section 17), contents encrypted."""
    ident = rng.randbytes(8)
    turns = [(CLIENT, b"\xc3\0\0\0\1\x08" + ident + rng.randbytes(1186)),
             (SERVER, b"\xc1\0\0\0\1\0\x08" + rng.randbytes(1185))]
    for _ in range(rng.randrange(6, 40)):
        turns += [(CLIENT, b"\x43" + ident + rng.randbytes(rng.randrange(20, 60))),
                  (SERVER, b"\x52" + rng.randbytes(rng.randrange(25, 300)))]
    return turns


def ntp_exchange(rng: random.Random) -> list[Turn]:
    """Client and server packet (RFC 5905)."""
    return [(CLIENT, b"\x23" + bytes(47)), (SERVER, b"\x24\2\6\xe9" + rng.randbytes(44))]


def play_tcp(book: Book, rng: random.Random, turns: Iterable[Turn], *, mss: int = 1448, acks: bool = True,
             close: str = "fin") -> int:
    """Write a TCP conversation into the book: handshake, data, acknowledgements, end. The script's number.

    `acks` adds pure acknowledgements for every second segment, as hosts do; without it the answers acknowledge.
    `close`: fin, rst or open.
    """
    script = book.open_script(TCP)
    turn_us = rng.randrange(4_000, 60_000)
    book.add(CLIENT, SYN, 0, 0, b"", 0)
    if close == "unanswered":
        book.add(CLIENT, SYN, 0, 0, b"", 1_000_000)
        return script
    book.add(SERVER, SYN | ACK, 0, 1, b"", 9_000)
    book.add(CLIENT, ACK, 1, 1, b"", 600)
    sent = [1, 1]
    for side, data in turns:
        for count, begin in enumerate(range(0, len(data), mss), 1):
            piece = data[begin:begin + mss]
            last = begin + mss >= len(data)
            book.add(side, ACK | PSH if last else ACK, sent[side], sent[1 - side], piece, turn_us if begin == 0 else 40)
            sent[side] += len(piece)
            if acks and (count % 2 == 0 or (last and rng.random() < 0.5)):
                book.add(1 - side, ACK, sent[1 - side], sent[side], b"", 300)
    if close == "rst":
        book.add(CLIENT, RST | ACK, sent[CLIENT], sent[SERVER], b"", turn_us)
    elif close == "fin":
        first = CLIENT if acks and rng.random() < 0.5 else SERVER
        book.add(first, FIN | ACK, sent[first], sent[1 - first], b"", 900)
        book.add(1 - first, FIN | ACK, sent[1 - first], sent[first] + 1, b"", 9_000)
        book.add(first, ACK, sent[first] + 1, sent[1 - first] + 1, b"", 9_000)
    return script


def play_udp(book: Book, rng: random.Random, turns: Iterable[Turn]) -> int:
    """Write datagrams into the book; the script's number."""
    script = book.open_script(UDP)
    for index, (side, data) in enumerate(turns):
        book.add(side, 0, 0, 0, data, rng.randrange(2_000, 60_000) if index else 0)
    return script
