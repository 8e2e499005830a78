"""The indicators of a run, in the structures that make a look-up cheap however many there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from imapids.intel.values import KINDS, Value
from imapids.protocols.text import safe_str

INDICATORS = 5_000_000
"""Indicators of a run: about 1 GiB; the largest public feeds have some hundred thousand."""
SAME_VALUE = 8
"""Sources kept of one value."""
NOTES = 50
"""Places told of values that were skipped; the rest is counted."""
FAULTS = 200
"""Faults told of a run."""
FOREVER = 1 << 63
"""A time in nanoseconds that no packet has."""


class Known(NamedTuple):
    """What is known of one indicator."""

    text: str
    source: str
    name: str = ""
    from_ns: int = -FOREVER
    until_ns: int = FOREVER
    """It holds for packets with from_ns <= time < until_ns."""


class Benign(NamedTuple):
    """A value of a warning list: what is commonly listed by mistake."""

    text: str
    list_name: str


class IndicatorSet:
    """Indicators by kind, and the account of what was read.

    Exact values lie in one dict for each kind, networks in one dict for each prefix length: a look-up costs one hash
    for an exact value, one for each prefix length in use, one for each label of a name.
    """

    def __init__(self) -> None:
        self.exact: dict[str, dict[str, tuple[Known, ...]]] = {kind: {} for kind in KINDS if kind != "network"}
        """By kind and key; addresses in canonical text, endpoints as `address port`."""
        self.networks: dict[int, dict[int, tuple[Known, ...]]] = {}
        """By prefix length in 128-bit terms and first address."""
        self.benign: dict[str, dict[str, Benign]] = {"domain": {}, "exact": {}}
        self.benign_networks: dict[int, dict[int, Benign]] = {}
        self.benign_parts: list[Benign] = []
        """Substrings: a value that holds one of them is benign."""
        self.skipped: dict[str, int] = {}
        """Entries that give no indicator, by reason."""
        self.faults: list[str] = []
        """`file:line: what` for each file that is wrong: exit code 5."""
        self.notes: list[str] = []
        """`file:line: reason: value` for the first skipped entries."""
        self.sources: list[str] = []
        """Names of what was read."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __bool__(self) -> bool:
        return self._size > 0

    @property
    def counts(self) -> dict[str, int]:
        """Distinct values by kind."""
        found = {kind: len(self.exact[kind]) if kind != "network" else sum(map(len, self.networks.values()))
                 for kind in KINDS}
        return {kind: count for kind, count in found.items() if count}

    def add(self, value: Value, source: str, name: str = "", from_ns: int = -FOREVER, until_ns: int = FOREVER) -> bool:
        """Keep an indicator; False where it was known already or there is no room."""
        if self._size >= INDICATORS:
            self.skip("too-many-indicators")
            return False
        table: Any
        key: Any
        kind, key, text = value
        if isinstance(key, tuple):
            prefix, number = key
            table, key = self.networks.setdefault(prefix, {}), number
        else:
            table = self.exact[kind]
        known = Known(text, source, name, from_ns, until_ns)
        before = table.get(key)
        if before is None:
            table[key] = (known,)
        elif known in before or len(before) >= SAME_VALUE:
            self.skip("duplicate")
            return False
        else:
            table[key] = (*before, known)
        self._size += 1
        return True

    def skip(self, reason: str, place: str = "", text: str = "") -> None:
        """Count an entry that gives no indicator; the first ones are told with their place (`file:line`)."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1
        if place and len(self.notes) < NOTES:
            self.notes.append(f"{place}: {reason}: {safe_str(text, 100)}")

    def fault(self, place: str, what: str) -> None:
        """Tell that a file is wrong, and where."""
        if len(self.faults) < FAULTS:
            self.faults.append(f"{place}: {what}")

    def find(self, kind: str, key: str) -> tuple[Known, ...]:
        """What is known of an exact value; `kind` is any but network."""
        return self.exact[kind].get(key, ())

    def find_domains(self, name: str) -> Iterator[Known]:
        """What is known of a name and of the domains above it, the longest first."""
        table = self.exact["domain"]
        name = name.lower().rstrip(".")
        for _ in range(16):  # labels: longer names are no host's
            yield from table.get(name, ())
            name = name.partition(".")[2]
            if not name:
                return
