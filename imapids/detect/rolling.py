"""One rolling alert for each (rule, subject): new, then updates at 10, 100, 1,000 ... times, then final."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from imapids import kernels
from imapids.config import DetectLimits
from imapids.detect.readings import layout_of
from imapids.detect.windows import Hit
from imapids.protocols import display_filters
from imapids.protocols.firewall_lines import closing_line
from imapids.protocols.identifiers import short_hash
from imapids.records.alerts import Alert, Reason, RuleInfo
from imapids.records.events import EVENT_TYPES, Event, Exposure, Session
from imapids.records.streams import Flow

if TYPE_CHECKING:
    from imapids.kernels._events import Feed, Recount

Subject = tuple[Any, ...]
Quiet: TypeAlias = "tuple[tuple[str, str], ...] | Feed"
"""What is done with matches of certain rules: they are counted, (rule id, kind of subject) each, or fed to the one
correlation that builds on them."""
_CASES = 1_024
"""Cases remembered: several rules hold for the same one shortly after each other."""


_FIELDS = {"case": ("client", "server", "server_port"), "source": ("client",), "server": ("server", "server_port"),
           "flow": ("flow_id",)}
"""Subjects that are fields of the flow."""


def subject_of(kind: str, event: Event) -> Subject:
    """What the alert is about, by the rule's `subject`."""
    flow = event.flow
    if flow is None:
        return ("run",)
    if kind == "case":
        return ("case", flow.client, flow.server, flow.server_port)
    if kind == "source":
        return ("source", flow.client)
    if kind == "server":
        return ("server", flow.server, flow.server_port)
    if kind == "flow":
        return ("flow", flow.flow_id)
    return ("user", getattr(event.body, "user", "") or flow.client, flow.server)


def subject_text(subject: Subject) -> str:
    """The subject as people read it."""
    kind = subject[0]
    if kind == "case":
        return f"{subject[1]} -> {_host(subject[2])}:{subject[3]}"
    if kind == "server":
        return f"{_host(subject[1])}:{subject[2]}"
    if kind == "flow":
        return f"flow {subject[1]}"
    if kind == "user":
        return f"{subject[1]} at {subject[2]}"
    if kind == "group":
        return ", ".join(f"{name}={value}" for name, value in subject[1:]) or "all"
    return str(subject[-1])  # a source, or the run


def _display_filter(subject: Subject, flow: Flow | None, kind: str) -> str:
    """What shows the alert's packets in Wireshark."""
    if flow is None:
        return ""
    about = subject[0]
    if about == "source":
        return display_filters.of_client(flow, any_port=kind == "scan")
    if about in ("server", "user"):
        return display_filters.of_server(flow)
    if about == "flow":
        return display_filters.of_flow(flow)
    if about == "group":
        names = {name for name, _ in subject[1:]}
        if "src_ip" in names and "dest_ip" not in names:
            return display_filters.of_client(flow)
        if "src_ip" not in names:
            return display_filters.of_server(flow)
    return display_filters.of_pair(flow)


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def case_of(flow: Flow | None) -> str:
    """Everything about one (client, server, server port) has the same case: 12 hex digits."""
    if flow is None:
        return short_hash("run", size=6)
    return _case(flow.client, flow.server, flow.server_port)


@functools.lru_cache(_CASES)
def _case(client: str, server: str, port: int) -> str:
    return short_hash(f"{client}|{server}|{port}", size=6)


STILL_OPEN = "session-open"
"""Label of an alert about a session that goes on: it may become something else, and its counts grow."""
REVISED = "verdict-revised"
"""Label of the last line of an alert that a session raised while it was open, and that did not hold at its end."""


class _Open(msgspec.Struct):
    """A rolling alert that has begun."""

    alert: Alert
    """As last written; kept for its first event, why and identity."""
    count: int
    last_ns: int
    next_update: int


class RollingAlerts:
    """The alerts of a run. `fire` counts a match and gives the line to write, if one is due."""

    def __init__(self, limits: DetectLimits) -> None:
        self._limits = limits
        self._open: OrderedDict[tuple[str, Subject], _Open] = OrderedDict()  # the quietest first
        self.told_early: dict[int, list[tuple[str, Subject]]] = {}
        """The alerts that sessions raised while they were open, by flow_id; they were counted then."""
        self.closed_early = 0
        """Alerts that got their `final` line because too many were open."""

    @cached_property
    def _recount(self) -> Recount:
        return kernels.events.Recount(layout_of(Event), layout_of(Flow), layout_of(_Open), self._open,
                                      self._limits.alert_idle_ns, _FIELDS)

    def counted(self, rules: tuple[tuple[str, str], ...], event: Event) -> int:
        """How many of these matches, (rule id, kind of subject) each, are counted with nothing more to do, from the
        first on. All others are for `fire`; it may have to do with all of them."""
        if self.told_early or not kernels.COMPILED:
            return 0
        return self._recount.counted(rules, event)

    def counted_on(self, matches: list[tuple[int, tuple[int, ...]]], start: int, events: list[Event],
                   quiet: dict[tuple[int, ...], Quiet]) -> tuple[int, int | Hit]:
        """The first of many matches, from `start` on, with which more is to be done, and what is done with it: how
        many of its rules are counted, or the hit of the correlation that it fed.

        Args:
            matches: (place of the event, rules that hold) of each.
        """
        if self.told_early or not kernels.COMPILED:
            return start, 0
        return self._recount.counted_on(matches, start, events, quiet)

    def fire(self, info: RuleInfo, subject: Subject, event: Event, labels: list[str],
             why: Callable[[Event], Reason], out: list[Alert], first_ns: int = 0) -> Alert:
        """A rule held: count it; `out` gets the lines that are due. `first_ns`: where the matched span began.

        Returns the alert's first line.
        """
        key = (info.id, subject)
        time_ns = event.time_ns
        state = self._open.get(key)
        if self.told_early and self._was_told(key, event) and state is not None:
            return self._completed(state, info, subject, event, labels, why)
        if state is not None:
            if time_ns - state.last_ns <= self._limits.alert_idle_ns:
                self._open.move_to_end(key)
                state.count += 1
                if time_ns > state.last_ns:
                    state.last_ns = time_ns
                if state.count >= state.next_update:
                    state.next_update *= 10
                    out.append(_again(state, "update", time_ns))
                return state.alert
            out.append(_final(self._open.pop(key), event.known_ns or time_ns))
        if len(self._open) >= self._limits.open_alerts:
            self._close_quietest(event, out)
        alert = _new(info, subject, event, labels, why(event), first_ns or time_ns)
        self._open[key] = _Open(alert, 1, time_ns, 10)
        out.append(alert)
        return alert

    def fire_early(self, info: RuleInfo, subject: Subject, event: Event, labels: list[str],
                   why: Callable[[Event], Reason], out: list[Alert]) -> None:
        """A rule holds for a session that is still open: tell now what `fire` counts no more when the session is over.

        Where it holds again for a session that is something else by now, an `update` says so.
        """
        key, flow_id = (info.id, subject), event.flow.flow_id if event.flow is not None else 0
        state = self._open.get(key)
        keys = self.told_early.get(flow_id, [])
        if key in keys and state is not None:
            self._completed(state, info, subject, event, labels, why)
            out.append(_again(state, "update", event.known_ns))
        elif len(self.told_early) < self._limits.open_alerts:
            self.fire(info, subject, event, [*labels, STILL_OPEN], why, out)
            self.told_early[flow_id] = [*keys, key]

    def _was_told(self, key: tuple[str, Subject], event: Event) -> bool:
        """Whether a session that is over now raised this alert while it was open."""
        keys = self.told_early.get(event.flow.flow_id) if event.kind == "session" and event.flow is not None else None
        if not keys or key not in keys:
            return False
        keys.remove(key)
        return True

    def _completed(self, state: _Open, info: RuleInfo, subject: Subject, event: Event, labels: list[str],
                   why: Callable[[Event], Reason]) -> Alert:
        """Puts the facts of now into an alert that this session began, under the identity that it has."""
        alert = state.alert
        state.last_ns = max(state.last_ns, event.time_ns)
        if alert.flow is not None and event.flow is not None and alert.flow.flow_id == event.flow.flow_id:
            state.alert = msgspec.structs.replace(
                _new(info, subject, event, labels, why(event), alert.first_ns), id=alert.id)
        return state.alert

    def session_over(self, flow_id: int, event: Event, out: list[Alert]) -> None:
        """A session is over: the alerts that it raised while it was open and that do not hold at its end are closed."""
        for key in self.told_early.pop(flow_id, ()):
            state = self._open.get(key)
            if state is None:
                continue
            state.count -= 1
            if not state.count:
                del self._open[key]
                state.alert = msgspec.structs.replace(state.alert, labels=[*state.alert.labels, REVISED])
                out.append(_final(state, event.known_ns or event.time_ns))

    def _close_quietest(self, event: Event, out: list[Alert]) -> None:
        key = next(iter(self._open))
        out.append(_final(self._open.pop(key), event.known_ns or event.time_ns))
        self.closed_early += 1

    def finish(self, time_ns: int) -> list[Alert]:
        """The `final` lines of all open alerts, in the order in which they began."""
        found = [_final(state, time_ns) for state in self._open.values()]
        self._open.clear()
        return sorted(found, key=lambda alert: (alert.first_ns // 1000, alert.id))


def _final(state: _Open, time_ns: int) -> Alert:
    return _again(state, "final", max(time_ns, state.last_ns))


def _again(state: _Open, word: str, time_ns: int) -> Alert:
    return msgspec.structs.replace(state.alert, state=word, count=state.count, last_ns=state.last_ns, time_ns=time_ns)


def _new(info: RuleInfo, subject: Subject, event: Event, labels: list[str], why: Reason, first_ns: int) -> Alert:
    flow, body = event.flow, event.body
    direction = getattr(body, "direction", "") or (flow.direction if flow else "unknown")
    moment = event.time_ns // 1000  # what a saved line holds of it: rules over saved events give the same ids
    alert = Alert(
        id=short_hash(f"{info.id}|{subject!r}|{moment}|{flow.flow_id if flow else 0}"), state="new", rule=info,
        subject=subject_text(subject), case=case_of(flow), time_ns=event.time_ns, first_ns=first_ns,
        last_ns=event.time_ns, count=1, flow=flow, packet=_first_packet(why) or event.packet, event=event.kind,
        why=why, labels=labels,
    )
    alert.direction, alert.context = direction, _context(event)  # more than fifteen keywords would cost a dictionary
    alert.display_filter = _display_filter(subject, flow, event.kind)
    if isinstance(body, Session):
        alert.verdict, alert.confidence = body.verdict, body.confidence
        alert.protocol, alert.shape = body.protocol or "", body.shape or ""
    return alert


def _first_packet(why: Reason) -> int:
    """The packet of the first condition that names one."""
    if why.packet and why.held:
        return why.packet
    for reason in why.because:
        packet = _first_packet(reason)
        if packet:
            return packet
    return 0


_CONTEXT = ("user", "mechanism", "outcome", "name", "tag", "result", "arguments", "greeting", "software",
            "client_software", "sni", "ja4", "mailbox", "criteria", "reason", "rule", "value", "source")
"""Facts of an event that its alert repeats, where it has them."""


_CONTEXT_OF = {body: tuple(name for name in _CONTEXT if name in body.__struct_fields__) for body in EVENT_TYPES}


def _context(event: Event) -> dict[str, str]:
    body = event.body
    facts = {name: value for name in _CONTEXT_OF[type(body)] if isinstance(value := getattr(body, name), str) and value}
    if isinstance(body, Exposure) and body.state == "open" and event.flow is not None:
        inside = [network for network in body.networks if network not in body.networks_asking]
        line = closing_line(event.flow.server, event.flow.server_port, event.flow.protocol.lower(), inside)
        facts |= {"firewall": line} if line else {}
    return facts
