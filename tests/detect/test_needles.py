"""Many texts looked for at once are found as one by one; so are regular expressions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapids.detect import patterns
from imapids.detect.needles import Needles
from imapids.detect.patterns import PatternSet, compile_pattern

_text = st.text("abc", max_size=6)


@given(st.lists(_text.filter(bool), max_size=80), st.lists(_text, max_size=8))
def test_needles_are_found_as_one_by_one(needles: list[str], texts: list[str]) -> None:
    many = Needles()
    for place, needle in enumerate(needles):
        many.add(needle, 1 << place)
    for text in [*texts, "".join(texts)]:
        assert many.find(text) == sum(1 << place for place, needle in enumerate(needles) if needle in text)


def test_a_needle_added_after_a_search_is_found() -> None:
    many = Needles()
    for place in range(60):
        many.add(f"word{place}", 1)
    assert many.find("word61") == 1  # word6
    many.add("rd61", 2)
    assert many.find("word61") == 3


EXPRESSIONS = [("^a+b", ""), ("B", "i"), ("c$", ""), ("a.c", "s"), ("^c", "m"), ("", ""), ("x{3}", "")]


@pytest.mark.parametrize("module", [
    pytest.param("re2", id="with RE2"), pytest.param("re", id="without it"),
    pytest.param("full", id="RE2 out of memory"),
])
def test_expressions_are_found_as_one_by_one(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if module == "re2":
        pytest.importorskip("re2")
    if module == "re":
        monkeypatch.setattr(patterns, "_re2_module", lambda: None)
    whole = PatternSet(EXPRESSIONS)
    if module == "full" and whole._match is not None:
        monkeypatch.setattr(whole, "_match", _nothing)  # what RE2 says then
    alone = [compile_pattern(*each) for each in EXPRESSIONS]
    for text in ("aab", "b", "abc", "a\nc", "x\nc", "", "xxx", "\u00e4b"):
        assert sorted(whole.found(text)) == [place for place, search in enumerate(alone) if search(text)]


def _nothing(_text: str) -> Any:
    return None


def test_expressions_that_are_too_large_together_are_asked_alone() -> None:
    large = [(f"{chr(97 + place % 26)}(a|b|c){{1,300}}.{{0,300}}{place}", "") for place in range(60)]
    whole = PatternSet(large)
    assert list(whole.found("aabcabc0")) == [0]
