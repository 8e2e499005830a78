"""A reused buffer that slides over a byte stream: the tail of a partial record is carried to the front of the next."""

from __future__ import annotations

import numpy as np

from imapids.capture.bytestreams import ByteStream
from imapids.records.packets import U8

SLACK_BYTES = 64 << 10
"""Bytes behind the window that views may cover: never read as data, never touched, so they cost no memory."""


class Window:
    """`buffer[start:stop]` is data not yet consumed; `buffer[0]` stands at byte `base` of the (decompressed) stream.

    No buffer is ever larger than `ceiling` + SLACK_BYTES, and one grows only when it is full of real bytes: a length
    that a record announces allocates nothing.
    """

    def __init__(self, capacity: int, ceiling: int, *, ahead: bool = False) -> None:
        """`ahead`: what was lent of the buffer is still looked at while the next bytes are read (into another one)."""
        self.capacity = min(capacity, ceiling)
        self.ceiling = ceiling
        self.buffer: U8 = np.empty(self.capacity + SLACK_BYTES, np.uint8)
        self.start = self.stop = self.base = 0
        self._ahead = ahead
        self._lent = False
        self._spare: U8 = np.empty(0, np.uint8)
        """The buffer before this one, which nobody looks at any more when this one is lent."""

    def reset(self) -> None:
        """Empty the window for another stream."""
        self.start = self.stop = self.base = 0

    def lend(self) -> U8:
        """The buffer, for a batch that is valid until the next one is asked for (`ahead`: until the one after it)."""
        self._lent = True
        return self.buffer

    @property
    def position(self) -> int:
        """Where `start` stands in the stream."""
        return self.base + self.start

    @property
    def full(self) -> bool:
        """No room is left that a refill could make."""
        return self.start == 0 and self.stop >= self.ceiling

    def head(self, count: int) -> bytes:
        """The first `count` unconsumed bytes (fewer if there are fewer)."""
        return self.buffer[self.start : min(self.stop, self.start + count)].tobytes()

    def refill(self, stream: ByteStream) -> int:
        """Carry the unconsumed tail to the front and read until the window is full or the stream has nothing now.

        Returns:
            The number of bytes read.
        """
        kept = self.stop - self.start
        if self._lent and self._ahead:
            self._change()
        elif self.start:
            self.buffer[:kept] = self.buffer[self.start : self.stop]
        self.base += self.start
        self.start, self.stop = 0, kept
        if kept >= self.capacity and self.capacity < self.ceiling:
            self._grow()
        room = self.buffer.data[: self.capacity]
        before = self.stop
        while self.stop < self.capacity:
            count = stream.readinto(room[self.stop :])
            self.stop += count
            if count == 0 or not stream.raw.more_is_ready():
                break
        return self.stop - before

    def _change(self) -> None:
        """Carry the unconsumed tail to the front of the other buffer."""
        if len(self._spare) != len(self.buffer):
            self._spare = np.empty(len(self.buffer), np.uint8)
        self._spare.data[: self.stop - self.start] = self.buffer.data[self.start : self.stop]
        self.buffer, self._spare = self._spare, self.buffer
        self._lent = False

    def _grow(self) -> None:
        self.capacity = min(self.capacity * 2, self.ceiling)
        larger = np.empty(self.capacity + SLACK_BYTES, np.uint8)
        larger[: self.stop] = self.buffer[: self.stop]
        self.buffer = larger
