"""Correlations: measuring the matched events of one group within a span of packet time.

Every matched event is an anchor with the window [time - span, time]. Events may come a little out of time order (a
session is known when it ends): a late one counts in its own window and in the newest one of its group.
"""

from __future__ import annotations

import itertools
import sys
from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgspec

from imapids import kernels
from imapids.config import DetectLimits
from imapids.detect.atoms import comparison, is_absent
from imapids.detect.compiled import Correlation
from imapids.detect.readings import layout_of
from imapids.detect.tallies import Entry, InOrder, Tally, Together, make_tally, tally_of
from imapids.records.events import Event
from imapids.records.streams import Flow

if TYPE_CHECKING:
    from imapids.kernels._events import Feed

SHOWN = 8
"""Entries that a hit hands on for its why."""
_THINNED_FROM = 64
"""Entries of a group from which on those are dropped that no answer depends on."""
_KEPT_BEHIND = 64
"""Entries behind the newest window from which on the oldest are forgotten."""
_PARTS = 256
"""Of a span: how finely what lies behind is remembered where it matters only that rules matched."""


class Hit(msgspec.Struct, gc=False):
    """A correlation held for a group at an anchor."""

    group: tuple[Any, ...]
    metric: float
    first_ns: int
    entries: list[Entry]
    """The last events of the window, oldest first."""


class _Group:
    """The remembered events of one group. `entries[head:]` is the newest window, which the tally measures."""

    __slots__ = ("entries", "head", "tally", "thin_from")

    def __init__(self, tally: Tally, thin_from: int) -> None:
        self.entries: list[Entry] = []
        self.head = 0
        self.tally = tally
        self.thin_from = thin_from


class Windows:
    """The groups of one correlation."""

    def __init__(self, rule: Correlation, limits: DetectLimits) -> None:
        self._rule = rule
        self._limits = limits
        self._groups: OrderedDict[tuple[Any, ...], _Group] = OrderedDict()  # quiet longest first (a dict is slow there)
        self._orders = itertools.count(1)
        self._reaches = comparison(rule.operator) if rule.expression is None else None
        """Compares the measure with the threshold; None where an expression has decided already."""
        in_order = rule.kind == "temporal_ordered" and rule.expression is None
        self._only_in_order = in_order and rule.operator in (">", ">=") and rule.threshold >= 1
        only_presence = isinstance(make_tally(rule), Together | InOrder)
        self._thin_from = _THINNED_FROM if only_presence else sys.maxsize
        """Where it matters that rules matched, not how often, groups are thinned."""
        self.dropped_groups = 0
        """Groups forgotten because there were too many."""
        self.dropped_entries = 0
        """Events forgotten because their group held too many."""

    def wants(self, base: int, key: tuple[Any, ...]) -> bool:
        """Whether an event of this base can matter: it has a group, and (in order) something came before it."""
        if self._only_in_order and base:
            return key in self._groups
        return not (None in key or "" in key)

    def feed(self, base: int, key: tuple[Any, ...], value: Any, event: Event, text: str) -> Hit | None:
        """Add a matched event; a Hit where the condition holds in a window that it belongs to.

        An event without a value for `group-by` belongs to no group; one without the counted value counts nothing.
        """
        if None in key or "" in key:
            return None
        time_ns = event.time_ns
        group = self._groups.get(key)
        if group is None:
            self._make_room(time_ns)
            group = self._groups[key] = _Group(make_tally(self._rule), self._thin_from)
        else:
            self._groups.move_to_end(key)
        entry = Entry(time_ns, next(self._orders), base, value, text, event.packet)
        entries = group.entries
        if entries and time_ns < entries[-1].time_ns:
            return self._late(key, group, entry)
        entries.append(entry)
        group.tally.add(entry)
        size = len(entries)
        if (entries[group.head].time_ns < time_ns - self._rule.span_ns or group.head > _KEPT_BEHIND
                or size >= group.thin_from or size > self._limits.group_entries):
            self._advance(group)
        return self._newest(key, group)

    def compiled_feed(self, base: int, names: tuple[str, ...], text: str,
                      rules: tuple[tuple[str, str], ...]) -> Feed:
        """`feed` where no value is counted, for the newest event of a group that there is. Needs the kernels.

        Args:
            names: the fields of the flow that make the key.
            rules: what RollingAlerts.counted is told of the correlation.
        """
        return kernels.events.Feed(
            event=layout_of(Event), flow=layout_of(Flow), group=layout_of(_Group), entry=layout_of(Entry),
            hit=layout_of(Hit), windows=self, groups=self._groups, orders=self._orders, reaches=self._reaches,
            threshold=self._rule.threshold, span_ns=self._rule.span_ns, limit=self._limits.group_entries, shown=SHOWN,
            behind=_KEPT_BEHIND, names=names, base=base, text=text, rules=rules)

    def _advance(self, group: _Group) -> None:
        """Move the newest window up to the last entry, and forget what no window needs."""
        if len(group.entries) >= group.thin_from:
            self._thin(group)
        entries, span = group.entries, self._rule.span_ns
        start = entries[-1].time_ns - span
        while entries[group.head].time_ns < start:
            group.tally.drop(entries[group.head])
            group.head += 1
        if len(entries) > self._limits.group_entries:
            many = max(group.head, self._limits.group_entries // 4)  # many at once: moving the rest costs as much
            self.dropped_entries += max(0, many - group.head)
            del entries[:many]
            self._recount(group)
        elif group.head > _KEPT_BEHIND and entries[group.head // 2].time_ns < start - span:  # too old for late ones too
            del entries[: group.head // 2]
            group.head -= group.head // 2

    def _thin(self, group: _Group) -> None:
        """Keeps the first and the last event of each rule in each part of the span: a window that holds one in between
        holds one of these as well. The conversations of a busy server would all be kept for a week otherwise."""
        near_ns = max(self._rule.span_ns // _PARTS, 1)
        first: dict[tuple[int, int], int] = {}
        last: dict[tuple[int, int], int] = {}
        newest = len(group.entries) - SHOWN
        for place, entry in enumerate(group.entries[:newest]):
            part = entry.time_ns // near_ns, entry.base
            first.setdefault(part, place)
            last[part] = place
        kept = sorted({*first.values(), *last.values(), *range(newest, len(group.entries))})
        group.entries = [group.entries[place] for place in kept]
        group.thin_from = max(_THINNED_FROM, 2 * len(kept))
        chains = group.tally
        self._recount(group)
        if isinstance(chains, InOrder):
            group.tally = chains  # knows more than what is kept tells

    def _recount(self, group: _Group) -> None:
        group.head = bisect_left(group.entries, group.entries[-1].time_ns - self._rule.span_ns, key=_time)
        group.tally = tally_of(self._rule, group.entries[group.head :])

    def _newest(self, key: tuple[Any, ...], group: _Group) -> Hit | None:
        entries, head = group.entries, group.head
        metric = group.tally.measure(entries[-1].time_ns - self._rule.span_ns)
        if metric is None or (self._reaches is not None and not self._reaches(metric, self._rule.threshold)):
            return None
        return Hit(key, metric, entries[head].time_ns, entries[max(head, len(entries) - SHOWN) :])

    def _late(self, key: tuple[Any, ...], group: _Group, entry: Entry) -> Hit | None:
        """An event before the newest one: its own window, then the newest if it belongs there."""
        entries, span = group.entries, self._rule.span_ns
        insort(entries, entry, key=_place)
        if entry.time_ns < entries[-1].time_ns - span:
            group.head += 1
        else:
            group.tally.add(entry)
        if len(entries) > self._limits.group_entries:
            self._forget_oldest(group)
        window = entries[
            bisect_left(entries, entry.time_ns - span, key=_time) : bisect_right(entries, entry.time_ns, key=_time)
        ]
        metric = tally_of(self._rule, window).measure(entry.time_ns - span)
        if isinstance(group.tally, InOrder):  # the one tally for which it matters when an entry comes
            self._recount(group)
        if window and metric is not None and (self._reaches is None or self._reaches(metric, self._rule.threshold)):
            return Hit(key, metric, window[0].time_ns, window[-SHOWN:])
        return self._newest(key, group) if entries[-1].time_ns - entry.time_ns <= span else None

    def _forget_oldest(self, group: _Group) -> None:
        oldest = group.entries.pop(0)
        if group.head:
            group.head -= 1
        else:
            group.tally.drop(oldest)
        self.dropped_entries += 1

    def _make_room(self, now_ns: int) -> None:
        """Groups that are too old go; where there are still too many, the one that was quiet longest."""
        groups = self._groups
        while groups:
            key = next(iter(groups))
            too_old = groups[key].entries[-1].time_ns < now_ns - 2 * self._rule.span_ns
            if not too_old and len(groups) < self._limits.groups:
                return
            if not too_old:
                self.dropped_groups += 1
            del groups[key]


def _time(entry: Entry) -> int:
    return entry.time_ns


def _place(entry: Entry) -> tuple[int, int]:
    return entry.time_ns, entry.order


def present_value(values: tuple[Any, ...]) -> Any:
    """The counted value of an event: one value, a tuple of several fields', or None where any is absent."""
    if len(values) == 1:
        return None if is_absent(values[0]) else values[0]
    return None if any(is_absent(value) for value in values) else values
