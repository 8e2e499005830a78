"""What is done to mailboxes over time: by one client at one server, and by all clients to one mailbox.

A mailbox as a dead drop shows in rounds (fetch, remove, store, in one folder), in the same search again and again, and
in messages that one client stores and another one takes out. Theft and wiping show in numbers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from imapids.config import ObserveLimits
from imapids.observe.groups import Groups, Values
from imapids.observe.mailbox_use import ClientUse, MailboxUse
from imapids.observe.observer import Told
from imapids.records.events import Event, Login, Message
from imapids.records.flows import EndedFlows

_UNCOUNTED = frozenset({"select", "rename", "copy", "move"})
_Use = ClientUse | MailboxUse


class Mailboxes:
    """`message` and `login` events in, `mailbox` events out."""

    kinds = frozenset({"message", "login"})
    makes = frozenset({"mailbox"})
    wants_flows = False

    def __init__(self, limits: ObserveLimits) -> None:
        self._limits = limits
        self._clients: Groups[tuple[str, str, int], ClientUse] = Groups(limits.hour_ns, limits.groups)
        self._mailboxes: Groups[tuple[str, str, str], MailboxUse] = Groups(limits.hour_ns, limits.groups)
        self._users: OrderedDict[int, str] = OrderedDict()
        """Users by flow_id."""
        self._forgotten_users = 0
        self._values = Values(limits.mailbox_values, limits.mailbox_group_values)
        self._clock_ns = 0

    @property
    def limits_hit(self) -> dict[str, int]:
        """Limits that were hit, and how often."""
        return {"observe-mailbox-groups": self._clients.dropped + self._mailboxes.dropped,
                "observe-mailbox-users": self._forgotten_users, "observe-mailbox-values": self._values.refused}

    def see(self, events: Sequence[Event], known: Sequence[int]) -> list[Told]:
        """Counts what was done; tells when a count passes 10, 100 ..., and at the end of windows."""
        told: list[Told] = []
        for event, packet in zip(events, known, strict=True):
            body, flow = event.body, event.flow
            if type(body) is Login:
                if body.outcome == "success" and flow is not None:
                    self._remember_user(flow.flow_id, body.user)
                continue
            if type(body) is not Message or flow is None:
                continue
            action = body.action
            if action in _UNCOUNTED or (action == "fetch" and not body.bodies):
                continue
            self._clock_ns = max(self._clock_ns, event.time_ns)
            for group in self._clients.over(self._clock_ns):
                self._close(group, "window", packet, told)
            for shared in self._mailboxes.over(self._clock_ns):
                self._close(shared, "window", packet, told)
            self._count(event, body, action, packet, told)
        return told

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

    def _remember_user(self, flow_id: int, user: str) -> None:
        if len(self._users) >= self._limits.flow_users:
            self._users.popitem(last=False)
            self._forgotten_users += 1
        self._users[flow_id] = user

    def _count(self, event: Event, body: Message, action: str, packet: int, told: list[Told]) -> None:
        """Counts one command for its client and, where somebody stored something before, for its mailbox."""
        flow = event.flow
        assert flow is not None
        key = flow.client, flow.server, flow.server_port
        client = self._clients.get(key)
        if client is None:
            client = ClientUse(event, self._values)
            oldest = self._clients.add(key, client)
            if oldest is not None:
                self._close(oldest, "window", packet, told)
        if client.did(event, body, action):
            told.append((packet, self._event(client, "step")))
        if action == "search" or body.result not in ("ok", ""):
            return
        place = flow.server, self._users.get(flow.flow_id, ""), body.mailbox
        shared = self._mailboxes.get(place)
        if shared is None:
            if action != "append":
                return
            shared = MailboxUse(event, body.mailbox, self._values)
            oldest_shared = self._mailboxes.add(place, shared)
            if oldest_shared is not None:
                self._close(oldest_shared, "window", packet, told)
        if shared.did(event, body, action, flow.client):
            told.append((packet, self._event(shared, "step")))

    def _close(self, use: _Use, reason: str, packet: int, told: list[Told]) -> None:
        self._values.give_back(use.remembered)
        if use.has_news():
            told.append((packet, self._event(use, reason)))

    def _event(self, use: _Use, reason: str) -> Event:
        last = use.last
        assert last.flow is not None
        body = use.body(reason, self._limits.hour_ns, self._users.get(last.flow.flow_id, ""))
        return Event("mailbox", last.time_ns, body, last.flow, last.packet, last.time_ns)
