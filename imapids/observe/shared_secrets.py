"""One secret, several users: who signed in with the same password within a day, by its keyed hash."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imapids import kernels
from imapids.config import ObserveLimits
from imapids.observe.fields import sign_ins
from imapids.observe.groups import STEPS, Values
from imapids.observe.observer import Told
from imapids.records.events import Event, Guessing, Login

TOLD_USERS = 3
"""Secrets that fewer users have are not told of: two mailboxes of one person are common."""


class _Shared:
    """Users who sign in with the same secret."""

    __slots__ = ("first_ns", "last", "servers", "told", "users")

    def __init__(self, user: str, event: Event) -> None:
        self.users = {user}
        self.servers: set[str] = set()
        self.first_ns = event.time_ns
        self.last = event
        self.told = 0


class SharedSecrets:
    """Successful logins in; `guessing` events with `by: secret` out. The days are counted from the first login."""

    def __init__(self, limits: ObserveLimits) -> None:
        self._day_ns = limits.day_ns
        self._most = limits.secrets
        self._values = Values(limits.pairs, limits.group_values)
        """Further users of secrets: a budget of their own, so that it matters not which is counted first."""
        self._since_ns: int | None = None
        self._users: dict[str, str] = {}
        """The first user of each secret: most secrets stay with one, nothing more is needed for them."""
        self._shared: dict[str, _Shared] = {}
        self._refused = 0

    @property
    def limits_hit(self) -> int:
        """Logins whose secret, or whose user beside the first, could not be remembered."""
        return self._refused + self._values.refused

    def see(self, events: list[Event], known: Sequence[int], latest_ns: int, told: list[Told]) -> None:
        """Takes logins in order; `latest_ns` is the newest time among them."""
        if self._since_ns is None and events:
            self._since_ns = events[0].time_ns
        since_ns = self._since_ns or 0
        if latest_ns - since_ns < self._day_ns and len(self._users) + len(events) <= self._most:
            for place in self._other_users(events):
                self._share(events[place], known[place], told)
            return
        for event, packet in zip(events, known, strict=True):
            body = event.body
            assert isinstance(body, Login)
            if event.time_ns - since_ns >= self._day_ns:
                told += self.tell("window", packet)
                since_ns = self._since_ns = event.time_ns
            secret = body.secret_hash
            if not secret or body.outcome != "success":
                continue
            if secret not in self._users and len(self._users) >= self._most:
                self._refused += 1
            elif self._users.setdefault(secret, body.user) != body.user:
                self._share(event, packet, told)

    def _other_users(self, events: list[Event]) -> Iterator[int]:
        """The places of successful logins with a secret that another user had first; notes secrets that are new."""
        users = self._users
        if not kernels.COMPILED:
            for place, event in enumerate(events):
                login = event.body
                assert type(login) is Login
                secret = login.secret_hash
                if secret and login.outcome == "success" and users.setdefault(secret, login.user) != login.user:
                    yield place
            return
        place = -1
        while (place := sign_ins().other_user(events, place + 1, users)) < len(events):
            yield place

    def close_over(self, now_ns: int, packet: int, told: list[Told]) -> None:
        """Tells of the day, if it is over by now; the next one begins with the next login."""
        if self._since_ns is not None and now_ns - self._since_ns >= self._day_ns:
            told += self.tell("window", packet)
            self._since_ns = None

    def _share(self, event: Event, packet: int, told: list[Told]) -> None:
        """A login with a secret that another user had first."""
        login = event.body
        assert isinstance(login, Login)
        first, user = self._users[login.secret_hash].casefold(), login.user.casefold()
        if user == first:
            return
        shared = self._shared.get(login.secret_hash)
        if shared is None:
            shared = self._shared[login.secret_hash] = _Shared(first, event)
        if user in shared.users or not self._values.room(len(shared.users)):
            return
        shared.users.add(user)
        if event.flow is not None and len(shared.servers) < TOLD_USERS:
            shared.servers.add(event.flow.server)
        shared.last = event
        if len(shared.users) in STEPS:
            told.append((packet, self._event(shared, "step")))

    def tell(self, reason: str, packet: int) -> Iterator[Told]:
        """Tells of the secrets that several users had, and forgets all."""
        shared, self._shared = self._shared, {}
        self._users.clear()
        for each in shared.values():
            self._values.give_back(len(each.users) - 1)
            if len(each.users) >= TOLD_USERS and len(each.users) > each.told:
                yield packet, self._event(each, reason)

    def _event(self, shared: _Shared, reason: str) -> Event:
        shared.told = count = len(shared.users)
        last = shared.last
        assert isinstance(last.body, Login)
        body = Guessing(by="secret", told=reason, window_s=self._day_ns // 10**9, attempts=count, failures=0,
                        span_s=round(max(0, last.time_ns - shared.first_ns) / 1e9, 3), successes=count, users=count,
                        servers=len(shared.servers), secrets=1, direction=last.body.direction)
        return Event("guessing", last.time_ns, body, last.flow, last.packet, last.time_ns)
