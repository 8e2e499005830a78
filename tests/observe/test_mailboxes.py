"""What is done to mailboxes over time: dead drops, theft, wiping; and what mail programs do all day."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.observing import HOUR, bodies, login, message, session, small, told

from imapids.observe.mailboxes import Mailboxes
from imapids.records.events import Event, Mailbox

OPERATOR, IMPLANT = "203.0.113.9", "10.0.0.5"


def mailboxes(events: list[Event], by: str = "", **limits: int) -> list[Mailbox]:
    found = [body for body in bodies(Mailboxes(small(**limits)), events) if isinstance(body, Mailbox)]
    return [body for body in found if by in ("", body.by)]


def rounds(count: int, client: str = IMPLANT, into: str = "Drafts", seconds: float = 10.0, start: float = 0.0,
           **more: Any) -> list[Event]:
    """Search, fetch, remove, store: again and again."""
    events = []
    for place in range(count):
        at = start + place * seconds
        events += [
            message(at, "search", client=client, criteria="SUBJECT rpt", count=1, **more),
            message(at + 1, "fetch", client=client, bodies=1, count=1, bytes=200, **more),
            message(at + 2, "store", client=client, count=1, flags=["\\Deleted"], **more),
            message(at + 3, "expunge", client=client, count=1, **more),
            message(at + 4, "append", into, client=client, bytes=300, flags=["\\Draft"], **more),
        ]
    return events


def test_rounds_in_one_mailbox_are_counted() -> None:
    body = mailboxes(rounds(6), "client")[-1]
    assert (body.cycles, body.repeated_search, body.repeated_criteria) == (6, 6, "SUBJECT rpt")
    assert (body.appends, body.drafts, body.bodies, body.deleted, body.expunged) == (6, 6, 6, 6, 6)
    assert (body.bytes_stored, body.bytes_fetched, body.mailbox, body.mailboxes) == (1800, 1200, "Drafts", 1)


@pytest.mark.parametrize("events", [
    pytest.param(rounds(6, into="Archive"), id="a program that files messages elsewhere"),
    pytest.param([each for each in rounds(6) if each.body.action != "append"], id="one that only tidies up"),  # type: ignore[attr-defined]
    pytest.param([each for each in rounds(6) if each.body.action not in ("store", "expunge")],  # type: ignore[attr-defined]
                 id="one that removes nothing"),
    pytest.param([each for each in rounds(6) if each.body.action != "fetch"], id="one that reads nothing"),  # type: ignore[attr-defined]
])
def test_other_use_makes_no_rounds(events: list[Event]) -> None:
    assert all(body.cycles == 0 for body in mailboxes(events, "client"))


def test_messages_that_pass_from_one_client_to_another_are_handovers() -> None:
    events = [login(0, "success", "drop", client=client, server="198.51.100.7") for client in (OPERATOR, IMPLANT)]
    for place in range(5):
        giver, taker = (OPERATOR, IMPLANT) if place % 2 else (IMPLANT, OPERATOR)
        at = 20.0 * place
        events += [message(at, "append", client=giver, bytes=90), message(at + 5, "fetch", client=taker, bodies=1),
                   message(at + 6, "store", client=taker, flags=["\\Deleted"], count=1)]
    body = mailboxes(events, "mailbox")[-1]
    assert (body.handovers, body.peers, body.mailbox, body.user) == (5, 2, "Drafts", "drop")


@pytest.mark.parametrize("events", [
    pytest.param(rounds(6), id="one client alone"),
    pytest.param([each for place in range(6) for each in (
        message(place, "append", client=OPERATOR), message(place + 0.5, "fetch", client=IMPLANT, bodies=1))],
                 id="a phone that reads the drafts of the desk"),
    pytest.param([each for place in range(6) for each in (
        message(place, "append", client=OPERATOR),
        message(place + 0.5, "store", client=IMPLANT, flags=["\\Deleted"]))], id="who removes without reading"),
])
def test_what_is_no_handover(events: list[Event]) -> None:
    assert all(body.handovers == 0 for body in mailboxes(events, "mailbox"))


def test_mailboxes_of_different_users_are_different() -> None:
    def flow_of(user: str, number: int) -> list[Event]:
        event = login(0, "success", user, server="198.51.100.7")
        assert event.flow is not None
        event.flow.flow_id = number
        return [event]

    events = [*flow_of("anna", 1), *flow_of("ben", 2)]
    for place in range(4):
        events += [message(place, "append", number=1, client=OPERATOR),
                   message(place + 0.2, "fetch", number=2, client=IMPLANT, bodies=1),
                   message(place + 0.4, "expunge", number=2, client=IMPLANT, count=1)]
    assert mailboxes(events, "mailbox") == []


def test_reading_is_told_of_when_it_is_much() -> None:
    few = [message(60 * n, "fetch", bodies=3, number=n) for n in range(16)]
    assert mailboxes(few) == []
    many = [message(n, "fetch", bodies=3, bytes=9_000) for n in range(40)]
    found = mailboxes(many)
    assert [(body.told, body.bodies) for body in found] == [("step", 102), ("end", 120)]
    assert found[-1].bytes_fetched == 360_000


def test_reading_that_spreads_over_hours_is_not_added_up() -> None:
    assert mailboxes([message(HOUR * n, "fetch", bodies=30) for n in range(9)]) == []


def test_expunged_messages_are_told_of_as_they_pass_a_step() -> None:
    found = mailboxes([message(0, "store", flags=["\\Deleted"], count=60), message(1, "expunge", count=60)])
    assert [(body.told, body.deleted, body.expunged) for body in found] == [
        ("step", 60, 0), ("step", 60, 60), ]


def test_what_mail_programs_do_makes_no_event() -> None:
    day = []
    for place in range(50):
        at = place * 60.0
        day += [message(at, "select", "INBOX"), message(at + 1, "search", "INBOX", criteria="UNSEEN SINCE 1-Jan-2026"),
                message(at + 2, "fetch", "INBOX", count=40), message(at + 3, "store", "INBOX", flags=["\\Seen"])]
    assert [body for body in mailboxes(day) if body.searches or body.deleted or body.cycles] == []


def test_limits_hold_and_are_counted() -> None:
    events = [message(n, "append", f"box{n}", client=f"10.0.{n % 200}.1", number=n) for n in range(400)]
    events += [message(500 + n, "search", criteria=f"SUBJECT {n}") for n in range(200)]
    observer = Mailboxes(small(groups=16, mailbox_values=64, mailbox_group_values=8, pairs=8, flow_users=16))
    told(observer, events + [message(800, "fetch", client=f"10.1.{n}.1", bodies=1) for n in range(20)])
    assert observer.limits_hit["observe-mailbox-groups"] > 0
    assert observer.limits_hit["observe-mailbox-values"] > 0
    assert observer.limits_hit["observe-mailbox-readers"] == 12
    assert observer._values.left == 64, "closed groups give their values back"
    assert len(observer._users) < 16


def _signed_in(seconds: float, number: int) -> Event:
    event = login(seconds, "success", "drop")
    assert event.flow is not None
    event.flow.flow_id = number
    return event


def test_users_are_forgotten_when_their_session_ends() -> None:
    observer = Mailboxes(small())
    for number in range(1, 4):
        told(observer, [_signed_in(number, number), message(number + 1, "append", number=number)])
    assert len(observer._users) == 3
    told(observer, [session(9, "genuine", number=number) for number in (1, 2)])
    assert len(observer._users) == 1


def test_the_user_is_told_of_though_the_session_is_over() -> None:
    events = [_signed_in(0, 1), message(1, "append"), session(2, "genuine")]
    again = [_signed_in(9, 2), message(10, "append", number=2), session(11, "genuine", number=2)]
    assert {body.user for body in mailboxes(events + again)} == {"drop"}
