"""The alerts of every sample, line by line: a change of a rule, a verdict or an identity shows here first.

`pytest tests/golden --update-golden` writes the files anew; the difference belongs into the review of the change.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.analysis import analyze_all

GOLDEN = Path(__file__).parent
SAMPLES = sorted((GOLDEN.parents[1] / "sample_pcaps").glob("*.pcap"))
OF_THE_RULE = ("description", "advice", "falsepositives", "rule", "name", "family")
"""What stands in the rule's file already: a golden line is about what the rule found."""


def golden_line(line: dict[str, Any]) -> str:
    """An alert's line without the words of its rule and without the place of the capture."""
    alert = line["alert"]
    context = {name: value for name, value in alert["context"]["imapids"].items() if name not in OF_THE_RULE}
    kept = {name: value for name, value in line.items() if name not in ("alert", "event_type", "pcap_filename")}
    rule = {name: alert[name] for name in ("signature_id", "signature", "severity")}
    return json.dumps(kept | rule | {"imapids": context})


def golden_lines(path: Path) -> list[str]:
    """The alert lines of a capture in canonical order: by time, rule and state."""
    inventory = path.with_suffix(".inventory.yml")
    run = analyze_all(path, events={"alert"}, inventory_path=str(inventory) if inventory.is_file() else None)
    lines = [line for line in run.lines if line["event_type"] == "alert"]
    lines.sort(key=lambda line: (line["timestamp"], line["alert"]["signature_id"], line.get("flow_id", 0),
                                 line["alert"]["context"]["imapids"]["count"],
                                 line["alert"]["context"]["imapids"]["state"]))
    return [golden_line(line) for line in lines]


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in SAMPLES])
def test_the_alerts_of_a_sample_are_as_they_were(path: Path, request: pytest.FixtureRequest) -> None:
    golden = GOLDEN / f"{path.stem}.jsonl"
    lines = golden_lines(path)
    if request.config.getoption("--update-golden"):
        golden.write_text("".join(f"{line}\n" for line in lines))
    assert golden.is_file(), "no golden file: pytest tests/golden --update-golden writes it"
    assert lines == golden.read_text().splitlines()


def test_every_golden_file_belongs_to_a_sample(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden"):
        pytest.skip("the files are being written")
    assert {path.stem for path in GOLDEN.glob("*.jsonl")} == {path.stem for path in SAMPLES}
