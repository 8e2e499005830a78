"""The first bytes of both sides of a conversation, kept for the sniffer."""

from __future__ import annotations

from collections.abc import Iterable

from imapids import kernels
from imapids.config import DialogueLimits
from imapids.records.candidates import Opening
from imapids.records.streams import CLIENT, SERVER, Flow, Piece, StreamChunk, StreamGap

_CHUNKS = kernels.events.Chunks(StreamChunk) if kernels.COMPILED else None


class Prefix:
    """The first bytes of both sides, for the sniffer."""

    __slots__ = ("_limit", "_turn_limit", "data", "datagrams", "ended", "first_side", "turns")

    def __init__(self, limits: DialogueLimits) -> None:
        self._limit = limits.sniff_bytes
        self._turn_limit = limits.sniff_turns
        self.data = (bytearray(), bytearray())
        self.ended = [False, False]
        self.turns: list[tuple[int, int]] = []
        self.datagrams: list[tuple[int, bytes]] = []
        self.first_side: int | None = None

    def add(self, side: int, data: bytes, *, datagram: bool = False) -> None:
        """Adds bytes of a side, as far as there is room and no gap came before."""
        if self.first_side is None:
            self.first_side = side
        turns = self.turns
        if turns and turns[-1][0] == side:
            turns[-1] = (side, turns[-1][1] + len(data))
        elif len(turns) < self._turn_limit:
            turns.append((side, len(data)))
        if datagram and len(self.datagrams) < self._turn_limit:
            self.datagrams.append((side, data))
        if not self.ended[side]:
            kept = self.data[side]
            room = self._limit - len(kept)
            if len(data) < room:
                kept += data
            else:
                kept += data[:room]
                self.ended[side] = True

    def add_chunks(self, pieces: list[Piece]) -> int | None:
        """Adds the bytes of chunks; returns the frame number of the server's first one, None where it has none."""
        if _CHUNKS is not None and kernels.COMPILED:
            packet = _CHUNKS.first_bytes(pieces, StreamGap, self.data, self.ended, self.turns, self._limit,
                                         self._turn_limit)
            if self.first_side is None and self.turns:
                self.first_side = self.turns[0][0]
            return packet
        packet = None
        for piece in pieces:
            if type(piece) is StreamChunk:
                self.add(piece.side, piece.data)
                if packet is None and piece.side == SERVER:
                    packet = piece.packet
            elif type(piece) is StreamGap:
                self.ended[piece.side] = True
        return packet

    def take(self, kept: Iterable[tuple[int, bytes]]) -> None:
        """Adds what a plain dialogue kept: (side, bytes) in order."""
        for side, data in kept:
            self.add(side, data)

    def opening(self, flow: Flow, *, sides_seen: str = "both", over: bool = False, after: str = "") -> Opening:
        """What the sniffer may look at; `over`: nothing more will come."""
        return Opening(
            transport=flow.protocol, client=bytes(self.data[CLIENT]), server=bytes(self.data[SERVER]),
            first_side=self.first_side, turns=self.turns, datagrams=self.datagrams,
            midstream=flow.midstream and not after, client_ended=over or self.ended[CLIENT],
            server_ended=over or self.ended[SERVER], sides_seen=sides_seen, after_upgrade=after,
        )
