"""Reads one stream as packet batches: whole records first, then whatever stands where no record starts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import numpy as np

from imapids.capture.bytestreams import ByteStream
from imapids.capture.framing import Framing
from imapids.capture.lanes import RecordFinder
from imapids.capture.ledger import Ledger
from imapids.capture.window import Window
from imapids.config import CaptureLimits
from imapids.records.packets import I64, PacketBatch

SEARCH_FIRST_BYTES = 512
SEARCH_BYTES = 256 << 10
"""Bytes of damaged data searched at one time: few at first, because most damage is short."""
DAMAGES_MAX = 10_000
"""Each place costs about 0.3 ms: beyond this many, one more for each BYTES_A_DAMAGE, or the file is given up."""
BYTES_A_DAMAGE = 64 << 10
SECONDS_A_DAY = 86_400
ROOM_BYTES = 64 << 10
"""Added to the longest packet for headers and options."""


class Feed:
    """A window over a stream, and the patience to wait for more."""

    def __init__(
        self, window: Window, stream: ByteStream,
        wait: Callable[[], bool] | None = None, stop: Callable[[], bool] | None = None,
    ) -> None:
        self.window = window
        self.stream = stream
        self.stopped = False
        self.ended = False
        self._wait = wait
        self._stop = stop

    def more(self) -> bool:
        """Carry the unconsumed tail to the front and add bytes; False when no more will come."""
        while not self.ended:
            if self._stop is not None and self._stop():
                self.stopped = self.ended = True
                return False
            if self.window.refill(self.stream):
                return True
            if self._wait is None or not self._wait():
                self.ended = True
                self.stopped = self._stop is not None and self._stop()
                self.stream.finish()
        return False

    def want(self, count: int) -> bool:
        """Have at least `count` unconsumed bytes in the window, if the stream holds them."""
        while self.window.stop - self.window.start < count:
            if not self.more():
                return False
        return True


class Fault(Exception):  # no error of the program: a verdict on bytes
    """Internal: no record can start here. Never leaves this package."""

    def __init__(self, reason: str, what: str) -> None:
        super().__init__(what)
        self.reason = reason
        self.what = what


class RecordReader(ABC):
    """One capture of one format. Subclasses know headers, columns, and what may stand between records."""

    framing: Framing

    def __init__(self, feed: Feed, ledger: Ledger, limits: CaptureLimits) -> None:
        self.feed = feed
        self.window = feed.window
        self.ledger = ledger
        self.limits = limits
        self.number = 0
        """Frame number of the last record that has one."""
        self._resyncs = 0
        self.finder = RecordFinder(4 * limits.batch_packets)

    # ---- what a format knows -----------------------------------------------------------------------------------------

    @abstractmethod
    def open(self) -> bool:
        """Read the file header, set `framing`; False when nothing can be read (the ledger says why)."""

    @abstractmethod
    def batch(self, offsets: I64) -> tuple[PacketBatch | None, int]:
        """The packets of these records as columns, and how many of the records were good (damage follows them)."""

    @abstractmethod
    def enter(self, at: int) -> bool:
        """No whole record starts at `at`. True: state was changed (a new section), go on from `window.start`.
        False: the data that is there is not enough to tell.

        Raises:
            Fault: no record can start here.
        """

    @abstractmethod
    def leap(self, at: int) -> bool:
        """Skip a record at `at` that is too long and yet surely a record (the ledger says so)."""

    @abstractmethod
    def whole_but_cut(self, at: int) -> bool:
        """Whether the data's end cuts a record at `at` whose header is plausible in every respect."""

    @abstractmethod
    def resync_candidates(self, at: int, length: int) -> I64:
        """Offsets in `length` bytes from `at` where the capture may go on, ascending."""

    def prepare(self) -> None:  # noqa: B027  # most formats have nothing to prepare
        """Called before each search for records, with the framing bound to the window."""

    # ---- the loop ----------------------------------------------------------------------------------------------------

    def batches(self) -> Iterator[PacketBatch]:
        """All packets. The buffer of a batch is valid as long as the window lends it."""
        if not self.open():
            return
        while True:
            self._bind()
            self.prepare()
            chain = self.finder.find(self.framing, self.window.start)
            end, plain = chain.end, not chain.stuck and chain.end < self.window.stop
            for part in self._parts(chain.offsets):
                batch, good = self.batch(part)
                if batch is not None:
                    self.ledger.packets(batch.time_ns, batch.link_type)
                    yield batch
                if good < len(part):
                    end, plain = int(part[good]), False
                    break
            self.window.start = end
            if not plain and not self._go_on():
                return

    def _parts(self, offsets: I64) -> list[I64]:
        count = -(-len(offsets) // self.limits.batch_packets)
        return np.array_split(offsets, count) if count > 1 else [offsets] if count else []

    def _bind(self) -> None:
        self.framing.bind(self.window.buffer, self.window.stop)

    def _go_on(self) -> bool:
        """Behind the last whole record: more data, another section, or damage. False at the end."""
        window = self.window
        if window.start == window.stop:
            return self.feed.more() or self._end()
        try:
            if self.enter(window.start) or self.feed.more():
                return True
            if self.feed.stopped:
                return False
            if self.whole_but_cut(window.start):
                return self._end()
            raise Fault("cut", "the capture is cut inside a record")
        except Fault as fault:
            self._bind()
            return self._resync(fault)

    def _end(self) -> bool:
        """The end of the stream: say what was cut. Always False."""
        left = self.window.stop - self.window.start
        if self.feed.stopped:
            return False
        fault = self.feed.stream.fault
        if left or fault:
            reason = self.feed.stream.fault_reason or "cut"
            self.ledger.damage(self.window.position, reason, fault or "the capture is cut inside a record", left)
        self.window.start = self.window.stop
        return False

    def _resync(self, fault: Fault) -> bool:
        """Search the next place where the capture goes on, and count what was skipped. False when there is none."""
        window, damaged_at = self.window, self.window.position
        if fault.reason != "cut" and self.leap(window.start):
            return True
        self._resyncs += 1
        if self._resyncs > DAMAGES_MAX + damaged_at // BYTES_A_DAMAGE:
            self.ledger.damage(damaged_at, "given-up", "too many places are damaged: the rest of the file is not read")
            return False
        window.start += 1
        while True:
            last_look = self.feed.ended
            found = self._search()
            if found is not None:
                window.start = found
                reason = "bad-record" if fault.reason == "cut" else fault.reason
                what = fault.what if fault.reason != "cut" else "a record runs past the end of the file"
                self.ledger.damage(damaged_at, reason, what, window.position - damaged_at)
                return True
            given_up = window.position - damaged_at > self.limits.resync_bytes
            if given_up or last_look:
                break
            self.feed.more()
            self._bind()
        if self.feed.stopped:
            return False
        what = fault.what
        if given_up:
            what += ", and no record was found behind it: the rest of the file is not read"
        else:
            window.start = window.stop
        stream_fault = self.feed.stream.fault
        if stream_fault:
            what += f" ({stream_fault})"
        self.ledger.damage(damaged_at, fault.reason, what, window.position - damaged_at)
        return False

    def _search(self) -> int | None:
        """The first offset from `window.start` at which the capture goes on; None when more data is needed to tell:
        then everything before `window.start` was looked at."""
        window, framing = self.window, self.framing
        most = SEARCH_FIRST_BYTES
        while True:
            length = min(most, window.stop - window.start - framing.header_bytes + 1)
            if length <= 0:
                return None
            for candidate in self.resync_candidates(window.start, length):
                verdict = framing.chain_at(int(candidate), self.feed.ended)
                if verdict:
                    return int(candidate)
                if verdict is None:
                    window.start = int(candidate)
                    return None
            window.start += length
            most = min(most * 2, SEARCH_BYTES)
