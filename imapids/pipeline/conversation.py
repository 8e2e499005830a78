"""One conversation on its way through sniff, parse and judge; upgraded bytes go round to be sniffed again."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from imapids import kernels
from imapids.config import DialogueLimits
from imapids.parse import ImapDialogue, PlainDialogue, PlainReader
from imapids.pipeline.prefix import Prefix
from imapids.pipeline.turns import LONG_AGO_NS, TurnRecorder
from imapids.protocols.secrets import SecretHasher
from imapids.records.candidates import Candidate, Evidence, Opening
from imapids.records.dialogue import SessionFacts, TlsFacts
from imapids.records.events import Anomaly, Body
from imapids.records.streams import (
    CLIENT,
    SERVER,
    Flow,
    Piece,
    StreamChunk,
    StreamConflict,
    StreamEnd,
    StreamGap,
)
from imapids.sniff import sniff

if TYPE_CHECKING:
    from imapids.kernels._events import OpaqueRecords
    from imapids.parse.deflate import Inflater
    from imapids.parse.tls import TlsStream

Fact = tuple[int, int, Body, int]
"""(time, frame number, body) of an event, and the frame number of the packet that made it known."""

_GREETED = Candidate(kind="imap", final=True)
"""What the sniffer says of a server that greets."""

_RESNIFF_GROWTH = 1.25
"""Ask the sniffer again after this growth: its answer does not depend on when it is asked, only the cost does."""


class Conversation:
    """Routes the pieces of one flow and keeps what the judge wants to know."""

    __slots__ = (
        "_anomalies", "_asked_at", "_conflict_bytes", "_dropped", "_hasher", "_held", "_held_bytes", "_inflaters",
        "_limits", "candidate", "conflicts", "dialogue", "events", "first_packet", "first_side", "flow", "gaps",
        "hit_limits", "layer", "prefix", "seen", "tls", "turns", "upgrade_prefix",
    )

    def __init__(self, flow: Flow, limits: DialogueLimits, hasher: SecretHasher | None) -> None:
        self.flow = flow
        self.hit_limits: list[str] = []
        """Names of the limits that cut the reading of this conversation short; they stand on the flow's record, too."""
        self._limits = limits
        self._hasher = hasher
        self.events: list[Fact] = []
        """What this conversation told since the pipeline last looked."""
        self.candidate: Candidate | None = None
        self.dialogue: ImapDialogue | None = None
        self.tls: TlsStream | None = None
        self.upgrade_prefix: Prefix | None = None
        """First bytes after STARTTLS or COMPRESS."""
        self.layer = ""
        """Empty, starttls or compress: what the dialogue was upgraded to."""
        self.seen = [0, 0]
        self.gaps = [0, 0]
        self.first_side: int | None = None
        self.first_packet = [0, 0]
        self._held: list[Piece] = []
        """Pieces that wait for the sniffer's decision."""
        self._held_bytes = 0
        self.prefix = Prefix(limits)
        """First bytes of both sides: for the sniffer, and for payload signatures."""
        self.turns = TurnRecorder(limits)
        """When each side spoke, for who measures the rhythm of what is no IMAP."""
        self._asked_at = 0
        self._dropped = [0, 0]
        self.conflicts: list[StreamConflict] = []
        """Later copies of the first bytes that differ: another reading of the conversation."""
        self._conflict_bytes = 0
        self._inflaters: tuple[Inflater, Inflater] | None = None
        self._anomalies: dict[str, int] = {}

    @classmethod
    def taking_over(cls, flow: Flow, limits: DialogueLimits, hasher: SecretHasher, plain: PlainDialogue,
                    reader: PlainReader) -> Conversation:
        """The conversation of a dialogue that is no longer plain, in the state that the bytes so far bring it to."""
        conversation = cls(flow, limits, hasher)
        if plain.greeting is not None:
            conversation.candidate = _GREETED
            conversation.dialogue = reader.machine(plain)
            conversation.seen = [plain.bytes_client, plain.bytes_server]
            conversation.first_side = SERVER
            conversation.first_packet = [plain.first_packet_client, plain.greeting_packet]
            conversation.prefix.take(plain.first_bytes())
        return conversation

    # ---- pieces in ----------------------------------------------------------------------------------------------

    def feed(self, pieces: list[Piece]) -> None:
        """Takes the pieces of one batch, in order."""
        dialogue, after, count = self.dialogue, 0, len(pieces)
        compiled = kernels.COMPILED and self.flow.protocol == "TCP"
        while after < count:
            if compiled and self.tls is not None and self.tls.facts.choice_offered:
                after = self._pass_over(self.tls, pieces, after)
                if after == count:
                    break
            piece = pieces[after]
            after += 1
            if type(piece) is StreamChunk:
                side = piece.side
                if not self.first_packet[side]:
                    self.first_packet[side] = piece.packet
                    if self.first_side is None:
                        self.first_side = side
                self.seen[side] += len(piece.data)
                self.turns.add(piece, dialogue is None or dialogue.stopped_being_imap)
                if self.candidate is None or not self.prefix.ended[side]:
                    self.prefix.add(side, piece.data, datagram=self.flow.protocol == "UDP")
                if dialogue is not None and not self.layer:
                    rest = dialogue.feed(piece)
                    if dialogue.upgraded is not None:
                        self._upgrade(rest)
                    if dialogue.events:
                        self._gather(piece)
                    continue
            elif type(piece) is StreamGap:
                self.gaps[piece.side] += 1
                self.prefix.ended[piece.side] = True
            elif type(piece) is StreamConflict:
                self._tell_conflict(piece)
                continue
            elif type(piece) is StreamEnd:
                self._end(piece)
                self._gather(piece)
                break
            if self.candidate is None:
                self._hold(piece, last=after == count)
                dialogue = self.dialogue
            else:
                self._route(piece)
            self._gather(piece)

    def _pass_over(self, tls: TlsStream, pieces: list[Piece], start: int) -> int:
        """Takes chunks that hold nothing but encrypted records; the place of the first other piece."""
        return _opaque_records().pass_over(
            pieces, start, tls.sides, tls.facts, self.turns,
            self.dialogue is None or self.dialogue.stopped_being_imap, self.prefix, self.seen)

    def _gather(self, piece: Piece) -> None:
        """Takes over what the parsers told of a piece: its last packet made that known."""
        dialogue, tls = self.dialogue, self.tls
        if not (dialogue is not None and dialogue.events) and not (tls is not None and tls.events):
            return
        known = piece.packet
        if type(piece) is StreamChunk:
            if piece.packets is not None:
                known = piece.packets[-1]
        elif type(piece) is StreamEnd:
            known = piece.known
        for parser in (dialogue, tls):
            if parser is not None and parser.events:
                self.events += [(time_ns, packet, body, known) for time_ns, packet, body in parser.events]
                parser.events.clear()

    def _hold(self, piece: Piece, *, last: bool) -> None:
        """Keeps a piece until the sniffer decides, then hands all of them to the parser that it chose."""
        prefix = self.prefix
        if type(piece) is StreamChunk:
            full = prefix.ended[piece.side] and self._held_bytes > 4 * self._limits.sniff_bytes
            if full or self._dropped[piece.side]:  # the sniffer has enough of this side and waits for the other
                self._dropped[piece.side] += len(piece.data)
                return
            self._held_bytes += len(piece.data)
        self._held.append(piece)
        total = self.seen[0] + self.seen[1]
        first = len(self._held) == 1 and type(piece) is StreamChunk and piece.side == SERVER
        if first or (last and total >= self._asked_at * _RESNIFF_GROWTH):
            self._asked_at = total
            candidate = sniff(prefix.opening(self.flow))
            if candidate.final:
                self._decide(candidate)

    def _decide(self, candidate: Candidate) -> None:
        """The sniffer decided: the held pieces go to the parser."""
        self.candidate = candidate
        if candidate.finding is not None:
            candidate.finding.evidence = [self._placed(each) for each in candidate.finding.evidence]
        held, self._held = self._held, []
        if candidate.kind == "imap":
            self.dialogue = ImapDialogue(self._limits, midstream=self.flow.midstream, hash_secret=self._hasher)
            self.turns.forget()  # how soon this is decided depends on how the bytes came
        elif candidate.kind == "tls":
            from imapids.parse.tls import TlsStream

            self.tls = TlsStream(self._limits, midstream=self.flow.midstream)
        for piece in held:
            self._route(piece)
        for side in (CLIENT, SERVER):
            if self._dropped[side]:
                at = self.seen[side] - self._dropped[side]
                self._route(StreamGap(side, at, self._dropped[side], 0, 0, "limit"))

    def _placed(self, evidence: Evidence) -> Evidence:
        """Evidence with the number of the packet that holds its offset."""
        side = 1 if evidence.side == "server" else 0
        for piece in self._held:
            if type(piece) is StreamChunk and piece.side == side and piece.offset <= evidence.offset < (
                    piece.offset + len(piece.data)):
                packet, _ = piece.locate(evidence.offset - piece.offset)
                return Evidence(evidence.code, evidence.side, packet, evidence.offset, evidence.text)
        return Evidence(evidence.code, evidence.side, self.first_packet[side], evidence.offset, evidence.text)

    # ---- pieces on ----------------------------------------------------------------------------------------------

    def _route(self, piece: Piece) -> None:
        """Hands a piece to the parser in charge."""
        if self.layer == "compress":
            self._inflate(piece)
        elif self.tls is not None:
            if type(piece) is StreamChunk:
                self.tls.feed(piece)
                if self.upgrade_prefix is not None and not self.tls.facts.server_hello:  # then nobody sniffs any more
                    self.upgrade_prefix.add(piece.side, piece.data)
            elif type(piece) is StreamGap:
                self.tls.gap(piece)
                if self.upgrade_prefix is not None:
                    self.upgrade_prefix.ended[piece.side] = True
        elif self.dialogue is not None:
            if type(piece) is StreamChunk:
                rest = self.dialogue.feed(piece)
                if self.dialogue.upgraded is not None:
                    self._upgrade(rest)
            elif type(piece) is StreamGap:
                self.dialogue.gap(piece)

    def _upgrade(self, rest: StreamChunk | None) -> None:
        """STARTTLS or COMPRESS was accepted: the bytes that follow are another layer's."""
        dialogue = self.dialogue
        assert dialogue is not None
        assert dialogue.upgraded is not None
        if dialogue.upgraded.to == "tls":
            from imapids.parse.tls import TlsStream

            self.layer = "starttls"
            self.tls = TlsStream(self._limits, after_starttls=True)
            self.upgrade_prefix = Prefix(self._limits)
        else:
            from imapids.parse.deflate import Inflater

            self.layer = "compress"
            self._inflaters = (Inflater(self._limits), Inflater(self._limits))
            self.upgrade_prefix = Prefix(self._limits)
            dialogue.resume("deflate")
        carried, dialogue.carry = dialogue.carry, []
        for chunk in carried:
            self._route(chunk)
        if rest is not None:
            self._route(rest)

    def _inflate(self, piece: Piece) -> None:
        """Inflates both directions of a dialogue after COMPRESS (RFC 4978)."""
        dialogue, inflaters = self.dialogue, self._inflaters
        assert dialogue is not None
        assert inflaters is not None
        if type(piece) is StreamGap:
            dialogue.gap(piece)
            inflaters[piece.side].failed = True  # what follows a hole cannot be inflated
            return
        if type(piece) is not StreamChunk:
            return
        if self.upgrade_prefix is not None:
            self.upgrade_prefix.add(piece.side, piece.data)
        inflater = inflaters[piece.side]
        if inflater.dead:
            return
        for inner in inflater.chunks(piece):
            dialogue.feed(inner)
            if dialogue.upgraded is not None:  # an upgrade inside deflate: no software does it, nobody reads on
                self._limit("nested-upgrade", piece.time_ns, piece.packet)
                break
        if inflater.failed:
            dialogue.broken_upgrade("deflate", piece.packet, piece.offset, piece.side)
        elif inflater.bomb:
            self._limit("deflate-bomb", piece.time_ns, piece.packet)

    # ---- ends and oddities --------------------------------------------------------------------------------------

    def _end(self, end: StreamEnd) -> None:
        if self.candidate is None and self.first_side is not None:
            candidate = sniff(self.prefix.opening(self.flow, sides_seen=self.flow.sides_seen, over=True))
            self._decide(candidate)
        if self.dialogue is not None:
            self.dialogue.sides_seen = self.flow.sides_seen
            self.dialogue.end(end)
        if self.tls is not None:
            self.tls.end(end)
        if self.turns.count > 1:
            self.events.append((self.flow.start_ns, self.flow.first_packet, self.turns.body(), end.known))

    def _limit(self, name: str, time_ns: int, packet: int) -> None:
        if name not in self.hit_limits:
            self.hit_limits.append(name)
            self.flow.limits = sorted([*self.flow.limits, name])  # however the bytes were cut
        self._anomaly(name, "applayer", time_ns, packet)

    def _tell_conflict(self, conflict: StreamConflict) -> None:
        if conflict.offset < self._limits.sniff_bytes:
            self._conflict_bytes += len(conflict.second)
            if self._conflict_bytes <= self._limits.conflict_bytes and len(self.conflicts) < self._limits.conflicts:
                self.conflicts.append(conflict)
            else:
                self._limit("reading-conflicts", conflict.time_ns, conflict.packet)
        self._anomaly("overlap-conflict", "stream", conflict.time_ns, conflict.packet)

    def _anomaly(self, name: str, kind: str, time_ns: int, packet: int) -> None:
        """Tells an oddity, the first ones of each name."""
        count = self._anomalies.get(name, 0) + 1
        self._anomalies[name] = count
        if count <= self._limits.anomalies:
            self.events.append((time_ns, packet, Anomaly(type=kind, event=name), packet))

    # ---- what the judge wants to know ---------------------------------------------------------------------------

    def facts_so_far(self, flow: Flow) -> SessionFacts | None:
        """What is known of the conversation while it goes on; None where no parser has read its bytes yet.

        `flow`: its record with the counts of now.
        """
        facts = self.facts()
        if self.candidate is None and self.first_side is not None:
            candidate = sniff(self.prefix.opening(flow, sides_seen=flow.sides_seen, over=True))
            if candidate.finding is None:
                return None
            candidate.finding.evidence = [self._placed(each) for each in candidate.finding.evidence]
            facts.candidate = candidate
        facts.flow = flow
        return facts

    def facts(self) -> SessionFacts:
        """All that is known of the conversation now."""
        imap = self.dialogue.facts if self.dialogue is not None else None
        tls: TlsFacts | None = self.tls.facts if self.tls is not None else None
        foreign = after = None
        flow = self.flow
        if self.layer == "starttls" and self.upgrade_prefix is not None and (tls is None or not tls.server_hello):
            after = sniff(self.upgrade_prefix.opening(flow, sides_seen=flow.sides_seen, over=True, after="starttls"))
        elif imap is not None and imap.compress_broken and self.upgrade_prefix is not None:
            foreign = sniff(self.upgrade_prefix.opening(flow, sides_seen=flow.sides_seen, over=True, after="compress"))
        if foreign is None and self.dialogue is not None:
            opening: Opening | None = self.dialogue.foreign
            if opening is not None:
                foreign = sniff(opening)
        return SessionFacts(
            flow=flow, first_side=self.first_side, seen_client=self.seen[CLIENT], seen_server=self.seen[SERVER],
            gaps_client=self.gaps[CLIENT], gaps_server=self.gaps[SERVER], candidate=self.candidate, imap=imap, tls=tls,
            foreign=foreign, after_starttls=after,
            first_packet_client=self.first_packet[CLIENT], first_packet_server=self.first_packet[SERVER],
        )


@lru_cache(maxsize=1)
def _opaque_records() -> OpaqueRecords:
    """The compiled loop over encrypted records."""
    from imapids.parse.tls import TlsSide
    from imapids.protocols.tls import MAX_RECORD_BYTES

    return kernels.events.OpaqueRecords(classes=(StreamChunk, TlsSide, TlsFacts, TurnRecorder, Prefix),
                                        longest=MAX_RECORD_BYTES, long_ago=LONG_AGO_NS)


def plain_facts(flow: Flow, plain: PlainDialogue) -> SessionFacts:
    """All that is known of a dialogue that was plain to its end."""
    return SessionFacts(
        flow=flow, first_side=SERVER, seen_client=plain.bytes_client, seen_server=plain.bytes_server,
        candidate=_GREETED, imap=plain.facts, first_packet_client=plain.first_packet_client,
        first_packet_server=plain.greeting_packet,
    )
