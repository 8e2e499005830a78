"""An interface, watched until somebody stops it: the same engine as for captures, driven by packets and by time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from imapids.detect import Detector
from imapids.errors import ExitCode, ImapidsError
from imapids.records.alerts import LEVELS, Alert
from imapids.records.events import Event, OutputCounts, Stats
from imapids.records.packets import SourceAccount
from imapids.run.account import capture_event
from imapids.run.control import Control
from imapids.run.engine import Engine, inventory_for, matcher_for, rules_for, scanners_for, signatures_for
from imapids.run.feed import FeedReport, LiveFeed
from imapids.run.live_account import WORRYING_LOSS, LiveAccount, Sums, source_account, summed
from imapids.run.privileges import pwd_name
from imapids.signatures import Signatures

if TYPE_CHECKING:
    from imapids.intel import Matcher

LIVE_EVENTS = frozenset({"alert", "capture", "stats"})
"""What a live run writes where nobody asks for other event types."""
_TELLING_SHARE = 0.6
"""Of the time to stop in: for packets and conversations; the rest is for the output."""
Results = Sequence[Event | Alert]


class Crew(Protocol):
    """Who turns packets into events: one feed in this process, or several in their own."""

    workers: int

    def start(self) -> None: ...
    def step(self) -> Iterator[list[Event]]: ...
    def rest(self, until_own_ns: int) -> Iterator[list[Event]]: ...
    def finish(self) -> Iterator[list[Event]]: ...
    def reports(self) -> list[FeedReport]: ...
    def renew(self, signatures: Signatures | None, matcher: Matcher | None) -> None: ...
    def lost(self) -> str:
        """Why nothing more will come; empty while it may."""
    def close(self) -> None: ...


class Alone:
    """One feed, in this process."""

    workers = 1

    def __init__(self, feed: LiveFeed) -> None:
        self._feed = feed

    def start(self) -> None:
        self._feed.source.start()

    def step(self) -> Iterator[list[Event]]:
        return self._feed.step()

    def rest(self, until_own_ns: int) -> Iterator[list[Event]]:
        return self._feed.rest(until_own_ns)

    def finish(self) -> Iterator[list[Event]]:
        return self._feed.pipeline.finish()

    def reports(self) -> list[FeedReport]:
        return [self._feed.report()]

    def renew(self, signatures: Signatures | None, matcher: Matcher | None) -> None:
        self._feed.pipeline.renew(signatures, matcher)

    def lost(self) -> str:
        return ""

    def close(self) -> None:
        self._feed.close()


class LiveResult(msgspec.Struct, kw_only=True):
    """What a live run saw and did not see."""

    capture: Event
    account: SourceAccount
    alerts_by_level: dict[str, int]
    sessions: dict[str, int]
    lines_dropped: int = 0
    ended_by: str = ""
    """Why it ended, where nobody asked for it."""
    untold: int = 0
    """Conversations that were open at the end and are not told: there was no time."""

    def exit_code(self, fail_on: str | None = None) -> ExitCode:
        """The exit code of the command line: to be stopped is how a live run ends, so that alone is no interruption."""
        if fail_on is not None and any(self.alerts_by_level.get(level) for level in LEVELS[LEVELS.index(fail_on):]):
            return ExitCode.ALERTS
        if self.account.status != "ok" or self.lines_dropped or self.untold or self.ended_by:
            return ExitCode.INCOMPLETE
        return ExitCode.COMPLETE


class LiveRun:
    """Runs a crew until `control` says stop, with rules behind it."""

    def __init__(self, engine: Engine, crew: Crew, interface: str, control: Control, *, stats_seconds: float = 60,
                 output: Callable[[], OutputCounts] | None = None, reopen: Callable[[], None] = lambda: None,
                 say: Callable[[str], None] = lambda _: None,
                 glances: Sequence[Callable[[Stats], None]] = ()) -> None:
        """
        Args:
            output: what became of the lines so far; `reopen`: asks the output to open its file anew.
            say: takes messages for people.
            glances: take the counts of now, each second, besides the `stats` events.
        """
        self.engine = engine
        self._crew = crew
        self._interface = interface
        self._control = control
        self._stats_seconds = stats_seconds
        self._output = output
        self._reopen = reopen
        self._say = say
        self._limits = engine.options.limits.live
        self._link = "up"
        self.account = LiveAccount(interface, crew.workers, time.monotonic())
        self._glances = list(glances)
        self._seconds = LiveAccount(interface, crew.workers, time.monotonic())
        self._next_glance = 0.0

    def results(self) -> Generator[Results, None, LiveResult]:
        """Lists of events and alerts as they become known; a list may be empty: then the caller's turn has come."""
        control, crew, engine = self._control, self._crew, self.engine
        crew.start()
        self._say(f"{self._interface} is watched (user {pwd_name(os.geteuid())}, process {os.getpid()})")
        due = time.monotonic() + self._stats_seconds
        ended_by = ""
        while not control.stop and not ended_by:
            for events in crew.step():
                yield from engine.handle(events)
            if control.reload:
                control.reload = False
                yield from self._reload()
            if time.monotonic() >= due:
                due += self._stats_seconds
                yield from self._stats()
            if self._glances and time.monotonic() >= self._next_glance:
                self._next_glance = time.monotonic() + self._limits.tick_ns / 1e9
                self._glance()
            ended_by = crew.lost()
            yield ()
        return (yield from self._end(ended_by))

    def _end(self, ended_by: str) -> Generator[Results, None, LiveResult]:
        """Reads what the ring holds, ends the conversations, tells the account; all within the time to stop in."""
        engine, crew = self.engine, self._crew
        deadline = time.monotonic_ns() + int(self._limits.stop_ns * _TELLING_SHARE)
        for events in crew.rest(deadline):
            yield from engine.handle(events)
        before = sum(report.tally.flows_open for report in crew.reports())
        untold = 0
        for events in crew.finish():
            yield from engine.handle(events)
            if time.monotonic_ns() > deadline:
                untold = min(before, sum(report.tally.flows_open for report in crew.reports()))
                break
        sums = summed(crew.reports())
        yield from engine.close_alerts(sums.tally.clock_ns)
        yield from self._stats()
        account = source_account(crew.reports())
        limits = engine.limits_hit
        if untold:
            limits["untold-at-the-end"] = untold
        capture = capture_event(sums.tally, [account], engine.counts, False, limits)
        if "capture" in engine.options.events:
            yield [capture]
        return LiveResult(capture=capture, account=account, alerts_by_level=engine.alerts_by_level,
                          sessions=sums.tally.sessions, ended_by=ended_by, untold=untold,
                          lines_dropped=self._output().lines_dropped if self._output is not None else 0)

    def _counted(self, account: LiveAccount, sums: Sums) -> Stats:
        """What is counted now, and since `account` was last asked."""
        engine = self.engine
        return account.stats(
            sums, time.monotonic(), counts=engine.counts, alerts=engine.alerts_by_level,
            limits=engine.limits_hit, output=self._output() if self._output is not None else None)

    def _glance(self) -> None:
        self._seconds.reloads, self._seconds.reloads_failed = self.account.reloads, self.account.reloads_failed
        counted = self._counted(self._seconds, summed(self._crew.reports()))
        for glance in self._glances:
            glance(counted)

    def _stats(self) -> Iterator[Results]:
        engine, sums = self.engine, summed(self._crew.reports())
        counted = self._counted(self.account, sums)
        interval = counted.interval
        if interval.drops > WORRYING_LOSS * (interval.drops + interval.packets):
            self._say(f"{self._interface}: the kernel dropped {interval.drops:,} of "
                      f"{interval.drops + interval.packets:,} packets in {interval.seconds:.0f} s; "
                      "--workers shares the work, --filter watched lessens it")
        if sums.link != self._link:
            self._say(f"{self._interface} is {sums.link}")
            self._link = sums.link
        if "stats" in engine.options.events:
            engine.counts["stats"] = engine.counts.get("stats", 0) + 1
            now_ns = time.time_ns()
            yield [Event("stats", now_ns, counted, known_ns=now_ns)]

    def _reload(self) -> Iterator[Results]:
        """Reads rules, lists, indicators and inventory again. What is wrong changes nothing; conversations go on."""
        engine, options = self.engine, self.engine.options
        self._reopen()
        try:
            rules = rules_for(options)
            detector = Detector(rules, limits=options.limits.detect)
            signatures, matcher = signatures_for(options, detector), matcher_for(options.indicator_paths)
            inventory, scanners = inventory_for(options), scanners_for(options)
        except (ImapidsError, OSError) as error:
            self.account.reloads_failed += 1
            self._say(f"rules, lists, indicators or inventory are wrong, the former ones stay in force:\n{error}")
            return
        missing = detector.categories - engine.detector.categories - engine.pipeline.kinds
        yield from engine.close_alerts(summed(self._crew.reports()).tally.clock_ns)
        engine.rules, engine.detector = rules, detector
        self._crew.renew(signatures, matcher)
        if inventory is not None:
            engine.pipeline.expect(inventory)
        engine.pipeline.know(scanners)
        self.account.reloads += 1
        self._say(f"rules, indicators and inventory were read again: {len(rules.rules)} rules")
        if missing:
            self._say(f"new rules ask for events that this run does not make ({', '.join(sorted(missing))}): "
                      "restart to have them")
