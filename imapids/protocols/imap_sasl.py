"""What a SASL exchange tells: who signs in, by which mechanism, and the secret where the mechanism sends it.

The secret never leaves this module's caller but as a keyed hash; nothing here keeps it.
"""

from __future__ import annotations

import binascii
import re
from typing import NamedTuple

from imapids.protocols.imap_grammar import BASE64
from imapids.protocols.late_patterns import late_pattern

SECURITY_LAYERS = frozenset(("DIGEST-MD5", "GSSAPI", "GSS-SPNEGO", "KERBEROS_V4", "KERBEROS_V5", "SRP", "NTLM"))
"""Mechanisms that can wrap the bytes after the exchange in a layer of their own: RFC 4422 section 3.7; each buffer is
four bytes of length and as many bytes of data (RFC 2831 2.3, RFC 4752 3.3, RFC 2222 7.2)."""

MOST_ROUNDS = 7
"""Client responses of one exchange: no known mechanism needs more (the RFC of each)."""


class Credentials(NamedTuple):
    """What the client's messages held."""

    user: bytes = b""
    secret: bytes | None = None
    """None: not on the wire (challenge and response) or not seen."""


def decode_response(line: bytes, limit: int = 16_384) -> bytes | None:
    """The bytes of one SASL message (RFC 9051 6.2.2: base64; `=` alone is an empty one), None where it is no base64."""
    if line == b"=":
        return b""
    if len(line) > limit:
        line = line[: limit - limit % 4]
    if not BASE64.match(line):
        return None
    try:
        return binascii.a2b_base64(line + b"=" * (-len(line) % 4))
    except (binascii.Error, ValueError):
        return None


_QUOTED_USER = late_pattern(rb'(?:^|,)\s*username="((?:[^"\\]|\\.)*)"')
_SCRAM_USER = late_pattern(rb"(?:^|,)n=([^,]*)")
_BEARER = late_pattern(rb"\x01auth=Bearer ([^\x01]*)", re.IGNORECASE)
_XOAUTH_USER = late_pattern(rb"(?:^|\x01)user=([^\x01]*)")
_GS2_USER = late_pattern(rb"\A[nyp][^,]*,a=([^,]*),")


def read_exchange(mechanism: str, messages: list[bytes]) -> Credentials:
    """Credentials out of the client's decoded messages, in order; empty where the mechanism hides or lacks them.

    PLAIN RFC 4616 2; LOGIN draft-murchison-sasl-login; CRAM-MD5 RFC 2195 2; DIGEST-MD5 RFC 2831 2.1.2;
    SCRAM RFC 5802 7; XOAUTH2 Google's description; OAUTHBEARER RFC 7628 3.1; NTLM MS-NLMP 2.2.1.3;
    EXTERNAL RFC 4422 A; ANONYMOUS RFC 4505.
    """
    if not messages:
        return Credentials()
    first = messages[0]
    if mechanism == "PLAIN":
        parts = first.split(b"\x00")
        return Credentials(parts[1] or parts[0], parts[2]) if len(parts) == 3 else Credentials()
    if mechanism == "LOGIN":
        return Credentials(first, messages[1] if len(messages) > 1 else None)
    if mechanism.startswith("CRAM-"):
        return Credentials(first.rpartition(b" ")[0])
    if mechanism == "DIGEST-MD5":
        return _first_match(_QUOTED_USER, messages)
    if mechanism.startswith("SCRAM-"):
        user = _first_match(_SCRAM_USER, [first.partition(b",,")[2] or first]).user
        return Credentials(user.replace(b"=2C", b",").replace(b"=3D", b"="))
    if mechanism in ("XOAUTH2", "OAUTHBEARER"):
        named = (_XOAUTH_USER if mechanism == "XOAUTH2" else _GS2_USER).search(first)
        token = _BEARER.search(first)
        return Credentials(named[1] if named else b"", token[1] if token else None)
    if mechanism == "NTLM":
        return Credentials(next((user for user in map(_ntlm_user, messages) if user), b""))
    return Credentials(first) if mechanism in ("EXTERNAL", "ANONYMOUS") else Credentials()


def _first_match(pattern: re.Pattern[bytes], messages: list[bytes]) -> Credentials:
    for message in messages:
        match = pattern.search(message)
        if match:
            return Credentials(match[1])
    return Credentials()


def _ntlm_user(message: bytes) -> bytes:
    """User name of an AUTHENTICATE_MESSAGE (MS-NLMP 2.2.1.3), its UTF-16 narrowed to UTF-8."""
    if not message.startswith(b"NTLMSSP\x00\x03\x00\x00\x00") or len(message) < 64:
        return b""
    length, offset = int.from_bytes(message[36:38], "little"), int.from_bytes(message[40:44], "little")
    name = message[offset : offset + min(length, 512)]
    wide = message[60] & 1  # NTLMSSP_NEGOTIATE_UNICODE
    return name.decode("utf-16-le", "replace").encode() if wide else name
