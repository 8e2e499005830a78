"""`imapids live`: an interface, watched until somebody stops it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from imapids.cli.commands import Command
from imapids.cli.console import on_terminal, say
from imapids.cli.options import (
    EVENT_NAMES,
    chosen_limits,
    display_options,
    indicator_options,
    inventory_options,
    read_key,
    rule_options,
    together,
    watched_ports,
)
from imapids.cli.values import Format, Network, Ports, Size, Value
from imapids.config import HOME_NETS
from imapids.errors import UsageError
from imapids.records.alerts import LEVELS
from imapids.run.options import RunOptions
from imapids.run.values import size_bytes

if TYPE_CHECKING:
    from imapids.run.live import LiveResult

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Period(Value):
    """Seconds: 30s, 10m, 1h, 1d, or a plain number."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        return float(value) if isinstance(value, int | float) else self.read(seconds, value, param, ctx)


class RotationRule(Value):
    """When to begin a new file: a size, a time, or both, separated by a comma: (bytes, seconds)."""

    name = "rotation"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        largest, oldest = 0, 0
        for part in filter(None, (part.strip() for part in str(value).split(","))):
            if re.fullmatch(r"\d{1,6}[smhd]", part):
                oldest = int(seconds(part))
            else:
                largest = self.read(size_bytes, part, param, ctx)
        if not largest and not oldest:
            self.refuse(f"{value!r} is no size or time. Write 100M, 1h, or 100M,1d.", param, ctx)
        return largest, oldest


class Listener(Value):
    """Where to listen: (address, port); the loopback address where only a port is given."""

    name = "address"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None,
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(?:(\[[0-9a-fA-F:]+\]|[^:\[\]]+):)?(\d{1,5})", str(value).strip())
        if match is None or not 0 < int(match[2]) < 65_536:
            self.refuse(f"{value!r} is no port. Write 9143 or 192.0.2.1:9143.", param, ctx)
        return (match[1] or "127.0.0.1").strip("[]"), int(match[2])


def seconds(text: str) -> float:
    """Seconds of a time with a unit. Raises ValueError with a sentence that says what was wanted."""
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smhd]?)", text)
    if match is None or not float(match[1]):
        raise ValueError(f"{text!r} is no length of time. Write 30s, 10m, 1h or 1d.")
    return float(match[1]) * _UNITS[match[2] or "s"]


source_options = together(
    click.option("--filter", "expression", metavar="EXPR",
                 help="Let the kernel keep all but these packets away, in the words of tcpdump; 'watched': the watched "
                      "ports, fragments and tunnels (no IMAP elsewhere then). Default: all packets."),
    click.option("--source", type=click.Choice(("auto", "ring", "scapy")), default="auto",
                 help="The kernel's packet ring, or scapy's socket where there is none (slow; needs the extra scapy). "
                      "Default: auto."),
    click.option("--user", metavar="NAME", default="nobody",
                 help="Whom to become before packets are read, when started as root. Default: nobody."),
    click.option("--allow-root", is_flag=True, help="Stay root: an error in a parser is the whole machine then."),
)

line_options = together(
    click.option("--events", metavar="LIST", type=EVENT_NAMES,
                 help="What to write: event types separated by commas, or all. Default: alert,capture,stats."),
    click.option("--format", "form", metavar="FORMAT", type=Format("table", "jsonl"),
                 help="On standard output: table (a view for people) or jsonl. Default: table on a terminal, jsonl "
                      "elsewhere."),
    click.option("-o", "--output", metavar="PATH", type=click.Path(),
                 help="Write JSON lines to this file, or to unix:PATH, tcp://HOST:PORT, syslog:PATH, "
                      "syslog+tcp://HOST:PORT, syslog+udp://HOST:PORT."),
    click.option("--rotate", metavar="SIZE|TIME", type=RotationRule(),
                 help="Begin a new file at this size or age: 100M, 1h, or 100M,1d. SIGHUP does so, too."),
    click.option("--stats-interval", metavar="TIME", type=Period(), default="60s",
                 help="How often a stats event tells rates, drops and memory. Default: 60s."),
    click.option("--keep-packets", metavar="SIZE", type=Size(),
                 help="Keep the newest packets from and to watched ports on disk, this much of them: imapids extract "
                      "finds those of an alert."),
    click.option("--packets-folder", metavar="PATH", type=click.Path(),
                 help="Where to keep them. Default: the output's name and .packets, or imapids-packets."),
    click.option("--metrics", metavar="[HOST:]PORT", type=Listener(),
                 help="Let Prometheus ask at this port, of this host only unless a HOST is named (needs the extra "
                      "metrics)."),
    click.option("--fail-on", metavar="LEVEL", type=click.Choice(LEVELS, case_sensitive=False),
                 help="Exit with 1 when an alert had this level or a higher one."),
)

watch_options = together(
    click.option("--home-net", "home_nets", multiple=True, metavar="CIDR", type=Network(),
                 help="Our own networks: they decide what is inbound and outbound. Default: private ranges."),
    click.option("--watch", multiple=True, metavar="PORT[/udp],...", type=Ports(),
                 help="Server ports whose every flow is judged. Default: 143,143/udp."),
    click.option("--host", "hosts", multiple=True, metavar="ADDR", type=Network(),
                 help="Only packets from or to this address or network."),
    click.option("--workers", metavar="N", type=click.IntRange(1, 64), default=1,
                 help="Processes that share the packets; what counts by source or server is still counted in one. "
                      "Default: 1."),
    click.option("--max-memory", metavar="SIZE", type=Size(),
                 help="Hold at most about this much, such as 200M. Default: 400M."),
    click.option("--hash-key", metavar="FILE", type=click.Path(),
                 help="Key for the hashes of secrets: with the same key, reuse of a password shows between runs."),
)


@click.command(cls=Command,
               epilog="Example: imapids live eth1 --home-net 192.0.2.0/24 -o /var/log/imapids/eve.json --rotate 1d")
@click.argument("interface", metavar="INTERFACE")
@source_options
@line_options
@rule_options
@indicator_options
@inventory_options
@watch_options
@display_options
def command(
    interface: str, *, expression: str | None, source: str, user: str, allow_root: bool, events: frozenset[str] | None,
    form: str | None, output: str | None, rotate: tuple[int, int] | None, stats_interval: float,
    keep_packets: int | None, packets_folder: str | None, metrics: tuple[str, int] | None, fail_on: str | None,
    rules: tuple[str, ...], no_default_rules: bool, allow: tuple[str, ...], indicators: tuple[str, ...],
    inventory: str | None, home_nets: tuple[str, ...], watch: tuple[tuple[tuple[int, str], ...], ...],
    hosts: tuple[str, ...], workers: int, max_memory: int | None, hash_key: str | None, quiet: bool, verbose: int,
    no_color: bool,
) -> int:
    """Watch an interface (a span port, a tap) until stopped: the same events and alerts as from a capture.

    Needs CAP_NET_RAW to start, and keeps no rights: as root it becomes --user before it reads a packet. SIGTERM or
    Ctrl-C ends it with everything told, a second one at once; SIGHUP reads rules, lists, indicators and inventory again
    and opens the output file anew.
    """
    from imapids.run.control import Control
    from imapids.run.live import LIVE_EVENTS
    from imapids.run.targets import Rotation
    from imapids.run.watch import STANDARD_OUTPUT, LiveOptions
    from imapids.run.watch import watch as watch_interface

    if rotate and (output is None or output == STANDARD_OUTPUT):
        raise UsageError("--rotate needs a file: -o FILE.")
    largest, oldest = rotate or (0, 0)
    form = form or ("table" if on_terminal() and output != STANDARD_OUTPUT else "jsonl")
    watch_tcp, watch_udp = watched_ports(watch)
    options = RunOptions(
        home_nets=home_nets or HOME_NETS, watch_tcp=watch_tcp, watch_udp=watch_udp, hosts=hosts,
        events=events or LIVE_EVENTS, rule_paths=rules, default_rules=not no_default_rules, allow_paths=allow,
        indicator_paths=indicators, inventory_path=inventory, workers=workers, limits=chosen_limits(max_memory),
        hash_key=read_key(hash_key),
    )
    live = LiveOptions(
        interface=interface, source=source, filter=expression or "", user=user, allow_root=allow_root,
        output=output or (None if form == "table" else STANDARD_OUTPUT),
        rotation=Rotation(max_bytes=largest, seconds=oldest), stats_seconds=stats_interval,
        keep_bytes=keep_packets or 0, keep_folder=packets_folder or _packets_beside(output), metrics=metrics,
    )
    quietly = (lambda _: None) if quiet else say
    if form == "table":
        from imapids.cli.live_view import LiveView

        with LiveView(interface, color=False if no_color else None) as view:
            result = watch_interface(options, live, Control(), say=quietly, viewer=view)
    else:
        result = watch_interface(options, live, Control(), say=quietly)
    if not quiet:
        _tell(result, verbose)
    return int(result.exit_code(fail_on))


def _packets_beside(output: str | None) -> str:
    """The folder for packets where none is named."""
    is_file = output is not None and output != "-" and not re.match(r"(unix|syslog|tcp|syslog\+\w+):", output)
    return f"{output}.packets" if is_file else "imapids-packets"


def _tell(result: LiveResult, verbose: int) -> None:
    """What people should know at the end: losses, and with -v the counts."""
    if result.account.message:
        say(result.account.message)
    if result.lines_dropped:
        say(f"{result.lines_dropped:,} lines were dropped: the output was too slow, full or away")
    if result.untold:
        say(f"{result.untold:,} conversations that were open are not told: there was no time")
    if result.ended_by:
        say(result.ended_by)
    if verbose:
        say(f"{result.account.packets:,} packets; sessions: {result.sessions}; alerts: {result.alerts_by_level}")
