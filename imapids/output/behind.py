"""Writes lines on a thread of its own: the kernel takes a second to take a few hundred megabytes, and the run goes on.

Lines stay in their order, a bounded number of bytes waits, and what goes wrong is raised to whoever writes next, or
closes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

DIRECT_BYTES = 8 << 20
"""Written by the caller itself: small results are there as soon as they are known, and need no thread."""
WAITING_BYTES = 4 << 20
"""More than this does not wait; one write more may come on top."""


class WriteBehind:
    """Hands what `write` is given to another `write`, later, in the same order."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._to = write
        self._direct = 0
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        """Those that wait, and those under way."""
        self._over = False
        self._error: Exception | None = None
        self._told = False

    def write(self, data: bytes) -> None:
        """Takes whole lines; an error of an earlier call is raised here, and again by whoever goes on nevertheless."""
        if self._thread is None and not self._begins(len(data)):
            self._to(data)
            return
        with self._changed:
            while self._bytes > WAITING_BYTES and self._error is None:
                self._changed.wait()
            self._raise_error()
            self._waiting.append(data)
            self._bytes += len(data)
            self._changed.notify()

    def close(self) -> None:
        """Everything is written when it returns; an error that no call of `write` has raised is raised here."""
        if self._thread is None:
            return
        with self._changed:
            self._over = True
            self._changed.notify()
        self._thread.join()
        if not self._told:
            self._raise_error()

    def _begins(self, size: int) -> bool:
        """Starts the thread where so much is written that it is worth one."""
        self._direct += size
        if self._direct <= DIRECT_BYTES:
            return False
        thread = threading.Thread(target=self._run, name="imapids-output")
        try:
            thread.start()
        except RuntimeError:  # no room for another thread
            self._direct = 0
            return False
        self._thread = thread
        return True

    def _raise_error(self) -> None:
        if self._error is not None:
            self._told = True
            raise self._error

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._over:
                    self._changed.wait()
                if not self._waiting:
                    return
                data = self._waiting.popleft()
            try:
                self._to(data)
            except Exception as error:  # noqa: BLE001  # whatever it is: the caller is told
                with self._changed:
                    self._error = error
                    self._changed.notify()
                return
            with self._changed:
                self._bytes -= len(data)
                self._changed.notify()
