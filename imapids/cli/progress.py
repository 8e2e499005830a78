"""How far the run is: a bar with packet rate and time left, on a terminal, on standard error."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE_SECONDS = 0.5
"""A run that is over by then shows no bar, and does not pay for importing one."""
REFRESH_SECONDS = 0.1


class ProgressBar:
    """Call it with (bytes done, bytes in all or None, packets); it draws at most ten times a second."""

    def __init__(self, shown: bool) -> None:
        self.shown = shown and sys.stderr.isatty()
        self.started = time.monotonic()
        self.drawn = self.started + PATIENCE_SECONDS - REFRESH_SECONDS
        self.bar: Progress | None = None
        self.task: TaskID | None = None

    def __call__(self, done: int, total: int | None, packets: int) -> None:
        now = time.monotonic()
        if not self.shown or now - self.drawn < REFRESH_SECONDS:
            return
        self.drawn = now
        if self.bar is None:
            self._open()
        assert self.bar is not None
        assert self.task is not None
        rate = packets / max(now - self.started, 1e-3)
        self.bar.update(self.task, completed=done, total=total, refresh=True,
                        rate=f"{packets:,} packets  {rate / 1e6:.2f} M/s")

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        # `rate` is made of numbers only: no text from a capture or a file name comes near rich's markup.
        self.bar = Progress(BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rate]}", markup=False),
                            TimeRemainingColumn(), console=Console(stderr=True), transient=True, auto_refresh=False,
                            refresh_per_second=10)
        self.bar.start()
        self.task = self.bar.add_task("reading", total=None, rate="")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()
