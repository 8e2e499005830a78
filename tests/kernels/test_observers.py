"""What observers tell, and what they hold, with compiled loops and without them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from helpers.ended_flows import Row, ended_flows
from helpers.observing import login, message, minute, session, small, turns
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids import kernels
from imapids.config import HOME_NETS, ObserveLimits
from imapids.observe.beacons import Beacons
from imapids.observe.exposure import ExposureObserver
from imapids.observe.fields import seen_fields, sign_ins
from imapids.observe.logins import Logins
from imapids.observe.mailbox_use import Reading
from imapids.observe.mailboxes import Mailboxes
from imapids.protocols.addresses import Networks
from imapids.records.events import Event, Login, Service
from imapids.records.streams import Flow

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")

CLIENTS, SERVERS = ["10.0.0.5", "10.0.0.6", "10.0.0.7"], ["198.51.100.7", "198.51.100.8"]
TIMES = st.integers(0, 120) | st.sampled_from([3_590, 3_600, 7_300, 90_000])
NUMBERS = st.integers(1, 5)
VERDICTS = st.sampled_from(["genuine", "not-imap", "mimic", "silent"])
SIZES = st.integers(0, 4_000) | st.sampled_from([2**32 - 1, 2**32, 2**40])


class OtherEvent(Event):
    """An event of another class, with the same fields."""


def _odd(event: Event) -> Event:
    return OtherEvent(event.kind, event.time_ns, event.body, event.flow, event.packet, event.known_ns)


def _without_flow(event: Event) -> Event:
    return Event(event.kind, event.time_ns, event.body, None, event.packet, event.known_ns)


CONNECTION = st.builds(
    session, TIMES, VERDICTS, client=st.sampled_from(CLIENTS), server=st.sampled_from(SERVERS), number=NUMBERS,
    protocol=st.sampled_from(["http", "tls", None]), starttls=st.sampled_from(["", "tls"]),
    shape=st.sampled_from([None, "stream"]), bytes_client=SIZES, bytes_server=SIZES,
    duration_ms=st.integers(0, 9) | st.sampled_from([-1, 2**33]))
TURNS = st.builds(turns, st.just([0.0, 1.0, 2.0, 3.0]), st.just([10, 20, 30, 40]), st.just([0, 1, 0, 0]), NUMBERS)
MESSAGE = st.builds(
    message, TIMES, st.sampled_from(["fetch", "fetch", "fetch", "append", "store", "select", "search"]),
    st.sampled_from(["Drafts", "INBOX"]), client=st.sampled_from(CLIENTS), server=st.sampled_from(SERVERS),
    number=NUMBERS, bodies=st.sampled_from([0, 1, 9, 49, 60]), bytes=SIZES, opaque_body=st.booleans(),
    flags=st.sampled_from([[], ["\\Deleted"]]), criteria=st.just("SUBJECT rpt"), count=st.integers(0, 2))
LOGIN = st.builds(
    login, TIMES, st.sampled_from(["success", "success", "failure", "aborted"]),
    st.sampled_from(["maria", "Maria", "jan", "ute", "maria#imap.example.net", "a@b@c.example"]),
    st.sampled_from(["", "0011", "2233"]), client=st.sampled_from(CLIENTS), server=st.sampled_from(SERVERS))


def streams_of(*kinds: st.SearchStrategy[Event]) -> st.SearchStrategy[list[Event]]:
    usual = st.one_of(*kinds)
    return st.lists(usual | usual.map(_without_flow) | usual.map(_odd), max_size=60)


def told_by(make: Callable[[], Any], events: Sequence[Event], cuts: Sequence[int], *,
            compiled: bool) -> tuple[Any, ...]:
    """What an observer tells of batches, the limits that it hit, and what it holds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "COMPILED", compiled)
        observer, told = make(), []
        edges = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
        for start, stop in itertools.pairwise(edges):
            told += observer.see(events[start:stop], list(range(start, stop)))
        held = [getattr(observer, name, None) for name in ("_users", "_old_users", "_reading", "_held", "_clock_ns")]
        told += observer.finish(10**18, len(events))
        return [(packet, each.kind, each.body, each.flow) for packet, each in told], observer.limits_hit, held


CUTS = st.lists(st.integers(0, 60), max_size=3)
TIGHT = small(pairs=3, connections=9, pair_connections=4, flow_users=4, groups=3, secrets=3, values=9, group_values=4)


@settings(max_examples=80, deadline=None)
@given(streams_of(CONNECTION, CONNECTION, TURNS), CUTS, st.sampled_from([ObserveLimits(), TIGHT]))
def test_connections_are_counted_as_in_python(events: list[Event], cuts: list[int], limits: ObserveLimits) -> None:
    assert told_by(lambda: Beacons(limits), events, cuts, compiled=True) == told_by(
        lambda: Beacons(limits), events, cuts, compiled=False)


@settings(max_examples=80, deadline=None)
@given(streams_of(MESSAGE, MESSAGE, LOGIN, CONNECTION, st.builds(minute, TIMES)), CUTS,
       st.sampled_from([ObserveLimits(), TIGHT]))
def test_what_is_read_is_counted_as_in_python(events: list[Event], cuts: list[int], limits: ObserveLimits) -> None:
    assert told_by(lambda: Mailboxes(limits), events, cuts, compiled=True) == told_by(
        lambda: Mailboxes(limits), events, cuts, compiled=False)


@settings(max_examples=80, deadline=None)
@given(st.lists(LOGIN | LOGIN.map(_without_flow) | st.builds(minute, TIMES), max_size=60), CUTS,
       st.sampled_from([ObserveLimits(), TIGHT]))
def test_sign_ins_are_counted_as_in_python(events: list[Event], cuts: list[int], limits: ObserveLimits) -> None:
    assert told_by(lambda: Logins(limits), events, cuts, compiled=True) == told_by(
        lambda: Logins(limits), events, cuts, compiled=False)


WORDS = st.sampled_from([[], ["IMAP4rev1"], ["IMAP4rev1", "STARTTLS"]])
SERVICES = st.builds(
    Service, protocol=st.sampled_from(["imap", "pop3", ""]), software=st.sampled_from(["", "Dovecot"]),
    banner=st.sampled_from(["", "+OK"]), tls=st.booleans(), starttls_offered=st.booleans(), starttls_used=st.booleans(),
    sign_in_in_clear=st.booleans(), signed_in_in_clear=st.booleans(),
    proxy=st.lists(st.sampled_from(["banner", "relayed-user"]), max_size=2))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Row], list[list[Event]]]:
    """Conversations that are over, and the events of each."""
    rows, events = [], []
    for place in range(draw(st.integers(0, 25))):
        row = Row(draw(st.sampled_from(CLIENTS)), draw(st.sampled_from(SERVERS)), draw(st.sampled_from([143, 993])),
                  draw(st.sampled_from(["talk", "talk", "silent"])), known=draw(st.sampled_from([place // 4, None])))
        flow = Flow("TCP", row.client, 40_000, row.server, row.port, flow_id=place + 1, first_packet=place + 1,
                    bytes_server=0 if row.way == "silent" else 400)
        said: list[Event] = []
        if draw(st.booleans()):
            said.append(Event("login", 0, Login(mechanism="login", outcome="success", user=draw(
                st.sampled_from(["jan", "maria#imap.example.net", "jan@example.org", ""]))), flow))
        if draw(st.booleans()):
            body = session(0, capabilities=draw(WORDS), software=draw(st.sampled_from(["", "Dovecot"])),
                           logins=draw(st.integers(0, 1)), greeting="* OK").body
            said.append(Event("session", 0, body, flow))
        elif draw(st.booleans()):
            said.append(Event("service", 0, draw(SERVICES), flow))
        rows.append(row)
        events.append([draw(st.sampled_from([each, _odd(each), each, _without_flow(each)])) for each in said])
    return rows, events


@settings(max_examples=60, deadline=None)
@given(conversations(), st.sampled_from([{}, {"endpoints": 4, "values": 24}]))
def test_what_servers_say_is_kept_as_in_python(
        drawn: tuple[list[Row], list[list[Event]]], limits: dict[str, int]) -> None:
    rows, said = drawn
    ended = ended_flows(rows)
    events = [(each, int(ended.known[place])) for place, some in enumerate(said) for each in some]
    results = []
    for compiled in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kernels, "COMPILED", compiled)
            observer = ExposureObserver(small(**limits), Networks(HOME_NETS))
            told = observer.see([each for each, _ in events], [known for _, known in events])
            waiting = [speech[:4] for speech in observer._waiting]
            told += observer.see_flows(ended) if rows else []
            told += observer.finish(10**15, 99)
        results.append((waiting, observer._relayed_flows, observer.limits_hit,
                        [(known, event.body, event.flow) for known, event in told]))
    assert results[0] == results[1]


def test_a_pair_is_packed_as_struct_packs_it() -> None:
    observer = Beacons(ObserveLimits())
    values = [(1, 0, 0, 0), (-5, 2**32 - 1, 1, 2**32 - 1), (2**62, 0xA1B2C3D4, 0x01020304, 77)]
    for time_ns, client, server, took in values:
        made = session(0, bytes_client=client, bytes_server=server, duration_ms=took)
        observer.see([Event("session", time_ns, made.body, made.flow)], [1])
    (pair,) = observer._pairs.values()
    assert observer._histories.units(pair.newest) == values  # type: ignore[union-attr]  # more than one connection


@pytest.mark.parametrize("call", [
    pytest.param(lambda: sign_ins().until_minute([Event("login", 0, Service())], 0), id="a login with another body"),
    pytest.param(lambda: sign_ins().until_minute([object()], 0), id="no event"),  # type: ignore[list-item]
    pytest.param(lambda: sign_ins().other_user([Event("login", 0, Service())], 0, {}), id="a secret of something else"),
    pytest.param(lambda: kernels.events.unsaid([()], 0, set()), id="a speech without words"),
    pytest.param(lambda: kernels.events.unsaid([[]], 0, set()), id="a speech that is none"),
    pytest.param(lambda: kernels.events.speeches_by(
        [(1, 2, 3)], np.zeros(0, np.int64), np.zeros(1, np.uint64), np.zeros(1, np.uint64)), id="too short a column"),
    pytest.param(lambda: kernels.events.Speeches(
        seen_fields(), service=Service, endpoint=max, is_relayed=bool).pass_over(  # type: ignore[arg-type]
        [login(0)], [], 0, set(), []), id="an event without a packet"),
    pytest.param(lambda: kernels.events.Seen(Event, Event, Event, Event, Event), id="other records"),
    pytest.param(lambda: kernels.events.MailReads(
        seen_fields(), Login, minute="", followed=(), told_bodies=1, most_readers=1, most_users=1, window_ns=1),
                 id="another record of readers"),
])
def test_odd_things_are_refused(call: Callable[[], object]) -> None:
    with pytest.raises((TypeError, ValueError, IndexError)):
        call()


def test_a_reading_has_the_fields_that_are_written() -> None:
    assert set(Reading.__struct_fields__) == {"start_ns", "bodies", "size", "opaque", "mailbox"}
