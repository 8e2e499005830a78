"""COMPRESS=DEFLATE: nothing raises, output stays within the ratio, and the cut of the input changes nothing."""

from __future__ import annotations

import zlib

from imapids.config import DialogueLimits
from imapids.parse.deflate import Inflater

DICTIONARY = (b"\x00\x00\x00\xff\xff", b"\x03\0", b"\x4b\x04\0", b"\xed\xc1")


def seeds() -> list[bytes]:
    """Raw deflate with sync flushes, a stored block, and one that inflates a thousandfold."""
    found = []
    for level, text in ((6, b"* 3 EXISTS\r\n" * 20), (0, b"a1 NOOP\r\n"), (9, bytes(200_000))):
        packer = zlib.compressobj(level, zlib.DEFLATED, -15)
        found.append(packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH) + packer.compress(text) + packer.flush())
    return found


def check(data: bytes) -> None:
    limits = DialogueLimits()
    whole = Inflater(limits)
    output = whole.feed(data)
    single = Inflater(limits)
    pieces = b"".join(single.feed(data[at : at + 1]) for at in range(len(data)))
    assert pieces == output
    state = (whole.failed, whole.bomb, whole.bytes_in, whole.bytes_out, whole.fault_offset)
    assert (single.failed, single.bomb, single.bytes_in, single.bytes_out, single.fault_offset) == state
