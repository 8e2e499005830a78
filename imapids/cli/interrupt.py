"""A polite stop: the first Ctrl-C (or SIGTERM) ends the run with the results so far, the second ends it at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from imapids.cli.console import say


class Stop:
    """Whether somebody asked the run to end; call it to ask."""

    def __init__(self) -> None:
        self.requested = False

    def __call__(self) -> bool:
        return self.requested


@contextmanager
def stop_on_signals(quiet: bool = False) -> Iterator[Stop]:
    """Turn SIGINT, SIGTERM and SIGHUP into a request to stop; the former handlers come back at the end."""
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.requested = True
        if not quiet:
            say("stopping; results so far follow (once more Ctrl-C: stop at once)")

    former = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        try:
            former[number] = signal.signal(number, handle)
        except ValueError:  # not the main thread (an embedding program): its owner stops us
            break
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
