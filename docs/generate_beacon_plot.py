#!/usr/bin/env python3
"""Draw the plot of docs/explanation/beacon-score.md: what the score makes of series whose rhythm is known.

usage: python docs/generate_beacon_plot.py

The series come from a seed and the score from the program itself; a test compares the file with what this writes.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from imapids.observe.beacons import GENUINE_DAMPING
from imapids.observe.rhythm import WEIGHTS, Rhythm, measure

PLOT = Path(__file__).resolve().parent / "explanation" / "beacon-score.svg"
UNITS = 40
SECOND = 10**9
WIDTH, LEFT, RIGHT, BAR, STEP, TOP = 860, 330, 780, 20, 34, 66
CALLS, BEATS = 0.6, 0.7
"""Thresholds of the shipped rules regular_calls and regular_beats."""
COLOURS = {"regularity": "#1f5f8b", "symmetry": "#4f9fc8", "size_regularity": "#d9822b", "coverage": "#7a9e3f",
           "amount": "#9b8bb4"}
NAMES = {"regularity": "regularity of intervals", "symmetry": "symmetry", "size_regularity": "equal sizes",
         "coverage": "coverage", "amount": "amount"}


class Series(NamedTuple):
    """A series with a known rhythm."""

    name: str
    interval: Callable[[random.Random], float]
    """Seconds until the next unit."""
    size: Callable[[random.Random], int]
    units: int = UNITS
    genuine: bool = False


SERIES = (
    Series("implant, every 60 s, idle", lambda _: 60.0, lambda _: 68),
    Series("implant, 60 s with 20 % jitter", lambda r: 60 * r.uniform(0.8, 1.2), lambda _: 68),
    Series("implant, 60 s, sleep cut by up to 50 %", lambda r: 60 * r.uniform(0.5, 1.0), lambda _: 68),
    Series("implant at work: 10 % jitter, many sizes", lambda r: 60 * r.uniform(0.9, 1.1),
           lambda r: r.choice((68, 68, 68, 400, 2_000, 9_000))),
    Series("implant, 60 s with 20 % jitter, 6 calls", lambda r: 60 * r.uniform(0.8, 1.2), lambda _: 68, units=6),
    Series("mail program, polls every 5 minutes", lambda r: 300 + r.uniform(0, 2), lambda r: r.choice((310, 310, 340)),
           genuine=True),
    Series("calls by chance, equal sizes", lambda r: r.expovariate(1 / 60), lambda _: 68),
    Series("a person", lambda r: 60 * math.exp(r.gauss(0, 1.4)), lambda r: round(300 * math.exp(r.gauss(0, 1.6)))),
)


def rhythm_of(series: Series) -> Rhythm:
    """The rhythm of a series; its chance is the same in every run."""
    chance, now = random.Random(f"rhythm of {series.name}"), 0.0  # noqa: S311  # no secret is made of it
    times, sizes = [], []
    for _ in range(series.units):
        times.append(round(now * SECOND))
        sizes.append(series.size(chance))
        now += series.interval(chance)
    return measure(times, sizes)


def across(score: float) -> float:
    """Where a score lies on the paper."""
    return LEFT + score * (RIGHT - LEFT)


def bar(series: Series, top: float) -> Iterator[str]:
    """One series: its name, its weighted sub-scores side by side, its score."""
    rhythm = rhythm_of(series)
    yield f'<text x="{LEFT - 10}" y="{top + 15:.0f}" text-anchor="end">{series.name}</text>'
    damping = 1.0 - GENUINE_DAMPING * series.genuine
    reached = 0.0
    for part, weight in WEIGHTS.items():
        share = weight * getattr(rhythm, part)
        x, width = across(reached * damping), share * damping * (RIGHT - LEFT)
        yield f'<rect x="{x:.1f}" y="{top:.0f}" width="{width:.1f}" height="{BAR}" fill="{COLOURS[part]}"/>'
        reached += share
    if series.genuine:
        width = across(rhythm.score) - across(rhythm.score * damping)
        yield (f'<rect x="{across(rhythm.score * damping):.1f}" y="{top:.0f}" width="{width:.1f}" height="{BAR}"'
               ' fill="none" stroke="#888" stroke-dasharray="4 3"/>')
        yield (f'<text x="{across(rhythm.score) - 6:.1f}" y="{top + 15:.0f}" text-anchor="end" fill="#666">'
               f'rhythm {rhythm.score:.2f}, damped</text>')
    yield (f'<text x="{RIGHT + 12}" y="{top + 15:.0f}" font-weight="bold">{rhythm.score * damping:.2f}</text>')


def plot() -> str:
    """The whole drawing."""
    height = TOP + STEP * len(SERIES) + 44
    bottom = TOP + STEP * len(SERIES) - 8
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13" role="img">',
             "<title>The beacon score of eight series, as the sum of its weighted sub-scores</title>",
             f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>']
    x = 30
    for part, name in NAMES.items():
        parts.append(f'<rect x="{x}" y="16" width="13" height="13" fill="{COLOURS[part]}"/>')
        parts.append(f'<text x="{x + 19}" y="27">{name} ({WEIGHTS[part]:g})</text>')
        x += 34 + 7 * (len(name) + 7)
    for tenth in range(0, 11, 2):
        at = across(tenth / 10)
        parts.append(f'<line x1="{at:.1f}" y1="{TOP - 8}" x2="{at:.1f}" y2="{bottom}" stroke="#e3e3e3"/>')
        parts.append(f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle" fill="#555">{tenth / 10:g}</text>')
    for place, series in enumerate(SERIES):
        parts += bar(series, TOP + STEP * place)
    for score, name in ((CALLS, "regular_calls"), (BEATS, "regular_beats")):
        at, anchor = across(score), "end" if score == CALLS else "start"
        parts.append(f'<line x1="{at:.1f}" y1="{TOP - 14}" x2="{at:.1f}" y2="{bottom}" stroke="#b00020"'
                     ' stroke-dasharray="6 3"/>')
        parts.append(f'<text x="{at + (-4 if anchor == "end" else 4):.1f}" y="{TOP - 12}" text-anchor="{anchor}"'
                     f' fill="#b00020">{name}</text>')
    parts.append("</svg>\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PLOT.write_text(plot(), encoding="utf-8")
    sys.stdout.write(f"{PLOT}\n")
