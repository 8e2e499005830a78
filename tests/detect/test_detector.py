"""From events to alert lines: one rolling alert for each subject, the same for any cut, with its why."""

from __future__ import annotations

import random
from typing import Any

import pytest
from helpers.rules import SECOND, START, compiled, compiled_with_faults, event, flow, rule

from imapids.config import DetectLimits
from imapids.detect.detector import Detector
from imapids.detect.programs import Program
from imapids.detect.reasons import reason_of
from imapids.records.alerts import Alert
from imapids.records.candidates import Evidence
from imapids.records.events import Capture, Event, InputAccount

NOT_IMAP = rule("session", {"session.verdict": "not-imap"}, imapids={"sid": 1000001, "subject": "case"})


def sessions(count: int, **fields: Any) -> list[Event]:
    return [event("session", place, packet=place + 1, verdict="not-imap", **fields) for place in range(count)]


def run(detector: Detector, events: list[Event], cut: int = 10**9) -> list[Alert]:
    found: list[Alert] = []
    for start in range(0, len(events), cut):
        found += detector.feed(events[start : start + cut])
    return found + detector.finish(START + 10**6 * SECOND)


def test_one_alert_rolls_on_at_powers_of_ten() -> None:
    lines = run(Detector(compiled(NOT_IMAP)), sessions(250))
    assert [(line.state, line.count) for line in lines] == [("new", 1), ("update", 10), ("update", 100), ("final", 250)]
    assert len({line.id for line in lines}) == 1
    assert lines[0].first_ns == START
    assert lines[-1].last_ns == START + 249 * SECOND
    assert (lines[0].packet, lines[0].verdict, lines[0].direction) == (1, "not-imap", "outbound")
    assert lines[0].case == lines[-1].case
    assert len(lines[0].case) == 12


@pytest.mark.parametrize("cut", [1, 2, 7, 100])
def test_the_cut_of_the_run_changes_nothing(cut: int) -> None:
    dice = random.Random(7)
    events = [
        event("session", place, verdict=dice.choice(["not-imap", "genuine"]),
              on=flow(client=f"10.0.0.{dice.randint(1, 9)}", flow_id=place))
        for place in range(200)
    ]
    rules = compiled(NOT_IMAP)
    assert run(Detector(rules), events, cut) == run(Detector(rules), events)


@pytest.mark.parametrize(("subject", "count"), [
    pytest.param("case", 4, id="client, server and port"), pytest.param("source", 2, id="client"),
    pytest.param("server", 2, id="server and port"), pytest.param("flow", 8, id="flow"),
])
def test_subjects(subject: str, count: int) -> None:
    rules = compiled({**NOT_IMAP, "imapids": {"subject": subject}})
    events = [
        event("session", place, verdict="not-imap",
              on=flow(client=f"10.0.0.{place % 2}", server=f"198.51.100.{place // 2 % 2}", flow_id=place))
        for place in range(8)
    ]
    assert sum(line.state == "new" for line in run(Detector(rules), events)) == count


def test_too_many_subjects_end_the_quietest_early() -> None:
    detector = Detector(compiled(NOT_IMAP), limits=DetectLimits(open_alerts=3))
    events = [event("session", place, verdict="not-imap", on=flow(client=f"10.0.0.{place}")) for place in range(10)]
    lines = detector.feed(events)
    assert sum(line.state == "final" for line in lines) == 7
    assert detector.limits_hit == {"detect-open-alerts": 7}
    assert len(detector.finish(START)) == 3


def test_memos_that_started_anew_are_told() -> None:
    asked = {"command.name": "w1", "command.result": "ok", "command.state": "s1"}
    detector = Detector(compiled(rule("command", asked)), limits=DetectLimits(memo_entries=4))
    detector.feed([event("command", name=f"w{place % 7}", result=f"r{place % 5}", state=f"s{place % 4}")
                   for place in range(140)])
    assert detector.limits_hit == {"detect-memo-full": 1}


def test_a_quiet_day_ends_an_alert() -> None:
    day = 86_400
    events = [event("session", seconds, verdict="not-imap") for seconds in (0, day + 1, day + 2)]
    lines = run(Detector(compiled(NOT_IMAP)), events)
    assert [(line.state, line.count) for line in lines] == [("new", 1), ("final", 1), ("new", 1), ("final", 2)]
    assert len({line.id for line in lines}) == 2


def test_an_event_that_fires_a_thousand_rules_raises_sixteen() -> None:
    many = [{**NOT_IMAP, "title": f"r{place}", "name": f"r{place}", "level": "low"} for place in range(999)]
    detector = Detector(compiled(*many, {**NOT_IMAP, "name": "worst", "level": "critical"}))
    lines = detector.feed(sessions(1))
    assert len(lines) == 16
    assert lines[0].rule.level == "critical"
    assert detector.limits_hit == {"detect-alerts-per-event": 984}


def test_the_why_names_values_and_the_packet_of_the_evidence() -> None:
    rules = compiled(rule("session", {
        "session.evidence.code": ["server-speaks-ssh", "server-speaks-http"], "session.packets|gte": 5,
    }))
    evidence = [Evidence("client-spoke-first", "client", 4, 0), Evidence("server-speaks-ssh", "server", 6, 0, "SSH")]
    line = Detector(rules).feed([event("session", packet=3, evidence=evidence)])[0]
    assert line.packet == 6
    assert line.why.condition == "all of"
    assert [(part.condition, part.value, part.packet, part.held) for part in line.why.because] == [
        ("session.evidence.code = server-speaks-ssh", "server-speaks-ssh", 6, True),
        ("session.packets >= 5", "9", 3, True),
    ]


LISTS = event("command", name="FETCH", tag="a1", traits=["nul-byte", "8-bit"], arguments="1:* (FLAGS)")


@pytest.mark.parametrize(("detection", "expected"), [
    pytest.param({"command.traits": "nul-byte"}, True, id="any element of a list"),
    pytest.param({"command.traits|contains": "-bi"}, True, id="a part of any element"),
    pytest.param({"command.traits|all": ["nul-byte", "8-bit"]}, True, id="all values, in whichever element"),
    pytest.param({"command.traits": "format-string"}, False, id="no element"),
    pytest.param({"command.traits": None}, False, id="a list is not absent"),
    pytest.param({"command.code": None}, True, id="empty text is absent"),
    pytest.param({"command.code": ""}, True, id="empty text matches the empty value"),
    pytest.param({"command.code|exists": False}, True, id="empty text does not exist"),
    pytest.param({"command.code|contains": "x"}, False, id="an absent field answers nothing"),
    pytest.param({"command.name|cased": "fetch"}, False, id="cased"),
    pytest.param({"command.name": "fetch"}, True, id="not cased"),
    pytest.param({"command.name": "F*h"}, True, id="wildcards"),
    pytest.param({"command.name": "F?TCH"}, True, id="one character"),
    pytest.param({"command.name": r"F\*"}, False, id="an escaped wildcard"),
    pytest.param({"dest_port": 143}, True, id="a number"),
    pytest.param({"dest_port": "143"}, True, id="a number as text"),
    pytest.param({"dest_port|lt": 143}, False, id="less"),
    pytest.param({"timestamp|hour": 12}, True, id="the hour of packet time"),
    pytest.param({"timestamp|hour|gte": 13}, False, id="a later hour"),
    pytest.param({"timestamp|week": 1}, True, id="the ISO week"),
    pytest.param({"timestamp|year": 2026, "timestamp|month": 1, "timestamp|day": 2}, True, id="the day"),
    pytest.param({"command.arguments|re": r"^\d:\* \(fl"}, False, id="expressions heed case"),
    pytest.param({"command.arguments|re|i": r"^\d:\* \(fl"}, True, id="unless told not to"),
    pytest.param({"src_ip|cidr": "10.0.0.0/8"}, True, id="a network"),
    pytest.param({"src_ip|cidr": ["::/0", "11.0.0.0/8"]}, False, id="other networks"),
    pytest.param({"command.tag|fieldref": "command.name"}, False, id="two fields that differ"),
    pytest.param({"command.name|fieldref|startswith": "command.name"}, True, id="a field with itself"),
    pytest.param({"command.illegal_state": False}, True, id="a boolean"),
    pytest.param({"app_proto": "imap"}, True, id="app_proto"),
    pytest.param({"event_type": "command"}, True, id="event_type"),
    pytest.param({"command.arguments|base64offset|contains": "word"}, False, id="base64offset"),
    pytest.param({"command.arguments|windash|contains": " -x"}, False, id="windash"),
    pytest.param(["fetch", "flags"], True, id="keywords: any text of the event"),
    pytest.param(["flags*"], False, id="a keyword with a wildcard is a whole text"),
    pytest.param({"|all": ["fetch", "nul-byte"]}, True, id="all keywords"),
])
def test_what_conditions_mean(detection: Any, expected: bool) -> None:
    assert bool(Detector(compiled(rule("command", detection))).feed([LISTS])) is expected


def test_tables_of_counts_can_be_asked_by_name() -> None:
    item = event("session", anomalies={"overlap": 3})
    for detection, expected in (({"session.anomalies": "overlap"}, 1), ({"session.anomalies.overlap|gte": 3}, 1),
                                ({"session.anomalies.gap|gte": 1}, 0)):
        assert len(Detector(compiled(rule("session", detection))).feed([item])) == expected


def test_lists_in_records_in_a_list_are_one_list() -> None:
    inputs = [InputAccount(name="a", status="cut", damage=["first", "second"]), InputAccount(name="b", status="ok")]
    item = Event("capture", 0, Capture(packets=0, processed=0, skipped={}, flows=0, sessions=0, inputs=inputs))
    rules = compiled(rule("capture", {"capture.inputs.damage": "second", "capture.inputs.name": "b"}))
    assert len(Detector(rules).feed([item])) == 1


def test_a_rule_without_category_sees_every_event() -> None:
    content = rule("command", {"dest_port": 143})
    del content["logsource"]["category"]
    detector = Detector(compiled(content))
    assert detector.categories >= {"session", "command", "login", "tls"}
    assert len(detector.feed([event("command"), event("tls", on=flow(client="10.0.0.6"))])) == 2


def test_categories_are_those_that_rules_ask_for() -> None:
    assert Detector(compiled(NOT_IMAP, rule("login", {"login.user": "x"}))).categories == {"session", "login"}


@pytest.mark.parametrize("cut", [1, 33, 700])
def test_learning_which_fields_vary_never_changes_the_answer(cut: int) -> None:
    dice = random.Random(3)
    words = [f"w{number}" for number in range(60)]
    contents = [
        rule("command", {"a": {"command.name": dice.sample(words, 3), "command.result": dice.choice(["ok", "no"])},
                         "b": {"command.arguments|contains": dice.choice(words)},
                         "c": {"command.literal_bytes|gte": dice.randint(0, 50)}},
             dice.choice(["a", "a and not b", "b and c", "not a and b", "a or (b and not c)", "c and not (a or b)"]))
        for _ in range(40)
    ]
    rules = compiled(*contents)
    conditions = {place: item.condition for place, item in enumerate(rules.rules)}
    program = Program("command", rules.atoms, conditions, DetectLimits(memo_entries=600))
    items = [
        event("command", name=dice.choice(words), result=dice.choice(["ok", "no", "bad"]),
              arguments=dice.choice(words), literal_bytes=dice.randint(0, 60), tag=f"t{dice.random()}")
        for _ in range(700)
    ]
    for start in range(0, len(items), cut):
        found = dict(program.matches(items[start : start + cut]))
        for place, item in enumerate(items[start : start + cut]):
            expected = {place for place, node in conditions.items() if reason_of(node, rules.atoms, item).held}
            assert set(found.get(place, ())) == expected



# allow-lists

ALLOW = {
    "title": "allowed", "logsource": {"product": "imapids", "category": "session"},
    "filter": {"rules": ["odd"], "selection": {"src_ip": "10.0.0.5"}, "condition": "not selection"},
}
ODD = {**NOT_IMAP, "name": "odd"}


def test_an_allow_list_silences_its_rule_only() -> None:
    rules = compiled(ODD, {**NOT_IMAP, "name": "other"}, ALLOW)
    lines = Detector(rules).feed(sessions(1))
    assert [line.rule.name for line in lines] == ["other"]
    assert rules.filters[0].rules == 1


def test_an_allow_list_ends_with_its_day() -> None:
    rules = compiled(ODD, {**ALLOW, "imapids": {"expires": "2026-01-03"}})
    day = 86_400
    events = [event("session", seconds, verdict="not-imap") for seconds in (0, day, 2 * day)]
    assert [line.last_ns for line in Detector(rules).feed(events)] == [START + 2 * day * SECOND]
    assert rules.expired(START) == []
    assert [item.title for item in rules.expired(START + 2 * day * SECOND)] == ["allowed"]


def test_an_allow_list_that_matches_no_rule_is_reported() -> None:
    rules, faults = compiled_with_faults(NOT_IMAP, ALLOW)
    assert not faults
    assert "applies to no rule" in rules.notes[0]


def test_a_rule_that_feeds_a_correlation_raises_no_alert_itself() -> None:
    several = {"title": "several", "correlation": {"type": "event_count", "rules": "odd", "timespan": "1m",
                                                   "group-by": ["src_ip"], "condition": {"gte": 3}}}
    lines = run(Detector(compiled(ODD, several)), sessions(5))
    assert {line.rule.title for line in lines} == {"several"}
    assert [(line.state, line.count) for line in lines] == [("new", 1), ("final", 3)]
    assert lines[0].subject == "src_ip=10.0.0.5"
    assert lines[0].first_ns == START
    assert lines[0].why.value == "3"
    assert [part.packet for part in lines[0].why.because] == [1, 2, 3]


def test_a_correlation_of_correlations() -> None:
    def several(name: str, **more: Any) -> dict[str, Any]:
        return {"title": name, "name": name, "correlation": {"timespan": "1m", "group-by": ["src_ip"], **more}}

    rules = compiled(
        several("both", type="temporal", rules=["many", "wide"]),
        several("many", type="event_count", rules="odd", condition={"gte": 3}),
        several("wide", type="value_count", rules="odd", condition={"gte": 2, "field": "dest_ip"}), ODD,
    )
    events = [event("session", place, verdict="not-imap", on=flow(server=f"198.51.100.{place % 2}"))
              for place in range(4)]
    assert [line.rule.name for line in Detector(rules).feed(events)] == ["both"]
