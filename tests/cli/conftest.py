"""A command line under test: its exit code, output and messages, and an engine that answers as it is told."""

import sys
import types
from dataclasses import dataclass, field

import pytest

from imapids.__main__ import main
from imapids.errors import ExitCode
from imapids.records.alerts import LEVELS, Alert, Reason, RuleInfo
from imapids.records.events import Capture, Event, InputAccount
from imapids.records.streams import Flow


@dataclass
class Outcome:
    """What one call of the command line did."""

    code: int
    out: str
    err: str


@pytest.fixture
def imapids(capfd):
    """Call the command line in this process."""

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@dataclass
class Result:
    """Stands in for run.local.RunResult."""

    capture: Event
    accounts: list = field(default_factory=list)
    alerts_by_level: dict = field(default_factory=dict)
    sessions: dict = field(default_factory=dict)
    interrupted: bool = False
    messages: list = field(default_factory=list)

    def exit_code(self, fail_on):
        if self.interrupted:
            return ExitCode.INTERRUPTED
        if fail_on and any(LEVELS.index(level) >= LEVELS.index(fail_on) for level in self.alerts_by_level):
            return ExitCode.ALERTS
        return ExitCode.INCOMPLETE if self.capture.body.inputs[0].status != "ok" else ExitCode.COMPLETE


class Engine:
    """Stands in for run.local.analyze: keeps what it was asked, writes `items`, raises `error`."""

    def __init__(self):
        flow = Flow(protocol="TCP", client="10.20.1.40", client_port=50_000, server="203.0.113.25", server_port=143)
        self.items = [
            Alert(
                id="0123456789abcdef",
                state="new",
                subject="flow",
                case="c" * 12,
                time_ns=1,
                first_ns=1,
                last_ns=2,
                count=1,
                flow=flow,
                packet=9,
                event="session",
                why=Reason("session.verdict = not-imap"),
                rule=RuleInfo(id="u", sid=1143001, title="Not IMAP on 143", level="high"),
            )
        ]
        self.status = "ok"
        self.damage = []
        self.error = None
        self.during = lambda stop: None
        self.paths = self.options = None

    def analyze(self, paths, options, sink, *, progress=None, stop=None):
        self.paths, self.options = list(paths), options
        if self.error:
            raise self.error
        account = InputAccount(name=paths[0], status=self.status, damage=self.damage)
        capture = Event(
            "capture", 3, Capture(packets=5, processed=4, skipped={"arp": 1}, flows=1, sessions=1, inputs=[account])
        )
        progress(10, 20, 5)
        sink.write([*self.items, capture])
        self.during(stop)
        sink.close()
        return Result(capture, alerts_by_level={"high": 1}, sessions={"not-imap": 1}, interrupted=stop())


@pytest.fixture
def engine(monkeypatch):
    """The engine that `imapids analyze` calls in these tests."""
    made = Engine()
    module = types.ModuleType("imapids.run.local")
    module.analyze = made.analyze
    module.RunResult = Result
    monkeypatch.setitem(sys.modules, "imapids.run.local", module)
    return made
