"""Every shipped rule fires on its sample, is silent on its counter-sample, and keeps the pack's habits."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from imapids.detect import load_rules
from imapids.detect.compiled import Correlation, Rule
from imapids.detect.fields import lookup
from imapids.detect.loading import SHIPPED
from imapids.records.alerts import Alert
from imapids.records.events import Event
from imapids.run.local import analyze
from imapids.run.options import RunOptions

RULES = load_rules()
SHOWN: list[Rule | Correlation] = [item for item in (*RULES.rules, *RULES.correlations) if item.output]
SAMPLES = SHIPPED.parent / "_samples"
FAMILIES = {"verdict", "transport-security", "credentials", "service-abuse", "mailbox-abuse", "scanning", "c2", "udp",
            "intel", "exposure"}
SEVERE = ("high", "critical")


class _Alerts:
    def __init__(self) -> None:
        self.found: list[Alert] = []

    def write(self, items: Sequence[Event | Alert]) -> None:
        self.found += [item for item in items if isinstance(item, Alert)]

    def close(self) -> None:
        """Nothing to close."""


@functools.cache
def names_fired_by(path: str) -> dict[str, str]:
    """Rule name: level, of the alerts that a capture raises."""
    sink = _Alerts()
    beside = Path(path).with_suffix(".indicators.txt")
    inventory = Path(path).with_suffix(".inventory.yml")
    analyze([path], RunOptions(indicator_paths=(str(beside),) if beside.is_file() else (),
                               inventory_path=str(inventory) if inventory.is_file() else None), sink)
    return {alert.rule.name: alert.rule.level for alert in sink.found}


def sample(name: str) -> str:
    path = SAMPLES / f"{name}.pcap"
    assert path.is_file(), f"there is no sample {name}"
    return str(path)


_FIRE = [pytest.param(item.info.name, name, id=f"{item.info.name} on {name}")
         for item in SHOWN for name in item.samples_fire]
_SILENT = [pytest.param(item.info.name, name, id=f"{item.info.name} not on {name}")
           for item in SHOWN for name in item.samples_silent]


@pytest.mark.parametrize(("rule", "name"), _FIRE)
def test_it_fires_on_its_sample(rule: str, name: str) -> None:
    assert rule in names_fired_by(sample(name))


@pytest.mark.parametrize(("rule", "name"), _SILENT)
def test_it_is_silent_on_its_counter_sample(rule: str, name: str) -> None:
    assert rule not in names_fired_by(sample(name))


@pytest.mark.parametrize("name", ["genuine-session", "genuine-ipv6", "starttls", "compress", "http-probe"])
def test_clean_sessions_raise_nothing_severe(name: str) -> None:
    assert {rule for rule, level in names_fired_by(sample(name)).items() if level in SEVERE} == set()


def test_ids_names_sids_and_titles_are_unique() -> None:
    every = [*RULES.rules, *RULES.correlations]
    for kind in ("id", "name", "title"):
        twice = [value for value, count in Counter(getattr(item.info, kind) for item in every).items() if count > 1]
        assert twice == [], kind
    sids = [item.info.sid for item in SHOWN]
    assert len(set(sids)) == len(sids)
    assert all(1_143_001 <= sid <= 1_143_999 for sid in sids)


def test_every_family_is_there() -> None:
    assert {item.info.family for item in SHOWN} == FAMILIES


@pytest.mark.parametrize("item", SHOWN, ids=lambda item: item.info.name)
def test_it_says_what_why_and_what_to_do(item: Rule | Correlation) -> None:
    info = item.info
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", info.id)
    assert info.techniques
    assert info.falsepositives
    assert len(info.advice) > 30
    assert len(info.description) > 60
    assert item.samples_silent
    assert item.labels == [f"imapids-{info.family}"]


def test_rules_do_not_ask_for_text_that_no_field_holds() -> None:
    for item in RULES.rules:
        for atom in RULES.atoms:
            assert lookup("", atom.field) is not None, (item.info.name, atom.field)


@pytest.mark.corpus
def test_genuine_captures_raise_nothing_severe(shared: Path) -> None:
    accused = {}
    for folder, prefix in (("own", "imap"), ("public/imap", "")):
        for path in sorted((shared / "corpus" / folder).glob(f"{prefix}*.pcap*")):
            severe = [rule for rule, level in names_fired_by(str(path)).items() if level in SEVERE]
            if severe:
                accused[path.name] = severe
    assert accused == {}


def test_a_scanner_that_is_known_is_told_of_at_the_lowest_level_only(tmp_path: Path) -> None:
    known = tmp_path / "lists" / "research-scanners.csv"
    known.parent.mkdir()
    known.write_text("203.0.113.128/25, A search engine\n")
    sink = _Alerts()
    analyze([sample("research-scanner")], RunOptions(rule_paths=(str(tmp_path),)), sink)
    named = {alert.rule.name: alert.rule.level for alert in sink.found}
    assert named["research_scanner"] == "informational"
    unknown = names_fired_by(sample("research-scanner"))
    assert {"mail_port_scan_from_outside", "scan_tool_outside"} <= unknown.keys() - named.keys()
    assert unknown.keys() - named.keys() <= {"mail_port_scan_from_outside", "scan_tool_outside"}, "nothing else hides"
