"""`imapids rules`: list, check, test, convert, write, explain, and allow what is wanted."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imapids.cli.commands import Group
from imapids.cli.console import printable, say
from imapids.errors import ExitCode, InputError, UsageError
from imapids.output.files import whole_file

if TYPE_CHECKING:
    from imapids.records.alerts import Alert

PathList = tuple[str, ...]
paths_argument = click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path())
output_option = click.option("-o", "--output", metavar="FILE", type=click.Path(),
                             help="Write to this file instead of standard output.")
defaults_option = click.option("--no-default-rules", is_flag=True, help="Leave out the rules that come with imapids.")


@click.group(cls=Group, no_args_is_help=False)
def command() -> None:
    """Work with rules: Sigma files that judge the events of imapids (and YARA files: `check` reads them, too).

    PATH is a rule file or a folder of them; without one, the rules that come with imapids are meant.
    """


def _print(lines: Iterable[str]) -> None:
    """Rule texts on standard output: files from anywhere, so that they are escaped like everything else."""
    for line in lines:
        sys.stdout.write(printable(line) + "\n")


@command.command("list", epilog="Example: imapids rules list my-rules/")
@paths_argument
@defaults_option
def list_rules(paths: PathList, *, no_default_rules: bool) -> int:
    """One line for each rule: sid, level, family, event type, title."""
    from imapids.detect import load_rules

    rules = load_rules([Path(path) for path in paths], defaults=not no_default_rules)
    rows = [(rule.info, rule.category or "any") for rule in rules.rules if rule.output]
    rows += [(rule.info, rule.kind) for rule in rules.correlations if rule.output]
    _print(f"{info.sid or '-':>8}  {info.level:<13}  {info.family or '-':<18}  {kind:<13}  {info.title}"
           for info, kind in sorted(rows, key=lambda row: (row[0].family, row[0].sid)))
    for note in rules.notes:
        say(note)
    return ExitCode.COMPLETE


@command.command(epilog="Example: imapids rules check my-rules/")
@paths_argument
def check(paths: PathList) -> int:
    """Every fault of rule files at once, as FILE:LINE: what, with the nearest right word. Exit code 5 for a fault."""
    from imapids.detect.tools import check as check_rules
    from imapids.signatures import Signatures

    faults = check_rules([Path(path) for path in paths], defaults=not paths)
    for fault in faults:
        kind = "" if fault.severity == "error" else f"{fault.severity}: "
        _print([f"{fault.file}:{fault.line}: {kind}{fault.message}"])
    payload_faults = Signatures(paths, defaults=False).faults
    _print(payload_faults)
    errors = sum(fault.severity == "error" for fault in faults)
    advice, errors = len(faults) - errors, errors + len(payload_faults)
    say(f"{errors} faults, {advice} pieces of advice")
    return ExitCode.BAD_RULES if errors else ExitCode.COMPLETE


@command.command(epilog="Example: imapids rules test my-rules/")
@paths_argument
@click.option("-v", "--verbose", is_flag=True, help="Show the promises that were kept, too.")
def test(paths: PathList, *, verbose: bool) -> int:
    """Run the captures that the rules name: the ones that must fire, and the ones that must stay silent.

    A capture is the name of a sample (imapids sample lists them) or a file, relative to the rule's own. Exit code 5
    when a rule does not keep its promise.
    """
    from imapids.desk.rule_samples import try_rules
    from imapids.detect import load_rules
    from imapids.run.options import RunOptions

    shipped = {info.id for info in load_rules().infos()} if paths else set()
    rules = load_rules([Path(path) for path in paths])
    options = RunOptions(rule_paths=paths, events=frozenset({"alert"}))
    trials = try_rules(rules, options, locate_sample, skip=shipped)
    for trial in trials:
        if verbose or not trial.kept:
            what = "fires" if trial.should_fire else "stays silent"
            result = "ok" if trial.kept else trial.note or "FAILED"
            _print([f"{trial.file}: {trial.title}: {what} on {trial.sample}: {result}"])
    failed = sum(not trial.kept for trial in trials)
    say(f"{len(trials)} promises tried, {failed} not kept")
    return ExitCode.BAD_RULES if failed else ExitCode.COMPLETE


def locate_sample(name: str, rule_file: str) -> Path:
    """A sample by its name, or a capture beside the rule file."""
    from imapids.cli.sample import FOLDER, load_samples

    known = load_samples().get(name.removesuffix(".pcap"))
    if known is not None:
        return FOLDER / known.file
    path = Path(rule_file).parent / name
    if not path.is_file():
        raise InputError(f"there is no sample {name!r} and no file {path}")
    return path


@command.command(epilog="Example: imapids rules convert -t splunk my-rules/")
@paths_argument
@click.option("-t", "--target", required=True, metavar="NAME", help="splunk, lucene, esql or eql.")
def convert(paths: PathList, *, target: str) -> int:
    """Rules as queries of a SIEM, over the events that imapids exported. Needs the pySigma back end of the target."""
    from imapids.detect.tools import convert as convert_rules

    for title, query in convert_rules([Path(path) for path in paths], target, defaults=not paths):
        _print([f"# {title}", query, ""])
    return ExitCode.COMPLETE


@command.command(epilog="Example: imapids rules new session -o my-rule.yml")
@click.argument("kind", default="session", metavar="[KIND]")
@output_option
def new(kind: str, *, output: str | None) -> int:
    """A template that passes the check.

    KIND is an event type (session, command, login, message, tls), correlation or filter.
    """
    from imapids.detect.tools import new as new_rule

    _write(new_rule(kind, _today()), output)
    return ExitCode.COMPLETE


@command.command(epilog="Example: imapids rules explain 1143001")
@click.argument("name", metavar="RULE")
@click.option("--rules", "paths", multiple=True, metavar="DIR", type=click.Path(), help="Look in these rules, too.")
def explain(name: str, *, paths: PathList) -> int:
    """A rule in words. RULE is its id, name, sid or title."""
    from imapids.detect import load_rules
    from imapids.detect.tools import explain as explain_rule
    from imapids.detect.tools import find

    rules = load_rules([Path(path) for path in paths])
    _print(explain_rule(find(rules, name), rules).splitlines())
    return ExitCode.COMPLETE


@command.command(epilog="Example: imapids rules allow 9a48b6204108aeb0 monday.jsonl --days 30 -o allow.yml")
@click.argument("alert_id", metavar="ALERT")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...", type=click.Path())
@click.option("--days", type=click.IntRange(1, 366), default=30, show_default=True, help="Until the filter expires.")
@click.option("--reason", default="", help="Why it is allowed, and who decided it.")
@click.option("--rules", "paths", multiple=True, metavar="DIR", type=click.Path(),
              help="The rules that raised it, if not ours.")
@output_option
def allow(alert_id: str, sources: PathList, *, days: int, reason: str, paths: PathList, output: str | None) -> int:
    """Write a filter that silences one finding for its pair of hosts, until it expires.

    ALERT is the alert's id, SOURCE the JSON lines that hold it, or the capture. Use the filter with --allow FILE.
    """
    from imapids.detect import load_rules
    from imapids.detect.tools import allow as allow_finding

    alert = next((found for source in sources if (found := find_alert(alert_id.lower(), source, paths))), None)
    if alert is None:
        raise UsageError(f"no alert {alert_id} in {', '.join(sources)}")
    rules = load_rules([Path(path) for path in paths])
    _write(allow_finding(alert, days, _today(), rules=rules, reason=reason), output)
    return ExitCode.COMPLETE


def find_alert(alert_id: str, source: str, rule_paths: PathList) -> Alert | None:
    """The alert of this id in a file of JSON lines, or in the results of a capture."""
    from imapids.output.eve_reader import decode
    from imapids.records.alerts import Alert
    from imapids.records.events import Event

    found: list[Alert] = []

    class Finder:
        def write(self, items: Iterable[Event | Alert]) -> None:
            found.extend(item for item in items if isinstance(item, Alert) and item.id == alert_id and not found)

        def close(self) -> None: ...

    try:
        with Path(source).open("rb") as file:
            if file.read(1) == b"{":
                file.seek(0)
                while not found and (line := file.readline(1 << 20)):
                    item = decode(line)
                    Finder().write([item] if isinstance(item, Alert) else [])
                return found[0] if found else None
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror}") from error
    from imapids.run.local import analyze
    from imapids.run.options import RunOptions

    analyze([source], RunOptions(rule_paths=rule_paths, events=frozenset({"alert"})), Finder())
    return found[0] if found else None


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


def _write(text: str, output: str | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    if Path(output).exists():
        raise UsageError(f"{output} exists: choose another name.")
    with whole_file(output) as file:
        file.write(text)
