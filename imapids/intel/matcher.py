"""Looks for indicators in events, and in whole columns of addresses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import numpy as np

from imapids.intel.indicators import FOREVER, Benign, IndicatorSet, Known
from imapids.intel.values import address_number
from imapids.protocols.addresses import Network, Networks
from imapids.protocols.text import safe_str
from imapids.protocols.timestamps import eve_time
from imapids.records.events import Event, FlowBody, Indicator, Login, Session, Tls
from imapids.records.packets import U64, Bool

HITS = 16
"""Indicators told of one event."""
CACHED = 65_536
"""Addresses whose answer is remembered: the same peers come back with each event."""
NAMES = 16
"""Host names looked up of one text."""
_MASK64 = (1 << 64) - 1
_HOST_NAME = re.compile(r"(?<![\w-])(?:[\w-]{1,63}\.){1,10}[A-Za-z][A-Za-z0-9-]{1,62}(?![\w-])", re.ASCII)

Hit = tuple[str, Known, str]
"""Kind, what is known, the event field that matched."""


class Matcher:
    """Matches events against a set of indicators.

    Stateless but for a bounded memory of addresses, so the answer depends on the event alone. Which fields are
    looked at: of a session the addresses, the server's endpoint and the host names that greeting and software name;
    of a flow on another port the addresses; of a TLS handshake the names, fingerprints and the certificate; of a
    login the user. No field stands in two kinds of event, so nothing is told twice.
    """

    def __init__(self, indicators: IndicatorSet) -> None:
        self._set = indicators
        self._addresses: dict[str, tuple[tuple[str, Known], ...]] = {}
        self._by_prefix = [(128 - prefix, indicators.networks[prefix])
                           for prefix in sorted(indicators.networks, reverse=True)]
        self._columns: tuple[Networks, U64] | None = None
        self.suppressed: dict[str, int] = {}
        """Hits that a warning list calls benign, by the list's name (an address counts once while it is remembered)."""
        self._fields: dict[type, Callable[[Event], Iterable[Hit]]] = {}
        if indicators:
            self._fields = {Session: self._session, FlowBody: self._flow, Tls: self._tls, Login: self._login}

    def match(self, event: Event) -> list[Indicator]:
        """The indicators that an event matches and that held at its time, at most `HITS`."""
        fields = self._fields.get(type(event.body))
        if fields is None:
            return []
        found: list[Indicator] = []
        for kind, known, field in fields(event):
            if not known.from_ns <= event.time_ns < known.until_ns and event.time_ns:
                continue
            if len(found) >= HITS:
                break
            found.append(Indicator(
                kind=kind, value=known.text, field=field, source=known.source, name=known.name,
                valid_from=eve_time(known.from_ns) if known.from_ns > -FOREVER else "",
                valid_until=eve_time(known.until_ns) if known.until_ns < FOREVER else "",
                direction=event.flow.direction if event.flow else "unknown",
            ))
        return found

    def match_addresses(self, hi: U64, lo: U64) -> Bool:
        """Mask of shape (n,), bool: which addresses (columns of shape (n,), uint64) stand in an indicator.

        Addresses, networks and the addresses of endpoints count, whenever they hold: a sieve for columns of flows, for
        what passes it `match` decides.
        """
        if self._columns is None:
            self._columns = self._sieve()
        networks, single = self._columns
        inside = networks.contains_columns(hi, lo)
        if len(single):
            place = np.minimum(np.searchsorted(single, lo), len(single) - 1)
            inside |= (hi == 0) & (single[place] == lo)
        return inside

    def _sieve(self) -> tuple[Networks, U64]:
        """Networks (and single IPv6 addresses) as intervals, single IPv4 addresses as a sorted column of low halves."""
        texts = {*self._set.exact["address"], *(key.partition(" ")[0] for key in self._set.exact["endpoint"])}
        numbers = [number for number in map(address_number, texts) if number is not None]
        networks = [Network(number >> 64, number & _MASK64, _MASK64, _MASK64) for number in numbers if number >> 64]
        for prefix, table in self._set.networks.items():
            mask = (1 << 128) - (1 << 128 - prefix)
            networks += [Network(first >> 64, first & _MASK64, mask >> 64, mask & _MASK64) for first in table]
        single = np.array(sorted(number for number in numbers if not number >> 64), dtype=np.uint64)
        return Networks(networks), single

    def _session(self, event: Event) -> Iterable[Hit]:
        assert isinstance(event.body, Session)
        yield from self._peers(event)
        if self._set.exact["domain"]:
            for field in ("greeting", "software", "client_software"):
                yield from self._names(getattr(event.body, field), f"session.{field}")

    def _flow(self, event: Event) -> Iterable[Hit]:
        if event.flow is not None and not event.flow.watched:  # a watched flow has a session event
            yield from self._peers(event)

    def _tls(self, event: Event) -> Iterable[Hit]:
        body = event.body
        assert isinstance(body, Tls)
        domains = bool(self._set.exact["domain"])
        if body.sni and domains:
            yield from self._kept(("domain", known, "tls.sni") for known in self._set.find_domains(body.sni))
        if body.ja3 is not None:
            yield from (("ja3", known, "tls.ja3.hash") for known in self._set.find("ja3", body.ja3.hash.lower()))
        if body.ja4:
            yield from (("ja4", known, "tls.ja4") for known in self._set.find("ja4", body.ja4.lower()))
        if body.fingerprint:
            digest = body.fingerprint.lower().replace(":", "")
            yield from (("certificate", known, "tls.fingerprint") for known in self._set.find("certificate", digest))
        if domains:
            yield from self._names(body.subject, "tls.subject")
            yield from self._names(body.issuerdn, "tls.issuerdn")

    def _login(self, event: Event) -> Iterable[Hit]:
        assert isinstance(event.body, Login)
        users = self._set.find("user", event.body.user.lower())
        yield from self._kept(("user", known, "login.user") for known in users)

    def _peers(self, event: Event) -> Iterable[Hit]:
        """Hits of the client's and the server's address, and of the server's endpoint."""
        flow = event.flow
        if flow is None:
            return
        endpoints = self._set.exact["endpoint"]
        if endpoints:
            for known in endpoints.get(f"{flow.server} {flow.server_port}", ()):
                yield from self._kept([("endpoint", known, "dest_ip")])
        for address, field in ((flow.server, "dest_ip"), (flow.client, "src_ip")):
            for kind, known in self._address(address):
                yield kind, known, field

    def _address(self, text: str) -> tuple[tuple[str, Known], ...]:
        """Indicators of an address and of the networks that it lies in, benign ones left out."""
        answer = self._addresses.get(text)
        if answer is None:
            found = [("address", known) for known in self._set.find("address", text)]
            number = address_number(text) if self._set.networks or self._set.benign_networks else None
            if number is not None:
                found += [("network", known) for known in self._networks(number)]
            benign = self._benign_address(text, number) if found else None
            if benign:
                self._suppress(benign)
                found = []
            if len(self._addresses) >= CACHED:
                self._addresses.clear()
            answer = self._addresses[text] = tuple(found)
        return answer

    def _networks(self, number: int) -> Iterable[Known]:
        """What is known of the networks that an address (one 128-bit number) lies in, the narrowest first."""
        for rest, table in self._by_prefix:
            known = table.get(number >> rest << rest)
            if known:
                yield from known

    def _names(self, text: str, field: str) -> Iterable[Hit]:
        """Hits of the host names that stand in a text."""
        if "." not in text:
            return
        for count, found in enumerate(_HOST_NAME.finditer(text)):
            if count >= NAMES:
                return
            yield from self._kept(("domain", known, field) for known in self._set.find_domains(found[0]))

    def _kept(self, hits: Iterable[Hit]) -> Iterable[Hit]:
        """The hits that no warning list calls benign."""
        for hit in hits:
            benign = self._benign(hit[0], hit[1].text)
            if benign:
                self._suppress(benign)
            else:
                yield hit

    def _benign(self, kind: str, text: str) -> Benign | None:
        lists = self._set.benign
        exact = lists["exact"].get(text)
        if exact:
            return exact
        if kind == "domain" and lists["domain"]:
            name = text
            while name:
                if name in lists["domain"]:
                    return lists["domain"][name]
                name = name.partition(".")[2]
        if kind == "endpoint":
            host = text.rpartition(":")[0].strip("[]")
            return self._benign_address(host, address_number(host))
        return next((part for part in self._set.benign_parts if part.text in text), None)

    def _benign_address(self, text: str, number: int | None) -> Benign | None:
        found = self._set.benign["exact"].get(text)
        if found or number is None:
            return found
        for prefix, table in self._set.benign_networks.items():
            benign = table.get(number >> 128 - prefix << 128 - prefix)
            if benign:
                return benign
        return None

    def _suppress(self, benign: Benign) -> None:
        name = safe_str(benign.list_name, 80)
        self.suppressed[name] = self.suppressed.get(name, 0) + 1
