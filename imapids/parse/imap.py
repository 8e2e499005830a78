"""The IMAP machine: fed with the bytes of both sides, it tells commands, logins, mailbox use and what is broken.

Sans-io: no clock, no file, no guess from ports. Whatever the bytes are, nothing raises (an exception is a bug),
and any cut of the same bytes into chunks gives the same events, facts and verdict.
"""

from __future__ import annotations

from collections.abc import Callable

from imapids.config import DialogueLimits
from imapids.parse import imap_client, imap_server
from imapids.parse.imap_events import tell
from imapids.parse.imap_foreign import ForeignBytes, unfinished
from imapids.parse.imap_lines import LineReader
from imapids.parse.imap_login import Exchange
from imapids.parse.imap_pending import Early, Pending, Tally, Unsure
from imapids.protocols.imap_commands import STATE_NAMES, UNKNOWN_STATE, State
from imapids.protocols.imap_grammar import is_binary
from imapids.records.candidates import Evidence, Opening, Upgraded
from imapids.records.dialogue import ImapFacts
from imapids.records.events import Anomaly, Command, Login, Message
from imapids.records.streams import CLIENT, SERVER, SIDES, StreamChunk, StreamEnd, StreamGap

HashSecret = Callable[[bytes, "bytes | str"], tuple[str, list[str]]]
DialogueBody = Command | Login | Message | Anomaly

NOT_AUTHENTICATED = int(State.NOT_AUTHENTICATED)
_MAILBOX_STATES = frozenset((int(State.AUTHENTICATED), int(State.SELECTED), UNKNOWN_STATE))
HELD_BYTES = 4_096
"""Client bytes behind STARTTLS that wait for its answer: a hello is shorter, and commands are read after that many."""
EARLY_NS = 100_000_000
"""Captures merged from one tap for each direction, whose clocks differ by that much, hold answers before commands."""
EARLY_KEPT = 16
EVIDENCE_EACH = 3
"""Pieces of evidence of one code: the first ones tell the story, the counts in the facts tell the rest."""


class ImapDialogue:
    """One IMAP connection. `feed` the chunks of both sides in order; read `events`, `facts`, `upgraded`, `foreign`."""

    # Class attributes are the defaults: most conversations never need to store these.
    upgraded: Upgraded | None = None
    """The dialogue handed its bytes over; `resume` ends that."""
    overflowed = False
    """Tags were dropped from `pending`: an unknown tag proves nothing any more."""
    building: Pending | None = None
    """The command whose literals are still coming."""
    exchange: Exchange | None = None
    """The AUTHENTICATE under way."""
    idling: Pending | None = None
    upgrade_asked: Pending | None = None
    """STARTTLS or COMPRESS was asked: client bytes wait for the answer."""
    injecting: Pending | None = None
    """Client bytes that came behind this STARTTLS or COMPRESS, before its answer, are being read."""
    mailbox = ""
    """The mailbox that is open."""
    logins = 0
    last_client_line = b""
    _held_bytes = 0
    _foreign: ForeignBytes | None = None
    _unsure: Unsure | None = None
    _layer = ""
    _layer_start = 0

    def __init__(
        self,
        limits: DialogueLimits,
        *,
        midstream: bool = False,
        sides_seen: str = "both",
        hash_secret: HashSecret | None = None,
    ) -> None:
        """
        Args:
            midstream: the start was not captured; nothing is held against either side until lines are recognised.
            sides_seen: both, client, server: which sides the capture holds. May be set later.
            hash_secret: (user, secret) -> (keyed hash, traits); without it secrets leave no trace at all.
        """
        self.limits = limits
        self.hash_secret = hash_secret
        self.sides_seen = sides_seen
        self.events: list[tuple[int, int, DialogueBody]] = []
        """(time, frame number, body) since the owner last took them; the owner empties the list."""
        self.carry: list[StreamChunk] = []
        """Client chunks that came before the server's OK and belong to the new layer: to be fed to it first."""
        self._held: list[StreamChunk] = []
        self.reader_client = LineReader(CLIENT, imap_client.read_line, limits.line_bytes)
        self.reader_server = LineReader(SERVER, imap_server.read_line, limits.line_bytes)
        self.facts_ = ImapFacts(midstream=midstream)
        self.state = UNKNOWN_STATE if midstream else NOT_AUTHENTICATED
        self.greeted = midstream
        """The greeting was read, or will never be."""
        self.certain_client = self.certain_server = self.certain_state = not midstream
        """Every byte of the side was seen so far, and is understood: what breaks the grammar now is broken."""
        if midstream:
            self.reader_client.lost = self.reader_server.lost = True
        self.pending: dict[bytes, Pending] = {}
        self.done_tags: dict[bytes, None] = {}
        """The last tags that were completed: a second answer to one is no answer to a tag that was never sent."""
        self.early: dict[bytes, Early] = {}
        """By tag: the last answers to tags that were never sent, so far."""
        self.tally = Tally()
        self._counts: dict[str, int] = {}
        """Pieces of evidence and anomalies so far, by name."""

    # ---------------------------------------------------------------- what the pipeline calls

    def feed(self, chunk: StreamChunk) -> StreamChunk | None:
        """Reads a chunk. What belongs to the new layer of an upgrade comes back; while one is on, all of it."""
        if self.upgraded is not None:
            return chunk
        if chunk.side == SERVER:
            reader = self.reader_server
        else:
            reader = self.reader_client
            if self.upgrade_asked is not None and not reader.skip:
                return self._hold_for_upgrade(chunk)
        stopped = reader.feed(chunk, self)
        if self._foreign is not None:
            self._foreign.collect(chunk, stopped)
        return None if stopped < 0 else self._stopped(chunk, stopped)

    def gap(self, gap: StreamGap) -> None:
        """Bytes of one side are missing: lines are recognised again by their form, within two lines."""
        facts = self.facts_
        if gap.side == SERVER:
            facts.gaps_server += 1
        else:
            facts.gaps_client += 1
        if self.upgraded is not None:
            return
        certain = self.certain_client, self.certain_server
        if gap.side == CLIENT:
            self.certain_client = False
            self.take_back()
        else:
            self.certain_server = False
        if self._reader(gap.side).gap(gap.offset, gap.length, self):
            self.certain_client, self.certain_server = certain
            return
        self.certain_state = False
        self.state = UNKNOWN_STATE
        if gap.side == CLIENT:
            self.building = None
        else:
            self.greeted = True
            self.tally.reply = None

    def end(self, end: StreamEnd) -> None:
        """No more bytes will come: unfinished lines are read as cut ones, commands without answer are told as such."""
        held = self._held
        if held and not (
            held[0].data[:1] == b"\x16" and not self.reader_server.offset
        ):  # a hello after an unseen answer
            self._release_held()
        if self.upgraded is None:
            for reader in (self.reader_client, self.reader_server):
                if reader.held_size > self.limits.line_bytes + 2:
                    self.too_long(reader.held_packet, reader.held_time_ns)
                if reader.skip == 0 and not reader.frames and not (reader.side == SERVER and self._may_go_on()):
                    reader.flush(self)
        if self.building is not None:
            imap_client.register(self, self.building)
            self.building = None
        for pending in list(self.pending.values()):
            each: Pending | None = pending
            while each is not None:
                tell(self, each, "none", None, end.time_ns)
                each = each.twin
        self.pending.clear()

    def resume(self, layer: str) -> None:
        """The bytes of the new layer (`deflate`: inflated ones) are IMAP again and come through `feed` from now on."""
        self.upgraded = None
        self._layer = layer
        self._layer_start = self.facts_.tagged + self.facts_.untagged
        for reader in (self.reader_client, self.reader_server):
            reader.resume()

    def broken_upgrade(self, layer: str, packet: int, offset: int, side: int = SERVER) -> None:
        """The bytes after an accepted COMPRESS are no deflate stream (`side` says whose)."""
        facts = self.facts_
        name = SIDES[side]
        known = facts.compress_broken
        facts.compress_broken = "both" if known not in ("", name) else name
        facts.compress = "broken"
        self.note(f"no-{layer}-after-compress", side, packet, offset, "")

    @property
    def facts(self) -> ImapFacts:
        """What was verified and what is broken, as of now."""
        facts = self.facts_
        facts.state = STATE_NAMES.get(self.state, "unknown")
        client, server = self.reader_client, self.reader_server
        facts.bytes_client, facts.bytes_server = client.read_bytes, server.read_bytes
        facts.lines_client, facts.lines_server = client.lines, server.lines
        facts.literal_open = bool(server.skip) and not server.frames
        facts.server_pending = self._server_line_is_hopeless()
        facts.auth_open = self.exchange is not None
        facts.sasl_layer = client.frames or server.frames
        facts.sasl_frames = client.framed + server.framed
        facts.inflated = self._layer == "deflate" and facts.tagged + facts.untagged > self._layer_start
        return facts

    @property
    def foreign(self) -> Opening | None:
        """The first bytes from where the dialogue stopped being IMAP, for the sniffer; None while it did not."""
        if self._foreign is not None:
            return self._foreign.opening(self.sides_seen, self._layer)
        if not self._server_line_is_hopeless():
            return None
        return unfinished((self.reader_client, self.reader_server), self.sides_seen, self._layer)

    # ---------------------------------------------------------------- what the readers call

    def too_long(self, packet: int, time_ns: int) -> None:
        """A line was longer than the limit; its head was told."""
        self.limit("imap-line-too-long", packet, time_ns)

    def takes_quiet_lines(self) -> bool:
        """Whether lines about messages may stand here, and only their number matters."""
        return self.state in _MAILBOX_STATES and self.tally.reply is None and not self.reader_server.lost

    def quiet_lines(self, data: bytes, start: int, end: int, exists: bytes | None) -> int:
        """Counts lines that tell nothing else (imap_lines.QUIET_LINES); how many they are."""
        count = data.count(b"\n", start, end)
        self.facts_.untagged += count
        tally = self.tally
        fetched = data.count(b" FETCH (", start, end)
        if fetched:
            tally.fetched += fetched
            tally.touched = True
        if exists is not None:
            tally.exists = int(exists)
        return count

    def literal_done(self, side: int, head: bytes) -> None:
        """The last byte of a literal was read; `head` holds as much of it as was asked for."""
        self.facts_.literals += 1
        if side == SERVER:
            imap_server.literal_done(self, head)
        elif self.building is not None:
            self.building.parts = (*self.building.parts, head)

    def frame_lies(self, side: int, packet: int, offset: int) -> None:
        """A buffer of a SASL security layer announces a size that none has."""
        if self.certain_server and self.certain_client:
            self.note("sasl-layer-lies", side, packet, offset, "")

    # ---------------------------------------------------------------- shared by both sides

    @property
    def stopped_being_imap(self) -> bool:
        """A line that no IMAP server sends was seen."""
        return self._foreign is not None

    def note(self, code: str, side: int, packet: int, offset: int, text: str) -> None:
        """Adds a piece of evidence, as long as few of its code are kept and the record has room."""
        count = self._counts.get(code, 0) + 1
        self._counts[code] = count
        evidence = self.facts_.evidence
        if count <= EVIDENCE_EACH and len(evidence) < self.limits.evidence:
            evidence.append(Evidence(code, SIDES[side], packet, offset, text))
            self.facts_.completed_before.append(self.facts_.completed)

    def broken(self, *names: str) -> None:
        """Counts what is broken unless commands that the capture lacks explain it; call it before `note`."""
        offset, unsure = self.reader_client.offset, self._unsure
        if unsure is None or unsure.client_offset != offset:
            unsure = self._unsure = Unsure(offset, {}, len(self.facts_.evidence), self._foreign is None)
        for name in names:
            setattr(self.facts_, name, getattr(self.facts_, name) + 1)
            unsure.counts[name] = unsure.counts.get(name, 0) + 1

    def take_back(self) -> None:
        """The client's next bytes are missing: what looked broken since its last ones may have been in order."""
        unsure = self._unsure
        if unsure is not None and unsure.client_offset == self.reader_client.offset:
            self._forget(unsure)
        self._unsure = None
        self.early.clear()

    def _forget(self, unsure: Unsure) -> None:
        facts = self.facts_
        for name, count in unsure.counts.items():
            setattr(facts, name, getattr(facts, name) - count)
        for evidence in facts.evidence[unsure.evidence :]:
            self._counts[evidence.code] -= 1
        del facts.evidence[unsure.evidence :], facts.completed_before[unsure.evidence :]
        if unsure.was_imap and self._foreign is not None:
            self._foreign = None
            self.certain_server, self.reader_server.lost = False, True

    def keep_early(self, tag: bytes, early: Early) -> None:
        """A tagged answer whose tag was not sent: the command may stand behind it in the capture."""
        if len(self.early) >= EARLY_KEPT:
            del self.early[next(iter(self.early))]
        self.early[tag] = early

    def answered_early(self, pending: Pending) -> None:
        """The command of such an answer came after all: the capture does not hold the two sides in order."""
        early = self.early.pop(pending.tag)
        if not 0 <= pending.time_ns - early.time_ns <= EARLY_NS:
            return
        unsure, self._unsure = self._unsure, None
        if unsure is not None and unsure.counts.get("unmatched"):
            self._forget(unsure)
            self.facts_.unmatched += unsure.counts["unmatched"] - 1  # the others wait for their commands
        elif self.facts_.unmatched:
            self.facts_.unmatched -= 1
        self.certain_state = False
        if self.certain_server:  # else the new layer of an upgrade has begun, and its first bytes are lost
            imap_server.complete(self, pending, early.reply, early.packet, early.time_ns, early.offset)

    def anomaly(self, name: str, packet: int, time_ns: int) -> None:
        """Tells an oddity of the wire, the first ones of each name for each flow."""
        count = self._counts.get(name, 0) + 1
        self._counts[name] = count
        if count <= self.limits.anomalies:
            self.events.append(
                (time_ns, packet, Anomaly(type="applayer", event=name, layer="proto_parser", app_proto="imap"))
            )

    def limit(self, name: str, packet: int, time_ns: int) -> None:
        """A limit was hit: an anomaly, and its name in the session record."""
        if name not in self.facts_.limits:
            self.facts_.limits = [*self.facts_.limits, name]
        self.anomaly(name, packet, time_ns)

    def start_foreign(self, side: int, line: bytes) -> None:
        """The dialogue stops being IMAP with this line: keep what follows for the sniffer."""
        if self._foreign is None:
            self._foreign = ForeignBytes((self.reader_client, self.reader_server), side, line, self.limits.sniff_turns)

    def upgrade(self, layer: str, packet: int, time_ns: int) -> None:
        """The next byte of either side belongs to the new layer."""
        self.upgraded = Upgraded(layer, time_ns, packet)
        for reader in (self.reader_client, self.reader_server):
            reader.halt()

    # ---------------------------------------------------------------- inside

    def _reader(self, side: int) -> LineReader:
        return self.reader_server if side == SERVER else self.reader_client

    def _stopped(self, chunk: StreamChunk, position: int) -> StreamChunk | None:
        """The reader stopped inside the chunk: an upgrade began, or the client must wait for one."""
        rest = chunk.tail(position) if position < len(chunk.data) else None
        if self.upgraded is None:  # STARTTLS or COMPRESS was asked: what stands behind it waits for the answer
            self._reader(chunk.side).stop = False
            return None if rest is None else self._hold_for_upgrade(rest)
        return rest

    def _hold_for_upgrade(self, chunk: StreamChunk) -> StreamChunk | None:
        """Client bytes after STARTTLS or COMPRESS, before the answer: an early hello, or commands injected."""
        self._held.append(chunk)
        self._held_bytes += len(chunk.data)
        if self.sides_seen == "client" and len(self._held) == 1 and chunk.data[:1] == b"\x16":
            self.answer_upgrade(True, chunk.packet, chunk.time_ns)  # the answer is not in the capture, the hello is
        elif self._held_bytes >= HELD_BYTES:
            self._release_held()
        return None

    def answer_upgrade(self, accepted: bool, packet: int, time_ns: int) -> None:
        """The server answered STARTTLS or COMPRESS: held client bytes go to the new layer, or are read as commands."""
        asked = self.upgrade_asked
        if asked is None:
            return
        layer = "tls" if asked.shape.name == "STARTTLS" else "deflate"
        held = self._held
        if accepted and layer == "tls" and held and held[0].data[:1] != b"\x16":
            self._release_held()  # no hello: commands that an attacker hopes to see run inside TLS
            held = []
        elif not accepted:
            self._release_held()
            held = []
        self.upgrade_asked = None
        if accepted:
            self.carry, self._held = held, []
            self.upgrade(layer, packet, time_ns)

    def _release_held(self) -> None:
        held, self._held, self._held_bytes = self._held, [], 0
        self.injecting, self.upgrade_asked = self.upgrade_asked, None
        for chunk in held:
            self.reader_client.feed(chunk, self)
            if self._foreign is not None:
                self._foreign.add_late(chunk.data)
        self.injecting = None

    def _may_go_on(self) -> bool:
        """The server's unfinished last line may be the beginning of a legal one: nothing is to be told of it."""
        held = bytes(self.reader_server.held[:2048])
        if held[:1] in (b"*", b"+", b"\r", b"") and not is_binary(held[:512]):
            return True
        tag, blank, _ = held.partition(b" ")
        return tag in self.pending if blank else any(each.startswith(tag) for each in self.pending)

    def _server_line_is_hopeless(self) -> bool:
        """The unfinished line of the server cannot become one of IMAP: no text, where every byte was seen."""
        reader = self.reader_server
        if not reader.held_size or reader.lost or reader.skip or not (self.certain_server and self.certain_client):
            return False
        return is_binary(bytes(reader.held[:512]))
