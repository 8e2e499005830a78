"""Correlations fed by compiled loops: the same alerts as Windows.feed gives, in the same order."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from helpers.rules import compiled, event, flow, rule
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids import kernels
from imapids.config import DetectLimits
from imapids.detect.compiled import RuleSet
from imapids.detect.detector import Detector
from imapids.records.events import Event

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")


def some_rules(dice: random.Random) -> list[dict[str, Any]]:
    """Two rules on commands and one or two correlations on them, some of which compiled loops can feed."""
    bases = [rule("command", {"command.name": name}, name=name.lower()) for name in ("NOOP", "LIST")]
    if dice.random() < 0.2:
        bases.append(rule("command", {"command.result": "no"}, name="refused"))
    found = []
    for number in range(dice.randint(1, 2)):
        kind = dice.choice(["event_count", "temporal", "temporal_ordered", "value_count"])
        body: dict[str, Any] = {"type": kind, "rules": ["noop", "list"], "timespan": dice.choice(["10s", "5m", "2h"]),
                                "group-by": dice.choice([["src_ip"], ["src_ip", "dest_port"], ["command.tag"], []])}
        if kind in ("event_count", "value_count"):
            body["condition"] = {dice.choice(["gte", "lt"]): dice.randint(1, 5)}
        if kind == "value_count":
            body["condition"]["field"] = "command.tag"
        imapids = {"sid": 1_000_001 + number} | ({"subject": "server"} if dice.random() < 0.7 else {})
        found.append({"title": f"c{number}", "name": f"c{number}", "level": "low", "imapids": imapids,
                      "correlation": body})
    if dice.random() < 0.2:
        found.append({"title": "on", "level": "low", "correlation": {
            "type": "event_count", "rules": ["c0"], "timespan": "1h", "condition": {"gte": 2}}})
    return [*bases, *found]


def some_events(dice: random.Random) -> list[Event]:
    """Commands of few clients, some late, some at one time, some without a flow or with one that lacks an address."""
    seconds, found = 0, []
    for place in range(dice.randint(1, 260)):
        seconds += dice.choice([0, 0, 1, 1, 3, 60])
        on = flow(client=dice.choice(["10.0.0.1", "10.0.0.2", ""]), flow_id=dice.randint(1, 3))
        late = dice.choice([0] * 9 + [dice.randint(1, 400)])
        item = event("command", max(0, seconds - late), place + 1, on, name=dice.choice(["NOOP", "LIST", "STORE"]),
                     tag=dice.choice(["a", "b", ""]), result=dice.choice(["ok", "no"]))
        if dice.random() < 0.03:
            item.flow = None
        found.append(item)
    return found


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from([DetectLimits(), DetectLimits(groups=1), DetectLimits(group_entries=8),
                                               DetectLimits(alerts_per_event=1, memo_entries=1)]))
def test_correlations_give_the_same_alerts(seed: int, limits: DetectLimits) -> None:
    lines = []
    for on in (True, False):
        dice = random.Random(seed)
        rules, events = compiled(*some_rules(dice)), some_events(dice)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(kernels, "COMPILED", on)
            detector = Detector(rules, limits=limits)
            cut = dice.randint(0, len(events))
            told = [detector.feed(events[:cut]), detector.feed(events[cut:]), detector.finish(0)]
        lines.append(msgspec.json.encode([told, detector.limits_hit]))
    assert lines[0] == lines[1]


def busy_server(count: int) -> list[Event]:
    """One server that is asked by many, in turns."""
    return [event("command", place, place + 1, flow(client=f"10.0.0.{place % 7}", flow_id=place % 7),
                  name="NOOP" if place % 3 else "LIST") for place in range(count)]


@pytest.mark.parametrize("kind", ["event_count", "temporal", "temporal_ordered"])
def test_groups_that_are_thinned_or_full_give_the_same_alerts(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body: dict[str, Any] = {"type": kind, "rules": ["noop", "list"], "group-by": ["dest_ip"], "timespan": "7d"}
    if kind == "event_count":
        body["condition"] = {"gte": 3}
    rules = compiled(rule("command", {"command.name": "NOOP"}, name="noop"),
                     rule("command", {"command.name": "LIST"}, name="list"),
                     {"title": "both", "level": "low", "imapids": {"subject": "server", "sid": 1_000_001},
                      "correlation": body})
    lines, counts = [], []
    for on in (True, False):
        monkeypatch.setattr(kernels, "COMPILED", on)
        detector = Detector(rules, limits=DetectLimits(group_entries=300))
        lines.append(msgspec.json.encode([detector.feed(busy_server(1_500)), detector.finish(0), detector.limits_hit]))
        counts.append([(len(group.entries), group.head) for group in detector._windows[0]._groups.values()])
    assert lines[0] == lines[1]
    assert counts[0] == counts[1]


def test_one_who_watches_matches_is_told_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = compiled(rule("command", {"command.name": "NOOP"}, name="noop"), {
        "title": "many", "level": "low", "imapids": {"subject": "server", "sid": 1_000_001},
        "correlation": {"type": "event_count", "rules": ["noop"], "group-by": ["dest_ip"], "timespan": "1h",
                        "condition": {"gte": 2}}})
    seen = []
    for on in (True, False):
        monkeypatch.setattr(kernels, "COMPILED", on)
        told: list[Any] = []
        detector = Detector(rules)
        detector.watch_matches(lambda alert, subject, item, flows, told=told: told.append(  # type: ignore[misc]
            (alert.id, subject, item.packet, [each.flow_id for each in flows])))
        detector.feed(busy_server(60))
        seen.append(told)
    assert seen[0] == seen[1]
    assert len(seen[0]) == 39


def many_of_a_client() -> RuleSet:
    """A rule, and a correlation that counts its matches by client."""
    return compiled(rule("command", {"command.name": "NOOP"}, name="noop"), {
        "title": "many", "level": "low", "correlation": {
            "type": "event_count", "rules": ["noop"], "group-by": ["src_ip"], "timespan": "1h",
            "condition": {"gte": 2}}})


def test_feeds_are_made_of_what_they_know(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = Detector(many_of_a_client())._windows[0]
    with pytest.raises(ValueError, match="not in tuple"):
        windows.compiled_feed(0, ("no_field",), "", ())

    class Entry(msgspec.Struct, gc=False):
        other: int

    monkeypatch.setattr("imapids.detect.windows.Entry", Entry)
    with pytest.raises(TypeError, match="other fields"):
        windows.compiled_feed(0, ("client",), "", ())


def test_an_error_of_the_tally_goes_through_and_leaves_the_group_whole() -> None:
    detector = Detector(many_of_a_client())
    items = [event("command", place, place + 1) for place in range(3)]
    detector.feed(items[:2])
    group = next(iter(detector._windows[0]._groups.values()))

    class Broken:
        def add(self, _entry: Any) -> None:
            raise ValueError("no tally")

    group.tally, kept = Broken(), group.tally  # type: ignore[assignment]
    with pytest.raises(ValueError, match="no tally"):
        detector.feed(items[2:])
    group.tally = kept
    assert [entry.packet for entry in group.entries] == [1, 2, 3]
