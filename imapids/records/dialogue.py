"""parse -> judge: the facts of a dialogue."""

from __future__ import annotations

import msgspec

from imapids.records.candidates import Evidence


class TlsFacts(msgspec.Struct, kw_only=True):
    """What the records of a TLS stream showed (parse/tls -> judge)."""

    client_hello: bool = False
    server_hello: bool = False
    application_data: bool = False
    """Records of type 23 were seen."""
    valid_records: int = 0
    broken: bool = False
    """A record header that cannot be TLS was found where one must stand."""
    fake: bool = False
    """Application data from the first byte, no handshake, although the start was seen."""
    alert: str = ""
    version: str = ""
    sni: str = ""
    client_alpns: list[str] = []
    server_alpns: list[str] = []
    ja3: str = ""
    ja3_string: str = ""
    ja3s: str = ""
    ja4: str = ""
    subject: str = ""
    issuer: str = ""
    fingerprint: str = ""
    evidence: list[Evidence] = []


class OpaqueFacts(msgspec.Struct, kw_only=True):
    """Sizes and turns of a stream that is neither IMAP nor TLS (parse/opaque -> judge)."""

    bytes_client: int = 0
    bytes_server: int = 0
    turns: int = 0


class ImapFacts(msgspec.Struct, kw_only=True):
    """What the IMAP machine verified and what it found broken (parse/imap -> judge)."""

    greeting: str = ""
    """ok, preauth, bye, or empty where none was seen."""
    evidence: list[Evidence] = []
