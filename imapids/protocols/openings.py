"""The settled part of an opening: the bytes and turns that no later packet can change.

Shapes are a matter of the whole exchange, not of a prefix, so they are judged on a window that stays the same
whenever one looks: the first turns of the conversation once one more has begun, or all there is when both sides
are over.
"""

from __future__ import annotations

import msgspec

from imapids.records.candidates import Opening
from imapids.records.streams import CLIENT, SERVER

WINDOW_TURNS = 16
"""Turns that are looked at: enough to see what repeats, few enough to decide while a beacon is still young."""


class Window(msgspec.Struct, frozen=True):
    """The first turns of a conversation, complete."""

    client: bytes
    server: bytes
    turns: list[tuple[int, int]]
    """(side, bytes), cut to what the prefixes hold."""

    def pieces(self) -> list[tuple[int, bytes]]:
        """The turns with their bytes."""
        at = [0, 0]
        pieces = []
        for side, size in self.turns:
            data = (self.client, self.server)[side]
            pieces.append((side, data[at[side] : at[side] + size]))
            at[side] += size
        return pieces


def settled(opening: Opening) -> Window | None:
    """The window of an opening, or None while it may still change."""
    turns = opening.turns
    if len(turns) <= WINDOW_TURNS and not (opening.client_ended and opening.server_ended):
        return None
    left = [len(opening.client), len(opening.server)]
    kept = []
    for side, size in turns[:WINDOW_TURNS]:
        size = min(size, left[side])
        if size <= 0:
            break
        left[side] -= size
        kept.append((side, size))
    sizes = [sum(size for side, size in kept if side == wanted) for wanted in (CLIENT, SERVER)]
    return Window(opening.client[: sizes[0]], opening.server[: sizes[1]], kept)


_BITS = bytes(value.bit_count() for value in range(256))
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t\r\n"


def looks_random(data: bytes) -> bool:
    """Do the bytes look like a key stream? Popcount as of random bytes, and not text.

    The test that censors and traffic classifiers use: 3.4 to 4.6 bits set a byte, fewer than six leading printable
    bytes, under half printable, no printable run above 20.
    """
    if len(data) < 16:
        return False
    bits = sum(data.translate(_BITS)) / len(data)
    if not 3.4 <= bits <= 4.6:
        return False
    hidden = data.translate(None, _PRINTABLE)
    if 2 * (len(data) - len(hidden)) >= len(data) or (len(data) < 256 and not data[:6].translate(None, _PRINTABLE)):
        return False  # six printable bytes at the start mean text only where few bytes are there to judge by
    run = 0
    for byte in data[:512]:
        run = run + 1 if 0x20 <= byte < 0x7F else 0
        if run > 20:
            return False
    return len(set(data[:256])) >= min(len(data), 256) * 0.4


def is_text(data: bytes) -> bool:
    """Printable ASCII and white space only."""
    return not data.translate(None, _PRINTABLE)
