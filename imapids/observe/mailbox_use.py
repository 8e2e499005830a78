"""The counts behind `mailbox` events: one client at one server, or one mailbox with all its clients."""

from __future__ import annotations

import msgspec

from imapids.observe.groups import Values, passed_step
from imapids.protocols.late_patterns import late_pattern
from imapids.records.events import Event, Mailbox, Message

_TEXT_SEARCH = late_pattern(r"(?i)\b(?:subject|from|to|cc|bcc|body|text|header|keyword|x-gm-raw)\b")
"""Search keys that look for a text (RFC 9051 section 6.4.4); mail programs that poll look for what is new."""
_DRAFTS = late_pattern(r"(?i)draft|entw|brouillon|borrador|bozz|concept|rascunho")
"""Names of mailboxes for drafts in some languages; the special use of RFC 6154 is on no command."""
_FETCHED, _REMOVED, _STORED = 1, 2, 4
_ROUND = _FETCHED | _REMOVED | _STORED


class _Use:
    """What both kinds of group count."""

    __slots__ = ("appends", "bodies", "bytes_fetched", "bytes_stored", "deleted", "drafts", "expunged", "flow",
                 "last_ns", "mailbox", "news", "opaque_appends", "opaque_bodies", "packet", "remembered", "start_ns",
                 "time_ns", "user", "values")
    by = ""

    def __init__(self, event: Event, values: Values) -> None:
        self.values = values
        self.remembered = 0
        """Values that were taken from the budget."""
        self.start_ns = self.last_ns = event.time_ns
        self.flow, self.packet, self.time_ns = event.flow, event.packet, event.time_ns
        self.mailbox = self.user = ""
        self.news = False
        self.appends = self.drafts = self.opaque_appends = self.bytes_stored = 0
        self.bodies = self.bytes_fetched = self.opaque_bodies = self.deleted = self.expunged = 0

    def has_news(self) -> bool:
        """Whether anything was counted since the last event."""
        return self.news

    def _remember(self, known: set[str], value: str) -> None:
        if value not in known and self._room():
            known.add(value)

    def _room(self) -> bool:
        if self.values.room(self.remembered):
            self.remembered += 1
            return True
        return False

    def _count(self, event: Event, body: Message, action: str) -> bool:
        """Counts a command; whether a count passed a step."""
        self.flow, self.packet, self.time_ns = event.flow, event.packet, event.time_ns
        self.last_ns = max(self.last_ns, event.time_ns)
        self.news = True
        if action == "fetch":
            before = self.bodies
            self.bodies += body.bodies
            self.bytes_fetched += body.bytes
            self.opaque_bodies += body.opaque_body
            return passed_step(max(before, 10), self.bodies)  # ten messages are no news: people read mail
        if action == "append" and body.result in ("ok", ""):
            self.mailbox = body.mailbox
            self.appends += 1
            self.bytes_stored += body.bytes
            self.opaque_appends += body.opaque_body
            self.drafts += "\\Draft" in body.flags or bool(_DRAFTS.search(body.mailbox))
            return passed_step(self.appends - 1, self.appends)
        if action == "expunge" and body.count:
            self.mailbox = body.mailbox
            before = self.expunged
            self.expunged += body.count
            return passed_step(before, self.expunged)
        if removes(body, action):
            self.mailbox = body.mailbox
            before = self.deleted
            self.deleted += max(body.count, 1)
            return passed_step(before, self.deleted)
        return False

    def body(self, told: str, window_ns: int) -> Mailbox:
        """The event of what is counted now."""
        self.news = False
        assert self.flow is not None
        return Mailbox(
            by=self.by, told=told, window_s=window_ns // 10**9, span_s=round((self.last_ns - self.start_ns) / 1e9, 3),
            user=self.user, mailbox=self.mailbox, appends=self.appends, drafts=self.drafts,
            opaque_appends=self.opaque_appends, bytes_stored=self.bytes_stored, bodies=self.bodies,
            bytes_fetched=self.bytes_fetched, opaque_bodies=self.opaque_bodies, deleted=self.deleted,
            expunged=self.expunged, direction=self.flow.direction)


def removes(body: Message, action: str) -> bool:
    r"""Whether a command takes messages out of a mailbox: EXPUNGE that removed some, STORE of \Deleted."""
    return (action == "expunge" and body.count > 0) or (action == "store" and "\\Deleted" in body.flags)


class Reading(msgspec.Struct, gc=False):
    """A client that only reads: most are followed no further than this."""

    start_ns: int
    bodies: int = 0
    size: int = 0
    opaque: int = 0
    mailbox: str = ""
    """Of the last message that was fetched whole."""


class ClientUse(_Use):
    """What one client does to the mailboxes of one server."""

    __slots__ = ("_done", "created", "criteria", "cycles", "dropped", "names", "repeated_criteria", "repeated_search",
                 "searches")
    by = "client"

    def __init__(self, event: Event, values: Values) -> None:
        super().__init__(event, values)
        self._done: tuple[str, int] = ("", 0)
        """The mailbox of the round under way, and which parts of it were done."""
        self.cycles = self.searches = self.repeated_search = self.created = self.dropped = 0
        self.criteria: dict[str, int] = {}
        """How often each search came."""
        self.repeated_criteria = ""
        self.names: set[str] = set()

    def has_read(self, reading: Reading) -> None:
        """What the client read before it was followed."""
        self.start_ns = min(self.start_ns, reading.start_ns)
        self.bodies, self.bytes_fetched, self.opaque_bodies = reading.bodies, reading.size, reading.opaque
        self._done = reading.mailbox, _FETCHED

    def did(self, event: Event, body: Message, action: str) -> bool:
        """Counts a command; whether a count passed a step."""
        self._remember(self.names, body.mailbox)
        if action == "search":
            return self._searched(event, body)
        passed = self._count(event, body, action)
        if action == "create":
            self.created += body.result == "ok"
        elif action == "delete":
            self.dropped += body.result == "ok"
        return self._went_on(body, action) or passed

    def _searched(self, event: Event, body: Message) -> bool:
        if not _TEXT_SEARCH.search(body.criteria):
            return False
        self._count(event, body, "search")
        self.searches += 1
        if body.criteria not in self.criteria and not self._room():
            return False
        count = self.criteria[body.criteria] = self.criteria.get(body.criteria, 0) + 1
        if count <= self.repeated_search:
            return False
        self.repeated_search, self.repeated_criteria = count, body.criteria
        return passed_step(count - 1, count)

    def _went_on(self, body: Message, action: str) -> bool:
        """Follows the rounds: fetched, removed and stored in one mailbox, in whatever order after the fetch."""
        mailbox, done = self._done
        if action == "fetch":
            part = _FETCHED
            if mailbox != body.mailbox:
                done = 0
        elif mailbox != body.mailbox or not done:
            return False
        elif action == "append" and body.result == "ok":
            part = _STORED
        elif removes(body, action):
            part = _REMOVED
        else:
            return False
        done |= part
        if done != _ROUND:
            self._done = body.mailbox, done
            return False
        self._done = "", 0
        self.cycles += 1
        return passed_step(self.cycles - 1, self.cycles)

    def body(self, told: str, window_ns: int) -> Mailbox:
        """The event of what is counted now."""
        body = super().body(told, window_ns)
        body.mailboxes, body.searches, body.cycles = len(self.names), self.searches, self.cycles
        body.repeated_search, body.repeated_criteria = self.repeated_search, self.repeated_criteria
        body.created, body.dropped = self.created, self.dropped
        return body


class MailboxUse(_Use):
    """What all clients do to one mailbox of one user, since something was stored in it."""

    __slots__ = ("_giver", "_name", "_taker", "handovers", "peers")
    by = "mailbox"

    def __init__(self, event: Event, name: str, values: Values) -> None:
        super().__init__(event, values)
        self._name = name
        self._giver = self._taker = ""
        self.handovers = 0
        self.peers: set[str] = set()

    def did(self, event: Event, body: Message, action: str, client: str) -> bool:
        """Counts a command of a client; whether a count passed a step."""
        passed = self._count(event, body, action)
        if action == "append":
            self._remember(self.peers, client)
            self._giver, self._taker = client, ""
        elif action == "fetch":
            self._remember(self.peers, client)
            if self._giver not in ("", client):
                self._taker = client
        elif removes(body, action) and self._taker == client:
            self._giver = self._taker = ""
            self.handovers += 1
            return passed_step(self.handovers - 1, self.handovers)
        return passed

    def has_news(self) -> bool:
        """Whether several clients used the mailbox, and anything was counted since the last event."""
        return self.news and len(self.peers) > 1

    def body(self, told: str, window_ns: int) -> Mailbox:
        """The event of what is counted now."""
        body = super().body(told, window_ns)
        body.mailbox, body.mailboxes, body.peers, body.handovers = self._name, 1, len(self.peers), self.handovers
        return body
