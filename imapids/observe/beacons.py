"""Who calls whom in a rhythm: connections of a client to a server, and the turns inside one connection.

The rhythm is a fact, and mail programs that poll keep it better than any implant. So the score is damped by the part of
the connections that were genuine IMAP, and `rhythm` holds what it was before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from imapids import kernels
from imapids.config import ObserveLimits
from imapids.observe.fields import seen_fields
from imapids.observe.groups import STEPS
from imapids.observe.histories import NONE, ROW, Histories, Unit
from imapids.observe.observer import Told
from imapids.observe.rhythm import LEAST_UNITS, measure, quantile
from imapids.records.events import TURNS, Beacon, Event, Session, Turns
from imapids.records.flows import EndedFlows
from imapids.records.streams import CLIENT, SERVER, SIDES, Flow
from imapids.records.verdicts import VERDICTS

if TYPE_CHECKING:
    from imapids.kernels._events import Connections

TOLD_UNITS = 3
"""Pairs with fewer connections, and connections with fewer turns, are not told of; pairs that spoke nothing but genuine
IMAP not below LEAST_UNITS."""
GENUINE_DAMPING = 0.6
"""What genuine IMAP takes off the score. A perfect beat of a mail program (score 1.0) ends below 0.5."""
_PLACES = {verdict: place for place, verdict in enumerate(VERDICTS)}
_GENUINE = _PLACES["genuine"]

_Key = tuple[str, str, int, str]
_Single = tuple[Unit, str, bool]
"""The only connection of a pair so far, its verdict, and whether it went into TLS."""
_Last = tuple[int, int, int, Flow, str, str, str]
"""Of the newest connection: time, packet, when it was known, and the session's protocol, shape and direction. The event
itself would hold all its evidence for as long as the pair is counted."""


class _Pair:
    """The connections of one client, server and port; the newest ones as units."""

    __slots__ = ("count", "encrypted", "held", "last", "newest", "told_ns", "told_units", "verdicts")

    def __init__(self, first_ns: int) -> None:
        self.newest = NONE
        """The row of the newest unit in the histories."""
        self.held = 0
        """Units that are there."""
        self.count = 0
        self.encrypted = 0
        """Connections that went into TLS."""
        self.verdicts = [0] * len(VERDICTS)
        """Connections by verdict."""
        self.last: _Last | None = None
        self.told_ns = first_ns
        self.told_units = 0

    def add(self, histories: Histories, unit: Unit, verdict: str, *, encrypted: bool) -> None:
        """One more connection."""
        self.newest = histories.add(unit, self.newest)
        self.held += 1
        self.count += 1
        self.verdicts[_PLACES[verdict]] += 1
        self.encrypted += encrypted

    def worth_telling(self) -> bool:
        """Whether there are enough connections, and new ones."""
        if self.count <= self.told_units or self.count < TOLD_UNITS:
            return False
        return self.count >= LEAST_UNITS or self.verdicts[_GENUINE] < self.count


class Beacons:
    """`session` events and turns in, `beacon` events out."""

    kinds = frozenset({"session", TURNS})
    makes = frozenset({"beacon"})
    wants_flows = False

    def __init__(self, limits: ObserveLimits) -> None:
        self._limits = limits
        self._pairs: OrderedDict[_Key, _Pair | _Single] = OrderedDict()  # the pair that began first comes first
        self._turns: tuple[Turns, Flow | None] | None = None
        """Turns whose session comes next."""
        self._held = 0
        """Units of all pairs."""
        self._histories = Histories(max(limits.connections, _most_held(limits)) + 2)  # one pair may begin with two
        self._dropped_pairs = self._dropped_turns = 0
        self._compiled: Connections | None = None

    @property
    def limits_hit(self) -> dict[str, int]:
        """Limits that were hit, and how often."""
        return {"observe-beacon-pairs": self._dropped_pairs, "observe-beacon-turns": self._dropped_turns}

    def see(self, events: Sequence[Event], known: Sequence[int]) -> list[Told]:
        """Counts connections; tells of a pair at 10, 100 ... of them, and hourly while they go on."""
        told: list[Told] = []
        pairs, limits = self._pairs, self._limits
        most_pairs, most, hour_ns = limits.pairs, _most_held(limits), limits.hour_ns
        for place in self._places(events):
            event = events[place]
            body, flow = event.body, event.flow
            if type(body) is not Session or flow is None:
                self._turns = (body, flow) if type(body) is Turns else None
                continue
            if self._turns is not None:
                turns, of = self._turns
                self._turns = None
                if of is not None and of.flow_id == flow.flow_id:
                    self._score_turns(event, turns, body, known[place], told)
            key = flow.client, flow.server, flow.server_port, flow.protocol
            unit = event.time_ns, body.bytes_client, body.bytes_server, body.duration_ms
            encrypted = body.starttls == "tls" or body.protocol == "tls"
            pair = pairs.get(key)
            if pair is None:
                if len(pairs) >= most_pairs:
                    self._drop_oldest(known[place], told)
                pairs[key] = unit, body.verdict, encrypted  # most pairs of a scan stay at one connection
                continue
            if type(pair) is tuple:
                first, verdict, was_encrypted = pair
                pair = pairs[key] = _Pair(first[0])
                pair.add(self._histories, first, verdict, encrypted=was_encrypted)
                self._held += 1
            assert type(pair) is _Pair
            pair.add(self._histories, unit, body.verdict, encrypted=encrypted)
            pair.last = (event.time_ns, event.packet, event.known_ns, flow, body.protocol or "", body.shape or "",
                         body.direction)
            count = pair.count
            self._held += 1
            if self._held > limits.connections or pair.held >= most:
                self._bound(pair, known[place], told)
                if not pair.held:  # it was the oldest, and has been told of
                    continue
            if count in STEPS:
                self._tell(pair, "step", known[place], told)
            elif event.time_ns - pair.told_ns >= hour_ns and pair.worth_telling():
                self._tell(pair, "window", known[place], told)
        return told

    def _places(self, events: Sequence[Event]) -> Iterable[int]:
        """The places of the events to look at: all, or those of which more follows than a compiled loop counts."""
        return self._odd_places(list(events)) if kernels.COMPILED else range(len(events))

    def _odd_places(self, events: list[Event]) -> Iterator[int]:
        limits = self._limits
        if self._compiled is None:
            self._compiled = kernels.events.Connections(
                seen_fields(), _Pair, self._histories, row_bytes=ROW.size, places=_PLACES, steps=STEPS,
                most_pairs=limits.pairs, most_units=_most_held(limits), most_held=limits.connections,
                told_each_ns=limits.hour_ns)
        place = 0
        while place < len(events):
            if self._turns is None:  # else the session that follows is told of with its turns
                place = self._compiled.pass_over(events, place, self._pairs, self._held)
                self._held = self._compiled.held
                if place == len(events):
                    return
            yield place
            place += 1

    def see_flows(self, ended: EndedFlows) -> list[Told]:  # noqa: ARG002  # the interface of all observers
        """Looks at no flows."""
        return []

    def finish(self, now_ns: int, known: int) -> list[Told]:  # noqa: ARG002
        """Tells of all pairs that have new connections."""
        told: list[Told] = []
        for pair in self._pairs.values():
            if type(pair) is _Pair:
                self._tell_last(pair, "end", known, told)
        self._pairs.clear()
        self._histories.clear()
        self._held = 0
        return told

    # ---- connections --------------------------------------------------------------------------------------------

    def _bound(self, pair: _Pair, packet: int, told: list[Told]) -> None:
        """Keeps one pair, and all together, within their limits."""
        if pair.held >= _most_held(self._limits):  # many at once: finding the oldest costs as much as giving them back
            kept = self._limits.pair_connections
            self._histories.keep(pair.newest, kept)
            self._held -= pair.held - kept
            pair.held = kept
        while self._held > self._limits.connections and len(self._pairs) > 1:
            self._drop_oldest(packet, told)

    def _drop_oldest(self, packet: int, told: list[Told]) -> None:
        _, pair = self._pairs.popitem(last=False)
        self._dropped_pairs += 1
        if type(pair) is _Pair:
            self._held -= pair.held
            self._tell_last(pair, "window", packet, told)
            self._histories.give_back(pair.newest)
            pair.newest, pair.held = NONE, 0

    def _tell_last(self, pair: _Pair, reason: str, packet: int, told: list[Told]) -> None:
        if pair.worth_telling():
            self._tell(pair, reason, packet, told)

    def _tell(self, pair: _Pair, reason: str, packet: int, told: list[Told]) -> None:
        assert pair.last is not None
        time_ns, shown_by, known_ns, flow, *_ = pair.last
        pair.told_units, pair.told_ns = pair.count, time_ns
        told.append((packet, Event("beacon", time_ns, self._of_connections(pair, reason), flow, shown_by,
                                   known_ns)))

    def _of_connections(self, pair: _Pair, reason: str) -> Beacon:
        """The event of a pair's newest connections."""
        newest = sorted(self._histories.units(pair.newest))[-self._limits.pair_connections:]
        starts, client, server, durations = zip(*newest, strict=True)
        assert pair.last is not None
        *_, protocol, shape, direction = pair.last
        verdicts = dict(zip(VERDICTS, pair.verdicts, strict=True))
        body = Beacon(
            over="connections", told=reason, units=pair.count, duration_ms=round(_median(durations)),
            genuine=verdicts["genuine"], foreign=verdicts["not-imap"] + verdicts["mimic"], silent=verdicts["silent"],
            encrypted=pair.encrypted, verdict=max(verdicts, key=verdicts.__getitem__),
            protocol=protocol, shape=shape, direction=direction)
        return _scored(body, starts, client, server, (client, server), verdicts["genuine"] / pair.count)

    # ---- turns --------------------------------------------------------------------------------------------------

    def _score_turns(self, event: Event, turns: Turns, session: Session, packet: int, told: list[Told]) -> None:
        """Tells of the side of a connection that keeps the better rhythm."""
        self._dropped_turns += turns.count - len(turns.times)
        bodies = [_of_turns(turns, side, session) for side in (CLIENT, SERVER)]
        best = max(bodies, key=_rhythm)
        if best.units >= TOLD_UNITS:
            told.append((packet, Event("beacon", event.time_ns, best, event.flow, event.packet, event.known_ns)))


def _most_held(limits: ObserveLimits) -> int:
    """Units of one pair at most: some more than are scored, so that the oldest are dropped many at a time."""
    return limits.pair_connections + max(limits.pair_connections // 4, 1)


def _rhythm(body: Beacon) -> tuple[float, int]:
    return body.rhythm, body.units


def _of_turns(turns: Turns, side: int, session: Session) -> Beacon:
    """The event of one side's turns: each with what the other side said before the next one."""
    times: list[int] = []
    own: list[int] = []
    others: list[int] = []
    for time_ns, size, speaker in zip(turns.times, turns.sizes, turns.sides, strict=True):
        if speaker == side:
            times.append(time_ns)
            own.append(size)
            others.append(0)
        elif times:
            others[-1] += size
    genuine = session.verdict == "genuine"
    body = Beacon(over="turns", told="end", units=len(times), side=SIDES[side], genuine=int(genuine),
                  foreign=int(session.verdict in ("not-imap", "mimic")), encrypted=int(session.protocol == "tls"),
                  verdict=session.verdict, protocol=session.protocol or "", shape=session.shape or "",
                  duration_ms=session.duration_ms, direction=session.direction)
    client, server = (own, others) if side == CLIENT else (others, own)
    return _scored(body, sorted(times), client, server, (own,), float(genuine))


def _scored(body: Beacon, times: Sequence[int], client: Sequence[int], server: Sequence[int],
            sizes: Sequence[Sequence[int]], genuine: float) -> Beacon:
    """Fills in the measures and scores. `genuine`: the part of the units that were genuine IMAP."""
    body.scored = len(times)
    body.bytes_client, body.bytes_server = _median(client), _median(server)
    total = sum(client) + sum(server)
    body.upload_share = round(sum(client) / total, 3) if total else 0.0
    if len(times) < LEAST_UNITS:
        body.too_few = True
        return body
    rhythm = measure(times, *sizes)
    damping = 1.0 - GENUINE_DAMPING * genuine
    body.rhythm, body.score = round(rhythm.score, 3), round(rhythm.score * damping, 3)
    body.damped = "genuine-imap" if genuine else ""
    body.regularity, body.symmetry = round(rhythm.regularity, 3), round(rhythm.symmetry, 3)
    body.size_regularity, body.coverage = round(rhythm.size_regularity, 3), round(rhythm.coverage, 3)
    body.amount, body.jitter = round(rhythm.amount, 3), round(rhythm.jitter, 3)
    body.interval_s, body.span_s = round(rhythm.interval_s, 3), round((times[-1] - times[0]) / 1e9, 3)
    return body


def _median(values: Sequence[int]) -> float:
    return quantile(sorted(values), 0.5) if values else 0.0
