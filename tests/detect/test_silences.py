"""What is told of a value by what it is like: where no question can hold, none does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapids.detect.columns import Column
from imapids.detect.compiled import NUMBER_OPERATORS, Atom
from imapids.detect.silences import possible_texts, silent_numbers

_TEXTS = st.text("aAbBé1tru", max_size=6) | st.sampled_from(["a" * 62, "A" * 63, "a" * 64, "b" * 80, "true", "7"])
_NUMBERS = st.integers(-5, 5) | st.sampled_from([2**62, 2**63, -(2**63), 2**70]) | st.floats(
    -5, 5, allow_nan=False) | st.just(float("inf")) | st.booleans()
_PATTERNS = st.lists(st.tuples(_TEXTS, st.sampled_from(["*", "?"])), max_size=3)


@st.composite
def atoms(draw: st.DrawFn) -> Atom:
    operator = draw(st.sampled_from(["equals", "contains", "startswith", "endswith", "wildcard", "absent", "present",
                                     "is", "cidr", "regex", *NUMBER_OPERATORS]))
    cased = draw(st.booleans())
    if operator == "wildcard":
        parts = [part for pair in draw(_PATTERNS) for part in pair]
        return Atom("x", operator, parts=(*parts, draw(_TEXTS)), cased=cased)
    if operator in NUMBER_OPERATORS:
        return Atom("x", operator, draw(_NUMBERS), part=draw(st.sampled_from(["", "", "", "hour"])))
    if operator in ("cidr", "regex"):
        return Atom("x", operator, {"cidr": "10.0.0.0/8", "regex": "^[a1]"}[operator])
    value: Any = draw(st.booleans()) if operator == "is" else draw(_TEXTS | st.integers(0, 9))
    return Atom("x", operator, value, cased=cased)


def holds(asked: list[Atom], value: Any) -> bool:
    """Whether any of these atoms holds for a value."""
    column = Column("command", "command.name", 9)
    for atom in asked:
        column.add(atom, 1)
    return bool(column.learn(value))


@given(st.lists(atoms(), max_size=3), _TEXTS.filter(bool))
def test_no_question_holds_for_a_text_that_is_not_possible(asked: list[Atom], text: str) -> None:
    found = possible_texts(asked)
    if found is not None and text.isascii() and not found[ord(text[0])] >> min(len(text), 63) & 1:
        assert not holds(asked, text)


@given(st.lists(atoms(), max_size=3), st.integers(-6, 6) | st.sampled_from([2**62, 2**63 - 1, -(2**63)]))
def test_no_question_holds_for_a_number_that_is_silent(asked: list[Atom], number: int) -> None:
    found = silent_numbers(asked)
    if found is not None and found[0] <= number <= found[1]:
        assert not holds(asked, number)


@pytest.mark.parametrize(("atom", "texts"), [
    pytest.param(Atom("x", "equals", "gerg"), {"gerg", "Gerg", "good"}, id="as long, and the same first letter"),
    pytest.param(Atom("x", "startswith", "ab"), {"ab", "Abc", "a" * 90}, id="at least as long"),
    pytest.param(Atom("x", "contains", "abc"), {"abc", "xxx", "zabc"}, id="any first letter"),
    pytest.param(Atom("x", "wildcard", parts=("a", "?", "b")), {"axb", "azz"}, id="a pattern of one length"),
    pytest.param(Atom("x", "=", 17), {"17", "12"}, id="a number that is spelt"),
    pytest.param(Atom("x", ">", 17), set(), id="a number that no text exceeds"),
])
def test_texts_that_are_possible(atom: Atom, texts: set[str]) -> None:
    found = possible_texts([atom])
    assert found is not None
    words = {"gerg", "Gerg", "good", "ab", "Abc", "a" * 90, "abc", "xxx", "zabc", "axb", "azz", "17", "12", "y"}
    if atom.operator == "contains":
        words -= {"gerg", "Gerg", "good", "a" * 90, "Abc", "axb", "azz"}
    elif atom.operator == "startswith":
        words -= {"abc", "axb", "azz"}
    elif atom.operator == "wildcard":
        words -= {"Abc", "abc"}
    assert {word for word in words if found[ord(word[0])] >> min(len(word), 63) & 1} == texts


@pytest.mark.parametrize(("asked", "numbers"), [
    pytest.param([(">=", 256), (">", 8192)], (-(2**63), 255), id="all below the lowest bound"),
    pytest.param([(">", 0.5), ("<", -1.5)], (-1, 0), id="between two bounds that are no integers"),
    pytest.param([("=", 0)], (1, 2**63 - 1), id="all above nothing"),
    pytest.param([("=", 7)], (-(2**63), 6), id="all below a number"),
    pytest.param([("!=", 7)], (7, 7), id="only the number itself"),
    pytest.param([("!=", 7.5)], None, id="no integer is that number"),
    pytest.param([(">", 1), ("<", 5)], None, id="each integer is on one side"),
    pytest.param([(">", float("inf"))], None, id="no number"),
])
def test_numbers_that_are_silent(asked: list[tuple[str, float]], numbers: tuple[int, int] | None) -> None:
    assert silent_numbers([Atom("x", sign, value) for sign, value in asked]) == numbers
