"""`imapids extract`: the packets behind an alert, a session or a rule, ready for Wireshark or for a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imapids import __version__
from imapids.cli.commands import Command
from imapids.cli.console import say
from imapids.cli.interrupt import stop_on_signals
from imapids.cli.options import display_options, indicator_options, rule_options, selection_options, watched_ports
from imapids.cli.results import STANDARD_OUTPUT, refuse_inputs
from imapids.config import HOME_NETS
from imapids.errors import ExitCode, UsageError
from imapids.output.files import LineFile, make_folder, whole_binary_file, whole_file
from imapids.records.streams import SIDES, Flow
from imapids.run.options import RunOptions

if TYPE_CHECKING:
    from imapids.desk import Line


@click.command(cls=Command, epilog="Example: imapids extract monday.pcap --alert 5f0c9d2e8a7b6c41 -o evidence.pcapng")
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...", type=click.Path())
@click.option("--alert", "alert_id", metavar="ID", help="Everything that this alert is about (id of 16 hex digits).")
@click.option("--flow", "flow_id", metavar="ID", type=click.IntRange(min=1), help="The session with this flow_id.")
@click.option("--rule", "rule_id", metavar="ID", help="Everything that a rule fired on: its id, its sid or its name.")
@click.option("-o", "--output", metavar="OUT.pcapng", required=True, type=click.Path(), help="The file to write.")
@click.option("--streams", is_flag=True,
              help="Write the dialogue of each session to OUT.streams, too, without its secrets.")
@click.option("--unredacted", is_flag=True,
              help="With --streams: the bytes of both sides as they are. They hold passwords.")
@rule_options
@indicator_options
@selection_options
@display_options
def command(
    captures: tuple[str, ...], *, alert_id: str | None, flow_id: int | None, rule_id: str | None, output: str,
    streams: bool, unredacted: bool, rules: tuple[str, ...], no_default_rules: bool, allow: tuple[str, ...],
    indicators: tuple[str, ...], home_nets: tuple[str, ...], watch: tuple[tuple[tuple[int, str], ...], ...],
    since: int | None, until: int | None, hosts: tuple[str, ...], quiet: bool, verbose: int, no_color: bool,
) -> int:
    """Write the packets of one alert, session or rule to a pcapng file.

    Packets keep their bytes, times and link types; comments name the alerts and the evidence where they stand. The
    packets hold what was on the wire, passwords included: the file can be read by its owner only.
    """
    from imapids.desk import Wanted, extract

    if sum(each is not None for each in (alert_id, flow_id, rule_id)) != 1:
        raise UsageError("Say what to extract: one of --alert, --flow and --rule.")
    if unredacted and not streams:
        raise UsageError("--unredacted is about --streams: give both.")
    if output == STANDARD_OUTPUT:
        raise UsageError("-o: packets are not written to standard output; name a file.")
    refuse_inputs(output, captures)
    watch_tcp, watch_udp = watched_ports(watch)
    options = RunOptions(
        home_nets=home_nets or HOME_NETS, watch_tcp=watch_tcp, watch_udp=watch_udp, since_ns=since, until_ns=until,
        hosts=hosts, rule_paths=rules, default_rules=not no_default_rules, allow_paths=allow,
        indicator_paths=indicators)
    wanted = Wanted(alert=(alert_id or "").lower(), flow=flow_id or 0, rule=rule_id or "")
    with stop_on_signals(quiet) as stop, whole_binary_file(output) as write:
        folder = StreamFolder(make_folder(f"{Path(output).with_suffix('')}.streams")) if streams else None
        found = extract(captures, options, wanted, write, application=f"imapids {__version__}", streams=folder,
                        unredacted=unredacted, stop=stop)
    if not quiet:
        say(f"{output}: {found.packets:,} packets of {found.flows:,} "
            f"{'session' if found.flows == 1 else 'sessions'}"
            + (f"; {found.left_out:,} sessions beyond the limit are left out" if found.left_out else ""))
        if folder is not None:
            say(f"{folder.path}: {folder.files:,} files")
    return int(ExitCode.INTERRUPTED if stop.requested else ExitCode.COMPLETE)


class StreamFolder:
    """One file a session with its dialogue, or one a side with its bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = 0
        self._written: set[Path] = set()

    def transcript(self, flow: Flow, lines: Sequence[Line], left_out: int, gap_at: int) -> None:
        """The dialogue, without secrets."""
        with whole_file(str(self.path / f"{flow.flow_id}.txt")) as file:
            file.write(f"# {flow.protocol} {flow.client} port {flow.client_port} -> {flow.server} port "
                       f"{flow.server_port}, {flow.community_id}\n")
            for index, line in enumerate(lines):
                if left_out and index == gap_at:
                    file.write(f"# {left_out} lines left out\n")
                file.writelines(f"{line.packet:>8} {SIDES[line.side]}: {text}\n" for text in line.text.split("\n"))
        self.files += 1

    def payload(self, flow: Flow, side: int, data: bytes) -> None:
        """More bytes of one side as they are."""
        path = self.path / f"{flow.flow_id}.{SIDES[side]}.bin"
        if path not in self._written:
            with whole_binary_file(str(path)) as write:  # what an earlier run left there goes
                write(b"")
            self._written.add(path)
            self.files += 1
        file = LineFile(str(path))
        try:
            file.write(data)
        finally:
            file.close()
