"""Keeps the first bytes of both sides from where a dialogue stops being IMAP, for the sniffer to say what they are."""

from __future__ import annotations

from imapids.parse.imap_lines import LineReader
from imapids.records.candidates import Opening
from imapids.records.streams import CLIENT, SERVER, StreamChunk

FOREIGN_BYTES = 4_096
"""Bytes a side: enough for every shape."""


class ForeignBytes:
    """What both sides sent since the first line that no IMAP server sends, in turns that do not depend on segments."""

    __slots__ = ("_from", "_kept", "_most_turns", "_turns")

    def __init__(self, readers: tuple[LineReader, LineReader], side: int, line: bytes, most_turns: int) -> None:
        """`line` is the one that began it, of `side`; what the other side has unfinished belongs to it too."""
        self._kept = (bytearray(), bytearray())
        self._turns: list[tuple[int, int]] = []
        self._most_turns = most_turns
        self._from = [readers[CLIENT].offset, readers[SERVER].offset]
        self._from[side] = readers[side].line_end
        self._keep(side, line + b"\r\n")
        other = readers[1 - side]
        if other.held_size:
            self._keep(1 - side, bytes(other.held[:FOREIGN_BYTES]))

    def collect(self, chunk: StreamChunk, stopped: int) -> None:
        """Keeps what a chunk holds of it; `stopped`: where its reader stopped, or -1."""
        start = max(0, self._from[chunk.side] - chunk.offset)
        end = len(chunk.data) if stopped < 0 else stopped
        self._keep(chunk.side, chunk.data[start : min(end, start + FOREIGN_BYTES)])

    def add_late(self, data: bytes) -> None:
        """Client bytes that came earlier than they are read: no turn of their own."""
        kept = self._kept[CLIENT]
        kept += data[: FOREIGN_BYTES - len(kept)]

    def _keep(self, side: int, data: bytes) -> None:
        kept, turns = self._kept[side], self._turns
        taken = min(FOREIGN_BYTES - len(kept), len(data))
        if taken <= 0:
            return
        kept += data[:taken]
        if turns and turns[-1][0] == side:
            turns[-1] = (side, turns[-1][1] + taken)
        elif len(turns) < self._most_turns:
            turns.append((side, taken))

    def opening(self, sides_seen: str, layer: str) -> Opening:
        """All that was kept, as the sniffer takes it."""
        return make_opening(bytes(self._kept[CLIENT]), bytes(self._kept[SERVER]), list(self._turns), sides_seen, layer)


def unfinished(readers: tuple[LineReader, LineReader], sides_seen: str, layer: str) -> Opening:
    """The same where the server's very line is unfinished: binary data without a line end."""
    client, server = (bytes(reader.held[:FOREIGN_BYTES]) for reader in readers)
    turns = [(side, len(data)) for side, data in ((SERVER, server), (CLIENT, client)) if data]
    return make_opening(client, server, turns, sides_seen, layer)


def make_opening(client: bytes, server: bytes, turns: list[tuple[int, int]], sides_seen: str, layer: str) -> Opening:
    """An opening that no more bytes will be added to."""
    return Opening(
        client=client,
        server=server,
        first_side=turns[0][0] if turns else None,
        turns=turns,
        midstream=False,  # where it begins is known: with the line that is no IMAP
        client_ended=True,
        server_ended=True,
        sides_seen=sides_seen,
        after_upgrade="compress" if layer == "deflate" else "",
    )
