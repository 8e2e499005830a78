"""The HTML report from the command line: a file, a pipe, saved events; and what it says instead of failing late."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import imapids as package
from imapids.errors import ExitCode

for needed in ("altair", "jinja2", "vl_convert"):
    pytest.importorskip(needed)

SAMPLES = Path(package.__file__).parent / "_samples"
SHELL = SAMPLES / "reverse-shell.pcap"


def test_the_report_is_a_private_file_with_the_dialogue_of_the_gravest_session(imapids, tmp_path):
    target = tmp_path / "report.html"
    outcome = imapids("analyze", SHELL, "--format", "html", "-o", target, "--quiet")
    assert (outcome.code, outcome.out, outcome.err) == (ExitCode.COMPLETE, "", "")
    assert target.stat().st_mode & 0o777 == 0o600
    text = target.read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert "Dialogue of the gravest session" in text
    assert "net user" in text


def test_the_exit_code_is_that_of_the_findings(imapids, tmp_path):
    arguments = ("analyze", SHELL, "--format", "html", "-o", tmp_path / "report.html", "--quiet", "--fail-on")
    assert imapids(*arguments, "high").code == ExitCode.ALERTS


def test_a_pipe_gets_the_page(imapids):
    outcome = imapids("analyze", SHELL, "--format", "html", "--quiet")
    assert outcome.code == ExitCode.COMPLETE
    assert outcome.out.startswith("<!doctype html>")
    assert outcome.out.endswith("</html>\n")


def test_a_terminal_gets_the_advice_to_name_a_file():
    master, terminal = pty.openpty()
    run = subprocess.run([sys.executable, "-m", "imapids", "analyze", str(SHELL), "--format", "html"], stdout=terminal,
                         stderr=subprocess.PIPE, text=True, check=False)
    os.close(terminal)
    os.close(master)
    assert run.returncode == ExitCode.USAGE
    assert "-o report.html" in run.stderr


def test_a_damaged_capture_gives_a_report_that_says_so(imapids, tmp_path):
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(SHELL.read_bytes()[:-7])
    outcome = imapids("analyze", cut, "--format", "html", "-o", tmp_path / "report.html", "--quiet")
    assert outcome.code == ExitCode.INCOMPLETE
    assert "could not be read whole" in (tmp_path / "report.html").read_text("utf-8")


def test_standard_input_gives_a_report_without_the_dialogue(tmp_path):
    run = subprocess.run([sys.executable, "-m", "imapids", "analyze", "-", "--format", "html", "-q"],
                         input=SHELL.read_bytes(), capture_output=True, check=True)
    assert b"A command shell runs over the mail port" in run.stdout
    assert b"Dialogue of the gravest session" not in run.stdout


def test_saved_events_give_a_report_too(imapids, tmp_path):
    saved = tmp_path / "events.jsonl"
    assert imapids("analyze", SHELL, "--events", "all", "--format", "jsonl", "-o", saved, "--quiet").code == 0
    outcome = imapids("detect", saved, "--format", "html", "-o", tmp_path / "report.html", "--quiet")
    assert outcome.code == ExitCode.COMPLETE
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "A command shell runs over the mail port" in text
    assert "interactive-shell" in text


def test_without_its_libraries_nothing_is_read_first(imapids, tmp_path, monkeypatch):
    monkeypatch.setattr("imapids.desk.report.sink._NEEDED", ("no_such_library",))
    outcome = imapids("analyze", tmp_path / "absent.pcap", "--format", "html", "-o", tmp_path / "report.html")
    assert outcome.code == ExitCode.USAGE
    assert "pip install 'imapids[report]'" in outcome.err
    assert list(tmp_path.iterdir()) == []
