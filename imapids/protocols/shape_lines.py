"""The shapes of lines: base64, hexadecimal or JSON, line after line."""

from __future__ import annotations

import re

from imapids.protocols.late_patterns import late_pattern
from imapids.protocols.openings import Window, is_text
from imapids.protocols.probing import SHOWN_BYTES
from imapids.protocols.shape_findings import CUT_BYTES, shape_evidence, shape_finding
from imapids.protocols.text import safe_text
from imapids.records.candidates import Finding, Opening

_BASE64 = late_pattern(
    rb"(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?|(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)|(?:[A-Za-z0-9_-]{4}){4,}"
)
_HEX = late_pattern(rb"(?:[0-9a-f]{2}){4,}|(?:[0-9A-F]{2}){4,}")
_JSON = late_pattern(rb"[{\[].*[}\]]", re.DOTALL)


def _lines(data: bytes, cut: bool) -> list[bytes]:
    """Lines without their ends; a last one without an end does not count where the prefix was cut."""
    lines = [line.rstrip(b"\r") for line in data.split(b"\n")]
    if cut or not lines[-1]:
        lines.pop()
    return lines


def _alphabet(lines: list[bytes]) -> str:
    """base64-lines, hex-lines or json-lines where every line is so; empty otherwise."""
    if not lines or not all(lines):
        return ""
    for kind, pattern in (("hex-lines", _HEX), ("base64-lines", _BASE64), ("json-lines", _JSON)):
        if all(pattern.fullmatch(line) for line in lines):
            return kind
    return ""


def _convincing(kind: str, text: bytes) -> bool:
    """Is there enough of the alphabet that no plain words are taken for it?"""
    if kind == "json-lines":
        return b'":' in text or b'" :' in text
    if kind == "hex-lines":
        return len(text) >= 16 and len(set(text)) >= 4
    classes = (
        any(0x41 <= byte <= 0x5A for byte in text)
        + any(0x61 <= byte <= 0x7A for byte in text)
        + any(byte in b"0123456789+/=" for byte in text)
    )
    return len(text) >= 12 and (classes == 3 or (len(text) >= 64 and classes == 2))


def find_lines(opening: Opening, window: Window) -> Finding | None:
    """Every line of every side that spoke is base64, hexadecimal or a JSON object."""
    spoke = [(side, data) for side, data in (("client", window.client), ("server", window.server)) if data]
    if not spoke or not all(is_text(data[:256]) for _, data in spoke) or (opening.midstream and len(spoke) < 2):
        return None
    lines = [_lines(data, len(data) >= CUT_BYTES) for _, data in spoke]
    kinds = {_alphabet(own) for own in lines}
    kind = "base64-lines" if kinds == {"base64-lines", "hex-lines"} else kinds.pop() if len(kinds) == 1 else ""
    if not kind or not _convincing(kind, b"".join(line for own in lines for line in own)):
        return None
    side, data = spoke[0]
    return shape_finding(
        opening,
        kind,
        "medium" if len(spoke) == 2 else "low",
        shape_evidence(kind, "both" if len(spoke) == 2 else side, safe_text(data[:SHOWN_BYTES].split(b"\n", 1)[0])),
    )


# ---- beats and echoes ---------------------------------------------------------------------------------------
