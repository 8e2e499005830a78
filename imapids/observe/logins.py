"""Who tries to sign in again and again: counts by source, by user and by server, in an hour and in a day.

Only failures open a window, so that a network without them costs nothing. Nothing is told twice: of a day only where
its attempts spread over more than an hour, of a user or server only where several sources tried.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from imapids.config import ObserveLimits
from imapids.observe.attempts import Attempts
from imapids.observe.groups import STEPS, Groups, Values
from imapids.observe.observer import Told
from imapids.records.events import Event, Guessing, Login
from imapids.records.flows import EndedFlows

TOLD_ATTEMPTS = 3
"""Fewer are not told of: their `login` events say all."""

_Key = tuple[str, str, str | int]


class _Shared:
    """Users of one server who sign in with the same secret."""

    __slots__ = ("first", "last", "told", "users")

    def __init__(self, first: Event, user: str) -> None:
        self.first = self.last = first
        self.users = {user}
        self.told = 1


class Logins:
    """`login` events in, `guessing` events out."""

    kinds = frozenset({"login"})
    makes = frozenset({"guessing"})
    wants_flows = False

    def __init__(self, limits: ObserveLimits) -> None:
        self._day_ns = limits.day_ns
        self._hour: Groups[_Key, Attempts] = Groups(limits.hour_ns, limits.groups)
        self._day: Groups[_Key, Attempts] = Groups(limits.day_ns, limits.groups)
        self._values = Values(limits.values, limits.group_values)
        self._shared: OrderedDict[tuple[str, str], _Shared | tuple[Event, str]] = OrderedDict()
        self._most_shared = limits.pairs
        self._shared_since_ns = 0
        self._dropped_secrets = 0
        self._clock_ns = 0

    @property
    def limits_hit(self) -> dict[str, int]:
        """Limits that were hit, and how often."""
        return {"observe-login-groups": self._hour.dropped + self._day.dropped,
                "observe-login-values": self._values.refused, "observe-login-secrets": self._dropped_secrets}

    def see(self, events: Sequence[Event], known: Sequence[int]) -> list[Told]:
        """Counts the attempts; tells of groups at 10, 100 ... attempts, when failures end in success, and at the end
        of windows."""
        told: list[Told] = []
        for event, packet in zip(events, known, strict=True):
            login, flow = event.body, event.flow
            if type(login) is not Login or flow is None:
                continue
            now = self._clock_ns = max(self._clock_ns, event.time_ns)
            for groups in (self._hour, self._day):
                for group in groups.over(now):
                    self._close(group, groups, "window", packet, told)
            outcome = login.outcome
            if outcome == "success" and login.secret_hash:
                self._share(event, login, packet, told)
            if outcome != "failure" and not self._day:
                continue
            server: str = flow.server
            keys: tuple[_Key, ...] = (("source", "", flow.client), ("user", server, login.user.casefold()),
                                      ("server", server, flow.server_port))
            for groups in (self._hour, self._day):
                for key in keys if login.user else (keys[0], keys[2]):
                    self._count(groups, key, event, login, packet, told)
        return told

    def see_flows(self, ended: EndedFlows) -> list[Told]:  # noqa: ARG002  # the interface of all observers
        """Looks at no flows."""
        return []

    def finish(self, now_ns: int, known: int) -> list[Told]:  # noqa: ARG002
        """Tells of every window that is open, and of secrets that several users have."""
        told: list[Told] = []
        for groups in (self._hour, self._day):
            for group in groups.take_all():
                self._close(group, groups, "end", known, told)
        told += self._tell_shared("end", known)
        return told

    def _count(self, groups: Groups[_Key, Attempts], key: _Key, event: Event, login: Login, packet: int,
               told: list[Told]) -> None:
        group = groups.get(key)
        if group is None:
            if login.outcome != "failure":
                return
            group = Attempts(key[0], event)
            oldest = groups.add(key, group)
            if oldest is not None:
                self._close(oldest, groups, "window", packet, told)
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

    def _said(self, group: Attempts, groups: Groups[_Key, Attempts]) -> bool:
        """Whether another group tells the same: that of the hour, or that of the only source."""
        return (groups is self._day and group.last_ns - group.start_ns < self._hour.window_ns) or (
            group.by != "source" and len(group.clients) < 2)

    def _close(self, group: Attempts, groups: Groups[_Key, Attempts], reason: str, packet: int,
               told: list[Told]) -> None:
        self._values.give_back(group.remembered)
        if group.attempts > max(group.told_attempts, TOLD_ATTEMPTS - 1) and not self._said(group, groups):
            told.append((packet, _event(group, reason, groups.window_ns)))

    # ---- one secret, several users ------------------------------------------------------------------------------

    def _share(self, event: Event, login: Login, packet: int, told: list[Told]) -> None:
        """Remembers who signs in with which secret, for a day."""
        if event.time_ns - self._shared_since_ns >= self._day_ns:
            told += self._tell_shared("window", packet)
            self._shared_since_ns = event.time_ns
        assert event.flow is not None
        key, user = (event.flow.server, login.secret_hash), login.user.casefold()
        seen = self._shared.get(key)
        if seen is None:
            if len(self._shared) >= self._most_shared:
                self._shared.popitem(last=False)
                self._dropped_secrets += 1
            self._shared[key] = event, user  # most secrets stay with one user: nothing more is needed for them
            return
        if type(seen) is tuple:
            if seen[1] == user:
                return
            seen = self._shared[key] = _Shared(*seen)
        assert type(seen) is _Shared
        if user not in seen.users and self._values.room(len(seen.users)):
            seen.users.add(user)
            seen.last = event
            if len(seen.users) in STEPS:
                told.append((packet, self._shared_event(seen, "step")))

    def _tell_shared(self, reason: str, packet: int) -> Iterator[Told]:
        shared, self._shared = self._shared, OrderedDict()
        for seen in shared.values():
            if type(seen) is _Shared:
                self._values.give_back(len(seen.users) - 1)
                if len(seen.users) > seen.told:
                    yield packet, self._shared_event(seen, reason)

    def _shared_event(self, seen: _Shared, reason: str) -> Event:
        seen.told = count = len(seen.users)
        first, last = seen.first, seen.last
        assert isinstance(last.body, Login)
        body = Guessing(by="secret", told=reason, window_s=self._day_ns // 10**9, attempts=count, failures=0,
                        span_s=round(max(0, last.time_ns - first.time_ns) / 1e9, 3), successes=count, users=count,
                        direction=last.body.direction)
        return Event("guessing", last.time_ns, body, last.flow, last.packet, last.time_ns)


def _event(group: Attempts, reason: str, window_ns: int) -> Event:
    last = group.last
    return Event("guessing", last.time_ns, group.body(reason, window_ns), last.flow, last.packet, last.time_ns)
