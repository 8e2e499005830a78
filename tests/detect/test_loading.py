"""Compiled rule sets: the shipped one is current, a cached one is trusted only when it is the user's own and whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import msgspec
import pytest

from imapids.detect import RuleSet, fields, load_rules, loading
from imapids.detect.loading import COMPILED_NAME, SHIPPED, compile_shipped

TEXT = """\
title: A test
logsource: {product: imapids, category: session}
detection:
  selection:
    session.verdict: mimic
  condition: selection
"""


@pytest.fixture
def one_rule(tmp_path: Path) -> Path:
    path = tmp_path / "rules" / "r.yml"
    path.parent.mkdir()
    path.write_text(TEXT)
    return path


def test_the_shipped_compiled_rules_are_current() -> None:
    shipped = (SHIPPED / COMPILED_NAME).read_bytes()
    assert shipped == compile_shipped(), "run: python rules/compile.py"


def test_a_plain_load_imports_neither_pysigma_nor_yaml() -> None:
    code = ("import sys; from imapids.detect import Detector, load_rules; Detector(load_rules()); "
            "print([name for name in ('sigma', 'yaml', 're2', 'pandas', 'pyparsing') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_second_load_comes_from_the_cache(one_rule: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    first = load_rules([one_rule], defaults=False, cache=cache)
    (file,) = cache.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert cache.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(loading, "compile_files", lambda _files: pytest.fail("compiled again"))
    assert load_rules([one_rule], defaults=False, cache=cache) == first


def test_a_changed_rule_is_compiled_again(one_rule: Path, tmp_path: Path) -> None:
    first = load_rules([one_rule], defaults=False, cache=tmp_path / "cache")
    one_rule.write_text(TEXT.replace("mimic", "not-imap"))
    assert load_rules([one_rule], defaults=False, cache=tmp_path / "cache").atoms != first.atoms


@pytest.mark.parametrize("damage", [
    pytest.param(lambda path: path.write_bytes(b"{}"), id="another object"),
    pytest.param(lambda path: path.write_bytes(b"\x80\x04."), id="a pickle"),
    pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-20]), id="cut"),
    pytest.param(lambda path: path.write_bytes(path.read_bytes().replace(b'["atom",0', b'["atom",99')),
                 id="a wild place"),
    pytest.param(lambda path: path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":0')), id="older"),
    pytest.param(lambda path: path.chmod(0o666), id="others may write it"),
    pytest.param(lambda path: (path.rename(path.with_name("x")), path.symlink_to(path.with_name("x"))), id="a link"),
    pytest.param(lambda path: (path.unlink(), path.mkdir()), id="a folder"),
    pytest.param(lambda path: (path.unlink(), os.mkfifo(path)), id="a pipe"),
])
def test_a_cache_that_cannot_be_trusted_is_not_used(one_rule: Path, tmp_path: Path, damage: object) -> None:
    cache = tmp_path / "cache"
    good = load_rules([one_rule], defaults=False, cache=cache)
    (file,) = cache.iterdir()
    damage(file)  # type: ignore[operator]
    assert load_rules([one_rule], defaults=False, cache=cache) == good


def test_a_folder_that_others_may_write_is_not_used(one_rule: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o777)
    cache.chmod(0o777)
    load_rules([one_rule], defaults=False, cache=cache)
    assert list(cache.iterdir()) == []


def test_old_sets_are_removed(one_rule: Path, tmp_path: Path) -> None:
    for number in range(loading.CACHED_SETS + 4):
        one_rule.write_text(TEXT.replace("A test", f"Test {number}"))
        load_rules([one_rule], defaults=False, cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == loading.CACHED_SETS


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert loading.cache_folder() == Path("/somewhere/imapids")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/ann")
    assert loading.cache_folder() == Path("/home/ann/.cache/imapids")


def test_the_compiled_form_survives_json() -> None:
    rules = load_rules()
    assert msgspec.json.decode(msgspec.json.encode(rules), type=RuleSet) == rules


def test_a_file_and_its_folder_count_once(one_rule: Path, tmp_path: Path) -> None:
    rules = load_rules([one_rule.parent, one_rule], defaults=False, cache=tmp_path / "cache")
    assert len(rules.rules) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_foreign_cache_file_is_not_used(one_rule: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    good = load_rules([one_rule], defaults=False, cache=cache)
    (file,) = cache.iterdir()
    os.chown(file, 12345, 12345)
    assert load_rules([one_rule], defaults=False, cache=cache) == good


@pytest.mark.parametrize("name", [
    pytest.param("jürgen", id="letters beyond ASCII"),
    pytest.param("a b's", id="a blank and a quote"),
])
def test_the_package_may_lie_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    before = [(file.name, file.data) for file in loading.shipped_files([])]
    shutil.copytree(SHIPPED, tmp_path / name)
    monkeypatch.setattr(loading, "SHIPPED", tmp_path / name)
    assert [(file.name, file.data) for file in loading.shipped_files([])] == before


@pytest.mark.parametrize("record", [pytest.param(body, id=name) for name, body in fields.BODIES.items()])
def test_fields_have_the_types_that_python_says(record: type) -> None:
    assert fields._hints(record) == typing.get_type_hints(record)
