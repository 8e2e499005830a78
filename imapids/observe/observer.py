"""What every observer is: events and ended flows in, events with counts and scores out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from imapids.records.events import Event
from imapids.records.flows import EndedFlows

Told = tuple[int, Event]
"""An event, and the frame number of the packet that made it known: the order of output."""


class Observer(Protocol):
    """Counts over time. Only packet time moves it, its state is bounded, and batches change no result.

    Events come in the order in which packets made them known, ended flows in theirs (records/flows.py); an observer
    that takes both must not depend on which of the two comes first.
    """

    kinds: frozenset[str]
    """Event types that it wants to see."""
    makes: frozenset[str]
    """Event types that it tells."""
    wants_flows: bool
    """Whether it looks at ended flows."""

    @property
    def limits_hit(self) -> dict[str, int]:
        """Limits that were hit, and how often; 0 where one was not."""

    def see(self, events: Sequence[Event], known: Sequence[int]) -> list[Told]:
        """Takes events of its kinds, in order, each with the packet that made it known."""

    def see_flows(self, ended: EndedFlows) -> list[Told]:
        """Takes conversations of any port that are over."""

    def finish(self, now_ns: int, known: int) -> list[Told]:
        """No more will come: tells what is still open.

        Args:
            now_ns: the clock of packets.
            known: the last frame number.
        """
