"""Cases: everything about one (client, server, server port) as one story, which is what an analyst works on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from imapids.detect.rolling import case_of
from imapids.records.alerts import LEVELS, Alert
from imapids.records.events import Event, Session
from imapids.records.streams import Flow

RANK = {level: rank for rank, level in enumerate(LEVELS)}
GRAVITY = {verdict: rank for rank, verdict in enumerate(("silent", "genuine", "undecided", "not-imap", "mimic"))}
"""From the verdict that says least to the one that says most about a case."""


class Case(msgspec.Struct, kw_only=True):
    """One case: who, what it is, how grave, and the alerts about it."""

    case: str
    """Hash of client, server and server port: 12 hex digits, the same in alerts and in every frame."""
    client: str = ""
    server: str = ""
    server_port: int | None = None
    proto: str = ""
    direction: str = "unknown"
    level: str = ""
    """Highest level of its alerts; missing without alerts."""
    title: str = ""
    """Title of the gravest alert."""
    alerts: int = 0
    """Different alerts (a rolling alert counts once)."""
    sessions: int = 0
    verdict: str = ""
    """The gravest verdict of its sessions: mimic, not-imap, undecided, genuine, silent."""
    protocol: str = ""
    """Protocol, or else shape, of the session with that verdict."""
    packets: int = 0
    bytes_client: int = 0
    bytes_server: int = 0
    first_ns: int = 0
    """When its first session or alert began."""
    last_ns: int = 0
    """Latest start of a session or time of an alert."""
    techniques: list[str] = []
    """ATT&CK techniques of its alerts."""
    advice: str = ""
    """What to do, by the rule of the gravest alert."""
    alert_ids: list[str] = []
    flow_id: int | None = None
    """The conversation to look at first: that of the gravest alert, or else of the gravest verdict."""


class _Tally(msgspec.Struct):
    """What the sessions of a case sum up to."""

    flow: Flow
    direction: str
    verdict: str
    protocol: str
    first_ns: int
    last_ns: int
    sessions: int = 0
    packets: int = 0
    bytes_client: int = 0
    bytes_server: int = 0


class CaseBook:
    """Collects sessions and alerts in any order, and tells the cases; bounded where `most` is given."""

    def __init__(self, most: int | None = None) -> None:
        """`most`: alerts, and cases, that are held; the least severe alerts go first."""
        self._most = most
        self._tallies: dict[str, _Tally] = {}
        self._alerts: dict[str, dict[str, Alert]] = {level: {} for level in LEVELS}
        self._held = 0
        self.left_out: Counter[str] = Counter()
        """Alerts that are not held, by level."""
        self.sessions_left_out = 0
        """Sessions of cases that are not held."""

    def see_session(self, event: Event, body: Session) -> None:
        """A session event."""
        flow = event.flow
        if flow is None:
            return
        key = case_of(flow)
        tally = self._tallies.get(key)
        if tally is None:
            if self._most is not None and len(self._tallies) >= self._most:
                self.sessions_left_out += 1
                return
            tally = self._tallies[key] = _Tally(flow, body.direction, body.verdict, body.protocol or body.shape or "",
                                                event.time_ns, event.time_ns)
        elif GRAVITY.get(body.verdict, 0) > GRAVITY.get(tally.verdict, 0):
            tally.flow, tally.verdict, tally.protocol = flow, body.verdict, body.protocol or body.shape or ""
        tally.sessions += 1
        tally.packets += body.packets
        tally.bytes_client += body.bytes_client
        tally.bytes_server += body.bytes_server
        tally.first_ns, tally.last_ns = min(tally.first_ns, event.time_ns), max(tally.last_ns, event.time_ns)

    def see_alert(self, alert: Alert) -> None:
        """A line of an alert: the last one of each id is kept."""
        level = alert.rule.level if alert.rule.level in RANK else LEVELS[0]
        held = self._alerts[level]
        if alert.id in held:
            held[alert.id] = alert
        elif self._make_room(level, alert):
            held[alert.id] = alert
            self._held += 1

    def _make_room(self, level: str, alert: Alert) -> bool:
        if self._most is None or self._held < self._most:
            return True
        least = next(name for name in LEVELS if self._alerts[name])
        if RANK[level] <= RANK[least]:
            self.left_out[level] += alert.state == "new"
            return False
        self._alerts[least].popitem()
        self._held -= 1
        self.left_out[least] += 1
        return True

    @property
    def alerts(self) -> list[Alert]:
        """The alerts that are held, in their last state: the highest level first, then in order of time."""
        return [alert for level in reversed(LEVELS)
                for alert in sorted(self._alerts[level].values(), key=lambda alert: (alert.first_ns, alert.id))]

    def cases(self, *, with_alerts_only: bool = False) -> list[Case]:
        """The cases, the gravest first: by level, by number of alerts, by verdict, then by time."""
        by_case: dict[str, list[Alert]] = {}
        for alert in self.alerts:
            by_case.setdefault(alert.case, []).append(alert)
        keys: Iterable[str] = by_case if with_alerts_only else dict.fromkeys((*by_case, *self._tallies))
        cases = [_case(key, by_case.get(key, []), self._tallies.get(key)) for key in keys]
        return sorted(cases, key=lambda case: (-RANK.get(case.level, -1), -case.alerts,
                                               -GRAVITY.get(case.verdict, -1), case.first_ns, case.case))


def _case(key: str, alerts: list[Alert], tally: _Tally | None) -> Case:
    case = Case(case=key, alerts=len(alerts), alert_ids=[alert.id for alert in alerts])
    if tally is not None:
        case.sessions, case.packets = tally.sessions, tally.packets
        case.bytes_client, case.bytes_server = tally.bytes_client, tally.bytes_server
        case.verdict, case.protocol, case.direction = tally.verdict, tally.protocol, tally.direction
    flow = tally.flow if tally is not None else None
    if alerts:
        worst = alerts[0]
        flow = next((alert.flow for alert in alerts if alert.flow is not None), flow)
        case.level, case.title, case.advice = worst.rule.level, worst.rule.title, worst.rule.advice
        case.techniques = sorted({technique for alert in alerts for technique in alert.rule.techniques})
        if tally is None:
            known = next((alert for alert in alerts if alert.verdict), worst)
            case.verdict, case.protocol, case.direction = known.verdict, known.protocol or known.shape, worst.direction
    if flow is not None:
        case.client, case.server, case.server_port = flow.client, flow.server, flow.server_port
        case.proto, case.flow_id = flow.protocol, flow.flow_id
    times = [*(alert.first_ns for alert in alerts), *((tally.first_ns,) if tally is not None else ())]
    ends = [*(alert.last_ns for alert in alerts), *((tally.last_ns,) if tally is not None else ())]
    case.first_ns, case.last_ns = min(times), max(ends)
    return case
