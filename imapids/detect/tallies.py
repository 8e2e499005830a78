"""What a correlation counts in its newest window, kept up to date entry by entry: no event costs a walk over all."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from imapids.detect.compiled import Correlation, Node


class Entry(msgspec.Struct, gc=False):
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


class Tally(Protocol):
    """The measure of a window that moves forward in time."""

    def add(self, entry: Entry) -> None:
        """The newest entry comes in."""

    def drop(self, entry: Entry) -> None:
        """The oldest entry goes out."""

    def measure(self, start_ns: int) -> float | None:
        """The measure of the window that begins at `start_ns`; None where there is nothing to compare."""


class Events:
    """event_count: how many."""

    def __init__(self, count: int = 0) -> None:
        self._count = count

    def add(self, _entry: Entry) -> None:
        self._count += 1

    def drop(self, _entry: Entry) -> None:
        self._count -= 1

    def measure(self, _start_ns: int) -> float | None:
        return self._count


class Distinct:
    """value_count: how many different values; absent ones do not count."""

    def __init__(self) -> None:
        self._counts: dict[Any, int] = {}

    def add(self, entry: Entry) -> None:
        if entry.value is not None:
            self._counts[entry.value] = self._counts.get(entry.value, 0) + 1

    def drop(self, entry: Entry) -> None:
        left = self._counts.get(entry.value, 0) - 1
        if left > 0:
            self._counts[entry.value] = left
        else:
            self._counts.pop(entry.value, None)

    def measure(self, _start_ns: int) -> float | None:
        return len(self._counts)


class Numbers:
    """value_sum, value_avg, value_percentile, value_median: of the values that are numbers."""

    def __init__(self, kind: str, percent: float) -> None:
        self._kind = kind
        self._percent = percent
        self._ranked: list[float] = []
        self._total: float = 0

    def add(self, entry: Entry) -> None:
        if _is_number(entry.value):
            self._total += entry.value
            insort(self._ranked, entry.value)

    def drop(self, entry: Entry) -> None:
        if _is_number(entry.value):
            self._total -= entry.value
            del self._ranked[bisect_left(self._ranked, entry.value)]

    def measure(self, _start_ns: int) -> float | None:
        if not self._ranked:
            return None
        if self._kind == "value_sum":
            return self._total
        if self._kind == "value_avg":
            return self._total / len(self._ranked)
        place = (len(self._ranked) - 1) * self._percent / 100  # between the two nearest ranks, as percentile_cont
        low = math.floor(place)
        high = min(low + 1, len(self._ranked) - 1)
        return self._ranked[low] + (self._ranked[high] - self._ranked[low]) * (place - low)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class Together:
    """temporal: how many of the rules matched; with an expression, whether it holds."""

    def __init__(self, expression: Node | None) -> None:
        self._expression = expression
        self._counts: dict[int, int] = {}

    def add(self, entry: Entry) -> None:
        self._counts[entry.base] = self._counts.get(entry.base, 0) + 1

    def drop(self, entry: Entry) -> None:
        self._counts[entry.base] -= 1
        if not self._counts[entry.base]:
            del self._counts[entry.base]

    def measure(self, _start_ns: int) -> float | None:
        if self._expression is not None and not holds(self._expression, self._counts.keys()):
            return None
        return len(self._counts)


class InOrder:
    """temporal_ordered: how many of the rules matched one after the other, from the first on.

    For each place of the order it keeps the latest start of a chain that got so far: a chain lies in the window when
    its start does.
    """

    def __init__(self, places: int) -> None:
        self._starts: list[int | None] = [None] * places

    def add(self, entry: Entry) -> None:
        place = entry.base
        self._starts[place] = entry.time_ns if place == 0 else self._starts[place - 1]

    def drop(self, entry: Entry) -> None:
        """Nothing to do: starts before the window count no more."""

    def measure(self, start_ns: int) -> float | None:
        starts = self._starts
        for place in range(len(starts) - 1, -1, -1):
            start = starts[place]
            if start is not None and start >= start_ns:
                return place + 1
        return 0


def holds(node: Node, seen: Any) -> bool:
    """Whether an expression over the places of rules holds for those that matched."""
    if node.kind == "atom":
        return node.atom in seen
    answers = (holds(child, seen) for child in node.children)
    if node.kind == "not":
        return not next(answers)
    return all(answers) if node.kind == "all" else any(answers)


def make_tally(rule: Correlation) -> Tally:
    """An empty tally for this correlation."""
    if rule.kind == "event_count":
        return Events()
    if rule.kind == "value_count":
        return Distinct()
    if rule.kind == "temporal" or rule.expression is not None:
        return Together(rule.expression)
    if rule.kind == "temporal_ordered":
        return InOrder(len(rule.bases))
    return Numbers(rule.kind, 50 if rule.kind == "value_median" else rule.percentile)


def tally_of(rule: Correlation, entries: Sequence[Entry]) -> Tally:
    """The tally of a whole window."""
    if rule.kind == "event_count" and rule.expression is None:
        return Events(len(entries))  # a late event asks twice: a walk over thousands would be long
    tally = make_tally(rule)
    for entry in entries:
        tally.add(entry)
    return tally
