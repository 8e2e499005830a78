"""Every shipped sample comes out as its manifest says: verdicts, protocol, shape, families of rules that fire."""

import tomllib
from collections import Counter
from pathlib import Path

import pytest

from imapids.records.alerts import Alert
from imapids.records.events import Session
from imapids.run.local import analyze
from imapids.run.options import RunOptions

FOLDER = Path(__file__).resolve().parents[2] / "sample_pcaps"
MANIFEST = tomllib.loads((FOLDER / "MANIFEST.toml").read_text())["sample"]


class Kept:
    """A sink that keeps everything."""

    def __init__(self):
        self.items = []

    def write(self, items):
        self.items.extend(items)

    def close(self):
        pass


@pytest.fixture(scope="module")
def results():
    """What each sample gave, by name."""
    kept = {}
    for entry in MANIFEST:
        sink = Kept()
        inventory = FOLDER / f"{entry['name']}.inventory.yml"
        options = RunOptions(events=frozenset({"session", "alert", "capture"}),
                             inventory_path=str(inventory) if inventory.is_file() else None)
        result = analyze([str(FOLDER / entry["file"])], options, sink)
        kept[entry["name"]] = (result, sink.items)
    return kept


def matches(expected, counts):
    """The counts of verdicts agree with the manifest, where `a|b` takes either."""
    rest = Counter(counts)
    for words, number in expected.items():
        for word in words.split("|"):
            taken = min(number, rest[word])
            rest[word] -= taken
            number -= taken
        if number:
            return False
    return not +rest


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry["name"]) for entry in MANIFEST])
def test_a_sample_gets_its_verdicts(results, entry):
    result, items = results[entry["name"]]
    sessions = [item.body for item in items if not isinstance(item, Alert) and isinstance(item.body, Session)]
    counts = Counter(session.verdict for session in sessions)
    assert matches(entry["verdicts"], counts), counts
    if entry["protocol"]:
        assert entry["protocol"] in {session.protocol for session in sessions}
    if entry["shape"]:
        assert entry["shape"] in {session.shape for session in sessions}
    body = result.capture.body
    assert body.packets == entry["packets"] == body.processed + sum(body.skipped.values())
    assert int(result.exit_code(None)) == 0


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry["name"]) for entry in MANIFEST])
def test_a_sample_fires_its_families_of_rules(results, entry):
    alerts = [item for item in results[entry["name"]][1] if isinstance(item, Alert)]
    families = {alert.rule.family for alert in alerts}
    assert set(entry["alerts"]) <= families
    if not entry["alerts"]:
        assert [alert.rule.title for alert in alerts if alert.rule.level in {"high", "critical"}] == []
