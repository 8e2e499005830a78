"""The Python API: captures or saved events in, records or an Analysis with data frames out.

Options are called as on the command line (`home_net`, `watch`, `since`, `rules`, ...) and take what one would write:
text, numbers, paths, datetimes, or lists of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from imapids.desk.analysis import Analysis
from imapids.desk.saved import read_saved
from imapids.records.alerts import Alert
from imapids.records.events import Event
from imapids.run.asked import asked_options
from imapids.run.local import RunResult, analyze, scan
from imapids.run.options import ALL_EVENTS, DEFAULT_EVENTS

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from imapids.run.live import LiveResult

Result = TypeVar("Result")
Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def read_pcap(paths: Paths, **options: Any) -> Analysis:
    """Reads captures to their end and keeps every event and alert (about 2 KiB for a session with its commands).

    Args:
        paths: a file, folder or glob, or several of them; "-" is standard input.
        options: as of `imapids analyze`: events, rules, default_rules, allow, indicators, inventory, signatures,
            home_net, watch, since, until, host, max_memory, hash_key. Without `events` every type is kept.

    Raises:
        UsageError: an option is wrong or there is none of that name.
        InputError: no input could be read.
        RuleError: a rule or indicator file is wrong.
    """
    captures = path_list(paths)
    asked = asked_options({"events": ALL_EVENTS} | options)
    kept = _Kept()
    result = analyze(captures, asked, kept)
    return Analysis(kept.records, captures=captures, options=asked, result=result)


def scan_pcap(paths: Paths, **options: Any) -> Scan:
    """Reads captures as far as it is asked to: an iterator of events and alerts, each as soon as it is known.

    Arguments and errors are those of `read_pcap` (errors of files and rules come with the first result); without
    `events` it gives alerts and, at the end, the account. `follow=True` goes on as a capture grows.
    """
    return Scan(path_list(paths), {"events": DEFAULT_EVENTS} | options)


def load(paths: Paths, *, captures: Paths = ()) -> Analysis:
    """Reads events and alerts that were saved as JSON lines (`imapids analyze --format jsonl`, `Analysis.to_jsonl`).

    Args:
        paths: a file or several.
        captures: where the dialogues of single sessions can be read.

    Lines of other programs are left out, and counted in a warning. Raises InputError where a file cannot be read.
    """
    return Analysis(read_saved(path_list(paths)), captures=path_list(captures))


def watch_interface(interface: str, *, filter: str = "", allow_root: bool = False,  # noqa: A002  # the option's name
                    stats_seconds: float = 60.0, **options: Any) -> Watch:
    """Watches an interface until `stop` is called: an iterator of events and alerts, each as soon as it is known.

    Args:
        filter: an expression of tcpdump, or `watched` for the watched ports, fragments and tunnels.
        allow_root: parse packets as root. This function gives up no rights of the program; `imapids live` does.
        stats_seconds: how often a `stats` event tells rates, drops and memory.
        options: as of `read_pcap`; without `events` it gives alerts, stats and, at the end, the account.

    Raises UsageError where an option is wrong. The first result raises InputError where the interface cannot be read
    (that needs CAP_NET_RAW), RuleError where a rule or indicator file is wrong.
    """
    return Watch(interface, filter, allow_root, stats_seconds, options)


class _Records(Iterator["Event | Alert"], Generic[Result]):
    """Records out of the lists that a run gives, one at a time."""

    result: Result | None
    _found: Generator[Sequence[Event | Alert], None, Result]
    _waiting: Iterator[Event | Alert]

    def __next__(self) -> Event | Alert:
        while True:
            for record in self._waiting:
                return record
            try:
                self._waiting = iter(next(self._found))
            except StopIteration as end:
                self.result = end.value if end.value is not None else self.result
                raise

    def close(self) -> None:
        """Ends at once; what was not told stays unknown."""
        self._waiting = iter(())
        self._found.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Watch(_Records["LiveResult"]):
    """Results of an interface as they become known. Use it in a `with` statement; `stop` may come from any thread."""

    def __init__(self, interface: str, expression: str, allow_root: bool, stats_seconds: float,
                 options: Mapping[str, Any]) -> None:
        from imapids.run.control import Control
        from imapids.run.listen import listen
        from imapids.run.live import LIVE_EVENTS
        from imapids.run.watch import LiveOptions

        self.options = asked_options({"events": LIVE_EVENTS, **options})
        self.result: LiveResult | None = None
        """The account; None until the end is reached."""
        self._control = Control()
        live = LiveOptions(interface=interface, filter=expression, allow_root=allow_root, output=None,
                           stats_seconds=stats_seconds)
        self._found = listen(self.options, live, self._control)
        self._waiting: Iterator[Event | Alert] = iter(())

    def stop(self) -> None:
        """Asks for the end: what the ring holds is read, open conversations are told, then the iterator is over."""
        self._control.stop = True

    def reload(self) -> None:
        """Asks to read rules, indicators and inventory again; conversations go on."""
        self._control.reload = True


class Scan(_Records[RunResult]):
    """Results of captures as they become known; `result` holds the account when all is read.

    Use it in a `with` statement, or call `close`, where it may not be read to its end.
    """

    def __init__(self, captures: Sequence[str], options: Mapping[str, Any]) -> None:
        self.captures = tuple(captures)
        self.options = asked_options(options)
        self.result: RunResult | None = None
        """The account of the run; None until the end is reached."""
        self._found: Generator[Sequence[Event | Alert], None, RunResult] = scan(captures, self.options)
        self._waiting: Iterator[Event | Alert] = iter(())


class _Kept:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.records: list[Event | Alert] = []

    def write(self, items: Sequence[Event | Alert]) -> None:
        self.records += items

    def close(self) -> None:
        """Nothing is open."""


def path_list(paths: Paths) -> list[str]:
    """One path or several, as text."""
    if isinstance(paths, str | os.PathLike):
        return [os.fspath(paths)]
    return [os.fspath(Path(path)) if isinstance(path, os.PathLike) else path for path in paths]
