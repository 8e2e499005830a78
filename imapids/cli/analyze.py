"""`imapids analyze`: captures in, verdicts and alerts out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imapids.cli.commands import Command
from imapids.cli.console import on_terminal, say
from imapids.cli.interrupt import stop_on_signals
from imapids.cli.options import (
    chosen_limits,
    display_options,
    indicator_options,
    inventory_options,
    later_options,
    output_options,
    read_key,
    rule_options,
    run_options,
    selection_options,
    watched_ports,
)
from imapids.cli.progress import ProgressBar
from imapids.cli.results import open_results, refuse_inputs
from imapids.config import HOME_NETS
from imapids.errors import ExitCode, InputError, UsageError
from imapids.records.alerts import Alert
from imapids.records.events import Capture, Event
from imapids.run.options import ALL_EVENTS, DEFAULT_EVENTS, RunOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from imapids.desk.report.sink import Explain
    from imapids.run.local import RunResult

TABLE_EVENTS = frozenset({"session", "alert", "capture"})
"""What the report for people is made of."""


@click.command(cls=Command, epilog="Example: imapids analyze monday.pcap.gz --home-net 192.0.2.0/24 --fail-on high")
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...", type=click.Path())
@output_options
@rule_options
@indicator_options
@inventory_options
@selection_options
@click.option("--follow", is_flag=True, help="Go on reading as the capture grows; Ctrl-C ends it.")
@run_options
@display_options
@later_options
def command(
    captures: tuple[str, ...], *, events: frozenset[str] | None, form: str | None, output: str | None,
    fail_on: str | None, rules: tuple[str, ...], no_default_rules: bool, allow: tuple[str, ...],
    indicators: tuple[str, ...], inventory: str | None,
    home_nets: tuple[str, ...], watch: tuple[tuple[tuple[int, str], ...], ...], since: int | None, until: int | None,
    hosts: tuple[str, ...], follow: bool, workers: int, max_memory: int | None, hash_key: str | None, quiet: bool,
    verbose: int, no_color: bool,
) -> int:
    """Read captures and say what is in them: is it IMAP, what is it instead, what is dangerous, and how do we know?

    CAPTURE is a file (pcap or pcapng, plain or compressed), a folder, or - for standard input.
    """
    if since is not None and until is not None and since >= until:
        raise UsageError("--since must lie before --until.")
    if workers > 1:
        raise UsageError(f"--workers {workers}: sharing the work is not in this version; leave it at 1 or auto.")
    refuse_inputs(output, captures)
    form = form or ("table" if output is None and on_terminal() else "jsonl")
    watch_tcp, watch_udp = watched_ports(watch)
    options = RunOptions(
        home_nets=home_nets or HOME_NETS, watch_tcp=watch_tcp, watch_udp=watch_udp,
        since_ns=since, until_ns=until, hosts=hosts,
        events=written_events(form, events),
        rule_paths=rules, default_rules=not no_default_rules, allow_paths=allow,
        indicator_paths=indicators, inventory_path=inventory,
        follow=follow, workers=workers, limits=chosen_limits(max_memory), hash_key=read_key(hash_key),
    )
    return run_analysis(captures, options, form, output, fail_on=fail_on, quiet=quiet, verbose=verbose,
                        color=False if no_color else None)


def written_events(form: str, asked: frozenset[str] | None) -> frozenset[str]:
    """The event types that a format needs: what was asked for, or what is most use in it."""
    if form == "table":
        return TABLE_EVENTS | (asked or frozenset())
    if form == "html":
        from imapids.desk.report.sink import REPORT_EVENTS

        return REPORT_EVENTS | (asked or frozenset())
    if form in ("stix", "misp"):
        return frozenset({"alert"})  # they have no place for other events
    if asked is not None:
        return asked
    if form == "parquet":
        return ALL_EVENTS - {"flow"}
    return frozenset({"alert"}) if form == "csv" else DEFAULT_EVENTS


def run_analysis(captures: tuple[str, ...], options: RunOptions, form: str, output: str | None, *, fail_on: str | None,
                 quiet: bool, verbose: int, color: bool | None) -> int:
    """Run, write, and find the exit code; damage of inputs is told on standard error, too."""
    from imapids.run.local import analyze  # NumPy and the stages: a usage error does not wait for them

    with (
        stop_on_signals(quiet) as stop,
        open_results(form, output, options.events, color=color, of_run=True,
                     explain=_dialogues(captures, options, stop) if form == "html" else None) as sink,
        ProgressBar(shown=not quiet) as progress,
    ):
        result = analyze(captures, options, sink, progress=progress, stop=stop)
    if not quiet:
        _tell(result, verbose)
    return int(ExitCode.INTERRUPTED if stop.requested else result.exit_code(fail_on))


def _dialogues(captures: tuple[str, ...], options: RunOptions, stop: Callable[[], bool]) -> Explain | None:
    """Reads the dialogue of a session in a second reading; None where the captures can be read only once."""
    from imapids.desk.explain import Explanation, read_dialogue

    if "-" in captures or options.follow:
        return None

    def explain(session: Event, alerts: list[Alert]) -> Explanation | None:
        try:
            return read_dialogue(captures, options, session, alerts, stop)
        except InputError:  # what was read a moment ago is gone: the report does without
            return None

    return explain


def _tell(result: RunResult, verbose: int) -> None:
    """What people should know of the run whatever the format: damage, and with -v the counts."""
    capture = result.capture.body
    assert isinstance(capture, Capture)
    for account in capture.inputs:
        if account.status in ("unreadable", "unsupported") and account.damage:
            say(account.damage[0])
        elif account.status != "ok":
            say(f"{account.name}: {account.status}" + "".join(f"\n  {damage}" for damage in account.damage[:5]))
    for message in result.messages:
        say(message)
    if verbose:
        say(f"{capture.packets:,} packets read, {capture.processed:,} processed; skipped: {_counts(capture.skipped)}")
        say(f"sessions: {_counts(result.sessions)}; alerts: {_counts(result.alerts_by_level)}")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) or "none"
