"""Options that several commands share, and what they make of them: one place for names, help and defaults."""

from __future__ import annotations

import stat
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

from imapids.cli.console import say
from imapids.cli.values import Format, Moment, Names, Network, Ports, Size, Workers
from imapids.config import Limits, limits_within
from imapids.errors import UsageError
from imapids.records.alerts import LEVELS
from imapids.run import values
from imapids.run.options import ALL_EVENTS

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])

FORMATS = ("table", "html", "jsonl", "csv", "parquet", "ecs", "stix", "misp")
EVENT_NAMES = Names("event type", ALL_EVENTS, ALL_EVENTS - {"flow"})
LATER_OPTIONS = ("--scheduler", "--work")
"""Options of the design that this version does not have: they are refused by name, never ignored."""


def together(*options: Callable[[AnyCommand], AnyCommand]) -> Callable[[AnyCommand], AnyCommand]:
    """Several option decorators as one, in the order of the help."""
    return lambda function: reduce(lambda decorated, option: option(decorated), reversed(options), function)


def _refuse_later(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError(f"{param.opts[0]} is not in this version.", ctx)


later_options = together(*(
    click.option(name, hidden=True, expose_value=False, callback=_refuse_later) for name in LATER_OPTIONS
))

rule_options = together(
    click.option("--rules", "rules", multiple=True, metavar="DIR", type=click.Path(),
                 help="A Sigma rule file or a folder of them; may be given several times."),
    click.option("--no-default-rules", is_flag=True, help="Leave out the rules that come with imapids."),
    click.option("--allow", multiple=True, metavar="FILE", type=click.Path(),
                 help="An allow-list: Sigma filters, a file or a folder."),
)

indicator_options = together(
    click.option("--indicators", multiple=True, metavar="FILE", type=click.Path(),
                 help="Indicators: STIX 2.1, MISP, CSV or a plain list; a file or a folder."),
)

inventory_options = together(
    click.option("--inventory", metavar="FILE", type=click.Path(),
                 help="What is meant to be where (YAML): services that it does not name are unexpected."),
)

selection_options = together(
    click.option("--home-net", "home_nets", multiple=True, metavar="CIDR", type=Network(),
                 help="Our own networks: they decide what is inbound and outbound. Default: private ranges."),
    click.option("--watch", multiple=True, metavar="PORT[/udp],...", type=Ports(),
                 help="Server ports whose every flow is judged. Default: 143,143/udp."),
    click.option("--since", metavar="TIME", type=Moment(),
                 help="Only packets from this time on (ISO 8601 or epoch, UTC)."),
    click.option("--until", metavar="TIME", type=Moment(), help="Only packets before this time."),
    click.option("--host", "hosts", multiple=True, metavar="ADDR", type=Network(),
                 help="Only packets from or to this address or network."),
)

output_options = together(
    click.option("--events", metavar="LIST", type=EVENT_NAMES,
                 help="What to write: event types separated by commas, or all. Default: alert,capture."),
    click.option("--format", "form", metavar="FORMAT", type=Format(*FORMATS),
                 help="For people: table, html (a report). For programs: jsonl (EVE lines), csv, parquet (a folder of "
                      "frames), ecs (Elastic), stix and misp (alerts only, as one bundle or event). Default: table on "
                      "a terminal, jsonl elsewhere."),
    click.option("-o", "--output", metavar="PATH", type=click.Path(),
                 help="Write to this file (a folder for Parquet, and for CSV of several event types)."),
    click.option("--fail-on", metavar="LEVEL", type=click.Choice(LEVELS, case_sensitive=False),
                 help="Exit with 1 when an alert has this level or a higher one."),
)

display_options = together(
    click.option("--quiet", "-q", is_flag=True, help="No progress and no messages but errors."),
    click.option("-v", "--verbose", count=True, help="Say more about the run on standard error."),
    click.option("--no-color", is_flag=True, help="No colours (the variable NO_COLOR does the same)."),
)

run_options = together(
    click.option("--workers", metavar="N|auto", type=Workers(), default="1",
                 help="Processes to share the work; this version works in one. Default: 1."),
    click.option("--max-memory", metavar="SIZE", type=Size(),
                 help="Hold at most about this much, such as 200M. Default: 400M."),
    click.option("--hash-key", metavar="FILE", type=click.Path(),
                 help="Key for the hashes of secrets: with the same key, reuse of a password shows between runs."),
)


def chosen_limits(max_memory: int | None) -> Limits:
    """The limits of a run that is to hold at most `max_memory` bytes."""
    if max_memory is None:
        return Limits()
    try:
        return limits_within(max_memory)
    except ValueError as error:
        raise UsageError(f"--max-memory: {error}") from error


def read_key(path: str | None) -> bytes | None:
    """The key of a file: 16 to 4,096 bytes, without a line end; says so when others may read it."""
    if path is None:
        return None
    try:
        key, mode = values.read_key(Path(path))
    except ValueError as error:
        raise UsageError(f"--hash-key: {error}") from error
    if stat.S_ISREG(mode) and mode & 0o077:
        say(f"warning: others can read the key in {path}; chmod 600 helps")
    return key


def watched_ports(watch: tuple[tuple[tuple[int, str], ...], ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The watched TCP and UDP ports: what was given, or 143 of both."""
    return values.watched_ports(pair for group in watch for pair in group)
