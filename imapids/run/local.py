"""One process, from the captures to the sink: the plain way to drive the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Protocol

import msgspec

from imapids import kernels
from imapids.capture import CaptureReader, open_captures
from imapids.detect import MatchWatcher
from imapids.errors import ExitCode
from imapids.pipeline import Prepared
from imapids.records.alerts import LEVELS, Alert
from imapids.records.events import Capture, Event
from imapids.records.packets import SourceAccount
from imapids.run.account import capture_event, judge_link_types, tally_of
from imapids.run.ahead import OneAhead, has_second_processor
from imapids.run.engine import Engine, many_small_objects, rules_for
from imapids.run.memory import give_freed_memory_back
from imapids.run.options import RunOptions

_LARGE_BATCH = 8_192
"""Segments of a batch behind which the next one is made in a thread: some milliseconds of work."""

Progress = Callable[[int, int | None, int], None]
"""Called for each batch with bytes done, bytes in all (None for pipes) and packets read."""


class Sink(Protocol):
    """Where results go.

    The items of a call stay as they are until the next one: a sink may go on with them meanwhile; the errors of that
    come with the next call.
    """

    def write(self, items: Sequence[Event | Alert]) -> None:
        """Takes results, in order; there may be none."""

    def close(self) -> None:
        """No more will come."""


class RunResult(msgspec.Struct, kw_only=True):
    """What a run found and what it could not see."""

    capture: Event
    """The account of packets."""
    accounts: list[SourceAccount]
    alerts_by_level: dict[str, int] = {}
    sessions: dict[str, int] = {}
    """Sessions by verdict."""
    interrupted: bool = False
    messages: list[str] = []
    """What people should know besides: link types that nobody decodes, filters that have expired or match nothing."""

    def exit_code(self, fail_on: str | None = None) -> ExitCode:
        """The exit code of the command line: the first that applies (DESIGN section 9)."""
        if self.interrupted:
            return ExitCode.INTERRUPTED
        if self.accounts and all(account.status in ("unreadable", "unsupported") for account in self.accounts):
            return ExitCode.NO_INPUT
        if fail_on is not None and any(self.alerts_by_level.get(level) for level in LEVELS[LEVELS.index(fail_on):]):
            return ExitCode.ALERTS
        if any(account.status != "ok" for account in self.accounts) or self._undecoded():
            return ExitCode.INCOMPLETE
        return ExitCode.COMPLETE

    def _undecoded(self) -> bool:
        """Whole inputs that nobody could decode: never silence with exit code 0."""
        body = self.capture.body
        assert isinstance(body, Capture)
        foreign = sum(count for reason, count in body.skipped.items() if reason.startswith("unknown-link-type"))
        return bool(foreign) and foreign == body.packets


def analyze(paths: Sequence[str], options: RunOptions, sink: Sink, *, progress: Progress | None = None,
            stop: Callable[[], bool] | None = None, watcher: MatchWatcher | None = None) -> RunResult:
    """Reads captures to their end, and hands events and alerts to the sink as they become known: `scan`, driven.

    Arguments and errors are those of `scan`.
    """
    with many_small_objects(), closing(
            scan(paths, options, progress=progress, stop=stop, watcher=watcher)) as found:
        while True:
            try:
                items = next(found)
            except StopIteration as end:
                result: RunResult = end.value
                return result
            sink.write(items)
            del items  # a batch's records go before those of the next one are made


def scan(paths: Sequence[str], options: RunOptions, *, progress: Progress | None = None,
         stop: Callable[[], bool] | None = None,
         watcher: MatchWatcher | None = None) -> Generator[Sequence[Event | Alert], None, RunResult]:
    """Reads captures as far as it is asked: lists of events and alerts as they become known; returns the result.

    The items of a list stay as they are until the next list is there; some lists are empty.

    Args:
        paths: files, folders, globs, or "-" for standard input.
        stop: asked for each batch, perhaps in another thread; true ends the run, with the results so far.
        watcher: told of every match of a rule, also of those that only count (see Detector.watch_matches).

    Raises:
        InputError: no input could be read.
        RuleError: a rule or indicator file is wrong.
    """
    rules = rules_for(options)
    ahead = OneAhead(_is_large)

    def stopped() -> bool:
        return ahead.closing or (stop is not None and stop())

    in_thread = kernels.COMPILED and has_second_processor()
    with open_captures(paths, limits=options.limits.capture, follow=options.follow, stop=stopped,
                       ahead=in_thread) as reader:
        engine = Engine(options, rules)
        if watcher is not None:
            engine.detector.watch_matches(watcher)
        batches = map(engine.pipeline.prepare, reader)
        with closing(ahead.hand_on(batches)) as handed_on:
            return (yield from _all_of(reader, handed_on if in_thread else batches, engine, progress, stop))


def _follow_all(reader: CaptureReader, batches: Iterable[Prepared], engine: Engine,
                progress: Progress | None) -> Iterator[Sequence[Event | Alert]]:
    for decoded, keyed in batches:
        for events in engine.pipeline.follow(decoded, keyed):
            yield from engine.handle(events)
        if progress is not None:
            progress(reader.bytes_done, reader.bytes_total, sum(account.packets for account in reader.accounts))


def _is_large(prepared: Prepared) -> bool:
    return len(prepared.decoded.segments) >= _LARGE_BATCH


def _all_of(reader: CaptureReader, batches: Iterable[Prepared], engine: Engine, progress: Progress | None,
            stop: Callable[[], bool] | None) -> Generator[Sequence[Event | Alert], None, RunResult]:
    """Reads everything, then tells the account."""
    pipeline = engine.pipeline
    yield from _follow_all(reader, batches, engine, progress)
    # the reader asks `stop` by itself: what was read until then is worked off, so that the account is right
    interrupted = stop is not None and stop()
    reader.close()
    give_freed_memory_back()  # of batches: many conversations may end now
    yield from engine.finish()
    unknown = judge_link_types(reader.accounts)
    account = capture_event(tally_of(pipeline), reader.accounts, engine.counts, interrupted, engine.limits_hit)
    if "capture" in engine.options.events:
        yield [account]
    return RunResult(capture=account, accounts=reader.accounts, alerts_by_level=engine.alerts_by_level,
                     sessions=pipeline.sessions, interrupted=interrupted,
                     messages=[*unknown, *engine.rule_messages()])
