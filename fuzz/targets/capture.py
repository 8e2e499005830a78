"""Capture files: whatever the bytes are, packets lie inside the buffer, the account adds up, and only InputError comes.

The cut into batches changes nothing: the same packets come with the smallest batches.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from helpers.captures import packets, pcap, pcapng, read, snoop

DICTIONARY = (
    b"\xd4\xc3\xb2\xa1",
    b"\xa1\xb2\xc3\xd4",
    b"\x4d\x3c\xb2\xa1",
    b"\x0a\x0d\x0d\x0a",
    b"\x4d\x3c\x2b\x1a",
    b"\x06\0\0\0",
    b"\x03\0\0\0",
    b"\x02\0\0\0",
    b"\x1f\x8b\x08",
    b"\x28\xb5\x2f\xfd",
    b"\x04\x22\x4d\x18",
    b"snoop\0\0\0",
    b"\x09\0\1\0",
)


def seeds() -> list[bytes]:
    """Small captures of each format, and the first bytes of some samples."""
    few = packets(12)
    return [pcap(few), pcapng(few), pcapng(few, ">"), snoop(few)]


def check(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuzzed"
        path.write_bytes(data)
        whole = read(path)
        small = read(path, batch_packets=3)
    for result in (whole, small):
        if result.accounts:
            account = result.account
            assert account.packets == len(result.data), (account.packets, len(result.data))
            assert result.numbers == sorted(result.numbers)
    assert (whole.data, whole.times, whole.numbers) == (small.data, small.times, small.numbers)
