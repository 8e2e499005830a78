"""The shape of conversations in datagrams that no protocol names: random bytes both ways, without any header."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from imapids.protocols.openings import looks_random
from imapids.protocols.probing import NEED_MORE, NO, YES, Answer, Probe, anything
from imapids.protocols.shape_findings import shape_evidence, shape_finding
from imapids.records.candidates import Opening
from imapids.records.streams import CLIENT, SERVER

WINDOW_DATAGRAMS = 8
"""Datagrams that are looked at; fewer only where no more come."""
_LEAST_DATAGRAMS = 4
_LEAST_EACH = 2
_LEAST_BYTES = 96
"""Of each side: fewer bytes say little about their origin."""
_HEADER_BYTES = 16
"""Where a header would stand. A shorter datagram is none of a cipher with a nonce or a tag of its own."""
_SIDE_BYTES = 1_024
_EACH_BYTES = 256
_STEP = 8
"""A number that grows by no more from one datagram to the next is a counter."""


def _evenly_spread(data: bytes) -> bool:
    """Whether no byte value is too common, and as many occur as of random bytes (popcount alone lets tables pass)."""
    size = len(data)
    counts = Counter(data)
    expected = 256 * (1 - (255 / 256) ** size)
    return max(counts.values()) <= 5 + size // 64 and len(counts) >= 0.85 * expected


def _has_header(sides: tuple[list[bytes], list[bytes]]) -> bool:
    """Whether the first bytes of the datagrams have something in common: type, version, identifier, counter.

    Of conversations of random datagrams about 3 % (four datagrams) to 0.4 % (eight) are taken for ones that have.
    """
    datagrams = sides[CLIENT] + sides[SERVER]
    count = len(datagrams)
    repeats = [count - len(set(column)) for column in zip(*(data[:_HEADER_BYTES] for data in datagrams), strict=True)]
    if max(repeats) > count // 4 or sum(repeats) > count:
        return True
    ones = zeros = 0xFF
    for data in datagrams:
        ones &= data[0]
        zeros &= ~data[0]
    if (ones | zeros).bit_count() >= (2 if count >= WINDOW_DATAGRAMS else 4):  # flags and types in single bits
        return True
    return any(_counts_up([[data[at] for data in own] for own in sides]) for at in range(_HEADER_BYTES))


def _counts_up(columns: Sequence[list[int]]) -> bool:
    """Whether one byte grows from datagram to datagram, on both sides, or on one that sent four or more."""
    grows = [
        [1 <= (after - before) % 256 <= _STEP for before, after in pairwise(own)] for own in columns
    ]
    return all(map(all, grows)) or any(len(own) >= 3 and all(own) for own in grows)


def _look_encrypted(opening: Opening) -> Answer:
    """Several datagrams of each side whose every byte looks random, from the first one on."""
    over = opening.client_ended and opening.server_ended
    window = opening.datagrams[:WINDOW_DATAGRAMS]
    if any(len(data) < _HEADER_BYTES for _, data in window):
        return NO, None
    if len(window) < WINDOW_DATAGRAMS and not over:
        return NEED_MORE, None
    sides: tuple[list[bytes], list[bytes]] = ([], [])
    for side, data in window:
        sides[side].append(data)
    if len(window) < _LEAST_DATAGRAMS or min(map(len, sides)) < _LEAST_EACH:
        return NO, None
    for own in sides:
        joined = b"".join(data[:_EACH_BYTES] for data in own)[:_SIDE_BYTES]
        if len(joined) < _LEAST_BYTES or not looks_random(joined) or not _evenly_spread(joined):
            return NO, None
    if _has_header(sides):
        return NO, None
    text = f"{len(window)} datagrams, the first begins {window[0][1][:16].hex(' ')}"
    return YES, shape_finding(opening, "fully-encrypted", "medium", shape_evidence("fully-encrypted", "both", text))


PROBES: tuple[Probe, ...] = (Probe("shape", _look_encrypted, anything),)
