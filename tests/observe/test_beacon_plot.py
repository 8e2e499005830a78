"""The plot of the beacon score shows what the program computes now."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def drawing() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "generate_beacon_plot.py"))


def test_the_committed_plot_is_fresh(drawing: dict[str, Any]) -> None:
    assert (DOCS / "explanation" / "beacon-score.svg").read_text(encoding="utf-8") == drawing["plot"]()


def test_the_thresholds_in_the_plot_are_those_of_the_rules(drawing: dict[str, Any]) -> None:
    rules = (DOCS.parent / "rules" / "sigma" / "c2" / "beacons.yml").read_text(encoding="utf-8")
    calls, beats = (rules.partition(f"name: {name}\n")[2].partition("---")[0] for name in
                    ("regular_calls", "regular_beats"))
    assert f"beacon.score|gte: {drawing['CALLS']:g}" in calls
    assert f"beacon.score|gte: {drawing['BEATS']:g}" in beats
