"""Correlations: counting matched events of one group within a span of packet time.

Every matched event is an anchor with the window [time - span, time]. Events may come a little out of time order (a
session is known when it ends): a late one counts in its own window and in the newest one of its group.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from typing import Any, NamedTuple

from imapids.config import DetectLimits
from imapids.detect.atoms import compare, is_absent
from imapids.detect.compiled import Correlation, Node
from imapids.records.events import Event


class Entry(NamedTuple):
    """A matched event in a window."""

    time_ns: int
    order: int
    """Counts matched events: keeps events of one time in their order, and entries comparable."""
    base: int
    """Which of the correlation's rules it matched."""
    value: Any
    """The counted field's value; None where there is none."""
    text: str
    packet: int


class Hit(NamedTuple):
    """A correlation held for a group at an anchor."""

    group: tuple[Any, ...]
    metric: float
    first_ns: int
    entries: list[Entry]
    """Some of the events of the window, oldest first."""


SHOWN = 8
"""Entries that a hit hands on for its why."""


class Windows:
    """The groups of one correlation."""

    def __init__(self, rule: Correlation, limits: DetectLimits) -> None:
        self._rule = rule
        self._limits = limits
        self._groups: dict[tuple[Any, ...], list[Entry]] = {}  # the group that was quiet longest first
        self._newest: dict[tuple[Any, ...], int] = {}
        self._order = 0
        self._metric = _METRICS[rule.kind]
        self.dropped_groups = 0
        self.dropped_entries = 0

    def feed(self, base: int, group: tuple[Any, ...], value: Any, event: Event, text: str) -> Hit | None:
        """Add a matched event; a Hit where the condition holds in a window that it belongs to.

        An event without a value for `group-by` belongs to no group; one without the counted value counts nothing.
        """
        rule = self._rule
        if any(is_absent(part) for part in group):
            return None
        time_ns = event.time_ns
        entries = self._groups.pop(group, None)
        if entries is None:
            entries = []
            self._make_room(time_ns)
        self._groups[group] = entries
        self._order += 1
        entry = Entry(time_ns, self._order, base, value, text, event.packet)
        if not entries or entry > entries[-1]:
            entries.append(entry)
        else:
            insort(entries, entry, key=_place)
        self._forget(entries)
        found = self._window(entries, time_ns)
        hit = self._hold(group, found)
        if hit is None and entries[-1].time_ns != time_ns and entries[-1].time_ns - time_ns <= rule.span_ns:
            hit = self._hold(group, self._window(entries, entries[-1].time_ns))
        return hit

    def _window(self, entries: list[Entry], end_ns: int) -> list[Entry]:
        start = bisect_left(entries, end_ns - self._rule.span_ns, key=_time)
        return entries[start : bisect_right(entries, end_ns, key=_time)]

    def _hold(self, group: tuple[Any, ...], window: list[Entry]) -> Hit | None:
        rule = self._rule
        if not window:
            return None
        metric = self._metric(rule, window)
        if metric is None or not (rule.expression is not None or compare(rule.operator, metric, rule.threshold)):
            return None
        return Hit(group, metric, window[0].time_ns, window[-SHOWN:])

    def _forget(self, entries: list[Entry]) -> None:
        """Drop what no window can reach any more (two spans: one for late events), and what is too much."""
        old = entries[-1].time_ns - 2 * self._rule.span_ns
        if entries[0].time_ns < old:
            del entries[: bisect_left(entries, old, key=_time)]
        if len(entries) > self._limits.group_entries:
            many = len(entries) - self._limits.group_entries * 3 // 4  # many at once: removing one costs as much
            del entries[:many]
            self.dropped_entries += many

    def _make_room(self, now_ns: int) -> None:
        """Groups that are too old go; where there are still too many, the one that was quiet longest."""
        groups = self._groups
        while groups:
            key = next(iter(groups))
            too_old = groups[key][-1].time_ns < now_ns - 2 * self._rule.span_ns
            if not too_old and len(groups) < self._limits.groups:
                return
            if not too_old:
                self.dropped_groups += 1
            del groups[key]


def _time(entry: Entry) -> int:
    return entry.time_ns


def _place(entry: Entry) -> tuple[int, int]:
    return entry.time_ns, entry.order


def _event_count(_rule: Correlation, window: list[Entry]) -> float | None:
    return len(window)


def _value_count(_rule: Correlation, window: list[Entry]) -> float | None:
    return len({entry.value for entry in window if entry.value is not None})


def _numbers(window: list[Entry]) -> list[float]:
    return [entry.value for entry in window if isinstance(entry.value, (int, float))]


def _value_sum(_rule: Correlation, window: list[Entry]) -> float | None:
    numbers = _numbers(window)
    return math.fsum(numbers) if numbers else None


def _value_avg(_rule: Correlation, window: list[Entry]) -> float | None:
    numbers = _numbers(window)
    return math.fsum(numbers) / len(numbers) if numbers else None


def _percentile(numbers: list[float], percent: float) -> float | None:
    """Linear interpolation between the two nearest ranks, as SQL's percentile_cont."""
    if not numbers:
        return None
    ranked = sorted(numbers)
    place = (len(ranked) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (ranked[high] - ranked[low]) * (place - low)


def _value_percentile(rule: Correlation, window: list[Entry]) -> float | None:
    return _percentile(_numbers(window), rule.percentile)


def _value_median(_rule: Correlation, window: list[Entry]) -> float | None:
    return _percentile(_numbers(window), 50)


def _temporal(rule: Correlation, window: list[Entry]) -> float | None:
    seen = {entry.base for entry in window}
    if rule.expression is not None:
        return len(seen) if _holds(rule.expression, seen) else None
    return len(seen)


def _temporal_ordered(rule: Correlation, window: list[Entry]) -> float | None:
    """How many of the rules matched in their order, each at or after the one before."""
    if rule.expression is not None:
        return _temporal(rule, window)
    wanted = 0
    for entry in window:
        if wanted < len(rule.bases) and entry.base == wanted:
            wanted += 1
    return wanted


def _holds(node: Node, seen: set[int]) -> bool:
    if node.kind == "atom":
        return node.atom in seen
    answers = (_holds(child, seen) for child in node.children)
    if node.kind == "not":
        return not next(answers)
    return all(answers) if node.kind == "all" else any(answers)


_METRICS: dict[str, Callable[[Correlation, list[Entry]], float | None]] = {
    "event_count": _event_count,
    "value_count": _value_count,
    "value_sum": _value_sum,
    "value_avg": _value_avg,
    "value_percentile": _value_percentile,
    "value_median": _value_median,
    "temporal": _temporal,
    "temporal_ordered": _temporal_ordered,
}


def present_value(values: tuple[Any, ...]) -> Any:
    """The counted value of an event: one value, a tuple of several fields', or None where any is absent."""
    if any(is_absent(value) for value in values):
        return None
    return values[0] if len(values) == 1 else values
