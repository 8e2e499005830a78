"""Hosts that serve mailboxes and, moments after a client came, are themselves clients of the same service elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from imapids.config import ObserveLimits
from imapids.protocols.mail_services import STORE_PORTS
from imapids.records.packets import I64, U16, U64

_LOOKED_AT = 64
"""Connections of one host that a new one is compared with, newest first: a busy proxy shows itself at once anyway."""
_SERVICES = np.zeros(65_536, np.int64)
_SERVICES[list(STORE_PORTS)] = [1 + ("imap", "pop3").index(name) for name in STORE_PORTS.values()]
_COLUMNS = ("client", "server", "service", "first_ns", "order", "endpoint", "server_hi", "server_lo")
_UNSIGNED = ("client", "server", "endpoint", "server_hi", "server_lo")


class Relay(NamedTuple):
    """A connection upstream that a host made for one of its clients."""

    row: int
    """Position of the row that completed the pair."""
    endpoint: int
    """Hash of the address and port that the client had come to."""
    upstream: tuple[int, int]
    """Address that the host connected to, two 64-bit halves."""


class RelayFinder:
    """Remembers the newest connections to mailboxes, and pairs what came to a host with what went out from it."""

    def __init__(self, limits: ObserveLimits) -> None:
        self._keep = limits.relay_connections
        self._window_ns = limits.relay_ns
        self._recent: dict[str, npt.NDArray[Any]] = {
            name: np.zeros(0, np.uint64 if name in _UNSIGNED else np.int64) for name in _COLUMNS}
        self._order = 0

    def feed(self, at: I64, client: U64, server: U64, port: U16, first_ns: I64, endpoint: U64,
             server_hi: U64, server_lo: U64) -> list[Relay]:
        """Relays that answered connections complete, in the order of the rows. All columns have shape (n,).

        Args:
            at: position of each row; `client`, `server`: hashes of addresses; `endpoint`: of server address and port.
            server_hi, server_lo: the server's address.
        """
        service = _SERVICES[port]
        chosen = np.flatnonzero(service > 0)
        if not chosen.size:
            return []
        new: dict[str, npt.NDArray[Any]] = {
            "client": client[chosen], "server": server[chosen], "service": service[chosen],
            "first_ns": first_ns[chosen], "order": self._order + np.arange(len(chosen)), "endpoint": endpoint[chosen],
            "server_hi": server_hi[chosen], "server_lo": server_lo[chosen]}
        self._order += len(chosen)
        known = len(self._recent["order"])
        every = {name: np.concatenate((self._recent[name], new[name])) for name in _COLUMNS}
        self._recent = {name: column[-self._keep :] for name, column in every.items()}
        hosts = _common(every["server"], every["client"])
        if not hosts.size:
            return []
        rows = np.flatnonzero(np.isin(every["server"], hosts) | np.isin(every["client"], hosts))
        if not rows.size or rows[-1] < known:
            return []
        return self._pairs([column[rows].tolist() for column in every.values()], rows.tolist(), known,
                           at[chosen].tolist())

    def _pairs(self, columns: list[list[int]], rows: Sequence[int], known: int, at: Sequence[int]) -> list[Relay]:
        """Pairs among the rows of hosts that are both client and server: only those that a new row completes."""
        came: dict[tuple[int, int], list[_Came]] = {}
        went: dict[tuple[int, int], list[_Went]] = {}
        paired: set[int] = set()
        found = []
        for row, client, server, service, first_ns, order, endpoint, hi, lo in zip(rows, *columns, strict=True):
            if client == server:
                continue
            incoming, outgoing = _Came(first_ns, order, client, endpoint), _Went(first_ns, order, server, (hi, lo))
            for earlier in reversed(came.get((client, service), ())[-_LOOKED_AT:]):
                if self._fits(earlier, outgoing):
                    if row >= known:
                        found.append(Relay(at[row - known], earlier.endpoint, outgoing.address))
                    paired.add(order)
                    break
            for later in reversed(went.get((server, service), ())[-_LOOKED_AT:]):
                if later.order not in paired and self._fits(incoming, later):
                    if row >= known:
                        found.append(Relay(at[row - known], endpoint, later.address))
                    paired.add(later.order)
            came.setdefault((server, service), []).append(incoming)
            went.setdefault((client, service), []).append(outgoing)
        return found

    def _fits(self, came: _Came, went: _Went) -> bool:
        """Whether an outgoing connection follows an incoming one soon enough, and does not lead back to its client."""
        return (0 <= went.first_ns - came.first_ns <= self._window_ns
                and abs(went.order - came.order) < self._keep and came.client != went.server)


def _common(one: U64, other: U64) -> U64:
    """The values that stand in both columns; nearly always there are none, and two sorts say so."""
    one, other = np.sort(one), np.sort(other)
    at = np.searchsorted(one, other)
    common: U64 = other[one.take(at, mode="clip") == other]
    if common.size:
        common = common[np.concatenate(([True], common[1:] != common[:-1]))]
    return common


class _Came(NamedTuple):
    """A client's connection to a host."""

    first_ns: int
    order: int
    client: int
    endpoint: int


class _Went(NamedTuple):
    """A connection that a host made itself."""

    first_ns: int
    order: int
    server: int
    address: tuple[int, int]
