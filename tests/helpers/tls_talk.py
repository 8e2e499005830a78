"""Real TLS handshakes in memory, and the certificates for them, made when a test asks."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from imapids.records.streams import CLIENT, SERVER

SUBJECT = "/C=DE/ST=Hessen/O=Example, Inc./CN=mail.example.org"
NAMES = "DNS:mail.example.org,DNS:*.imap.example.org,IP:192.0.2.7,IP:2001:db8::7,email:post@example.org"


def make_certificate(folder: Path, *, subject: str = SUBJECT, names: str = NAMES) -> tuple[Path, Path]:
    """(certificate, key) in PEM, by the openssl program; skips the test where there is none."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("the openssl program is not installed")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run([
        program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
        "-out", certificate, "-days", "30", "-subj", subject, "-addext", f"subjectAltName={names}",
    ], check=True, capture_output=True)
    return certificate, key


def contexts(certificate: Path, key: Path, version: ssl.TLSVersion) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(client, server) contexts that speak just this version."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    server.set_alpn_protocols(["imap"])
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.set_alpn_protocols(["imap", "h2"])
    for context in (client, server):
        context.minimum_version = context.maximum_version = version
    return client, server


def talk(client_context: ssl.SSLContext, server_context: ssl.SSLContext, *, sni: str | None = "Mail.Example.org",
         session: ssl.SSLSession | None = None) -> tuple[list[tuple[int, bytes]], ssl.SSLObject]:
    """The flights of a handshake with some lines of data after it: [(side, bytes)], and the client's end."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=sni, session=session)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    flights: list[tuple[int, bytes]] = []
    pending_out = {CLIENT: to_server, SERVER: to_client}

    def step(end: ssl.SSLObject) -> bool:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def flush(side: int, bio: ssl.MemoryBIO) -> None:
        data = bio.read()
        if data:
            flights.append((side, data))
            bio.write(data)

    done = [False, False]
    for _ in range(10):
        done[CLIENT] = done[CLIENT] or step(client)
        flush(CLIENT, pending_out[CLIENT])
        done[SERVER] = done[SERVER] or step(server)
        flush(SERVER, pending_out[SERVER])
        if all(done):
            break
    for line in (b"* OK ready\r\n", b"* CAPABILITY IMAP4rev1\r\n" * 900):
        server.write(line)
        flush(SERVER, to_client)
        client.read(100_000)
    client.write(b"a1 LOGOUT\r\n")
    flush(CLIENT, to_server)
    server.read(1000)
    return flights, client
