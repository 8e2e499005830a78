"""Events in, alerts out: the rules of each event type as one program, then correlations, then rolling alerts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from imapids import kernels
from imapids.config import DetectLimits
from imapids.detect.atoms import as_text
from imapids.detect.compiled import Atom, Correlation, Node, Rule, RuleSet
from imapids.detect.fields import CATEGORIES, SHARED, lookup, tuple_getter
from imapids.detect.programs import Match, Program, Step
from imapids.detect.readings import layout_of
from imapids.detect.reasons import Explainer
from imapids.detect.rolling import Quiet, RollingAlerts, Subject, subject_of
from imapids.detect.windows import Hit, Windows, present_value
from imapids.protocols.text import safe_str
from imapids.records.alerts import LEVELS, Alert, Reason
from imapids.records.events import OPEN_SESSION, Event
from imapids.records.streams import Flow

if TYPE_CHECKING:
    from imapids.kernels._events import Feed

Reader = Callable[[Event], tuple[Any, ...]]
MatchWatcher = Callable[[Alert, Subject, Event, Sequence[Flow]], None]
"""Takes an alert, its subject, the event that matched, and the conversations that a correlation counted before it."""
_Some = tuple[list[int], list[Event], list[Step | None]]
"""Events of one kind: their places, they themselves, and the steps of their keys, as far as anybody has looked."""
_Due = tuple[int, str, int, Hit | None]
"""(urgency, rule id, place of the rule, what a correlation found)."""
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
        self._ready: dict[tuple[int, str], list[_Feed]] = {}
        self._plans: dict[tuple[int, ...], _Plan] = {}
        self._quiet: dict[tuple[int, ...], Quiet] = {}
        """What compiled loops do where just these rules hold; not there where they leave it to `_fire`."""
        self._whys = [_Why(rule.condition, rules.atoms) for rule in rules.rules]
        both: list[Rule | Correlation] = [*rules.rules, *rules.correlations]
        self._urgency: list[Any] = [
            (_URGENCY[item.info.level], item.info.id) if item.output else None for item in both
        ]
        self._not_fired = 0
        self._watcher: MatchWatcher | None = None
        self._counted: dict[tuple[int, tuple[Any, ...]], dict[int, tuple[int, Flow]]] = {}
        """With a watcher: conversations that correlations counted, and when, by correlation (its number) and group."""
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
            part = events[start : start + _AT_ONCE]
            some = part if isinstance(part, list) else list(part)
            matches, quiet = self._matches(some), self._quiet if self._watcher is None else {}
            at, done = self._alerts.counted_on(matches, 0, some, quiet)
            while at < len(matches):
                place, matched = matches[at]
                if isinstance(done, int):
                    self._fire(some[place], matched, out, done)
                else:
                    self._several(self._plans[matched].fed, done, some[place], out)
                at, done = self._alerts.counted_on(matches, at + 1, some, quiet)
            if self._alerts.told_early:
                for event in some:
                    if event.kind == "session" and event.flow is not None:
                        self._alerts.session_over(event.flow.flow_id, event, out)
        return out

    def _fire_early(self, event: Event, out: list[Alert]) -> None:
        """The rules of sessions about one that is still open; correlations count sessions when they are over."""
        session = Event("session", event.time_ns, event.body, event.flow, event.packet, event.known_ns)
        for _, matched in self._matches([session]):
            for _, _, place, _ in self._plan(matched).singles[: self._limits.alerts_per_event]:
                rule = self._rules.rules[place]
                self._alerts.fire_early(rule.info, subject_of(rule.subject, session), session, rule.labels,
                                        self._whys[place].reason, out)

    def _matches(self, events: list[Event]) -> list[Match]:
        """Places of the events for which rules hold, in order, with the places of those rules."""
        found: list[Match] = []
        for kind, (places, some, steps) in self._undecided(events, found).items():
            if kind == OPEN_SESSION:
                found += [(place, ()) for place in places]
                continue
            program = self._programs[kind] if kind in self._programs else self._program(kind)
            if program is not None:
                program.decide(some, places, steps, found)
        found.sort()
        return found

    def _undecided(self, events: list[Event], found: list[Match]) -> dict[str, _Some]:
        """The events that are not decided by what is known; `found` gets the matches of those that are."""
        if kernels.COMPILED:
            sieves = {kind: program.sieve for kind, program in self._programs.items() if program is not None}
            return kernels.events.sift(layout_of(Event), events, sieves, found)
        kinds: defaultdict[str, list[int]] = defaultdict(list)
        for place, event in enumerate(events):
            kinds[event.kind].append(place)
        return {kind: (places, [events[place] for place in places], []) for kind, places in kinds.items()}

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
            "detect-memo-full": sum(program.forgotten for program in self._programs.values() if program is not None),
        }
        return {name: count for name, count in found.items() if count}

    def _fire(self, event: Event, matched: tuple[int, ...], out: list[Alert], counted: int) -> None:
        """Count the matches of one event, the most severe first.

        Args:
            counted: so many of its rules that raise alerts are counted already.
        """
        if event.kind == OPEN_SESSION:
            self._fire_early(event, out)
            return
        plan = self._plans.get(matched) or self._plan(matched)
        todo = plan.singles
        if plan.feeding:
            hits: list[_Due] = []
            for place in plan.feeding:
                self._correlate(place, event, hits)
            if hits:
                todo = sorted([*hits, *todo], key=_by_urgency) if todo or len(hits) > 1 else hits
        if counted:
            todo = todo[counted:]
        if len(todo) > self._limits.alerts_per_event:
            self._not_fired += len(todo) - self._limits.alerts_per_event
            todo = todo[: self._limits.alerts_per_event]
        for _, _, place, hit in todo:
            if hit is None:
                self._single(place, event, out)
            else:
                self._several(place, hit, event, out)

    def _plan(self, matched: tuple[int, ...]) -> _Plan:
        """What to do where just these rules hold."""
        due: list[_Due] = [(*self._urgency[place], place, None) for place in matched if self._urgency[place]]
        due.sort(key=_by_urgency)
        feeding = [place for place in matched if place in self._feeds]
        fed = self._only_fed(feeding[0]) if len(feeding) == 1 and not due else None
        if len(self._plans) >= self._limits.memo_entries:
            self._plans.clear()
            self._quiet.clear()
        plan = self._plans[matched] = _Plan(feeding, due, len(self._rules.rules) + fed if fed is not None else -1)
        if fed is not None and kernels.COMPILED:
            self._quiet[matched] = self._compiled_feed(feeding[0])
        elif due and not feeding and len(due) <= self._limits.alerts_per_event:
            self._quiet[matched] = tuple([(rule, self._rules.rules[place].subject) for _, rule, place, _ in due])
        return plan

    def _only_fed(self, place: int) -> int | None:
        """The one correlation that builds on a rule, if it counts events by fields of their flows and does nothing but
        raise alerts."""
        if len(self._feeds[place]) != 1 or self._limits.alerts_per_event < 1:
            return None
        correlation, _ = self._feeds[place][0]
        rule = self._rules.correlations[correlation]
        fed_on = len(self._rules.rules) + correlation in self._feeds
        by_flow = all(name in SHARED and SHARED[name].origin == "flow" for name in rule.group_by)
        plain = rule.output and not rule.fields and not rule.aliases
        return correlation if plain and by_flow and not fed_on else None

    def _compiled_feed(self, place: int) -> Feed:
        """Feeds the one correlation that builds on a rule."""
        correlation, base = self._feeds[place][0]
        rule = self._rules.correlations[correlation]
        names = tuple([SHARED[name].path[0] for name in rule.group_by])
        return self._windows[correlation].compiled_feed(base, names, self._title(place),
                                                        ((rule.info.id, rule.subject),))

    def _single(self, place: int, event: Event, out: list[Alert]) -> None:
        rule = self._rules.rules[place]
        subject = subject_of(rule.subject, event)
        alert = self._alerts.fire(rule.info, subject, event, rule.labels, self._whys[place].reason, out)
        if self._watcher is not None:
            self._watcher(alert, subject, event, ())

    def _several(self, place: int, hit: Hit, event: Event, out: list[Alert]) -> None:
        rule = self._rules.correlations[place - len(self._rules.rules)]
        if self._watcher is None and self._alerts.counted(((rule.info.id, rule.subject),), event):
            return
        subject: Subject
        if rule.subject:
            subject = subject_of(rule.subject, event)
        else:
            subject = ("group", *((name, safe_str(as_text(value))) for name, value in
                                  zip(rule.group_by, hit.group, strict=True)))
        alert = self._alerts.fire(rule.info, subject, event, rule.labels, lambda _event: _why_several(rule, hit), out,
                                  first_ns=hit.first_ns)
        if self._watcher is not None:
            counted = self._counted.pop((place, hit.group), {})
            self._watcher(alert, subject, event,
                          [flow for time_ns, flow in counted.values() if time_ns >= hit.first_ns])

    def _correlate(self, place: int, event: Event, hits: list[_Due]) -> None:
        """Feed a match to the correlations that build on it; what holds is fed on (there are no circles)."""
        feeds = self._ready.get((place, event.kind))
        if feeds is None:
            feeds = self._ready[place, event.kind] = self._make_feeds(place, event.kind)
        for number, windows, base, read_group, read_value, title, urgency in feeds:
            key = read_group(event)
            if (base or self._watcher is not None) and not windows.wants(base, key):  # `feed` asks the first alike
                continue
            if self._watcher is not None and event.flow is not None and len(self._counted) < self._limits.groups:
                self._counted.setdefault((number, key), {})[event.flow.flow_id] = event.time_ns, event.flow
            value = None if read_value is None else present_value(read_value(event))
            hit = windows.feed(base, key, value, event, title)
            if hit is None:
                continue
            if urgency is not None:
                hits.append((*urgency, number, hit))
            if number in self._feeds:
                self._correlate(number, event, hits)

    def _make_feeds(self, place: int, kind: str) -> list[_Feed]:
        """The correlations that a rule feeds, with readers of their fields for events of this kind."""
        feeds = []
        for correlation, base in self._feeds[place]:
            rule = self._rules.correlations[correlation]
            group = [rule.aliases[name][base] if name in rule.aliases else name for name in rule.group_by]
            number = len(self._rules.rules) + correlation
            feeds.append(_Feed(number, self._windows[correlation], base, _reader_of(kind, group),
                               _reader_of(kind, rule.fields) if rule.fields else None, self._title(place),
                               self._urgency[number]))
        return feeds

    def _title(self, place: int) -> str:
        count = len(self._rules.rules)
        return self._rules.rules[place].info.title if place < count else (
            self._rules.correlations[place - count].info.title)


class _Feed(NamedTuple):
    """A correlation that a rule feeds."""

    number: int
    """Its place behind all rules."""
    windows: Windows
    base: int
    read_group: Reader
    read_value: Reader | None
    title: str
    """Of the rule that feeds it."""
    urgency: tuple[int, str] | None
    """None where it raises no alert."""


class _Plan(msgspec.Struct, frozen=True):
    """What to do where just certain rules hold."""

    feeding: list[int]
    """Those that correlations build on."""
    singles: list[_Due]
    """Those that raise alerts, the most severe first."""
    fed: int
    """The one correlation that compiled loops can feed (its number), where nothing else is to do; else -1."""


class _Why:
    """Why a rule holds: its explainer for each kind of event, made when the first alert is due."""

    def __init__(self, condition: Node, atoms: list[Atom]) -> None:
        self._condition = condition
        self._atoms = atoms
        self._explainers: dict[str, Explainer] = {}

    def reason(self, event: Event) -> Reason:
        """The tree of conditions with what held."""
        explainer = self._explainers.get(event.kind)
        if explainer is None:
            explainer = self._explainers[event.kind] = Explainer(self._condition, self._atoms, event.kind)
        return explainer.reason(event)


def _by_urgency(item: _Due) -> tuple[int, str]:
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


