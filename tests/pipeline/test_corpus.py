"""Labelled captures of real traffic: no genuine session is accused, nothing else is called genuine, none is missing.

Run with `pytest -m corpus`. `IMAPIDS_CORPUS` names folders with captures and a `labels.tsv`, separated by colons;
without it all of the shared captures' `corpus` are taken. The scorer of the shared tools is the judge.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.analysis import analyze_all

from imapids.errors import InputError

pytestmark = [pytest.mark.corpus, pytest.mark.slow]


def sessions_of(_command: list[str], capture: Path, _timeout_s: float) -> list[dict[str, Any]]:
    """Stands in for the scorer's own, which starts a process for each capture."""
    try:
        run = analyze_all(capture, events={"session"}, default_rules=False)
    except InputError:
        return []
    return [line for line in run.lines if line["event_type"] == "session"]


@pytest.fixture(scope="module")
def figures(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the scorer says of all folders."""
    named = os.environ.get("IMAPIDS_CORPUS", "")
    folders = [Path(name) for name in named.split(":") if name] or sorted((shared / "corpus").rglob("labels.tsv"))
    folders = [folder.parent if folder.name == "labels.tsv" else folder for folder in folders]
    if not folders:
        pytest.skip("no labelled captures: IMAPIDS_CORPUS names none")
    specification = importlib.util.spec_from_file_location("score", shared / "tools" / "score.py")
    assert specification is not None
    assert specification.loader is not None
    scorer = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(scorer)
    scorer.sessions_of = sessions_of
    report = tmp_path_factory.mktemp("score") / "figures.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["score", "--jobs", "1", "--json", str(report), "--show", "40", *map(str, folders)])
        scorer.main()
    told = json.loads(report.read_text())
    assert isinstance(told, dict)
    return told


def shares(figures: dict[str, Any]) -> tuple[int, int, int]:
    """Certain labels of other protocols: named right, all, named wrong."""
    right, total = map(int, figures["figures"]["protocol named right, other than IMAP, certain labels"].split("/"))
    return right, total, int(figures["figures"]["protocol named wrong"])


@pytest.mark.parametrize("fault", ["genuine accused (not-imap or mimic)", "others called genuine",
                                   "labelled flows without a session line"])
def test_there_is_none_of(figures: dict[str, Any], fault: str) -> None:
    assert figures["figures"][fault] == 0


def test_nearly_all_verdicts_are_among_the_accepted(figures: dict[str, Any]) -> None:
    assert float(figures["figures"]["verdict among the accepted"].rstrip("%")) >= 98


def test_other_protocols_are_named_right(figures: dict[str, Any]) -> None:
    right, total, _ = shares(figures)
    assert right >= 0.9 * total


def test_hardly_any_protocol_is_named_wrong(figures: dict[str, Any]) -> None:
    _, total, wrong = shares(figures)
    assert wrong <= 0.01 * total


def test_the_mean_over_protocols_is_good(figures: dict[str, Any]) -> None:
    (share,) = (float(value.rstrip("%")) for name, value in figures["figures"].items() if name.startswith("mean over"))
    assert share >= 80


def test_the_account_of_every_capture_adds_up(shared: Path) -> None:
    for path in sorted((shared / "corpus").rglob("*.pcap*")):
        run = analyze_all(path, default_rules=False)
        assert run.capture.packets == run.capture.processed + sum(run.capture.skipped.values()), path.name
        assert re.search(rb"[^\n\x20-\x7e]", run.text) is None, path.name
