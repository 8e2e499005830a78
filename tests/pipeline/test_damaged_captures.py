"""Damaged and odd captures through the command line: exit code, what is said, and an account that adds up."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imapids.__main__ import main

FAULTS = {
    "00": (10, 10, "ok"), "01": (0, 0, "unreadable"), "02": (0, 0, "ok"), "03": (0, 0, "unreadable"),
    "04": (9, 9, "cut"), "05": (9, 9, "cut"), "06": (3, 9, "damaged"), "07": (3, 9, "damaged"),
    "08": (10, 10, "ok"), "09": (10, 10, "ok"), "10": (10, 10, "ok"), "11": (10, 10, "ok"),
    "12": (10, 10, "ok"), "13": (10, 10, "ok"), "14": (10, 10, "ok"), "15": (10, 10, "unsupported"),
    "16": (5, 10, "damaged"), "17": (10, 10, "ok"), "18": (9, 9, "cut"), "19": (20, 20, "ok"),
    "20": (0, 0, "unreadable"), "30": (10, 10, "ok"), "31": (5, 9, "damaged"), "32": (5, 9, "damaged"),
    "33": (5, 9, "damaged"), "34": (5, 9, "damaged"), "35": (10, 10, "ok"), "36": (10, 10, "ok"),
    "37": (9, 9, "damaged"), "38": (10, 10, "ok"), "39": (10, 10, "ok"), "40": (10, 10, "ok"),
    "41": (9, 9, "cut"), "42": (10, 10, "ok"), "43": (10, 10, "ok"), "44": (9, 9, "damaged"),
    "45": (9, 9, "damaged"), "46": (0, 10, "damaged"), "47": (10, 10, "ok"),
}
"""Packets read, least and best, and what became of the file."""

SKIPPED = {"15": {"unknown-link-type:9999": 10}, "19": {"cut-header": 10}, "47": {"unknown-link-type:147": 5}}
"""Packets that gave no segment."""

CODES = {"ok": 0, "cut": 4, "damaged": 4, "unsupported": 3, "unreadable": 3}

SAID = {"15": "10 of 10 packets cannot be decoded, their link type is not known: 9999; ",
        "47": "5 of 10 packets cannot be decoded, their link type is not known: 147; "}
"""What one line on standard error tells of link types."""

NOTES = {"02": "no-packets", "11": "time-went-back", "14": "fraction-above-second", "42": "option-past-block",
         "43": "absurd-tsresol"}
"""Oddities that must be counted although nothing was lost."""


@dataclass
class Told:
    """What the command line said of a file."""

    code: int
    lines: list[dict[str, Any]]
    raw: str
    err: str

    @property
    def capture(self) -> dict[str, Any]:
        (event,) = (line["capture"] for line in self.lines if line["event_type"] == "capture")
        assert isinstance(event, dict)
        return event

    @property
    def verdicts(self) -> list[str]:
        return [line["session"]["verdict"] for line in self.lines if line["event_type"] == "session"]


def tell(capfd: pytest.CaptureFixture[str], path: Path) -> Told:
    code = main(["analyze", str(path), "--format", "jsonl", "--events", "all"])
    out, err = capfd.readouterr()
    return Told(code, [json.loads(line) for line in out.splitlines()], out, err)


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_damaged_file_is_read_as_far_as_it_goes_and_told(faults: dict[str, Path], capfd: pytest.CaptureFixture[str],
                                                           name: str) -> None:
    least, best, status = FAULTS[name]
    told = tell(capfd, faults[name])
    assert told.code == CODES[status]
    assert "s3cret" not in told.raw + told.err
    assert (told.raw + told.err).replace("\n", "").isprintable()
    assert (told.raw + told.err).isascii()
    if status == "unreadable":
        assert told.lines == []
        assert faults[name].name in told.err
        return
    capture = told.capture
    (account,) = capture["inputs"]
    assert least <= capture["packets"] <= best
    assert capture["packets"] == capture["processed"] + sum(capture["skipped"].values()) == account.get("packets", 0)
    assert capture["skipped"] == SKIPPED.get(name, {})
    assert account["status"] == status
    if status in ("cut", "damaged"):
        assert "at byte" in account["damage"][0]
        assert account["damage"][0] in told.err
    said = [line for line in told.err.splitlines() if "link type" in line]
    assert len(said) == (name in SAID)
    assert all(f"{faults[name].name}: {SAID[name]}" in line for line in said)
    if name in NOTES:
        assert NOTES[name] in account["notes"]


@pytest.mark.parametrize("name", [name for name, (_, best, status) in sorted(FAULTS.items())
                                  if best >= 9 and name not in ("15", "47")])
def test_the_session_in_a_damaged_file_keeps_its_verdict(faults: dict[str, Path], capfd: pytest.CaptureFixture[str],
                                                         name: str) -> None:
    assert tell(capfd, faults[name]).verdicts == ["genuine"]


def test_a_step_back_of_the_clock_does_not_tear_a_session_apart(faults: dict[str, Path],
                                                                capfd: pytest.CaptureFixture[str]) -> None:
    good, stepped = (tell(capfd, faults[name]) for name in ("00", "11"))
    ids = [[line["flow_id"] for line in told.lines if line["event_type"] == "session"] for told in (good, stepped)]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 1


@pytest.mark.parametrize("name", ["00", "05", "20", "31"])
def test_a_process_of_its_own_says_the_same(faults: dict[str, Path], capfd: pytest.CaptureFixture[str],
                                            name: str) -> None:
    command = [sys.executable, "-m", "imapids", "analyze", str(faults[name]), "--format", "jsonl", "--events=capture"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    told = tell(capfd, faults[name])
    assert done.returncode == told.code
    assert done.stderr == told.err
    for line in map(json.loads, done.stdout.splitlines()):
        assert line["capture"]["inputs"] == told.capture["inputs"]


def test_beside_a_good_capture_an_unsupported_one_is_told_and_changes_no_verdict(faults: dict[str, Path],
                                                                                 capfd: pytest.CaptureFixture[str],
                                                                                 tmp_path: Path) -> None:
    for name in ("00", "15"):
        (tmp_path / faults[name].name).write_bytes(faults[name].read_bytes())
    told = tell(capfd, tmp_path)
    assert told.code == 4
    assert told.verdicts == ["genuine"]
    assert {item["status"] for item in told.capture["inputs"]} == {"ok", "unsupported"}
    assert len(told.err.splitlines()) == 1
    assert "9999" in told.err
