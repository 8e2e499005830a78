"""Rhythms of connections and of turns: what is scored, what is damped, what is too few."""

from __future__ import annotations

import random

import pytest
from helpers.observing import HOUR, MINUTE, bodies, session, small, told, turns

from imapids.config import ObserveLimits
from imapids.observe.beacons import Beacons
from imapids.records.events import Beacon, Event


def beacons(events: list[Event], **limits: int) -> list[Beacon]:
    return [body for body in bodies(Beacons(small(**limits)), events) if isinstance(body, Beacon)]


def calls(count: int, interval: float = 60.0, jitter: float = 0.0, verdict: str = "not-imap",
          client: str = "10.0.0.5", **more: object) -> list[Event]:
    """Connections at intervals, told of when they end."""
    chance = random.Random(count)
    return [session(interval * (n + jitter * chance.uniform(-1, 1)), verdict, client, number=n + 1, bytes_client=400,
                    bytes_server=90, **more) for n in range(count)]


def test_regular_calls_score_high() -> None:
    (first, last) = beacons(calls(24, jitter=0.1))
    assert (first.told, first.units, last.told, last.units) == ("step", 10, "end", 24)
    assert last.score == last.rhythm > 0.85
    assert last.damped == ""
    assert last.interval_s == pytest.approx(60, rel=0.2)
    assert (last.foreign, last.genuine, last.verdict, last.protocol) == (24, 0, "not-imap", "http")
    assert (last.bytes_client, last.bytes_server, last.direction) == (400, 90, "outbound")


def test_a_mail_program_that_polls_by_the_clock_scores_low_and_says_why() -> None:
    body = beacons(calls(30, 300, verdict="genuine"))[-1]
    assert body.rhythm > 0.95
    assert body.score < 0.5
    assert body.damped == "genuine-imap"


def test_calls_by_chance_score_low() -> None:
    chance, now, events = random.Random(3), 0.0, []
    for number in range(40):
        now += chance.expovariate(1 / 60)
        events.append(session(now, number=number + 1, bytes_client=chance.randrange(9_000), bytes_server=100))
    assert beacons(events)[-1].score < 0.55


@pytest.mark.parametrize(("count", "verdict", "number"), [
    pytest.param(2, "not-imap", 0, id="two connections are not told of"),
    pytest.param(4, "not-imap", 1, id="four foreign ones are, as too few"),
    pytest.param(4, "genuine", 0, id="four genuine ones are not"),
    pytest.param(5, "genuine", 1, id="five genuine ones are"),
])
def test_few_connections(count: int, verdict: str, number: int) -> None:
    found = beacons(calls(count, verdict=verdict))
    assert len(found) == number
    assert all(body.too_few is (count < 5) and (body.score == 0) is body.too_few for body in found)


def test_sessions_that_end_out_of_order_are_put_in_order() -> None:
    events = calls(20)
    assert beacons(events[::-1])[-1].rhythm == beacons(events)[-1].rhythm


def test_pairs_are_told_of_hourly_while_they_go_on() -> None:
    found = beacons(calls(9, 20 * MINUTE))
    assert [(body.told, body.units) for body in found] == [("window", 4), ("window", 7), ("end", 9)]


def test_other_ports_and_servers_are_other_pairs() -> None:
    events = [*calls(6), *calls(6, client="10.0.0.6")]
    assert [body.units for body in beacons(events)] == [6, 6]


def test_the_newest_connections_decide_and_all_are_counted() -> None:
    body = beacons(calls(40, verdict="mimic", starttls="tls"), pair_connections=8)[-1]
    assert (body.units, body.scored, body.foreign, body.encrypted) == (40, 8, 40, 40)


@pytest.mark.parametrize(("limits", "name"), [
    pytest.param({"pairs": 4}, "observe-beacon-pairs", id="too many pairs"),
    pytest.param({"connections": 12}, "observe-beacon-pairs", id="too many connections"),
])
def test_limits_hold_and_are_counted(limits: dict[str, int], name: str) -> None:
    events = [each for host in range(9) for each in calls(5, client=f"10.0.1.{host}")]
    observer = Beacons(small(**limits))
    found = told(observer, events)
    assert observer.limits_hit[name] > 0
    assert len(found) == 9, "what is dropped is told of before"


def test_a_pair_that_is_dropped_at_a_step_is_told_of_once() -> None:
    first, *others = calls(10)
    found = beacons([first, *calls(1, client="10.0.1.1"), *others], connections=9, pair_connections=40)
    assert [(body.told, body.units) for body in found] == [("window", 10)]


# ---- turns --------------------------------------------------------------------------------------------------------


def beat(count: int, interval: float, side: int = 0, number: int = 1) -> list[Event]:
    """One connection in which one side speaks at intervals, and the other answers."""
    times, sizes, sides = [], [], []
    for place in range(count):
        times += [place * interval, place * interval + 0.004]
        sizes += [5, 64]
        sides += [side, 1 - side]
    return [turns(times, sizes, sides, number), session(0, number=number, duration_ms=round(count * interval * 1000))]


def test_a_beat_inside_a_connection_scores_high() -> None:
    (body,) = beacons(beat(20, 20.0))
    assert (body.over, body.told, body.units, body.side) == ("turns", "end", 20, "client")
    assert body.score > 0.9
    assert (body.bytes_client, body.bytes_server) == (5, 64)
    assert body.interval_s == 20.0


def test_the_side_that_keeps_the_better_rhythm_is_told() -> None:
    times = [0.0, 0.1, 3.0, 10.1, 17.0, 20.1, 24.0, 30.1, 41.0, 50.1, 51.0, 60.1]
    sizes, sides = [40, 7] * 6, [0, 1] * 6
    times[1::2] = [10.0 * place for place in range(1, 7)]
    times[::2] = [each + delay for each, delay in zip(times[1::2], (1, 7, 2, 9, 3, 5), strict=True)]
    order = sorted(range(12), key=lambda place: times[place])
    (body,) = beacons([turns([times[n] for n in order], [sizes[n] for n in order], [sides[n] for n in order]),
                       session(0)])
    assert (body.side, body.interval_s) == ("server", 10.0)


@pytest.mark.parametrize(("events", "number"), [
    pytest.param([turns([0, 1], [1, 1], [0, 1]), session(0)], 0, id="a question and its answer"),
    pytest.param([*beat(9, 5.0, number=2)[:1], session(0, number=3)], 0, id="turns whose session never comes"),
    pytest.param([session(0), *beat(9, 5.0, number=2)], 1, id="turns stand before their own session"),
])
def test_turns_that_say_nothing(events: list[Event], number: int) -> None:
    assert len([body for body in beacons(events) if body.over == "turns"]) == number


def test_turns_of_a_genuine_session_are_damped() -> None:
    first, _ = beat(20, 60.0)
    (body,) = beacons([first, session(0, "genuine")])
    assert body.rhythm > 0.9
    assert body.score < 0.5


def test_a_week_of_hourly_calls_keeps_little() -> None:
    observer = Beacons(ObserveLimits())
    found = told(observer, calls(24 * 7, HOUR))
    assert 150 < len(found) < 180


def test_a_connection_of_many_gigabytes_is_counted_exactly() -> None:
    sizes = (400, 5 << 32, 400, 1 << 40, 400)
    events = [session(60.0 * n, number=n + 1, bytes_client=size, bytes_server=90, duration_ms=1 << 33)
              for n, size in enumerate(sizes)]
    body = beacons(events)[-1]
    assert (body.units, body.bytes_client, body.duration_ms) == (5, 400, 1 << 33)
    assert beacons([*events, *calls(2), *calls(2)][::-1])[-1].units == 9


def test_a_connection_that_ended_before_it_began_harms_nobody() -> None:
    events = [session(60.0 * n, number=n + 1, duration_ms=-5_000) for n in range(4)]  # the clock was set in between
    assert beacons(events)[-1].duration_ms == -5_000
