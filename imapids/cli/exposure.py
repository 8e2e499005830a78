"""`imapids exposure`: which mail services are where, who reaches them, what differs, and rules for the firewall."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from imapids.cli.commands import Command
from imapids.cli.console import on_terminal, say
from imapids.cli.interrupt import stop_on_signals
from imapids.cli.options import display_options, inventory_options, selection_options, watched_ports
from imapids.cli.progress import ProgressBar
from imapids.cli.results import STANDARD_OUTPUT, open_results, refuse_inputs
from imapids.cli.values import Format
from imapids.config import HOME_NETS
from imapids.errors import ExitCode, UsageError
from imapids.output.files import whole_file
from imapids.run.options import RunOptions

if TYPE_CHECKING:
    from imapids.desk.exposure import Sheet

_WIDTH = 100


@click.command(cls=Command, epilog="Example: imapids exposure monday.pcap --home-net 192.0.2.0/24 --firewall nftables")
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...", type=click.Path())
@click.option("--format", "form", metavar="FORMAT", type=Format("table", "jsonl", "csv"),
              help="table, jsonl (EVE lines) or csv. Default: table on a terminal, jsonl elsewhere.")
@click.option("-o", "--output", metavar="PATH", type=click.Path(), help="Write to this file.")
@click.option("--diff", metavar="OLD_SHEET", type=click.Path(),
              help="Compare with an earlier sheet (jsonl or csv): what is new, what is otherwise, what was not asked.")
@click.option("--firewall", type=click.Choice(("nftables", "iptables")),
              help="Print firewall rules instead of the sheet: first a variant that only logs, then one that cuts.")
@inventory_options
@selection_options
@display_options
def command(
    captures: tuple[str, ...], *, form: str | None, output: str | None, diff: str | None, firewall: str | None,
    inventory: str | None, home_nets: tuple[str, ...], watch: tuple[tuple[tuple[int, str], ...], ...],
    since: int | None, until: int | None, hosts: tuple[str, ...], quiet: bool, verbose: int, no_color: bool,
) -> int:
    """Show what mail services are open, to whom, with what behind them, from conversations alone.

    For ports 143 (TCP, UDP), 25, 110, 465, 587, 993 and 995, and IMAP elsewhere: open, closed or stealth, asked from
    inside (LAN, by --home-net) or outside (WAN), software, sign-in in the clear, STARTTLS, clients, mail proxies.
    """
    if firewall is not None and (form is not None or diff is not None):
        raise UsageError("--firewall prints rules instead of the sheet: leave out --format and --diff.")
    refuse_inputs(output, captures)
    watch_tcp, watch_udp = watched_ports(watch)
    options = RunOptions(
        home_nets=home_nets or HOME_NETS, watch_tcp=watch_tcp, watch_udp=watch_udp, since_ns=since, until_ns=until,
        hosts=hosts, inventory_path=inventory)
    from imapids.desk.exposure import exposure_sheet, read_sheet

    earlier = None if diff is None else read_sheet(Path(diff))
    with stop_on_signals(quiet) as stop, ProgressBar(shown=not quiet) as progress:
        sheet = exposure_sheet(captures, options, earlier=earlier, progress=progress, stop=stop)
    if firewall is not None:
        _write_rules(sheet, firewall, options, output)
    else:
        _write_sheet(sheet, form or ("table" if output is None and on_terminal() else "jsonl"), output)
    if not quiet:
        _tell(sheet, verbose)
    return int(ExitCode.INTERRUPTED if stop.requested else sheet.result.exit_code())


def _write_sheet(sheet: Sheet, form: str, output: str | None) -> None:
    from imapids.desk.exposure import differing_lines
    from imapids.desk.sheet_text import sheet_text

    if form == "table":
        with _text(output) as stream:
            stream.writelines(f"{line}\n" for line in sheet_text(sheet, _WIDTH))
        return
    with open_results(form, output, frozenset({"exposure"})) as sink:
        sink.write(differing_lines(sheet))


def _write_rules(sheet: Sheet, form: str, options: RunOptions, output: str | None) -> None:
    from imapids.desk.firewall import firewall, plan
    from imapids.run.inventory import read_inventory

    inventory = () if options.inventory_path is None else read_inventory(Path(options.inventory_path))
    with _text(output) as stream:
        stream.writelines(f"{line}\n" for line in firewall(form, plan(sheet, options.home_nets, inventory)))


@contextmanager
def _text(output: str | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears when all of it is written."""
    if output in (None, STANDARD_OUTPUT):
        yield sys.stdout
        return
    with whole_file(str(output)) as stream:
        yield stream


def _tell(sheet: Sheet, verbose: int) -> None:
    """Damage of inputs, and with -v the counts."""
    for account in sheet.result.accounts:
        if account.status != "ok":
            say(account.message or f"{account.source.name}: {account.status}")
    for message in sheet.result.messages:
        say(message)
    if verbose:
        say(f"{len(sheet.lines):,} addresses and ports")
