"""The command group: version, help, wrong commands, samples."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import imapids as package
from imapids.cli.app import COMMANDS

SAMPLES = Path(package.__file__).parent / "_samples"


@pytest.mark.parametrize("flag", [pytest.param("--version", id="long"), pytest.param("-V", id="short")])
def test_version(imapids, flag):
    outcome = imapids(flag)
    assert (outcome.code, outcome.out) == (0, f"imapids {package.__version__}\n")


@pytest.mark.parametrize("command", [pytest.param(name, id=name) for name in COMMANDS])
def test_every_command_has_help_with_an_example(imapids, command):
    outcome = imapids(command, "--help")
    assert outcome.code == 0, outcome.err
    assert f"imapids {command}" in outcome.out
    assert "Example: " in outcome.out or command == "rules"


def test_the_help_lists_every_command(imapids):
    outcome = imapids("--help")
    assert outcome.code == 0
    assert all(name in outcome.out for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["analyse", "x"], "Did you mean 'analyze'?", id="a near command"),
        pytest.param(["xyzzy"], "Commands: analyze", id="no command is near"),
        pytest.param([str(SAMPLES / "MANIFEST.toml")], "imapids analyze", id="a file without a command"),
        pytest.param(["--versoin"], "--version", id="a near option"),
    ],
)
def test_a_wrong_command_is_told_what_would_be_right(imapids, arguments, says):
    outcome = imapids(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert says in outcome.err


def test_sample_lists_and_writes(imapids, tmp_path):
    entries = {entry["name"]: entry for entry in tomllib.loads((SAMPLES / "MANIFEST.toml").read_text())["sample"]}
    assert all(name in imapids("sample").out for name in entries)
    outcome = imapids("sample", "genuine-session", "udp-143.pcap", "-o", tmp_path / "new")
    assert outcome.code == 0, outcome.err
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["genuine-session.pcap", "udp-143.pcap"]
    assert imapids("sample", "--all", "-o", tmp_path).code == 0
    assert {path.name for path in tmp_path.glob("*.pcap")} == {entry["file"] for entry in entries.values()}


def test_sample_overwrites_only_by_force(imapids, tmp_path):
    target = tmp_path / "udp-143.pcap"
    target.write_text("mine")
    assert imapids("sample", "udp-143", "-o", tmp_path).code == 3
    assert target.read_text() == "mine"
    assert imapids("sample", "udp-143", "-o", tmp_path, "--force").code == 0
    assert target.read_bytes() == (SAMPLES / "udp-143.pcap").read_bytes()


def test_an_unknown_sample_is_told_the_near_one(imapids):
    outcome = imapids("sample", "genuine-sesion")
    assert outcome.code == 2
    assert "Did you mean 'genuine-session'?" in outcome.err


def test_a_closed_pipe_is_quiet():
    process = subprocess.Popen(
        [sys.executable, "-m", "imapids", "sample"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    message = process.stderr.read()
    process.stderr.close()
    assert process.wait() in (0, 130)
    assert message == b""


def test_the_machine_readable_manifest_is_valid_json_in_toml():
    text = (SAMPLES / "MANIFEST.toml").read_text()
    shows = [json.loads(line.partition("= ")[2]) for line in text.splitlines() if line.startswith("shows = ")]
    assert len(shows) == text.count("[[sample]]")


@pytest.mark.parametrize(("ending", "code", "said"), [
    pytest.param("", 0, "the end", id="what is registered for the end runs"),
    pytest.param("; sys.stdout.close()", 120, "", id="output that cannot be flushed: Python's own way to the end"),
])
def test_a_program_ends_at_once_and_loses_nothing(ending: str, code: int, said: str) -> None:
    program = ("import atexit, sys; from imapids.__main__ import _leave\n"
               "atexit.register(lambda: print('the end')); sys.stdout.write('begun, ')" + ending + "\n"
               "_leave(0); sys.exit(120)")
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == code
    assert said in done.stdout
    assert not ending or "begun" in done.stdout


def test_a_profiler_has_the_last_word() -> None:
    sample = Path(__file__).resolve().parents[2] / "sample_pcaps" / "reverse-shell.pcap"
    command = [sys.executable, "-m", "cProfile", "-m", "imapids", "analyze", str(sample), "-q", "-o", "/dev/null"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert "function calls" in done.stdout
