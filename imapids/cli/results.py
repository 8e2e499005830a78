"""Where results go: standard output, a file or a folder, in the format that was chosen.

How files are made stands in output/files.py.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TextIO

from imapids.errors import UsageError
from imapids.output.files import LineFile, make_folder, whole_file
from imapids.records.alerts import Alert
from imapids.records.events import Event

if TYPE_CHECKING:
    from imapids.desk.report.sink import Explain

STANDARD_OUTPUT = "-"
REPORT_WIDTH = 80
"""Columns of a table that goes to a file or a pipe."""
WIDEST = 120
"""Columns of a table on a wide terminal: longer lines are hard to read."""


class Sink(Protocol):
    """What takes events and alerts, in the order in which they are known."""

    def write(self, items: Sequence[Event | Alert]) -> None: ...

    def close(self) -> None: ...


Opener = Callable[[str | None, frozenset[str], bool | None], contextlib.AbstractContextManager[Sink]]
"""Makes the sink of a format from the file (None: standard output), the event types, and whether colours are wanted."""


def refuse_inputs(output: str | None, inputs: Sequence[str]) -> None:
    """A result must not be written over a capture that is read."""
    if output in (None, STANDARD_OUTPUT):
        return
    for name in inputs:
        with contextlib.suppress(OSError):
            if Path(name).samefile(str(output)):
                raise UsageError(f"-o {output} is one of the captures to read: choose another name.")


@contextlib.contextmanager
def open_results(form: str, output: str | None, kinds: frozenset[str], *, color: bool | None = None,
                 explain: Explain | None = None, of_run: bool = False) -> Iterator[Sink]:
    """The sink for a format of `--format`; `output` is a file, a folder (CSV of several kinds) or None.

    Args:
        explain: reads the dialogue of one session: the HTML report shows that of the gravest.
        of_run: all that comes is of `kinds`, and stays as it is until the next call, as what `run.local.analyze` gives.

    Raises OutputError where the file cannot be written, UsageError where format and output do not fit.
    """
    target = None if output in (None, STANDARD_OUTPUT) else output
    openers: dict[str, Opener] = {
        "table": _table, "jsonl": functools.partial(_jsonl, of_run=of_run), "csv": _csv, "parquet": _parquet,
        "ecs": _ecs, "stix": _stix, "misp": _misp, "html": functools.partial(_html, explain=explain)}
    with openers[form](target, kinds, color) as sink:
        yield sink


@contextlib.contextmanager
def _jsonl(target: str | None, kinds: frozenset[str], color: bool | None, *, of_run: bool) -> Iterator[Sink]:
    from imapids.output.jsonl import JsonLines
    from imapids.run.ahead import has_second_processor

    with (
        _lines(target) as (write, file),
        contextlib.closing(JsonLines(write, frozenset({"all"}) if of_run else kinds,
                                     lent=of_run and has_second_processor(), file=file)) as sink,
    ):
        yield sink  # what was found before an error is written, too


@contextlib.contextmanager
def _ecs(target: str | None, kinds: frozenset[str], color: bool | None) -> Iterator[Sink]:
    from imapids.output.ecs import EcsLines

    with _lines(target) as (write, _):
        yield EcsLines(write)


@contextlib.contextmanager
def _lines(target: str | None) -> Iterator[tuple[Callable[[bytes | memoryview], None], int | None]]:
    """What takes whole lines, and hands each call's on at once; and the descriptor, where it is an ordinary file."""
    if target is None:
        stream = _standard_output()

        def write(data: bytes | memoryview) -> None:
            stream.write(data)
            stream.flush()

        yield write, None
        return
    lines = LineFile(target)
    try:
        yield lines.write, lines.ordinary()
    finally:
        lines.close()


@contextlib.contextmanager
def _parquet(target: str | None, kinds: frozenset[str], color: bool | None) -> Iterator[Sink]:
    if target is None:
        raise UsageError("Parquet is a folder of tables: name it with -o FOLDER.")
    if importlib.util.find_spec("pyarrow") is None:  # better now than after hours of reading
        raise UsageError("Parquet needs pyarrow: pip install 'imapids[parquet]'")
    make_folder(target)
    records: list[Event | Alert] = []
    yield _Kept(records)
    from imapids.desk.analysis import Analysis

    Analysis(records).to_parquet(target)


class _Kept:
    """Keeps what frames are made of when the run is over."""

    def __init__(self, records: list[Event | Alert]) -> None:
        self._records = records

    def write(self, items: Sequence[Event | Alert]) -> None:
        self._records += items

    def close(self) -> None:
        """Nothing is open."""


@contextlib.contextmanager
def _html(target: str | None, kinds: frozenset[str], color: bool | None, explain: Explain | None) -> Iterator[Sink]:
    from imapids.desk.report import HtmlReport

    if target is None and sys.stdout.isatty():
        raise UsageError("the report is a page for a browser: name a file with -o report.html.")
    with _whole_text(target) as write:
        report = HtmlReport(write, explain)
        yield report
        report.close()


@contextlib.contextmanager
def _stix(target: str | None, kinds: frozenset[str], color: bool | None) -> Iterator[Sink]:
    from imapids.output.stix import StixBundle

    with _whole_text(target) as write:
        sink = StixBundle(write)
        yield sink
        sink.close()


@contextlib.contextmanager
def _misp(target: str | None, kinds: frozenset[str], color: bool | None) -> Iterator[Sink]:
    from imapids.output.misp import MispEvent

    with _whole_text(target) as write:
        sink = MispEvent(write)
        yield sink
        sink.close()


@contextlib.contextmanager
def _whole_text(target: str | None) -> Iterator[Callable[[str], object]]:
    """What takes one text: a file that is there whole or not at all, or standard output."""
    with whole_file(target) if target is not None else _text_output() as stream:
        yield stream.write


@contextlib.contextmanager
def _csv(target: str | None, kinds: frozenset[str], color: bool | None) -> Iterator[Sink]:
    from imapids.output.csvfile import CsvTables

    several = len(kinds) > 1
    if several and target is None:
        raise UsageError("CSV holds one event type a table: choose one with --events session (or login, alert, ...), "
                         "or name a folder for several with -o FOLDER.")
    with contextlib.ExitStack() as files:
        folder = target is not None and (several or Path(target).is_dir() or target.endswith("/"))
        if folder and target is not None:
            make_folder(target)

        def open_table(kind: str) -> TextIO:
            if target is None:
                return files.enter_context(_text_output())
            path = f"{target.rstrip('/')}/{kind}.csv" if folder else target
            return files.enter_context(whole_file(path))

        sink = CsvTables(open_table, kinds)
        yield sink
        sink.close()


@contextlib.contextmanager
def _table(target: str | None, kinds: frozenset[str], color: bool | None) -> Iterator[Sink]:
    import shutil

    from imapids.output.table import TableReport

    on_terminal = target is None and sys.stdout.isatty()
    colored = on_terminal and not os.environ.get("NO_COLOR") if color is None else color
    width = min(shutil.get_terminal_size((REPORT_WIDTH, 24)).columns, WIDEST) if on_terminal else REPORT_WIDTH
    report = TableReport(width=width, color=colored)
    yield report
    report.close()
    if target is None:
        report.render(sys.stdout)
        return
    with whole_file(target) as stream:
        report.render(stream)


def _standard_output() -> BinaryIO:
    sys.stdout.flush()
    return sys.stdout.buffer


@contextlib.contextmanager
def _text_output() -> Iterator[TextIO]:
    """Standard output with the line ends that CSV wants, left open afterwards."""
    stream = io.TextIOWrapper(_standard_output(), encoding="utf-8", newline="", write_through=True)
    try:
        yield stream
        stream.flush()
    finally:
        stream.detach()
