"""Sessions that stay open: rules hear of them at fixed ages, whatever the cut, and nothing is told twice at the end."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from helpers.analysis import HASH_KEY

from imapids.capture import open_captures
from imapids.config import LiveLimits
from imapids.detect.rolling import REVISED, STILL_OPEN
from imapids.records.alerts import Alert
from imapids.records.events import OPEN_SESSION, Event, Session
from imapids.run.engine import Engine, rules_for
from imapids.run.options import ALL_EVENTS, RunOptions

SAMPLES = sorted((Path(__file__).resolve().parents[2] / "sample_pcaps").glob("*.pcap"))
SECOND = 10**9


class Watched:
    """What a live run, or one over a capture, makes of a capture."""

    def __init__(self, path: Path, age_ns: int | None, packets: int = 65_536) -> None:
        limits = RunOptions().limits
        limits = msgspec.structs.replace(
            limits, capture=msgspec.structs.replace(limits.capture, batch_packets=packets),
            live=LiveLimits(open_session_ns=age_ns or 1))
        options = RunOptions(events=ALL_EVENTS, limits=limits, hash_key=HASH_KEY)
        engine = Engine(options, rules_for(options), live=age_ns is not None)
        self.items: list[Event | Alert] = []
        self.early: list[Session] = []
        with open_captures([str(path)], limits=limits.capture) as reader:
            for batch in reader:
                for events in engine.pipeline.feed(batch):
                    self.early += [event.body for event in events
                                   if event.kind == OPEN_SESSION and isinstance(event.body, Session)]
                    for items in engine.handle(events):
                        self.items += items
        for items in engine.finish():
            self.items += items
        self.left = 0 if engine.pipeline._open is None else len(engine.pipeline._open)

    @property
    def alerts(self) -> list[Alert]:
        return [item for item in self.items if isinstance(item, Alert)]

    def final(self) -> dict[tuple[str, str], tuple[object, ...]]:
        """The last word of each alert that was not taken back."""
        return {(alert.rule.id, alert.subject): (alert.count, alert.first_ns, alert.last_ns, alert.verdict)
                for alert in self.alerts if alert.state == "final" and REVISED not in alert.labels}


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in SAMPLES])
def test_any_cut_tells_the_same_of_open_sessions_and_the_end_is_that_of_a_capture(path: Path) -> None:
    whole, parts, offline = Watched(path, SECOND), Watched(path, SECOND, 7), Watched(path, None)
    assert whole.early == parts.early
    assert whole.alerts == parts.alerts
    assert {key: facts[::3] for key, facts in whole.final().items()} == {
        key: facts[::3] for key, facts in offline.final().items()}
    assert [item for item in whole.items if isinstance(item, Event)] == [
        item for item in offline.items if isinstance(item, Event)]
    assert not whole.left


def test_an_alert_about_an_open_shell_comes_before_its_end_and_is_completed_then() -> None:
    path = next(path for path in SAMPLES if path.stem == "reverse-shell")
    early, offline = Watched(path, SECOND), Watched(path, None)
    new = [alert for alert in early.alerts if alert.state == "new" and STILL_OPEN in alert.labels]
    assert new
    for alert in new:
        (last,) = [each for each in early.alerts if each.id == alert.id and each.state == "final"]
        (same,) = [each for each in offline.alerts if each.id == alert.id and each.state == "final"]
        assert last == same
        assert STILL_OPEN not in last.labels
        assert alert.flow is not None
        assert last.flow is not None
        assert alert.flow.packets_client < last.flow.packets_client
