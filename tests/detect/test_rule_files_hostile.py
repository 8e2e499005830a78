"""Rule files are untrusted: every bad one is refused with its line, in little time and memory."""

from __future__ import annotations

import os
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.detect import load_rules
from imapids.detect.rule_files import FILE_BYTES, Fault, RuleFile, collect, parse
from imapids.errors import RuleError

GOOD = """\
title: x
logsource: {product: imapids, category: session}
detection:
  selection:
    session.verdict: mimic
  condition: selection
"""
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join('*' + before for _ in range(9))}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def faults_of(data: bytes) -> list[Fault]:
    faults: list[Fault] = []
    parse(RuleFile("r.yml", data), faults)
    return faults


@pytest.mark.parametrize(("data", "line", "word"), [
    pytest.param(b"title: [", 0, "is not YAML", id="an open bracket"),
    pytest.param(b"a: 1\nb: {\n", 3, "is not YAML", id="an open brace"),
    pytest.param(b"a: 1\na: 2\n", 2, "stands twice", id="a doubled key"),
    pytest.param(b"x:\n  a: 1\n  a: 2\n", 3, "stands twice", id="a doubled key below"),
    pytest.param(b"a: !!python/object/apply:os.system [id]\n", 1, "tag", id="a Python tag"),
    pytest.param(b"a: !include /etc/passwd\n", 1, "tag", id="a tag of another tool"),
    pytest.param(b"a: !!binary aGk=\n", 1, "tag", id="a standard tag"),
    pytest.param(LAUGHS.encode(), 0, "values", id="billion laughs"),
    pytest.param(b"a: &a [1, *a]\n", 1, "inside what it names", id="an alias inside itself"),
    pytest.param(b"[" * 5000, 1, "", id="five thousand open brackets"),
    pytest.param(b"a: " + b"[" * 100 + b"]" * 100, 1, "nested", id="a hundred levels"),
    pytest.param(b"- a\n- b\n", 1, "mapping", id="a list"),
    pytest.param(b"just text", 1, "mapping", id="text"),
    pytest.param(b"\xff\xfe\x00", 1, "UTF-8", id="no UTF-8"),
    pytest.param(b"a: \x00\n", 1, "YAML", id="a NUL byte"),
    pytest.param(b"? [a, b]\n: c\n", 1, "plain text", id="a list as a key"),
    pytest.param(b"---\na: 1\n" * 600, 0, "documents", id="too many documents"),
    pytest.param(b"a: " + b"9" * 5000, 1, "", id="a number of five thousand digits"),
])
def test_a_bad_file_is_refused_with_its_line(data: bytes, line: int, word: str) -> None:
    start = time.process_time()
    faults = faults_of(data)
    assert faults, "nothing was found wrong"
    assert word in str(faults[0])
    assert not line or faults[0].line == line
    assert all(str(fault).isprintable() for fault in faults)
    assert time.process_time() - start < 1.0


def test_a_bomb_takes_little_memory() -> None:
    faults_of(b"a: 1")  # imports
    tracemalloc.start()
    faults_of(LAUGHS.encode())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_good_documents_keep_their_lines() -> None:
    faults: list[Fault] = []
    documents = parse(RuleFile("r.yml", (GOOD + "---\n" + GOOD + "---\n").encode()), faults)
    assert faults == []
    assert [document.line("detection", "selection", "session.verdict") for document in documents] == [5, 12]


def test_files_that_cannot_be_read_are_faults(tmp_path: Path) -> None:
    (tmp_path / "long.yml").write_bytes(b"#" * (FILE_BYTES + 10))
    (tmp_path / "empty").mkdir()
    faults: list[Fault] = []
    assert collect([tmp_path / "long.yml", tmp_path / "none.yml", tmp_path / "empty"], faults) == []
    assert [fault.message.split(":")[0] for fault in faults] == [
        "is longer than 256 KiB", "cannot be read", "holds no rule file (*.yml, *.yar)",
    ]


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(GOOD.replace("session.verdict", "session.verdikt"))
    (tmp_path / "b.yml").write_text(GOOD.replace("category: session", "category: sesion"))
    with pytest.raises(RuleError) as caught:
        load_rules([tmp_path], defaults=False, cache=tmp_path / "cache")
    assert len(caught.value.faults) == 2
    assert caught.value.exit_code == 5


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(alphabet="ab:[]{}&*!|>-? \n'\"%@,#", max_size=120).map(str.encode)))
def test_no_bytes_raise(data: bytes) -> None:
    faults_of(data)


def test_a_rule_that_comes_through_a_pipe_is_read_to_its_end() -> None:
    outlet, inlet = os.pipe()
    try:
        os.write(inlet, GOOD.encode())
        os.close(inlet)
        faults: list[Fault] = []
        (file,) = collect([Path(f"/dev/fd/{outlet}")], faults)
    finally:
        os.close(outlet)
    assert (file.data, faults) == (GOOD.encode(), [])
