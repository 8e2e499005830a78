"""Random rules over random events: the same matches as pysigma-backend-sqlite finds with SQL.

Differences that are meant stand in tests/detect/differences.toml; the strategies leave them out.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from helpers.rules import SECOND, compiled, event, flow, judged_matches, rule, table_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imapids.config import DetectLimits
from imapids.detect.detector import Detector
from imapids.detect.programs import Program
from imapids.records.events import Event

pytest.importorskip("sigma.backends.sqlite")

WORDS = ["LOGIN", "login", "Select", "FETCH", "UID FETCH", "a%b_c", "x*y?", "back\\slash", "it's", "INBOX", "Drafts",
         "ABC"]
ADDRESSES = ["10.0.0.5", "10.0.1.9", "192.168.7.7", "198.51.100.7", "2001:db8::1", "2001:db8:ff::9"]
TEXTS = ["command.name", "command.tag", "command.code", "command.arguments", "command.state"]
NUMBERS = ["command.literal_bytes", "command.longest_argument", "command.line_bytes"]


@st.composite
def command_events(draw: st.DrawFn) -> Event:
    """A command with values that the rules' values meet often."""
    word = st.sampled_from(["", *WORDS])
    return event(
        "command", name=draw(st.sampled_from(WORDS)), tag=draw(st.sampled_from(WORDS)), code=draw(word),
        state=draw(word),
        arguments=draw(word) + draw(word), literal_bytes=draw(st.integers(0, 9)), line_bytes=draw(st.integers(0, 300)),
        longest_argument=draw(st.integers(0, 9)), illegal_state=draw(st.booleans()), pipelined=draw(st.booleans()),
        on=flow(client=draw(st.sampled_from(ADDRESSES))), seconds=draw(st.integers(0, 10**8)),
    )


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?")


_plain = st.sampled_from(WORDS).map(_escaped)
_piece = st.builds(lambda word, a, b: _escaped(word[min(a, b) : max(a, b) + 1]), st.sampled_from(WORDS),
                   st.integers(0, 4), st.integers(0, 4)).filter(lambda text: bool(text) and not text.endswith("\\"))
_pattern = st.lists(st.one_of(_piece, st.sampled_from("*?")), min_size=1, max_size=5).map("".join)
_regex = st.sampled_from(["^L", "o.i", "(FETCH|SELECT)", "[A-Z]{3,}", "x\\*", "b_c$", "\\\\s"])


@st.composite
def items(draw: st.DrawFn) -> tuple[str, Any]:
    """One line of a detection: field, modifiers, value."""
    text = draw(st.sampled_from(TEXTS))
    number = draw(st.sampled_from(NUMBERS))
    form = draw(st.integers(0, 17))
    match form:
        case 0 | 1:
            return text, draw(st.one_of(_plain, st.lists(_plain, min_size=1, max_size=3)))
        case 2 | 3 | 4:
            how = ("contains", "startswith", "endswith")[form - 2]
            cased = draw(st.sampled_from(["", "|cased"]))
            return f"{text}|{how}{cased}", draw(st.one_of(_piece, st.lists(_piece, min_size=1, max_size=3)))
        case 5:
            return f"{text}|contains|all", draw(st.lists(_piece, min_size=2, max_size=3))
        case 6:
            return f"{text}|cased", draw(_plain)
        case 7:
            return text, draw(_pattern)
        case 8:
            return f"{text}|re", draw(_regex)
        case 9:
            return f"{text}|re|i", draw(_regex)
        case 10:
            return text, None
        case 11:
            return f"{text}|exists", draw(st.booleans())
        case 12:
            return number, draw(st.one_of(st.integers(0, 9), st.lists(st.integers(0, 9), min_size=1, max_size=3)))
        case 13:
            return f"{number}|{draw(st.sampled_from(['lt', 'lte', 'gt', 'gte']))}", draw(st.integers(0, 9))
        case 14:
            return draw(st.sampled_from(["command.illegal_state", "command.pipelined"])), draw(st.booleans())
        case 15:
            networks = ["10.0.0.0/8", "10.0.1.0/24", "192.168.7.7/32", "2001:db8::/32", "2001:db8:ff::/48"]
            return "src_ip|cidr", draw(st.sampled_from(networks))
        case 16:
            other = draw(st.sampled_from(TEXTS))
            return f"{text}|fieldref{draw(st.sampled_from(['', '|startswith', '|endswith', '|contains']))}", other
        case _:
            return f"{text}|{draw(st.sampled_from(['neq', 'base64offset|contains', 'windash|contains']))}", draw(_plain)


@st.composite
def command_rules(draw: st.DrawFn) -> dict[str, Any]:
    """A rule of one to three selections, each a map or a list of maps, under some condition."""
    def selection() -> Any:
        maps = [dict(draw(st.lists(items(), min_size=1, max_size=3))) for _ in range(draw(st.integers(1, 2)))]
        return maps[0] if len(maps) == 1 else maps

    count = draw(st.integers(1, 3))
    named = {f"sel{place}": selection() for place in range(count)}
    shapes = ["sel0", "not sel0", "1 of them", "all of them", "not 1 of sel*"]
    if count > 1:
        shapes += ["sel0 and not sel1", "sel0 or not sel1", "not (sel0 or sel1)", "not (sel0 and not sel1)"]
    if count > 2:
        shapes += ["sel0 and (sel1 or not sel2)", "(sel0 or sel1) and not (sel1 and sel2)", "all of sel* or not sel0"]
    return rule("command", named, draw(st.sampled_from(shapes)))


def matches(contents: list[dict[str, Any]], events: list[Event], limits: DetectLimits) -> list[list[int]]:
    """For each rule the places of the events that it matches, all rules in one program."""
    rules = compiled(*contents)
    conditions = {place: item.condition for place, item in enumerate(rules.rules)}
    program = Program("command", rules.atoms, conditions, limits)
    found: list[list[int]] = [[] for _ in contents]
    half = len(events) // 2
    pieces = [(start, events[start : start + 1]) for start in range(half)] + [(half, events[half:])]
    for start, piece in pieces:
        for place, matched in sorted(program.matches(piece)):
            for rule_place in matched:
                found[rule_place].append(start + place)
    return found


def check_rules(contents: list[dict[str, Any]], events: list[Event], limits: DetectLimits) -> None:
    base = table_of(events)
    judged = [judged_matches(content, base) for content in contents]
    assert matches(contents, events * 2, limits) == [
        found + [place + len(events) for place in found] for found in judged
    ]


_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
_RULES = st.lists(command_rules(), min_size=3, max_size=6)
_EVENTS = st.lists(command_events(), min_size=8, max_size=14)


@settings(max_examples=40, deadline=None, suppress_health_check=_QUIET)
@given(_RULES, _EVENTS, st.sampled_from([1, 3, 4096]))
def test_random_rules_match_what_sql_finds(contents: list[dict[str, Any]], events: list[Event], memo: int) -> None:
    check_rules(contents, events, DetectLimits(memo_entries=memo))


@pytest.mark.slow
@settings(max_examples=1_200, deadline=None, suppress_health_check=_QUIET)
@given(_RULES, _EVENTS, st.sampled_from([1, 3, 4096]))
def test_five_thousand_random_rules_match_what_sql_finds(contents: list[dict[str, Any]], events: list[Event],
                                                         memo: int) -> None:
    check_rules(contents, events, DetectLimits(memo_entries=memo))


def random_correlation(dice: random.Random) -> list[dict[str, Any]]:
    """Three base rules over logins, and one correlation over them."""
    outcomes = ["failure", "success", "aborted"]
    bases = [rule("login", {"login.outcome": outcome}, name=f"base_{outcome}") for outcome in outcomes]
    kind = dice.choice(["event_count", "value_count", "temporal", "temporal_ordered", "value_sum", "value_avg",
                        "value_percentile", "value_median"])
    body: dict[str, Any] = {"type": kind, "timespan": dice.choice(["30s", "1m", "5m"])}
    fields = dice.choice([["src_ip"], ["src_ip", "login.user"], ["dest_ip"], []])
    if fields:
        body["group-by"] = fields
    operator = dice.choice(["gte", "gt", "eq", "lte", "lt"])
    if kind.startswith("temporal"):
        named = dice.sample(["base_failure", "base_success", "base_aborted"], dice.randint(2, 3))
        body["rules"] = named
        if kind == "temporal" and dice.random() < 0.4:
            body["condition"] = dice.choice([" or ".join(named), " and ".join(named), f"({named[0]} or {named[1]})"
                                             + "".join(f" and {name}" for name in named[2:])])
    else:
        body["rules"] = dice.choice([["base_failure"], ["base_failure", "base_success"]])
        body["condition"] = {operator: dice.randint(1, 5)}
        if kind == "value_count":
            body["condition"]["field"] = dice.choice(["login.user", "dest_ip"])
        elif kind != "event_count":
            body["condition"]["field"] = "login.attempt"
            body["condition"][operator] = dice.choice([1, 2, 2.5, 4, 9])
        if kind == "value_percentile":
            body["condition"]["percentile"] = dice.choice([0, 25, 50, 90, 100])
    return [*bases, {"title": "several", "level": "high", "name": "several", "correlation": body}]


def random_logins(dice: random.Random, count: int) -> list[Event]:
    """Logins at rising, distinct times."""
    seconds, found = 0, []
    for _ in range(count):
        seconds += dice.choice([1, 1, 2, 5, 10, 20, 59, 60, 61, 200])
        found.append(event(
            "login", seconds, outcome=dice.choice(["failure", "failure", "success", "aborted"]),
            user=dice.choice(["ann", "bob", "cid", ""]), attempt=dice.randint(1, 5),
            on=flow(client=f"10.0.0.{dice.randint(1, 2)}", server=f"198.51.100.{dice.randint(1, 3)}"),
        ))
    return found


def anchors_found(contents: list[dict[str, Any]], events: list[Event]) -> list[float]:
    """Times (s) of the events at which our correlation held."""
    detector = Detector(compiled(*contents))
    found: list[float] = []
    ended = before = 0
    for item in events:
        lines = detector.feed([item])
        ended += sum(line.count for line in lines if line.state == "final" and line.rule.id == "several")
        counted = ended + sum(state.count for (rule, _), state in detector._alerts._open.items() if rule == "several")
        if counted > before:
            found.append(item.time_ns / SECOND)
        before = counted
    return found


def anchors_judged(contents: list[dict[str, Any]], events: list[Event]) -> list[float]:
    """Times (s) of the events at which the second judge says that the correlation held."""
    from sigma.backends.sqlite import sqliteBackend
    from sigma.backends.sqlite.runtime import execute_plan
    from sigma.collection import SigmaCollection

    base = table_of(events)
    backend = sqliteBackend(timestamp_format="unix")
    converted = backend.convert(SigmaCollection.from_dicts([dict(content) for content in contents]), "zircolite")
    plan = next(item for item in _listed(converted) if "correlation_plan" in item)["correlation_plan"]
    alerts, _ = execute_plan(base, plan, include_events=False)
    return sorted(_seconds(alert["occurrence_time"]) for alert in alerts)


def _listed(converted: Any) -> list[dict[str, Any]]:
    import json

    return json.loads(converted) if isinstance(converted, str) else list(converted)


def _seconds(value: Any) -> float:
    return float(value)


def check_correlation(seed: int) -> None:
    dice = random.Random(seed)
    contents, events = random_correlation(dice), random_logins(dice, 30)
    assert anchors_found(contents, events) == pytest.approx(anchors_judged(contents, events)), contents[-1]


@pytest.mark.parametrize("seed", range(40))
def test_random_correlations_hold_where_sql_finds_them(seed: int) -> None:
    check_correlation(seed)


@pytest.mark.slow
def test_five_hundred_random_correlations_hold_where_sql_finds_them() -> None:
    for seed in range(1_000, 1_500):
        check_correlation(seed)
