"""The labelled captures: what is a scan or exposes a server raises its rule, and genuine ones raise nothing severe."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.analysis import analyze_all

ONE_ASKED_IN_VAIN = {"scan_drop_retry.pcap"}
"""A single connection that nobody answered is no scan: nobody could tell it from a server that is down."""
FAMILIES = {"scanning", "exposure"}


def raised(path: Path) -> dict[str, str]:
    """Rules of scans and exposure that fire, with their level."""
    return {alert.rule.name: alert.rule.level for alert in analyze_all(path, events={"alert"}).alerts
            if alert.rule.family in FAMILIES}


@pytest.mark.corpus
def test_every_scan_raises_its_rule(shared: Path) -> None:
    captures = sorted((shared / "corpus" / "own").glob("scan_*.pcap"))
    assert captures
    assert [path.name for path in captures if path.name not in ONE_ASKED_IN_VAIN and not raised(path)] == []


@pytest.mark.corpus
def test_tools_are_named(shared: Path) -> None:
    own = shared / "corpus" / "own"
    for name in ("attack_masscan_banners", "scan_masscan_open", "scan_syn_drop", "scan_v6", "scan_vertical"):
        assert {"scan_tool_inside", "scan_tool_outside"} & set(raised(own / f"{name}.pcap")), name


@pytest.mark.corpus
def test_genuine_captures_raise_nothing_severe(shared: Path) -> None:
    accused = {}
    for path in sorted((shared / "corpus" / "own").glob("imap*.pcap")):
        severe = {name: level for name, level in raised(path).items() if level in ("high", "critical")}
        if severe:
            accused[path.name] = severe
    assert accused == {}
