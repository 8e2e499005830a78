"""An interface for a program of one's own: results as an iterator, with the rights that the program has."""

from __future__ import annotations

import os
from collections.abc import Generator

from imapids.capture.ring import open_rings
from imapids.errors import UsageError
from imapids.run.control import Control
from imapids.run.engine import Engine, rules_for
from imapids.run.feed import LiveFeed
from imapids.run.live import Alone, LiveResult, LiveRun, Results
from imapids.run.options import RunOptions
from imapids.run.watch import LiveOptions, packet_program


def listen(options: RunOptions, live: LiveOptions, control: Control) -> Generator[Results, None, LiveResult]:
    """Lists of events and alerts as they become known, until `control.stop`; some are empty, ten in a second at least.

    Of `live` it takes the interface, the filter, `allow_root` and the interval of `stats` events: a library gives up no
    rights of the program that it works for, and writes no lines.

    Raises:
        ImapidsError: something is wrong with rules, interface or rights.
    """
    if os.geteuid() == 0 and not live.allow_root:
        raise UsageError("packets of strangers are not parsed as root: give the interpreter CAP_NET_RAW instead, use "
                         "`imapids live`, which gives up its rights, or say allow_root=True")
    engine = Engine(options, rules_for(options), live=True)
    rings = open_rings(live.interface, 1, limits=options.limits.live, batch=options.limits.capture,
                       program=packet_program(options, live))
    crew = Alone(LiveFeed(rings[0], engine.pipeline, options.limits.live))
    try:
        run = LiveRun(engine, crew, live.interface, control, stats_seconds=live.stats_seconds)
        return (yield from run.results())
    finally:
        crew.close()
