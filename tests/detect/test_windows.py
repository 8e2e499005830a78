"""Correlation windows: bounded, in packet time, and sensible with late events."""

from __future__ import annotations

import random
import sys
import time
from typing import Any

import pytest
from helpers.rules import SECOND, event

from imapids.config import DetectLimits
from imapids.detect.compiled import Correlation
from imapids.detect.windows import Windows
from imapids.records.alerts import RuleInfo
from imapids.records.events import Event


def windows(limits: DetectLimits | None = None, **fields: Any) -> Windows:
    info = RuleInfo(id="x", sid=1, title="x", level="low")
    given = {"kind": "event_count", "bases": [0], "span_ns": 60 * SECOND, "threshold": 3, **fields}
    return Windows(Correlation(info=info, **given), limits or DetectLimits())


def feed(into: Windows, seconds: float, group: tuple[Any, ...] = ("a",), base: int = 0, value: Any = None) -> bool:
    item: Event = event("login", seconds)
    return into.feed(base, group, value, item, "x") is not None


def test_the_span_is_inclusive_and_slides() -> None:
    one = windows()
    assert [feed(one, second) for second in (0, 30, 60, 61, 121)] == [False, False, True, True, False]


def test_a_late_event_completes_the_newest_window() -> None:
    one = windows()
    assert [feed(one, second) for second in (100, 120, 90)] == [False, False, True]


def test_an_event_without_a_group_counts_nowhere() -> None:
    one = windows(threshold=1)
    assert not feed(one, 0, group=(None,))
    assert not feed(one, 0, group=("",))


def test_order_matters_to_temporal_ordered_only() -> None:
    for kind, expected in (("temporal", True), ("temporal_ordered", False)):
        one = windows(kind=kind, bases=[0, 1], threshold=2)
        assert not feed(one, 0, base=1)
        assert feed(one, 1, base=0) is expected
        assert feed(one, 2, base=1)


def test_groups_are_bounded_and_counted() -> None:
    one = windows(DetectLimits(groups=100))
    for number in range(1_000):
        feed(one, number / 100, group=(number,))
    assert len(one._groups) <= 100
    assert one.dropped_groups == 900


def test_old_groups_go_without_being_counted() -> None:
    one = windows()
    for number in range(1_000):
        feed(one, number * 10, group=(number,))
    assert len(one._groups) < 20
    assert one.dropped_groups == 0


def test_a_flood_into_one_group_takes_linear_time_and_bounded_memory() -> None:
    one = windows(kind="value_count", fields=["login.user"], threshold=10**9, span_ns=10**6 * SECOND)
    start = time.process_time()
    for number in range(10_000):
        feed(one, number / 1_000, value=f"u{number}")
    assert time.process_time() - start < 3
    assert max(len(group.entries) for group in one._groups.values()) <= DetectLimits().group_entries
    assert one.dropped_entries > 0


@pytest.mark.parametrize("kind", ["event_count", "value_count", "value_sum"])
def test_late_events_count_as_those_in_order_do(kind: str) -> None:
    fields = [] if kind == "event_count" else ["login.user"]
    chance = random.Random(kind)
    enough = {"event_count": 36, "value_count": 5, "value_sum": 70}[kind]
    one = windows(kind=kind, fields=fields, threshold=enough, span_ns=20 * SECOND)
    seen: list[tuple[float, int]] = []
    answers: list[bool] = []
    newest = 100.0
    for _ in range(400):
        at, value = newest + chance.choice((0, 1, 1, 2, -3, -15, -25)), chance.randrange(5)
        seen.append((at, value))
        newest = max(newest, at)

        def measure(end: float) -> float:
            values = [each for when, each in seen if end - 20 <= when <= end]
            return len(values) if kind == "event_count" else len(set(values)) if kind == "value_count" else sum(values)

        held = measure(at) >= enough or (newest - at <= 20 and measure(newest) >= enough)
        answered = feed(one, at, value=value)
        if newest - at <= 20:  # what came earlier is forgotten after two spans: its own window may be
            answers.append(held)
            assert answered is held
    assert 20 < sum(answers) < len(answers) - 20


@pytest.mark.parametrize("kind", ["event_count", "value_sum"])
def test_late_events_of_a_full_group_are_bounded_and_counted(kind: str) -> None:
    one = windows(kind=kind, threshold=10**9, span_ns=10**6 * SECOND)
    feed(one, 30_000)
    for number in range(6_000):
        feed(one, 20_000 - number, value=1)
    assert one.dropped_entries == 6_001 - DetectLimits().group_entries
    assert max(len(group.entries) for group in one._groups.values()) <= DetectLimits().group_entries


@pytest.mark.parametrize("kind", ["temporal", "temporal_ordered"])
def test_a_busy_group_of_a_long_span_keeps_little_and_answers_alike(kind: str) -> None:
    chance = random.Random(kind)
    thinned = windows(kind=kind, bases=[0, 1], threshold=2, span_ns=7 * 86_400 * SECOND)
    whole = windows(kind=kind, bases=[0, 1], threshold=2, span_ns=7 * 86_400 * SECOND)
    whole._thin_from = sys.maxsize
    now, last = 0.0, 0
    for _ in range(3_000):
        now += chance.expovariate(1 / 600)
        at = now - chance.choice((0, 0, 0, 60, 90_000))  # some were known late
        last = chance.choices((0, 1), (1, 1 if last else 20))[0]
        assert feed(thinned, at, base=last) is feed(whole, at, base=last)
    (kept,), (all_of_them,) = thinned._groups.values(), whole._groups.values()
    assert len(kept.entries) < len(all_of_them.entries)


def test_a_week_of_a_busy_server_is_kept_in_parts_of_it() -> None:
    one = windows(kind="temporal_ordered", bases=[0, 1], threshold=2, span_ns=7 * 86_400 * SECOND)
    for number in range(20_000):
        feed(one, number / 10, base=number % 2)
    (group,) = one._groups.values()
    assert len(group.entries) < 100
    assert one.dropped_entries == 0
