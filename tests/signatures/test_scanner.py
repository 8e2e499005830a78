"""YARA rules from outside: facts as globals, limits, faults with file and line, the cache."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.errors import RuleError
from imapids.records.streams import CLIENT, SERVER
from imapids.signatures import Signatures
from imapids.signatures.cache import RuleCache

HELLO = 'rule hello : greet { meta: level = "low" n = 3 ok = true strings: $a = "hello" condition: $a }'


def rules(tmp_path: Path, **files: str) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name}.yar").write_text(text)
    return folder


def signatures(*paths: Path, **options: object) -> Signatures:
    return Signatures(paths, **{"defaults": False, "use_cache": False} | options)  # type: ignore[arg-type]


def test_a_hit_says_where_and_what(tmp_path: Path) -> None:
    hit, = signatures(rules(tmp_path, a=HELLO)).scan(SERVER, b"say hello, hello", direction="outbound")
    assert (hit.rule, hit.namespace, hit.side, hit.direction) == ("hello", "user.a", "server", "outbound")
    assert hit.strings == ["$a@4", "$a@11"]
    assert (hit.tags, hit.meta) == (["greet"], {"level": "low", "n": "3", "ok": "true"})


@pytest.mark.parametrize(("condition", "facts", "hits"), [
    pytest.param('verdict == "mimic"', {"verdict": "mimic"}, 1, id="the verdict"),
    pytest.param('verdict == "mimic"', {"verdict": "genuine"}, 0, id="another verdict"),
    pytest.param('protocol == "ssh"', {"protocol": "ssh"}, 1, id="the protocol"),
    pytest.param('protocol == ""', {"protocol": None}, 1, id="no protocol"),
    pytest.param('shape == "interactive-shell"', {"shape": "interactive-shell"}, 1, id="the shape"),
    pytest.param("server_port == 143 and client_port > 1023", {"server_port": 143, "client_port": 40_000}, 1,
                 id="the ports"),
    pytest.param('side == "client"', {}, 1, id="the side"),
    pytest.param('transport == "udp"', {"transport": "UDP"}, 1, id="the transport in lower case"),
    pytest.param("inflated", {"inflated": True}, 1, id="inflated data"),
    pytest.param('direction == "outbound"', {"direction": "outbound"}, 1, id="the direction"),
    pytest.param('filename == "" and extension == ""', {}, 1, id="what file scanners define is empty"),
])
def test_rules_may_ask_for_facts(tmp_path: Path, condition: str, facts: dict[str, object], hits: int) -> None:
    one = signatures(rules(tmp_path, a=f"rule r {{ condition: {condition} }}"))
    assert len(one.scan(CLIENT, b"x", **facts)) == hits  # type: ignore[arg-type]


def test_facts_do_not_stay(tmp_path: Path) -> None:
    one = signatures(rules(tmp_path, a='rule r { condition: protocol == "ssh" or server_port == 143 or inflated }'))
    assert one.scan(CLIENT, b"x", protocol="ssh", server_port=143, inflated=True)
    assert not one.scan(CLIENT, b"x")


def test_only_the_first_bytes_are_scanned(tmp_path: Path) -> None:
    one = signatures(rules(tmp_path, a=HELLO), max_bytes=100)
    assert one.scan("client", b" " * 95 + b"hello")
    assert not one.scan("client", b" " * 96 + b"hello")
    assert not one.scan("client", b"")


def test_bytes_of_every_kind_are_taken(tmp_path: Path) -> None:
    one = signatures(rules(tmp_path, a=HELLO))
    for kind in (bytes, bytearray, memoryview):
        assert one.scan(SERVER, kind(b"hello"))  # type: ignore[arg-type]


def test_hits_and_places_are_bounded(tmp_path: Path) -> None:
    text = "\n".join(f'rule r{number} {{ strings: $a = "a" condition: $a }}' for number in range(50))
    one = signatures(rules(tmp_path, a=text))
    found = one.scan(SERVER, b"a" * 8192)
    assert len(found) == 16
    assert all(len(hit.strings) <= 16 for hit in found)
    assert one.limits == {"signature-hits": 1}


def test_a_bad_rule_is_told_and_does_not_stop_the_others(tmp_path: Path) -> None:
    two_bad = "\nrule bad { condition: $b }\n\nrule odd { strings: $a = /(?=x)y/ condition: $a }"
    folder = rules(tmp_path, a=HELLO + two_bad,
                   b="rule broken { condition }", c=HELLO, d='include "/etc/hosts"')
    (folder / "e.yar").write_bytes(b"// fine\n\xff\xfe")
    one = signatures(folder)
    assert [fault.split("rules/")[1].partition(": ")[0] for fault in one.faults] == [
        "e.yar:2", "a.yar:2", "a.yar:4", "b.yar:1", "d.yar:1"]
    assert "unknown pattern `$b`" in one.faults[1]
    assert "look-around" in one.faults[2]
    with pytest.raises(RuleError) as caught:
        one.check()
    assert caught.value.exit_code == 5
    assert [hit.namespace for hit in one.scan(SERVER, b"hello")] == ["user.a", "user.c"]


def test_the_same_rule_name_in_files_of_the_same_name(tmp_path: Path) -> None:
    folder = rules(tmp_path, a=HELLO)
    (folder / "more").mkdir()
    (folder / "more" / "a.yar").write_text(HELLO)
    one = signatures(folder)
    assert one.faults == []
    assert [hit.namespace for hit in one.scan(SERVER, b"hello")] == ["user.a", "user.a.2"]


def test_paths_that_are_not_ours(tmp_path: Path) -> None:
    sigma = tmp_path / "rule.yml"
    sigma.write_text("title: x")
    assert signatures(sigma).faults == []
    assert not signatures(sigma)
    assert "no such file" in signatures(tmp_path / "gone.yar").faults[0]
    large = tmp_path / "large.yar"
    large.write_bytes(b"/" * ((4 << 20) + 1))
    assert "larger than 4 MiB" in signatures(large).faults[0]


def test_a_global_rule_keeps_genuine_sessions_away(tmp_path: Path) -> None:
    guard = 'global private rule not_genuine\n{\n  condition:\n    verdict != "genuine"\n}\n'
    one = signatures(rules(tmp_path, a=guard + HELLO))
    assert not one.scan(SERVER, b"hello", verdict="genuine")
    assert one._scanner is None, "nothing was compiled for it"
    assert one.scan(SERVER, b"hello", verdict="mimic")
    (tmp_path / "rules" / "b.yar").write_text(f"/*\n{guard}*/\n" + HELLO)
    both = signatures(tmp_path / "rules")
    assert [hit.namespace for hit in both.scan(SERVER, b"hello", verdict="genuine")] == ["user.b"]


def test_a_scanner_can_be_sent_to_a_worker(tmp_path: Path) -> None:
    one = signatures(rules(tmp_path, a=HELLO, b="rule bad {"))
    assert one.scan(SERVER, b"hello")
    again = pickle.loads(pickle.dumps(one))
    assert again.scan(SERVER, b"hello") == one.scan(SERVER, b"hello")
    assert again.faults == one.faults
    assert len(again.faults) == 1


@pytest.fixture
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "imapids" / "yara"


def test_compiled_rules_are_cached_by_content(tmp_path: Path, cache_home: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    folder = rules(tmp_path, a=HELLO)
    assert signatures(folder, use_cache=True).scan(SERVER, b"hello")
    kept = list(cache_home.iterdir())
    assert len(kept) == 1
    assert cache_home.stat().st_mode & 0o777 == 0o700
    assert kept[0].stat().st_mode & 0o777 == 0o600
    with monkeypatch.context() as patch:
        patch.setattr("yara_x.Compiler", None)  # a second compilation would fail
        assert signatures(folder, use_cache=True).scan(SERVER, b"hello")
    (folder / "a.yar").write_text(HELLO.replace("hello", "holla"))
    assert not signatures(folder, use_cache=True).scan(SERVER, b"hello")
    assert len(list(cache_home.iterdir())) == 2


def test_sets_with_a_fault_are_not_cached(tmp_path: Path, cache_home: Path) -> None:
    folder = rules(tmp_path, a="rule bad {")
    for _ in range(2):
        assert len(signatures(folder, use_cache=True).faults) == 1
    assert not cache_home.exists()


@pytest.mark.parametrize("spoil", [
    pytest.param(lambda file: file.write_bytes(file.read_bytes()[:-1]), id="a cut file"),
    pytest.param(lambda file: file.write_bytes(b"x" * 100), id="other bytes"),
    pytest.param(lambda file: file.write_bytes(b""), id="an empty file"),
    pytest.param(lambda file: file.chmod(0o644), id="a file that others may read"),
    pytest.param(lambda file: file.parent.chmod(0o755), id="a folder that is open"),
    pytest.param(lambda file: (file.rename(file.with_suffix(".x")), file.symlink_to(file.with_suffix(".x"))),
                 id="a link"),
    pytest.param(lambda file: (file.unlink(), os.mkfifo(file, 0o600)), id="a pipe"),
])
def test_a_spoiled_cache_is_not_believed(tmp_path: Path, cache_home: Path, spoil: object) -> None:
    folder = rules(tmp_path, a=HELLO)
    assert signatures(folder, use_cache=True).scan(SERVER, b"hello")
    file, = cache_home.iterdir()
    spoil(file)  # type: ignore[operator]
    assert RuleCache(cache_home).load(file.stem) is None
    assert signatures(folder, use_cache=True).scan(SERVER, b"hello")


def test_the_cache_forgets_the_oldest(tmp_path: Path, cache_home: Path) -> None:
    folder = rules(tmp_path, a=HELLO)
    for number in range(12):
        (folder / "a.yar").write_text(HELLO.replace("hello", f"hello{number}"))
        signatures(folder, use_cache=True).scan(SERVER, b"x")
    assert len(list(cache_home.iterdir())) == 8


def test_a_cache_that_cannot_be_written_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    one = signatures(rules(tmp_path, a=HELLO), use_cache=True)
    assert one.scan(SERVER, b"hello")
    assert one.faults == []


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(["", "mimic", "not-imap", "silent"]),
       st.sampled_from(["client", "server"]))
def test_no_bytes_raise(shipped: Signatures, data: bytes, verdict: str, side: str) -> None:
    for hit in shipped.scan(side, data, verdict=verdict):
        assert all(text.isascii() and text.isprintable() for text in (hit.rule, *hit.strings, *hit.meta.values()))


@pytest.fixture(scope="module")
def shipped() -> Signatures:
    return Signatures(use_cache=False)
