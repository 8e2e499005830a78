"""Events and alerts to a file, pipe or terminal as JSON lines."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from imapids import kernels
from imapids.output.eve import encode_lines, lines_ahead
from imapids.records.alerts import Alert
from imapids.records.events import Event

if TYPE_CHECKING:
    from imapids.kernels._events import LinesAhead

_kind_of = operator.attrgetter("kind")
_AT_ONCE = 1_000
"""Lines encoded together: half a megabyte, which the processor's cache holds. Twenty thousand take twice the time."""
_AHEAD = 200
"""Fewer lines are encoded at once: another thread would save a tenth of a millisecond."""


class JsonLines:
    """Writes the kinds of lines that were asked for, a thousand with each call of `write`."""

    def __init__(self, write: Callable[[bytes], object], kinds: frozenset[str], *, lent: bool = False,
                 file: int | None = None) -> None:
        """
        Args:
            write: takes bytes (with `lent`, views of bytes, too) and writes all of them.
            kinds: event types and `alert`, or `all` for every kind.
            lent: the items of a call stay as they are until the next one (also of `close`), and there is a second
                processor: the lines of many events are encoded in another thread, and written with the next call.
                `write` must not keep a view: its bytes are overwritten later.
            file: descriptor of the ordinary file that `write` appends to, if it is one: that thread may do so itself,
                before the next call. What it cannot write is written by `write`.
        """
        self._write: Callable[[Any], object] = write
        self._all = "all" in kinds
        self._kinds = kinds
        self._lent = lent
        self._file = -1 if file is None else file
        self._ahead: LinesAhead | None = None
        self._begun = 0
        self.lines = 0
        """Lines written."""

    def write(self, items: Sequence[Event | Alert]) -> None:
        """Writes the lines of the items, in their order; errors of the callable pass through."""
        self._finish()
        if not self._all:
            items = self._wanted(items)
        if self._lent and len(items) >= _AHEAD and self._begin(items):
            return
        for start in range(0, len(items), _AT_ONCE):
            part = items[start : start + _AT_ONCE]
            self._write(encode_lines(part))
            self.lines += len(part)

    def close(self) -> None:
        """Writes what is still to be written."""
        try:
            self._finish()
        finally:
            if self._ahead is not None:
                self._ahead.close()
                self._ahead = None

    def _begin(self, items: Sequence[Event | Alert]) -> bool:
        """Has the lines encoded from now on, if that can be."""
        if not kernels.COMPILED or not isinstance(items, list):
            return False
        if self._ahead is None:
            self._ahead = lines_ahead()
        self._begun = len(items) if self._ahead.start(items, self._file) else 0
        return self._begun > 0

    def _finish(self) -> None:
        """Writes the lines of the call before."""
        begun, self._begun = self._begun, 0
        if begun and self._ahead is not None:
            for piece in self._ahead.pieces():
                self._write(piece)
            self.lines += begun

    def _wanted(self, items: Sequence[Event | Alert]) -> Sequence[Event | Alert]:
        kinds = self._kinds
        try:
            if kinds.issuperset(map(_kind_of, items)):  # who makes the events has asked for the same kinds
                return items
        except AttributeError:  # alerts among them
            pass
        return [item for item in items if (item.kind if isinstance(item, Event) else "alert") in kinds]
