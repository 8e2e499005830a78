"""Who sent how many bytes, in turn: the shape of one conversation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from imapids.records.streams import Piece, StreamChunk, StreamGap

TURNS_KEPT = 2_000
"""More cannot be told apart in a picture; the last one goes on growing."""


class Turn(NamedTuple):
    """Bytes of one side that nothing of the other side interrupts."""

    side: int
    """CLIENT 0, SERVER 1."""
    time_ns: int
    """Of its first byte."""
    packet: int
    """Frame number of its first byte."""
    size: int
    """Bytes, those that the capture does not hold included."""


class Turns:
    """Feed it the pieces of one flow, in order; read `turns`."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []

    def feed(self, pieces: Iterable[Piece]) -> None:
        """Takes pieces; later copies of bytes that were delivered count for nothing."""
        for piece in pieces:
            if isinstance(piece, StreamChunk):
                self._add(piece.side, piece.time_ns, piece.packet, len(piece.data))
            elif isinstance(piece, StreamGap):
                self._add(piece.side, piece.time_ns, piece.packet, piece.length)

    def _add(self, side: int, time_ns: int, packet: int, size: int) -> None:
        turns = self.turns
        if turns and (turns[-1].side == side or len(turns) >= TURNS_KEPT):
            turns[-1] = turns[-1]._replace(size=turns[-1].size + size)
        else:
            turns.append(Turn(side, time_ns, packet, size))
