"""Events that are decided by what is known, one after the other: the same matches as column by column."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.rules import compiled, event, rule

from imapids import kernels
from imapids.config import DetectLimits
from imapids.detect.columns import Column
from imapids.detect.compiled import Atom
from imapids.detect.programs import NOTHING, Program, Step
from imapids.detect.readings import layout_of
from imapids.records.candidates import Evidence
from imapids.records.events import Event

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")


def program(*contents: dict[str, Any]) -> Program:
    rules = compiled(*contents)
    return Program("command", rules.atoms, {place: item.condition for place, item in enumerate(rules.rules)},
                   DetectLimits())


def left_by(asked: Program, events: list[Event]) -> list[int]:
    """Places of the events that are not decided."""
    left = kernels.events.sift(layout_of(Event), events, {"command": asked.sieve}, [])
    return [place for places, _, _ in left.values() for place in places]


def test_what_was_seen_once_is_decided_and_so_is_what_no_rule_can_ask_for() -> None:
    asked = program(rule("command", {"command.name": "LOGIN", "command.tag": "gerg"}),
                    rule("command", {"command.literal_bytes|gt": 100}))
    events = [event("command", name="LOGIN", tag=f"x{place}", literal_bytes=place) for place in range(90)]
    assert left_by(asked, events) == list(range(90))
    assert asked.matches(events[:60]) == []
    odd = [event("command", name="LOGIN", tag="gerg"), event("command", name="LOGIN", literal_bytes=101),
           event("command", name="LOGIN", tag="gust"), event("command", name="LOGIN", tag="gérg")]
    assert left_by(asked, [*events, *odd]) == [90, 91, 92, 93]
    assert sorted(asked.matches([*events, *odd])) == [(90, (0,)), (91, (1,))]
    assert left_by(asked, [*events, *odd]) == []
    assert sorted(asked.matches([*events, *odd])) == [(90, (0,)), (91, (1,))]


@pytest.mark.parametrize("value", [
    pytest.param("", id="empty text"), pytest.param("é", id="text that is not ASCII"),
    pytest.param(None, id="nothing"), pytest.param(7.0, id="a number with a point"),
    pytest.param(True, id="a truth value"), pytest.param((), id="a list"),
    pytest.param(2**70, id="a large number"), pytest.param(b"abc", id="bytes"),
])
def test_what_is_neither_ascii_nor_a_small_integer_is_asked_as_ever(value: Any) -> None:
    asked = program(rule("command", {"command.tag": "gerg", "src_port": 9}))
    item = event("command", tag=value)
    assert asked.matches([event("command", tag="b")]) == []
    asked.matches([item])
    assert left_by(asked, [item]) == []


def test_a_field_is_unknown_until_it_is_learnt_and_is_asked_first_then() -> None:
    names = ["command.name", "command.tag", "command.arguments"]
    columns = [Column("command", name, 9) for name in names]
    for column in columns:
        column.add(Atom(column.name, "regex", "^x"), 1)
    step, end = Step((), None), Step((3,), None)
    step.ask = True  # type: ignore[assignment]
    step.way = kernels.events.Way([column.question for column in columns], {0: NOTHING, 1: end})
    sieve = kernels.events.Sieve((), {(): step}, layout_of(Step), NOTHING, lambda _step: None)  # type: ignore[arg-type, return-value]
    items = [event("command", name="a", tag="b", arguments="c"), event("command", name="x", tag="b", arguments="c")]

    def sifted() -> tuple[list[int], list[Any]]:
        found: list[Any] = []
        left = kernels.events.sift(layout_of(Event), items, {"command": sieve}, found)
        return [place for places, _, _ in left.values() for place in places], found

    for column in columns:
        assert sifted() == ([0, 1], [])
        for item in items:
            column.learn(column.get(item))
    assert sifted() == ([], [(1, (3,))])


@pytest.mark.parametrize("spoilt", [
    pytest.param({"questions": [1], "steps": {}}, id="a question that is none"),
    pytest.param({"questions": [], "steps": None}, id="no table of steps"),
])
def test_ways_are_made_of_questions(spoilt: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        kernels.events.Way(**spoilt)


@pytest.mark.parametrize("step", [
    pytest.param("no step", id="no step at all"),
    pytest.param(Event("command", 0, event("command").body), id="a record"),
])
def test_steps_are_steps(step: Any) -> None:
    sieve = kernels.events.Sieve((), {(): step}, layout_of(Step), NOTHING, lambda _step: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError):
        kernels.events.sift(layout_of(Event), [event("command")], {"command": sieve}, [])


def test_a_way_that_is_none_is_refused_and_an_error_in_making_it_goes_through() -> None:
    step = Step((), None)
    step.ask = True  # type: ignore[assignment]

    def fails(_step: Step) -> Any:
        raise ValueError("no way")

    for make, error in ((fails, ValueError), (lambda _step: None, TypeError)):
        sieve = kernels.events.Sieve((), {(): step}, layout_of(Step), NOTHING, make)  # type: ignore[arg-type]
        with pytest.raises(error):
            kernels.events.sift(layout_of(Event), [event("command")], {"command": sieve}, [])


def test_numbers_that_do_not_fit_are_refused() -> None:
    reading = Column("command", "command.tag", 9).reading
    with pytest.raises(OverflowError):
        kernels.events.Question(reading, {}, [2**64] * 128)
    with pytest.raises(OverflowError):
        kernels.events.Question(reading, {}, None, (0, 2**63))
    with pytest.raises(IndexError):
        kernels.events.Question(reading, {}, [1])


def keyed(*names: str) -> tuple[Any, dict[tuple[Any, ...], Any]]:
    """A sieve whose keys are of these fields of sessions, and its steps."""
    steps: dict[tuple[Any, ...], Any] = {}
    readings = tuple(Column("session", name, 9).reading for name in names)
    return kernels.events.Sieve(readings, steps, layout_of(Step), NOTHING, lambda step: step.way), steps  # type: ignore[arg-type, return-value]


def rules_of(sieve: Any, item: Event) -> Any:
    """The rules that hold; None where the key is new."""
    found: list[Any] = []
    left = kernels.events.sift(layout_of(Event), [item], {"session": sieve}, found)
    return None if left else [rules for _, rules in found]


def spelled(text: str) -> str:
    """An equal text that is another object."""
    return "".join(list(text))


def test_keys_are_told_by_their_objects_and_else_by_their_values() -> None:
    sieve, steps = keyed("session.verdict", "session.limits", "session.evidence.code")
    evidence = [Evidence("greeting", "first", 1, 0), Evidence("tagged", "second", 2, 0)]
    item = event("session", verdict="mimic", limits=["one", "two"], evidence=evidence)
    assert rules_of(sieve, item) is None
    steps["mimic", ("one", "two"), ("greeting", "tagged")] = Step((4,), None)
    assert [rules_of(sieve, item) for _ in range(3)] == [[(4,)]] * 3
    assert (sieve.found, sieve.missed) == (2, 2)
    for part, other in (("verdict", spelled("mimic")), ("limits", [spelled("one"), "two"]),
                        ("evidence", [Evidence(spelled("greeting"), "x", 9, 9), evidence[1]])):
        setattr(item.body, part, other)
        assert rules_of(sieve, item) == [(4,)]
    for part, other in (("verdict", "genuine"), ("limits", ["one"]), ("limits", ["two", "one"]), ("evidence", []),
                        ("evidence", evidence[:1])):
        changed = event("session", **{"verdict": "mimic", "limits": ["one", "two"], "evidence": evidence, part: other})
        assert rules_of(sieve, changed) is None
    item.body.limits = ("one", "two")  # type: ignore[attr-defined]
    assert rules_of(sieve, item) == [(4,)]


def test_what_two_lists_hold_is_not_mixed_up() -> None:
    sieve, steps = keyed("session.limits", "session.tunnels")
    steps[("a", "b"), ("c",)] = Step((1,), None)
    steps[("a",), ("b", "c")] = Step((2,), None)
    for _ in range(3):
        assert rules_of(sieve, event("session", limits=["a", "b"], tunnels=["c"])) == [(1,)]
        assert rules_of(sieve, event("session", limits=["a"], tunnels=["b", "c"])) == [(2,)]
        assert rules_of(sieve, event("session", limits=["a", "b", "c"])) is None


@pytest.mark.parametrize("count", [60, 63, 64, 65, 5_000])
def test_keys_of_long_lists_are_told_as_well(count: int) -> None:
    sieve, steps = keyed("session.limits", "session.verdict")
    words = [f"w{place}" for place in range(count)]
    steps[tuple(words), "genuine"] = Step((1,), None)
    assert [rules_of(sieve, event("session", limits=words)) for _ in range(3)] == [[(1,)]] * 3
    assert rules_of(sieve, event("session", limits=words[1:])) is None


def test_objects_of_a_key_that_went_are_not_taken_for_others() -> None:
    sieve, steps = keyed("session.verdict")
    for number in range(9_000):  # nearly all at addresses that others had before
        text = f"verdict-{number % 300}"
        steps.setdefault((text,), Step((number % 300,), None))
        assert rules_of(sieve, event("session", verdict=text)) == [(number % 300,)]
        del text
    assert sieve.missed <= 2_000
