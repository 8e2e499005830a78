"""Hosts that serve mailboxes and, moments after a client came, are themselves clients of the same service elsewhere."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from imapids import kernels
from imapids.config import ObserveLimits
from imapids.observe.askers import CLIENT, ENDPOINT, SERVER, Askers
from imapids.protocols.mail_services import STORE_PORTS
from imapids.records.packets import I64, U64

_LOOKED_AT = 64
"""Connections of one host that a new one is compared with, newest first: a busy proxy shows itself at once anyway."""
_SERVICES = np.zeros(65_536, np.int64)
_SERVICES[list(STORE_PORTS)] = [1 + ("imap", "pop3").index(name) for name in STORE_PORTS.values()]
_COLUMNS = ("client", "server", "service", "first_ns", "order", "endpoint", "server_hi", "server_lo")
_UNSIGNED = ("client", "server", "endpoint", "server_hi", "server_lo")


class Relay(msgspec.Struct, frozen=True):
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
        self._columns: dict[str, npt.NDArray[Any]] = {
            name: np.zeros(0, np.uint64 if name in _UNSIGNED else np.int64) for name in _COLUMNS}
        self._held = slice(0, 0)
        """The newest connections in these columns."""
        self._order = 0
        self._mix = secrets.randbits(64) | 1

    def feed(self, asked: Askers, at: I64) -> list[Relay]:
        """Relays that answered connections complete, in the order of the rows.

        Args:
            at: positions of the rows that were answered, ascending.
        """
        ended = asked.ended
        at = at[_SERVICES[ended.server_port[asked.at[at]]] > 0]
        if not at.size:
            return []
        flows = asked.at[at]
        new = {
            "client": asked.columns[CLIENT, at], "server": asked.columns[SERVER, at],
            "service": _SERVICES[ended.server_port[flows]], "first_ns": asked.first_ns[at],
            "order": self._order + np.arange(len(at)), "endpoint": asked.columns[ENDPOINT, at],
            "server_hi": ended.server_hi[flows], "server_lo": ended.server_lo[flows]}
        self._order += len(at)
        every = self._append(new)
        client, server = every["client"], every["server"]
        if kernels.COMPILED and not (self._meet(new["server"], client) or self._meet(new["client"], server)):
            return []
        hosts = _common(server, client)
        rows = np.flatnonzero(np.isin(server, hosts) | np.isin(client, hosts))
        known = len(server) - len(at)
        if not rows.size or rows[-1] < known:
            return []
        return self._pairs([column[rows].tolist() for column in every.values()], rows.tolist(), known, at.tolist())

    def _append(self, new: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """The connections that were remembered, and new ones behind them; the newest are remembered from now on."""
        start, stop, count = self._held.start, self._held.stop, len(new["order"])
        if stop + count > len(self._columns["order"]):
            for name, column in self._columns.items():
                moved = np.empty(stop - start + count + self._keep, column.dtype)
                moved[: stop - start] = column[start:stop]
                self._columns[name] = moved
            start, stop = 0, stop - start
        for name, column in self._columns.items():
            column[stop : stop + count] = new[name]
        self._held = slice(max(start, stop + count - self._keep), stop + count)
        return {name: column[start : stop + count] for name, column in self._columns.items()}

    def _meet(self, some: U64, others: U64) -> bool:
        """Whether a value stands in both columns."""
        table = np.zeros(1 << (2 * len(some)).bit_length(), np.uint64)
        return kernels.compiled.have_common(some, others, table, self._mix)

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


class _Came(msgspec.Struct, frozen=True):
    """A client's connection to a host."""

    first_ns: int
    order: int
    client: int
    endpoint: int


class _Went(msgspec.Struct, frozen=True):
    """A connection that a host made itself."""

    first_ns: int
    order: int
    server: int
    address: tuple[int, int]
