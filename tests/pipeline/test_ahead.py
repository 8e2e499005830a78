"""The law: decoding ahead in a thread changes nothing of what is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.analysis import analyze_all, limits_of

from imapids.capture import reader as reader_module

SAMPLES = sorted((Path(__file__).resolve().parents[2] / "sample_pcaps").glob("*.pcap"))


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in SAMPLES])
def test_a_sample_tells_the_same_with_and_without_the_thread(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    limits = limits_of(batch_packets=16)
    in_line = analyze_all(path, limits=limits)
    monkeypatch.setattr(reader_module, "is_worth_it", lambda stored_bytes: True)
    assert analyze_all(path, limits=limits).text == in_line.text
