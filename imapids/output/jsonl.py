"""Events and alerts to a file, pipe or terminal as JSON lines."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

from imapids.output.eve import encode_lines
from imapids.records.alerts import Alert
from imapids.records.events import Event

_kind_of = operator.attrgetter("kind")
_AT_ONCE = 1_000
"""Lines encoded together: half a megabyte, which the processor's cache holds. Twenty thousand take twice the time."""


class JsonLines:
    """Writes the kinds of lines that were asked for, a thousand with each call of `write`."""

    def __init__(self, write: Callable[[bytes], object], kinds: frozenset[str]) -> None:
        """`write` takes bytes and writes all of them; `kinds`: event types and `alert`, or `all` for every kind."""
        self._write = write
        self._all = "all" in kinds
        self._kinds = kinds
        self.lines = 0
        """Lines written."""

    def write(self, items: Sequence[Event | Alert]) -> None:
        """Writes the lines of the items, in their order; errors of the callable pass through."""
        if not self._all:
            items = self._wanted(items)
        for start in range(0, len(items), _AT_ONCE):
            part = items[start : start + _AT_ONCE]
            self._write(encode_lines(part))
            self.lines += len(part)

    def _wanted(self, items: Sequence[Event | Alert]) -> Sequence[Event | Alert]:
        kinds = self._kinds
        try:
            if kinds.issuperset(map(_kind_of, items)):  # who makes the events has asked for the same kinds
                return items
        except AttributeError:  # alerts among them
            pass
        return [item for item in items if (item.kind if isinstance(item, Event) else "alert") in kinds]

    def close(self) -> None:
        """Nothing is held back: every line is handed on as soon as it is known."""
