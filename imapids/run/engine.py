"""The parts of one run, put together: the pipeline, the rules behind it, and what both have counted."""

from __future__ import annotations

import gc
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from imapids import kernels
from imapids.detect import Detector, RuleSet, load_rules
from imapids.detect.readings import layout_of
from imapids.errors import RuleError
from imapids.observe import Allowed
from imapids.pipeline import Pipeline
from imapids.protocols.known_scanners import KnownScanners, read_scanners
from imapids.protocols.secrets import SecretHasher, read_accounts
from imapids.records.alerts import Alert
from imapids.records.events import Event
from imapids.run.account import added
from imapids.run.inventory import read_inventory
from imapids.run.options import RunOptions
from imapids.signatures import Signatures

if TYPE_CHECKING:
    from imapids.intel import Matcher

_LISTS = Path(__file__).parent.parent / "_rules" / "lists"
"""Lists of default and weak accounts (*.txt) and of known scanners, shipped with the rules."""
_SCANNERS = "research-scanners.csv"

_kind_of = attrgetter("kind")

_GC_THRESHOLD = 500_000
"""Conversations are short-lived objects in great number: collecting at every 700 of them costs a fifth of a run. More
than half of this is seldom alive at once, and records form no cycles: looking at 200,000 takes 0.1 s for nothing."""

_AT_ONCE = 8_000
"""Events shown, and then given to the rules, together: their lines may be encoded while the rules look at them. A
multiple of what the rules read together."""


class Engine:
    """Events to results: what is to be shown of them, and the alerts that they make.

    Whoever drives it feeds `pipeline` with packets and hands its events to `handle`.
    """

    def __init__(self, options: RunOptions, rules: RuleSet, *, live: bool = False) -> None:
        """
        Args:
            live: somebody waits for the alerts: rules hear of sessions that stay open before they are over.

        Raises:
            RuleError: a signature, indicator, scanner or inventory file is wrong.
        """
        self.options = options
        self.rules = rules
        self.detector = Detector(rules, limits=options.limits.detect)
        self.signatures = signatures_for(options, self.detector)
        self.matcher = matcher_for(options.indicator_paths)
        self._hasher = _hasher(options.hash_key)
        self._inventory = inventory_for(options)
        self._scanners = scanners_for(options)
        self._open_after_ns = options.limits.live.open_session_ns if live else None
        self.pipeline = self.new_pipeline()
        self.counts: dict[str, int] = {}
        """Lines by event type (alerts: all lines of theirs)."""
        self.alerts_by_level: dict[str, int] = {}

    def new_pipeline(self) -> Pipeline:
        """A pipeline of this run: the one that there is, or one more for a worker (with the same key of hashes)."""
        options = self.options
        return Pipeline(
            options.limits, kinds=options.events | self.detector.categories, home_nets=options.home_nets,
            watch_tcp=options.watch_tcp, watch_udp=options.watch_udp, hosts=options.hosts,
            since_ns=options.since_ns, until_ns=options.until_ns, hasher=self._hasher,
            signatures=self.signatures, matcher=self.matcher, inventory=self._inventory, scanners=self._scanners,
            open_after_ns=self._open_after_ns)

    def handle(self, events: Sequence[Event]) -> Iterator[Sequence[Event | Alert]]:
        """What is to be shown of events, in parts, then the alerts that they made, then nothing.

        The rules look at a part when the next list is asked for, and change nothing of it: the items of a list stay as
        they are until the next one has been given. The last list is empty, so that this holds for all that matter.
        """
        wanted = self.options.events
        kinds: Mapping[str, int]
        if kernels.COMPILED and isinstance(events, list):
            kinds = kernels.events.kinds_counted(layout_of(Event), events)
        else:
            kinds = Counter(map(_kind_of, events))
        all_shown = kinds.keys() <= wanted
        for kind, count in kinds.items():
            if kind in wanted:
                self.counts[kind] = self.counts.get(kind, 0) + count
        alerts: list[Alert] = []
        for start in range(0, len(events), _AT_ONCE):
            part = events[start : start + _AT_ONCE] if len(events) > _AT_ONCE else events
            shown = part if all_shown else [event for event in part if event.kind in wanted]
            if shown:
                yield shown
            alerts += self.detector.feed(part)
        yield from self._alerts(alerts)

    def finish(self) -> Iterator[Sequence[Event | Alert]]:
        """The packets are over: what was still open in the pipeline, and the last lines of the alerts."""
        for events in self.pipeline.finish():
            yield from self.handle(events)
        yield from self.close_alerts(self.pipeline.table.clock_ns)

    def close_alerts(self, clock_ns: int) -> Iterator[Sequence[Event | Alert]]:
        """The `final` lines of the alerts that are open."""
        yield from self._alerts(self.detector.finish(clock_ns))

    @property
    def limits_hit(self) -> dict[str, int]:
        """Limits of what is remembered over time, and of the rules, that were hit, and how often."""
        found = added([*(observer.limits_hit for observer in self.pipeline.observers), self.detector.limits_hit])
        return {name: count for name, count in found.items() if count}

    def rule_messages(self) -> list[str]:
        """What people should know of the rules: filters that have expired or match nothing."""
        expired = self.rules.expired(self.pipeline.table.clock_ns)
        return [*self.rules.notes, *(f"the filter {each.title!r} has expired and is not applied" for each in expired)]

    def _alerts(self, alerts: list[Alert]) -> Iterator[Sequence[Event | Alert]]:
        for alert in alerts:
            if alert.state == "new":
                self.alerts_by_level[alert.rule.level] = self.alerts_by_level.get(alert.rule.level, 0) + 1
        if alerts and "alert" in self.options.events:
            self.counts["alert"] = self.counts.get("alert", 0) + len(alerts)
            yield alerts
        yield ()


def rules_for(options: RunOptions) -> RuleSet:
    """The Sigma rules and filters of a run.

    Raises:
        RuleError: a file is wrong.
    """
    return load_rules([Path(path) for path in options.rule_paths], defaults=options.default_rules,
                      allow=[Path(path) for path in options.allow_paths])


@contextmanager
def many_small_objects() -> Iterator[None]:
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


def scanners_for(options: RunOptions) -> KnownScanners:
    """Who is known to search the whole Internet: the shipped list, and `lists/research-scanners.csv` of rule folders.

    Raises:
        RuleError: a list is wrong.
    """
    scanners, faults = KnownScanners(), []
    own = [Path(path) / "lists" / _SCANNERS for path in options.rule_paths]
    for path in (*([_LISTS / _SCANNERS] if options.default_rules else []), *own):
        if not path.is_file():
            continue
        try:
            faults += read_scanners(path.read_text("utf-8", "replace").splitlines(), scanners, str(path))
        except OSError as error:
            faults.append(f"{path}: cannot be read: {error.strerror}")
    if faults:
        raise RuleError(faults)
    return scanners


def signatures_for(options: RunOptions, detector: Detector) -> Signatures | None:
    """Payload rules, if anybody wants to know of their hits; shipped ones are compiled when a session needs them."""
    if not options.signatures or "signature" not in options.events | detector.categories:
        return None
    signatures = Signatures(options.rule_paths, defaults=options.default_rules)
    signatures.check()
    return signatures


def inventory_for(options: RunOptions) -> tuple[Allowed, ...] | None:
    """What is meant to be where; None where no file says so."""
    return None if options.inventory_path is None else read_inventory(Path(options.inventory_path))


def matcher_for(paths: Sequence[str]) -> Matcher | None:
    """The indicators of some files; None where none are named."""
    if not paths:
        return None
    from imapids.intel import Matcher, load_indicators  # most runs have none: spares them a thirtieth of the start

    indicators = load_indicators([Path(path) for path in paths])
    if indicators.faults:
        raise RuleError(list(indicators.faults))
    return Matcher(indicators)
