"""Secrets leave the program only as a keyed hash: reuse can be seen, the secret cannot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING

from imapids import kernels
from imapids.protocols.late_patterns import late_pattern

if TYPE_CHECKING:
    from imapids.kernels._events import KeyedHash

HASH_DIGITS = 16
"""Hex digits of a keyed hash: 64 bits tell secrets of one run apart."""

REDACTED = b"[redacted]"
_BEHIND_A_WORD = late_pattern(
    rb"(?i)(?<![a-z0-9])((?:pass(?:word|wd|code|phrase)?|pwd|auth(?:orization|enticate)?|token|secret|api[_-]?key)"
    rb"[^a-z0-9\r\n]{1,4}(?:(?:basic|bearer|plain|login)[^a-z0-9\r\n]{1,3})?)([^\r\n]+)"
)
"""What stands behind such a word, to the end of the line: `PASS x`, `Authorization: Basic x`, `"pass":"x"`."""
_IN_AN_ADDRESS = late_pattern(rb"(//[^/\s:@]*:)[^/\s@]+(?=@)")
"""The password of a URL (RFC 3986 section 3.2.1)."""

ANY_USER = b"*"
"""In a list of accounts: the password is weak whoever uses it."""

Accounts = Mapping[bytes, frozenset[bytes]]
"""Lower-case passwords by lower-case user name; ANY_USER holds those that are weak for everybody."""


def hide_secrets(text: bytes) -> bytes:
    """A short text of any protocol without the passwords and tokens that its words announce."""
    hidden = _BEHIND_A_WORD.sub(rb"\1" + REDACTED, text)
    return _IN_AN_ADDRESS.sub(rb"\1" + REDACTED, hidden)


def read_accounts(lines: Iterable[bytes]) -> dict[bytes, frozenset[bytes]]:
    """Accounts out of lines `user:password`; empty lines and those that begin with `#` are left out."""
    found: dict[bytes, set[bytes]] = {}
    for line in lines:
        user, colon, password = line.strip().lower().partition(b":")
        if colon and not user.startswith(b"#"):
            found.setdefault(user, set()).add(password)
    return {user: frozenset(passwords) for user, passwords in found.items()}


class SecretHasher:
    """Keyed BLAKE2b of secrets under the key of a run (RFC 7693 section 2.9).

    BLAKE2b keeps the interpreter's lock on such short input; HMAC of the ssl library gives it away at every call
    and waits for the reading thread to hand it back.
    """

    __slots__ = ("_key", "_keyed", "_weak")

    def __init__(self, key: bytes, accounts: Mapping[str, Accounts] | None = None) -> None:
        """`accounts`: lists of default and weak accounts by name, compared here and never kept with a login."""
        # a key file of any length becomes the 64 bytes that BLAKE2b takes; the keyed state is copied for each secret
        self._key = blake2b(key).digest()
        self._keyed = blake2b(key=self._key, digest_size=HASH_DIGITS // 2)
        self._weak: dict[bytes, list[tuple[str, bytes]]] = {}
        """By password: (list, user), in the order of the lists. One look-up answers for nearly all secrets."""
        for title, known in (accounts or {}).items():
            for user, passwords in known.items():
                for password in passwords:
                    self._weak.setdefault(password, []).append((title, user))

    def __call__(self, user: bytes | str, secret: bytes | str) -> tuple[str, list[str]]:
        """The keyed hash of a secret, and what can be said of it without keeping it.

        Traits: `empty`, `equal-to-user`, `default:<list>` for an account of that list.
        """
        name = (user.encode("utf-8", "surrogateescape") if isinstance(user, str) else user).lower()
        word = secret.encode("utf-8", "surrogateescape") if isinstance(secret, str) else secret
        plain, traits = word.lower(), []
        if not word:
            traits.append("empty")
        elif name.startswith(plain) and plain in (name, name.partition(b"@")[0]):
            traits.append("equal-to-user")
        for title, account in self._weak.get(plain, ()):
            if account in (name.partition(b"@")[0], ANY_USER) and f"default:{title}" not in traits:
                traits.append(f"default:{title}")
        keyed = self._keyed.copy()
        keyed.update(word)
        return keyed.hexdigest(), traits

    def compiled(self) -> KeyedHash:
        """What says the same, where there are kernels, of secrets that have no traits."""
        return kernels.events.KeyedHash(self._key, self._weak)
