"""What the flow table makes of written segments, conversation by conversation, however they are cut into batches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from helpers.segments import Segment, batch_of

from imapids.config import FlowLimits
from imapids.flows import FlowTable
from imapids.records.segments import EncapsulationTable, IcmpError
from imapids.records.streams import Flow, FlowUpdate, StreamChunk, StreamConflict, StreamEnd, StreamGap


class Outcome:
    """What a table delivered for one flow."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.data = {0: b"", 1: b""}
        self.where: list[tuple[int, int, int, int]] = []
        self.gaps: list[tuple[int, int, int, str]] = []
        self.conflicts: list[tuple[int, int, bytes, bytes]] = []
        self.end: StreamEnd | None = None

    def add(self, piece: object) -> None:
        if isinstance(piece, StreamChunk):
            assert piece.offset == len(self.data[piece.side]) + sum(g[2] for g in self.gaps if g[0] == piece.side)
            self.data[piece.side] += piece.data
            self.where += [(piece.side, piece.offset + i, *piece.locate(i)) for i in range(len(piece.data))]
        elif isinstance(piece, StreamGap):
            self.gaps.append((piece.side, piece.offset, piece.length, piece.reason))
        elif isinstance(piece, StreamConflict):
            self.conflicts.append((piece.side, piece.offset, piece.first, piece.second))
        elif isinstance(piece, StreamEnd):
            assert self.end is None
            self.end = piece

    def facts(self) -> tuple[object, ...]:
        flow = self.flow
        return (flow, self.data, self.where, self.gaps, self.conflicts, self.end)


def run(segments: Sequence[Segment], cuts: Sequence[int] | None = None, *, limits: FlowLimits | None = None,
        encapsulations: EncapsulationTable | None = None, icmp: IcmpError | None = None) -> list[Outcome]:
    """What a table makes of segments, cut into batches before the positions given (pieces are made late then)."""
    table = FlowTable(limits or FlowLimits(), encapsulations or EncapsulationTable(), late=cuts is not None)
    found: dict[int, Outcome] = {}
    ordered: list[Outcome] = []

    def take(updates: Sequence[FlowUpdate]) -> None:
        for update in updates:
            outcome = found.get(update.key)
            if outcome is None:
                outcome = found[update.key] = Outcome(update.flow)
                ordered.append(outcome)
            update.read_late()
            for piece in update.pieces:
                outcome.add(piece)
                if isinstance(piece, StreamEnd):
                    del found[update.key]

    bounds = [0, *sorted(set(cuts or [])), len(segments)]
    for low, high in pairwise(bounds):
        if low < high:
            take(table.feed(batch_of(segments[low:high], low + 1)))
    if icmp is not None:
        table.feed(batch_of([]), [icmp])
    for updates in table.finish():
        take(updates)
    assert not found, "a conversation never ended"
    return sorted(ordered, key=lambda outcome: (outcome.flow.first_packet, outcome.flow.flow_id))
