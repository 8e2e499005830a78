"""The measures of a rhythm on series whose regularity is known."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.observe.rhythm import LEAST_UNITS, NO_RHYTHM, measure, quantile, skewness

SECOND = 10**9


def series(count: int, interval: Callable[[random.Random], float], seed: int = 1) -> list[int]:
    """Moments of so many units, with these seconds between them."""
    chance, now, times = random.Random(seed), 0.0, []
    for _ in range(count):
        times.append(round(now * SECOND))
        now += interval(chance)
    return times


@pytest.mark.parametrize(("interval", "low", "high"), [
    pytest.param(lambda _: 60.0, 0.99, 1.0, id="a perfect beat"),
    pytest.param(lambda r: 60 * r.uniform(0.9, 1.1), 0.9, 1.0, id="ten percent of jitter"),
    pytest.param(lambda r: 60 * r.uniform(0.7, 1.3), 0.75, 0.95, id="thirty percent of jitter"),
    pytest.param(lambda r: 60 * r.uniform(0.5, 1.0), 0.7, 0.95, id="a sleep that is cut by up to a half"),
    pytest.param(lambda r: r.expovariate(1 / 60), 0.0, 0.6, id="chance, though all units have one size"),
    pytest.param(lambda r: 60 * math.exp(r.gauss(0, 1.5)), 0.0, 0.55, id="a person"),
])
def test_equal_units(interval: Callable[[random.Random], float], low: float, high: float) -> None:
    for seed in range(5):
        rhythm = measure(series(40, interval, seed), [120] * 40, [400] * 40)
        assert low <= rhythm.score <= high, seed


def test_sizes_by_chance_cost_their_weight() -> None:
    chance = random.Random(7)
    times = series(40, lambda _: 60.0)
    assert measure(times, [chance.randrange(10, 60_000) for _ in times]).score == pytest.approx(0.75, abs=0.05)


def test_a_pause_costs_coverage_and_nothing_else() -> None:
    times = series(40, lambda _: 60.0)
    paused = [moment if place < 20 else moment + 8 * 3600 * SECOND for place, moment in enumerate(times)]
    rhythm = measure(paused, [9] * 40)
    assert rhythm.regularity == 1.0
    assert rhythm.coverage == pytest.approx(38 * 60 / (39 * 60 + 8 * 3600))


@pytest.mark.parametrize("times", [
    pytest.param([], id="nothing"),
    pytest.param(list(range(LEAST_UNITS - 1)), id="too few"),
    pytest.param([5] * 50, id="all at once"),
    pytest.param([0] * 30 + [SECOND], id="nearly all at once"),
])
def test_what_has_no_rhythm(times: list[int]) -> None:
    assert measure(times, [1] * len(times)) == NO_RHYTHM


def test_the_interval_and_the_jitter_are_medians() -> None:
    rhythm = measure([0, 10 * SECOND, 20 * SECOND, 32 * SECOND, 42 * SECOND, 50 * SECOND], [1] * 6)
    assert rhythm.interval_s == 10.0
    assert rhythm.jitter == 0.0
    assert rhythm.span_s == 50.0


def test_quartiles_and_their_skewness() -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.5
    assert skewness([1.0, 2.0, 3.0]) == 0.0
    assert skewness([1.0, 1.0, 1.0, 5.0, 9.0]) == 1.0
    assert skewness([4.0, 4.0, 4.0]) == 0.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 10**15), max_size=60), st.data())
def test_scores_lie_between_0_and_1_whatever_comes(moments: list[int], data: st.DataObject) -> None:
    times = sorted(moments)
    sizes = data.draw(st.lists(st.integers(0, 2**40), min_size=len(times), max_size=len(times)))
    rhythm = measure(times, sizes)
    for score in (rhythm.score, rhythm.regularity, rhythm.symmetry, rhythm.size_regularity, rhythm.coverage,
                  rhythm.amount):
        assert -1e-9 <= score <= 1 + 1e-9


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 10**10), min_size=6, max_size=40), st.integers(2, 1_000))
def test_a_slower_beat_is_the_same_beat(intervals: list[int], factor: int) -> None:
    times, slow, now = [0], [0], 0
    for interval in intervals:
        now += interval
        times.append(now)
        slow.append(now * factor)
    assert measure(slow, [1] * len(slow)).score == pytest.approx(measure(times, [1] * len(times)).score)
