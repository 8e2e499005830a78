"""The report as a sink: takes the results of a run, writes the page at the end."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from imapids.desk.explain import Explanation
from imapids.desk.report.digest import Digest
from imapids.errors import UsageError
from imapids.output.files import whole_file
from imapids.records.alerts import Alert
from imapids.records.events import Event

REPORT_EVENTS = frozenset({"session", "alert", "capture", "login", "beacon", "scan", "exposure"})
"""What a report is made of."""
_NEEDED = ("altair", "jinja2", "vl_convert")
_BATCH = 4_096

Explain = Callable[[Event, list[Alert]], Explanation | None]
"""Reads the dialogue of a session, given its event and alerts; None where it cannot be read."""


class HtmlReport:
    """Collects results within fixed memory, and writes the page when it is closed."""

    def __init__(self, write: Callable[[str], object], explain: Explain | None = None) -> None:
        """
        Args:
            write: takes the page as text.
            explain: reads the dialogue of the gravest session.

        Raises UsageError where the libraries of the extra `report` are not installed: before the run, not after it.
        """
        missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise UsageError(f"the report needs {', '.join(missing)}: pip install 'imapids[report]'")
        self._digest = Digest()
        self._write = write
        self._explain = explain

    def write(self, items: Sequence[Event | Alert]) -> None:
        """Takes results, in order."""
        self._digest.write(items)

    def close(self) -> None:
        """Writes the page."""
        from imapids.desk.report.page import render

        self._write(render(self._digest, self._explain))


def write_report(records: Iterable[Event | Alert], path: str | Path, explain: Explain | None = None) -> None:
    """Writes the report of records to a file: whole or not at all, mode 0600."""
    kept = list(records)
    with whole_file(str(path)) as stream:
        report = HtmlReport(stream.write, explain)
        for start in range(0, len(kept), _BATCH):
            report.write(kept[start:start + _BATCH])
        report.close()
