"""The `imapids` command: `python -m imapids` and the console script start here."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Iterator, Sequence

_GC_THRESHOLD = 200_000
"""What is imported stays: looking for garbage at every 700 objects of it takes 6 % of the start."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    The version is answered before anything else is imported: scripts ask for it often.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given in (["--version"], ["-V"]):
        from imapids import __version__

        sys.stdout.write(f"imapids {__version__}\n")
        return 0
    gc.set_threshold(max(_GC_THRESHOLD, gc.get_threshold()[0]), *gc.get_threshold()[1:])
    if "numpy" not in sys.modules:  # nothing here multiplies matrices: no threads for it
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with _end_at_once_until_watched(given):
        from imapids.cli.app import run

        code = run(given)
    if arguments is None and not _is_watched():
        _leave(code)
    return code


def _is_watched() -> bool:
    """Whether a profiler or a debugger waits for the end: it has something to say then."""
    monitoring = getattr(sys, "monitoring", None)  # Python 3.12: has six places for such tools
    return sys.gettrace() is not None or sys.getprofile() is not None or (
        monitoring is not None and any(monitoring.get_tool(place) is not None for place in range(6)))


def _leave(code: int) -> None:
    """End the process without taking modules and records apart first: that took 10 ms of a small run, more of a large.

    What is registered for the end runs, and nothing that was written stays behind; where that fails, Python's own way
    to the end says so.
    """
    try:
        atexit._run_exitfuncs()  # as multiprocessing ends its children
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        gc.freeze()  # at least nobody searches all modules for garbage
    else:
        os._exit(code)


@contextlib.contextmanager
def _end_at_once_until_watched(arguments: Sequence[str]) -> Iterator[None]:
    """`live` runs for weeks under a supervisor: until it handles signals itself, Ctrl-C ends it without a word.

    KeyboardInterrupt would do so most of the time; raised in the middle of an import, it can be swallowed there.
    """
    former = None
    if arguments[:1] == ["live"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        with contextlib.suppress(ValueError):  # not the main thread: its owner has the signals
            former = signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(130))
    try:
        yield
    finally:
        if former is not None:
            signal.signal(signal.SIGINT, former)


if __name__ == "__main__":
    sys.exit(main())
