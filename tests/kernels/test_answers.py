"""Fields of events read by their places, and answers looked up by them: the same as the getters and the memos give."""

from __future__ import annotations

import random
import typing
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from helpers.rules import compiled, event, flow, rule
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids import kernels
from imapids.config import DetectLimits
from imapids.detect.columns import Column, Columns
from imapids.detect.detector import Detector
from imapids.detect.fields import BODIES, CATEGORIES, fields_of, getter
from imapids.detect.programs import NOTHING, Program, Step
from imapids.detect.readings import layout_of, reading_of
from imapids.records.candidates import Evidence
from imapids.records.events import OPEN_SESSION, Event, Ja3

if TYPE_CHECKING:
    from imapids.kernels._events import Reading

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")


def made(record: Any) -> Any:
    """A value of this type that is not empty."""
    origin, inside = typing.get_origin(record), typing.get_args(record)
    if origin in (list, tuple):
        return origin([made(inside[0])] * 2)
    if origin is dict:
        return {"first": made(inside[1]), "second": made(inside[1])}
    if inside:  # a union with None
        return made(inside[0])
    if issubclass(record, msgspec.Struct):
        hints = typing.get_type_hints(record)
        return record(**{name: made(hints[name]) for name in record.__struct_fields__})
    return {str: "word", int: 7, float: 1.5, bool: True, bytes: b"x"}[record]


def empty(record: Any) -> Any:
    """An event body with what its class demands, and no more."""
    hints = typing.get_type_hints(record)
    needed = record.__struct_fields__[: len(record.__struct_fields__) - len(record.__struct_defaults__)]
    defaults = dict(zip(reversed(record.__struct_fields__), reversed(record.__struct_defaults__), strict=False))
    names = [name for name in record.__struct_fields__ if name in needed or defaults[name] is msgspec.NODEFAULT]
    return record(**{name: _nothing_of(hints[name]) for name in names})


def _nothing_of(kind: Any) -> Any:
    if type(None) in typing.get_args(kind):
        return None
    kind = typing.get_origin(kind) or kind
    return empty(kind) if issubclass(kind, msgspec.Struct) else kind()


def masks(column: Column, events: list[Event], compiled_: bool, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a column answers, and the values of which it learnt the answer, in their order."""
    learnt: list[Any] = []
    answer = column._answer

    def answer_and_tell(value: Any) -> int:
        learnt.append((type(value), value))
        return answer(value)

    monkeypatch.setattr(kernels, "COMPILED", compiled_)
    monkeypatch.setattr(column, "_answer", answer_and_tell)
    found = column.masks(Columns(events))
    monkeypatch.undo()
    return found if any(found) else [0] * len(events), learnt


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_field_is_read_as_its_getter_reads_it(category: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = BODIES[category]
    events = [
        Event(category, 5, made(body), flow(), 1, 9), Event(category, 6, empty(body), flow(), 2, 9),
        Event(category, 7, empty(body), None, 3, 9), Event("tls", 8, empty(BODIES["tls"]), flow(), 4, 9),
        Event(category, 5, made(body), flow(), 1, 9),
    ]
    for name, field in fields_of(category).items():
        some = events if field.origin != "body" or category == "tls" else [*events[:3], events[4]]
        columns = [Column(category, name, 99) for _ in range(2)]
        for column in columns:
            column._present = 1
        assert masks(columns[0], some, True, monkeypatch) == masks(columns[1], some, False, monkeypatch), name
        assert list(columns[0].memo) == list(dict.fromkeys(map(getter(field), some))), name


@pytest.mark.parametrize(("name", "values"), [
    pytest.param("command.literal_bytes", [1, True, 1.0, 0, False, 0.0, -0.0], id="equal values of several types"),
    pytest.param("command.literal_bytes", [True, 1, 1.0], id="of equal values the first is asked about"),
    pytest.param("command.literal_bytes", [float("nan"), float("nan")], id="values unequal to themselves"),
    pytest.param("command.name", ["a", None, "", "a", ("a", "b"), 10**30, "a"], id="values of types not declared"),
    pytest.param("command.traits", [[], ["a"], ("a",), "ab", {"a": 1}, []], id="tuples, text and tables for a list"),
    pytest.param("command.name", [f"w{place}" for place in range(40)] * 2, id="more values than the memo holds"),
    pytest.param("command.name", [], id="no events"),
])
@pytest.mark.parametrize("capacity", [1, 3, 99])
def test_odd_values_are_answered_in_the_same_order(name: str, values: list[Any], capacity: int,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    events = [event("command", **{name.partition(".")[2]: value}) for value in values]
    found = []
    for on in (True, False):
        column = Column("command", name, capacity)
        column._present, column._absent = 1, 2
        half = len(events) // 2
        found += [repr(masks(column, cut, on, monkeypatch)) for cut in (events[:half], events[half:])]
        found.append(repr(list(column.memo.items())))
    assert found[:3] == found[3:]


@pytest.mark.parametrize("evidence", [
    pytest.param([], id="an empty list"),
    pytest.param([Evidence("a", "first", 1, 0), Evidence("b", "second", 1, 0)], id="records"),
    pytest.param([Evidence("a", "first", 1, 0), Ja3("h", "s"), {"code": "x"}, None], id="records of several classes"),
    pytest.param((Evidence("a", "first", 1, 0),), id="a tuple"),
    pytest.param(None, id="nothing"),
])
def test_fields_of_records_in_a_list(evidence: Any) -> None:
    field = fields_of("session")["session.evidence.code"]
    item = event("session", evidence=evidence)
    try:
        expected = [getter(field)(item)]
    except AttributeError as error:
        with pytest.raises(AttributeError, match=str(error)):
            reading_of("session", field, getter(field)).masks({}, [item], lambda _value: 0)
        return
    seen: list[Any] = []
    reading_of("session", field, getter(field)).masks({}, [item], lambda value: seen.append(value) or 1)  # type: ignore[func-returns-value]
    assert seen == expected


def sifted(readings: tuple[Reading, ...], events: list[Event]) -> Any:
    """The commands that are left where no step is known."""
    sieve = kernels.events.Sieve(readings, {}, layout_of(Step), NOTHING, lambda step: step.way)
    return kernels.events.sift(layout_of(Event), events, {"command": sieve}, [])


@pytest.mark.parametrize("spoil", [
    pytest.param(lambda body: setattr(body, "name", ["no", "hash"]), id="a value without hash"),
    pytest.param(lambda body: delattr(body, "name"), id="a field that was deleted"),
])
def test_what_cannot_be_asked_raises_as_python_does(spoil: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    events = [event("command", name="first"), event("command", name="second")]
    spoil(events[1].body)
    raised = []
    for on in (True, False):
        with pytest.raises((TypeError, AttributeError)) as caught:
            masks(Column("command", "command.name", 9), events, on, monkeypatch)
        raised.append(caught.type)
        monkeypatch.undo()
    assert raised[0] is raised[1]
    with pytest.raises((TypeError, AttributeError)):
        sifted((Column("command", "command.name", 9).reading,), events)
    assert events[0].body.name == "first"


def test_an_error_in_learning_goes_through() -> None:
    def fails(_value: Any) -> int:
        raise ValueError("no answer")

    with pytest.raises(ValueError, match="no answer"):
        Column("command", "command.name", 9).reading.masks({}, [event("command")], fails)


def test_only_readings_read() -> None:
    with pytest.raises(TypeError):
        sifted((len,), [event("command")])  # type: ignore[arg-type]


def test_events_that_are_none_are_told_apart_by_their_attributes() -> None:
    class Other:
        kind = "other"

    events: list[Any] = [event("command"), Other(), event("login"), event("command")]
    found = kernels.events.sift(layout_of(Event), events, {}, [])
    assert {kind: places for kind, (places, _, _) in found.items()} == {"command": [0, 3], "other": [1], "login": [2]}
    assert found["command"][1:] == ([events[0], events[3]], [None, None])


@given(st.lists(st.integers(0, 60), max_size=200))
def test_kinds_are_counted(numbers: list[int]) -> None:
    events = [Event("".join(["kind", str(number)]), 0, event("command").body) for number in numbers]
    found = kernels.events.kinds_counted(layout_of(Event), events)
    assert list(found.items()) == list(Counter(item.kind for item in events).items())


WORDS = [f"w{number}" for number in range(9)]


def some_rules(dice: random.Random) -> list[dict[str, Any]]:
    """Rules on fields of few and of many values, with and without regular expressions."""
    return [
        rule("command", {"a": {"command.name": dice.sample(WORDS, 3), "command.pipelined": dice.random() < 0.5},
                         "b": {"command.arguments|re": f"{dice.choice(WORDS)}$"},
                         "c": {"command.literal_bytes|gte": dice.randint(0, 50)},
                         "d": {"command.traits": dice.sample(WORDS, 2), "src_port": 40_000}},
             dice.choice(["a", "a and not b", "b and c", "not a and b", "a or (b and not c)", "d and c", "not d"]))
        for _ in range(dice.randint(1, 8))
    ]


def some_events(dice: random.Random) -> list[Event]:
    """Commands, some without a flow, some with numbers for truth values. There are no truth values for numbers: what
    equals a value that was asked about is answered as that one was, and compiled loops do not ask about all."""
    events = [
        event("command", name=dice.choice(WORDS), arguments=dice.choice(WORDS), state=dice.choice(WORDS),
              pipelined=dice.choice([True, False, 1, 0]), traits=dice.sample(WORDS, dice.randint(0, 2)),
              literal_bytes=dice.choice([1, 2, 30, 45, 60]), line_bytes=place)
        for place in range(dice.randint(0, 200))
    ]
    for item in events:
        if dice.random() < 0.1:
            item.flow = None
    return events


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from([1, 3, 40, 4096]))
def test_programs_give_the_same_and_learn_the_same_keys(seed: int, memo: int) -> None:
    found: list[Any] = []
    for on in (True, False):
        dice = random.Random(seed)
        rules, events = compiled(*some_rules(dice)), some_events(dice)
        program = Program("command", rules.atoms, {place: item.condition for place, item in enumerate(rules.rules)},
                          DetectLimits(memo_entries=memo))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(kernels, "COMPILED", on)
            told, start = [], 0
            while start < len(events):
                end = start + dice.randint(1, 90)
                told.append(sorted(program.matches(events[start:end])))
                start = end
        assert all(len(column.memo) <= memo for column in program._few + program._many + program._costly)
        found.append((told, [column.name for column in program._few], list(program._steps)))
    assert found[0] == found[1]


def told(subject: str, limits: DetectLimits, compiled_: bool, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The alert lines of two rules with such subjects, one of them with a correlation, over some days."""
    dice = random.Random(3)
    more = {"imapids": {"subject": subject, "sid": 1_000_001}}
    rules = compiled(
        rule("command", {"command.name": "NOOP"}, name="noop", **more),
        rule("command", {"command.result": "ok"}, level="high", imapids={"subject": subject, "sid": 1_000_002}),
        rule("session", {"session.verdict": "genuine"}, imapids={"subject": subject, "sid": 1_000_003}),
        {"title": "many", "level": "low", "imapids": {"subject": subject, "sid": 1_000_004}, "correlation": {
            "type": "event_count", "rules": ["noop"], "group-by": ["src_ip"], "timespan": "2h",
            "generate": True, "condition": {"gte": 3}}})
    events = []
    for place in range(1_500):
        client = dice.randint(1, 3)
        item = event(dice.choice(("command", "command", "session")), dice.choice((0, 60, -50)) + place * 200, place + 1,
                     flow(client=f"10.0.0.{client}", flow_id=client * 100 + dice.randint(1, 5)))
        if dice.random() < 0.02:
            item.flow = None
        if dice.random() < 0.02:
            item.time_ns += 90_000 * 10**9 if dice.random() < 0.5 else 10**20
        if dice.random() < 0.05:
            item.kind = OPEN_SESSION if item.kind == "session" else item.kind
        events.append(item)
    monkeypatch.setattr(kernels, "COMPILED", compiled_)
    detector = Detector(rules, limits=limits)
    lines = [detector.feed(events[:700]), detector.feed(events[700:]), detector.finish(0)]
    assert sum(map(len, lines)) > 10
    return msgspec.json.encode([[msgspec.structs.replace(line, time_ns=line.time_ns % 2**63, last_ns=0, first_ns=0)
                                 for line in some] for some in lines]) + repr(detector.limits_hit).encode()


@pytest.mark.parametrize("subject", ["case", "source", "server", "flow", "user"])
@pytest.mark.parametrize("limits", [
    pytest.param(DetectLimits(), id="as it comes"),
    pytest.param(DetectLimits(open_alerts=3), id="few open alerts"),
    pytest.param(DetectLimits(alerts_per_event=1), id="one alert for an event"),
])
def test_matches_of_open_alerts_are_counted_alike(subject: str, limits: DetectLimits,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(subject, limits, True, monkeypatch) == told(subject, limits, False, monkeypatch)


def test_events_of_all_kinds_give_the_same_alerts(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(7)
    kinds = ("command", "login", "session", "message", "anomaly", OPEN_SESSION)
    events = []
    for place in range(3_000):
        kind = dice.choice(kinds)
        item = event("session" if kind == OPEN_SESSION else kind, place, place + 1,
                     flow(client=f"10.0.0.{dice.randint(1, 30)}", flow_id=place % 90))
        item.kind = kind
        events.append(item)
    rules = compiled(
        rule("command", {"command.name": "NOOP"}, name="noop"), rule("login", {"login.outcome": "failure"}),
        rule("session", {"session.verdict": "genuine"}),
        rule("session", {"src_ip|endswith": "7"}) | {"logsource": {"product": "imapids"}},
        {"title": "many", "level": "low", "correlation": {
            "type": "event_count", "rules": ["noop"], "group-by": ["src_ip"], "timespan": "5m",
            "condition": {"gte": 3}}})
    lines = []
    for on in (True, False):
        monkeypatch.setattr(kernels, "COMPILED", on)
        detector = Detector(rules)
        lines.append(msgspec.json.encode([detector.feed(events), detector.finish(0), detector.limits_hit]))
    assert lines[0] == lines[1]
