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

Identity = tuple[int, int]
"""Device and inode: what a file is, whatever its name."""


class Follower:
    """Decides, at the end of a file, whether to wait, to read on, or to turn to the next file.

    It belongs to a path, not to a file: every file that stands at the path in turn is opened as soon as it is seen
    there, so that it can be read even if it is renamed before its turn comes.
    """

    def __init__(
        self, item: Input, seen: set[Identity], stop: Callable[[], bool] | None, newcomer: Callable[[], bool]
    ) -> None:
        """`seen`: files read or held already (kept up to date); `newcomer`: whether a followed folder or glob holds a
        file that was not seen."""
        self._item = item
        self._seen = seen
        self._stop = stop
        self._newcomer = newcomer
        self._listed = 0.0
        self._raw: RawStream | None = None
        self._drain_until: float | None = None
        self._held: list[int] = []
        self._truncated = False

    def attach(self, raw: RawStream) -> None:
        """This file is read now."""
        self._raw = raw
        self._drain_until = None
        self._truncated = False

    def wait(self) -> bool:
        """Block until the file has grown (True), or will not grow any more or the run is told to stop (False)."""
        raw = self._raw
        assert raw is not None
        if not raw.is_file:
            return not raw.ended
        while not (self._stop is not None and self._stop()):
            size = os.fstat(raw.descriptor).st_size
            if size > raw.position:
                self._drain_until = None
                return True
            if size < raw.position:
                self._truncated = True
                return False
            now = time.monotonic()
            self._hold_replacement()
            if self._held or self._drain_until or self._has_successor(now):
                self._drain_until = self._drain_until or now + DRAIN_SECONDS
                if now >= self._drain_until:
                    return False
            time.sleep(POLL_SECONDS)
        return False

    def next_file(self) -> int | None:
        """A descriptor of what stood at the path after the file that was read; None when nothing did."""
        if self._held:
            return self._held.pop(0)
        if not self._truncated:
            return None
        try:
            return self._item.open()
        except OSError:
            return None

    def close(self) -> None:
        """Give back files that were never read."""
        while self._held:
            os.close(self._held.pop())

    def _hold_replacement(self) -> None:
        """Open the file at the path if it was not seen before. (None at all: it was renamed and not yet replaced.)"""
        status = self._item.status()
        if status is None or (status.st_dev, status.st_ino) in self._seen:
            return
        try:
            descriptor = self._item.open()
        except OSError:
            return
        status = os.fstat(descriptor)
        self._seen.add((status.st_dev, status.st_ino))
        self._held.append(descriptor)

    def _has_successor(self, now: float) -> bool:
        """A followed folder holds a file that was not read yet."""
        if now < self._listed + FOLDER_SECONDS:
            return False
        self._listed = now
        return self._newcomer()
