"""Each mistake in a rule is told with its place, what is wrong, and what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from imapids.detect import load_rules
from imapids.errors import RuleError

RULE = """\
title: A test
id: 0f2b6a52-2f0b-4b7e-9f64-000000000001
logsource:
  product: imapids
  category: session
detection:
  selection:
    session.verdict: mimic
  condition: selection
level: high
imapids:
  sid: 1000001
  subject: case
"""
CORRELATION = """\
---
title: Several
name: several
correlation:
  type: event_count
  rules: 0f2b6a52-2f0b-4b7e-9f64-000000000001
  group-by: [src_ip]
  timespan: 10m
  condition: {gte: 3}
"""


def faults_of(text: str, folder: Path) -> list[str]:
    path = folder / "r.yml"
    path.write_text(text)
    try:
        load_rules([path], defaults=False, cache=folder / "cache")
    except RuleError as error:
        return [fault.replace(f"{path}:", "") for fault in error.faults]
    return []


@pytest.mark.parametrize(("old", "new", "expected"), [
    pytest.param("session.verdict", "session.verdikt",
                 '8: unknown field of session: "session.verdikt". Did you mean "session.verdict"?', id="a field"),
    pytest.param("session.verdict: mimic", "session.verdict|contians: mimic",
                 '8: unknown modifier "contians". Did you mean "contains"?', id="a modifier"),
    pytest.param("condition: selection", "condition: selektion",
                 "9: Detection 'selektion' not defined in detections. Did you mean \"selection\"?", id="a selection"),
    pytest.param("condition: selection", "condition: selection and (", "9: ", id="a broken condition"),
    pytest.param("category: session", "category: sessions",
                 '5: unknown category "sessions". Did you mean "session"?', id="a category"),
    pytest.param("product: imapids", "product: windows",
                 '4: logsource product is "windows": only rules for "imapids" can run here', id="a foreign product"),
    pytest.param("level: high", "level: hihg", "10: ", id="a level"),
    pytest.param("level: high", "levl: high", '10: unknown key "levl". Did you mean "level"?', id="a key"),
    pytest.param("subject: case", "subject: cases", '13: imapids.subject is "cases": must be one of', id="a subject"),
    pytest.param("sid: 1000001", "sid: 5", "12: imapids.sid must be a number from 1000000", id="a sid"),
    pytest.param("subject: case", "subjekt: case", '13: unknown key "subjekt" in imapids', id="a key of ours"),
    pytest.param("session.verdict: mimic", "session.verdict|re: '(a+)+(?=b)'", "8: ", id="look-ahead"),
    pytest.param("session.verdict: mimic", "session.verdict|re: '('", "8: ", id="a broken expression"),
    pytest.param("session.verdict: mimic", "session.verdict|expand: '%x%'", "8: placeholders", id="a placeholder"),
    pytest.param("session.verdict: mimic", "session.verdict|gt: 5", "8: session.verdict is text", id="text above 5"),
    pytest.param("session.verdict: mimic", "session.packets|cidr: 10.0.0.0/8", "8: session.packets is no address",
                 id="a network of packets"),
    pytest.param("session.verdict: mimic", "session.verdict|fieldref: session.prtocol",
                 'unknown field of session: "session.prtocol". Did you mean "session.protocol"?',
                 id="a referred field"),
    pytest.param("title: A test", "title: ''", "1: has no title", id="no title"),
    pytest.param("  subject: case", "  expires: soon", '13: imapids.expires is "soon": must be a day', id="a day"),
])
def test_a_mistake_is_told_with_its_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert faults_of(RULE, tmp_path) == []
    faults = faults_of(RULE.replace(old, new, 1), tmp_path)
    assert len(faults) == 1, faults
    assert expected in faults[0]
    assert faults[0].partition(":")[0].isdigit()


@pytest.mark.parametrize(("old", "new", "expected"), [
    pytest.param("rules: 0f2b6a52", "rules: 1f2b6a52", 'there is no rule "1f2b6a52', id="an unknown rule"),
    pytest.param("[src_ip]", "[source_ip]", 'unknown field of session: "source_ip". Did you mean "src_ip"?',
                 id="an unknown group"),
    pytest.param("event_count", "event_cuont", "event_cuont", id="an unknown type"),
    pytest.param("timespan: 10m", "timespan: 10 minutes", "imespan", id="a wrong span"),
    pytest.param("timespan: 10m", "timespan: 9000d", "longer than a year", id="too long a span"),
    pytest.param("rules: 0f2b6a52-2f0b-4b7e-9f64-000000000001", "rules: several", "leads to itself", id="a circle"),
    pytest.param("condition: {gte: 3}", "condition: {gte: many}", "many", id="a word as a number"),
    pytest.param("event_count", "value_count", "field reference", id="no field to count"),
])
def test_a_mistake_in_a_correlation_is_told(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert faults_of(RULE + CORRELATION, tmp_path) == []
    faults = faults_of(RULE + CORRELATION.replace(old, new, 1), tmp_path)
    assert len(faults) == 1, faults
    assert expected in faults[0]


def test_one_id_twice_is_a_fault(tmp_path: Path) -> None:
    assert "a second rule with the id or name" in faults_of(RULE + "---\n" + RULE, tmp_path)[0]
