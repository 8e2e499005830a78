"""The shape of length-prefixed frames: a framing that fits all bytes and all turns of both sides."""

from __future__ import annotations

from typing import Literal

import msgspec

from imapids.protocols.openings import Window, is_text
from imapids.protocols.shape_findings import CUT_BYTES, shape_evidence, shape_finding
from imapids.records.candidates import Finding, Opening


class _Framing(msgspec.Struct, frozen=True):
    """A way to announce lengths."""

    size: int
    """Bytes of the length field."""
    order: Literal["little", "big"]
    extra: int
    """Bytes of a frame that its length does not count."""
    turn_bits: int
    """What it is worth, in bits, that a turn ends where a frame does: chance does not hit a wide field."""
    frame_bits: int
    """What it is worth that one more length inside a turn stays inside the window."""

    def describe(self) -> str:
        """The framing in words, for evidence."""
        width = f"{8 * self.size} bits {self.order}-endian" if self.size > 1 else "8 bits"
        counted = (
            "all of the frame"
            if self.extra == 0
            else "what follows"
            if self.extra == self.size
            else (f"what follows {self.extra - self.size} more header bytes")
        )
        return f"{width}, of {counted}"


_WIDTHS: tuple[tuple[int, tuple[Literal["little", "big"], ...], int, int], ...] = (
    (4, ("little", "big"), 26, 16),
    (2, ("little", "big"), 12, 3),
    (1, ("big",), 6, 0),
)
_FRAMINGS = tuple(
    _Framing(size, order, extra, turn_bits, frame_bits)
    for size, orders, turn_bits, frame_bits in _WIDTHS
    for order in orders
    for extra in (size, 0, size + 1, size + 2, size + 4)
)
_FRAMES = 512
"""Frames of one side that are walked: bytes of no length must not cost time."""
_ENOUGH_BITS = 36
"""25 framings are tried on each conversation: 36 bits are not met by chance. One plain length of 32 bits that fits its
turn will do: that is the commonest framing there is."""


def _walk(data: bytes, framing: _Framing, cut: bool) -> list[int] | None:
    """Ends of the frames that tile a side's bytes exactly, or None; with `cut` the last frame may run on."""
    ends: list[int] = []
    at, size, order, extra = 0, framing.size, framing.order, framing.extra
    while at < len(data):
        step = int.from_bytes(data[at : at + size], order) + extra
        if step < size:
            return None
        if at + step > len(data) or at + size > len(data):
            return ends if cut and ends else None
        if len(ends) >= _FRAMES:
            return ends
        at += step
        ends.append(at)
    return ends


def _bits(data: bytes, ends: list[int], turns: list[int], framing: _Framing) -> int:
    """How much evidence one side's frames are, in bits; -1 where a turn ends inside a frame. Repeats count once."""
    boundaries, at, bits = set(ends), 0, 0
    turn_ends = set()
    seen: set[bytes] = set()
    for size in turns:
        at += size
        if at not in boundaries and at < ends[-1]:
            return -1
        turn_ends.add(at)
    begin = 0
    for end in ends:
        frame = data[begin:end]
        if end - begin > framing.size and frame not in seen:  # an empty frame says nothing
            seen.add(frame)
            bits += framing.turn_bits if end in turn_ends else framing.frame_bits
        begin = end
    return bits


def frames_of(window: Window, cut: tuple[bool, bool]) -> tuple[_Framing, int, int] | None:
    """The framing that fits all bytes and turns of both sides: with the number of frames and the bits of evidence."""
    best = None
    sides = [
        (data, [size for side, size in window.turns if side == wanted], cut[wanted])
        for wanted, data in enumerate((window.client, window.server))
        if data
    ]
    for framing in _FRAMINGS:
        bits = frames = 0
        for data, turns, is_cut in sides:
            ends = _walk(data, framing, is_cut)
            gained = _bits(data, ends, turns, framing) if ends else -1
            if gained < 0 or ends is None:
                bits = -1
                break
            bits, frames = bits + gained, frames + len(ends)
        enough = framing.turn_bits if framing.size == 4 and framing.extra in (0, 4) else _ENOUGH_BITS
        if bits >= enough and (best is None or bits > best[2]):
            best = framing, frames, bits
    return best


def find_frames(opening: Opening, window: Window) -> Finding | None:
    """Lengths that agree with the bytes and the turns of both sides."""
    if is_text(window.client[:32]) and is_text(window.server[:32]):
        return None
    more = len(opening.turns) > len(window.turns)
    found = frames_of(
        window, (not more and len(opening.client) >= CUT_BYTES, not more and len(opening.server) >= CUT_BYTES)
    )
    if found is None:
        return None
    framing, frames, bits = found
    side = "both" if window.client and window.server else "client" if window.client else "server"
    confidence = "low" if bits < _ENOUGH_BITS else "high" if bits >= 2 * _ENOUGH_BITS and side == "both" else "medium"
    return shape_finding(
        opening,
        "length-prefixed-frames",
        confidence,
        shape_evidence(
            "length-prefixed-frames",
            side,
            f"{frames} frames, length of {framing.describe()}: {(window.client or window.server)[:12].hex(' ')}",
        ),
    )


# ---- key streams --------------------------------------------------------------------------------------------
