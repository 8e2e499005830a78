"""Events and flow columns over time -> events with counts and scores. Thresholds of alerts are in rules, not here."""

from imapids.config import ObserveLimits
from imapids.observe.beacons import Beacons
from imapids.observe.logins import Logins
from imapids.observe.mailboxes import Mailboxes
from imapids.observe.observer import Observer, Told

__all__ = ["Observer", "Told", "observers"]


def observers(kinds: frozenset[str], limits: ObserveLimits | None = None) -> list[Observer]:
    """The observers that tell events of the types asked for."""
    limits = limits or ObserveLimits()
    every: list[Observer] = [Logins(limits), Beacons(limits), Mailboxes(limits)]
    return [each for each in every if each.makes & kinds]
