"""Who searches the whole Internet and says so: a list of networks with names (rules/lists/research-scanners.csv)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from imapids.protocols.addresses import parse_address
from imapids.protocols.text import safe_str

ENTRIES = 100_000
"""Entries of all lists; the longest public ones have some thousands."""
NAME_CHARACTERS = 80
LINE_CHARACTERS = 1_000
_V4 = 0xFFFF << 32
"""IPv4-mapped addresses (RFC 4291 section 2.5.5.2): all look-ups are in 128 bits."""


class KnownScanners:
    """Networks with the names of those who scan from them; the narrowest network that holds an address decides."""

    def __init__(self) -> None:
        self._names: dict[int, dict[int, str]] = {}
        """By number of host bits, then by the network's first address."""
        self._bits: list[int] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, network: str, name: str) -> None:
        """Adds a network (CIDR, or one address); raises ValueError where it is none."""
        parsed = ipaddress.ip_network(network)
        first = int(parsed.network_address) + (_V4 if parsed.version == 4 else 0)
        bits = parsed.max_prefixlen - parsed.prefixlen
        self._names.setdefault(bits, {})[first] = name
        self._bits = sorted(self._names)
        self._count += 1

    def name_of(self, address: str) -> str:
        """Who scans from an address; empty for all that are not on the list."""
        if not self._bits:
            return ""
        hi, lo = parse_address(address)
        number = hi << 64 | lo
        for bits in self._bits:
            name = self._names[bits].get(number >> bits << bits)
            if name is not None:
                return name
        return ""


def read_scanners(lines: Iterable[str], into: KnownScanners, place: str) -> list[str]:
    """Reads `network, name, ...` lines; what is wrong is returned as `place:line: what`."""
    faults: list[str] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        network, _, rest = text[:LINE_CHARACTERS].partition(",")
        name = safe_str(rest.partition(",")[0].strip(), NAME_CHARACTERS)
        if len(into) >= ENTRIES:
            return [*faults, f"{place}:{number}: more than {ENTRIES:,} networks"]
        try:
            into.add(network.strip(), name)
        except ValueError:
            faults.append(f"{place}:{number}: {safe_str(network.strip(), 80)!r} is no network (CIDR)")
            continue
        if not name:
            faults.append(f"{place}:{number}: who scans from there? Write: network, name")
    return faults
