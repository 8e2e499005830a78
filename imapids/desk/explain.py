"""What happened in one session: found in a first reading of the capture, shown from a second one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from imapids.capture import open_captures
from imapids.desk.transcript import Line, Transcript
from imapids.desk.turns import Turn, Turns
from imapids.errors import InputError, UsageError
from imapids.pipeline import Pipeline
from imapids.records.alerts import LEVELS, Alert
from imapids.records.events import Event, Session
from imapids.records.streams import Flow, FlowUpdate
from imapids.run.local import analyze
from imapids.run.options import RunOptions

KEPT_FLOWS = 4_096
"""Flows with alerts whose sessions are remembered; further ones count less than the worst of these."""
_VERDICTS = ("silent", "genuine", "undecided", "not-imap", "mimic")
"""From what needs no explanation to what needs one most."""


class Explanation(NamedTuple):
    """One session with all that explains it."""

    session: Event
    alerts: list[Alert]
    lines: list[Line]
    left_out: int
    """Lines of the dialogue that are not kept."""
    gap_at: int
    """Index of the first line after those that are not kept."""
    turns: list[Turn] = []
    """Who sent how much, in turn."""


def explain(paths: Sequence[str], options: RunOptions, *, flow_id: int | None = None, alert_id: str | None = None,
            stop: Callable[[], bool] | None = None) -> Explanation:
    """The session with this flow id, or the one of this alert, or else the worst case of the captures.

    Raises InputError where the captures hold no such session, UsageError for standard input (it can be read only once).
    """
    if "-" in paths:
        raise UsageError("explain reads the capture twice: write standard input to a file first.")
    chooser = _Chooser(flow_id, alert_id)
    analyze(paths, msgspec.structs.replace(options, events=frozenset({"session", "alert"})), chooser, stop=stop)
    session, alerts = chooser.choice()
    return read_dialogue(paths, options, session, alerts, stop)


class _Chooser:
    """A sink that keeps the session that was asked for, or the worst one."""

    def __init__(self, flow_id: int | None, alert_id: str | None) -> None:
        self.flow_id = flow_id
        self.alert_id = alert_id
        self.alerts: dict[int, list[Alert]] = {}
        self.sessions: dict[int, Event] = {}
        """Sessions of flows with alerts, and those of the newest call of `write`."""
        self.worst: tuple[tuple[int, int], Event] | None = None
        """Without any alert: the session whose verdict needs an explanation most, the first of its kind."""

    def write(self, items: Sequence[Event | Alert]) -> None:
        newest: dict[int, Event] = {}
        for item in items:
            if isinstance(item, Alert):
                self._alert(item)
            elif isinstance(item.body, Session) and item.flow is not None:
                newest[item.flow.flow_id] = item
                self._session(item, item.body, item.flow)
        if newest:
            self.sessions = {key: event for key, event in self.sessions.items() if key in self.alerts} | newest

    def close(self) -> None:
        """Nothing is open."""

    def _session(self, event: Event, body: Session, flow: Flow) -> None:
        if self.flow_id is not None and flow.flow_id != self.flow_id:
            return
        rank = (_VERDICTS.index(body.verdict), body.bytes_client + body.bytes_server > 0)
        if self.worst is None or rank > self.worst[0]:
            self.worst = rank, event

    def _alert(self, alert: Alert) -> None:
        if alert.flow is None or alert.state != "new":
            return
        key = alert.flow.flow_id
        if key in self.alerts or len(self.alerts) < KEPT_FLOWS:
            self.alerts.setdefault(key, []).append(alert)

    def choice(self) -> tuple[Event, list[Alert]]:
        """The session to explain and its alerts, the highest level first."""
        if self.alert_id is not None:
            found = [key for key, alerts in self.alerts.items() if any(alert.id == self.alert_id for alert in alerts)]
            if not found:
                raise InputError(f"no alert {self.alert_id} about a session in these captures")
            return self._of(found[0])
        if self.flow_id is not None:
            if self.worst is None:
                raise InputError(f"no session with flow id {self.flow_id} in these captures")
            return self.worst[1], self._alerts_of(self.flow_id)
        ranked = sorted(((LEVELS.index(alert.rule.level), -alert.first_ns, key) for key, alerts in self.alerts.items()
                         for alert in alerts if key in self.sessions), reverse=True)
        if ranked:
            return self._of(ranked[0][2])
        if self.worst is None:
            raise InputError("no session in these captures: nothing on a watched port, and no IMAP elsewhere")
        event = self.worst[1]
        return event, self._alerts_of(event.flow.flow_id) if event.flow is not None else []

    def _of(self, key: int) -> tuple[Event, list[Alert]]:
        if key not in self.sessions:
            raise InputError(f"the session of flow {key} is not in these captures")
        return self.sessions[key], self._alerts_of(key)

    def _alerts_of(self, key: int) -> list[Alert]:
        return sorted(self.alerts.get(key, []), key=lambda alert: -LEVELS.index(alert.rule.level))


def read_dialogue(paths: Sequence[str], options: RunOptions, session: Event, alerts: list[Alert],
                  stop: Callable[[], bool] | None = None) -> Explanation:
    """Reads captures for the dialogue of one session, whose event an earlier reading gave.

    Raises InputError where none of them can be read.
    """
    assert isinstance(session.body, Session)
    assert session.flow is not None
    transcript, turns = Transcript(session.body, options.limits.dialogue), Turns()
    flow = session.flow

    def show(update: FlowUpdate) -> None:
        if update.flow.flow_id == flow.flow_id:
            turns.feed(update.pieces)
            transcript.feed(update.pieces)

    pipeline = Pipeline(options.limits, kinds=("session",), home_nets=options.home_nets, watch_tcp=options.watch_tcp,
                        watch_udp=options.watch_udp, hosts=(flow.client,), since_ns=options.since_ns,
                        until_ns=options.until_ns, on_update=show)
    with open_captures(paths, limits=options.limits.capture, stop=stop) as reader:
        for batch in reader:
            if stop is not None and stop():
                break
            for _ in pipeline.feed(batch):
                pass
    for _ in pipeline.finish():
        pass
    return Explanation(session, alerts, transcript.lines, transcript.left_out, transcript.gap_at, turns.turns)
