"""`imapids explain`: one session line by line, with the evidence at its place."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from imapids.cli.commands import Command
from imapids.cli.interrupt import stop_on_signals
from imapids.cli.options import display_options, rule_options, selection_options, watched_ports
from imapids.config import HOME_NETS
from imapids.errors import UsageError
from imapids.protocols.timestamps import eve_time
from imapids.records.alerts import Reason
from imapids.records.events import Session
from imapids.records.streams import SIDES
from imapids.run.options import RunOptions

if TYPE_CHECKING:
    from imapids.desk import Explanation

_STYLES = {"head": "bold", "critical": "bold red", "high": "bold red", "medium": "yellow", "low": "cyan",
           "informational": "cyan", "evidence": "magenta", "client": "green", "server": "blue"}
_REASON_LINES = 40
"""Lines of one alert's tree: the deepest ones are left out beyond that."""

Styled = tuple[str, str]
"""(text, style name or empty)."""


@click.command(cls=Command, epilog="Example: imapids explain suspicious.pcap --flow 1283430637676852")
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...", type=click.Path())
@click.option("--alert", "alert_id", metavar="ID", help="The session of this alert (its id of 16 hex digits).")
@click.option("--flow", "flow_id", metavar="ID", type=click.IntRange(min=0), help="The session with this flow_id.")
@rule_options
@selection_options
@display_options
def command(
    captures: tuple[str, ...], *, alert_id: str | None, flow_id: int | None, rules: tuple[str, ...],
    no_default_rules: bool, allow: tuple[str, ...], home_nets: tuple[str, ...],
    watch: tuple[tuple[tuple[int, str], ...], ...], since: int | None, until: int | None, hosts: tuple[str, ...],
    quiet: bool, verbose: int, no_color: bool,
) -> int:
    """Show one session: verdict, evidence, alerts with their reasons, and the dialogue line by line.

    Without --alert or --flow it is the worst case of the captures. Passwords and tokens are left out, control bytes
    are shown as escapes, and bytes that are no text as hex.
    """
    from imapids.desk import explain

    if alert_id is not None and flow_id is not None:
        raise UsageError("--alert and --flow name a session each: give one of them.")
    watch_tcp, watch_udp = watched_ports(watch)
    options = RunOptions(
        home_nets=home_nets or HOME_NETS, watch_tcp=watch_tcp, watch_udp=watch_udp, since_ns=since, until_ns=until,
        hosts=hosts, rule_paths=rules, default_rules=not no_default_rules, allow_paths=allow)
    with stop_on_signals(quiet) as stop:
        explanation = explain(captures, options, flow_id=flow_id, alert_id=alert_id and alert_id.lower(), stop=stop)
    _show([*_session(explanation), *_alerts(explanation), *_dialogue(explanation)], no_color)
    return 130 if stop.requested else 0


def _session(explanation: Explanation) -> Iterator[list[Styled]]:
    event = explanation.session
    body, flow = event.body, event.flow
    assert isinstance(body, Session)
    assert flow is not None
    what = body.protocol or body.shape or "unknown protocol"
    yield [(f"{body.verdict}", "head"), (f" ({body.confidence} confidence): {what}", "head"),
           (f", {body.reason}" if body.reason else "", "")]
    ends = f"{_end(flow.client, flow.client_port)} -> {_end(flow.server, flow.server_port)}"
    yield [(f"{ends} {flow.protocol}  {body.direction}", "")]
    yield [(f"{eve_time(flow.start_ns)} to {eve_time(flow.end_ns)}, {body.state}", "")]
    yield [(f"{body.packets:,} packets; client {body.bytes_client:,} bytes, server {body.bytes_server:,} bytes", "")]
    yield [(f"flow {flow.flow_id}  community {flow.community_id}  {flow.source}", "")]
    facts = [f"{name} {value}" for name, value in (
        ("greeting:", body.greeting), ("server:", body.software), ("client:", body.client_software),
        ("STARTTLS:", body.starttls), ("SNI:", body.sni), ("JA3:", body.ja3), ("JA4:", body.ja4)) if value]
    if body.commands:
        facts.append(f"{body.commands:,} commands, {body.completed:,} completed; "
                     f"{body.logins} logins, {body.logins_failed} failed")
    odd = [*(f"{count} {name}" for name, count in body.anomalies.items()), *body.limits]
    facts += [f"oddities: {', '.join(odd)}"] if odd else []
    for fact in facts:
        yield [(fact, "")]
    for revision in body.history:
        yield [(f"earlier: {revision.verdict} until packet {revision.packet}, ended by {revision.why}", "")]
    yield []
    yield [("Evidence", "head")]
    for number, evidence in enumerate(body.evidence, 1):
        place = f", packet {evidence.packet}, offset {evidence.offset:,}" if evidence.packet else ""
        yield [(f"  [{number}] {evidence.code}", "evidence"), (f"  {evidence.side}{place}  {evidence.text}", "")]
    yield []


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _alerts(explanation: Explanation) -> Iterator[list[Styled]]:
    for alert in explanation.alerts:
        yield [(f"{alert.rule.level.upper()}", alert.rule.level), (f"  {alert.rule.title}", "head"),
               (f"  (sid {alert.rule.sid}, alert {alert.id})", "")]
        reasons = list(_reasons(alert.why, 1))
        for line in reasons[:_REASON_LINES]:
            yield [(line, "")]
        if alert.rule.advice:
            yield [(f"  what to do: {' '.join(alert.rule.advice.split())}", "")]
        yield []


def _reasons(reason: Reason, depth: int) -> Iterator[str]:
    """The tree of a match, one condition a line; without recursion deeper than the tree that a rule can have."""
    stack = [(reason, depth)]
    while stack:
        node, level = stack.pop()
        mark = "+" if node.held else "-"
        value = f"  ({node.value})" if node.value and node.value not in node.condition else ""
        yield f"{'  ' * level}{mark} {node.condition}{value}{f'  packet {node.packet}' if node.packet else ''}"
        stack += [(child, level + 1) for child in reversed(node.because)]


def _dialogue(explanation: Explanation) -> Iterator[list[Styled]]:
    lines = explanation.lines
    marks = _marks(explanation)
    yield [("Dialogue", "head")]
    yield [("  packet  seconds  C client, S server; state of the IMAP machine", "")]
    start = lines[0].time_ns if lines else 0
    for index, line in enumerate(lines):
        if explanation.left_out and index == explanation.gap_at:
            yield [(f"  ... {explanation.left_out:,} lines left out ...", "")]
        side = SIDES[line.side]
        seconds = (line.time_ns - start) / 10**9
        head = f"{line.packet:>8} {seconds:>8.3f}  {side[0].upper()} {line.state:<8}  "
        for text in line.text.split("\n"):
            yield [(head, side), (text, ""), (marks.pop(index, ""), "evidence")]
            head = " " * len(head)
    if not lines:
        yield [("  no payload", "")]


def _marks(explanation: Explanation) -> dict[int, str]:
    """` <- [1]` by the index of the line at which evidence 1 stands: of its packet, the last line before its offset."""
    body = explanation.session.body
    assert isinstance(body, Session)
    by_packet: dict[tuple[str, int], list[int]] = {}
    for index, line in enumerate(explanation.lines):
        by_packet.setdefault((SIDES[line.side], line.packet), []).append(index)
    marks: dict[int, str] = {}
    for number, evidence in enumerate(body.evidence, 1):
        indices = by_packet.get((evidence.side, evidence.packet), [])
        before = [index for index in indices if explanation.lines[index].offset <= evidence.offset]
        for index in (before[-1:] or indices[:1]):
            marks[index] = f"{marks.get(index, '  <-')} [{number}]"
    return marks


def _show(lines: list[list[Styled]], no_color: bool) -> None:
    """Print; colours only on a terminal, and never by markup: the text holds bytes of the wire."""
    if no_color or not sys.stdout.isatty():
        sys.stdout.writelines("".join(text for text, _ in line).rstrip() + "\n" for line in lines)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for line in lines:
        console.print(Text.assemble(*((text, _STYLES.get(style, "")) for text, style in line)), soft_wrap=True)
