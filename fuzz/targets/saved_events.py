"""Saved JSON lines: None or a record that can be written again as a line of valid JSON."""

from __future__ import annotations

import json
from functools import cache

from helpers.analysis import analyze_all
from talks import SAMPLES

from imapids.output.eve import encode_lines
from imapids.output.eve_reader import decode

DICTIONARY = (
    b'"event_type":"session"',
    b'"alert":{',
    b'"flow":{',
    b"null",
    b"-1",
    b"1e999",
    b"[]",
    b"{}",
    b'"\\ud800"',
    b'"timestamp":"',
    b"9" * 40,
)


@cache
def _lines() -> tuple[bytes, ...]:
    lines: dict[str, bytes] = {}
    for name in ("office-day", "password-guessing", "binary-beacon"):
        for line in analyze_all(SAMPLES / f"{name}.pcap").text.splitlines():
            lines.setdefault(json.loads(line)["event_type"], line)
    return tuple(lines.values())


def seeds() -> list[bytes]:
    """One line of each event type."""
    return list(_lines())


def check(data: bytes) -> None:
    record = decode(data)
    if record is not None:
        for line in encode_lines([record]).splitlines():
            json.loads(line)
