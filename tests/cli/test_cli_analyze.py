"""`imapids analyze`: options to RunOptions, results to their place, every way out to its exit code."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import imapids as package
from imapids.config import HOME_NETS, Limits
from imapids.errors import InputError, RuleError, UnsupportedInput
from imapids.run.options import ALL_EVENTS

SECOND = 10**9


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(
            [],
            {
                "home_nets": HOME_NETS,
                "watch_tcp": (143,),
                "watch_udp": (143,),
                "events": {"alert", "capture"},
                "default_rules": True,
                "follow": False,
                "workers": 1,
                "since_ns": None,
                "hosts": (),
            },
            id="defaults",
        ),
        pytest.param(
            ["--home-net", "192.0.2.0/24", "--home-net", "2001:db8::/32"],
            {"home_nets": ("192.0.2.0/24", "2001:db8::/32")},
            id="home networks replace the default",
        ),
        pytest.param(
            ["--watch", "143,2143", "--watch", "143/udp"],
            {"watch_tcp": (143, 2143), "watch_udp": (143,)},
            id="ports of several options are one list",
        ),
        pytest.param(
            ["--watch", "2143"], {"watch_tcp": (2143,), "watch_udp": ()}, id="watched ports replace the default"
        ),
        pytest.param(
            ["--since", "1772524800", "--until", "2026-03-03T09:00:00Z"],
            {"since_ns": 1_772_524_800 * SECOND, "until_ns": 1_772_528_400 * SECOND},
            id="a span of time",
        ),
        pytest.param(
            ["--host", "10.20.1.40", "--host", "198.51.100.0/24"],
            {"hosts": ("10.20.1.40", "198.51.100.0/24")},
            id="hosts",
        ),
        pytest.param(["--events", "all"], {"events": ALL_EVENTS - {"flow"}}, id="all events"),
        pytest.param(["--events", "session,login"], {"events": {"session", "login"}}, id="chosen events"),
        pytest.param(
            ["--rules", "r", "--no-default-rules", "--allow", "a.yml"],
            {"rule_paths": ("r",), "default_rules": False, "allow_paths": ("a.yml",)},
            id="rules",
        ),
        pytest.param(["--indicators", "i.csv", "--indicators", "j"], {"indicator_paths": ("i.csv", "j")},
                     id="indicators"),
        pytest.param(["--follow", "--workers", "auto"], {"follow": True, "workers": 1}, id="follow and workers"),
    ],
)
def test_options_reach_the_engine(imapids, engine, arguments, expected):
    outcome = imapids("analyze", "a.pcap", "b.pcap", *arguments)
    assert outcome.code == 0, outcome.err
    assert engine.paths == ["a.pcap", "b.pcap"]
    assert {name: getattr(engine.options, name) for name in expected} == expected


def test_without_a_terminal_standard_output_holds_json_lines_and_nothing_else(imapids, engine):
    outcome = imapids("analyze", "a.pcap")
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    assert [line["event_type"] for line in lines] == ["alert", "capture"]
    assert outcome.err == ""


def test_less_memory_means_smaller_limits(imapids, engine):
    assert imapids("analyze", "a.pcap", "--max-memory", "200M").code == 0
    assert engine.options.limits.flows.flows < Limits().flows.flows
    assert engine.options.limits.capture.batch_bytes < Limits().capture.batch_bytes


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param([], "Missing argument 'CAPTURE...'", id="no capture"),
        pytest.param(["a.pcap", "--formt", "csv"], "--format", id="a typing error in an option names the right one"),
        pytest.param(
            ["a.pcap", "--scheduler", "tcp://x"],
            "--scheduler is not in this version",
            id="an option of a later version",
        ),
        pytest.param(["a.pcap", "--workers", "4"], "sharing the work is not in this version", id="several workers"),
        pytest.param(["a.pcap", "--events", "sesion"], "Did you mean 'session'", id="a typing error in an event"),
        pytest.param(["a.pcap", "--fail-on", "bad"], "informational", id="no such level"),
        pytest.param(
            ["a.pcap", "--since", "2026-03-03", "--until", "2026-03-02"], "before", id="an empty span of time"
        ),
        pytest.param(["a.pcap", "--max-memory", "10M"], "at least 160M", id="too little memory"),
        pytest.param(
            ["a.pcap", "--format", "csv", "--events", "login,session"], "-o FOLDER", id="two tables on one output"
        ),
        pytest.param(["a.pcap", "--hash-key", "/nowhere"], "cannot read", id="no key file"),
    ],
)
def test_wrong_use_is_told_on_standard_error_with_exit_code_2(imapids, engine, arguments, says):
    outcome = imapids("analyze", *arguments)
    assert outcome.code == 2
    assert says in outcome.err
    assert outcome.out == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(InputError("a.pcap: no such file"), 3, id="no input"),
        pytest.param(UnsupportedInput("a.pcap: a text file"), 3, id="an unsupported input"),
        pytest.param(RuleError(["r.yml:3: unknown field", "r.yml:9: no title"]), 5, id="wrong rules"),
        pytest.param(KeyboardInterrupt(), 130, id="a second Ctrl-C"),
        pytest.param(BrokenPipeError(), 130, id="the reader has gone"),
        pytest.param(ZeroDivisionError("\x1b[31mboom"), 4, id="a fault of ours is not taken for alerts"),
    ],
)
def test_every_error_has_its_exit_code(imapids, engine, error, code):
    engine.error = error
    outcome = imapids("analyze", "a.pcap")
    assert outcome.code == code
    assert outcome.out == ""
    assert "\x1b" not in outcome.err
    if isinstance(error, BrokenPipeError):
        assert outcome.err == ""
    if isinstance(error, RuleError):
        assert "r.yml:3: unknown field\nr.yml:9: no title" in outcome.err


@pytest.mark.parametrize(
    ("fail_on", "code"),
    [
        pytest.param("medium", 1, id="an alert above the level"),
        pytest.param("high", 1, id="an alert at the level"),
        pytest.param("critical", 0, id="no alert that high"),
    ],
)
def test_alerts_at_the_level_give_exit_code_1(imapids, engine, fail_on, code):
    assert imapids("analyze", "a.pcap", "--fail-on", fail_on).code == code


def test_damage_is_told_and_gives_exit_code_4(imapids, engine):
    engine.status, engine.damage = "damaged", ["offset 4,096: a record of 3 GB"]
    outcome = imapids("analyze", "a\x1b[2J.pcap")
    assert outcome.code == 4
    assert r"a\x1b[2J.pcap: damaged" in outcome.err
    assert "offset 4,096: a record of 3 GB" in outcome.err
    assert imapids("analyze", "a.pcap", "--quiet").err == ""


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, id="Ctrl-C"), pytest.param(signal.SIGTERM, id="SIGTERM")]
)
def test_the_first_signal_ends_the_run_with_the_results_so_far(imapids, engine, number):
    before = signal.getsignal(number)
    engine.during = lambda stop: os.kill(os.getpid(), number)
    outcome = imapids("analyze", "a.pcap")
    assert outcome.code == 130
    assert len(outcome.out.splitlines()) == 2
    assert "stopping" in outcome.err
    assert signal.getsignal(number) is before


def test_jsonl_files_are_private_and_appended_to(imapids, engine, tmp_path):
    target = tmp_path / "out.jsonl"
    for _ in range(2):
        assert imapids("analyze", "a.pcap", "-o", target).code == 0
    assert len(target.read_text().splitlines()) == 4
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.parametrize("form", [pytest.param(form, id=form) for form in ("jsonl", "csv")])
def test_nothing_is_written_through_a_symbolic_link(imapids, engine, tmp_path, form):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "link").symlink_to(victim)
    outcome = imapids("analyze", "a.pcap", "--format", form, "-o", tmp_path / "link")
    assert outcome.code == 3
    assert "symbolic link" in outcome.err
    assert victim.read_text() == "precious"


def test_csv_appears_whole_or_not_at_all(imapids, engine, tmp_path):
    target = tmp_path / "alerts.csv"
    target.write_text("old")

    def fail(stop):
        raise InputError("gone")

    engine.during = fail
    assert imapids("analyze", "a.pcap", "--format", "csv", "-o", target).code == 3
    assert target.read_text() == "old"
    engine.during = lambda stop: None
    assert imapids("analyze", "a.pcap", "--format", "csv", "-o", target).code == 0
    assert "Not IMAP on 143" in target.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alerts.csv"]


def test_csv_of_several_types_is_a_folder(imapids, engine, tmp_path):
    outcome = imapids("analyze", "a.pcap", "--format", "csv", "--events", "alert,session", "-o", tmp_path / "tables")
    assert outcome.code == 0, outcome.err
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["alert.csv", "session.csv"]


def test_csv_on_standard_output_is_one_table_of_alerts(imapids, engine):
    outcome = imapids("analyze", "a.pcap", "--format", "csv")
    assert outcome.code == 0
    assert outcome.out.splitlines()[0].startswith("timestamp,flow_id")
    assert len(outcome.out.splitlines()) == 2


def test_a_capture_is_never_overwritten_by_its_results(imapids, engine, tmp_path):
    capture = tmp_path / "a.pcap"
    capture.write_bytes(b"capture")
    outcome = imapids("analyze", capture, "-o", capture)
    assert outcome.code == 2
    assert capture.read_bytes() == b"capture"


@pytest.mark.parametrize(
    ("data", "mode", "code", "says"),
    [
        pytest.param(b"0123456789abcdef0123\n", 0o600, 0, "", id="a good key"),
        pytest.param(b"0123456789abcdef", 0o644, 0, "others can read", id="a key that others can read"),
        pytest.param(b"short", 0o600, 2, "16 to 4,096 bytes", id="a key that can be guessed"),
        pytest.param(b"x" * 5000, 0o600, 2, "16 to 4,096 bytes", id="no key but a file"),
    ],
)
def test_the_key_of_secrets(imapids, engine, tmp_path, data, mode, code, says):
    key = tmp_path / "key"
    key.write_bytes(data)
    key.chmod(mode)
    outcome = imapids("analyze", "a.pcap", "--hash-key", key)
    assert outcome.code == code
    assert says in outcome.err
    if code == 0:
        assert engine.options.hash_key == data.strip()


def test_verbose_tells_the_account(imapids, engine):
    assert "5 packets read, 4 processed; skipped: 1 arp" in imapids("analyze", "a.pcap", "-v").err


def test_ctrl_c_ends_a_followed_capture_with_its_results(tmp_path):
    capture, results = tmp_path / "growing.pcap", tmp_path / "results.jsonl"
    capture.write_bytes((Path(package.__file__).parent / "_samples" / "ssh-on-143.pcap").read_bytes())
    command = [sys.executable, "-m", "imapids", "analyze", str(capture), "--follow", "-o", str(results), "--quiet"]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while not results.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)  # the file is made just before the signals are awaited
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert lines[-1]["event_type"] == "capture"
    assert lines[-1]["capture"]["packets"] in (0, 42)
    assert lines[-1]["capture"]["interrupted"] is True
