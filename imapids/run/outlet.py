"""Between a live run and its output: a bounded queue and a thread, so that a slow output never stops the packets."""

from __future__ import annotations

import threading
import time
from collections import deque

from imapids.config import LiveLimits
from imapids.records.events import OutputCounts
from imapids.run.targets import StreamTarget, Target

_LOOK_SECONDS = 1.0
_LAST_TRIES_SECONDS = 0.05
"""Between tries while the run ends."""


class Outlet:
    """Hands lines to a target in a thread of its own.

    What the target cannot take now waits, at most `limits.output_bytes`; what comes while there is no room is dropped
    and counted. So the lines that arrive first are the ones that are kept, and their order stays.
    """

    def __init__(self, target: Target, limits: LiveLimits) -> None:
        self._target = target
        self._limits = limits
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._reopen = self._closing = False
        self._deadline, self._not_before = float("inf"), 0.0
        self._counts = OutputCounts(files=target.opened)
        self._thread = threading.Thread(target=self._work, name="imapids-output", daemon=True)

    def start(self) -> None:
        """Starts the thread; before that, lines wait."""
        self._thread.start()

    def put(self, data: bytes) -> None:
        """Takes whole lines, at once."""
        with self._changed:
            if self._closing or (self._bytes and self._bytes + len(data) > self._limits.output_bytes):
                self._counts.lines_dropped += data.count(b"\n")
                return
            self._waiting.append(data)
            self._bytes += len(data)
            self._changed.notify()

    def reopen(self) -> None:
        """Asks for a new file at the path, behind the lines that wait now."""
        with self._changed:
            self._reopen = True
            self._changed.notify()

    @property
    def gone(self) -> bool:
        """Whoever read the stream has closed it: nothing more can be told."""
        return isinstance(self._target, StreamTarget) and self._target.gone

    def counts(self) -> OutputCounts:
        """What became of the lines so far."""
        with self._changed:
            counts = self._counts
            return OutputCounts(lines=counts.lines, lines_dropped=counts.lines_dropped, bytes_waiting=self._bytes,
                                failures=counts.failures + self._target.failures, files=self._target.opened)

    def close(self, within_ns: int) -> OutputCounts:
        """Writes what waits, as far as the time allows; what is left is dropped and counted."""
        deadline = time.monotonic() + within_ns / 1e9
        with self._changed:
            self._closing, self._deadline = True, deadline
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(within_ns / 1e9)
        with self._changed:
            self._counts.lines_dropped += sum(data.count(b"\n") for data in self._waiting)
            self._waiting.clear()
            self._bytes = 0
        if not self._thread.is_alive():
            self._target.close()
        return self.counts()

    def _work(self) -> None:
        while True:
            with self._changed:
                pause = self._not_before - time.monotonic() if self._waiting else _LOOK_SECONDS
                if pause > 0 and not self._reopen and not self._closing:
                    self._changed.wait(pause)
                    if self._waiting and time.monotonic() < self._not_before and not self._closing and not self._reopen:
                        continue  # a new line came; the output has still to be left alone
                if self._closing and (not self._waiting or time.monotonic() > self._deadline):
                    return
                data = self._waiting[0] if self._waiting else b""
                reopen, self._reopen = self._reopen, False
            try:
                if reopen:
                    self._target.reopen()
                if data:
                    self._target.write(data)
                else:
                    self._target.look()
            except OSError:
                self._failed(data)
            else:
                self._done(data)

    def _done(self, data: bytes) -> None:
        if not data:
            return
        with self._changed:
            if self._waiting:  # not when the run has given up waiting for us
                self._waiting.popleft()
                self._bytes -= len(data)
                self._counts.lines += data.count(b"\n")

    def _failed(self, data: bytes) -> None:
        """Keeps what was not written for the next try."""
        sent = self._target.sent() if data else 0
        with self._changed:
            self._counts.failures += 1
            if sent and self._waiting:
                self._waiting[0] = data[sent:]
                self._bytes -= sent
                self._counts.lines += data.count(b"\n", 0, sent)
            self._not_before = time.monotonic() + self._limits.output_retry_ns / 1e9
            if self._closing:
                self._changed.wait(_LAST_TRIES_SECONDS)
