"""The order of the stages: decode > flows > sniff > parse > judge > events; upgraded bytes go round to sniff again.

Only this package knows all stages between the capture and the rules. Time is packet time, and the result does not
depend on how the packets were cut into batches: events come in the order in which packets made them known.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from imapids import kernels
from imapids.config import HOME_NETS, Limits
from imapids.decode import Decoder
from imapids.flows import FlowTable, Keyed
from imapids.judge import history, judge, judge_plain
from imapids.observe import Allowed, ExposureObserver, Inventory, Observer, ScanObserver, observers
from imapids.parse import PlainDialogue, PlainReader
from imapids.pipeline.conversation import Conversation, Fact, plain_facts
from imapids.pipeline.observing import in_order, known_of, observed
from imapids.pipeline.open_sessions import OpenSessions
from imapids.pipeline.peeked import PeekedConversation
from imapids.pipeline.prefix import Prefix
from imapids.pipeline.readings import other_reading
from imapids.pipeline.session import flow_body, plain_sessions, session_body
from imapids.pipeline.silent import silent_body
from imapids.protocols.addresses import Networks
from imapids.protocols.known_scanners import KnownScanners
from imapids.protocols.mail_services import PEEKED_PORTS
from imapids.protocols.secrets import SecretHasher
from imapids.records.dialogue import SessionFacts
from imapids.records.events import EVENT_TYPES, MINUTE, TURNS, Command, Event, Login, Message, Minute, Session
from imapids.records.flows import EndedFlows
from imapids.records.packets import I64, U64, PacketBatch
from imapids.records.segments import Decoded, EncapsulationTable, SegmentBatch
from imapids.records.streams import CLIENT, SERVER, SIDES, Flow, FlowUpdate, Piece, StreamChunk, StreamEnd, StreamGap
from imapids.records.verdicts import Verdict
from imapids.signatures import Signatures

if TYPE_CHECKING:
    from imapids.intel import Matcher

_DIRECTIONS = ("external", "inbound", "outbound", "internal")
"""By whether the client is at home, twice, and the server."""
_EVENTS_AT_ONCE = 100_000
"""Events that wait for their batch to be over. A batch of real traffic tells a third of it."""
_CHUNK_BYTES = 512 << 10
"""A longer run of one side's bytes is read in parts: 512 KiB of the shortest commands tell 60,000 events."""
_CHUNKS = kernels.events.Chunks(StreamChunk) if kernels.COMPILED else None
_A_MINUTE = Minute()
_DIRECTED = (Command, Login, Message)
"""Bodies whose parser does not know the direction of the flow."""
MATCHED_KINDS = frozenset({"session", "login", "tls"})
"""Events that indicators are compared with."""


class Prepared(NamedTuple):
    """A batch that is decoded and grouped by conversation, for `Pipeline.follow`."""

    decoded: Decoded
    keyed: Keyed | None
    """None where the batch holds no segment."""


class Pipeline:
    """Packets in, events out."""

    plain = True
    """Read plain dialogues on the fast path. Tests turn it off: nothing but the time may change."""

    def __init__(self, limits: Limits, *, kinds: Collection[str], home_nets: Sequence[str] = HOME_NETS,
                 watch_tcp: Sequence[int] = (143,), watch_udp: Sequence[int] = (143,), hosts: Sequence[str] = (),
                 since_ns: int | None = None, until_ns: int | None = None, hasher: SecretHasher | None = None,
                 signatures: Signatures | None = None, matcher: Matcher | None = None,
                 inventory: Sequence[Allowed] | None = None, scanners: KnownScanners | None = None,
                 open_after_ns: int | None = None,
                 on_update: Callable[[FlowUpdate], None] | None = None) -> None:
        """
        Args:
            kinds: event types to make; the others cost nothing.
            hosts: if any, only packets from or to these addresses or networks are looked at.
            since_ns, until_ns: only packets of this time (the end is not included).
            hasher: hashes secrets; None makes one with a key that ends with the run.
            signatures: payload rules over the first bytes of sessions that are not genuine.
            matcher: indicators that events are compared with.
            inventory: which mail services are meant to be where; None where nobody said.
            scanners: who is known to search the whole Internet.
            open_after_ns: age at which conversations that go on are judged for the first time; None: at the end only.
            on_update: shown what flows brought, before it is read (for those who want to see the bytes).
        """
        self.limits = limits
        self._home = Networks(home_nets)
        self.observers = observers(frozenset(kinds), limits.observe, home=self._home, inventory=inventory,
                                   scanners=scanners)
        seen = frozenset[str]().union(*(observer.kinds for observer in self.observers))
        self.kinds = frozenset(kinds) | seen | (MATCHED_KINDS if matcher is not None else frozenset())
        peeked = PEEKED_PORTS if "service" in self.kinds else ()
        self.encapsulations = EncapsulationTable()
        self.decoder = Decoder(limits.decode, self.encapsulations, plain_udp_ports=watch_udp)
        self.table = FlowTable(limits.flows, self.encapsulations, watch_tcp=watch_tcp, watch_udp=watch_udp,
                               tell_ends=any(observer.wants_flows for observer in self.observers),
                               tell_minutes=MINUTE in self.kinds,
                               peek_tcp=[port for port in peeked if port not in watch_tcp], directions=self._directions,
                               late=True)
        self.skipped: dict[str, int] = {}
        """Packets that options left out, by reason."""
        self.sessions: dict[str, int] = {}
        """Sessions by verdict."""
        self.limits_hit: dict[str, int] = {}
        """Conversations that a limit of their reading cut short, by its name."""
        self._hosts = Networks(hosts) if hosts else None
        self._span = (since_ns, until_ns)
        self._hasher = hasher or SecretHasher(secrets.token_bytes(32))
        self._signatures = signatures
        self._matcher = matcher
        self._on_update = on_update
        self._plain = PlainReader(limits.dialogue, hash_secret=self._hasher, kinds=self.kinds,
                                  keep=limits.dialogue.sniff_bytes if "signature" in self.kinds else 0)
        self._plain_sessions = plain_sessions() if kernels.COMPILED else None
        self._dialogues: kernels.events.Dialogues | None = None
        """The compiled loop over plain dialogues, made when it is used first."""
        self._open = OpenSessions(open_after_ns, limits.dialogue) if (
            open_after_ns is not None and "session" in self.kinds) else None
        self._conversations: dict[int, Conversation | PlainDialogue | PeekedConversation] = {}
        self._events: list[Event] = []
        self._order: list[int] = []

    def feed(self, batch: PacketBatch) -> Iterator[list[Event]]:
        """The events that a batch of packets made known, in order."""
        yield from self.follow(self.decode(batch))

    def decode(self, batch: PacketBatch) -> Decoded:
        """The first half of `feed`: columns only."""
        decoded = self.decoder.feed(self._in_time(batch))
        if self._hosts is not None:
            decoded.segments = self._of_hosts(decoded.segments)
        return decoded

    def prepare(self, batch: PacketBatch) -> Prepared:
        """`decode`, and what of `follow` depends on nothing but the batch.

        Batches may be prepared in another thread while those before them are followed, one after the other: nothing
        that is written here is read there but the records handed over, and encapsulations, which only grow.
        """
        decoded = self.decode(batch)
        return Prepared(decoded, self.table.keyed(decoded.segments) if len(decoded.segments) else None)

    def follow(self, decoded: Decoded, keyed: Keyed | None = None) -> Iterator[list[Event]]:
        """The second half of `feed`: decoded batches in the order of their packets.

        A batch gives one list; a flood of events gives several, each in order, so that memory stays bounded.

        Args:
            keyed: what `prepare` made of this batch.
        """
        yield from self._use(self.table.feed(decoded.segments, decoded.icmp_errors, keyed))
        for updates in self.table.rest():
            yield from self._use(updates)

    def tick(self, now_ns: int) -> Iterator[list[Event]]:
        """Time goes on although no packet comes: the events of conversations that are over by `now_ns`.

        For live links. `now_ns` is on the clock of packets, and should lie a little behind what is on its way.
        """
        yield from self._use(self.table.tick(now_ns))
        for updates in self.table.rest():
            yield from self._use(updates)

    def clock_stepped(self, by_ns: int) -> None:
        """The clock that stamps packets was set by so much: no conversation is older or younger for it."""
        self.table.clock_stepped(by_ns)

    def renew(self, signatures: Signatures | None, matcher: Matcher | None) -> None:
        """Other payload signatures and indicators from now on; conversations that are open end under these."""
        self._signatures = signatures
        self._matcher = matcher

    def expect(self, inventory: Sequence[Allowed] | None) -> None:
        """Another inventory from now on."""
        for observer in self.observers:
            if isinstance(observer, ExposureObserver):
                observer.expect(None if inventory is None else Inventory(inventory, self._home))

    def know(self, scanners: KnownScanners) -> None:
        """Other names of those who search the Internet from now on."""
        for observer in self.observers:
            if isinstance(observer, ScanObserver):
                observer.know(scanners)

    def pass_on_to(self, observer: Observer) -> None:
        """Puts one observer in the place of all: in another process it stands for those that count over time there."""
        self.observers = [observer]

    def observed(self, events: list[Event], known: I64, ended: EndedFlows | None) -> list[Event]:
        """Events of other pipelines and what the observers make of them, in order.

        Args:
            known: ascending numbers, shape (len(events),): where the events stand, on the same scale as `ended.known`.
        """
        return observed(self.observers, events, known, ended) if self.observers else events

    def finish(self) -> Iterator[list[Event]]:
        """The packets are over: all conversations end."""
        self.decoder.finish()
        for updates in self.table.finish():
            yield from self._use(updates)
        if self.observers:
            told = [each for observer in self.observers
                    for each in observer.finish(self.table.clock_ns, self.table.last_number)]
            if told:
                yield [event for _, event in sorted(told, key=known_of)]

    def _use(self, updates: list[FlowUpdate]) -> Iterator[list[Event]]:
        if self._on_update is not None:
            for update in updates:
                update.read_late()
                self._on_update(update)
        updates.reverse()  # what was read is let go at once: what is told can stand in its memory
        more = True
        while more:
            more = self._take(updates)
            if not more:
                self._tell_minutes()
            events = self._drain(None if more else self.table.take_ended())
            if events:
                yield events

    # ---- packets that options leave out -------------------------------------------------------------------------

    def _in_time(self, batch: PacketBatch) -> PacketBatch:
        since, until = self._span
        if since is None and until is None:
            return batch
        keep = np.ones(len(batch), bool)
        if since is not None:
            keep &= batch.time_ns >= since
        if until is not None:
            keep &= batch.time_ns < until
        return batch if keep.all() else batch.select(self._left_out(keep, "outside-time-range"))

    def _of_hosts(self, segments: SegmentBatch) -> SegmentBatch:
        assert self._hosts is not None
        keep = self._hosts.contains_columns(segments.src_hi, segments.src_lo)
        keep |= self._hosts.contains_columns(segments.dst_hi, segments.dst_lo)
        return segments if keep.all() else segments.select(self._left_out(keep, "other-host"))

    def _left_out(self, keep: np.ndarray[tuple[int], np.dtype[np.bool_]], reason: str) -> np.ndarray[
            tuple[int], np.dtype[np.bool_]]:
        self.skipped[reason] = self.skipped.get(reason, 0) + int(len(keep) - np.count_nonzero(keep))
        return keep

    # ---- flows to events ----------------------------------------------------------------------------------------

    def _directions(self, client_hi: U64, client_lo: U64, server_hi: U64, server_lo: U64) -> list[str]:
        home = self._home
        which = 2 * home.contains_columns(client_hi, client_lo) + home.contains_columns(server_hi, server_lo)
        return list(map(_DIRECTIONS.__getitem__, which.tolist()))

    def _take(self, updates: list[FlowUpdate]) -> bool:
        """Reads updates, the last of the list first, until many events wait; false when all are read."""
        conversations, events, order = self._conversations, self._events, self._order
        read_plain, dialogues = self._plain.read, self._compiled()
        longest = _CHUNKS.longest if _CHUNKS is not None and dialogues is not None else _longest
        while len(events) < _EVENTS_AT_ONCE:
            if dialogues is not None:
                update = dialogues.take(updates, events, order, _EVENTS_AT_ONCE)
                if update is None:
                    return len(events) >= _EVENTS_AT_ONCE
            elif updates:
                update = updates.pop()
                update.read_late()
            else:
                return False
            if longest(update.pieces) > _CHUNK_BYTES:
                updates += _in_parts(update)
                continue
            flow, pieces, key = update.flow, update.pieces, update.key
            conversation = conversations.get(key)
            last = pieces[-1]
            if conversation is None or (type(conversation) is PeekedConversation and not flow.peeked):  # it greets
                if type(pieces[0]) is StreamEnd:  # nobody sent payload
                    if not flow.peeked:
                        self._close_silent(flow, pieces[0])
                    continue
                conversation = conversations[key] = self._begin(flow, pieces[0])
            if type(conversation) is PlainDialogue:
                read = 0 if type(pieces[0]) is StreamEnd else read_plain(conversation, pieces, events, order)
                left = len(pieces) - read
                if not left:
                    continue
                if left == 1 and type(last) is StreamEnd and conversation.waiting is None:
                    del conversations[key]
                    self._close_plain(flow, conversation, last)
                    continue
                conversation = conversations[key] = Conversation.taking_over(
                    flow, self.limits.dialogue, self._hasher, conversation, self._plain)
                pieces = pieces[read:]
            elif type(conversation) is PeekedConversation:
                conversation.feed(pieces)
                if type(last) is StreamEnd:
                    del conversations[key]
                    self._tell_service(flow, conversation, last)
                continue
            assert type(conversation) is Conversation
            if self._open is None:
                conversation.feed(pieces)
            else:
                self._feed_by_age(self._open, key, conversation, pieces)
            if conversation.events:
                self._tell(flow, conversation.events)
                conversation.events.clear()
            if type(last) is StreamEnd:
                del conversations[key]
                if self._open is not None:
                    self._open.over(key)
                for name in conversation.hit_limits:
                    self.limits_hit[name] = self.limits_hit.get(name, 0) + 1
                facts = conversation.facts()
                facts.other_reading = other_reading(conversation, self.limits.dialogue)
                self._close(flow, facts, last, conversation.prefix)
        return True

    def _compiled(self) -> kernels.events.Dialogues | None:
        """The compiled loop over plain dialogues, where there is one."""
        if not (kernels.COMPILED and self.plain):
            return None
        if self._dialogues is None:
            turns = self._plain.turns()
            if turns is not None and self._plain_sessions is not None:
                self._dialogues = kernels.events.Dialogues(
                    turns=turns, sessions=self._plain_sessions,
                    classes=(FlowUpdate, Flow, StreamEnd, StreamGap, PeekedConversation, Prefix),
                    fresh=PlainDialogue(), conversations=self._conversations, verdicts=self.sessions,
                    longest=_CHUNK_BYTES, tell_sessions="session" in self.kinds,
                    tell_flow=self._tell_flow if "flow" in self.kinds else None,
                    begin_peeked=partial(PeekedConversation, self.limits.dialogue), tell_peeked=self._tell_service)
        return self._dialogues

    def _feed_by_age(self, watched: OpenSessions, key: int, conversation: Conversation, pieces: list[Piece]) -> None:
        """Feeds a conversation, and tells the rules what it is when it grows old."""
        for part, reached in watched.parts(key, conversation.flow, pieces):
            if part:
                conversation.feed(part)
            event = watched.look(key, conversation, reached) if reached is not None else None
            if event is None or reached is None:
                continue
            self._tell(conversation.flow, conversation.events)
            conversation.events.clear()
            self._events.append(event)
            self._order.append(reached[1])

    def _tell_service(self, flow: Flow, conversation: PeekedConversation, end: StreamEnd) -> None:
        """A flow that was peeked at is over: it has no session, only what its first bytes say of the server."""
        body = conversation.service(flow)
        if body is not None:
            self._events.append(Event("service", flow.start_ns, body, flow, conversation.first_packet, end.time_ns))
            self._order.append(end.known)

    def _begin(self, flow: Flow, first: Piece) -> Conversation | PlainDialogue | PeekedConversation:
        """The reader of a new flow: the plain one where the flow begins with a server that greets."""
        if flow.peeked:
            return PeekedConversation(self.limits.dialogue)
        if self.plain and type(first) is StreamChunk and first.side == SERVER and first.data[:5] == b"* OK " and (
                flow.protocol == "TCP" and not flow.midstream and not first.offset):
            return PlainDialogue(flow, flow.direction)
        return Conversation(flow, self.limits.dialogue, self._hasher)

    def _tell(self, flow: Flow, facts: Sequence[Fact]) -> None:
        """Makes events of what a conversation told."""
        kinds, direction = self.kinds, flow.direction
        events, order = self._events, self._order
        for time_ns, packet, body, known in facts:
            kind = EVENT_TYPES.get(type(body), TURNS)
            if kind in kinds:
                if isinstance(body, _DIRECTED):
                    body.direction = direction
                events.append(Event(kind, time_ns, body, flow, packet, time_ns))
                order.append(known)

    def _close_plain(self, flow: Flow, plain: PlainDialogue, end: StreamEnd) -> None:
        """A flow is over that was plain IMAP to its end."""
        body = self._plain_sessions.make(flow, plain) if kernels.COMPILED and self._plain_sessions else None
        if body is not None:  # a genuine one, as all that are remembered: no signature is asked
            self._tell_session(flow, end, body)
            return
        verdict = judge_plain(flow, plain, lambda: plain_facts(flow, plain))
        self._tell_session(flow, end, session_body(flow, verdict, [], first_side=SERVER, imap=plain))
        if self._signatures is not None and verdict.verdict != "genuine":
            prefix = Prefix(self.limits.dialogue)
            prefix.take(plain.first_bytes())
            self._sign(flow, plain_facts(flow, plain), verdict, prefix, end)

    def _close(self, flow: Flow, facts: SessionFacts, end: Piece, prefix: Prefix | None) -> None:
        """A flow is over: its verdict, its session record, and the payload signatures of its first bytes."""
        assert type(end) is StreamEnd
        verdict = judge(facts)
        if flow.watched or _is_imap(facts, verdict):
            self._tell_session(flow, end, session_body(
                flow, verdict, history(facts, verdict), first_side=facts.first_side, imap=facts.imap, tls=facts.tls))
        elif "flow" in self.kinds:
            self._tell_flow(flow, end)
        if self._signatures is not None and prefix is not None and verdict.verdict not in ("genuine", "silent"):
            self._sign(flow, facts, verdict, prefix, end)

    def _close_silent(self, flow: Flow, end: StreamEnd) -> None:
        """A flow is over of which no payload came."""
        if flow.watched:
            self._tell_session(flow, end, silent_body(flow))
        elif "flow" in self.kinds:
            self._tell_flow(flow, end)

    def _tell_session(self, flow: Flow, end: StreamEnd, body: Session) -> None:
        self.sessions[body.verdict] = self.sessions.get(body.verdict, 0) + 1
        if "session" in self.kinds:
            self._events.append(Event("session", flow.start_ns, body, flow, flow.first_packet, end.time_ns))
            self._order.append(end.known)
        if "flow" in self.kinds:
            self._tell_flow(flow, end)

    def _tell_flow(self, flow: Flow, end: StreamEnd) -> None:
        self._events.append(Event("flow", flow.start_ns, flow_body(flow), flow, flow.first_packet, end.time_ns))
        self._order.append(end.known)

    def _tell_minutes(self) -> None:
        """Minutes of packet time that have begun: for observers whose windows end although nothing happens."""
        for time_ns, packet in self.table.take_minutes():
            self._events.append(Event(MINUTE, time_ns, _A_MINUTE, None, packet, time_ns))
            self._order.append(packet)

    def _sign(self, flow: Flow, facts: SessionFacts, verdict: Verdict, prefix: Prefix, end: StreamEnd) -> None:
        """Payload signatures, with what the judge said of the session as their context."""
        assert self._signatures is not None
        for side, packet in ((CLIENT, facts.first_packet_client), (SERVER, facts.first_packet_server)):
            data = bytes(prefix.data[side])
            if not data:
                continue
            for hit in self._signatures.scan(
                    SIDES[side], data, verdict=verdict.verdict, protocol=verdict.protocol, shape=verdict.shape,
                    direction=flow.direction, transport=flow.protocol.lower(), client_port=flow.client_port,
                    server_port=flow.server_port):
                hit.direction = flow.direction
                self._events.append(Event("signature", flow.start_ns, hit, flow, packet, end.time_ns))
                self._order.append(end.known)

    def _drain(self, ended: EndedFlows | None) -> list[Event]:
        """Events so far, in the order of the packets that made them known; what indicators match stands behind."""
        events, order = self._events, self._order
        if not events and ended is None:
            return []
        self._events, self._order = [], []
        events, known = in_order(events, order)
        if self.observers:
            events = observed(self.observers, events, known, ended)
        return events if self._matcher is None else [each for event in events for each in self._matched(event)]

    def _matched(self, event: Event) -> list[Event]:
        assert self._matcher is not None
        hits = self._matcher.match(event)
        return [event, *(Event("indicator", event.time_ns, hit, event.flow, event.packet, event.known_ns)
                         for hit in hits)]


def _is_imap(facts: SessionFacts, verdict: Verdict) -> bool:
    """Whether a flow that only its first bytes selected turned out to hold IMAP, or something that imitates it."""
    imap = facts.imap
    return verdict.verdict in ("genuine", "mimic") or (
        imap is not None and bool(imap.greeting or imap.completed or imap.tagged or imap.untagged))


def _in_parts(update: FlowUpdate) -> list[FlowUpdate]:
    """An update with a very long chunk as several, the first one last; how bytes are cut changes no result.

    A part is made when it is read, and goes before the next one is made: the chunk is held once, not twice.
    """
    parts: list[FlowUpdate] = []
    for piece in update.pieces:
        if type(piece) is not StreamChunk or len(piece.data) <= _CHUNK_BYTES:
            parts.append(FlowUpdate(update.flow, [piece], update.key))
        else:
            parts += (FlowUpdate(update.flow, [], update.key, partial(_part, piece, start))
                      for start in range(0, len(piece.data), _CHUNK_BYTES))
    parts.reverse()
    return parts


def _part(chunk: StreamChunk, start: int) -> list[Piece]:
    return [chunk.part(start, start + _CHUNK_BYTES)]


def _longest(pieces: list[Piece]) -> int:
    """The bytes of the longest chunk."""
    return max((len(piece.data) for piece in pieces if type(piece) is StreamChunk), default=0)
