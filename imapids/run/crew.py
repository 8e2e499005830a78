"""Several processes that share the packets of an interface, and one that observes, judges by rules and writes.

Each worker reads its own ring into its own pipeline (capture to judge). Everything that counts by source, server or
mailbox happens in the parent, over the events of all workers in the order of their times: so a scan is one scan,
however the kernel shares its packets.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import heapq
import os
import pickle
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from typing import TYPE_CHECKING, Any

import numpy as np

from imapids.config import LiveLimits
from imapids.pipeline import Pipeline
from imapids.records.events import Event
from imapids.records.flows import EndedFlows, EndedRows
from imapids.records.segments import Encapsulation
from imapids.records.streams import Flow
from imapids.run.feed import FeedReport, LiveFeed, LiveSource
from imapids.run.privileges import forbid_new_processes
from imapids.signatures import Signatures

if TYPE_CHECKING:
    from imapids.intel import Matcher

_PR_SET_PDEATHSIG = 1
_WAIT_SECONDS = 0.1
_REPORT_NS = 10**9
_NEVER = 1 << 62
_FLOWS_KNOWN = 65_536
"""Conversations whose record is kept, so that what is told of them at their end reaches the alerts that hold it."""

Told = tuple[int, int, Event]
"""(when it was known, when its conversation began, the event): events are merged in this order."""


@dataclass(slots=True)
class Message:
    """What a worker says: all until `watermark_ns` is in this message or an earlier one."""

    watermark_ns: int
    events: list[Event] = field(default_factory=list)
    ended: list[EndedRows] = field(default_factory=list)
    paths: list[Encapsulation] = field(default_factory=list)
    """Encapsulations that are new since the last message, in the order of their numbers."""
    report: FeedReport | None = None
    ending: bool = False
    """These conversations end because the run does: at one moment, whatever the clock of the worker says."""
    last: bool = False


class PassedOn:
    """Stands for the observers in a worker: keeps ended conversations for the message of the batch."""

    makes: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    wants_flows = True

    def __init__(self) -> None:
        self.ended: list[EndedRows] = []

    @property
    def limits_hit(self) -> dict[str, int]:
        return {}

    def see(self, events: Sequence[Event], known: Sequence[int]) -> list[tuple[int, Event]]:  # noqa: ARG002
        return []

    def see_flows(self, ended: EndedFlows) -> list[tuple[int, Event]]:
        assert ended.rows is not None
        self.ended.append(ended.rows)
        return []

    def finish(self, now_ns: int, known: int) -> list[tuple[int, Event]]:  # noqa: ARG002
        return []


# ---- in a worker -----------------------------------------------------------------------------------------------------


class Worker:
    """The loop of one worker process."""

    def __init__(self, feed: LiveFeed, to_parent: Connection, limits: LiveLimits) -> None:
        self._feed = feed
        pipeline = self._pipeline = feed.pipeline
        self._parent = to_parent
        self._limits = limits
        self._passed_on = PassedOn()
        self._paths_told = len(pipeline.encapsulations.paths)
        self._next_report = 0
        self._watermark_ns = -_NEVER
        pipeline.pass_on_to(self._passed_on)

    def run(self) -> None:
        """Reads until the parent says stop, or is gone."""
        self._feed.source.start()
        while True:
            before = self._feed.source.ledger.account.packets
            for events in self._feed.step():
                self._tell(events)
            self._all_told(silent=self._feed.source.ledger.account.packets == before)
            while self._parent.poll():
                order = self._parent.recv()
                if order[0] == "stop":
                    return self._end(order[1])
                self._pipeline.renew(order[1], order[2])

    def _end(self, within_ns: int) -> None:
        deadline = time.monotonic_ns() + within_ns
        for events in self._feed.rest(deadline):
            self._tell(events)
        for events in self._pipeline.finish():
            self._send(Message(self._watermark_ns, events, ending=True))
            if time.monotonic_ns() > deadline:
                break
        self._send(Message(_NEVER, report=self._feed.report(), ending=True, last=True))

    def _tell(self, events: list[Event]) -> None:
        """Part of what a batch made known: there may be more that was known before."""
        self._send(Message(self._watermark_ns, events))

    def _all_told(self, *, silent: bool) -> None:
        """All that the packets so far made known has been told."""
        self._watermark_ns = max(self._watermark_ns, self._pipeline.table.clock_ns)
        if silent:  # whatever comes now was stamped later than this
            self._watermark_ns = max(self._watermark_ns, time.time_ns() - self._limits.clock_margin_ns)
        now = time.monotonic_ns()
        if now >= self._next_report:
            self._next_report = now + _REPORT_NS
            self._send(Message(self._watermark_ns, report=self._feed.report()))
        elif self._passed_on.ended:
            self._send(Message(self._watermark_ns))

    def _send(self, message: Message) -> None:
        paths = self._pipeline.encapsulations.paths
        message.ended, message.paths = self._passed_on.ended, paths[self._paths_told:]
        self._parent.send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))
        self._paths_told = len(paths)
        self._passed_on.ended = []


# ---- in the parent ---------------------------------------------------------------------------------------------------


class _Hand:
    """What the parent knows of one worker."""

    def __init__(self, pid: int, connection: Connection) -> None:
        self.pid = pid
        self.connection = connection
        self.watermark_ns = -_NEVER
        self.heard_ns = time.monotonic_ns()
        self.told: deque[Told] = deque()
        self.newest_ns = -_NEVER
        self.ended: list[EndedRows] = []
        self.paths: list[int] = [0]
        """Numbers in the parent's table of the worker's encapsulations."""
        self.report: FeedReport | None = None
        self.done = False


class Workers:
    """A crew of processes. Make it when the rights are given up and before any thread is started."""

    def __init__(self, rings: Sequence[LiveSource], pipeline: Pipeline, make_feed: Callable[[int], LiveFeed],
                 limits: LiveLimits) -> None:
        """
        Args:
            pipeline: observes what the workers tell; no packet comes to it.
            make_feed: called in each worker: what reads the ring at this place, into a pipeline of its own.
        """
        self.workers = len(rings)
        self._pipeline = pipeline
        self._limits = limits
        self._source = rings[0].ledger.source
        self._lost = ""
        self._flows: dict[int, Flow] = {}
        gc.collect()
        gc.freeze()  # what is there now is shared with the workers: nobody need look at it again
        self._hands = [self._hire(place, rings, make_feed) for place in range(len(rings))]
        for ring in rings:
            ring.close()

    def _hire(self, place: int, rings: Sequence[LiveSource], make_feed: Callable[[int], LiveFeed]) -> _Hand:
        ours, theirs = Pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid:
            theirs.close()
            return _Hand(pid, ours)
        code = 1
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(0)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # a terminal's reach all: the parent decides
                signal.signal(number, signal.SIG_IGN)
            ours.close()
            for other in (*rings[:place], *rings[place + 1:]):
                other.close()
            forbid_new_processes()
            feed = make_feed(place)
            Worker(feed, theirs, self._limits).run()
            feed.close()
            code = 0
        except (EOFError, BrokenPipeError, ConnectionError):
            code = 0  # the parent is gone
        except BaseException:  # noqa: BLE001  # whatever it is must be seen, and end only here
            import traceback

            os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace"))
        finally:
            os._exit(code)

    def start(self) -> None:
        """The workers have begun by themselves."""

    def step(self) -> Iterator[list[Event]]:
        """What the workers have told, as far as none of them can tell anything earlier any more."""
        self._hear(_WAIT_SECONDS)
        yield from self._merged()

    def rest(self, until_own_ns: int) -> Iterator[list[Event]]:
        """Ends the workers: what they still tell."""
        within = max(0, until_own_ns - time.monotonic_ns())
        for hand in self._hands:
            with contextlib.suppress(OSError):
                hand.connection.send(("stop", int(within * 0.7)))
        while any(not hand.done for hand in self._hands) and time.monotonic_ns() < until_own_ns:
            self._hear(0.02)
            yield from self._merged()
        table = self._pipeline.table  # no packet came to it: the observers' clock is that of the workers
        table.clock_ns = max((report.tally.clock_ns for report in self.reports()), default=0)
        table.last_number = _NEVER
        for hand in self._hands:
            hand.watermark_ns = _NEVER
        yield from self._merged()

    def finish(self) -> Iterator[list[Event]]:
        """What the observers still have to tell."""
        yield from self._pipeline.finish()

    def reports(self) -> list[FeedReport]:
        return [hand.report for hand in self._hands if hand.report is not None]

    def renew(self, signatures: Signatures | None, matcher: Matcher | None) -> None:
        self._pipeline.renew(None, None)
        for hand in self._hands:
            with contextlib.suppress(OSError):
                hand.connection.send(("renew", signatures, matcher))

    def lost(self) -> str:
        return self._lost

    def close(self) -> None:
        """No worker outlives the run."""
        for hand in self._hands:
            hand.connection.close()
            end = time.monotonic() + 0.2
            while os.waitpid(hand.pid, os.WNOHANG)[0] == 0:
                if time.monotonic() > end:
                    os.kill(hand.pid, signal.SIGKILL)
                    os.waitpid(hand.pid, 0)
                    break
                time.sleep(0.01)

    def _hear(self, seconds: float) -> None:
        """Takes the messages that are there; one whose events wait in great number must wait with the others."""
        open_hands = {hand.connection: hand for hand in self._hands
                      if not hand.done and len(hand.told) < self._limits.worker_events}
        ready = wait(list(open_hands), seconds) if open_hands else []
        for connection in ready:
            hand = open_hands[connection]  # type: ignore[index]  # only connections were asked for
            try:
                self._take(hand, pickle.loads(hand.connection.recv_bytes()))  # noqa: S301  # our own child, our rights
            except (EOFError, OSError):
                hand.done = True
                hand.watermark_ns = _NEVER
                self._lost = f"a worker (process {hand.pid}) has ended by itself; its packets are lost"

    def _take(self, hand: _Hand, message: Message) -> None:
        hand.heard_ns = time.monotonic_ns()
        hand.watermark_ns = max(hand.watermark_ns, message.watermark_ns)
        hand.done = message.last
        hand.report = message.report or hand.report
        intern = self._pipeline.encapsulations.intern
        hand.paths += [intern(path) for path in message.paths]
        for rows in message.ended:
            if message.ending:
                rows.over_ns = np.full_like(rows.over_ns, _NEVER)
            rows.columns["path"] = np.array(hand.paths, rows.columns["path"].dtype)[rows.columns["path"]]
            hand.ended.append(rows)
        for event in message.events:
            if event.flow is not None:
                event.flow = self._one_record(event.flow)
            hand.newest_ns = max(hand.newest_ns, _NEVER if message.ending else event.known_ns or event.time_ns)
            hand.told.append((hand.newest_ns, event.flow.start_ns if event.flow is not None else 0, event))

    def _one_record(self, flow: Flow) -> Flow:
        """The record of a conversation that is known already, with what is new of it; alerts may hold it."""
        known = self._flows.get(flow.flow_id)
        if known is None or known.start_ns != flow.start_ns or known.end_reason:
            if len(self._flows) >= _FLOWS_KNOWN:
                self._flows.clear()
            self._flows[flow.flow_id] = flow
            return flow
        for name in Flow.__struct_fields__:
            if name != "eve_head":
                setattr(known, name, getattr(flow, name))
        if flow.end_reason:
            del self._flows[flow.flow_id]
        return known

    def _merged(self) -> Iterator[list[Event]]:
        now = time.monotonic_ns()
        waited_for = [hand for hand in self._hands
                      if not hand.done and now - hand.heard_ns < self._limits.worker_silence_ns]
        until = min((hand.watermark_ns for hand in waited_for), default=_NEVER)
        parts: list[list[Told]] = []
        for hand in self._hands:
            part: list[Told] = []
            while hand.told and hand.told[0][0] <= until:
                part.append(hand.told.popleft())
            parts.append(part)
        merged = list(heapq.merge(*parts, key=_order))
        rows = [each for hand in self._hands for each in self._over_by(hand, until)]
        if not merged and not rows:
            return
        known = np.array([told[0] for told in merged], np.int64)
        events = self._pipeline.observed([told[2] for told in merged], known, self._ended(rows))
        if events:
            yield events

    def _over_by(self, hand: _Hand, until: int) -> Iterator[EndedRows]:
        """Ended conversations whose time has come; those of one message come together."""
        waiting = []
        for rows in hand.ended:
            if int(rows.over_ns[-1] if len(rows.over_ns) else 0) <= until:
                yield rows
            else:
                waiting.append(rows)
        hand.ended = waiting

    def _ended(self, rows: Sequence[EndedRows]) -> EndedFlows | None:
        """Conversations of all workers as one record, ordered by time: that takes the place of frame numbers here."""
        if not rows:
            return None
        known = np.concatenate([each.over_ns for each in rows])
        over = np.minimum(known, max(
            (hand.report.tally.clock_ns for hand in self._hands if hand.report is not None), default=_NEVER))
        first = np.concatenate([each.columns["first_ns"] for each in rows])
        order = np.lexsort((first, known))
        names = sorted({name for each in rows for name in each.names})
        place = {name: number for number, name in enumerate(names)}
        reasons = np.concatenate([np.array([place[name] for name in each.names])[each.reasons] for each in rows])
        columns: dict[str, Any] = {
            name: np.concatenate([each.columns[name] for each in rows])[order] for name in rows[0].columns}
        return self._pipeline.table.restore_ended(
            EndedRows(columns, over[order], known[order], reasons[order], names), self._source)


def _order(told: Told) -> tuple[int, int]:
    return told[:2]
