"""Events put in order and shared out to observers, compiled and in Python."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids import kernels
from imapids.pipeline import observing
from imapids.records.events import Anomaly, Event

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")

BODY = Anomaly(type="decode", event="x")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-3, 9) | st.integers(-(2**62), 2**62), max_size=40))
def test_events_are_put_in_order_as_python_puts_them(order: list[int]) -> None:
    events = [Event("one", 0, BODY, None, number) for number in range(len(order))]
    expected = sorted(zip(order, events, strict=True), key=lambda pair: pair[0])
    for compiled in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kernels, "COMPILED", compiled)
            moved, known = observing.in_order(events, order)
        assert known.tolist() == [packet for packet, _ in expected]
        assert [id(event) for event in moved] == [id(event) for _, event in expected]


@pytest.mark.parametrize("places", [
    pytest.param([3], id="behind the end"),
    pytest.param([-1], id="before the begin"),
    pytest.param([0, 1, 2**62], id="far behind the end, after some that are there"),
])
def test_there_are_no_items_outside_the_list(places: list[int]) -> None:
    items = ["a", "b", "c"]
    with pytest.raises(IndexError):
        kernels.events.rearranged(items, np.array(places, np.int64))
    assert items == ["a", "b", "c"]


def test_items_are_held_once_more_for_each_place() -> None:
    item = object()
    held = sys.getrefcount(item)
    moved = kernels.events.rearranged([item, None], np.array([0, 1, 0], np.int64))
    assert moved == [item, None, item]
    assert sys.getrefcount(item) == held + 2
    del moved
    assert sys.getrefcount(item) == held


class Alike:
    """Not an event, but it has a kind."""

    def __init__(self, kind: object) -> None:
        self.kind = kind


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["one", "two", "three"]), st.booleans()), max_size=30))
def test_events_are_shared_out_as_python_shares_them(rows: list[tuple[int, str, bool]]) -> None:
    events = [Event("".join(kind), 0, BODY) if true else Alike(kind) for _, kind, true in rows]
    known = np.array([packet for packet, *_ in rows], np.int64)
    results = []
    for share in (kernels.events.Sharing(Event).among, observing._share):
        first: tuple[list[Event], list[int]] = ([], [])
        second: tuple[list[Event], list[int]] = ([], [])
        share(events, known, {"one": [first], "two": [first, second]})  # type: ignore[arg-type]  # odd ones, too
        results.append((first, second))
    assert results[0] == results[1]


@pytest.mark.parametrize(("events", "known", "error"), [
    pytest.param([Event("one", 0, BODY)], [], ValueError, id="an event without a packet"),
    pytest.param([], [1], ValueError, id="a packet without an event"),
    pytest.param([Alike([])], [1], TypeError, id="a kind that is no key"),
    pytest.param([None], [1], AttributeError, id="something without a kind"),
])
def test_what_cannot_be_shared_out_raises(events: list[Event], known: list[int], error: type[Exception]) -> None:
    with pytest.raises(error):
        kernels.events.Sharing(Event).among(events, np.array(known, np.int64), {"one": []})
