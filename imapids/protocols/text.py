"""Bytes from the wire as text that no terminal, HTML page, CSV cell or JSON reader can be harmed by.

The text is printable ASCII and nothing else. It is reversible: `unsafe_bytes(safe_text(data)) == data` as long as
nothing was cut.
"""

from __future__ import annotations

from imapids.protocols.late_patterns import late_pattern

CUT_MARK = "..."
"""Stands at the end of text that was cut."""

_ESCAPES = {code: f"\\x{code:02x}" for code in range(256) if not 0x20 <= code <= 0x7E}
_ESCAPED_BYTE = late_pattern(rb"\\x([0-9a-f]{2})")


def safe_text(data: bytes, limit: int = 200) -> str:
    r"""Printable ASCII of `data`; every other byte becomes `\xNN`, and a backslash before an `x` becomes `\x5c`.

    `limit` counts bytes of the wire, before escaping; longer input is cut and ends in `...`.
    """
    cut = len(data) > limit
    text = str(data[:limit], "latin-1") if cut else str(data, "latin-1")
    if not (text.isascii() and text.isprintable()) or "\\" in text:
        text = text.replace("\\x", "\\x5cx").translate(_ESCAPES)
    return text + CUT_MARK if cut else text


def safe_str(text: str, limit: int = 200) -> str:
    r"""The same for text from outside (file names, option values): its UTF-8 bytes, each beyond ASCII as `\xNN`.

    Lone surrogates, which Python uses for file names that are not UTF-8, give the original bytes.
    """
    if len(text) <= limit and text.isascii() and text.isprintable() and "\\" not in text:
        return text
    head = text[: limit + 1]  # a character is a byte at least: what lies behind cannot be shown
    try:
        data = head.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that does not stand for a byte
        data = head.encode("utf-8", "surrogatepass")
    return safe_text(data, limit)


def unsafe_bytes(text: str) -> bytes:
    """The bytes that `safe_text` was given (a cut mark stays as it is): for tests, and to look for the bytes again."""
    return _ESCAPED_BYTE.sub(lambda match: bytes([int(match[1], 16)]), text.encode("ascii", "replace"))
