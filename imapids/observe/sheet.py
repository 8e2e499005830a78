"""One line of the exposure sheet: what is known of a server address and port, and what of it is new."""

from __future__ import annotations

from typing import NamedTuple

from imapids.config import ObserveLimits
from imapids.observe.inventory import Expected
from imapids.protocols.mail_services import clear_sign_in, proxy_signs
from imapids.protocols.timestamps import eve_time
from imapids.records.events import Exposure, Service, Session
from imapids.records.packets import I64
from imapids.records.streams import Flow

(CONNECTIONS, FROM_WAN, ANSWERED, ANSWERED_LAN, ANSWERED_WAN, REFUSED, UNANSWERED, CLIENTS_LAN, CLIENTS_WAN,
 NEWS) = range(10)
FIELDS = 10
"""Counts of an endpoint; NEWS counts what was learned of it from elsewhere."""
_UPSTREAM_SHOWN = 8
_SIGNS = ("starttls", "sign-in", "signed-in", "wan-signed-in", "tls")


class Said(NamedTuple):
    """What one conversation showed of a server: from a session or a service event."""

    service: str = ""
    software: str = ""
    banner: str = ""
    tls: bool = False
    starttls_offered: bool = False
    starttls_used: bool = False
    sign_in_in_clear: bool = False
    signed_in_in_clear: bool = False
    proxy: tuple[str, ...] = ()


def said_of_session(body: Session, *, relayed: bool) -> Said:
    """What a session showed; `relayed`: its user named a server to go on to."""
    imap = body.verdict in ("genuine", "undecided") and bool(body.greeting)
    clear = body.logins > 0 and body.starttls != "tls"
    proxy = proxy_signs(body.greeting.encode("ascii", "replace")) if imap else ()
    return Said(
        "imap" if imap else (body.protocol or "").partition("+")[0], body.software, body.greeting,
        body.protocol == "tls", bool(body.starttls), body.starttls == "tls",
        imap and (clear or clear_sign_in(body.capabilities)), imap and clear,
        (*proxy, "relayed-user") if relayed else proxy)


def said_of_service(body: Service) -> Said:
    """What the first bytes on another mail port showed."""
    return Said(body.protocol, body.software, body.banner, body.tls, body.starttls_offered, body.starttls_used,
                body.sign_in_in_clear, body.signed_in_in_clear, tuple(body.proxy))


class Line:
    """What is known of one server address and port, besides the counts."""

    __slots__ = ("_limit", "_told", "closed_at_first", "expected", "expecting", "flow", "foreign_client", "home",
                 "networks", "networks_asking", "proxy", "relayed", "said", "upstream", "wan_signed_in")

    def __init__(self, limits: ObserveLimits, flow: Flow, *, home: bool, closed: bool, expecting: bool,
                 expected: Expected | None) -> None:
        """
        Args:
            flow: the first conversation: it stands for the line.
            closed: nothing had answered when the line was opened.
            expecting: there is an inventory, and the server is one that it is about.
        """
        self._limit = limits.endpoint_networks
        self.flow = flow
        self.home = home
        self.closed_at_first = closed
        self.expecting = expecting
        self.expected = expected
        self.networks: list[str] = []
        self.networks_asking: list[str] = []
        self.said = Said()
        self.wan_signed_in = False
        self.foreign_client = False
        """A client was answered that the inventory does not name."""
        self.proxy: list[str] = []
        self.relayed = 0
        self.upstream: list[str] = []
        self._told: frozenset[str] = frozenset()

    def has_room(self, *, answered: bool) -> bool:
        """Whether another network of clients would be noted."""
        return len(self.networks if answered else self.networks_asking) < self._limit

    def add_network(self, network: str, *, answered: bool) -> None:
        """Notes a client's network."""
        names = self.networks if answered else self.networks_asking
        if len(names) < self._limit and network not in names:
            names.append(network)

    def learn(self, said: Said, *, from_wan: bool) -> None:
        """Adds what a conversation showed; what was said first of service, software and banner stays."""
        before = self.said
        self.said = Said(
            before.service or said.service, before.software or said.software, before.banner or said.banner,
            *(old or new for old, new in zip(before[3:8], said[3:8], strict=True)))  # type: ignore[arg-type]
        self.wan_signed_in |= said.signed_in_in_clear and from_wan
        self.proxy += [sign for sign in said.proxy if sign not in self.proxy]

    def relay(self, upstream: str) -> None:
        """The host connected upstream for one of its clients."""
        self.relayed += 1
        if "relays" not in self.proxy:
            self.proxy.append("relays")
        if len(self.upstream) < _UPSTREAM_SHOWN and upstream not in self.upstream:
            self.upstream.append(upstream)

    def unexpected(self, *, is_open: bool) -> list[str]:
        """What the inventory does not allow."""
        if not self.expecting or not is_open:
            return []
        if self.expected is None:
            return ["service"]
        said, found = self.said, []
        if self.foreign_client:
            found.append("client-network")
        if not self.expected.protocol(said.service):
            found.append("protocol")
        if (said.sign_in_in_clear or said.signed_in_in_clear) and not self.expected.clear_sign_in:
            found.append("clear-text")
        return found

    def body(self, counts: I64, first_ns: int, last_ns: int, *, final: bool) -> Exposure | None:
        """The event, with what is new in it; None where nothing is and it is not the last."""
        count = counts.tolist()
        state = "open" if count[ANSWERED] else "closed" if count[REFUSED] else "stealth"
        said, unexpected = self.said, self.unexpected(is_open=state == "open")
        open_to = [name for name, field in (("lan", ANSWERED_LAN), ("wan", ANSWERED_WAN)) if count[field]]
        news = self._news(state, open_to, unexpected)
        changes = [change for change in news if change not in self._told]
        self._told = frozenset(news)
        if not changes and not final:
            return None
        # In steps: of more than fifteen keywords the interpreter makes a dictionary first.
        body = Exposure(
            state=state, home=self.home, open_to=open_to, service=said.service, software=said.software,
            banner=said.banner, tls=said.tls, connections=count[CONNECTIONS], connections_wan=count[FROM_WAN],
            first_seen=eve_time(first_ns), last_seen=eve_time(last_ns), unexpected=unexpected, final=final,
            direction=self.flow.direction)
        body.asked_by = [name for name, asked in (
            ("lan", count[CONNECTIONS] - count[FROM_WAN]), ("wan", count[FROM_WAN])) if asked]
        body.starttls_offered, body.starttls_used = said.starttls_offered, said.starttls_used
        body.sign_in_in_clear, body.signed_in_in_clear = said.sign_in_in_clear, said.signed_in_in_clear
        body.wan_signed_in_in_clear = self.wan_signed_in
        body.answered, body.refused, body.unanswered = count[ANSWERED], count[REFUSED], count[UNANSWERED]
        body.clients_lan, body.clients_wan = count[CLIENTS_LAN], count[CLIENTS_WAN]
        body.networks, body.networks_asking = self.networks[:], self.networks_asking[:]
        body.proxy, body.relayed, body.upstream = self.proxy[:], self.relayed, self.upstream[:]
        body.inventory, body.changes = self.expecting, [change.partition(":")[0] for change in changes]
        return body

    def _news(self, state: str, open_to: list[str], unexpected: list[str]) -> list[str]:
        """The words of the line that are worth a line of output when they are new."""
        said = self.said
        news = [f"state:{state}"]
        news += [f"open-to-{side}" for side in open_to]
        if said.service:
            news.append(f"service:{said.service}")
        if said.software:
            news.append(f"software:{said.software}")
        signs = (said.starttls_offered, said.sign_in_in_clear, said.signed_in_in_clear, self.wan_signed_in, said.tls)
        if True in signs:
            news += [sign for sign, held in zip(_SIGNS, signs, strict=True) if held]
        news += [f"proxy:{sign}" for sign in self.proxy]
        news += [f"unexpected:{each}" for each in unexpected]
        return news
