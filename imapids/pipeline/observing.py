"""Shows the events of a batch to the observers, and puts what they tell of them where it belongs."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

import numpy as np

from imapids.observe import Observer, Told
from imapids.records.events import Event
from imapids.records.flows import EndedFlows
from imapids.records.packets import I64

known_of = itemgetter(0)
"""The packet that made known what an observer told."""


def observed(observers: Sequence[Observer], events: list[Event], known: I64, ended: EndedFlows | None) -> list[Event]:
    """The events, and what the observers made of them and of the flows that are over, in order.

    Args:
        events: in the order of `known`, the packets that showed them. Shape of `known`: (events,).
    """
    seen: list[tuple[list[Event], list[int]]] = [([], []) for _ in observers]
    seers: dict[str, list[tuple[list[Event], list[int]]]] = {}
    for observer, mine in zip(observers, seen, strict=True):
        for kind in observer.kinds:
            seers.setdefault(kind, []).append(mine)
    for event, packet in zip(events, known.tolist(), strict=True):
        for its_events, its_packets in seers.get(event.kind, ()):
            its_events.append(event)
            its_packets.append(packet)
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
