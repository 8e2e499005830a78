"""Handshake messages of TLS, gathered from records and turned into facts about both sides."""

from __future__ import annotations

from imapids.config import DialogueLimits
from imapids.protocols.text import safe_text
from imapids.protocols.tls import (
    CERTIFICATE,
    CLIENT_HELLO,
    HANDSHAKE_TYPES,
    SERVER_HELLO,
    SERVER_HELLO_DONE,
    version_name,
)
from imapids.protocols.tls_hello import (
    ClientHello,
    ServerHello,
    ja3,
    ja3s,
    ja4,
    parse_client_hello,
    parse_server_hello,
)
from imapids.protocols.x509 import parse_certificate
from imapids.records.dialogue import TlsFacts
from imapids.records.events import Ja3, Tls
from imapids.records.streams import CLIENT

_HEADER_BYTES = 4
_GATHERED = frozenset({CLIENT_HELLO, SERVER_HELLO, CERTIFICATE})
_TLS_1_3 = 0x0304


class Messages:
    """Cuts one side's handshake records into messages; only hellos and certificates are gathered."""

    __slots__ = ("_announced", "_buffer", "_kind", "_limit", "_skip", "_want", "broken")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._kind = -1
        self._want = _HEADER_BYTES
        self._announced = 0
        self._skip = 0
        self.broken = False
        """A header came that is none: nothing more is cut."""

    @property
    def between(self) -> bool:
        """The next byte begins a message."""
        return self._kind < 0 and not self._buffer and not self._skip

    def feed(self, data: bytes) -> list[tuple[int, bytes, int]]:
        """(type, gathered body, announced length) of each message that `data` completes."""
        done: list[tuple[int, bytes, int]] = []
        position, end = 0, len(data)
        while position < end and not self.broken:
            if self._skip:
                step = min(self._skip, end - position)
                self._skip -= step
                position += step
                continue
            if self._kind < 0 and not self._buffer and data[position] in HANDSHAKE_TYPES:
                size = int.from_bytes(data[position + 1 : position + _HEADER_BYTES], "big")
                stop = position + _HEADER_BYTES + size
                if stop <= end:  # a whole message, as nearly always
                    kept = min(size, self._limit) if data[position] in _GATHERED else 0
                    body = data[position + _HEADER_BYTES : position + _HEADER_BYTES + kept]
                    done.append((data[position], body, size))
                    position = stop
                    continue
            step = min(self._want - len(self._buffer), end - position)
            self._buffer += data[position : position + step]
            position += step
            if len(self._buffer) == self._want:
                self._complete(done)
        return done

    def _complete(self, done: list[tuple[int, bytes, int]]) -> None:
        """A header or a body is whole."""
        if self._kind < 0:
            kind, length = self._buffer[0], int.from_bytes(self._buffer[1:4], "big")
            if kind not in HANDSHAKE_TYPES:
                self.broken = True
                return
            kept = min(length, self._limit) if kind in _GATHERED else 0
            self._buffer.clear()
            self._announced = length
            if kept:
                self._kind, self._want = kind, kept
            else:
                self._skip = length
                done.append((kind, b"", length))
            return
        done.append((self._kind, bytes(self._buffer), self._announced))
        self._skip = self._announced - self._want
        self._buffer.clear()
        self._kind, self._want = -1, _HEADER_BYTES


class Handshake:
    """Fills TlsFacts from the messages of both sides, and makes the `tls` event of them."""

    __slots__ = ("_client", "_limits", "_server", "facts", "flight_done", "origin")

    def __init__(self, facts: TlsFacts, limits: DialogueLimits, origin: str) -> None:
        self.facts = facts
        self.origin = origin
        self.flight_done = False
        """The server has said in clear all that it will say."""
        self._limits = limits
        self._client: ClientHello | None = None
        self._server: ServerHello | None = None

    def message(self, side: int, kind: int, body: bytes, announced: int) -> bool:
        """Takes one message; False where it is malformed or not that side's to send."""
        if side == CLIENT:
            if kind == CLIENT_HELLO:
                return self._client_hello(parse_client_hello(body, announced))
            return kind != SERVER_HELLO
        if kind == SERVER_HELLO:
            return self._server_hello(parse_server_hello(body))
        if kind == CERTIFICATE:
            self._certificate(body, announced)
        elif kind == SERVER_HELLO_DONE:
            self.flight_done = True
        return kind != CLIENT_HELLO

    def sslv2_hello(self, hello: ClientHello | None) -> bool:
        """Takes a ClientHello in the form of SSL 2.0; False where it is none."""
        return self._client_hello(hello)

    def sslv2_answer(self) -> None:
        """The server answered in SSL 2.0: nothing more can be read."""
        self.facts.server_hello = True
        self.facts.version = version_name(2)
        self.flight_done = True

    def _client_hello(self, hello: ClientHello | None) -> bool:
        if hello is None:
            return False
        facts = self.facts
        if hello.cut and "tls-handshake-bytes" not in facts.limits:
            facts.limits = [*facts.limits, "tls-handshake-bytes"]
        if self._client is not None:  # after a HelloRetryRequest: fingerprints are those of the first
            return True
        self._client = hello
        facts.client_hello = True
        facts.offered_version = version_name(hello.highest_version)
        facts.version = facts.version or facts.offered_version
        facts.sni = hello.sni
        facts.client_alpns = [safe_text(name, self._limits.text_bytes) for name in hello.alpns]
        facts.ja3, facts.ja3_string = ja3(hello)
        facts.ja4 = ja4(hello)
        return True

    def _server_hello(self, hello: ServerHello | None) -> bool:
        if hello is None:
            return False
        facts = self.facts
        if hello.retry:
            facts.retried = True
            return True
        if self._server is not None:
            return False
        self._server = hello
        facts.server_hello = True
        facts.version = version_name(hello.version)
        facts.cipher = hello.cipher
        facts.ja3s, facts.ja3s_string = ja3s(hello)
        if hello.alpn:
            facts.server_alpns = [safe_text(hello.alpn, self._limits.text_bytes)]
        client = self._client
        if client is not None:
            facts.choice_offered = _is_offered(hello, client)
            same_session = bool(hello.session_id) and hello.session_id == client.session_id
            facts.resumed = hello.psk or (same_session and hello.version < _TLS_1_3)
        if hello.version >= _TLS_1_3:  # the rest of the server's flight is encrypted
            self.flight_done = True
        return True

    def _certificate(self, body: bytes, announced: int) -> None:
        """Certificate of TLS 1.2 and before (RFC 5246 section 7.4.2): a list whose first is the server's own."""
        facts = self.facts
        if facts.certificate:
            return
        size = int.from_bytes(body[3:6], "big")
        certificate = parse_certificate(body[6 : 6 + size]) if 0 < size <= len(body) - 6 else None
        if certificate is None:
            if announced > len(body):
                facts.limits = [*facts.limits, "tls-handshake-bytes"]
            return
        facts.certificate = True
        facts.resumed = False
        facts.subject, facts.issuer = certificate.subject, certificate.issuer
        facts.serial, facts.fingerprint = certificate.serial, certificate.fingerprint
        facts.not_before, facts.not_after = certificate.not_before, certificate.not_after
        facts.names, facts.self_issued = certificate.names, certificate.self_issued

    def event(self) -> Tls:
        """The `tls` event of what is known."""
        facts = self.facts
        event = Tls(
            sni=facts.sni, version=facts.version, ja3=Ja3(facts.ja3, facts.ja3_string) if facts.ja3 else None,
            ja3s=Ja3(facts.ja3s, facts.ja3s_string) if facts.ja3s else None, ja4=facts.ja4, subject=facts.subject,
            issuerdn=facts.issuer, serial=facts.serial, fingerprint=facts.fingerprint, notbefore=facts.not_before,
            notafter=facts.not_after, client_alpns=facts.client_alpns, server_alpns=facts.server_alpns,
            subjectaltname=facts.names,
        )
        event.session_resumed, event.from_proto = facts.resumed, self.origin  # a sixteenth keyword costs a dictionary
        return event


def _is_offered(server: ServerHello, client: ClientHello) -> bool:
    """Whether the server chose what the client offered."""
    if server.cipher not in client.ciphers:
        return False
    if server.selected_version:
        return server.selected_version in client.versions
    return server.legacy_version <= max(client.version, client.highest_version)
