"""The counts of attempts to sign in: one group (a source, a user or a server) in one window of time."""

from __future__ import annotations

from imapids.observe.groups import Values
from imapids.protocols.guessing_tools import SignIn, program_of
from imapids.records.events import Event, Guessing, Login

MINUTE_NS, HOUR_NS = 60 * 10**9, 3_600 * 10**9
NAMES = 8
"""Names of one kind that an event lists."""


class FirstFailure:
    """A group of one failure: nothing more is kept of it until a second attempt comes, which for most never does."""

    __slots__ = ("event", "start_ns")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.start_ns = event.time_ns


class _Peak:
    """Most failures in one bucket of time; buckets are counted from the group's first failure."""

    __slots__ = ("bucket", "count", "length_ns", "most")

    def __init__(self, length_ns: int) -> None:
        self.length_ns = length_ns
        self.bucket = self.count = self.most = 0

    def add(self, since_start_ns: int) -> None:
        bucket = since_start_ns // self.length_ns
        if bucket > self.bucket:  # one that comes late counts in the bucket that is open
            self.bucket, self.count = bucket, 0
        self.count += 1
        self.most = max(self.most, self.count)


class Attempts:
    """What one source did, or what was done to one user or server, since a first failure."""

    __slots__ = (
        "addresses", "by", "clients", "connections", "default_accounts", "failures", "failures_before_success",
        "first", "forms", "hours", "last", "last_ns", "longest", "mechanisms", "minutes", "others", "pairs",
        "per_secret", "per_user", "remembered", "run", "secrets_of_one", "servers", "start_ns", "succeeded",
        "successes", "told_attempts", "tools", "users_of_one", "weak",
    )

    def __init__(self, by: str, event: Event) -> None:
        self.by = by
        self.start_ns = self.last_ns = event.time_ns
        self.first = self.last = event
        self.failures = self.successes = self.others = 0
        self.per_user: dict[str, int] = {}
        """Different secrets that failed, by user."""
        self.per_secret: dict[str, int] = {}
        """Different users that failed, by secret."""
        self.pairs: set[tuple[str, str]] = set()
        self.addresses: set[str] = set()
        self.servers: set[str] = set()
        self.secrets_of_one = self.users_of_one = 0
        self.remembered = 0
        """Values that were taken from the budget."""
        self.run = self.failures_before_success = 0
        self.succeeded: list[str] = []
        self.minutes, self.hours = _Peak(MINUTE_NS), _Peak(HOUR_NS)
        self.default_accounts = self.weak = 0
        self.mechanisms: list[str] = []
        self.tools: list[str] = []
        self.forms: list[str] = []
        self.clients: list[str] = []
        self.connections = self.longest = 0
        self.told_attempts = 0

    @property
    def attempts(self) -> int:
        """Failures, successes, and what was given up."""
        return self.failures + self.successes + self.others

    def failed(self, event: Event, login: Login, values: Values) -> None:
        """An attempt that the server refused."""
        self._move(event)
        self.failures += 1
        self.run += 1
        since = max(0, event.time_ns - self.start_ns)
        self.minutes.add(since)
        self.hours.add(since)
        flow = event.flow
        assert flow is not None
        self._remember(self.addresses, flow.client, values)
        self._remember(self.servers, flow.server, values)
        user, secret = login.user.casefold(), login.secret_hash
        if user not in self.per_user and self._room(values):
            self.per_user[user] = 0
        if secret and user in self.per_user and (user, secret) not in self.pairs and self._room(values):
            self.pairs.add((user, secret))
            self.per_user[user] += 1
            self.per_secret[secret] = self.per_secret.get(secret, 0) + 1
            self.secrets_of_one = max(self.secrets_of_one, self.per_user[user])
            self.users_of_one = max(self.users_of_one, self.per_secret[secret])
        if login.secret_traits:
            self.default_accounts += any(trait.startswith("default:") for trait in login.secret_traits)
            self.weak += "empty" in login.secret_traits or "equal-to-user" in login.secret_traits
        _list(self.mechanisms, login.mechanism)
        _list(self.tools, program_of(SignIn(login.tag, login.form, login.attempt, login.initial_response)))
        _list(self.forms, login.form)
        _list(self.clients, login.client_software)
        self.connections += login.attempt == 1
        self.longest = max(self.longest, login.attempt)

    def succeeded_as(self, event: Event, login: Login) -> bool:
        """An attempt that worked; whether it tells something new: a longer run of failures, or another user."""
        self._move(event)
        self.successes += 1
        run, self.run = self.run, 0
        if not run or self.by == "server":  # at a server, failures and successes have nothing to do with each other
            return False
        news = run > self.failures_before_success
        self.failures_before_success = max(self.failures_before_success, run)
        if login.user not in self.succeeded and len(self.succeeded) < NAMES:
            self.succeeded.append(login.user)
            news = True
        return news

    def gave_up(self, event: Event) -> None:
        """An attempt without an outcome."""
        self._move(event)
        self.others += 1

    def body(self, told: str, window_ns: int) -> Guessing:
        """The event of what is counted now."""
        self.told_attempts = self.attempts
        login = self.last.body
        assert isinstance(login, Login)
        return Guessing(
            by=self.by, told=told, window_s=window_ns // 10**9, span_s=round((self.last_ns - self.start_ns) / 1e9, 3),
            attempts=self.attempts, failures=self.failures, successes=self.successes, others=self.others,
            user=login.user if self.by == "user" or len(self.per_user) == 1 else "", users=len(self.per_user),
            sources=len(self.addresses), servers=len(self.servers), secrets=len(self.per_secret),
            secrets_of_one_user=self.secrets_of_one, users_of_one_secret=self.users_of_one,
            failures_before_success=self.failures_before_success, succeeded=list(self.succeeded),
            peak_minute=self.minutes.most, peak_hour=self.hours.most, default_accounts=self.default_accounts,
            weak=self.weak, mechanisms=list(self.mechanisms), tools=list(self.tools), forms=list(self.forms),
            clients=list(self.clients), connections=self.connections, most_in_one_connection=self.longest,
            direction=login.direction,
        )

    def _move(self, event: Event) -> None:
        self.last = event
        self.last_ns = max(self.last_ns, event.time_ns)

    def _remember(self, known: set[str], value: str, values: Values) -> None:
        if value not in known and self._room(values):
            known.add(value)

    def _room(self, values: Values) -> bool:
        if values.room(self.remembered):
            self.remembered += 1
            return True
        return False


def _list(names: list[str], name: str) -> None:
    if name and name not in names and len(names) < NAMES:
        names.append(name)
