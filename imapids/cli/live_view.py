"""What people see of a live run on a terminal: rates, drops, verdicts, and the latest alerts."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from imapids.cli.console import printable
from imapids.protocols.timestamps import eve_time
from imapids.records.alerts import Alert
from imapids.records.events import Event, Stats

_REFRESH_SECONDS = 0.5
_ALERTS = 12
_STYLES = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan", "informational": "dim"}
_VERDICTS = ("genuine", "not-imap", "mimic", "undecided", "silent")


class LiveView:
    """Draws at most twice a second, from the main loop: no thread of its own.

    No text from the wire comes near rich's markup: everything is a `Text` of printable ASCII.
    """

    def __init__(self, interface: str, *, color: bool | None = None) -> None:
        self._console = Console(no_color=color is False, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._interface = interface
        self._stats: Stats | None = None
        self._alerts: deque[Alert] = deque(maxlen=_ALERTS)
        self._drawn = 0.0
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self._live.update(self._picture(), refresh=True)
        self._live.stop()

    def show(self, items: Sequence[Event | Alert]) -> None:
        """Takes results, and draws if it is time."""
        for item in items:
            if isinstance(item, Alert) and item.state == "new":
                self._alerts.append(item)
        now = time.monotonic()
        if now - self._drawn >= _REFRESH_SECONDS:
            self._drawn = now
            self._live.update(self._picture(), refresh=True)

    def glance(self, stats: Stats) -> None:
        """Takes the counts of now."""
        self._stats = stats

    def _picture(self) -> Group:
        return Group(self._head(), self._latest())

    def _head(self) -> Table:
        table = Table.grid(padding=(0, 2))
        stats = self._stats
        seconds = int(time.monotonic() - self._began)
        table.add_row(Text(printable(self._interface), style="bold"),
                      Text("no packets were counted yet" if stats is None else f"link {stats.link}"),
                      Text(f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"))
        if stats is None:
            return table
        rate = stats.interval.packets / max(stats.interval.seconds, 0.001)
        megabits = stats.interval.bytes * 8 / max(stats.interval.seconds, 0.001) / 1e6
        drops = stats.capture.kernel_drops
        table.add_row(Text("packets"), Text(f"{stats.packets:,}"),
                      Text(f"{rate:,.0f} a second, {megabits:,.1f} Mbit/s"))
        table.add_row(Text("dropped"), Text(f"{drops:,}", style="bold red" if drops else ""),
                      Text(f"{stats.interval.drops:,} in the last {stats.interval.seconds:.0f} s"))
        table.add_row(Text("flows"), Text(f"{stats.flows:,}"), Text(f"{stats.flows_open:,} open"))
        sessions = ", ".join(f"{stats.sessions[name]:,} {name}" for name in _VERDICTS if stats.sessions.get(name))
        table.add_row(Text("sessions"), Text(f"{sum(stats.sessions.values()):,}"), Text(sessions))
        alerts = ", ".join(f"{count:,} {level}" for level, count in stats.alerts.items())
        table.add_row(Text("alerts"), Text(f"{sum(stats.alerts.values()):,}"), Text(alerts))
        table.add_row(Text("memory"), Text(f"{stats.memory_kib / 1024:,.0f} MiB"),
                      Text(f"{stats.cpu_ms / 1000:,.1f} s of processor time"))
        return table

    def _latest(self) -> Table:
        table = Table(box=None, padding=(0, 2), show_header=False, expand=False)
        for alert in reversed(self._alerts):
            table.add_row(Text(eve_time(alert.time_ns)[11:19]),
                          Text(alert.rule.level, style=_STYLES.get(alert.rule.level, "")),
                          Text(printable(alert.subject, 200)), Text(printable(alert.rule.title, 200)))
        return table
