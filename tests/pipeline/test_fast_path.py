"""The fast path of plain dialogues changes nothing but the time: whole captures with it and without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.analysis import Run, analyze_all

from imapids.pipeline import Pipeline

SAMPLES = sorted((Path(__file__).resolve().parents[2] / "sample_pcaps").glob("*.pcap"))
LAB = [f"{number:02}" for number in range(1, 29)]


def lines_of(run: Run) -> list[str]:
    """All lines in their order, as the program writes them."""
    return [json.dumps(line, sort_keys=True) for line in run.lines]


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in SAMPLES])
def test_a_sample_read_by_the_machine_alone_tells_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = lines_of(analyze_all(path))
    monkeypatch.setattr(Pipeline, "plain", False)
    assert lines_of(analyze_all(path)) == fast


@pytest.mark.parametrize("number", LAB)
def test_a_lab_capture_read_by_the_machine_alone_tells_the_same(
        lab: Callable[[str], Run], lab_folder: Path, number: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = lines_of(lab(number))
    (path,) = lab_folder.glob(f"{number}*")
    monkeypatch.setattr(Pipeline, "plain", False)
    assert lines_of(analyze_all(path)) == fast
