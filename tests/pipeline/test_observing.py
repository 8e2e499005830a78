"""What observers tell stands behind the event that made it known, and before the next one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.observe import Told
from imapids.pipeline.observing import observed
from imapids.records.events import Anomaly, Event
from imapids.records.flows import EndedFlows


class Echo:
    """Tells an event for each that it sees."""

    makes = frozenset(("echo",))
    wants_flows = False

    def __init__(self, name: str, kinds: frozenset[str]) -> None:
        self.name, self.kinds = name, kinds
        self.limits_hit: dict[str, int] = {}

    def see(self, events: Sequence[Event], known: Sequence[int]) -> list[Told]:
        return [(packet, Event(f"{self.name}-{event.kind}", 0, event.body, None, event.packet))
                for event, packet in zip(events, known, strict=True)]

    def see_flows(self, ended: EndedFlows) -> list[Told]:
        raise AssertionError

    def finish(self, now_ns: int, known: int) -> list[Told]:
        return []


BODY = Anomaly(type="decode", event="x")
OBSERVERS = (Echo("a", frozenset(("one", "two"))), Echo("b", frozenset(("two",))), Echo("c", frozenset()))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from(("one", "two", "three"))), max_size=30))
def test_events_and_what_was_told_of_them_are_in_one_order(rows: list[tuple[int, str]]) -> None:
    rows.sort(key=lambda row: row[0])
    events = [Event(kind, 0, BODY, None, number) for number, (_, kind) in enumerate(rows)]
    known = np.array([packet for packet, _ in rows], np.int64)
    expected = [*zip(known.tolist(), events, strict=True)]
    for observer in OBSERVERS:
        mine = [(event, packet) for event, packet in zip(events, known.tolist(), strict=True)
                if event.kind in observer.kinds]
        expected += observer.see([event for event, _ in mine], [packet for _, packet in mine])
    expected.sort(key=lambda told: told[0])
    assert observed(OBSERVERS, events, known, None) == [event for _, event in expected]
