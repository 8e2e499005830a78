"""What a site says that it has: which mail services may be where, and for whom. Compared with what was seen."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from imapids.protocols.addresses import Networks, parse_address


class Allowed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of an inventory: a service that is meant to be there."""

    servers: tuple[str, ...]
    """Addresses or networks (CIDR) of the servers."""
    ports: tuple[int, ...]
    transport: str = "tcp"
    """tcp or udp."""
    clients: tuple[str, ...] = ()
    """Addresses or networks that may use it; empty: anybody inside (the home network), nobody outside."""
    protocols: tuple[str, ...] = ()
    """Protocols that may be spoken there, IANA names; empty: what the port stands for."""
    clear_sign_in: bool = False
    """Signing in before TLS is accepted there."""
    note: str = ""


class _Entry:
    """An entry that is ready to be compared."""

    def __init__(self, allowed: Allowed, home: Networks) -> None:
        self.servers = Networks(allowed.servers)
        self.endpoints = {(port, allowed.transport) for port in allowed.ports}
        self.clients = Networks(allowed.clients) if allowed.clients else home
        self.protocols = frozenset(allowed.protocols)
        self.clear_sign_in = allowed.clear_sign_in


class Inventory:
    """All entries: asked about one server address and port at a time."""

    def __init__(self, allowed: Sequence[Allowed], home: Networks) -> None:
        """`home`: the home network, whose hosts may use a service that names no clients.

        Raises ValueError where a network is none.
        """
        self._entries = [_Entry(each, home) for each in allowed]

    def of(self, server: str, port: int, transport: str) -> Expected | None:
        """What is expected there; None where nothing is."""
        hi, lo = parse_address(server)
        found = [entry for entry in self._entries
                 if (port, transport) in entry.endpoints and entry.servers.contains(hi, lo)]
        return Expected(found) if found else None


class Expected:
    """What the inventory allows at one address and port."""

    def __init__(self, entries: Sequence[_Entry]) -> None:
        self._entries = entries

    def client(self, address: str) -> bool:
        """Whether a client may use the service."""
        hi, lo = parse_address(address)
        return any(entry.clients.contains(hi, lo) for entry in self._entries)

    def protocol(self, name: str) -> bool:
        """Whether a protocol may be spoken there (an empty name, or no list: yes)."""
        named = [entry.protocols for entry in self._entries]
        return not name or not all(named) or any(name in protocols for protocols in named)

    @property
    def clear_sign_in(self) -> bool:
        """Whether signing in before TLS is accepted."""
        return any(entry.clear_sign_in for entry in self._entries)
