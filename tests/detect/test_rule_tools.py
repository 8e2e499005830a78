"""The library behind `imapids rules`: lints one by one, templates that pass, allow-lists that work, clear messages."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from helpers.rules import START, compiled, event, rule

from imapids.detect import Detector, load_rules
from imapids.detect.lints import LINTS, lint
from imapids.detect.rule_files import Document
from imapids.detect.tools import KINDS, allow, check, convert, explain, find, new
from imapids.errors import RuleError, UsageError

TODAY = dt.date(2026, 1, 2)
GOOD = rule(
    "session", {"session.verdict": "mimic"}, id="0f2b6a52-2f0b-4b7e-9f64-000000000001", name="good",
    description="What was seen, and why it matters to you.", falsepositives=["None known"], tags=["attack.t1571"],
    imapids={"sid": 1000001, "advice": "Look at it.", "samples": {"silent": "genuine-session"}},
)
FILTER = {
    "title": "allowed", "id": "0f2b6a52-2f0b-4b7e-9f64-000000000002", "logsource": {"product": "imapids"},
    "filter": {"rules": ["good"], "selection": {"src_ip": "10.0.0.5"}, "condition": "not selection"},
    "imapids": {"expires": "2026-02-01"},
}


def advice_on(content: dict[str, Any]) -> list[str]:
    return [fault.message.partition(":")[0] for fault in lint([Document("r.yml", content, {(): 1})])]


def without(content: dict[str, Any], *path: str) -> dict[str, Any]:
    if len(path) == 1:
        return {key: value for key, value in content.items() if key != path[0]}
    return {**content, path[0]: without(content[path[0]], *path[1:])}


def test_good_documents_need_no_advice() -> None:
    assert advice_on(GOOD) == []
    assert advice_on(FILTER) == []


@pytest.mark.parametrize(("content", "expected"), [
    pytest.param(without(GOOD, "id"), "rule has no id", id="NamesNoId"),
    pytest.param(without(GOOD, "imapids", "sid"), "rule has no sid", id="NamesNoSid"),
    pytest.param(without(GOOD, "level"), "rule has no level", id="NamesNoLevel"),
    pytest.param({**GOOD, "description": "short"}, "rule has no description", id="SaysNothing"),
    pytest.param(without(GOOD, "imapids", "advice"), "rule gives no advice", id="AdvisesNothing"),
    pytest.param(without(GOOD, "falsepositives"), "rule names no false positives", id="NamesNoFalsePositives"),
    pytest.param({**GOOD, "tags": ["attack.command-and-control"]}, "rule names no ATT&CK technique",
                 id="NamesNoTechnique"),
    pytest.param(without(GOOD, "imapids", "samples"), "rule names no sample that stays silent", id="NamesNoSample"),
    pytest.param({**GOOD, "title": "x" * 91}, "title is longer than 90 characters", id="TitleTooLong"),
    pytest.param(without(GOOD, "logsource", "category"), "rule has no category", id="HasNoCategory"),
    pytest.param({**GOOD, "detection": {"a": {"src_ip": "x"}, "b": {"dest_ip": "y"}, "condition": "not a and not b"}},
                 "condition only excludes", id="OnlyExcludes"),
    pytest.param({**GOOD, "detection": {"nothing": {"src_ip": "x"}, "condition": "nothing"}},
                 "selection begins like an operator", id="NamesLikeAnOperator"),
    pytest.param(without(FILTER, "imapids"), "allow-list never expires", id="NeverExpires"),
    pytest.param({**FILTER, "filter": {**FILTER["filter"], "rules": "any"}},  # type: ignore[dict-item]
                 "allow-list applies to any rule", id="AllowsEverything"),
])
def test_each_lint(content: dict[str, Any], expected: str) -> None:
    assert advice_on(content) == [expected]


def test_every_lint_says_what_to_do() -> None:
    names = [item.name for item in LINTS]
    assert len(set(names)) == len(names)
    assert all(item.advice and item.advice[0].islower() for item in LINTS)


def test_a_sid_twice_is_told() -> None:
    documents = [Document("a.yml", GOOD, {(): 1}), Document("b.yml", {**GOOD, "name": "x"}, {(): 1})]
    (fault,) = lint(documents)
    assert str(fault) == "b.yml:1: sid 1000001 is that of a.yml:1 too: give each rule its own"


@pytest.mark.parametrize("kind", KINDS)
def test_templates_pass_check(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "new.yml"
    path.write_text(new(kind, TODAY))
    assert check([path]) == []


def test_the_shipped_rules_pass_check() -> None:
    assert [str(fault) for fault in check([], defaults=True)] == []


def test_an_unknown_template_is_told() -> None:
    with pytest.raises(UsageError, match="choose one of session"):
        new("sesion", TODAY)


def test_check_tells_faults_and_advice_with_places(tmp_path: Path) -> None:
    path = tmp_path / "r.yml"
    path.write_text("title: x\nlogsource: {product: imapids, category: login}\ndetection:\n  s:\n    login.usr: a\n"
                    "  condition: s\n")
    found = check([path])
    assert [fault.severity for fault in found if "login.usr" in fault.message] == ["error"]
    assert f'{path}:5: unknown field of login: "login.usr". Did you mean "login.user"?' in map(str, found)
    assert any(fault.severity == "advice" for fault in found)


def test_find_and_explain() -> None:
    rules = load_rules()
    for name in ("mimic_outbound", "1143005", "a conversation pretends to be imap, towards the outside"):
        assert find(rules, name).info.sid == 1143005
    text = explain(find(rules, "mimic_outbound"), rules)
    assert "session.verdict = mimic" in text
    assert "What to do" in text
    assert "within 60 s" in explain(find(rules, "many_short_encrypted_sessions"), rules)
    with pytest.raises(UsageError, match=r'Did you mean "mimic_outbound"\?'):
        find(rules, "mimic_outbond")


def test_every_shipped_rule_can_be_explained() -> None:
    rules = load_rules()
    for item in [*rules.rules, *rules.correlations]:
        assert item.info.title in explain(item, rules)


def test_an_allowed_finding_raises_no_alert_again(tmp_path: Path) -> None:
    events = [event("session", place, verdict="mimic") for place in range(3)]
    alert = Detector(load_rules()).feed(events)[0]
    path = tmp_path / "allow.yml"
    path.write_text(allow(alert, 30, TODAY))
    rules = load_rules(allow=[path], cache=tmp_path / "cache")
    assert rules.notes == []
    names = {line.rule.name for line in Detector(rules).feed(events)}
    assert alert.rule.name not in names
    assert rules.expired(START + 40 * 86_400 * 10**9)


def test_an_allowed_correlation_raises_no_alert_again(tmp_path: Path) -> None:
    name = "many_short_encrypted_sessions"
    events = [event("session", place, starttls="tls", duration_ms=900) for place in range(18)]
    alert = next(line for line in Detector(load_rules()).feed(events) if line.rule.name == name)
    path = tmp_path / "allow.yml"
    path.write_text(allow(alert, 30, TODAY))
    rules = load_rules(allow=[path], cache=tmp_path / "cache")
    assert name not in {line.rule.name for line in Detector(rules).feed(events)}


@pytest.mark.parametrize("days", [0, -1, 5000])
def test_an_allowance_has_an_end(days: int) -> None:
    alert = Detector(compiled(GOOD)).feed([event("session", verdict="mimic")])[0]
    with pytest.raises(UsageError, match="must be 1 to"):
        allow(alert, days, TODAY)


def test_hostile_text_in_an_alert_cannot_break_out_of_the_filter(tmp_path: Path) -> None:
    alert = Detector(compiled(GOOD)).feed([event("session", verdict="mimic")])[0]
    alert.rule.title = 'x"\nfilter: {rules: any}\n#'
    alert.rule.name = ""
    path = tmp_path / "allow.yml"
    path.write_text(allow(alert, 3, TODAY, reason='"\n- evil: |'))
    assert [fault for fault in check([path]) if fault.severity == "error"] == []


def test_only_filters_are_allow_lists(tmp_path: Path) -> None:
    path = tmp_path / "r.yml"
    path.write_text(new("session", TODAY))
    with pytest.raises(RuleError, match="is no filter"):
        load_rules(allow=[path], cache=tmp_path / "cache")


def test_a_missing_back_end_is_named() -> None:
    with pytest.raises(UsageError, match="choose one of splunk"):
        convert([], "kql")
    try:
        import sigma.backends.splunk  # noqa: F401
    except ImportError:
        with pytest.raises(UsageError, match="pysigma-backend-splunk"):
            convert([], "splunk")


@pytest.mark.parametrize("target", ["splunk", "lucene", "esql", "eql"])
def test_shipped_rules_convert(target: str) -> None:
    pytest.importorskip("sigma.backends.splunk")
    pytest.importorskip("sigma.backends.elasticsearch")
    queries = dict(convert([], target, defaults=True))
    text = queries["A conversation pretends to be IMAP, towards the outside"]
    assert "mimic" in text
    assert "not convertible" not in text
    assert sum("not convertible" in query for query in queries.values()) <= (40 if target == "lucene" else 10)
