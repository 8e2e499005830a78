"""The packets behind an alert, a session or a rule as a pcapng file, with comments that say what each one shows.

The first reading finds the conversations, the second one copies their packets: byte for byte, with their times and
link types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Protocol

import msgspec

from imapids.capture import open_captures
from imapids.decode import Decoder
from imapids.desk.picking import Picker, Range
from imapids.desk.transcript import Line, Transcript
from imapids.detect import Subject
from imapids.errors import InputError, UsageError
from imapids.output.pcapng import PcapngWriter
from imapids.pipeline import Pipeline
from imapids.records.alerts import Alert
from imapids.records.events import Event, Session
from imapids.records.segments import EncapsulationTable
from imapids.records.streams import Flow, FlowUpdate, StreamChunk, StreamEnd
from imapids.run.local import analyze
from imapids.run.options import RunOptions

FLOWS = 100_000
"""Conversations that one extract follows (a few hundred bytes each)."""
SESSIONS = 65_536
"""Sessions whose evidence is remembered until it is known whether they are wanted."""


OVER_TIME = frozenset({"guessing", "scan", "beacon", "mailbox", "exposure"})
"""Events about many conversations: their alerts are about everything that the subject did in that time."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to extract: one of the three."""

    alert: str = ""
    """Id of an alert: 16 hex digits."""
    flow: int = 0
    """flow_id of a session."""
    rule: str = ""
    """UUID, sid or name of a rule: everything that it fired on."""

    def fits(self, alert: Alert) -> bool:
        """Whether an alert is one of those asked for."""
        if self.alert:
            return alert.id == self.alert
        return bool(self.rule) and self.rule in (alert.rule.id, str(alert.rule.sid), alert.rule.name)

    def __str__(self) -> str:
        return f"alert {self.alert}" if self.alert else f"flow {self.flow}" if self.flow else f"rule {self.rule}"


class Extracted(msgspec.Struct, kw_only=True):
    """What an extract holds."""

    flows: int
    packets: int
    bytes: int
    left_out: int = 0
    """Conversations beyond the limit."""


class StreamSink(Protocol):
    """Takes the streams of a conversation."""

    def transcript(self, flow: Flow, lines: Sequence[Line], left_out: int, gap_at: int) -> None:
        """The dialogue, without secrets."""

    def payload(self, flow: Flow, side: int, data: bytes) -> None:
        """More bytes of one side as they are, secrets included."""


def extract(paths: Sequence[str], options: RunOptions, wanted: Wanted, write: Callable[[bytes], object], *,
            application: str, streams: StreamSink | None = None, unredacted: bool = False,
            stop: Callable[[], bool] | None = None) -> Extracted:
    """Writes the packets of what is wanted, in the order of the captures.

    Args:
        write: takes the bytes of the pcapng file.
        streams: gets the dialogue of each conversation besides; with `unredacted` its bytes instead.

    Raises InputError where the captures hold nothing of the kind, UsageError for standard input (it is read twice).
    """
    if "-" in paths:
        raise UsageError("extract reads the captures twice: write standard input to a file first.")
    chooser = Chooser(wanted)
    analyze(paths, msgspec.structs.replace(options, events=frozenset({"session", "alert"})), chooser,
            stop=stop, watcher=chooser.matched)
    flows = chooser.choice()
    writer = PcapngWriter(write, application=application, comment=f"Packets of {wanted}, {len(flows)} conversations")
    found = _copy(paths, options, Picker(flows, EncapsulationTable(), chooser.ranges), chooser, writer, stop)
    found.flows, found.left_out = len(flows), chooser.left_out
    if streams is not None:
        _copy_streams(paths, options, chooser, streams, unredacted, stop)
    return found


class Chooser:
    """A sink that finds the conversations that are wanted, and what to say about their packets."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.flows: dict[int, Flow] = {}
        self.ranges: set[Range] = set()
        """What events over time are about: more conversations than they can name."""
        self.sessions: dict[int, Session] = {}
        self.comments: dict[tuple[str, int], list[str]] = {}
        """What to say about packets, by capture and frame number."""
        self.left_out = 0
        self._alerts: dict[int, list[Alert]] = {}

    def write(self, items: Sequence[Event | Alert]) -> None:
        for item in items:
            if isinstance(item, Alert):
                self._alert(item)
            elif isinstance(item.body, Session) and item.flow is not None:
                if item.flow.flow_id == self.wanted.flow:
                    self._add(item.flow)
                if len(self.sessions) < SESSIONS or item.flow.flow_id in self.flows:
                    self.sessions[item.flow.flow_id] = item.body

    def close(self) -> None:
        """Nothing is open."""

    def matched(self, alert: Alert, subject: Subject, event: Event, flows: Sequence[Flow]) -> None:
        """A rule held: the conversations that it held on belong to the alert, not just those that its lines name."""
        if not self.wanted.fits(alert):
            return
        for flow in flows:
            self._add(flow)
        if event.flow is not None:
            self._add(event.flow)
        if event.kind in OVER_TIME and event.flow is not None:
            self.ranges.add(_range_of(subject, event, event.flow))

    def _alert(self, alert: Alert) -> None:
        if alert.flow is None or alert.state != "new":
            return
        if self.wanted.fits(alert):
            self._add(alert.flow)
        if self.wanted.fits(alert) or alert.flow.flow_id == self.wanted.flow:
            rule = alert.rule
            self._note(alert.flow, alert.packet,
                       f"imapids alert {alert.id}: {rule.level}: {rule.title} (sid {rule.sid})")

    def _add(self, flow: Flow) -> None:
        if flow.flow_id in self.flows:
            return
        if len(self.flows) >= FLOWS:
            self.left_out += 1
            return
        self.flows[flow.flow_id] = flow

    def _note(self, flow: Flow, packet: int, text: str) -> None:
        notes = self.comments.setdefault((flow.source, packet), [])
        if text not in notes:
            notes.append(text)

    def choice(self) -> list[Flow]:
        """The conversations to extract; the comments are complete then."""
        if not self.flows:
            raise InputError(f"no conversation of {self.wanted} in these captures. The ids stand in the alert and "
                             "session lines of imapids analyze with the same options.")
        for flow_id, flow in self.flows.items():
            session = self.sessions.get(flow_id)
            for evidence in session.evidence if session is not None else ():
                if evidence.packet:
                    self._note(flow, evidence.packet, f"imapids evidence {evidence.code} ({evidence.side}, offset "
                                                      f"{evidence.offset}): {evidence.text}")
        return list(self.flows.values())


def _range_of(subject: Subject, event: Event, flow: Flow) -> Range:
    """The packets that an event over time is about: by its alert's subject, from its first conversation on."""
    until = max(event.known_ns, event.time_ns, flow.end_ns)
    client, server = Range.end(flow.client), Range.end(flow.server)
    match subject[0]:
        case "source":
            return Range(flow.start_ns, until, one=client)
        case "server":
            return Range(flow.start_ns, until, one=server, port=flow.server_port)
        case "user":
            return Range(flow.start_ns, until, one=server, port=flow.server_port)
    return Range(flow.start_ns, until, one=client, other=server, port=flow.server_port)


def _copy(paths: Sequence[str], options: RunOptions, picker: Picker, chooser: Chooser, writer: PcapngWriter,
          stop: Callable[[], bool] | None) -> Extracted:
    """The second reading: packets of the conversations, as they stand in the captures."""
    found = Extracted(flows=0, packets=0, bytes=0)
    decoder = Decoder(options.limits.decode, picker.encapsulations, plain_udp_ports=options.watch_udp)
    with open_captures(paths, limits=options.limits.capture, stop=stop) as reader:
        for batch in reader:
            names = batch.source.interfaces
            for position in picker.pick(batch, decoder.feed(batch)):
                start, interface = int(batch.offset[position]), int(batch.interface[position])
                data = batch.buffer[start : start + int(batch.captured[position])].tobytes()
                known = interface < len(names) and names[interface]
                name = names[interface] if known else PurePath(batch.source.name).name  # folders are nobody's business
                writer.packet(data, int(batch.time_ns[position]), int(batch.original[position]),
                              int(batch.link_type[position]), name,
                              chooser.comments.get((batch.source.name, int(batch.number[position])), ()))
                found.packets += 1
                found.bytes += len(data)
    return found


def _copy_streams(paths: Sequence[str], options: RunOptions, chooser: Chooser, sink: StreamSink, unredacted: bool,
                  stop: Callable[[], bool] | None) -> None:
    """The third reading: what the two sides said."""
    transcripts: dict[int, Transcript] = {}

    def show(update: FlowUpdate) -> None:
        flow_id = update.flow.flow_id
        if flow_id not in chooser.flows:
            return
        if unredacted:
            for piece in update.pieces:
                if isinstance(piece, StreamChunk):
                    sink.payload(update.flow, piece.side, piece.data)
        elif flow_id in chooser.sessions:
            transcript = transcripts.get(flow_id)
            if transcript is None:
                transcript = transcripts[flow_id] = Transcript(chooser.sessions[flow_id], options.limits.dialogue)
            transcript.feed(update.pieces)
            if isinstance(update.pieces[-1], StreamEnd):
                sink.transcript(update.flow, transcript.lines, transcript.left_out, transcript.gap_at)
                del transcripts[flow_id]

    pipeline = Pipeline(options.limits, kinds=("session",), home_nets=options.home_nets, watch_tcp=options.watch_tcp,
                        watch_udp=options.watch_udp, hosts=options.hosts, since_ns=options.since_ns,
                        until_ns=options.until_ns, on_update=show)
    with open_captures(paths, limits=options.limits.capture, stop=stop) as reader:
        for batch in reader:
            for _ in pipeline.feed(batch):
                pass
    for _ in pipeline.finish():
        pass
