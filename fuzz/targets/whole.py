"""A capture through the whole program: every line is JSON without control characters, and the account adds up."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

from helpers.analysis import analyze_all
from talks import SAMPLES

from imapids.errors import InputError

DICTIONARY = (b"* OK ", b"a1 LOGIN ", b"\x16\x03\x01", b"\x08\x00\x45", b"\x86\xdd", b"\x81\x00", b"\x00\x8f")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")
_LARGEST = 30_000


def seeds() -> list[bytes]:
    """The smaller sample captures."""
    return [path.read_bytes() for path in sorted(SAMPLES.glob("*.pcap")) if path.stat().st_size < _LARGEST]


def _strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for key, each in value.items() for text in (key, *_strings(each))]
    if isinstance(value, list):
        return [text for each in value for text in _strings(each)]
    return [value] if isinstance(value, str) else []


def check(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuzzed.pcap"
        path.write_bytes(data)
        try:
            run = analyze_all(path)
        except InputError:
            return
    for line in run.text.splitlines():
        for text in _strings(json.loads(line)):
            assert not _CONTROL.search(text), text
    capture = run.capture
    assert capture.packets == capture.processed + sum(capture.skipped.values())
