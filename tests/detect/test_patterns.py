"""Regular expressions of rules can never run away."""

from __future__ import annotations

import contextlib
import time

import pytest

from imapids.detect import patterns
from imapids.detect.atoms import wildcard_matcher
from imapids.detect.patterns import PatternError, compile_pattern, refuse_runaway

EVIL = ["(a+)+$", "([a-z]+)*$", "(a|aa)+$", "(.*a){20}$", "(a*)*b", "((a+)b?)+$", "(x+x+)+y", "(\\w+\\s?)*$",
        "(a|a?)+$",        "(?:a+)+$", "((?:a|b)+)+$"]


@pytest.mark.parametrize("pattern", EVIL)
def test_evil_patterns_are_quick_or_refused(pattern: str) -> None:
    start = time.process_time()
    with contextlib.suppress(PatternError):
        compile_pattern(pattern)("a" * 16_000 + "!")
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize("pattern", [*EVIL, "(?=a)b", "(?!a)b", "(?<=a)b", "(a)\\1", "(?P<n>a)(?P=n)", "a{2000}",
                                     "(a{1,9})+"])
def test_without_re2_what_can_run_away_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        refuse_runaway(pattern)


@pytest.mark.parametrize("pattern", ["^abc$", "a+b*c?", "(abc)+", "[(+*]+", "\\(a+\\)+", "(?:foo|bar)", "(?i)x",
                                     "a{2,5}", "SUBJECT \"?[a-z]{2,20}:", "[]a]+", "[^]a]+x"])
def test_without_re2_ordinary_patterns_work(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_runaway(pattern)
    monkeypatch.setattr(patterns, "_re2_module", lambda: None)
    compile_pattern(pattern, "i")("text")


@pytest.mark.parametrize("pattern", ["(", "[", "*a", "a" * 5_000, "(" * 200 + ")" * 200 + "["])
def test_wrong_patterns_are_told(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (patterns._re2_module(), None):
        monkeypatch.setattr(patterns, "_re2_module", lambda module=module: module)
        with pytest.raises(PatternError, match=r"."):
            compile_pattern(pattern)


def test_wildcards_take_the_product_of_the_lengths_at_worst() -> None:
    match = wildcard_matcher(("a", "*") * 200 + ("b",))
    start = time.process_time()
    assert not match("a" * 16_000)
    assert time.process_time() - start < 0.5
