"""Events and flow columns over time -> events with counts and scores. Thresholds of alerts are in rules, not here."""

from collections.abc import Sequence

from imapids.config import HOME_NETS, ObserveLimits
from imapids.observe.beacons import Beacons
from imapids.observe.exposure import ExposureObserver
from imapids.observe.inventory import Allowed, Inventory
from imapids.observe.logins import Logins
from imapids.observe.mailboxes import Mailboxes
from imapids.observe.observer import Observer, Told
from imapids.observe.scans import ScanObserver
from imapids.protocols.addresses import Networks
from imapids.protocols.known_scanners import KnownScanners

__all__ = ["Allowed", "ExposureObserver", "Inventory", "Observer", "ScanObserver", "Told", "observers"]


def observers(kinds: frozenset[str], limits: ObserveLimits | None = None, *, home: Networks | None = None,
              inventory: Sequence[Allowed] | None = None, scanners: KnownScanners | None = None) -> list[Observer]:
    """The observers that tell events of the types asked for.

    Args:
        home: the home network: what is LAN on the exposure sheet.
        inventory: what is meant to be where; None: nobody said.
        scanners: who is known to search the whole Internet.
    """
    limits = limits or ObserveLimits()
    home = home or Networks(HOME_NETS)
    expected = None if inventory is None else Inventory(inventory, home)
    every: list[Observer] = [Logins(limits), Beacons(limits), Mailboxes(limits),
                             ScanObserver(limits, scanners=scanners), ExposureObserver(limits, home, expected)]
    return [each for each in every if each.makes & kinds]
