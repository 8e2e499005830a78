"""Waiting at the end of a file that grows: appended packets, rotation by rename, new files, truncation."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from imapids.capture.bytestreams import RawStream
from imapids.capture.inputs import Input

POLL_SECONDS = 0.1
FOLDER_SECONDS = 0.5
"""How often a followed folder is listed: that costs more than one look at a file."""
DRAIN_SECONDS = 0.3
"""A file that was replaced is read on until it has not grown for this long: its writer may still hold it."""


class Follower:
    """Decides, at the end of a file, whether to wait, to read on, or to turn to the next file."""

    def __init__(
        self, item: Input, raw: RawStream, stop: Callable[[], bool] | None, newcomer: Callable[[], bool]
    ) -> None:
        """`newcomer` says whether a folder or glob that is followed holds a file not read yet."""
        self._item = item
        self._raw = raw
        self._stop = stop
        self._newcomer = newcomer
        self._listed = 0.0
        self._drain_until: float | None = None
        self.replaced = False
        """The same path has other content now: read it from its start."""

    def wait(self) -> bool:
        """Block until the file has grown (True), or will not grow any more or the run is told to stop (False)."""
        if not self._raw.is_file:
            return not self._raw.ended
        while not (self._stop is not None and self._stop()):
            size = os.fstat(self._raw.descriptor).st_size
            if size > self._raw.position:
                self._drain_until = None
                return True
            if size < self._raw.position:
                self.replaced = True
                return False
            now = time.monotonic()
            if self._drain_until or self._is_replaced() or self._has_successor(now):
                self._drain_until = self._drain_until or now + DRAIN_SECONDS
                if now >= self._drain_until:
                    self.replaced = self._is_replaced()
                    return False
            time.sleep(POLL_SECONDS)
        return False

    def _has_successor(self, now: float) -> bool:
        """A followed folder holds a file that was not read yet."""
        if now < self._listed + FOLDER_SECONDS:
            return False
        self._listed = now
        return self._newcomer()

    def _is_replaced(self) -> bool:
        """Another file stands at the path. (None at all: the writer is between rename and creation.)"""
        status = self._item.status()
        if status is None:
            return False
        mine = os.fstat(self._raw.descriptor)
        return (status.st_dev, status.st_ino) != (mine.st_dev, mine.st_ino)
