"""The flow table: columns for every conversation, ordered bytes for the selected ones, ends by packet time.

Each batch goes: find rows (index) > split reused 5-tuples > select by content > assemble > count > expire. All of
it works on whole columns; Python looks at single flows only where they are odd, selected or over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from imapids.config import FlowLimits
from imapids.flows.assembly import Assembler
from imapids.flows.columns import COUNTED, FOUND, PEEKED, ROLES, WATCHED, FlowColumns
from imapids.flows.ended import EndedFlowsGatherer
from imapids.flows.index import FlowIndex, Keys, canonical_keys
from imapids.flows.joining import VlanJoiner
from imapids.flows.naming import Direction, FlowNamer
from imapids.flows.reuse import TICK_NS, Cut, ReuseSplitter, deadlines
from imapids.protocols.imap_opening import who_speaks
from imapids.protocols.mail_services import MAIL_PORTS
from imapids.protocols.scan_tools import tool_marks
from imapids.records.flows import EndedFlows
from imapids.records.packets import I32, I64, U8, U16, Bool
from imapids.records.segments import ACK, FIN, SYN, TCP, EncapsulationTable, IcmpError, SegmentBatch
from imapids.records.streams import CLIENT, Flow, FlowAccount, FlowUpdate, StreamEnd

_HEAD_BYTES = 128
"""First bytes of a segment that show whether it holds a line of IMAP."""

_TO_MAIL = np.zeros(65_536, bool)
_TO_MAIL[list(MAIL_PORTS)] = True

_ENDS_AT_ONCE = 4_096
"""Flows ended in one go at the end of a capture: their records live until the caller has used them."""


class FlowTable:
    """Follows all conversations of a run."""

    def __init__(self, limits: FlowLimits, encapsulations: EncapsulationTable, *, watch_tcp: Sequence[int] = (143,),
                 watch_udp: Sequence[int] = (143,), watch_all: bool = False, tell_ends: bool = False,
                 peek_tcp: Sequence[int] = (), peek_bytes: int = 1_024, direction: Direction | None = None) -> None:
        """
        Args:
            watch_tcp: server ports whose flows are selected; `watch_all` selects every flow.
            peek_tcp: server ports of which the first bytes are delivered, where anybody spoke: each side's segments
                until it has delivered `peek_bytes`; later ones are only counted.
            tell_ends: keep the columns of ended flows for `take_ended`.
            direction: names the direction of a flow from (client hi, lo, server hi, lo).
        """
        self.limits = limits
        self.account = FlowAccount(limits={})
        self.columns = FlowColumns(min(4096, limits.flows))
        self.clock_ns = -(1 << 62)
        self._watch = np.zeros((2, 65_536), bool)
        self._watch[0, list(watch_tcp)] = True
        self._watch[1, list(watch_udp)] = True
        self._watch |= watch_all
        self._peek = np.zeros(65_536, bool)
        self._peek[list(peek_tcp)] = True
        self._peek_bytes = peek_bytes if len(peek_tcp) else 0
        self._index = FlowIndex()
        self._sources: list[str] = []
        self._namer = FlowNamer(self.columns, encapsulations, self._sources, direction)
        self._assembler = Assembler(limits, self.columns, self._namer.open, self._peek_bytes)
        self._splitter = ReuseSplitter(limits, self.columns)
        self._joiner = VlanJoiner(self.columns, encapsulations, self._index)
        self._local = np.zeros(self.columns.capacity, np.uint16)
        self._swept = -(1 << 62)
        self._doubted_ns: int | None = None
        """A stamp far in the future that no other packet has confirmed yet."""
        self.last_number = 0
        self._dead = 0
        """Rows that are over and not free yet: they leave when the index is made anew."""
        self._evicted: list[FlowUpdate] = []
        self._ended = EndedFlowsGatherer(self.columns, self._namer) if tell_ends else None

    def take_ended(self) -> EndedFlows | None:
        """The conversations of any port that ended since the last call (where `tell_ends` asked for them)."""
        return self._ended.take() if self._ended is not None else None

    # ---- one batch ----------------------------------------------------------------------------------------------

    def feed(self, batch: SegmentBatch, icmp_errors: Sequence[IcmpError] = ()) -> list[FlowUpdate]:
        """What a batch brought for the selected flows: bytes, gaps, ends."""
        if not len(batch):
            self._note_icmp(icmp_errors)
            return []
        while len(self._sources) <= batch.source.index:
            self._sources.append("")
        self._sources[batch.source.index] = batch.source.name
        self.last_number = int(batch.number[-1])
        clock, alive = self._advance_clock(batch.time_ns)
        keys, swapped = canonical_keys(batch)
        end = swapped.view(np.uint8)
        rows = self._rows(batch, keys, end, alive)
        touched, local = self._number(rows)
        cuts = self._splitter.cuts(batch, rows, end, clock, alive, touched, local)
        if cuts:
            rows = self._split(batch, rows, end, alive, keys, cuts)
            touched, local = self._number(rows)
        self._note_icmp(icmp_errors)  # now that the flows of this batch have rows
        before_greeting = self._find_dialogues(batch, rows, end)
        chosen = self._wanted(rows, end)
        if before_greeting is not None:
            chosen &= ~before_greeting
        wanted = np.flatnonzero(chosen)
        self._count(batch, touched, local, end, alive, rows)
        updates = self._assembler.feed(batch, rows, local, end, wanted) if wanted.size else []
        self.columns.heard[touched] = self.columns.packets[touched] > 0
        self.columns.finished[touched] = (self.columns.flags[touched] & FIN) != 0
        for row, positions, reason, over_ns in cuts:
            if reason != "over":
                # any packet may have shown that the time was over: not the next one of this 5-tuple only
                shown = int(np.searchsorted(clock, over_ns)) if reason == "idle" else int(positions[0])
                updates += self._over(np.array([row], np.int32), reason, np.array([over_ns], np.int64),
                                      batch.number[shown : shown + 1])
        updates += self._expire(batch, clock)
        self._limit_streams()
        if self._evicted:
            updates += self._evicted
            self._evicted = []
        return updates

    def _wanted(self, rows: I32, end: U8) -> Bool:
        """Marks the segments whose bytes are delivered."""
        columns = self.columns
        selected = columns.selected[rows]
        chosen: Bool = selected != COUNTED
        if self._peek_bytes:
            peeked = np.flatnonzero(selected == PEEKED)
            chosen[peeked] = columns.delivered[rows[peeked], end[peeked]] < self._peek_bytes
        return chosen

    def _advance_clock(self, time_ns: I64) -> tuple[I64, I64]:
        """The monotonous clock of each packet, and until when it keeps its flow alive.

        One stamp far in the future does not move the clock: the next one has to confirm it. Such a packet keeps its
        own flow alive from its own time on, so that a flow behind a real pause is not torn apart.
        """
        jump = self.limits.forward_jump_ns
        if self.clock_ns < -(1 << 61):
            self.clock_ns = int(time_ns[0])
        steps = np.diff(time_ns, prepend=self.clock_ns)
        if steps.min() >= 0 and steps.max() <= jump:  # in order, as nearly always
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

    def _rows(self, batch: SegmentBatch, keys: Keys, end: U8, alive: I64) -> I32:
        """The row of each segment; rows of new conversations are made."""
        columns, index = self.columns, self._index
        entry, slot = index.find(keys, columns.keys)
        missing = np.flatnonzero(entry < 0)
        if not missing.size:
            return columns.target[entry] if self._joiner.active() else entry
        if self._make_room(int(missing.size)):  # the index was made anew
            entry, slot = index.find(keys, columns.keys)
            missing = np.flatnonzero(entry < 0)
        made_rows, made_at = [], []
        while missing.size:
            winners, losers, at = index.claim(missing, slot)
            made = columns.take(len(winners))
            columns.keys[made] = keys[winners]
            index.store(at, made)
            entry[winners] = made
            made_rows.append(made)
            made_at.append(winners)
            if losers.size:
                entry[losers], slot[losers] = index.find(keys[losers], columns.keys)
            missing = losers[entry[losers] < 0]
        new, first = np.concatenate(made_rows), np.concatenate(made_at)
        self._begin(batch, first, new, end, alive)
        self.account.flows += len(new)
        if self._joiner.active():
            order = np.argsort(first)
            self.account.flows -= self._joiner.join(entry, end, new[order], first[order])
            return columns.target[entry]
        return entry

    def _begin(self, batch: SegmentBatch, first: I64, rows: I32, end: U8, alive: I64) -> None:
        """First facts of new rows: identity, roles, selection."""
        columns = self.columns
        columns.protocol[rows] = batch.protocol[first]
        columns.path[rows] = batch.tunnel[first]
        columns.source[rows] = batch.source.index
        columns.first_ns[rows] = columns.last_ns[rows] = batch.time_ns[first]
        columns.last_clock[rows] = alive[first]
        columns.first_number[rows] = batch.number[first]
        columns.first_seq[rows] = batch.seq[first]
        flags, tcp = batch.flags[first], batch.protocol[first] == TCP
        kind = (~tcp).astype(np.int64)
        src_port, dst_port = batch.src_port[first], batch.dst_port[first]
        to_watched, from_watched = self._watch[kind, dst_port], self._watch[kind, src_port]
        syn = tcp & ((flags & SYN) != 0)
        opened = syn & ((flags & ACK) == 0)
        accepted = syn & ((flags & ACK) != 0)
        by_port = to_watched != from_watched
        lower = tcp & (src_port != dst_port)
        # who is the client: the sender of a SYN; the receiver of a SYN/ACK; who talks to a watched port; for TCP
        # who has the higher port; else who was seen first
        sender_is_client = np.where(
            opened, True, np.where(accepted, False, np.where(
                by_port, to_watched, np.where(lower, src_port > dst_port, True))))
        columns.roles[rows] = np.where(syn, 0, np.where(by_port, 1, np.where(lower, 3, 4)))
        columns.began[rows] = syn | ~tcp
        columns.client_end[rows] = np.where(sender_is_client, end[first], 1 - end[first])
        if self._ended is not None:
            probes = np.flatnonzero(opened & _TO_MAIL[dst_port])
            columns.tool[rows[probes]] = tool_marks(batch, first[probes])
        watched = np.where(sender_is_client, to_watched, from_watched)
        columns.selected[rows] = np.where(watched, WATCHED, COUNTED)
        if self._peek_bytes:
            peeked = tcp & ~watched & self._peek[np.where(sender_is_client, dst_port, src_port)]
            columns.selected[rows[peeked]] = PEEKED
        self.account.selected += int(np.count_nonzero(watched))

    def _number(self, rows: I32) -> tuple[I32, U16]:
        """The rows that a batch touches, ascending, and each segment's place among them."""
        if len(self._local) < self.columns.capacity:
            self._local = np.zeros(self.columns.capacity, np.uint16)
        seen = np.zeros(self.columns.used, bool)
        seen[rows] = True
        touched = np.flatnonzero(seen).astype(np.int32)
        self._local[touched] = np.arange(len(touched), dtype=np.uint16)
        return touched, self._local[rows]

    def _split(self, batch: SegmentBatch, rows: I32, end: U8, alive: I64, keys: Keys,
               cuts: list[Cut]) -> I32:
        """Gives conversations that begin on a known 5-tuple rows of their own; fills in the old rows of the cuts."""
        columns = self.columns
        rows = rows.copy()
        if columns.room() < len(cuts):
            columns.grow(columns.capacity + max(len(cuts), 1024))
        first = np.array([positions[0] for _, positions, _, _ in cuts], np.int64)
        made = columns.take(len(cuts))
        columns.keys[made] = keys[first]
        self._begin(batch, first, made, end, alive)
        self.account.flows += len(cuts)
        for number, ((old, positions, reason, over_ns), new) in enumerate(zip(cuts, made.tolist(), strict=True)):
            if old < 0:  # a cut of the row that the cut before made
                cuts[number] = (int(made[number - 1]), positions, reason, over_ns)
            following = cuts[number + 1] if number + 1 < len(cuts) else None
            again = len(following[1]) if following is not None and following[0] < 0 else 0
            rows[positions[: len(positions) - again]] = new  # up to the next cut of the same 5-tuple
            self._index.replace(columns.keys[new : new + 1], columns.keys, new)
        return rows

    def _find_dialogues(self, batch: SegmentBatch, rows: I32, end: U8) -> Bool | None:
        """Selects flows on any port whose first bytes are those of IMAP.

        That is a greeting from the server (RFC 9051 section 7.1); where the start was not captured, any line of a
        dialogue. Returns a mask of the segments that came before the first such bytes of a flow selected now.
        """
        columns = self.columns
        at = np.flatnonzero(batch.captured >= 5)
        at = at[~columns.spoke.ravel().take(rows[at] * 2 + end[at])]
        selected = columns.selected.take(rows[at])
        at = at[((selected == COUNTED) | (selected == PEEKED)) & (batch.protocol[at] == TCP)]
        if not at.size:
            return None
        group = rows[at].astype(np.int64) * 2 + end[at]
        _, once = np.unique(group, return_index=True)  # the first segment with payload of each side
        at = at[once]
        begin = batch.payload[at]
        greets = (batch.buffer[begin] == 0x2A) & (batch.buffer[begin + 1] == 0x20)
        likely = np.flatnonzero(greets | (~columns.began[rows[at]] & _may_start_line(batch.buffer[begin])))
        view = batch.buffer.data
        start = np.zeros(columns.used, np.int64)
        for position, low in zip(at[likely].tolist(), begin[likely].tolist(), strict=True):
            row = int(rows[position])
            head = bytes(view[low : low + min(_HEAD_BYTES, int(batch.captured[position]))])
            speaker = who_speaks(head, midstream=not columns.began[row])
            if speaker is None:
                continue
            client_end = int(end[position]) if speaker == CLIENT else 1 - int(end[position])
            if client_end != int(columns.client_end[row]):
                if ROLES[int(columns.roles[row])] == "syn":
                    continue  # the side that opened the flow says what only a server says
                columns.client_end[row] = client_end
                columns.roles[row] = ROLES.index("content")
            if columns.selected[row] == PEEKED:
                self._assembler.forget(row)
            columns.selected[row] = FOUND
            self.account.selected += 1
            start[row] = position
        before: Bool = np.arange(len(rows)) < start[rows]
        return before if before.any() else None

    def _count(self, batch: SegmentBatch, touched: I32, local: U16, end: U8, alive: I64, rows: I32) -> None:
        """Adds the batch to the columns of the touched rows."""
        columns = self.columns
        count = len(touched)
        cell = local.astype(np.int64)
        cell += cell
        cell += end
        columns.packets[touched] += np.bincount(cell, minlength=2 * count).reshape(count, 2)
        sizes = np.bincount(cell, weights=batch.length, minlength=2 * count).reshape(count, 2)
        columns.bytes[touched] += sizes.astype(np.int64)
        columns.spoke[touched] |= sizes > 0
        syn = np.flatnonzero(batch.flags & SYN)
        syn = syn[(columns.flags[rows[syn], end[syn]] & SYN) == 0][::-1]
        columns.isn[rows[syn], end[syn]] = batch.seq[syn]  # backwards: the first SYN of a side stays
        flags = np.zeros(2 * count, np.uint8)
        for bits in np.flatnonzero(np.bincount(batch.flags, minlength=256)).tolist():
            flags[cell.compress(batch.flags == bits)] |= bits
        columns.flags[touched] |= flags.reshape(count, 2)
        last = np.empty(count, np.int64)
        last[local] = np.arange(len(local))
        columns.last_clock[touched] = alive[last]
        columns.last_number[touched] = batch.number[last]
        stamps = batch.time_ns[last]
        if alive is not batch.time_ns:  # stamps that go back
            np.maximum.at(stamps, local, batch.time_ns)
        columns.last_ns[touched] = np.maximum(columns.last_ns[touched], stamps)

    # ---- ends ---------------------------------------------------------------------------------------------------

    def _expire(self, batch: SegmentBatch, clock: I64) -> list[FlowUpdate]:
        """Ends flows whose time a batch showed to be over."""
        return self._end_idle(lambda due: batch.number[np.searchsorted(clock, due).clip(max=len(clock) - 1)])

    def tick(self, now_ns: int) -> list[FlowUpdate]:
        """Time goes on although no packet comes: ends the flows whose time is over.

        Only a live link needs it: in a capture, the next packet (of any flow) tells the time.

        Args:
            now_ns: on the clock of packets. Before the first packet, and behind the newest, it changes nothing.
        """
        if self.clock_ns < -(1 << 61) or now_ns <= self.clock_ns:
            return []
        self.clock_ns = min(now_ns, self.clock_ns + self.limits.forward_jump_ns)
        return self._end_idle(lambda due: np.full(len(due), self.last_number, np.int64))

    def clock_stepped(self, by_ns: int) -> None:
        """The clock that stamps packets was set by so much: no conversation is older or younger for it."""
        self.columns.last_clock[: self.columns.used] += by_ns
        self.clock_ns += by_ns
        self._swept = min(self._swept + by_ns // TICK_NS, self.clock_ns // TICK_NS)
        self._doubted_ns = None

    def _end_idle(self, shown_by: Callable[[I64], I64]) -> list[FlowUpdate]:
        """Looks for flows whose time is over, once a tick of packet time.

        Args:
            shown_by: frame numbers of the packets that showed it, from the times at which flows were over.
        """
        tick = self.clock_ns // TICK_NS
        if tick <= self._swept:
            return []
        self._swept = tick
        rows = self._live_rows()
        rows = rows[self.columns.last_clock[rows] <= self.clock_ns - self._splitter.shortest_ns]
        due = deadlines(self.limits, self.columns, rows)
        over = due <= self.clock_ns
        if not over.any():
            return []
        return self._over(rows[over], "idle", due[over], shown_by(due[over]))

    def _live_rows(self) -> I32:
        """Rows of conversations that are not over (rows that joined another one left out)."""
        columns = self.columns
        used = columns.used
        own = columns.target[:used] == np.arange(used, dtype=np.int32)
        return np.flatnonzero(columns.live[:used] & own).astype(np.int32)

    def _make_room(self, count: int) -> bool:
        """Makes sure that `count` rows can be taken; true if the index was made anew."""
        columns = self.columns
        alive = columns.used - self._dead - sum(len(rows) for rows in columns.free)
        wanted = alive + count
        if columns.room() >= count and 2 * (columns.used + count) <= len(self._index.slots) and (
                wanted <= self.limits.flows):
            return False
        if wanted > self.limits.flows:
            excess = max(wanted - self.limits.flows, self.limits.flows // 8)
            self._evict(excess)
            wanted -= excess
        capacity = columns.capacity
        while capacity < min(2 * wanted, self.limits.flows):
            capacity *= 2
        self._rebuild(min(capacity, max(columns.capacity, self.limits.flows)))
        if columns.room() < count:
            columns.grow(columns.capacity + count)
        return True

    def _rebuild(self, capacity: int) -> None:
        """Frees the rows that are over and makes the index anew."""
        columns = self.columns
        used = columns.used
        live = columns.live[:used] & columns.live[columns.target[:used]]
        self._joiner.forget(~live)
        columns.keep(live)
        self._dead = 0
        if capacity > columns.capacity:
            columns.grow(capacity)
        slots = 1 << (4 * columns.capacity - 1).bit_length()
        self._index.rebuild(np.flatnonzero(live).astype(np.int32), columns.keys, slots)

    def _evict(self, count: int) -> None:
        """The table is full: conversations that nobody answered go first, then the ones that were quiet longest."""
        columns = self.columns
        rows = self._live_rows()
        unanswered = (columns.packets[rows] == 0).any(axis=1)
        order = np.lexsort((columns.last_clock[rows], ~unanswered))
        chosen = np.sort(rows[order[:count]])
        self._count_limit("flow-table", len(chosen))
        self._evicted += self._over(chosen, "evicted", *self._now(len(chosen)))

    def _limit_streams(self) -> None:
        streams = self._assembler.streams
        excess = len(streams) - self.limits.streams
        if excess <= 0:
            return
        rows = np.fromiter(streams, np.int32, len(streams))
        whole = self.columns.selected[rows] != PEEKED
        order = np.lexsort((rows, self.columns.last_clock[rows], whole))
        chosen = rows[order[: excess + self.limits.streams // 8]]
        self._count_limit("streams", len(chosen))
        self._evicted += self._over(chosen, "evicted", *self._now(len(chosen)))

    def _count_limit(self, name: str, times: int) -> None:
        self.account.limits[name] = self.account.limits.get(name, 0) + times

    def _now(self, count: int) -> tuple[I64, I64]:
        """The clock and the newest packet's number, for `count` flows that end here."""
        return np.full(count, self.clock_ns, np.int64), np.full(count, self.last_number, np.int64)

    def _over(self, rows: I32, reason: str, over_ns: I64, known: I64) -> list[FlowUpdate]:
        """Ends flows: takes the rows out of service and hands on the ends of the selected ones, the oldest first.

        Args:
            over_ns: when they were over; `known`: the number of the packet that showed it.
        """
        columns = self.columns
        columns.live[rows] = False
        self._dead += len(rows)
        if self._ended is not None:
            self._ended.add(rows, over_ns, known, reason)
        streams = self._assembler.streams
        chosen = columns.selected[rows] != COUNTED
        if self._peek_bytes:  # of a peeked flow in which nobody spoke, its columns say everything
            peeked = np.flatnonzero(columns.selected[rows] == PEEKED)
            chosen[peeked] = [row in streams for row in rows[peeked].tolist()]
        rows, over_ns, known = rows[chosen], over_ns[chosen], known[chosen]
        order = np.lexsort((columns.first_number[rows], over_ns))
        rows = rows[order]
        numbers = rows.tolist()
        unopened = np.array([row for row in numbers if row not in streams], np.int32)
        opened = dict(zip(unopened.tolist(), self._namer.open(unopened), strict=True))
        flows = [streams[row].flow if row in streams else opened[row] for row in numbers]
        last_packets = columns.last_number[rows].tolist()
        columns_of = (over_ns[order].tolist(), known[order].tolist(), last_packets)
        pieces_of = [self._assembler.finish(row, packet, when) if row in streams else []
                     for row, when, _, packet in zip(numbers, *columns_of, strict=True)]
        self._namer.complete(rows, flows, reason)
        updates = []
        for row, flow, pieces, when, shown, packet in zip(numbers, flows, pieces_of, *columns_of, strict=True):
            if not flow.peeked:
                self._add_to_account(flow)
            pieces.append(StreamEnd(when, packet, flow.end_reason, shown))
            updates.append(FlowUpdate(flow, pieces, row))
        return updates

    def _add_to_account(self, flow: Flow) -> None:
        account = self.account
        account.midstream += flow.midstream
        if flow.bytes_client or flow.bytes_server:
            account.one_sided += not (flow.packets_client and flow.packets_server)
            if flow.protocol == "TCP":
                missing = flow.missing_client + flow.missing_server
                account.payload_bytes += flow.bytes_client + flow.bytes_server + missing
                account.missing_bytes += missing
        for name in flow.limits:
            self._count_limit(name, 1)

    def finish(self) -> Iterator[list[FlowUpdate]]:
        """The capture is over: all flows end, some thousands at a time, the oldest first."""
        rows = self._live_rows()
        rows = rows[np.argsort(self.columns.first_number[rows], kind="stable")]
        for start in range(0, len(rows), _ENDS_AT_ONCE):
            part = rows[start : start + _ENDS_AT_ONCE]
            yield self._over(part, "end-of-capture", *self._now(len(part)))

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


def _may_start_line(first: U8) -> Bool:
    """Whether a byte may start a tag (RFC 9051 section 9): a letter, a digit, a full stop, or `*`."""
    letter = ((first | 0x20) >= 0x61) & ((first | 0x20) <= 0x7A)
    may: Bool = letter | ((first >= 0x30) & (first <= 0x39)) | (first == 0x2E) | (first == 0x2A)
    return may
