"""Leaves passwords and tokens out of short texts of any protocol that evidence shows."""

from __future__ import annotations

from imapids.protocols.late_patterns import late_pattern

REDACTED = b"[redacted]"
_BEHIND_A_WORD = late_pattern(
    rb"(?i)(?<![a-z0-9])((?:pass(?:word|wd|code|phrase)?|pwd|auth(?:orization|enticate)?|token|secret|api[_-]?key)"
    rb"[^a-z0-9\r\n]{1,4}(?:(?:basic|bearer|plain|login)[^a-z0-9\r\n]{1,3})?)([^\r\n]+)"
)
"""What stands behind such a word, to the end of the line: `PASS x`, `Authorization: Basic x`, `"pass":"x"`."""
_IN_AN_ADDRESS = late_pattern(rb"(//[^/\s:@]*:)[^/\s@]+(?=@)")
"""The password of a URL (RFC 3986 section 3.2.1)."""


def hide_secrets(text: bytes) -> bytes:
    """A short text of any protocol without the passwords and tokens that its words announce."""
    hidden = _BEHIND_A_WORD.sub(rb"\1" + REDACTED, text)
    return _IN_AN_ADDRESS.sub(rb"\1" + REDACTED, hidden)
