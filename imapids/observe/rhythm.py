"""How regular a series of moments and sizes is: sub-scores and their weighted sum, from one capture alone.

The measures are robust ones, as in RITA (median absolute deviation and Bowley skewness of intervals and sizes): one
long pause or one large unit does not hide a beat. docs/explanation/beacon-score.md shows what they make of some series.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec

LEAST_UNITS = 5
"""Fewer have less than four intervals, whose spread says nothing."""
FULL_AMOUNT = 20
"""So many intervals say all that their number can say."""
PAUSE = 3.0
"""An interval longer than so many medians is a pause: the client slept, or somebody switched it off."""
WEIGHTS = {"regularity": 0.45, "symmetry": 0.1, "size_regularity": 0.25, "coverage": 0.1, "amount": 0.1}
"""Weights of the sub-scores. Time weighs most; sizes next, for an idle beat always says the same."""
SPREAD = 0.5
"""Deviation (as part of the median) at which nothing is regular any more. Even intervals between half and one and a
half of their median deviate by 0.25, moments that come by chance (a Poisson process) by 0.69."""


class Rhythm(msgspec.Struct, frozen=True):
    """What was measured of a series. Scores lie between 0 and 1."""

    score: float
    regularity: float
    symmetry: float
    size_regularity: float
    coverage: float
    amount: float
    interval_s: float
    jitter: float
    span_s: float


NO_RHYTHM = Rhythm(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def measure(times_ns: Sequence[int], *sizes: Sequence[int]) -> Rhythm:
    """The rhythm of units that began at these moments.

    Args:
        times_ns: when each unit began, in order of time.
        sizes: for each direction the bytes of each unit. Directions in which nothing was sent do not count.
    """
    if len(times_ns) < LEAST_UNITS:
        return NO_RHYTHM
    intervals = [float(after - before) for before, after in pairwise(times_ns)]
    ordered = sorted(intervals)
    middle = quantile(ordered, 0.5)
    span = times_ns[-1] - times_ns[0]
    if middle <= 0 or span <= 0:  # most came at once: a burst, no beat
        return NO_RHYTHM
    jitter = deviation(intervals, middle) / middle
    regularity = _closeness(jitter)
    symmetry = 1.0 - abs(skewness(ordered))
    kept = sum(interval for interval in intervals if interval <= PAUSE * middle)
    coverage = kept / span
    amount = min(1.0, len(intervals) / FULL_AMOUNT)
    used = [_size_regularity(column) for column in sizes if any(column)]
    size_regularity = sum(used) / len(used) if used else 0.0
    score = (WEIGHTS["regularity"] * regularity + WEIGHTS["symmetry"] * symmetry
             + WEIGHTS["size_regularity"] * size_regularity + WEIGHTS["coverage"] * coverage
             + WEIGHTS["amount"] * amount)
    return Rhythm(score, regularity, symmetry, size_regularity, coverage, amount, middle / 1e9, jitter, span / 1e9)


def _size_regularity(column: Sequence[int]) -> float:
    middle = quantile(sorted(column), 0.5)
    return _closeness(deviation(column, middle) / middle) if middle > 0 else 0.0


def _closeness(spread: float) -> float:
    return max(0.0, 1.0 - spread / SPREAD)


def quantile(ordered: Sequence[float], part: float) -> float:
    """The quantile of ordered numbers, between neighbours by proportion (Hyndman and Fan, type 7)."""
    place = part * (len(ordered) - 1)
    low = int(place)
    rest = place - low
    return ordered[low] if not rest else ordered[low] * (1 - rest) + ordered[low + 1] * rest


def deviation(values: Sequence[float], middle: float) -> float:
    """Median of the absolute deviations from the median."""
    return quantile(sorted(abs(value - middle) for value in values), 0.5)


def skewness(ordered: Sequence[float]) -> float:
    """Bowley's skewness, -1 to 1: 0 where the quartiles lie alike to both sides of the median, or on it."""
    low, middle, high = (quantile(ordered, part) for part in (0.25, 0.5, 0.75))
    return (high + low - 2 * middle) / (high - low) if high > low else 0.0
