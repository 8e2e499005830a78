"""`imapids detect`: a new rule or allow-list acts on events that were saved earlier."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from imapids.cli.analyze import written_events
from imapids.cli.commands import Command
from imapids.cli.console import on_terminal, say
from imapids.cli.interrupt import Stop, stop_on_signals
from imapids.cli.options import display_options, output_options, rule_options
from imapids.cli.results import Sink, open_results, refuse_inputs
from imapids.errors import ExitCode
from imapids.records.alerts import LEVELS, Alert
from imapids.records.events import Event

BATCH_EVENTS = 4_096


@click.command(cls=Command, epilog="Example: imapids detect monday.jsonl --rules my-rules/ --no-default-rules")
@click.argument("files", nargs=-1, required=True, metavar="EVENTS.jsonl...", type=click.Path())
@output_options
@rule_options
@display_options
def command(
    files: tuple[str, ...], *, events: frozenset[str] | None, form: str | None, output: str | None, fail_on: str | None,
    rules: tuple[str, ...], no_default_rules: bool, allow: tuple[str, ...], quiet: bool, verbose: int, no_color: bool,
) -> int:
    """Run rules over events that `imapids analyze --events all --format jsonl` wrote.

    The alerts are the same as those of the run that wrote the events. A file named - is standard input.
    """
    from imapids.detect import Detector, load_rules

    refuse_inputs(output, files)
    form = form or ("table" if output is None and on_terminal() else "jsonl")
    detector = Detector(load_rules([Path(path) for path in rules], defaults=not no_default_rules,
                                   allow=[Path(path) for path in allow]))
    kinds = written_events(form, events) if form == "html" else events or frozenset({"alert"})
    highest = -1
    with stop_on_signals(quiet) as stop, open_results(form, output, kinds, color=False if no_color else None) as sink:
        reader = SavedEvents(files, stop)
        last_ns = 0
        for batch in reader.batches():
            last_ns = max(last_ns, batch[-1].known_ns)
            highest = max(highest, _write(sink, batch if kinds != {"alert"} else [], detector.feed(batch)))
        highest = max(highest, _write(sink, [], detector.finish(last_ns)))
    if not quiet and (reader.foreign or verbose):
        say(f"{reader.read:,} events read; {reader.foreign:,} lines left out, which are no events of imapids")
    if stop.requested:
        return ExitCode.INTERRUPTED
    if fail_on is not None and highest >= LEVELS.index(fail_on):
        return ExitCode.ALERTS
    return ExitCode.INCOMPLETE if reader.foreign else ExitCode.COMPLETE


def _write(sink: Sink, events: list[Event], alerts: list[Alert]) -> int:
    """Hand on events and alerts; the highest level among the alerts, as an index of LEVELS, or -1."""
    sink.write([*events, *alerts])
    return max((LEVELS.index(alert.rule.level) for alert in alerts), default=-1)


class SavedEvents:
    """Events of JSON lines files, in batches; alerts among them are left out, for the rules make them anew."""

    def __init__(self, paths: Iterable[str], stop: Stop) -> None:
        from imapids.desk.saved import ForeignLines

        self.paths = paths
        self.stop = stop
        self.read = 0
        self._foreign = ForeignLines()

    @property
    def foreign(self) -> int:
        """Lines that are no events of ours."""
        return self._foreign.count

    def batches(self) -> Iterator[list[Event]]:
        """Lists of at most BATCH_EVENTS events, in the order of the files."""
        from imapids.desk.saved import saved_records

        batch: list[Event] = []
        for path in self.paths:
            for record in saved_records(path, self._foreign):
                if isinstance(record, Alert):
                    continue
                self.read += 1
                batch.append(record)
                if len(batch) == BATCH_EVENTS:
                    yield batch
                    batch = []
                if self.stop.requested:
                    break
        if batch:
            yield batch
