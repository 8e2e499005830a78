"""Cuts the bytes of one side of an IMAP connection into lines and literals, whatever the segments were.

Lines end with CRLF, or LF alone (telnet and shell users, small test servers). Nothing that was announced is allocated:
literals and frames are skipped by count, and a chunk that lies inside one costs no more than a subtraction.
"""

from __future__ import annotations

from typing import Protocol

from imapids.records.streams import StreamChunk

FRAME_LIMIT = 16 << 20
"""RFC 4752 3.3, RFC 2831 2.3: the size of a buffer of a SASL security layer has three bytes."""


class Listener(Protocol):
    """What a LineReader tells: the dialogue."""

    def line(self, side: int, line: bytes, packet: int, time_ns: int, offset: int) -> None: ...
    def literal_done(self, side: int, head: bytes) -> None: ...
    def frame_lies(self, side: int, packet: int, offset: int) -> None: ...


class LineReader:
    """The bytes of one side. `skip` is set by the listener when a line announced a literal."""

    __slots__ = ("capture", "cut", "frame_head", "framed", "frames", "held", "held_offset", "held_packet", "held_size", "held_time_ns",
                 "layer", "limit", "lines", "listener", "lost", "offset", "overlong", "overlong_lines", "side", "skip",
                 "stop", "wanted")

    def __init__(self, side: int, listener: Listener, limit: int) -> None:
        self.side = side
        self.listener = listener
        self.limit = limit
        self.skip = 0
        """Bytes of a literal (or frame) still to come."""
        self.wanted = 0
        """How many of its first bytes to keep for the listener."""
        self.capture = bytearray()
        self.layer = False
        """A line may begin a SASL security layer: frames, if its first byte is zero."""
        self.frames = False
        self.frame_head = b""
        self.framed = 0
        self.held = bytearray()
        """The unfinished line, at most `limit` bytes of it."""
        self.held_size = 0
        self.held_packet = self.held_time_ns = self.held_offset = 0
        self.overlong = False
        self.overlong_lines = 0
        self.cut = False
        """The line being told was cut by a gap or by the limit."""
        self.lost = False
        """A gap came, and no line has been recognised since."""
        self.stop = False
        """Set by the listener: the rest of the bytes is not for lines."""
        self.lines = 0
        self.offset = 0
        """Position after the last byte read."""

    def feed(self, chunk: StreamChunk) -> int:
        """Reads a chunk; the position in it at which the listener said stop, or -1."""
        data, base = chunk.data, chunk.offset
        size, position = len(data), 0
        one_packet = chunk.starts is None
        packet, time_ns = chunk.packet, chunk.time_ns
        tell, side = self.listener.line, self.side
        while position < size:
            if self.skip:
                position = self._skip(data, position)
                continue
            if self.frames or (self.layer and not self.held_size and data[position] == 0):
                position = self._frame(data, position, chunk)
                continue
            end = data.find(b"\n", position)
            if end < 0:
                self._hold(data, position, size, chunk)
                break
            if self.held_size:
                line, packet, time_ns, offset = self._join(data, position, end)
            else:
                line, offset = data[position:end], base + position
                if not one_packet:
                    packet, time_ns = chunk.locate(position)
                if line[-1:] == b"\r":
                    line = line[:-1]
                if len(line) > self.limit:
                    line = line[: self.limit]
                    self.cut = True
                    self.overlong_lines += 1
            position = end + 1
            self.lines += 1
            tell(side, line, packet, time_ns, offset)
            self.cut = False
            if self.stop:
                break
            packet, time_ns = chunk.packet, chunk.time_ns
        self.offset = base + position if self.stop else base + size
        return position if self.stop else -1

    def gap(self, offset: int, length: int) -> bool:
        """Bytes are missing; True when they lay inside a literal, so that nothing is lost of the lines."""
        self.offset = offset + length
        self.wanted = 0
        if self.skip >= length:
            self.skip -= length
            if not self.skip and not self.frames:
                self.listener.literal_done(self.side, bytes(self.capture))
            return True
        self.skip = 0
        self.frame_head = b""
        if self.held_size:
            self.flush()
        self.lost = True
        return False

    def flush(self) -> None:
        """Tells the unfinished line as a cut one."""
        if self.held_size:
            line = bytes(self.held)
            self.held, self.held_size, self.overlong = bytearray(), 0, False
            self.cut = True
            self.listener.line(self.side, line, self.held_packet, self.held_time_ns, self.held_offset)
            self.cut = False

    def resume(self, offset: int) -> None:
        """Lines go on in a new layer, whose bytes are counted from `offset`."""
        self.stop = False
        self.skip = 0
        self.held, self.held_size, self.overlong = bytearray(), 0, False
        self.offset = offset

    def _skip(self, data: bytes, position: int) -> int:
        take = min(self.skip, len(data) - position)
        if self.wanted:
            kept = min(take, self.wanted)
            self.capture += data[position : position + kept]
            self.wanted -= kept
        self.skip -= take
        if not self.skip and not self.frames:
            self.wanted = 0
            self.listener.literal_done(self.side, bytes(self.capture))
        return position + take

    def _hold(self, data: bytes, position: int, end: int, chunk: StreamChunk) -> None:
        if not self.held_size:
            self.held_packet, self.held_time_ns = chunk.locate(position)
            self.held_offset = chunk.offset + position
        room = self.limit + 2 - len(self.held)  # two more: a line of exactly the limit and its CRLF is not too long
        if room > 0:
            self.held += data[position : min(end, position + room)]
        self.held_size += end - position

    def _join(self, data: bytes, position: int, end: int) -> tuple[bytes, int, int, int]:
        held = self.held
        room = self.limit + 2 - len(held)
        if room > 0 and end > position:
            held += data[position : min(end, position + room)]
        total = self.held_size + end - position
        self.held, self.held_size = bytearray(), 0
        line = bytes(held)
        if len(line) == total and line[-1:] == b"\r":
            line = line[:-1]
        if len(line) > self.limit:
            line = line[: self.limit]
            self.cut = True
            self.overlong_lines += 1
        return line, self.held_packet, self.held_time_ns, self.held_offset

    def _frame(self, data: bytes, position: int, chunk: StreamChunk) -> int:
        """RFC 4422 3.7: buffers of the security layer, each four bytes of length and as many of data."""
        self.frames = True
        take = min(4 - len(self.frame_head), len(data) - position)
        self.frame_head += data[position : position + take]
        if len(self.frame_head) == 4:
            length = int.from_bytes(self.frame_head, "big")
            self.frame_head = b""
            if 0 < length < FRAME_LIMIT:
                self.skip = length
                self.framed += 1
            else:
                self.frames = self.layer = False
                self.listener.frame_lies(self.side, chunk.locate(position)[0], chunk.offset + position)
        return position + take
