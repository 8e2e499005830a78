"""Counts of attempts to sign in: what rules need to tell guessing, spraying, stuffing and slow attacks apart."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.observing import HOUR, MINUTE, bodies, login, minute, small, told

from imapids.config import ObserveLimits
from imapids.observe.logins import Logins
from imapids.records.events import Event, Guessing

USERS = [f"user{number}" for number in range(40)]


def guessing(events: list[Event], **limits: int) -> list[Guessing]:
    found = bodies(Logins(small(**limits)), events)
    assert all(isinstance(body, Guessing) for body in found)
    return [body for body in found if isinstance(body, Guessing)]


def last(events: list[Event], by: str, window_s: int = 3600) -> Guessing | None:
    found = [body for body in guessing(events) if body.by == by and body.window_s == window_s]
    return found[-1] if found else None


@pytest.mark.parametrize(("events", "by", "window_s", "facts"), [
    pytest.param([login(3 * n, secret=f"s{n}") for n in range(12)], "source", 3600,
                 {"failures": 12, "users": 1, "secrets": 12, "secrets_of_one_user": 12, "users_of_one_secret": 1,
                  "user": "maria", "peak_minute": 12, "sources": 1, "servers": 1},
                 id="one user and many secrets: guessing"),
    pytest.param([login(60 * n, user=user, secret="s") for n, user in enumerate(USERS[:20])], "source", 3600,
                 {"failures": 20, "users": 20, "secrets": 1, "users_of_one_secret": 20, "secrets_of_one_user": 1,
                  "user": "", "peak_minute": 1},
                 id="one secret for many users: spraying"),
    pytest.param([login(60 * n, user=user, secret=f"s{n}") for n, user in enumerate(USERS[:20])], "source", 3600,
                 {"users": 20, "secrets": 20, "users_of_one_secret": 1, "secrets_of_one_user": 1},
                 id="each user with another secret: stuffing"),
    pytest.param([login(n, secret=f"s{n}", client=f"198.51.100.{n}") for n in range(9)], "user", 3600,
                 {"failures": 9, "sources": 9, "user": "maria"},
                 id="one user from many addresses"),
    pytest.param([login(n, user=USERS[n], client=f"198.51.100.{n}") for n in range(25)], "server", 3600,
                 {"failures": 25, "sources": 25, "users": 25, "secrets": 0},
                 id="many addresses at one server, with a mechanism that hides secrets"),
    pytest.param([login(n, server=f"10.0.0.{n}") for n in range(6)], "source", 3600, {"servers": 6, "failures": 6},
                 id="one source at many servers"),
    pytest.param([login(n * 20 * MINUTE, secret=f"s{n}") for n in range(30)], "source", 86_400,
                 {"failures": 30, "secrets_of_one_user": 30, "peak_hour": 3, "peak_minute": 1},
                 id="three tries an hour show in the day"),
    pytest.param([login(n, user="Maria" if n % 2 else "MARIA", secret="s") for n in range(4)], "source", 3600,
                 {"users": 1, "secrets": 1}, id="users are the same in upper and lower case"),
    pytest.param([login(n, secret_traits=["default:default-accounts", "equal-to-user"]) for n in range(3)], "source",
                 3600, {"default_accounts": 3, "weak": 3}, id="factory and weak accounts that fail are counted"),
    pytest.param([login(n, tag="gerg", mechanism="plain") for n in range(3)], "source", 3600,
                 {"tools": ["medusa"], "mechanisms": ["plain"]}, id="the tags of a guessing program"),
])
def test_counts(events: list[Event], by: str, window_s: int, facts: dict[str, Any]) -> None:
    body = last(events, by, window_s)
    assert body is not None
    assert {name: getattr(body, name) for name in facts} == facts
    assert body.told == "end"
    assert body.direction == "inbound"


def test_a_success_after_failures_is_told_at_once() -> None:
    events = [login(n, secret=f"s{n}") for n in range(5)] + [login(9, "success"), login(900, secret="x")]
    observer = Logins(ObserveLimits())
    found = told(observer, events)
    first = next(each for _, each in found if isinstance(each.body, Guessing) and each.body.by == "source")
    assert isinstance(first.body, Guessing)
    assert (first.body.told, first.body.failures_before_success, first.body.succeeded) == ("success", 5, ["maria"])
    assert first.time_ns == events[5].time_ns
    assert found[0][0] == 6, "the packet of the success made it known"


def test_successes_that_no_failure_precedes_tell_nothing() -> None:
    assert guessing([login(n, "success", secret="s") for n in range(30)]) == []


def test_attempts_without_an_outcome_open_no_window() -> None:
    assert guessing([login(n, "unknown") for n in range(30)]) == []
    body = last([login(0), login(1, "unknown"), login(2, "aborted"), login(3)], "source")
    assert body is not None
    assert (body.failures, body.others, body.attempts) == (2, 2, 4)


def test_one_who_mistypes_twice_is_not_told_of() -> None:
    assert guessing([login(0), login(2 * HOUR)]) == []


def test_steps_are_told_as_they_are_reached() -> None:
    found = guessing([login(n, secret=f"s{n}") for n in range(120)])
    assert [(body.told, body.attempts) for body in found] == [("step", 10), ("step", 100), ("end", 120)]


def test_a_window_that_is_over_is_told_of_and_counted_anew() -> None:
    found = guessing([*[login(n) for n in range(4)], *[login(HOUR + n) for n in range(3)]])
    assert [(body.told, body.window_s, body.failures) for body in found] == [
        ("window", 3600, 4), ("end", 3600, 3), ("end", 86_400, 7)]


def test_a_day_repeats_nothing_that_its_hour_told() -> None:
    assert {body.window_s for body in guessing([login(n) for n in range(20)])} == {3600}


def test_a_secret_that_several_users_have_is_told_of() -> None:
    users = [login(n, "success", user=user, secret="same") for n, user in enumerate(USERS[:4])]
    others = [login(n, "success", user=user, secret=user) for n, user in enumerate(USERS[:9])]
    (body,) = guessing([*users, *others])
    assert (body.by, body.users, body.told) == ("secret", 4, "end")


@pytest.mark.parametrize("events", [
    pytest.param([login(n, "success", user=("a", "b")[n % 2], secret="same") for n in range(9)], id="two users"),
    pytest.param([login(n, "success", user=("a", "A", "a")[n % 3], secret="same") for n in range(9)],
                 id="one user in several spellings"),
    pytest.param([login(n * 13 * HOUR, "success", user=USERS[n], secret="same") for n in range(4)],
                 id="users of different days"),
    pytest.param([login(n, "success", user=user) for n, user in enumerate(USERS)], id="secrets that nobody saw"),
])
def test_other_secrets_are_not(events: list[Event]) -> None:
    assert guessing(events) == []


def test_limits_hold_and_are_counted() -> None:
    observer = Logins(small(groups=8, values=20, group_values=6, secrets=4))
    events = [login(n, user=f"u{n}", secret=f"s{n}", client=f"198.51.100.{n % 50}") for n in range(200)]
    events += [login(300 + n, "success", user=f"u{n}", secret=f"t{n}") for n in range(10)]
    told(observer, events)
    assert observer.limits_hit["observe-login-groups"] > 0
    assert observer.limits_hit["observe-login-values"] > 0
    assert observer.limits_hit["observe-login-secrets"] == 6
    assert observer._values.left == 20, "closed groups give their values back"


@pytest.mark.parametrize("size", [0, 1, 2])
def test_a_window_ends_with_a_minute_although_nobody_signs_in(size: int) -> None:
    events = [login(3 * n, secret=f"s{n}") for n in range(5)] + [minute(60.0 * n) for n in range(1, 90)]
    found = told(Logins(small()), events, size)
    assert [(packet, event.body.told, event.body.failures) for packet, event in found  # type: ignore[attr-defined]
            ] == [(len(events) - 89 + 60, "window", 5)]


def test_a_day_of_shared_secrets_ends_with_a_minute() -> None:
    events = [login(n, "success", f"u{n}", "same") for n in range(4)] + [minute(HOUR * n) for n in (20, 23, 24, 30)]
    assert [(packet, event.body.told) for packet, event in told(Logins(small()), events)  # type: ignore[attr-defined]
            ] == [(7, "window")]
    again = [*events, login(31 * HOUR, "success", "u1", "same"), login(31 * HOUR, "success", "u2", "same")]
    assert len(told(Logins(small()), again)) == 1, "two users of a new day are too few to tell"


def test_how_programs_write_their_attempts_is_told() -> None:
    events = [login(3 * n, tag=str(n % 3 + 2), attempt=n % 3 + 1, form="LOGIN quoted quoted", client_software="x 1")
              for n in range(6)]
    body = last(events, "source")
    assert body is not None
    assert (body.tools, body.forms, body.clients) == (["hydra"], ["LOGIN quoted quoted"], ["x 1"])
    assert (body.connections, body.most_in_one_connection) == (2, 3)
