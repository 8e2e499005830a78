"""What a report is made of: counts of everything, and the gravest of each kind, within fixed memory."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from typing import Any

from imapids.desk.cases import GRAVITY, CaseBook
from imapids.records.alerts import Alert
from imapids.records.events import Beacon, Capture, Event, Exposure, Login, Scan, Session

CASES_HELD = 5_000
"""Alerts, and cases, that are remembered; beyond them the least severe ones are only counted."""
SESSIONS_SHOWN = 2_000
"""Rows of the table of sessions: more make browsers slow, and whoever needs them all has the JSON lines."""
NAMES_COUNTED = 64
"""Different protocols counted by name: names are a closed list, but saved events may say anything."""
SOURCES_COUNTED = 4_096
"""Clients whose logins are counted one by one."""
SUBJECTS_HELD = 2_000
"""Lines of the exposure sheet; pairs with a beacon score; scanners."""
BINS_HELD = 2_048
"""Bars of the timeline before neighbours are put together; the chart joins them to 60 and fewer."""
_FIRST_BIN_NS = 10**9


class Timeline:
    """Counts by time and verdict; the bins grow with the span, so that their number stays bounded."""

    def __init__(self) -> None:
        self.width_ns = _FIRST_BIN_NS
        self.counts: Counter[tuple[int, str]] = Counter()

    def add(self, time_ns: int, verdict: str) -> None:
        """One session."""
        self.counts[time_ns // self.width_ns, verdict] += 1
        if len(self.counts) > BINS_HELD:
            self._widen()

    def _widen(self) -> None:
        """Joins bins until half of the room is free; bins of one moment cannot be joined, and are few."""
        while len(self.counts) > BINS_HELD // 2 and self.width_ns < 2**62:
            self.width_ns *= 2
            joined: Counter[tuple[int, str]] = Counter()
            for (number, verdict), count in self.counts.items():
                joined[number // 2, verdict] += count
            self.counts = joined

    def rows(self) -> list[tuple[int, str, int]]:
        """(time in ns, verdict, sessions) in order."""
        return [(number * self.width_ns, verdict, count) for (number, verdict), count in sorted(self.counts.items())]


class Latest:
    """The newest event of each subject, of a bounded number of them: the one that ranks lowest makes room."""

    def __init__(self, most: int = SUBJECTS_HELD) -> None:
        self.most = most
        self.left_out = 0
        """Events that were let go, or not held."""
        self._held: dict[tuple[Any, ...], tuple[float, Event]] = {}
        self._ranks: list[tuple[float, tuple[Any, ...]]] = []
        """A heap; entries that an event of the same subject has replaced stay in it until they come up."""

    def add(self, key: tuple[Any, ...], rank: float, event: Event) -> None:
        """`rank`: how much the event is worth showing."""
        if key not in self._held and len(self._held) >= self.most:
            self.left_out += 1
            lowest = self._lowest()
            if rank <= lowest[0]:
                return
            heapq.heappop(self._ranks)
            del self._held[lowest[1]]
        self._held[key] = rank, event
        heapq.heappush(self._ranks, (rank, key))
        if len(self._ranks) > 4 * self.most:
            self._ranks = [(held, other) for other, (held, _) in self._held.items()]
            heapq.heapify(self._ranks)

    def _lowest(self) -> tuple[float, tuple[Any, ...]]:
        while True:
            rank, key = self._ranks[0]
            if key in self._held and self._held[key][0] == rank:
                return rank, key
            heapq.heappop(self._ranks)

    @property
    def events(self) -> list[Event]:
        """Those that are held, the highest rank first."""
        return [event for _, event in sorted(self._held.values(), key=lambda pair: (-pair[0], pair[1].time_ns))]


class Digest:
    """A sink that keeps what a report shows."""

    def __init__(self) -> None:
        self.book = CaseBook(CASES_HELD)
        self.findings: Counter[str] = Counter()
        """Alerts by level."""
        self.verdicts: Counter[tuple[str, str]] = Counter()
        """Sessions by direction and verdict."""
        self.natures: Counter[str] = Counter()
        """Sessions by protocol or shape."""
        self.timeline = Timeline()
        self.logins: Counter[tuple[str, str]] = Counter()
        """Attempts by source and outcome."""
        self.logins_left_out = 0
        self.beacons, self.scans, self.exposure = Latest(), Latest(), Latest()
        self.capture: Event | None = None
        self._sources: set[str] = set()
        self._sessions: dict[str, list[Event]] = {verdict: [] for verdict in GRAVITY}

    def write(self, items: Sequence[Event | Alert]) -> None:
        """Takes results, in order."""
        for item in items:
            if isinstance(item, Alert):
                self.findings[item.rule.level] += item.state == "new"
                self.book.see_alert(item)
                continue
            body = item.body
            if isinstance(body, Session):
                self._session(item, body)
            elif isinstance(body, Login):
                self._login(item, body)
            elif isinstance(body, Beacon):
                self.beacons.add((*_pair(item), body.over), body.score, item)
            elif isinstance(body, Exposure):
                rank = 4 * ("wan" in body.open_to) + 2 * (body.state == "open") + (body.state == "closed")
                self.exposure.add(_pair(item)[1:], rank, item)
            elif isinstance(body, Scan):
                self.scans.add((body.by, body.network, *_pair(item)), body.hosts + body.knocks, item)
            elif isinstance(body, Capture):
                self.capture = item

    def close(self) -> None:
        """Nothing is open."""

    def _session(self, event: Event, body: Session) -> None:
        self.book.see_session(event, body)
        self.verdicts[body.direction, body.verdict] += 1
        self.timeline.add(event.time_ns, body.verdict)
        if body.verdict != "silent":
            nature = body.protocol or body.shape or "unknown"
            if nature not in self.natures and len(self.natures) >= NAMES_COUNTED:
                nature = "others"
            self.natures[nature] += 1
        held = self._sessions.setdefault(body.verdict if body.verdict in GRAVITY else "undecided", [])
        if len(held) < SESSIONS_SHOWN:
            held.append(event)

    def _login(self, event: Event, body: Login) -> None:
        source = event.flow.client if event.flow is not None else ""
        if source not in self._sources:
            if len(self._sources) >= SOURCES_COUNTED:
                self.logins_left_out += 1
                return
            self._sources.add(source)
        self.logins[source, body.outcome] += 1

    @property
    def sessions(self) -> list[Event]:
        """The sessions to show: the gravest verdicts first, each in order of time."""
        ordered = sorted(self._sessions, key=lambda verdict: -GRAVITY[verdict])
        return [event for verdict in ordered for event in self._sessions[verdict]][:SESSIONS_SHOWN]

    @property
    def sessions_in_all(self) -> int:
        """All sessions, shown or not."""
        return self.verdicts.total()


def _pair(event: Event) -> tuple[str, str, int]:
    flow = event.flow
    return (flow.client, flow.server, flow.server_port) if flow is not None else ("", "", 0)
