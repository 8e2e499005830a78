"""Cuts the bytes of one side of an IMAP connection into lines and literals, whatever the segments were.

Lines end with CRLF, or LF alone (telnet and shell users, small test servers). Nothing that was announced is allocated:
literals and frames are skipped by count, and a chunk that lies inside one costs no more than a subtraction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from imapids.protocols.late_patterns import late_pattern
from imapids.records.streams import SERVER, StreamChunk

FRAME_LIMIT = 16 << 20
"""RFC 4752 3.3, RFC 2831 2.3: the size of a buffer of a SASL security layer has three bytes."""


class Listener(Protocol):
    """What a LineReader tells: the dialogue. It is handed in with each call, so that no cycle holds memory."""

    def too_long(self, packet: int, time_ns: int) -> None: ...
    def takes_quiet_lines(self) -> bool: ...
    def quiet_lines(self, data: bytes, start: int, end: int, exists: bytes | None) -> int: ...
    def literal_done(self, side: int, head: bytes) -> None: ...
    def frame_lies(self, side: int, packet: int, offset: int) -> None: ...


# Responses that come in great number and change nothing but counts: flags and numbers of messages, and the codes of
# SELECT. They are read many at a time. Whatever stands in them is too short for a literal, a body or encoded data.
QUIET_LINES = late_pattern(
    rb"(?>\* (?>"
    rb"([0-9]{1,10}) EXISTS|[0-9]{1,10} RECENT|FLAGS \([^()\"{\x00-\x1f\x7f-\xff]{0,400}\)"
    rb"|[0-9]{1,10} FETCH \((?>(?:UID|RFC822\.SIZE) [0-9]{1,19}|FLAGS \([^()\"{\x00-\x1f\x7f-\xff]{0,200}\)"
    rb"|MODSEQ \([0-9]{1,19}\)|INTERNALDATE \"[0-9A-Za-z :+\-]{1,31}\"| )+\)"
    rb"|OK \[(?>PERMANENTFLAGS \([^()\"{\x00-\x1f\x7f-\xff]{0,400}\)"
    rb"|(?:UIDVALIDITY|UIDNEXT|UNSEEN|HIGHESTMODSEQ) [0-9]{1,20}"
    rb"|NOMODSEQ)\](?> [!-'*-z]{1,31}){0,16})\r\n)+"
)

LineHandler = Callable[[Any, bytes, int, int, int], None]
"""(dialogue, line without its end, frame number, time, offset): what is done with each line of a side."""


class LineReader:
    """The bytes of one side. `skip` is set by the listener when a line announced a literal."""

    # Class attributes are the defaults: a conversation of a few lines never needs to store most of these.
    busy = False
    """Something but lines may come: a literal, frames, or the end of this layer."""
    skip = 0
    """Bytes of a literal (or frame) still to come."""
    wanted = 0
    """How many of its first bytes to keep for the listener."""
    capture = bytearray()
    layer = False
    """A line may begin a SASL security layer: frames, if its first byte is zero."""
    frames = False
    frame_head = b""
    framed = 0
    """Frames of that layer that were followed."""
    held = bytearray()
    """The unfinished line, at most `limit` bytes of it, also when it was told as a cut one. Made anew when needed,
    never changed in the class."""
    held_size = held_packet = held_time_ns = held_offset = 0
    cut = False
    """The line being told was cut by a gap or by the limit."""
    lost = False
    """A gap came, and no line has been recognised since."""
    stop = False
    """Set by the listener: the rest of the bytes is not for lines."""
    lines = 0
    line_end = 0
    """Position after the line that is being told."""
    offset = 0
    """Position after the last byte read."""
    missing = 0
    """Bytes of gaps before it."""
    earlier = 0
    """Bytes of the layers before this one."""

    def __init__(self, side: int, on_line: LineHandler, limit: int) -> None:
        self.side = side
        self.on_line = on_line
        self.limit = limit

    def feed(self, chunk: StreamChunk, listener: Listener) -> int:
        """Reads a chunk; the position in it at which the listener said stop, or -1."""
        data, base = chunk.data, chunk.offset
        size, position = len(data), 0
        packet, time_ns = chunk.packet, chunk.time_ns
        on_line, find = self.on_line, data.find
        quiet = QUIET_LINES.match if self.side == SERVER else None
        while position < size:
            if self.busy:
                if self.stop:
                    break
                if self.skip or (self.layer and not self.held_size and (self.frames or data[position] == 0)):
                    position = self._odd(data, position, chunk, listener)
                    continue
            elif quiet is not None and data[position] == 0x2A and not self.held_size and listener.takes_quiet_lines():
                match = quiet(data, position)
                if match is not None:
                    self.lines += listener.quiet_lines(data, position, match.end(), match[1])
                    position = match.end()
                    continue
            end = find(b"\n", position)
            if end < 0:
                self._hold(data, position, size, chunk)
                position = size
                break
            self.lines += 1
            self.line_end = base + end + 1
            if self.held_size:
                self._join(data, position, end, listener)
            else:
                # the common case: a whole line inside one chunk
                stop = end - 1 if end > position and data[end - 1] == 13 else end
                if chunk.starts is not None:
                    packet, time_ns = chunk.locate(position)
                if stop - position > self.limit:
                    self._tell_long(data[position : position + self.limit], packet, time_ns, base + position, listener)
                else:
                    on_line(listener, data[position:stop], packet, time_ns, base + position)
            position = end + 1
        self.offset = base + position
        return position if self.stop else -1

    def expect(self, size: int, wanted: int) -> None:
        """The next `size` bytes are a literal; its first `wanted` bytes are to be kept."""
        self.capture = bytearray()
        self.skip = size
        self.wanted = wanted if size else 0
        self.busy = True

    def expect_frames(self) -> None:
        """A SASL security layer may begin where the next line would."""
        self.layer = self.busy = True

    def halt(self) -> None:
        """Nothing more is to be read: `feed` returns behind the line that is being told."""
        self.stop = self.busy = True

    def gap(self, offset: int, length: int, listener: Listener) -> bool:
        """Bytes are missing; True when they lay inside a literal, so that nothing is lost of the lines."""
        self.offset = offset + length
        self.missing += length
        self.wanted = 0
        if self.skip >= length:
            self.skip -= length
            if not self.skip and not self.frames:
                listener.literal_done(self.side, bytes(self.capture))
            return True
        self.skip = 0
        self.frame_head = b""
        if self.held_size:
            self.flush(listener)
        self.lost = True
        return False

    def flush(self, listener: Listener) -> None:
        """Tells the unfinished line as a cut one."""
        if self.held_size:
            line = bytes(self.held[: self.limit])
            self.line_end = self.held_offset + self.held_size
            self.held_size = 0
            self.cut = True
            self.on_line(listener, line, self.held_packet, self.held_time_ns, self.held_offset)
            self.cut = False

    def resume(self) -> None:
        """Lines go on in a new layer, whose bytes are counted from zero."""
        self.earlier += self.offset
        self.stop = self.busy = False
        self.skip = self.held_size = self.offset = 0

    @property
    def read_bytes(self) -> int:
        """Bytes that were given to this reader, all layers together."""
        return self.earlier + self.offset - self.missing

    def _odd(self, data: bytes, position: int, chunk: StreamChunk, listener: Listener) -> int:
        """A literal or a frame; the position behind what was read of it."""
        if not self.skip:
            return self._frame(data, position, chunk, listener)
        take = min(self.skip, len(data) - position)
        if self.wanted:
            kept = min(take, self.wanted)
            self.capture += data[position : position + kept]
            self.wanted -= kept
        self.skip -= take
        if not self.skip and not self.frames:
            self.wanted = 0
            self.busy = self.layer
            listener.literal_done(self.side, bytes(self.capture))
        return position + take

    def _hold(self, data: bytes, position: int, end: int, chunk: StreamChunk) -> None:
        if not self.held_size:
            self.held = bytearray()
            self.held_packet, self.held_time_ns = chunk.locate(position)
            self.held_offset = chunk.offset + position
        room = self.limit + 2 - len(self.held)  # two more: a line of exactly the limit and its CRLF is not too long
        if room > 0:
            self.held += data[position : min(end, position + room)]
        self.held_size += end - position

    def _join(self, data: bytes, position: int, end: int, listener: Listener) -> None:
        """Tells a line whose beginning was held."""
        held = self.held
        room = self.limit + 2 - len(held)
        if room > 0 and end > position:
            held += data[position : min(end, position + room)]
        total = self.held_size + end - position
        self.held_size = 0
        self.held = LineReader.held  # empty: who asks what is unfinished must not see a line that was told
        line = bytes(held)
        if len(line) == total and line[-1:] == b"\r":
            line = line[:-1]
        if len(line) > self.limit:
            self._tell_long(line[: self.limit], self.held_packet, self.held_time_ns, self.held_offset, listener)
        else:
            self.on_line(listener, line, self.held_packet, self.held_time_ns, self.held_offset)

    def _tell_long(self, line: bytes, packet: int, time_ns: int, offset: int, listener: Listener) -> None:
        """Tells the head of a line that is longer than the limit; the rest of it is left out."""
        self.cut = True
        self.on_line(listener, line, packet, time_ns, offset)
        self.cut = False
        listener.too_long(packet, time_ns)

    def _frame(self, data: bytes, position: int, chunk: StreamChunk, listener: Listener) -> int:
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
                self.frames = self.layer = self.busy = False
                listener.frame_lies(self.side, chunk.locate(position)[0], chunk.offset + position)
        return position + take
