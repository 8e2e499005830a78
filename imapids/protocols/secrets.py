"""Secrets leave the program only as a keyed hash: reuse can be seen, the secret cannot."""

from __future__ import annotations

import hmac

HASH_DIGITS = 16
"""Hex digits of a keyed hash: 64 bits tell secrets of one run apart."""


class SecretHasher:
    """HMAC-SHA256 of secrets under the key of a run (RFC 2104)."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, user: bytes | str, secret: bytes | str) -> tuple[str, list[str]]:
        """The keyed hash of a secret, and what can be said of it without keeping it: `equal-to-user`, `empty`."""
        name = user.encode("utf-8", "surrogateescape") if isinstance(user, str) else user
        word = secret.encode("utf-8", "surrogateescape") if isinstance(secret, str) else secret
        traits = []
        if not word:
            traits.append("empty")
        elif word.lower() in (name.lower(), name.lower().partition(b"@")[0]):
            traits.append("equal-to-user")
        return hmac.digest(self._key, word, "sha256").hex()[:HASH_DIGITS], traits
