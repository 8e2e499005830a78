"""The flow table: columns for every conversation, ordered bytes for the selected ones, ends by packet time.

Each batch goes: find rows (index) > split reused 5-tuples > select by content > assemble > count > expire. All of
it works on whole columns; Python looks at single flows only where they are odd, selected or over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from imapids import kernels
from imapids.config import FlowLimits
from imapids.flows.assembly import Assembler
from imapids.flows.beginning import FlowBeginner
from imapids.flows.columns import COUNTED, PEEKED, FlowColumns
from imapids.flows.counting import count_batch
from imapids.flows.ended import EndedFlowsGatherer
from imapids.flows.ending import FlowEnder
from imapids.flows.greetings import find_dialogues
from imapids.flows.grouping import Groups, Keyed, SegmentGrouper
from imapids.flows.index import FlowIndex, key_words
from imapids.flows.joining import VlanJoiner
from imapids.flows.naming import Directions, FlowNamer
from imapids.flows.reuse import TICK_NS, Cut, ReuseSplitter, lingering
from imapids.records.flows import EndedFlows, EndedRows
from imapids.records.packets import I32, I64, CaptureSource
from imapids.records.segments import EncapsulationTable, IcmpError, SegmentBatch
from imapids.records.streams import FlowAccount, FlowUpdate

_LINGERING_SHARE = 8
"""Part of the table that conversations may fill which are over and wait for strays."""
_MINUTE_NS = 60 * 10**9
_DEAD_SHARE = 4
"""Rows that are over leave when they are this part of all that are allowed, at the latest: where the same 5-tuples
begin again and again, no new key would ever ask for room."""


class FlowTable:
    """Follows all conversations of a run."""

    def __init__(self, limits: FlowLimits, encapsulations: EncapsulationTable, *, watch_tcp: Sequence[int] = (143,),
                 watch_udp: Sequence[int] = (143,), watch_all: bool = False, tell_ends: bool = False,
                 tell_minutes: bool = False,
                 peek_tcp: Sequence[int] = (), peek_bytes: int = 1_024, directions: Directions | None = None,
                 late: bool = False) -> None:
        """
        Args:
            watch_tcp: server ports whose flows are selected; `watch_all` selects every flow.
            peek_tcp: server ports of which the first bytes are delivered, where anybody spoke: each side's segments
                until it has delivered `peek_bytes`; later ones are only counted.
            tell_ends: keep the columns of ended flows for `take_ended` (of those that EndedFlows tells of).
            directions: names the direction of a flow from (client hi, lo, server hi, lo).
            late: leave it to who reads the updates to make pieces (see FlowUpdate.late).
        """
        self.limits = limits
        self.account = FlowAccount(limits={})
        self.columns = FlowColumns(min(4096, limits.flows), limits.flows)
        self.clock_ns = -(1 << 62)
        self._peek_bytes = peek_bytes if len(peek_tcp) else 0
        self._beginner = FlowBeginner(self.columns, watch_tcp, watch_udp, peek_tcp if self._peek_bytes else (),
                                      watch_all=watch_all, tell_tools=tell_ends)
        self._index = FlowIndex()
        self._grouper = SegmentGrouper()
        self._sources: list[CaptureSource] = []
        self._namer = FlowNamer(self.columns, encapsulations, self._sources, directions)
        self._assembler = Assembler(
            limits, self.columns, self._namer.open, self._namer.services, self._peek_bytes, late)
        self._splitter = ReuseSplitter(limits, self.columns)
        self._joiner = VlanJoiner(self.columns, encapsulations, self._index)
        self._minutes: list[tuple[int, int]] = []
        self._minute = -(1 << 62) if tell_minutes else 1 << 62
        """The newest minute of the clock that was told of."""
        self._doubted_ns: int | None = None
        """A stamp far in the future that no other packet has confirmed yet."""
        self.last_number = 0
        self._rest: Iterator[list[FlowUpdate]] = iter(())
        self._ended = EndedFlowsGatherer(self.columns, self._namer) if tell_ends else None
        self._ender = FlowEnder(limits, self.columns, self._assembler, self._namer, self.account, self._ended)

    def take_ended(self) -> EndedFlows | None:
        """The conversations that ended since the last call (where `tell_ends` asked for them)."""
        return self._ended.take() if self._ended is not None else None

    def take_minutes(self) -> list[tuple[int, int]]:
        """Minutes of the clock that began since the last call: its time, and the packet that showed it."""
        minutes, self._minutes = self._minutes, []
        return minutes

    def restore_ended(self, rows: EndedRows, source: CaptureSource) -> EndedFlows:
        """Ended conversations that the table of another process kept.

        Args:
            rows: their `path` column already has the numbers of this table's encapsulations.
            source: where the packets came from, the same for all.
        """
        assert self._ended is not None
        while len(self._sources) <= source.index:
            self._sources.append(source)
        return self._ended.ended(rows)

    # ---- one batch ----------------------------------------------------------------------------------------------

    def keyed(self, batch: SegmentBatch) -> Keyed:
        """What of `feed` depends on nothing but the batch. Another thread may do it while an earlier batch is fed."""
        return self._grouper.keyed(batch, self._index)

    def feed(self, batch: SegmentBatch, icmp_errors: Sequence[IcmpError] = (),
             keyed: Keyed | None = None) -> list[FlowUpdate]:
        """What a batch brought for the selected flows: bytes, gaps, ends.

        Args:
            keyed: what `keyed` made of this very batch, where it is known already.
        """
        if not len(batch):
            self._note_icmp(icmp_errors)
            return []
        earlier = [update for part in self._rest for update in part]
        if self._ender.dead > self.limits.flows // _DEAD_SHARE:
            self._rebuild(self.columns.capacity)
        self._note_source(batch.source)
        self.last_number = int(batch.number[-1])
        keyed = keyed or self.keyed(batch)
        clock, alive = self._advance_clock(batch.time_ns, keyed.steps)
        if self.clock_ns // _MINUTE_NS > self._minute:
            self._note_minutes(clock, batch.number)
        groups = self._group(batch, keyed, alive)
        cuts, strays = self._splitter.cuts(batch, groups, clock, alive, self._beginner.begins_watched)
        if cuts:
            groups = self._split(batch, groups, alive, cuts)
        self._note_icmp(icmp_errors)  # now that the flows of this batch have rows
        updates = self._follow(batch, groups, alive, strays)
        for row, positions, reason, over_ns in cuts:
            if reason != "over":
                # any packet may have shown that the time was over: not the next one of this 5-tuple only
                shown = int(np.searchsorted(clock, over_ns)) if reason == "idle" else int(positions[0])
                self._ender.over(np.array([row], np.int32), reason, np.array([over_ns], np.int64),
                                 batch.number[shown : shown + 1])
        self._ender.idle(self.clock_ns, lambda due: batch.number.take(_at_or_behind(clock, due)))
        self._ender.limit_streams((self.clock_ns, self.last_number))
        return earlier + updates + self._first_ends()

    def _follow(self, batch: SegmentBatch, groups: Groups, alive: I64, strays: list[int]) -> list[FlowUpdate]:
        """Counts the segments, and joins the bytes of those of selected flows; strays are left out."""
        if strays:
            keep = np.ones(len(batch), bool)
            keep[strays] = False
            if not keep.any():
                return []
            rows = groups.rows.take(groups.local)[keep]
            batch, groups, alive = batch.select(keep), Groups.of_rows(rows, groups.end[keep]), alive[keep]
        wanted = self._select(batch, groups)
        count_batch(self.columns, batch, groups, alive)
        return self._assembler.feed(batch, groups, wanted) if wanted.size else []

    def rest(self) -> Iterator[list[FlowUpdate]]:
        """More ends, where `feed` or `tick` brought more than some thousands. What is not asked for, `feed` tells."""
        return self._rest

    def _first_ends(self) -> list[FlowUpdate]:
        self._rest = self._ender.tell()
        return next(self._rest, [])

    def _note_source(self, source: CaptureSource) -> None:
        while len(self._sources) <= source.index:
            self._sources.append(source)
        self._sources[source.index] = source

    def _group(self, batch: SegmentBatch, keyed: Keyed, alive: I64) -> Groups:
        """The segments by conversation, each with its row; rows of new conversations are made."""
        entry = self._rows(batch, keyed, alive)
        rows = self.columns.target[entry] if self._joiner.active() else entry
        groups = Groups(rows, keyed.first, keyed.local, keyed.end, keyed.cells)
        return groups if rows is entry or (rows == entry).all() else groups.merged()

    def _select(self, batch: SegmentBatch, groups: Groups) -> I64:
        """Positions of the segments whose bytes are delivered; flows whose first bytes are those of IMAP join them."""
        columns, rows = self.columns, groups.rows
        found, greeted = find_dialogues(columns, batch, groups)
        if found.size:
            self.account.selected += len(found)
            if self._peek_bytes:
                for row in found.tolist():
                    self._assembler.forget(row)
        if kernels.COMPILED:
            wanted = np.empty(len(batch), np.int64)
            wanted = wanted[: kernels.compiled.wanted_segments(
                columns, rows, groups.local, groups.end, self._peek_bytes, np.empty(2 * len(rows), np.uint8), wanted)]
        else:
            selected = columns.selected[rows]
            chosen = np.repeat(selected != COUNTED, 2)
            if self._peek_bytes:
                peeked = np.flatnonzero(selected == PEEKED)
                chosen.reshape(-1, 2)[peeked] = columns.delivered[rows[peeked]] < self._peek_bytes
            wanted = np.flatnonzero(chosen.take(2 * groups.local + groups.end))
        if greeted is not None:  # what came before the greeting is only counted
            wanted = wanted[wanted >= greeted.take(groups.local.take(wanted))]
        return wanted

    def _advance_clock(self, time_ns: I64, steps: tuple[int, int]) -> tuple[I64, I64]:
        """The monotonous clock of each packet, and until when it keeps its flow alive.

        One stamp far in the future does not move the clock: the next one has to confirm it. Such a packet keeps its
        own flow alive from its own time on, so that a flow behind a real pause is not torn apart.

        Args:
            steps: the least and the largest step from one stamp to the next.
        """
        jump = self.limits.forward_jump_ns
        if self.clock_ns < -(1 << 61):
            self.clock_ns = int(time_ns[0])
        first = int(time_ns[0]) - self.clock_ns
        if min(first, steps[0]) >= 0 and max(first, steps[1]) <= jump:  # in order, as nearly always
            self.clock_ns = int(time_ns[-1])
            return time_ns, time_ns
        clock: I64 = np.maximum.accumulate(np.maximum(time_ns, self.clock_ns))
        if int(clock[0]) - self.clock_ns > jump or (len(clock) > 1 and int(np.diff(clock).max()) > jump):
            now, doubted, ticks = self.clock_ns, self._doubted_ns, []
            for stamp in time_ns.tolist():  # rare: a capture with a pause, or an absurd stamp
                if stamp <= now + jump:
                    now = max(now, stamp)
                elif doubted is not None and abs(stamp - doubted) <= jump:
                    now, doubted = stamp, None
                else:
                    doubted = stamp
                ticks.append(now)
            clock = np.array(ticks, np.int64)
            self._doubted_ns = doubted
        self.clock_ns = int(clock[-1])
        return clock, np.maximum(clock, time_ns)

    def _note_minutes(self, clock: I64, number: I64) -> None:
        """Remembers the first packet of each minute of the clock."""
        newest = int(clock[-1]) // _MINUTE_NS
        oldest = max(int(clock[0]) // _MINUTE_NS, self._minute + 1)
        if newest - oldest < len(clock):  # nearly always: looking up minutes costs less than dividing stamps
            first = clock.searchsorted(np.arange(oldest, newest + 1) * _MINUTE_NS)
            first = first[np.diff(first, prepend=-1) > 0]  # minutes without a packet; `np.unique` imports masked arrays
        else:
            first = np.flatnonzero(np.diff(clock // _MINUTE_NS, prepend=self._minute) > 0)
        self._minutes += zip(clock[first].tolist(), number[first].tolist(), strict=True)
        self._minute = newest

    def _rows(self, batch: SegmentBatch, keyed: Keyed, alive: I64) -> I32:
        """The row that the index has for each group; rows of new conversations are made."""
        columns, index = self.columns, self._index
        keys, hashes, first, end = keyed.keys, keyed.hashes, keyed.first, keyed.end
        entry, slot = index.find(keys, columns.keys, hashes)
        missing = np.flatnonzero(entry < 0)
        if not missing.size:
            return entry
        if self._make_room(int(missing.size)):  # the index was made anew
            entry, slot = index.find(keys, columns.keys, hashes)
            missing = np.flatnonzero(entry < 0)
            if columns.room() < missing.size:  # rows of this batch had to go
                columns.grow(columns.capacity + int(missing.size))
        made = columns.take(len(missing))
        entry[missing] = made
        keys, hashes, first = keys.take(missing, axis=0), hashes.take(missing), first.take(missing)
        index.insert(made, keys, hashes, slot.take(missing), columns.keys, columns.capacity)
        self.account.selected += self._beginner.begin(batch, first, made, end, alive)
        self.account.flows += len(made)
        if self._joiner.active():
            self.account.flows -= self._joiner.join(entry, keyed.local, end, made, first, keys, hashes)
        return entry

    def _split(self, batch: SegmentBatch, groups: Groups, alive: I64, cuts: list[Cut]) -> Groups:
        """Gives conversations that begin on a known 5-tuple rows of their own; fills in the old rows of the cuts."""
        columns = self.columns
        rows = groups.rows.take(groups.local)
        if columns.room() < len(cuts):
            columns.grow(columns.capacity + max(len(cuts), 1024))
        first = np.array([positions[0] for _, positions, _, _ in cuts], np.int64)
        made = columns.take(len(cuts))
        words, _ = key_words(batch, first)
        columns.keys[made] = words.T
        self.account.selected += self._beginner.begin(batch, first, made, groups.end, alive)
        self.account.flows += len(cuts)
        for number, ((old, positions, reason, over_ns), new) in enumerate(zip(cuts, made.tolist(), strict=True)):
            if old < 0:  # a cut of the row that the cut before made
                cuts[number] = (int(made[number - 1]), positions, reason, over_ns)
            following = cuts[number + 1] if number + 1 < len(cuts) else None
            again = len(following[1]) if following is not None and following[0] < 0 else 0
            rows[positions[: len(positions) - again]] = new  # up to the next cut of the same 5-tuple
            self._index.replace(columns.keys[new : new + 1], columns.keys, new)
        return Groups.of_rows(rows, groups.end)

    # ---- ends ---------------------------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> list[FlowUpdate]:
        """Time goes on although no packet comes: ends the flows whose time is over.

        Only a live link needs it: in a capture, the next packet (of any flow) tells the time.

        Args:
            now_ns: on the clock of packets. Before the first packet, and behind the newest, it changes nothing.
        """
        if self.clock_ns < -(1 << 61) or now_ns <= self.clock_ns:
            return []
        self.clock_ns = min(now_ns, self.clock_ns + self.limits.forward_jump_ns)
        if self.clock_ns // _MINUTE_NS > self._minute:
            self._note_minutes(np.array([self.clock_ns], np.int64), np.array([self.last_number], np.int64))
        self._ender.idle(self.clock_ns, lambda due: np.full(len(due), self.last_number, np.int64))
        return self._first_ends()

    def clock_stepped(self, by_ns: int) -> None:
        """The clock that stamps packets was set by so much: no conversation is older or younger for it."""
        self.clock_ns += by_ns
        self._minute += by_ns // _MINUTE_NS
        self._ender.clock_stepped(by_ns, self.clock_ns)
        self._doubted_ns = None

    def finish(self) -> Iterator[list[FlowUpdate]]:
        """The capture is over: all flows end, some thousands at a time, the oldest first."""
        yield from self._rest
        yield from self._ender.all((self.clock_ns, self.last_number))

    # ---- room ---------------------------------------------------------------------------------------------------

    def _make_room(self, count: int) -> bool:
        """Makes sure that `count` rows can be taken; true if the index was made anew."""
        columns, ender = self.columns, self._ender
        alive = columns.used - ender.dead - sum(len(rows) for rows in columns.free)
        wanted = alive + count
        if columns.room() >= count and 2 * (columns.used + count) <= len(self._index.slots) and (
                wanted <= self.limits.flows):
            return False
        if wanted > self.limits.flows:
            wanted -= ender.evict(wanted - self.limits.flows, (self.clock_ns, self.last_number))
        capacity = columns.capacity
        while capacity < min(2 * wanted, self.limits.flows):
            capacity *= 4
        self._rebuild(min(capacity, max(columns.capacity, self.limits.flows)))
        if columns.room() < count:
            columns.grow(columns.capacity + count)
        return True

    def _rebuild(self, capacity: int) -> None:
        """Frees the rows that are over and makes the index anew."""
        columns = self.columns
        used = columns.used
        live = columns.live[:used] & columns.live[columns.target[:used]]
        self._joiner.forget(live)
        late = lingering(columns, self.clock_ns, self.limits.flows // _LINGERING_SHARE)
        rows = np.flatnonzero(late)
        late[rows] = self._index.find(columns.keys[rows], columns.keys)[0] == rows  # whose 5-tuple is not used again
        columns.keep(live | late)
        self._ender.dead = int(np.count_nonzero(late))
        if capacity > columns.capacity:
            columns.grow(capacity)
        slots = 1 << (4 * columns.capacity - 1).bit_length()
        self._index.rebuild(np.flatnonzero(live | late).astype(np.int32), slots)

    def _note_icmp(self, errors: Sequence[IcmpError]) -> None:
        """Marks the flows that ICMP errors are about (RFC 792: the packet's first bytes come back with the error)."""
        columns = self.columns
        for error in errors:
            ends = sorted(((error.src, error.src_port), (error.dst, error.dst_port)))
            words = [int.from_bytes(part, "big") for address, _ in ends for part in (address[:8], address[8:])]
            words.append(ends[0][1] << 48 | ends[1][1] << 32 | error.tunnel << 8 | error.protocol)
            entry, _ = self._index.find(np.array([words], np.uint64), columns.keys)
            if entry[0] >= 0:
                row = columns.target[entry[0]]
                columns.unreachable[row] |= error.time_ns >= columns.first_ns[row]


def _at_or_behind(clock: I64, due: I64) -> I64:
    """Positions of the first ticks of an ascending clock that are not before whole ticks of flows; the last if none."""
    base = int(due.min())
    ticks = (int(due.max()) - base) // TICK_NS + 1
    if ticks <= len(due):  # nearly always: many flows, few ticks
        return clock.searchsorted(base + np.arange(ticks) * TICK_NS).clip(max=len(clock) - 1).take(
            (due - base) // TICK_NS)
    return clock.searchsorted(due).clip(max=len(clock) - 1)
