"""Who tries to sign in again and again: counts by source, by user and by server, in an hour and in a day.

Only failures open a window, so that a network without them costs nothing. Nothing is told twice: of a day only where
its attempts spread over more than an hour, of a user or server only where several sources tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from imapids import kernels
from imapids.config import ObserveLimits
from imapids.observe.attempts import Attempts, FirstFailure
from imapids.observe.fields import sign_ins
from imapids.observe.groups import STEPS, Groups, Values
from imapids.observe.observer import Told
from imapids.observe.shared_secrets import SharedSecrets
from imapids.records.events import MINUTE, Event, Login
from imapids.records.flows import EndedFlows

TOLD_ATTEMPTS = 3
"""Fewer are not told of: their `login` events say all."""

_Key = tuple[str, str, str | int]
_Groups = Groups[_Key, Attempts | FirstFailure]
_packet = itemgetter(0)


class Logins:
    """`login` events in, `guessing` events out."""

    kinds = frozenset({"login", MINUTE})
    makes = frozenset({"guessing"})
    wants_flows = False

    def __init__(self, limits: ObserveLimits) -> None:
        self._hour: _Groups = Groups(limits.hour_ns, limits.groups)
        self._day: _Groups = Groups(limits.day_ns, limits.groups)
        self._values = Values(limits.values, limits.group_values)
        self._secrets = SharedSecrets(limits)
        self._clock_ns = 0

    @property
    def limits_hit(self) -> dict[str, int]:
        """Limits that were hit, and how often."""
        return {"observe-login-groups": self._hour.dropped + self._day.dropped,
                "observe-login-values": self._values.refused, "observe-login-secrets": self._secrets.limits_hit}

    def see(self, events: Sequence[Event], known: Sequence[int]) -> list[Told]:
        """Counts the attempts.

        Tells of a group at 10, 100 ... attempts, when failures end in a success, and when its window is over.
        """
        told: list[Told] = []
        events, start = list(events), 0
        while start < len(events):
            stop, latest_ns, failed = _until_minute(events, start)
            if stop > start:
                self._see_logins(events[start:stop], known[start:stop], latest_ns, told, failed=failed)
            if stop < len(events):
                self._close_over(max(self._clock_ns, events[stop].time_ns), known[stop], told)
                self._secrets.close_over(events[stop].time_ns, known[stop], told)
            start = stop + 1
        told.sort(key=_packet)  # stable: of one packet, what is told of secrets stands first
        return told

    def _see_logins(self, events: list[Event], known: Sequence[int], latest_ns: int, told: list[Told], *,
                    failed: bool) -> None:
        """Counts the attempts of one minute. `latest_ns`: the newest; `failed`: at least one did."""
        self._secrets.see(events, known, latest_ns, told)
        if not failed and not self._hour and not self._day:
            self._clock_ns = max(self._clock_ns, latest_ns)
            return
        for event, packet in zip(events, known, strict=True):
            self._count(event, packet, told)

    def _close_over(self, now_ns: int, packet: int, told: list[Told]) -> None:
        """Tells of windows that are over by now."""
        self._clock_ns = now_ns
        for groups in (self._hour, self._day):
            for group in groups.over(now_ns):
                self._close(group, groups, "window", packet, told)

    def see_flows(self, ended: EndedFlows) -> list[Told]:  # noqa: ARG002  # the interface of all observers
        """Looks at no flows."""
        return []

    def finish(self, now_ns: int, known: int) -> list[Told]:  # noqa: ARG002
        """Tells of every window that is open, and of secrets that several users have."""
        told: list[Told] = []
        for groups in (self._hour, self._day):
            for group in groups.take_all():
                self._close(group, groups, "end", known, told)
        told += self._secrets.tell("end", known)
        return told

    def _count(self, event: Event, packet: int, told: list[Told]) -> None:
        """Counts one attempt for its source, its user and its server."""
        login, flow = event.body, event.flow
        if not isinstance(login, Login) or flow is None:
            return
        now_ns = self._clock_ns = max(self._clock_ns, event.time_ns)
        if now_ns >= self._hour.first_end_ns or now_ns >= self._day.first_end_ns:
            self._close_over(now_ns, packet, told)
        failed = login.outcome == "failure"
        if not failed and not self._day and not self._hour:
            return
        keys: list[_Key] = [("source", "", flow.client), ("server", flow.server, flow.server_port)]
        if login.user:
            keys.append(("user", flow.server, login.user.casefold()))
        for groups in (self._hour, self._day):
            for key in keys:
                if failed or groups.get(key) is not None:
                    self._count_for(groups, key, event, login, packet, told)

    def _count_for(self, groups: _Groups, key: _Key, event: Event, login: Login, packet: int,
                   told: list[Told]) -> None:
        group = groups.get(key)
        if group is None:
            if login.outcome == "failure":
                oldest = groups.add(key, FirstFailure(event))
                if oldest is not None:
                    self._close(oldest, groups, "window", packet, told)
            return
        if type(group) is FirstFailure:
            first, group = group.event, Attempts(key[0], group.event)
            assert isinstance(first.body, Login)
            group.failed(first, first.body, self._values)
            groups.replace(key, group)
        assert type(group) is Attempts
        reason = ""
        if login.outcome == "failure":
            group.failed(event, login, self._values)
        elif login.outcome == "success":
            reason = "success" if group.succeeded_as(event, login) else ""
        else:
            group.gave_up(event)
        if not reason and group.attempts in STEPS:
            reason = "step"
        if reason and not self._said(group, groups):
            told.append((packet, _event(group, reason, groups.window_ns)))

    def _said(self, group: Attempts, groups: _Groups) -> bool:
        """Whether another group tells the same: that of the hour, or that of the only source."""
        return (groups is self._day and group.last_ns - group.start_ns < self._hour.window_ns) or (
            group.by != "source" and len(group.addresses) < 2)

    def _close(self, group: Attempts | FirstFailure, groups: _Groups, reason: str, packet: int,
               told: list[Told]) -> None:
        if type(group) is not Attempts:
            return
        self._values.give_back(group.remembered)
        if group.attempts > max(group.told_attempts, TOLD_ATTEMPTS - 1) and not self._said(group, groups):
            told.append((packet, _event(group, reason, groups.window_ns)))


def _until_minute(events: list[Event], start: int) -> tuple[int, int, bool]:
    """The place of the next minute (or the end), the newest time of the logins before it, and whether one failed."""
    if kernels.COMPILED:
        return sign_ins().until_minute(events, start)
    stop = next((place for place in range(start, len(events)) if events[place].kind == MINUTE), len(events))
    logins = events[start:stop]
    return (stop, max((event.time_ns for event in logins), default=0),
            "failure" in {event.body.outcome for event in logins})  # type: ignore[attr-defined]  # a login has one


def _event(group: Attempts, reason: str, window_ns: int) -> Event:
    last = group.last
    return Event("guessing", last.time_ns, group.body(reason, window_ns), last.flow, last.packet, last.time_ns)
