"""Laws of observers: how events are cut into batches changes nothing, and no text or number raises."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from helpers.observing import login, message, minute, session, small, told, turns
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.observe import Observer, observers
from imapids.observe.beacons import Beacons
from imapids.observe.logins import Logins
from imapids.observe.mailboxes import Mailboxes
from imapids.output.eve import encode
from imapids.records.events import Event

MAKERS: list[Callable[..., Observer]] = [Logins, Beacons, Mailboxes]
_seconds = st.one_of(st.floats(0, 30, width=32), st.floats(0, 200_000, width=32))
_client = st.sampled_from(["10.0.0.5", "10.0.0.6", "198.51.100.9", "2001:db8::7"])
_name = st.sampled_from(["", "maria", "MARIA", "ben", "\\x1b[2J", "=1+1", *(f"u{n}" for n in range(30))])


@st.composite
def _login(draw: st.DrawFn) -> Event:
    return login(draw(_seconds), draw(st.sampled_from(["failure", "failure", "success", "unknown", "aborted"])),
                 draw(_name), draw(st.sampled_from(["", "s1", "s2", "s3"])), draw(_client),
                 tag=draw(st.sampled_from(["gerg", "1", "A0001", "KDPL1", "\\xff"])))


@st.composite
def _message(draw: st.DrawFn) -> Event:
    action = draw(st.sampled_from(["append", "fetch", "store", "expunge", "search", "create", "delete", "select"]))
    return message(
        draw(_seconds), action, draw(st.sampled_from(["Drafts", "INBOX", ""])), draw(_client),
        number=draw(st.integers(1, 4)), count=draw(st.integers(0, 1 << 40)), bodies=draw(st.integers(0, 300)),
        bytes=draw(st.integers(0, 1 << 50)), flags=draw(st.sampled_from([[], ["\\Deleted"], ["\\Draft"]])),
        criteria=draw(st.sampled_from(["", "UNSEEN", "SUBJECT rpt", "SUBJECT a:b"])),
        result=draw(st.sampled_from(["ok", "ok", "no", "none"])), opaque_body=draw(st.booleans()))


@st.composite
def _session(draw: st.DrawFn) -> list[Event]:
    number = draw(st.integers(1, 60))
    event = session(
        draw(_seconds), draw(st.sampled_from(["genuine", "not-imap", "mimic", "undecided", "silent"])), draw(_client),
        number=number, bytes_client=draw(st.integers(0, 1 << 50)), bytes_server=draw(st.integers(0, 900)),
        duration_ms=draw(st.integers(0, 10**9)), starttls=draw(st.sampled_from(["", "tls"])))
    if draw(st.booleans()):
        return [event]
    times = sorted(draw(st.lists(_seconds, min_size=2, max_size=20)))
    sides = draw(st.lists(st.integers(0, 1), min_size=len(times), max_size=len(times)))
    return [turns(times, [n + 1 for n in range(len(times))], sides, number), event]


_one = st.one_of(_seconds.map(lambda each: [minute(each)]), _login().map(lambda each: [each]),
                 _message().map(lambda each: [each]), _session())
_events = st.lists(_one, max_size=60).map(lambda lists: [event for each in lists for event in each])
_limits = st.sampled_from([{}, {"groups": 2, "pairs": 3, "values": 9, "group_values": 3, "secrets": 2,
                                "connections": 6, "pair_connections": 4, "mailbox_values": 5,
                                "mailbox_group_values": 2, "flow_users": 4}])


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
@settings(max_examples=40, deadline=None)
@given(events=_events, limits=_limits)
def test_batches_change_nothing(make: Callable[..., Observer], events: list[Event], limits: dict[str, int]) -> None:
    whole_by, parts_by = make(small(**limits)), [make(small(**limits)) for _ in range(2)]
    whole = told(whole_by, events)
    for size, observer in zip((1, 7), parts_by, strict=True):
        assert told(observer, events, size) == whole
        assert observer.limits_hit == whole_by.limits_hit
    known = [packet for packet, _ in whole]
    assert known == sorted(known), "what is told comes in the order of what made it known"
    for _, event in whole:
        assert encode(event).isascii()


@settings(max_examples=25, deadline=None)
@given(events=_events)
def test_the_counts_of_a_body_agree(events: list[Event]) -> None:
    for _, event in told(Logins(small()), events):
        counts = msgspec.to_builtins(event.body)
        assert counts["attempts"] == counts["failures"] + counts.get("successes", 0) + counts.get("others", 0)
        assert counts.get("secrets_of_one_user", 0) <= counts.get("secrets", 0)
        assert counts.get("users_of_one_secret", 0) <= counts.get("users", 0)
        assert counts.get("peak_minute", 0) <= counts.get("peak_hour", 0) <= counts["failures"]


def test_only_the_observers_that_are_asked_for_run() -> None:
    assert [type(each) for each in observers(frozenset({"guessing"}))] == [Logins]
    assert observers(frozenset({"session", "alert"})) == []
    assert {type(each) for each in observers(frozenset({"beacon", "mailbox"}))} == {Beacons, Mailboxes}


@pytest.mark.parametrize("size", [1, 7])
def test_steps_of_shared_secrets_and_of_failures_come_in_order(size: int) -> None:
    events = []
    for number in range(40):
        events.append(login(number, "success", f"u{number}", "same", "10.0.0.5"))
        events.append(login(number + 0.5, "failure", f"u{number}", f"s{number}", "10.0.0.6"))
    whole = told(Logins(small()), events)
    assert {event.body.by for _, event in whole} == {"source", "secret"}  # type: ignore[attr-defined]
    assert told(Logins(small()), events, size) == whole
    assert [packet for packet, _ in whole] == sorted(packet for packet, _ in whole)
