"""One process, from the captures to the sink: the plain way to drive the pipeline."""

from __future__ import annotations

import gc
import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from imapids.capture import CaptureReader, open_captures
from imapids.detect import Detector, RuleSet, load_rules
from imapids.errors import ExitCode, RuleError
from imapids.intel import Matcher, load_indicators
from imapids.pipeline import Pipeline
from imapids.protocols.secrets import SecretHasher, read_accounts
from imapids.records.alerts import LEVELS, Alert
from imapids.records.events import Capture, Event
from imapids.records.packets import SourceAccount
from imapids.run.account import capture_event, judge_link_types
from imapids.run.options import RunOptions
from imapids.signatures import Signatures

_LISTS = Path(__file__).parent.parent / "_rules" / "lists"
"""Lists of default and weak accounts, shipped with the rules."""

Progress = Callable[[int, int | None, int], None]
"""Called for each batch with bytes done, bytes in all (None for pipes) and packets read."""

_GC_THRESHOLD = 200_000
"""Conversations are short-lived objects in great number: collecting at every 700 of them costs a fifth of a run."""


class Sink(Protocol):
    """Where results go."""

    def write(self, items: Sequence[Event | Alert]) -> None:
        """Takes results, in order."""

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
            stop: Callable[[], bool] | None = None) -> RunResult:
    """Reads captures to their end, and hands events and alerts to the sink as they become known: `scan`, driven.

    Arguments and errors are those of `scan`.
    """
    with _many_small_objects(), closing(scan(paths, options, progress=progress, stop=stop)) as found:
        while True:
            try:
                items = next(found)
            except StopIteration as end:
                result: RunResult = end.value
                return result
            sink.write(items)
            del items  # a batch's records go before those of the next one are made


def scan(paths: Sequence[str], options: RunOptions, *, progress: Progress | None = None,
         stop: Callable[[], bool] | None = None) -> Generator[Sequence[Event | Alert], None, RunResult]:
    """Reads captures as far as it is asked: lists of events and alerts as they become known; returns the result.

    Args:
        paths: files, folders, globs, or "-" for standard input.
        stop: asked for each batch; true ends the run, with the results so far.

    Raises:
        InputError: no input could be read.
        RuleError: a rule or indicator file is wrong.
    """
    rules = load_rules([Path(path) for path in options.rule_paths], defaults=options.default_rules,
                       allow=[Path(path) for path in options.allow_paths])
    with open_captures(paths, limits=options.limits.capture, follow=options.follow, stop=stop) as reader:
        return (yield from _Run(options, rules).all_of(reader, progress, stop))


@contextmanager
def _many_small_objects() -> Iterator[None]:
    """Lets the garbage collector look seldom while a run makes and drops records."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, before[1], before[2])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _hasher(key: bytes | None) -> SecretHasher:
    """Hashes secrets under the run's key, and compares them with the lists of weak accounts that are shipped."""
    accounts = {path.stem: read_accounts(path.read_bytes().splitlines()) for path in sorted(_LISTS.glob("*.txt"))}
    return SecretHasher(key or secrets.token_bytes(32), accounts)


def _signatures(options: RunOptions, detector: Detector) -> Signatures | None:
    """Payload rules, if anybody wants to know of their hits; shipped ones are compiled when a session needs them."""
    if not options.signatures or "signature" not in options.events | detector.categories:
        return None
    signatures = Signatures(options.rule_paths, defaults=options.default_rules)
    signatures.check()
    return signatures


def _matcher(paths: Sequence[str]) -> Matcher | None:
    if not paths:
        return None
    indicators = load_indicators([Path(path) for path in paths])
    if indicators.faults:
        raise RuleError(list(indicators.faults))
    return Matcher(indicators)


class _Run:
    """The state of one run."""

    def __init__(self, options: RunOptions, rules: RuleSet) -> None:
        self.options = options
        self.rules = rules
        self.detector = Detector(rules, limits=options.limits.detect)
        self.pipeline = Pipeline(
            options.limits, kinds=options.events | self.detector.categories, home_nets=options.home_nets,
            watch_tcp=options.watch_tcp, watch_udp=options.watch_udp, hosts=options.hosts,
            since_ns=options.since_ns, until_ns=options.until_ns, hasher=_hasher(options.hash_key),
            signatures=_signatures(options, self.detector), matcher=_matcher(options.indicator_paths))
        self.counts: dict[str, int] = {}
        self.alerts_by_level: dict[str, int] = {}

    def all_of(self, reader: CaptureReader, progress: Progress | None,
               stop: Callable[[], bool] | None) -> Generator[Sequence[Event | Alert], None, RunResult]:
        """Reads everything, then tells the account."""
        for decoded in reader.worked_on(self.pipeline.decode):
            for events in self.pipeline.follow(decoded):
                yield from self._handle(events)
            if progress is not None:
                progress(reader.bytes_done, reader.bytes_total, sum(account.packets for account in reader.accounts))
        # the reader asks `stop` by itself: what was read until then is worked off, so that the account is right
        interrupted = stop is not None and stop()
        reader.close()
        for events in self.pipeline.finish():
            yield from self._handle(events)
        yield from self._alerts(self.detector.finish(self.pipeline.table.clock_ns))
        unknown = judge_link_types(reader.accounts)
        account = capture_event(self.pipeline, reader.accounts, self.counts, interrupted, self.detector.limits_hit)
        if "capture" in self.options.events:
            yield [account]
        return RunResult(capture=account, accounts=reader.accounts, alerts_by_level=self.alerts_by_level,
                         sessions=self.pipeline.sessions, interrupted=interrupted,
                         messages=[*unknown, *self._rule_messages()])

    def _rule_messages(self) -> list[str]:
        expired = self.rules.expired(self.pipeline.table.clock_ns)
        return [*self.rules.notes, *(f"the filter {each.title!r} has expired and is not applied" for each in expired)]

    def _handle(self, events: list[Event]) -> Iterator[Sequence[Event | Alert]]:
        """What is to be shown of events, then the alerts that they made."""
        wanted = self.options.events
        shown = [event for event in events if event.kind in wanted]
        for event in shown:
            self.counts[event.kind] = self.counts.get(event.kind, 0) + 1
        if shown:
            yield shown
        yield from self._alerts(self.detector.feed(events))

    def _alerts(self, alerts: list[Alert]) -> Iterator[Sequence[Event | Alert]]:
        for alert in alerts:
            if alert.state == "new":
                self.alerts_by_level[alert.rule.level] = self.alerts_by_level.get(alert.rule.level, 0) + 1
        if alerts and "alert" in self.options.events:
            self.counts["alert"] = self.counts.get("alert", 0) + len(alerts)
            yield alerts
