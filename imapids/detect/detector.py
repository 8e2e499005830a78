"""Events in, alerts out: the rules of each event type as one program, then correlations, then rolling alerts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from imapids.config import DetectLimits
from imapids.detect.atoms import as_text
from imapids.detect.compiled import Atom, Correlation, Node, RuleSet
from imapids.detect.fields import CATEGORIES, Getter, getter, lookup
from imapids.detect.programs import Program
from imapids.detect.reasons import reason_of
from imapids.detect.rolling import RollingAlerts, Subject, subject_of
from imapids.detect.windows import Hit, Windows, present_value
from imapids.protocols.text import safe_str
from imapids.records.alerts import LEVELS, Alert, Reason
from imapids.records.events import Event

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
        self._getters: dict[tuple[str, str], Getter] = {}
        self._not_fired = 0
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
        programs = self._programs
        for event in events:
            kind = event.kind
            program = programs[kind] if kind in programs else self._program(kind)
            if program is not None:
                matched = program.match(event)
                if matched:
                    self._fire(event, matched, out)
        return out

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
        rules = self._rules.rules
        firing = [place for place in matched if rules[place].output]
        hits: list[tuple[int, Hit]] = []
        waiting = [(place, event) for place in matched if place in self._feeds]
        while waiting:  # correlations may feed correlations; the order of loading has no circles
            place, _ = waiting.pop(0)
            for correlation, base in self._feeds[place]:
                hit = self._correlate(correlation, base, event, place)
                if hit is None:
                    continue
                number = len(rules) + correlation
                if self._rules.correlations[correlation].output:
                    hits.append((correlation, hit))
                if number in self._feeds:
                    waiting.append((number, event))
        todo: list[tuple[int, str, Callable[[], None]]] = []
        todo += [(_URGENCY[rules[place].info.level], rules[place].info.id, self._single(place, event, out))
                 for place in firing]
        for correlation, hit in hits:
            info = self._rules.correlations[correlation].info
            todo.append((_URGENCY[info.level], info.id, self._several(correlation, hit, event, out)))
        todo.sort(key=lambda item: item[:2])
        self._not_fired += max(0, len(todo) - self._limits.alerts_per_event)
        for _, _, act in todo[: self._limits.alerts_per_event]:
            act()

    def _single(self, place: int, event: Event, out: list[Alert]) -> Callable[[], None]:
        rule = self._rules.rules[place]

        def why() -> Reason:
            return reason_of(rule.condition, self._rules.atoms, event)

        return lambda: self._alerts.fire(rule.info, subject_of(rule.subject, event), event, rule.labels, why, out)

    def _several(self, place: int, hit: Hit, event: Event, out: list[Alert]) -> Callable[[], None]:
        rule = self._rules.correlations[place]
        subject: Subject
        if rule.subject:
            subject = subject_of(rule.subject, event)
        else:
            subject = ("group", *((name, safe_str(as_text(value))) for name, value in
                                  zip(rule.group_by, hit.group, strict=True)))
        return lambda: self._alerts.fire(rule.info, subject, event, rule.labels, lambda: _why_several(rule, hit), out,
                                         first_ns=hit.first_ns)

    def _correlate(self, correlation: int, base: int, event: Event, place: int) -> Hit | None:
        rule = self._rules.correlations[correlation]
        group = []
        for name in rule.group_by:
            field = rule.aliases[name][base] if name in rule.aliases else name
            group.append(self._value(event, field))
        value = present_value(tuple(self._value(event, name) for name in rule.fields)) if rule.fields else None
        return self._windows[correlation].feed(base, tuple(group), value, event, self._title(place))

    def _title(self, place: int) -> str:
        count = len(self._rules.rules)
        return self._rules.rules[place].info.title if place < count else (
            self._rules.correlations[place - count].info.title)

    def _value(self, event: Event, name: str) -> Any:
        key = (event.kind, name)
        read = self._getters.get(key)
        if read is None:
            field = lookup(event.kind, name)
            read = self._getters[key] = getter(field) if field else _nothing
        return read(event)


def _nothing(_event: Event) -> None:
    """A field that events of this type do not have."""


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


