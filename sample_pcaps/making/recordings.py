"""Bytes that cannot be made twice: TLS handshakes and deflate streams, recorded once and committed.

A TLS handshake holds fresh random numbers, and two builds of zlib may pack the same text differently. So that the
samples are the same bytes on every machine, these are recorded in recordings.json; `generate.py --record` makes
them anew with real peers (the ssl module on both ends, a throw-away certificate of the openssl command).
"""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import tempfile
import zlib
from pathlib import Path

from making.network import CLIENT, SERVER

FILE = Path(__file__).with_name("recordings.json")

Flights = list[tuple[int, bytes]]
"""(side, bytes) in the order of the dialogue."""


def load(name: str) -> Flights:
    """The flights of one recording."""
    return [(side, base64.b64decode(data)) for side, data in json.loads(FILE.read_text())[name]]


def record_all() -> None:
    """Make every recording anew."""
    made = {
        "starttls": _tls(b"mail.example.org", ssl.TLSVersion.TLSv1_3, "mail.example.org", IMAP_INSIDE),
        "tls-without-sni": _tls(None, ssl.TLSVersion.TLSv1_2, "WIN-7Q2K0LR3MJA", BEACON_INSIDE),
        "office-imaps": _tls(b"imap.example.net", ssl.TLSVersion.TLSv1_3, "imap.example.net", IMAP_INSIDE),
        "office-https": _tls(b"www.example.com", ssl.TLSVersion.TLSv1_3, "www.example.com", WEB_INSIDE),
        "compress": _deflate(COMPRESSED_DIALOGUE),
    }
    lines = [
        f"  {json.dumps(name)}: " + json.dumps([[side, base64.b64encode(data).decode()] for side, data in flights])
        for name, flights in made.items()
    ]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


IMAP_INSIDE: Flights = [
    (CLIENT, b"a3 CAPABILITY\r\n"),
    (SERVER, b"* CAPABILITY IMAP4rev1 LITERAL+ SASL-IR IDLE UIDPLUS AUTH=PLAIN\r\na3 OK done\r\n"),
    (CLIENT, b'a4 LOGIN "maria" "hunter2"\r\n'),
    (SERVER, b"a4 OK logged in\r\n"),
    (CLIENT, b"a5 SELECT INBOX\r\n"),
    (SERVER, b"* 18 EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 1772000000] valid\r\na5 OK [READ-WRITE] done\r\n"),
    (CLIENT, b"a6 LOGOUT\r\n"),
    (SERVER, b"* BYE logging out\r\na6 OK done\r\n"),
]
BEACON_INSIDE: Flights = [
    (CLIENT, b"\x2b\0\0\0" + bytes(range(43))),
    (SERVER, b"\x08\0\0\0" + bytes(8)),
    (CLIENT, b"\x10\0\0\0" + bytes(range(16))),
    (SERVER, b"\x08\0\0\0" + bytes(8)),
]
WEB_INSIDE: Flights = [
    (CLIENT, b"GET / HTTP/1.1\r\nHost: www.example.com\r\nAccept: */*\r\n\r\n"),
    (
        SERVER,
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2600\r\n\r\n"
        + b"<p>example</p>\n" * 173
        + b"     ",
    ),
]
COMPRESSED_DIALOGUE: Flights = [
    (CLIENT, b"c4 SELECT INBOX\r\n"),
    (
        SERVER,
        (
            b"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n* 3 EXISTS\r\n* 0 RECENT\r\n"
            b"* OK [UIDVALIDITY 1772000001] UIDs valid\r\n* OK [UIDNEXT 41] Predicted next UID\r\n"
            b"c4 OK [READ-WRITE] Select completed.\r\n"
        ),
    ),
    (CLIENT, b"c5 UID FETCH 38:40 (UID FLAGS ENVELOPE)\r\n"),
    (
        SERVER,
        b"".join(
            b'* %d FETCH (UID %d FLAGS (\\Seen) ENVELOPE ("Mon, 02 Mar 2026 0%d:14:00 +0000" "Minutes %d" '
            b'(("Ines" NIL "ines" "example.org")) NIL NIL (("Team" NIL "team" "example.org")) NIL NIL NIL '
            b'"<%d@example.org>"))\r\n' % (i, 37 + i, i, i, i)
            for i in (1, 2, 3)
        )
        + b"c5 OK Fetch completed.\r\n",
    ),
    (CLIENT, b"c6 LOGOUT\r\n"),
    (SERVER, b"* BYE Logging out\r\nc6 OK Logout completed.\r\n"),
]


def _deflate(dialogue: Flights) -> Flights:
    """Raw deflate with a flush after each write, one stream a side (RFC 4978 section 3)."""
    packers = [zlib.compressobj(9, zlib.DEFLATED, -15) for _ in (CLIENT, SERVER)]
    return [(side, packers[side].compress(data) + packers[side].flush(zlib.Z_SYNC_FLUSH)) for side, data in dialogue]


def _certificate(folder: Path, name: str) -> Path:
    target = folder / "both.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "365",
        "-subj",
        f"/CN={name}",
        "-keyout",
        str(folder / "key.pem"),
        "-out",
        str(target),
    ]
    subprocess.run(command, check=True, capture_output=True)
    target.write_bytes(target.read_bytes() + (folder / "key.pem").read_bytes())
    return target


def _tls(sni: bytes | None, version: ssl.TLSVersion, subject: str, inside: Flights) -> Flights:
    """A real handshake between two memory buffers, and a dialogue inside it."""
    with tempfile.TemporaryDirectory() as folder:
        contexts = [ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)]
        contexts[CLIENT].check_hostname = False
        contexts[CLIENT].verify_mode = ssl.CERT_NONE
        contexts[SERVER].load_cert_chain(_certificate(Path(folder), subject))
        for context in contexts:
            context.maximum_version = version
    pipes = [(ssl.MemoryBIO(), ssl.MemoryBIO()) for _ in contexts]
    ends = [
        contexts[CLIENT].wrap_bio(*pipes[CLIENT], server_hostname=sni.decode() if sni else None),
        contexts[SERVER].wrap_bio(*pipes[SERVER], server_side=True),
    ]
    flights: Flights = []

    def carry(side: int) -> None:
        data = pipes[side][1].read()
        if data:
            flights.append((side, data))
            pipes[1 - side][0].write(data)

    open_ends = {CLIENT, SERVER}
    while open_ends:
        for side in (CLIENT, SERVER):
            try:
                ends[side].do_handshake()
                open_ends.discard(side)
            except ssl.SSLWantReadError:
                pass
            carry(side)
    for side, data in inside:
        ends[side].write(data)
        carry(side)
        received = b""
        while len(received) < len(data):
            received += ends[1 - side].read(65_536)
    return flights
