"""Alerts that sessions raise while they are open: told early, counted once, completed or taken back at the end."""

from __future__ import annotations

from typing import Any

from helpers.rules import compiled, event, flow, rule

from imapids.detect.detector import Detector
from imapids.detect.rolling import REVISED, STILL_OPEN
from imapids.records.alerts import Alert
from imapids.records.events import OPEN_SESSION, Event

NOT_IMAP = rule("session", {"session.verdict": "not-imap"}, imapids={"subject": "case"})


def session(number: int = 1, seconds: float = 0, *, still_open: bool = False, **fields: Any) -> Event:
    made = event("session", seconds, on=flow(flow_id=number), **{"verdict": "not-imap", "protocol": "ssh", **fields})
    if still_open:
        made.kind = OPEN_SESSION
    return made


def lines(*events: Event) -> list[Alert]:
    detector = Detector(compiled(NOT_IMAP))
    return [line for each in events for line in detector.feed([each])] + detector.finish(events[-1].time_ns)


def words(alerts: list[Alert]) -> list[tuple[str, int, str, list[str]]]:
    return [(line.state, line.count, line.protocol, [label for label in line.labels if "imapids" not in label])
            for line in alerts]


def test_an_open_session_is_told_at_once_and_counted_once() -> None:
    told = lines(session(still_open=True, packets=4), session(packets=900))
    assert words(told) == [("new", 1, "ssh", [STILL_OPEN]), ("final", 1, "ssh", [])]
    assert told[0].id == told[1].id == lines(session())[0].id


def test_its_end_puts_the_last_facts_into_the_alert() -> None:
    told = lines(session(still_open=True, protocol=None), session(protocol="rdp"))
    assert told[-1] == lines(session(protocol="rdp"))[-1]


def test_another_name_is_an_update() -> None:
    told = lines(session(still_open=True, protocol=None), session(still_open=True, protocol="rdp"), session())
    assert [word[:3] for word in words(told)] == [("new", 1, ""), ("update", 1, "rdp"), ("final", 1, "ssh")]


def test_what_does_not_hold_at_the_end_is_taken_back() -> None:
    told = lines(session(still_open=True), session(verdict="genuine", protocol="imap"))
    assert words(told) == [("new", 1, "ssh", [STILL_OPEN]), ("final", 0, "ssh", [STILL_OPEN, REVISED])]


def test_others_of_the_case_keep_an_alert_that_one_session_takes_back() -> None:
    told = lines(session(1, still_open=True), session(2, 9), session(1, verdict="genuine"), session(3, 20))
    assert [word[:2] for word in words(told)] == [("new", 1), ("final", 2)]


def test_an_open_session_joins_the_alert_of_its_case() -> None:
    told = lines(session(1), session(2, 5, still_open=True), session(3, 6), session(2, 5))
    assert [word[:2] for word in words(told)] == [("new", 1), ("final", 3)]


def test_correlations_count_a_session_when_it_is_over() -> None:
    many = {"title": "many", "correlation": {"type": "event_count", "rules": ["one"], "group-by": ["src_ip"],
                                             "timespan": "1h", "condition": {"gte": 2}}, "level": "high"}
    detector = Detector(compiled({**NOT_IMAP, "name": "one"}, many))
    assert all(line.rule.title != "many" for line in detector.feed(
        [session(1, still_open=True), session(2, still_open=True), session(1)]))
    assert any(line.rule.title == "many" for line in detector.feed([session(2)]))


def test_the_alerts_of_open_sessions_are_forgotten_with_them() -> None:
    detector = Detector(compiled(NOT_IMAP))
    for number in range(1, 50):
        detector.feed([session(number, number, still_open=True)])
        detector.feed([session(number, number, verdict="genuine" if number % 2 else "not-imap")])
    assert not detector._alerts.told_early
