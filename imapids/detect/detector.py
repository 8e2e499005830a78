"""Events in, alerts out: the rules of each event type as one program, then correlations, then rolling alerts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from imapids.config import DetectLimits
from imapids.detect.atoms import as_text
from imapids.detect.compiled import Atom, Correlation, Node, Rule, RuleSet
from imapids.detect.fields import CATEGORIES, lookup, tuple_getter
from imapids.detect.programs import Match, Program
from imapids.detect.reasons import Explainer
from imapids.detect.rolling import RollingAlerts, Subject, subject_of
from imapids.detect.windows import Hit, Windows, present_value
from imapids.protocols.text import safe_str
from imapids.records.alerts import LEVELS, Alert, Reason
from imapids.records.events import Event
from imapids.records.streams import Flow

Reader = Callable[[Event], tuple[Any, ...]]
MatchWatcher = Callable[[Alert, Subject, Event, Sequence[Flow]], None]
"""Takes an alert, its subject, the event that matched, and the conversations that a correlation counted before it."""
_AT_ONCE = 2_000
"""Events whose fields are read together: many enough for columns, few enough for the processor's cache."""
_URGENCY = {level: -place for place, level in enumerate(LEVELS)}


class Detector:
    """The rules of a run over its events. The same events in the same order give the same alerts, however cut."""

    def __init__(self, rules: RuleSet, *, limits: DetectLimits | None = None) -> None:
        self._rules = rules
        self._limits = limits or DetectLimits()
        self._atoms = list(rules.atoms)
        self._conditions = [self._with_filters(place) for place in range(len(rules.rules))]
        self._programs: dict[str, Program | None] = {}
        self._alerts = RollingAlerts(self._limits)
        self._windows = [Windows(item, self._limits) for item in rules.correlations]
        self._feeds: dict[int, list[tuple[int, int]]] = {}  # rule: (correlation, which of its bases)
        for place, item in enumerate(rules.correlations):
            for base, rule in enumerate(item.bases):
                self._feeds.setdefault(rule, []).append((place, base))
        self._readers: dict[tuple[int, int, str], tuple[Reader, Reader]] = {}
        self._explainers: dict[tuple[int, str], Explainer] = {}
        both: list[Rule | Correlation] = [*rules.rules, *rules.correlations]
        self._urgency: list[Any] = [
            (_URGENCY[item.info.level], item.info.id) if item.output else None for item in both
        ]
        self._not_fired = 0
        self._watcher: MatchWatcher | None = None
        self._counted: dict[tuple[int, tuple[Any, ...]], dict[int, tuple[int, Flow]]] = {}
        """With a watcher: conversations that correlations counted, and when, by correlation and group."""
        kinds = {rule.category for rule in rules.rules}
        self.categories: frozenset[str] = frozenset(CATEGORIES if "" in kinds else kinds)
        """Event types that any rule looks at."""

    def _with_filters(self, place: int) -> Node:
        """The rule's condition, and that no filter in force refuses the event."""
        rule = self._rules.rules[place]
        parts = [rule.condition]
        for item in (self._rules.filters[index] for index in rule.filters):
            passes = item.condition
            if item.expires_ns:
                late = Atom("timestamp", ">=", item.expires_ns)
                if late not in self._atoms:
                    self._atoms.append(late)
                passes = Node("any", children=(passes, Node("atom", self._atoms.index(late))))
            parts.append(passes)
        return parts[0] if len(parts) == 1 else Node("all", children=tuple(parts))

    def _program(self, kind: str) -> Program | None:
        conditions = {
            place: self._conditions[place]
            for place, rule in enumerate(self._rules.rules)
            if rule.category in ("", kind) and (rule.output or place in self._feeds)
        }
        program = Program(kind, self._atoms, conditions, self._limits) if conditions and kind in CATEGORIES else None
        self._programs[kind] = program
        return program

    def feed(self, events: Sequence[Event]) -> list[Alert]:
        """The alert lines that these events give. They come in the order in which the run knew them."""
        out: list[Alert] = []
        for start in range(0, len(events), _AT_ONCE):
            some = events[start : start + _AT_ONCE]
            for place, matched in self._matches(some):
                self._fire(some[place], matched, out)
        return out

    def _matches(self, events: Sequence[Event]) -> list[Match]:
        """Places of the events for which rules hold, in order, with the places of those rules."""
        kinds: defaultdict[str, list[int]] = defaultdict(list)
        for place, event in enumerate(events):
            kinds[event.kind].append(place)
        found: list[Match] = []
        for kind, places in kinds.items():
            program = self._programs[kind] if kind in self._programs else self._program(kind)
            if program is not None:
                found += [(places[place], matched) for place, matched in program.matches([events[i] for i in places])]
        found.sort()
        return found

    def watch_matches(self, watcher: MatchWatcher) -> None:
        """Has every match told, for those who want all conversations of an alert: its lines name only the first."""
        self._watcher = watcher

    def finish(self, time_ns: int) -> list[Alert]:
        """The `final` lines; `time_ns` is the end of the run in packet time."""
        return self._alerts.finish(time_ns)

    @property
    def limits_hit(self) -> dict[str, int]:
        """Limits that were hit, and how often: what the account of the run says."""
        found = {
            "detect-alerts-per-event": self._not_fired,
            "detect-open-alerts": self._alerts.closed_early,
            "detect-groups": sum(windows.dropped_groups for windows in self._windows),
            "detect-group-entries": sum(windows.dropped_entries for windows in self._windows),
        }
        return {name: count for name, count in found.items() if count}

    def _fire(self, event: Event, matched: tuple[int, ...], out: list[Alert]) -> None:
        """Count the matches of one event, the most severe first."""
        todo: list[tuple[int, str, int, Hit | None]] = []
        for place in matched:
            if place in self._feeds:
                self._correlate(place, event, todo)
            if self._urgency[place] is not None:
                todo.append((*self._urgency[place], place, None))
        if len(todo) > 1:
            todo.sort(key=_by_urgency)
            self._not_fired += max(0, len(todo) - self._limits.alerts_per_event)
        for _, _, place, hit in todo[: self._limits.alerts_per_event]:
            if hit is None:
                self._single(place, event, out)
            else:
                self._several(place, hit, event, out)

    def _single(self, place: int, event: Event, out: list[Alert]) -> None:
        rule = self._rules.rules[place]

        def why() -> Reason:
            explainer = self._explainers.get((place, event.kind))
            if explainer is None:
                explainer = Explainer(rule.condition, self._rules.atoms, event.kind)
                self._explainers[place, event.kind] = explainer
            return explainer.reason(event)

        subject = subject_of(rule.subject, event)
        alert = self._alerts.fire(rule.info, subject, event, rule.labels, why, out)
        if self._watcher is not None:
            self._watcher(alert, subject, event, ())

    def _several(self, place: int, hit: Hit, event: Event, out: list[Alert]) -> None:
        rule = self._rules.correlations[place - len(self._rules.rules)]
        subject: Subject
        if rule.subject:
            subject = subject_of(rule.subject, event)
        else:
            subject = ("group", *((name, safe_str(as_text(value))) for name, value in
                                  zip(rule.group_by, hit.group, strict=True)))
        alert = self._alerts.fire(rule.info, subject, event, rule.labels, lambda: _why_several(rule, hit), out,
                                  first_ns=hit.first_ns)
        if self._watcher is not None:
            counted = self._counted.pop((place - len(self._rules.rules), hit.group), {})
            self._watcher(alert, subject, event,
                          [flow for time_ns, flow in counted.values() if time_ns >= hit.first_ns])

    def _correlate(self, place: int, event: Event, todo: list[tuple[int, str, int, Hit | None]]) -> None:
        """Feed a match to the correlations that build on it; what holds is fed on (there are no circles)."""
        for correlation, base in self._feeds[place]:
            rule = self._rules.correlations[correlation]
            windows = self._windows[correlation]
            readers = self._readers.get((correlation, base, event.kind))
            if readers is None:
                readers = self._readers[correlation, base, event.kind] = self._make_readers(rule, base, event.kind)
            key = readers[0](event)
            if not windows.wants(base, key):
                continue
            if self._watcher is not None and event.flow is not None and len(self._counted) < self._limits.groups:
                self._counted.setdefault((correlation, key), {})[event.flow.flow_id] = event.time_ns, event.flow
            value = present_value(readers[1](event)) if rule.fields else None
            hit = windows.feed(base, key, value, event, self._title(place))
            if hit is None:
                continue
            number = len(self._rules.rules) + correlation
            if self._urgency[number] is not None:
                todo.append((*self._urgency[number], number, hit))
            if number in self._feeds:
                self._correlate(number, event, todo)

    def _make_readers(self, rule: Correlation, base: int, kind: str) -> tuple[Reader, Reader]:
        """Readers of the group's fields and of the counted ones, for events of this kind."""
        group = [rule.aliases[name][base] if name in rule.aliases else name for name in rule.group_by]
        return _reader_of(kind, group), _reader_of(kind, rule.fields)

    def _title(self, place: int) -> str:
        count = len(self._rules.rules)
        return self._rules.rules[place].info.title if place < count else (
            self._rules.correlations[place - count].info.title)


def _by_urgency(item: tuple[int, str, int, Hit | None]) -> tuple[int, str]:
    return item[:2]


def _reader_of(kind: str, names: list[str]) -> Reader:
    fields = [lookup(kind, name) for name in names]
    known = [field for field in fields if field is not None]
    if len(known) == len(fields):
        return tuple_getter(known)
    nothing = (None,) * len(fields)  # events of this type do not have one of the fields
    return lambda _event: nothing


def _why_several(rule: Correlation, hit: Hit) -> Reason:
    metric = int(hit.metric) if float(hit.metric).is_integer() else round(hit.metric, 3)
    of = f" of {', '.join(rule.fields)}" if rule.fields else ""
    wanted = "" if rule.expression is not None else f" {rule.operator} {rule.threshold:g}"
    span = rule.span_ns // 10**9
    return Reason(
        condition=f"{rule.kind}{of}{wanted} within {span} s", value=str(metric),
        packet=hit.entries[-1].packet if hit.entries else 0,
        because=[
            Reason(condition=entry.text, packet=entry.packet,
                   value="" if entry.value is None else safe_str(as_text(entry.value)))
            for entry in hit.entries
        ],
    )


