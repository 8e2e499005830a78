"""The deflate stream under COMPRESS=DEFLATE (RFC 4978), one object for each direction, with bombs defused.

RFC 4978 section 3: raw deflate (RFC 1951) without zlib's header, flushed at the end of each command or answer; the
stream itself never ends.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from imapids.config import DialogueLimits
from imapids.records.streams import StreamChunk

_RAW_DEFLATE = -15
_STEP = 4096
"""Input of one call: what is replayed byte by byte when the call fails, so that nothing before the fault is lost."""
_BLOCK = 65_536
"""The ratio is judged whenever this much more output was made, so that the judgement does not depend on cuts."""


class Inflater:
    """Inflates one direction. Feeding any bytes never raises; a fault or a bomb ends the stream quietly.

    However the input is cut, the output is the same.
    """

    __slots__ = ("_limits", "_stream", "bomb", "bytes_in", "bytes_out", "ended", "failed", "fault_offset")

    def __init__(self, limits: DialogueLimits) -> None:
        self._limits = limits
        self._stream = zlib.decompressobj(_RAW_DEFLATE)
        self.failed = False
        """The bytes are no deflate stream, or go on behind its end."""
        self.bomb = False
        """Output grew past `inflate_ratio` times the input: the rest is not inflated."""
        self.ended = False
        """A final block came: legal, but RFC 4978 has no use for it."""
        self.bytes_in = 0
        """Bytes consumed; those behind a fault are not counted."""
        self.bytes_out = 0
        self.fault_offset = -1
        """Position in this direction's compressed stream at which it failed or became a bomb; -1 while it is well."""

    @property
    def dead(self) -> bool:
        """Whether no further output will come, whatever is fed."""
        return self.failed or self.bomb

    def feed(self, data: bytes) -> bytes:
        """The inflated bytes that `data` completes. At most `inflate_ratio` times the input (beyond a free start)."""
        return b"".join(self._steps(data))

    def chunks(self, chunk: StreamChunk) -> Iterator[StreamChunk]:
        """The inflated bytes as chunks of the inner stream, each byte with the packet that completed it.

        An inner chunk holds at most `inflate_chunk_bytes` and one block more: use each before asking for the next.
        """
        data = chunk.data
        starts = [0, *(chunk.starts or ())]
        packets = [chunk.packet, *(chunk.packets or ())]
        times = [chunk.time_ns, *(chunk.times or ())]
        inner = _Inner(chunk.side, self.bytes_out)
        for index, start in enumerate(starts):
            stop = starts[index + 1] if index + 1 < len(starts) else len(data)
            for piece in self._steps(data[start:stop]):
                inner.add(piece, packets[index], times[index])
                if inner.size >= self._limits.inflate_chunk_bytes:
                    yield inner.chunk()
                    inner = _Inner(chunk.side, self.bytes_out)
        if inner.size:
            yield inner.chunk()

    def _steps(self, data: bytes) -> Iterator[bytes]:
        """Pieces of output of at most one block each."""
        for start in range(0, len(data), _STEP):
            if self.failed or self.bomb:
                return
            step = data[start : start + _STEP]
            if self.ended:
                self._fail()
                return
            before = self._stream.copy()  # a failing call gives no output, though bytes before the fault are sound
            made, consumed = self.bytes_out, self.bytes_in
            try:
                pieces = list(self._inflate(step))
            except zlib.error:
                self._stream, self.bytes_out, self.bytes_in = before, made, consumed
                yield from self._replay(step)
                return
            yield from pieces

    def _inflate(self, data: bytes) -> Iterator[bytes]:
        """Inflates one step, block by block; zlib.error where the bytes are no deflate stream."""
        while True:
            room = _BLOCK - self.bytes_out % _BLOCK
            piece = self._stream.decompress(data, room)
            rest = self._stream.unconsumed_tail or self._stream.unused_data
            self.bytes_in += len(data) - len(rest)
            self.bytes_out += len(piece)
            if piece:
                yield piece
            if self._stream.eof:
                self.ended = True
                if rest:
                    self._fail()
                return
            if len(piece) == room and self._is_bomb():
                self.bomb = True
                self.fault_offset = self.bytes_in
                return
            if len(piece) < room:
                return
            data = rest

    def _replay(self, data: bytes) -> Iterator[bytes]:
        """The output that single bytes give up to the one that breaks the stream."""
        for index in range(len(data)):
            try:
                yield from list(self._inflate(data[index : index + 1]))
            except zlib.error:
                self._fail()
                return
            if self.bomb or self.failed:
                return

    def _is_bomb(self) -> bool:
        limits = self._limits
        return self.bytes_out > limits.inflate_free_bytes and self.bytes_out > limits.inflate_ratio * self.bytes_in

    def _fail(self) -> None:
        self.failed = True
        self.fault_offset = self.bytes_in


class _Inner:
    """Gathers inflated pieces and the packets that brought them."""

    __slots__ = ("packets", "pieces", "side", "size", "start", "starts", "times")

    def __init__(self, side: int, start: int) -> None:
        self.side = side
        self.start = start
        self.size = 0
        self.pieces: list[bytes] = []
        self.starts: list[int] = []
        self.packets: list[int] = []
        self.times: list[int] = []

    def add(self, piece: bytes, packet: int, time_ns: int) -> None:
        if not self.packets or packet != self.packets[-1]:
            self.starts.append(self.size)
            self.packets.append(packet)
            self.times.append(time_ns)
        self.pieces.append(piece)
        self.size += len(piece)

    def chunk(self) -> StreamChunk:
        return StreamChunk(
            self.side, self.start, b"".join(self.pieces), self.times[0], self.packets[0],
            self.starts[1:] or None, self.packets[1:] or None, self.times[1:] or None,
        )
