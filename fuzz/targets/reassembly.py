"""Segments of one conversation in any order and overlap: nothing raises, and the cut into batches changes nothing.

An input is a row of segments of five bytes each: side and flags, place in the stream, length, pause before it, and
the byte that fills it.
"""

from __future__ import annotations

from helpers.outcomes import run
from helpers.segments import CLIENT, MS, SERVER, START_NS, Segment

DICTIONARY = (b"\x02\0\0\0\0", b"\x92\0\0\0\0", b"\x10\x01\0\0\0", b"\x01\x05\0\0\0", b"\x04\x05\0\0\0")
_FLAGS = (0x10, 0x18, 0x02, 0x12, 0x11, 0x04, 0x14, 0x00)
_PAUSES_NS = (0, MS, 10**9, 70 * 10**9)


def seeds() -> list[bytes]:
    """A handshake, a dialogue, its end; also with a segment twice, overlapping, out of order, or lost."""
    start = [b"\x02\0\0\1\0", b"\x83\0\0\1\0", b"\x00\1\0\1\0"]
    talk = [b"\x81\1\x14\1S", b"\x01\1\x0a\1C", b"\x81\x15\x1e\1T", b"\x01\x0b\x05\1D"]
    end = [b"\x04\x10\0\1\0", b"\x84\x33\0\1\0"]
    orders = [talk, [*talk, talk[0]], [talk[1], talk[0], talk[3], talk[2]], talk[1:], [*talk, b"\x81\x10\x10\1X"]]
    return [b"".join([*start, *each, *end]) for each in orders]


def _segments(data: bytes) -> list[Segment]:
    found = []
    now = START_NS
    for at in range(0, min(len(data) - 4, 5 * 48), 5):
        kind, place, size, pause, fill = data[at : at + 5]
        side = kind >> 7
        now += _PAUSES_NS[pause % len(_PAUSES_NS)]
        source, target = (SERVER, CLIENT) if side else (CLIENT, SERVER)
        base = 9000 if side else 1000
        found.append(
            Segment(
                source,
                target,
                base + place,
                (1001 if side else 9001) + fill,
                _FLAGS[kind & 7],
                bytes([fill]) * (size % 64),
                now,
            )
        )
    return found


def check(data: bytes) -> None:
    segments = _segments(data)
    if not segments:
        return
    whole = [outcome.facts() for outcome in run(segments)]
    assert [outcome.facts() for outcome in run(segments, list(range(1, len(segments))))] == whole
    middle = len(segments) // 2
    assert [outcome.facts() for outcome in run(segments, [middle])] == whole
