"""Patterns that are compiled at their first use are the patterns that re.compile makes."""

import importlib
import pkgutil
import re

import pytest

import imapids
from imapids.protocols import late_patterns
from imapids.protocols.late_patterns import compile_late_patterns, late_pattern

PACKAGES = ("protocols", "parse", "observe", "detect", "signatures", "output")


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """The list of patterns of this test alone."""
    patterns = []
    monkeypatch.setattr(late_patterns, "_known", patterns)
    return patterns


@pytest.mark.parametrize("use", [
    pytest.param(lambda pattern: pattern.match("B12 x")[1], id="match"),
    pytest.param(lambda pattern: pattern.fullmatch("ab") is None, id="fullmatch"),
    pytest.param(lambda pattern: pattern.search("  ab1", 1).span(), id="search with a start"),
    pytest.param(lambda pattern: [found[0] for found in pattern.finditer("a1 b2")], id="finditer"),
    pytest.param(lambda pattern: pattern.findall("a1 b2"), id="findall"),
    pytest.param(lambda pattern: pattern.sub(r"<\1>", "a1 b2"), id="sub"),
    pytest.param(lambda pattern: pattern.subn("", "a1 b2"), id="subn"),
    pytest.param(lambda pattern: pattern.split("a1 b2"), id="split"),
    pytest.param(lambda pattern: (pattern.pattern, pattern.flags, pattern.groups, pattern.groupindex), id="its facts"),
])
def test_it_does_what_the_pattern_does(use):
    written = (r"([a-z])\d+", re.IGNORECASE)
    late, compiled = late_pattern(*written), re.compile(*written)
    assert [use(late), use(late)] == [use(compiled), use(compiled)]


def test_it_is_compiled_once_and_at_the_first_use(monkeypatch):
    calls = []
    compiled = re.compile(rb"a(b)")
    monkeypatch.setattr(re, "compile", lambda *written: calls.append(written) or compiled)
    pattern = late_pattern(rb"a(b)")
    assert calls == []
    assert (pattern.match(b"ab")[1], pattern.groups, pattern.search(b"xab").start()) == (b"b", 1, 1)
    assert calls == [(rb"a(b)", 0)]


def test_what_patterns_do_not_have_it_does_not_have():
    with pytest.raises(AttributeError):
        late_pattern("a").matches  # noqa: B018


def test_all_can_be_compiled_at_once(monkeypatch, known):
    patterns = [late_pattern(text) for text in ("a", "b")]
    assert known == patterns
    compile_late_patterns()
    monkeypatch.setattr(re, "compile", None)
    assert [pattern.fullmatch(text) is not None for pattern in patterns for text in "ab"] == [True, False, False, True]


def test_every_pattern_of_ours_is_a_right_one(monkeypatch):
    monkeypatch.undo()
    for package in PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(f"imapids.{package}").__path__,
                                            f"{imapids.__name__}.{package}."):
            importlib.import_module(module.name)
    assert len(late_patterns._known) > 100
    compile_late_patterns()
