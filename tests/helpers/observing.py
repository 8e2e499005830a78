"""Events for observers, with few words, and what an observer tells of them however they are cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from helpers.rules import event, flow

from imapids.config import ObserveLimits
from imapids.observe.observer import Observer
from imapids.records.events import MINUTE as MINUTE_KIND
from imapids.records.events import TURNS, Body, Event, Minute, Turns

MINUTE, HOUR = 60.0, 3_600.0


def login(seconds: float, outcome: str = "failure", user: str = "maria", secret: str = "", client: str = "198.51.100.9",
          server: str = "10.0.0.25", **more: Any) -> Event:
    """One attempt to sign in; the secret is its hash."""
    return event("login", seconds, on=flow(client=client, server=server, direction="inbound"), outcome=outcome,
                 user=user, secret_hash=secret, **{"direction": "inbound", **more})


def session(seconds: float, verdict: str = "not-imap", client: str = "10.0.0.5", server: str = "198.51.100.7",
            number: int = 1, **more: Any) -> Event:
    """One connection that is over; `number` tells flows apart."""
    on = flow(client=client, server=server, flow_id=number, client_port=30_000 + number % 30_000)
    return event("session", seconds, on=on, verdict=verdict, **{"protocol": "http", "direction": "outbound", **more})


def turns(times: Sequence[float], sizes: Sequence[int], sides: Sequence[int], number: int = 1) -> Event:
    """The turns of the flow of that number: it stands before its session."""
    start = event("session", 0).time_ns
    body = Turns(times=[start + round(each * 1e9) for each in times], sizes=list(sizes), sides=bytes(sides),
                 count=len(times))
    return Event(TURNS, start, body, flow(flow_id=number), 1, start)


def minute(seconds: float) -> Event:
    """A minute of packet time that has begun."""
    start = event("session", seconds).time_ns
    return Event(MINUTE_KIND, start, Minute(), None, 1, start)


def message(seconds: float, action: str, mailbox: str = "Drafts", client: str = "10.0.0.5", number: int = 1,
            server: str = "198.51.100.7", **more: Any) -> Event:
    """One thing done to a mailbox."""
    on = flow(client=client, server=server, flow_id=number)
    return event("message", seconds, on=on, action=action, mailbox=mailbox,
                 **{"result": "ok", "direction": "outbound", **more})


def small(**limits: int) -> ObserveLimits:
    """Limits of observation, some of them other than the default."""
    return msgspec.structs.replace(ObserveLimits(), **limits)


def told(observer: Observer, events: Sequence[Event], size: int = 0) -> list[tuple[int, Event]]:
    """All that an observer tells, with the packet that it names; events come in batches of `size` (0: at once)."""
    found: list[tuple[int, Event]] = []
    mine = [(each, packet) for packet, each in enumerate(events, 1) if each.kind in observer.kinds]
    for start in range(0, len(mine), size or max(1, len(mine))):
        batch = mine[start:start + (size or len(mine))]
        found += observer.see([each for each, _ in batch], [packet for _, packet in batch])
    last = max((each.time_ns for each in events), default=0)
    return found + observer.finish(last, len(events))


def bodies(observer: Observer, events: Sequence[Event]) -> list[Body]:
    """The bodies of all that an observer tells."""
    return [each.body for _, each in told(observer, events)]
