"""Puts a live run together, in the one order that is safe: open everything, import everything, give up rights, read."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from imapids.capture import bpf
from imapids.capture.ring import open_rings
from imapids.capture.scapy_source import RATE_WARNING, ScapySource
from imapids.errors import OutputError, UsageError
from imapids.output.jsonl import JsonLines
from imapids.pipeline import Pipeline
from imapids.protocols.text import safe_str
from imapids.records.alerts import Alert
from imapids.records.events import Event, Stats
from imapids.run import privileges
from imapids.run.control import Control, signals_to
from imapids.run.crew import Workers
from imapids.run.engine import Engine, many_small_objects, rules_for
from imapids.run.feed import LiveFeed, LiveSource
from imapids.run.keep import PacketKeeper, packet_folder
from imapids.run.live import Alone, Crew, LiveResult, LiveRun
from imapids.run.metrics import Metrics
from imapids.run.options import RunOptions
from imapids.run.outlet import Outlet
from imapids.run.preload import import_everything
from imapids.run.privileges import Rights
from imapids.run.targets import FileTarget, Rotation, SocketTarget, StreamTarget, Target, socket_address

STANDARD_OUTPUT = "-"


class LiveOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `live` is asked to do besides the options of every run."""

    interface: str
    source: str = "auto"
    """ring, scapy, or auto: the ring where there is one."""
    filter: str = ""
    """An expression of tcpdump, or `watched` for the built-in program; empty: all packets."""
    user: str = privileges.DEFAULT_USER
    allow_root: bool = False
    output: str | None = STANDARD_OUTPUT
    """File, socket (see targets.socket_address), `-` for standard output; None writes no lines."""
    rotation: Rotation = Rotation()
    stats_seconds: float = 60.0
    keep_bytes: int = 0
    """Packets of watched flows that are kept on disk; 0: none."""
    keep_folder: str = ""
    metrics: tuple[str, int] | None = None
    """Address and port at which Prometheus may ask."""


class Viewer(Protocol):
    """Shows people what happens."""

    def show(self, items: Sequence[Event | Alert]) -> None:
        """Takes results; called again and again even when there are none."""

    def glance(self, stats: Stats) -> None:
        """Takes the counts of now, each second."""


def watch(options: RunOptions, live: LiveOptions, control: Control, *, say: Callable[[str], None],
          viewer: Viewer | None = None) -> LiveResult:
    """Watches an interface until somebody says stop. This process gives up its rights on the way.

    Raises:
        ImapidsError: something is wrong with rules, interface, output or rights; no packet was read then.
    """
    engine = Engine(options, rules_for(options), live=True)
    identity = None if live.allow_root else privileges.look_up_user(Rights(user=live.user))
    rings = _open_sources(options, live, say)
    outlet = _open_outlet(options, live, identity)
    if live.keep_bytes:
        packet_folder(live.keep_folder, identity)
    with contextlib.ExitStack() as opened:
        for ring in rings:
            opened.callback(ring.close)
        return _watch(engine, rings, outlet, live, control, say, viewer)


def _open_sources(options: RunOptions, live: LiveOptions, say: Callable[[str], None]) -> Sequence[LiveSource]:
    """What is read: one ring for each worker, or scapy's socket."""
    if live.source == "scapy" or (live.source == "auto" and not hasattr(socket, "AF_PACKET")):
        if options.workers > 1:
            raise UsageError("--workers needs the packet ring of Linux.")
        if live.filter == bpf.WATCHED:
            raise UsageError(f"--filter {bpf.WATCHED} needs the packet ring of Linux; write an expression of tcpdump.")
        say(RATE_WARNING)
        return [ScapySource(live.interface, limits=options.limits.capture, expression=live.filter)]
    return open_rings(live.interface, options.workers, limits=options.limits.live, batch=options.limits.capture,
                      program=packet_program(options, live))


def _watch(engine: Engine, rings: Sequence[LiveSource], outlet: Outlet | None, live: LiveOptions, control: Control,
           say: Callable[[str], None], viewer: Viewer | None) -> LiveResult:
    """The part in which rights are given up."""
    options = engine.options
    crew: Crew | None = None
    metrics = Metrics(*live.metrics) if live.metrics is not None else None
    try:
        with signals_to(control):
            import_everything()
            warm_up(engine)
            _give_up_rights(live, say)
            crew = _crew(engine, rings, live)
            if outlet is not None:
                outlet.start()
            if metrics is not None:
                metrics.start()
            privileges.forbid_new_processes()
            run = LiveRun(engine, crew, live.interface, control, stats_seconds=live.stats_seconds,
                          output=outlet.counts if outlet is not None else None,
                          reopen=outlet.reopen if outlet is not None else lambda: None, say=say,
                          glances=_glances(viewer, metrics))
            sink = JsonLines(outlet.put, options.events) if outlet is not None else None
            with many_small_objects():
                result = _drive(run, sink, outlet, viewer, control)
    finally:
        left = outlet.close(options.limits.live.stop_ns // 3) if outlet is not None else None
        if metrics is not None:
            metrics.close()
        if crew is not None:
            crew.close()
    if left is not None:
        result.lines_dropped = left.lines_dropped
    return result


def _glances(viewer: Viewer | None, metrics: Metrics | None) -> list[Callable[[Stats], None]]:
    return [each.glance for each in (viewer, metrics) if each is not None]


def _crew(engine: Engine, rings: Sequence[LiveSource], live: LiveOptions) -> Crew:
    options = engine.options

    def feed(place: int, pipeline: Pipeline) -> LiveFeed:
        keeper = PacketKeeper(
            live.keep_folder, live.keep_bytes // len(rings), live.interface, options.watch_tcp, options.watch_udp,
            prefix=f"w{place}-" if len(rings) > 1 else "") if live.keep_bytes else None
        return LiveFeed(rings[place], pipeline, options.limits.live, keeper=keeper)

    if len(rings) == 1:
        return Alone(feed(0, engine.pipeline))
    return Workers(rings, engine.pipeline, lambda place: feed(place, engine.new_pipeline()), options.limits.live)


def _drive(run: LiveRun, sink: JsonLines | None, outlet: Outlet | None, viewer: Viewer | None,
           control: Control) -> LiveResult:
    results = run.results()
    while True:
        try:
            items = next(results)
        except StopIteration as end:
            result: LiveResult = end.value
            return result
        if sink is not None and items:
            sink.write(items)
        if viewer is not None:
            viewer.show(items)
        if outlet is not None and outlet.gone:
            control.stop = True


def warm_up(engine: Engine) -> None:
    """Makes what would be made at its first use, and might need files then: compiled payload signatures."""
    if engine.signatures is not None:
        engine.signatures.scan(0, b"\0", verdict="not-imap")


def packet_program(options: RunOptions, live: LiveOptions) -> bpf.Program | None:
    """What the kernel is to keep away; None: nothing. Raises ImapidsError where the expression is wrong."""
    if not live.filter:
        return None
    if live.filter != bpf.WATCHED:
        return bpf.compile_expression(live.filter, live.interface)
    return bpf.watch_program(options.watch_tcp, options.watch_udp)


def _open_outlet(options: RunOptions, live: LiveOptions, identity: tuple[int, int] | None) -> Outlet | None:
    if live.output is None:
        return None
    target: Target
    address = socket_address(live.output)
    if live.output == STANDARD_OUTPUT:
        sys.stdout.flush()
        target = StreamTarget(sys.stdout.fileno())
    elif address is not None:
        target = SocketTarget(address)
    else:
        target = FileTarget(live.output, live.rotation, owner=identity)
    return Outlet(target, options.limits.live)


def _give_up_rights(live: LiveOptions, say: Callable[[str], None]) -> None:
    """Becomes the user, without capabilities; what is left is the folder of the output."""
    folders, files, ports = [], [], []
    if live.output not in (None, STANDARD_OUTPUT):
        address = socket_address(str(live.output))
        if address is not None:
            ports = [address.port] if address.port else []
        else:
            files = [str(live.output)]
            folders = [str(Path(str(live.output)).parent)]
    if live.keep_bytes:
        folders.append(live.keep_folder)
    rotates = bool(live.rotation.max_bytes or live.rotation.seconds)
    privileges.drop(Rights(user=live.user, stay_root=live.allow_root, folders=tuple(folders), files=tuple(files),
                           ports=tuple(ports)))
    who = privileges.pwd_name(os.geteuid())
    for folder in folders:
        if privileges.may_write(folder):
            continue
        if rotates or folder == live.keep_folder:
            raise OutputError(f"{who} cannot make files in {safe_str(folder)}; give it a folder of its own (install -d "
                              f"-o {who} FOLDER), or choose another --user.")
        say(f"{who} cannot make files in {safe_str(folder)}: a file that is moved away is not opened anew there")


