"""When each side of a conversation spoke, in a few bytes a turn: what the beat inside one connection is measured on."""

from __future__ import annotations

from array import array
from itertools import pairwise

from imapids.config import DialogueLimits
from imapids.records.events import Turns
from imapids.records.streams import StreamChunk

LONG_AGO_NS = -(1 << 62)
"""Time of a turn before the first one of a side."""


class TurnRecorder:
    """The turns of one conversation; the newest ones are kept.

    A turn is the bytes of one side until the other speaks, or until the side itself pauses. It is recorded if no IMAP
    was read when the side began to speak: that does not depend on how packets came in batches.
    """

    __slots__ = ("_keep", "_last_ns", "_pause_ns", "_recording", "_side", "count", "sides", "sizes", "times")

    def __init__(self, limits: DialogueLimits) -> None:
        self._keep = limits.rhythm_turns
        self._pause_ns = limits.rhythm_pause_ns
        self._side = -1
        self._last_ns = 0
        self._recording = False
        self.times = array("q")
        self.sizes = array("Q")
        self.sides = bytearray()
        self.count = 0
        """Turns so far, those included that were forgotten."""

    def add(self, chunk: StreamChunk, foreign: bool) -> None:
        """Takes bytes of one side; `foreign`: nobody reads IMAP in this conversation now."""
        side = chunk.side
        if side != self._side:
            self._side = side
            self._last_ns = LONG_AGO_NS
            self._recording = foreign
        if not self._recording:
            return
        if chunk.starts is None or chunk.times is None:
            self._add(chunk.time_ns, len(chunk.data))
            return
        starts = [0, *chunk.starts, len(chunk.data)]
        for time_ns, (start, end) in zip([chunk.time_ns, *chunk.times], pairwise(starts), strict=True):
            self._add(time_ns, end - start)

    def forget(self) -> None:
        """What was said so far is IMAP."""
        self._recording = False
        self.count = 0
        for column in (self.times, self.sizes, self.sides):
            del column[:]

    def _add(self, time_ns: int, size: int) -> None:
        paused = time_ns - self._last_ns > self._pause_ns
        self._last_ns = max(self._last_ns, time_ns)
        if not paused:
            self.sizes[-1] += size
            return
        if len(self.times) >= 2 * self._keep:  # many at once: moving the rest costs as much
            for column in (self.times, self.sizes, self.sides):
                del column[:self._keep]
        self.count += 1
        self.times.append(time_ns)
        self.sizes.append(size)
        self.sides.append(self._side)

    def body(self) -> Turns:
        """The newest turns."""
        keep = self._keep
        return Turns(times=self.times[-keep:].tolist(), sizes=self.sizes[-keep:].tolist(),
                     sides=bytes(self.sides[-keep:]), count=self.count)
