"""What a run hands over: events in parts, then their alerts, and each list unchanged until the next one is there."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pytest

from imapids.capture import open_captures
from imapids.detect import detector
from imapids.records.alerts import Alert
from imapids.records.events import Event
from imapids.run import engine as engine_module
from imapids.run.engine import Engine, rules_for
from imapids.run.local import analyze
from imapids.run.options import ALL_EVENTS, RunOptions

SAMPLES = Path(__file__).parents[2] / "sample_pcaps"
NAMES = ["office-day", "password-guessing", "reverse-shell", "two-readings"]
KEY = b"k" * 32


def state(item: Event | Alert) -> Any:
    """Everything in an item, but for what is remembered of its lines."""
    plain = msgspec.to_builtins(item, builtin_types=(bytes,))
    if plain["flow"] is not None:
        del plain["flow"]["eve_head"]
    return plain


class Lender:
    """A sink that looks, with each call, whether the items of the call before are as they were."""

    def __init__(self) -> None:
        self.lent: list[tuple[Event | Alert, Any]] = []
        self.lists: list[int] = []

    def write(self, items: Any) -> None:
        self.close()
        self.lent = [(item, state(item)) for item in items]
        self.lists.append(len(items))

    def close(self) -> None:
        assert all(state(item) == before for item, before in self.lent)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("packets", [65_536, 40])
def test_the_items_of_a_list_stay_as_they_are_until_the_next_one(name: str, packets: int) -> None:
    limits = RunOptions().limits
    limits = msgspec.structs.replace(limits, capture=msgspec.structs.replace(limits.capture, batch_packets=packets))
    sink = Lender()
    analyze([str(SAMPLES / f"{name}.pcap")], RunOptions(events=ALL_EVENTS, limits=limits, hash_key=KEY), sink)
    sink.close()
    assert sum(sink.lists) > 1


def lists_of(path: Path) -> list[list[list[Any]]]:
    """The lists that an engine gives, for each list of events that it was given."""
    options = RunOptions(events=ALL_EVENTS, hash_key=KEY)
    engine = Engine(options, rules_for(options))
    pipeline = engine.pipeline

    def told(several: Iterable[list[Event]]) -> list[list[list[Any]]]:
        return [[[state(item) for item in items] for items in engine.handle(events)] for events in several]

    with open_captures([str(path)], limits=options.limits.capture) as reader:
        read = [lists for batch in reader for lists in told(pipeline.feed(batch))]
    return read + told(pipeline.finish())


@pytest.mark.parametrize("name", NAMES)
def test_long_lists_of_events_come_in_parts_and_say_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = SAMPLES / f"{name}.pcap"
    whole = lists_of(path)
    monkeypatch.setattr(engine_module, "_AT_ONCE", 1)
    parts = lists_of(path)
    assert sum(map(len, parts)) > sum(map(len, whole))
    assert [list(chain(*lists)) for lists in parts] == [list(chain(*lists)) for lists in whole]
    assert all(lists[-1] == [] for lists in whole + parts)
    assert all(len(items) <= 1 or "rule" in items[0] for lists in parts for items in lists)


def test_parts_are_cut_where_the_rules_cut_them() -> None:
    assert engine_module._AT_ONCE % detector._AT_ONCE == 0
