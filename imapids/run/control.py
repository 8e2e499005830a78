"""What the outside asks of a live run: to end, to end at once, to read its files again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from imapids.errors import ExitCode


class Control:
    """Requests that the run looks at between batches."""

    def __init__(self) -> None:
        self.stop = False
        """End: read what the ring holds, tell what is known."""
        self.reload = False
        """Read rules and indicators again, open the output anew."""
        self.on_stop: Callable[[], None] = lambda: None
        """Called once, from the signal's handler."""


@contextmanager
def signals_to(control: Control) -> Iterator[None]:
    """SIGTERM and SIGINT ask for the end, a second one ends the process at once; SIGHUP asks for fresh files.

    The former handlers come back at the end. Outside of the main thread this does nothing: the caller's own program
    has the signals then, and sets `control`.
    """
    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        if control.stop:
            os._exit(ExitCode.INTERRUPTED)  # whatever hangs, hangs no longer
        control.stop = True
        control.on_stop()

    def ask_to_reload(_number: int, _frame: FrameType | None) -> None:
        control.reload = True

    handlers = {signal.SIGTERM: ask_to_stop, signal.SIGINT: ask_to_stop, signal.SIGHUP: ask_to_reload}
    former = {}
    for number, handler in handlers.items():
        try:
            former[number] = signal.signal(number, handler)
        except ValueError:
            break
    try:
        yield
    finally:
        for number, earlier in former.items():
            signal.signal(number, earlier)
