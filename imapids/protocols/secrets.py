"""Secrets leave the program only as a keyed hash: reuse can be seen, the secret cannot."""

from __future__ import annotations

import re
from hashlib import blake2b

HASH_DIGITS = 16
"""Hex digits of a keyed hash: 64 bits tell secrets of one run apart."""

REDACTED = b"[redacted]"
_BEHIND_A_WORD = re.compile(
    rb"(?i)(?<![a-z0-9])((?:pass(?:word|wd|code|phrase)?|pwd|auth(?:orization|enticate)?|token|secret|api[_-]?key)"
    rb"[^a-z0-9\r\n]{1,4}(?:(?:basic|bearer|plain|login)[^a-z0-9\r\n]{1,3})?)([^\r\n]+)"
)
"""What stands behind such a word, to the end of the line: `PASS x`, `Authorization: Basic x`, `"pass":"x"`."""
_IN_AN_ADDRESS = re.compile(rb"(//[^/\s:@]*:)[^/\s@]+(?=@)")
"""The password of a URL (RFC 3986 section 3.2.1)."""


def hide_secrets(text: bytes) -> bytes:
    """A short text of any protocol without the passwords and tokens that its words announce."""
    hidden = _BEHIND_A_WORD.sub(rb"\1" + REDACTED, text)
    return _IN_AN_ADDRESS.sub(rb"\1" + REDACTED, hidden)


class SecretHasher:
    """Keyed BLAKE2b of secrets under the key of a run (RFC 7693 section 2.9).

    BLAKE2b keeps the interpreter's lock on such short input; HMAC of the ssl library gives it away at every call
    and waits for the reading thread to hand it back.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = blake2b(key).digest()  # a key file of any length becomes the 64 bytes that BLAKE2b takes

    def __call__(self, user: bytes | str, secret: bytes | str) -> tuple[str, list[str]]:
        """The keyed hash of a secret, and what can be said of it without keeping it: `equal-to-user`, `empty`."""
        name = user.encode("utf-8", "surrogateescape") if isinstance(user, str) else user
        word = secret.encode("utf-8", "surrogateescape") if isinstance(secret, str) else secret
        traits = []
        if not word:
            traits.append("empty")
        elif word.lower() in (name.lower(), name.lower().partition(b"@")[0]):
            traits.append("equal-to-user")
        return blake2b(word, key=self._key, digest_size=HASH_DIGITS // 2).hexdigest(), traits
