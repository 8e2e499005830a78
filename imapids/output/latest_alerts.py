"""The alerts of a run, each once: the last line of an alert counts, in the order in which the alerts began."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imapids.records.alerts import Alert
from imapids.records.events import Event

ALERTS = 100_000
"""Alerts that one exchange file holds: platforms that import it take far fewer."""


class LatestAlerts:
    """Takes the lines of a run."""

    def __init__(self) -> None:
        self._alerts: dict[str, Alert] = {}
        self.left_out = 0
        """Lines of alerts beyond the limit."""

    def take(self, items: Sequence[Event | Alert]) -> None:
        """Keeps alerts, leaves events."""
        for item in items:
            if isinstance(item, Alert):
                if item.id in self._alerts or len(self._alerts) < ALERTS:
                    self._alerts[item.id] = item
                else:
                    self.left_out += 1

    def __iter__(self) -> Iterator[Alert]:
        return iter(self._alerts.values())

    def __len__(self) -> int:
        return len(self._alerts)
