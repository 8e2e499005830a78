"""What mail ports of which servers are open, to whom, with what behind them: the lines of the exposure sheet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from imapids import kernels
from imapids.config import ObserveLimits
from imapids.observe.askers import (
    CLIENT,
    ENDPOINT,
    NETWORK,
    NEW_ASKING,
    NEW_NETWORK,
    NEW_STRANGER,
    Askers,
    askers,
    endpoint_key,
    service_key,
)
from imapids.observe.counting import EVERY, Marks, Offer, Snapshot, decision, mixed, parts_of
from imapids.observe.fields import seen_fields
from imapids.observe.inventory import Expected, Inventory
from imapids.observe.observer import Told
from imapids.observe.relays import RelayFinder
from imapids.observe.sheet import (
    ANSWERED,
    ANSWERED_LAN,
    ANSWERED_WAN,
    CLIENTS_LAN,
    CLIENTS_WAN,
    CONNECTIONS,
    FIELDS,
    NEWS,
    Line,
    Said,
    said_of_service,
    said_of_session,
)
from imapids.observe.tables import group_counts, seen_before
from imapids.protocols.addresses import Networks, address_text, parse_address
from imapids.protocols.mail_services import is_relayed_user
from imapids.records.events import Event, Login, Service, Session
from imapids.records.flows import EndedFlows
from imapids.records.packets import I64, U64, Bool
from imapids.records.streams import Flow

if TYPE_CHECKING:
    from imapids.kernels._events import Speeches

_ROWS = 16_384
"""Rows that are counted at once."""
_RELAYED_FLOWS = 4_096
"""Conversations that are not over and whose user names a server to go on to."""
_SAYINGS = 16
"""Different things said by one endpoint that are looked at."""
_COUNTED = np.uint64((1 << FIELDS) - 1)
"""The fields that endpoints are counted by, as bits."""
_ANSWERED, _NEWS = np.uint64(1 << ANSWERED), np.uint64(1 << NEWS)


_row_of = itemgetter(0)
"""The row of a note."""
_OFFERS = ((CLIENT, (CLIENTS_LAN, CLIENTS_WAN)), (NETWORK, (NEW_NETWORK,)), (NETWORK, (NEW_ASKING,)))
"""Of which columns each endpoint has different values noted, and the fields that new ones add to."""


class _Note(NamedTuple):
    """Something learned of an endpoint besides the counts: from the row on, its line knows it."""

    row: int
    group: int
    write: Callable[[Line], None]
    worth_telling: bool


_Word = tuple[int, int, Callable[[Line], None]]
"""Of a note that is worth telling: its row, the hash of the endpoint, and what it writes."""
_Saying = tuple[Any, ...]
"""Who says what: the parts of a session or service event that a line may learn from."""
_Speech = tuple[int, int, int, _Saying, Flow, Session | Service, bool]
"""What the server of a conversation said, until the row of its flow comes: the packet that made it known, the
conversation's first one, the endpoint, what matters of it, and whether its user named a server to go on to."""


class ExposureObserver:
    """Counts who asks which server; see records/events.Exposure for what is told and when."""

    kinds = frozenset({"session", "service", "login"})
    makes = frozenset({"exposure"})
    wants_flows = True

    def __init__(self, limits: ObserveLimits, home: Networks, inventory: Inventory | None = None) -> None:
        """`home`: what is LAN; everything else is WAN."""
        self._limits = limits
        self._home = home
        self._unread: I64 = np.zeros(0, np.int64)
        """Endpoints that an inventory which was read again has not been held against."""
        self._groups = group_counts(FIELDS, limits.endpoints)
        self._lines: dict[int, Line] = {}
        self._closed = 0
        """Lines that were opened for endpoints that had not answered."""
        self._offers = tuple(Offer(seen_before(limits.values), column, sum(1 << field for field in fields))
                             for column, fields in _OFFERS)
        self._expect(inventory)
        self._relays = RelayFinder(limits)
        self._waiting: list[_Speech] = []
        """Of events whose flows were not seen yet."""
        self._sayings: set[_Saying] = set()
        self._said: dict[int, int] = {}
        """How many different sayings of each endpoint were looked at."""
        self._relayed_flows: set[int] = set()
        self._dropped = 0
        self._untold = 0
        self._compiled: Speeches | None = None

    @property
    def limits_hit(self) -> dict[str, int]:
        """Endpoints that were dropped for others, that never answered and are left out, and values forgotten."""
        hit = {"exposure-endpoints": self._dropped, "exposure-closed-endpoints": self._untold,
               "exposure-values": sum(
                   offer.seen.forgotten for offer in self._offers[: len(_OFFERS)])}
        return {name: count for name, count in hit.items() if count}

    def expect(self, inventory: Inventory | None) -> None:
        """Another inventory from now on. What differs now of an endpoint is told when it is next asked."""
        self._expect(inventory)
        for line in self._lines.values():
            line.expecting, line.expected = self._expected_of(line.flow, home=line.home)
            line.foreign_client = False
        self._unread = np.fromiter(self._lines, np.int64, len(self._lines))

    def _expect(self, inventory: Inventory | None) -> None:
        """Takes an inventory: clients of endpoints that were compared with another one are compared anew."""
        self._inventory = inventory
        offers = self._offers[: len(_OFFERS)]
        self._offers = offers if inventory is None else (
            *offers, Offer(seen_before(self._limits.values), CLIENT, 1 << NEW_STRANGER))

    # ---- what conversations say ---------------------------------------------------------------------------------

    def see(self, events: Sequence[Event], known: Sequence[int]) -> list[Told]:
        """Keeps what sessions and services say until the flows that they are about come."""
        wait = self._waiting.append
        for place in self._places(events, known):
            event, number = events[place], known[place]
            body, flow = event.body, event.flow
            if flow is None:
                continue
            if type(body) is Session:
                relayed = flow.flow_id in self._relayed_flows
                if relayed:
                    self._relayed_flows.discard(flow.flow_id)
                if flow.bytes_server:
                    wait((number, flow.first_packet, endpoint_key(flow), (
                        flow.server, flow.server_port, flow.direction, body.verdict, body.protocol, body.software,
                        body.starttls, body.logins > 0, relayed, *body.capabilities), flow, body, relayed))
            elif type(body) is Service:
                wait((number, flow.first_packet, endpoint_key(flow), (
                    flow.server, flow.server_port, flow.direction, body.protocol, body.software, body.tls,
                    body.starttls_offered, body.starttls_used, body.sign_in_in_clear, body.signed_in_in_clear,
                    *body.proxy), flow, body, False))
            elif type(body) is Login and is_relayed_user(body.user) and len(self._relayed_flows) < _RELAYED_FLOWS:
                self._relayed_flows.add(flow.flow_id)
        return []

    def _places(self, events: Sequence[Event], known: Sequence[int]) -> Iterable[int]:
        """The places of the events to look at: all, or those that a compiled loop leaves."""
        return self._odd_places(list(events), list(known)) if kernels.COMPILED else range(len(events))

    def _odd_places(self, events: list[Event], known: list[int]) -> Iterator[int]:
        if self._compiled is None:
            self._compiled = kernels.events.Speeches(seen_fields(), service=Service, endpoint=service_key,
                                                     is_relayed=is_relayed_user)
        place = -1
        while (place := self._compiled.pass_over(events, known, place + 1, self._relayed_flows, self._waiting)) < len(
                events):
            yield place

    def _is_new(self, endpoint: int, saying: _Saying) -> bool:
        """Whether the server of a conversation says this, which is not among what was said, for the first time."""
        if len(self._sayings) >= self._limits.values // 8:
            self._sayings.clear()
            self._said.clear()
        self._sayings.add(saying)
        said = self._said[endpoint] = self._said.get(endpoint, 0) + 1
        return said <= _SAYINGS

    def _heard(self, asked: Askers) -> tuple[I64, list[_Speech]]:
        """What was said, by the rows of the conversations, ascending: both became known by the same packet.

        Conversations of several captures may begin in packets of the same number: the server tells them apart.
        """
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return np.zeros(0, np.int64), []
        known = asked.known
        seen, first, endpoints = _columns_of(waiting)
        start, stop = np.searchsorted(known, seen), np.searchsorted(known, seen, side="right")
        place = np.maximum(stop - 1, 0)
        several = stop - start > 1
        if several.any():
            of_rows = mixed(known.view(np.uint64), asked.ended.first_number[asked.at].view(np.uint64),
                            asked.columns[ENDPOINT])
            wanted = mixed(seen.view(np.uint64), first, endpoints)
            order = np.argsort(of_rows, kind="stable")  # of rows that are alike, the first is meant
            found = order.take(np.searchsorted(of_rows, wanted, sorter=order), mode="clip")
            place = np.where(several & (of_rows[found] == wanted), found, place)
        order = np.argsort(place, kind="stable")
        return place[order], kernels.events.rearranged(waiting, order) if kernels.COMPILED else [
            waiting[at] for at in order.tolist()]

    def _words_of(self, heard: list[_Speech], places: I64) -> list[_Word]:
        """What the lines did not know yet of what was said. `places`: of the rows of the conversations."""
        words = []
        for at in self._unsaid(heard):
            *_, endpoint, saying, flow, body, relayed = heard[at]
            if self._is_new(endpoint, saying):
                said = said_of_session(body, relayed=relayed) if isinstance(body, Session) else said_of_service(body)
                from_wan = not self._home.contains(*parse_address(flow.client))
                words.append((int(places[at]), endpoint, _learning(said, from_wan)))
        return words

    def _unsaid(self, heard: list[_Speech]) -> Iterator[int]:
        """The places of what was not said before: of few, and those who ask add it to what was."""
        sayings = self._sayings
        if not kernels.COMPILED:
            for at, speech in enumerate(heard):
                if speech[3] not in sayings:
                    yield at
            return
        at = -1
        while (at := kernels.events.unsaid(heard, at + 1, sayings)) < len(heard):
            yield at

    # ---- flows --------------------------------------------------------------------------------------------------

    def see_flows(self, ended: EndedFlows) -> list[Told]:
        """Counts the conversations with mail ports that are over."""
        asked = askers(ended, self._home)
        if asked is None:
            self._waiting.clear()
            return []
        places, heard = self._heard(asked)
        noted = 0
        told: list[Told] = []
        for part in parts_of(len(asked), _ROWS):
            start = part.start
            while start < part.stop:
                at = np.arange(start, part.stop)
                of, new, bits = self._groups.place(asked, ENDPOINT, at, self._offers)
                stop = start + len(of)
                if stop > start:
                    upto = int(np.searchsorted(places, stop))
                    told += self._count(asked, at[: len(of)], of, at[new], bits,
                                        self._words_of(heard[noted:upto], places[noted:upto]))
                    noted = upto
                if stop < part.stop:
                    quiet = self._groups.quietest(self._groups.limit // 4)
                    self._dropped += len(quiet)
                    self._sayings.clear()  # who comes back begins with an empty line
                    told += self._drop(quiet, int(asked.over_ns[stop]), int(asked.known[stop]))
                start = stop
        return told

    def finish(self, now_ns: int, known: int) -> list[Told]:
        """The last word on every endpoint, in the order in which they were first seen."""
        return self._drop(self._groups.every(), now_ns, known)

    def _count(self, asked: Askers, at: I64, of: I64, new: I64, bits: U64, words: list[_Word]) -> list[Told]:
        """Counts some rows, and tells of endpoints whose line has new words.

        Args:
            at, of: positions of the rows, which follow each other, and their groups; shape (n,).
            new: positions of rows with which endpoints began to be counted.
            bits: the fields that the rows add to, shape (n,).
        """
        answered = (bits & _ANSWERED) != 0
        self._open_lines(asked, at, of, new, answered)
        said = self._notes_of([*words, *self._relayed(asked, at[answered], new)])
        notes = [*said[: len(words)], *self._networks(asked, at, of, bits), *self._read_again(at, of),
                 *self._strangers(asked, at, of, bits), *said[len(words) :]]
        notes.sort(key=_row_of)
        return self._add(asked, at, of, bits & _COUNTED, notes)

    def _notes_of(self, words: list[_Word]) -> list[_Note]:
        """Notes of endpoints that are known by their hashes only."""
        if not words:
            return []
        groups, _ = self._groups.groups_of(np.array([endpoint for _, endpoint, _ in words], np.uint64))
        return [_Note(row, group, write, True) for (row, _, write), group in zip(words, groups.tolist(), strict=True)]

    def _open_lines(self, asked: Askers, at: I64, of: I64, new: I64, answered: Bool) -> None:
        """Gives endpoints a line: those that answer, and as many of the others as there is room for."""
        first = int(at[0])
        silent = new[~answered[new - first]].tolist()
        room = max(self._limits.closed_endpoints - self._closed, 0)
        self._untold += max(len(silent) - room, 0)
        self._closed += min(len(silent), room)
        opening = np.flatnonzero(answered & (self._groups.counts[of, ANSWERED] == 0))  # who answered before has one
        _, begun = np.unique(of[opening], return_index=True)
        openers = [first + place for place in opening[begun].tolist() if int(of[place]) not in self._lines]
        chosen = [*silent[:room], *openers]
        if not chosen:
            return
        for row, flow in zip(chosen, asked.ended.describe(asked.at[chosen].tolist()), strict=True):
            group = int(of[row - first])
            if group in self._lines:
                continue  # somebody asked in vain first, and was answered later
            home = self._home.contains(*asked.server(row))
            expecting, expected = self._expected_of(flow, home=home)
            self._lines[group] = Line(
                self._limits, flow, home=home, closed=not answered[row - first], expecting=expecting, expected=expected)

    def _expected_of(self, flow: Flow, *, home: bool) -> tuple[bool, Expected | None]:
        """Whether the inventory is about the server of a conversation, and what it allows there."""
        if self._inventory is None or not home:
            return False, None
        return True, self._inventory.of(flow.server, flow.server_port, flow.protocol.lower())

    def _networks(self, asked: Askers, at: I64, of: I64, bits: U64) -> Iterator[_Note]:
        """Networks of clients that an endpoint had not answered, or had not been asked by, before."""
        most = self._limits.endpoint_networks
        for answered, field in ((True, NEW_NETWORK), (False, NEW_ASKING)):
            left: dict[int, int] = {}
            """Networks that a line has room for, by group."""
            new = np.flatnonzero(bits & np.uint64(1 << field))
            for row, group in zip(at[new].tolist(), of[new].tolist(), strict=True):
                room = left.get(group)
                if room is None:
                    line = self._lines.get(group)
                    room = most if line is not None and line.has_room(answered=answered) else 0
                left[group] = room - 1
                if room > 0:
                    yield _Note(row, group, _network(asked.network_text(row), answered=answered), False)

    def _read_again(self, at: I64, of: I64) -> Iterator[_Note]:
        """Endpoints whose line may have new words because the inventory was read again."""
        if not self._unread.size:
            return
        unread = np.isin(of, self._unread)
        for row, group in zip(at[unread].tolist(), of[unread].tolist(), strict=True):
            yield _Note(row, group, _nothing_new, True)
        self._unread = self._unread[~np.isin(self._unread, of)]

    def _strangers(self, asked: Askers, at: I64, of: I64, bits: U64) -> Iterator[_Note]:
        """Clients that were answered and that the inventory does not name."""
        new = np.flatnonzero(bits & np.uint64(1 << NEW_STRANGER))
        for row, group in zip(at[new].tolist(), of[new].tolist(), strict=True):
            line = self._lines.get(group)
            if line is not None and line.expected is not None and not line.foreign_client and (
                    not line.expected.client(asked.client_text(row))):
                yield _Note(row, group, _foreign_client, True)

    def _relayed(self, asked: Askers, at: I64, new: I64) -> Iterator[_Word]:
        """Hosts that connected upstream for their clients, where their endpoint was not dropped in between.

        Args:
            at: positions of rows that were answered.
            new: positions of rows with which endpoints began to be counted.
        """
        found = self._relays.feed(asked, at)
        if not found:
            return
        held = self._groups.holds(np.array([relay.endpoint for relay in found], np.uint64)).tolist()
        began = dict(zip(asked.columns[ENDPOINT, new].tolist(), new.tolist(), strict=True))
        for relay, is_held in zip(found, held, strict=True):
            if is_held and began.get(relay.endpoint, -1) <= relay.row:
                yield relay.row, relay.endpoint, _relay(address_text(*relay.upstream))

    def _add(self, asked: Askers, at: I64, of: I64, bits: U64, notes: list[_Note]) -> list[Told]:
        """Adds the rows; what was learned besides counts as a row of its own behind the one that showed it."""
        worth = [note for note in notes if note.worth_telling]
        if worth:
            at = np.concatenate((at, np.array([note.row for note in worth], np.int64)))
            order = np.argsort(at, kind="stable")
            at, of = at[order], np.concatenate((of, np.array([note.group for note in worth], np.int64)))[order]
            bits = np.concatenate((bits, np.full(len(worth), _NEWS)))[order]
        snapshots = self._groups.count(asked, at, of, bits, _DECISION)
        places = at[[snapshot.row for snapshot in snapshots]] if snapshots else at[:0]
        known, over_ns, rows = asked.known[places].tolist(), asked.over_ns[places].tolist(), places.tolist()
        written = 0
        told = []
        for number, (snapshot, row) in enumerate(zip(snapshots, rows, strict=True)):
            following = snapshots[number + 1 : number + 2]
            if following and following[0].group == snapshot.group and rows[number + 1] == row:
                continue  # the row itself, and what it showed, are told together
            while written < len(notes) and notes[written].row <= row:
                self._write(notes[written])
                written += 1
            event = self._event(snapshot, over_ns[number], final=False)
            if event is not None:
                told.append((known[number], event))
        for note in notes[written:]:
            self._write(note)
        return told

    def _write(self, note: _Note) -> None:
        line = self._lines.get(note.group)
        if line is not None:
            note.write(line)

    def _event(self, snapshot: Snapshot, known_ns: int, *, final: bool) -> Event | None:
        line = self._lines.get(snapshot.group)
        if line is None or not snapshot.counts[CONNECTIONS]:
            return None
        if not final and not snapshot.counts[ANSWERED]:
            return None
        body = line.body(snapshot.counts, snapshot.first_ns, snapshot.last_ns, final=final)
        if body is None:
            return None
        return Event("exposure", snapshot.last_ns, body, line.flow, line.flow.first_packet, known_ns)

    def _drop(self, groups: I64, now_ns: int, known: int) -> list[Told]:
        """Forgets endpoints; each that has a line is told of for the last time."""
        told = []
        for group in groups.tolist():
            event = self._event(self._groups.now(group), now_ns, final=True)
            line = self._lines.pop(group, None)
            if line is not None:
                self._closed -= line.closed_at_first
            if event is not None:
                told.append((known, event))
        self._groups.drop(groups)
        if self._unread.size:
            self._unread = self._unread[~np.isin(self._unread, groups)]
        return told


def _columns_of(waiting: list[_Speech]) -> tuple[I64, U64, U64]:
    """By which packet it was known what was said, the first packets of the conversations, and the endpoints."""
    if kernels.COMPILED:
        known, first, endpoints = (
            np.empty(len(waiting), np.int64), np.empty(len(waiting), np.uint64), np.empty(len(waiting), np.uint64))
        kernels.events.speeches_by(waiting, known, first, endpoints)
        return known, first, endpoints
    shown, begun, asked, *_ = zip(*waiting, strict=True)
    return np.array(shown, np.int64), np.array(begun, np.uint64), np.array(asked, np.uint64)


def _decide(rows: Marks, running: I64) -> Bool:
    first = (rows[:, :2] != 0) & (running[:, :2] == 1)
    hit: Bool = first.any(axis=1) | (rows[:, 2] != 0)
    return hit


_DECISION = decision(_decide, FIELDS, (ANSWERED_LAN, ANSWERED_WAN, NEWS),
                     {ANSWERED_LAN: [1], ANSWERED_WAN: [1], NEWS: [EVERY]}, timeless=1 << NEWS)


def _learning(said: Said, from_wan: bool) -> Callable[[Line], None]:
    return lambda line: line.learn(said, from_wan=from_wan)


def _network(network: str, *, answered: bool) -> Callable[[Line], None]:
    return lambda line: line.add_network(network, answered=answered)


def _relay(upstream: str) -> Callable[[Line], None]:
    return lambda line: line.relay(upstream)


def _nothing_new(_line: Line) -> None:
    """What is to be told follows from what the line holds."""


def _foreign_client(line: Line) -> None:
    line.foreign_client = True
