"""Whether rules do what they promise: each names captures that fire it and captures on which it must stay silent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from imapids.detect.compiled import Correlation, Rule, RuleSet
from imapids.errors import InputError
from imapids.records.alerts import Alert
from imapids.records.events import Event
from imapids.run.local import analyze
from imapids.run.options import RunOptions


class Trial(NamedTuple):
    """One promise of one rule, and whether it was kept."""

    title: str
    file: str
    sample: str
    should_fire: bool
    kept: bool
    note: str = ""
    """Why the promise could not be tried."""


class _FiredRules:
    """A sink that keeps the ids of rules only."""

    def __init__(self) -> None:
        self.ids: set[str] = set()

    def write(self, items: Sequence[Event | Alert]) -> None:
        self.ids.update(item.rule.id for item in items if isinstance(item, Alert))

    def close(self) -> None:
        """Nothing is open."""


def try_rules(rules: RuleSet, options: RunOptions, locate: Callable[[str, str], Path], *,
              skip: Collection[str] = ()) -> list[Trial]:
    """Runs every capture that the rules name, each once, and compares; rules with an id in `skip` are not judged.

    `locate` finds a capture by the name in the rule and the rule's file; it raises InputError where there is none.
    """
    fired: dict[Path, set[str]] = {}
    trials: list[Trial] = []
    every: list[Rule | Correlation] = [*rules.rules, *rules.correlations]
    for rule in every:
        if not rule.output or rule.info.id in skip:
            continue
        for names, should_fire in ((rule.samples_fire, True), (rule.samples_silent, False)):
            for name in names:
                try:
                    path = locate(name, rule.file)
                    if path not in fired:
                        fired[path] = _fired(path, options)
                except InputError as error:
                    trials.append(Trial(rule.info.title, rule.file, name, should_fire, False, str(error)))
                    continue
                kept = (rule.info.id in fired[path]) == should_fire
                trials.append(Trial(rule.info.title, rule.file, name, should_fire, kept))
    return trials


def _fired(path: Path, options: RunOptions) -> set[str]:
    """Rules that a capture fires; `NAME.indicators.txt` and `NAME.inventory.yml` beside `NAME.pcap` belong to it."""
    sink = _FiredRules()
    beside = path.with_name(f"{path.stem}.indicators.txt")
    if beside.is_file():
        options = msgspec.structs.replace(options, indicator_paths=(*options.indicator_paths, str(beside)))
    beside = path.with_name(f"{path.stem}.inventory.yml")
    if beside.is_file():
        options = msgspec.structs.replace(options, inventory_path=str(beside))
    analyze([str(path)], options, sink)
    return sink.ids
