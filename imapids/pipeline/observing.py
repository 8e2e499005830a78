"""Puts the events of a batch in order, shows them to the observers, and puts what they tell where it belongs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from imapids import kernels
from imapids.observe import Observer, Told
from imapids.records.events import Event
from imapids.records.flows import EndedFlows
from imapids.records.packets import I64

if TYPE_CHECKING:
    from imapids.kernels._events import Sharing

_Seers = dict[str, list[tuple[list[Event], list[int]]]]
"""By kind of event, where those who want it find the events, and the packets that made them known."""
_SHORT = 65_536
"""Numbers below are sorted by counting, others by comparing: what a batch shows is rarely further apart."""

known_of = itemgetter(0)
"""The packet that made known what an observer told."""


def in_order(events: list[Event], order: list[int]) -> tuple[list[Event], I64]:
    """Events in the order of the packets that made them known, and these packets: shape (events,), ascending.

    Args:
        order: that packet of each event. Those of one packet stay in their order.
    """
    known = np.array(order, np.int64)
    if not (known[1:] < known[:-1]).any():
        return events, known
    since = (known - known.min()).view(np.uint64)  # 64 bits hold any distance, but not with a sign
    places = np.argsort(since.astype(np.uint16) if int(since.max()) < _SHORT else since, kind="stable")
    moved = kernels.events.rearranged(events, places) if kernels.COMPILED else [events[i] for i in places.tolist()]
    return moved, known[places]


def observed(observers: Sequence[Observer], events: list[Event], known: I64, ended: EndedFlows | None) -> list[Event]:
    """The events, and what the observers made of them and of the flows that are over, in order.

    Args:
        events: in the order of `known`, the packets that showed them. Shape of `known`: (events,).
    """
    seen: list[tuple[list[Event], list[int]]] = [([], []) for _ in observers]
    seers: _Seers = {}
    for observer, mine in zip(observers, seen, strict=True):
        for kind in observer.kinds:
            seers.setdefault(kind, []).append(mine)
    if kernels.COMPILED:
        _sharing().among(events, known, seers)
    else:
        _share(events, known, seers)
    told: list[Told] = []
    for observer, (its_events, its_packets) in zip(observers, seen, strict=True):
        if its_events:
            told += observer.see(its_events, its_packets)
        if ended is not None and observer.wants_flows:
            told += observer.see_flows(ended)
    if not told:
        return events
    told.sort(key=known_of)  # stable: what one observer told stands in its order
    merged: list[Event] = []
    start = 0
    behind = np.searchsorted(known, [packet for packet, _ in told], side="right")  # an event, then what it made
    for stop, (_, event) in zip(behind.tolist(), told, strict=True):
        if stop > start:
            merged += events[start:stop]
            start = stop
        merged.append(event)
    return merged + events[start:]


def _share(events: list[Event], known: I64, seers: _Seers) -> None:
    """Shares events out by their kinds."""
    for event, packet in zip(events, known.tolist(), strict=True):
        for its_events, its_packets in seers.get(event.kind, ()):
            its_events.append(event)
            its_packets.append(packet)


@lru_cache(maxsize=1)
def _sharing() -> Sharing:
    return kernels.events.Sharing(Event)
