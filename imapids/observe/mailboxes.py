"""What is done to mailboxes over time: by one client at one server, and by all clients to one mailbox.

A mailbox as a dead drop shows in rounds (fetch, remove, store, in one folder), in the same search again and again, and
in messages that one client stores and another one takes out. Theft and wiping show in numbers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from imapids import kernels
from imapids.config import ObserveLimits
from imapids.observe.fields import seen_fields
from imapids.observe.groups import Groups, Values
from imapids.observe.mailbox_use import ClientUse, MailboxUse, Reading
from imapids.observe.observer import Told
from imapids.records.events import MINUTE, Event, Login, Message, Session
from imapids.records.flows import EndedFlows
from imapids.records.streams import Flow

if TYPE_CHECKING:
    from imapids.kernels._events import MailReads

TOLD_BODIES = 50
"""A client that only reads is not followed before it fetched so many whole messages in an hour: people read mail."""

_COUNTED = frozenset({"append", "store", "expunge", "search", "create", "delete"})
_Use = ClientUse | MailboxUse
_Key = tuple[str, str, int]


class Mailboxes:
    """`message`, `login` and `session` events in, `mailbox` events out."""

    kinds = frozenset({"message", "login", "session", MINUTE})
    makes = frozenset({"mailbox"})
    wants_flows = False

    def __init__(self, limits: ObserveLimits) -> None:
        self._limits = limits
        self._clients: Groups[_Key, ClientUse] = Groups(limits.hour_ns, limits.groups)
        self._mailboxes: Groups[tuple[str, str, str], MailboxUse] = Groups(limits.hour_ns, limits.groups)
        self._reading: OrderedDict[_Key, Reading] = OrderedDict()
        self._users: dict[int, str] = {}
        """Users by flow_id, of the newer conversations that go on."""
        self._old_users: dict[int, str] = {}
        self._forgotten = 0
        self._values = Values(limits.mailbox_values, limits.mailbox_group_values)
        self._clock_ns = 0
        self._compiled: MailReads | None = None

    @property
    def limits_hit(self) -> dict[str, int]:
        """Limits that were hit, and how often."""
        return {"observe-mailbox-groups": self._clients.dropped + self._mailboxes.dropped,
                "observe-mailbox-readers": self._forgotten, "observe-mailbox-values": self._values.refused}

    def see(self, events: Sequence[Event], known: Sequence[int]) -> list[Told]:
        """Counts what was done; tells when a count passes 10, 100 ..., and at the end of windows."""
        told: list[Told] = []
        users, old_users, most_users = self._users, self._old_users, self._limits.flow_users // 2
        shared = len(self._mailboxes) > 0
        for place in self._places(events):
            event = events[place]
            body, flow = event.body, event.flow
            if flow is None:
                if event.kind == MINUTE:
                    self._close_over(event.time_ns, known[place], told)
                continue
            if type(body) is Message:
                action = body.action
                if action == "fetch":
                    if not body.bodies:
                        continue
                    reads = self._only_reads(event.time_ns, body, (flow.client, flow.server, flow.server_port))
                    if reads and not shared:
                        continue
                elif action in _COUNTED:
                    reads = False
                else:
                    continue
                packet = known[place]
                self._close_over(event.time_ns, packet, told)
                if not reads:
                    self._count(event, body, action, packet, told)
                if action != "search" and body.result in ("ok", ""):
                    self._count_shared(event, body, action, packet, told)
                shared = len(self._mailboxes) > 0
            elif type(body) is Session:  # the last that comes of a conversation
                users.pop(flow.flow_id, None)
                if old_users:
                    old_users.pop(flow.flow_id, None)
            elif type(body) is Login and body.outcome == "success":
                users[flow.flow_id] = body.user
                if len(users) >= most_users:
                    users, old_users = self._users, self._old_users = {}, users
        return told

    def _places(self, events: Sequence[Event]) -> Iterable[int]:
        """The places of the events to look at: all, or those of which more follows than a compiled loop counts."""
        return self._odd_places(list(events)) if kernels.COMPILED else range(len(events))

    def _odd_places(self, events: list[Event]) -> Iterator[int]:
        limits = self._limits
        if self._compiled is None:
            self._compiled = kernels.events.MailReads(
                seen_fields(), Reading, minute=MINUTE, followed=_COUNTED, told_bodies=TOLD_BODIES,
                most_readers=limits.pairs, most_users=limits.flow_users // 2, window_ns=limits.hour_ns)
        place = -1
        while (place := self._compiled.pass_over(events, place + 1, self._reading, self._clients.get, self._users,
                                                 self._old_users, len(self._mailboxes) > 0)) < len(events):
            yield place

    def see_flows(self, ended: EndedFlows) -> list[Told]:  # noqa: ARG002  # the interface of all observers
        """Looks at no flows."""
        return []

    def finish(self, now_ns: int, known: int) -> list[Told]:  # noqa: ARG002
        """Tells of every window that is open."""
        told: list[Told] = []
        for group in self._clients.take_all():
            self._close(group, "end", known, told)
        for shared in self._mailboxes.take_all():
            self._close(shared, "end", known, told)
        return told

    def _close_over(self, now_ns: int, packet: int, told: list[Told]) -> None:
        """Tells of windows that are over by now."""
        self._clock_ns = max(self._clock_ns, now_ns)
        for client in self._clients.over(self._clock_ns):
            self._close(client, "window", packet, told)
        for mailbox in self._mailboxes.over(self._clock_ns):
            self._close(mailbox, "window", packet, told)

    def _only_reads(self, now_ns: int, body: Message, key: _Key) -> bool:
        """Counts whole messages of a client that did nothing else; false once it is to be followed."""
        reading = self._reading.get(key)
        if reading is None or now_ns - reading.start_ns >= self._limits.hour_ns:
            if reading is None and self._clients.get(key) is not None:
                return False
            if reading is None and len(self._reading) >= self._limits.pairs:
                self._reading.popitem(last=False)
                self._forgotten += 1
            reading = self._reading[key] = Reading(now_ns)
        bodies = reading.bodies + body.bodies
        if bodies >= TOLD_BODIES:
            return False
        reading.bodies = bodies
        reading.size += body.bytes
        reading.mailbox = body.mailbox
        if body.opaque_body:
            reading.opaque += 1
        return True

    def _user_of(self, flow: Flow) -> str:
        user = self._users.get(flow.flow_id)
        return self._old_users.get(flow.flow_id, "") if user is None else user

    def _client_of(self, event: Event, flow: Flow, packet: int, told: list[Told]) -> ClientUse:
        """The counts of a client; it is followed from now on, with what it read before."""
        key = flow.client, flow.server, flow.server_port
        client = self._clients.get(key)
        if client is None:
            reading = self._reading.pop(key, None)
            client = ClientUse(event, self._values)
            if reading is not None and event.time_ns - reading.start_ns < self._limits.hour_ns:
                client.has_read(reading)
            oldest = self._clients.add(key, client)
            if oldest is not None:
                self._close(oldest, "window", packet, told)
        return client

    def _count(self, event: Event, body: Message, action: str, packet: int, told: list[Told]) -> None:
        """Counts one command for its client."""
        flow = event.flow
        assert flow is not None
        client = self._client_of(event, flow, packet, told)
        client.user = self._user_of(flow)
        if client.did(event, body, action):
            told.append((packet, self._event(client, "step")))

    def _count_shared(self, event: Event, body: Message, action: str, packet: int, told: list[Told]) -> None:
        """Counts one command for its mailbox, where somebody stored something before."""
        flow = event.flow
        assert flow is not None
        place = flow.server, self._user_of(flow), body.mailbox
        shared = self._mailboxes.get(place)
        if shared is None:
            if action != "append":
                return
            shared = MailboxUse(event, body.mailbox, self._values)
            oldest_shared = self._mailboxes.add(place, shared)
            if oldest_shared is not None:
                self._close(oldest_shared, "window", packet, told)
        shared.user = place[1]
        if shared.did(event, body, action, flow.client):
            told.append((packet, self._event(shared, "step")))

    def _close(self, use: _Use, reason: str, packet: int, told: list[Told]) -> None:
        self._values.give_back(use.remembered)
        if use.has_news():
            told.append((packet, self._event(use, reason)))

    def _event(self, use: _Use, reason: str) -> Event:
        body = use.body(reason, self._limits.hour_ns)
        return Event("mailbox", use.time_ns, body, use.flow, use.packet, use.time_ns)
