#!/usr/bin/env python3
"""Replay a capture in a loop to `imapids live` for hours, and measure whether its memory or descriptors grow.

usage: sudo python benchmarks/soak.py CAPTURE [--minutes 60] [--warm-up 15] [--pps 5000] [--samples FILE] [-- OPTIONS]

Makes two network namespaces with a veth pair, and removes them at the end. Needs root, iproute2 and tcpreplay. Writes a
line each ten seconds (seconds, resident KiB, descriptors, packets), and at the end the slope of memory after the
warm-up (a quarter of the time, where nothing is said), in KiB an hour.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from namespaces import Wire, a_wire

EVERY_SECONDS = 10
WARM_UP = 0.25
"""Part of the time after which memory must not grow any more, where --warm-up is not given."""


def processes(leader: int) -> list[int]:
    """A process and its children."""
    found = [leader]
    with contextlib.suppress(OSError):
        found += map(int, Path(f"/proc/{leader}/task/{leader}/children").read_text().split())
    return found


def sample(leader: int) -> tuple[int, int]:
    """(resident KiB, open descriptors) of a process and its children."""
    resident = descriptors = 0
    for process in processes(leader):
        with contextlib.suppress(OSError):
            resident += int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
            descriptors += sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())
    return resident, descriptors


def last_packets(lines: Path) -> int:
    """Packets read, by the newest stats line; the files that rotation put aside are removed."""
    for old in lines.parent.glob(lines.name + ".*"):
        old.unlink()
    packets = 0
    with contextlib.suppress(OSError, ValueError):
        for line in lines.read_bytes().splitlines():
            if b'"event_type":"stats"' in line:
                packets = json.loads(line)["stats"]["packets"]
    return packets


def slope(rows: Sequence[tuple[float, int]]) -> float:
    """KiB an hour: the line through (seconds, KiB) with the least squares."""
    count = len(rows)
    mean_x, mean_y = (sum(row[axis] for row in rows) / count for axis in (0, 1))
    over = sum((x - mean_x) ** 2 for x, _ in rows)
    return 3600 * sum((x - mean_x) * (y - mean_y) for x, y in rows) / over if over else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--warm-up", type=float, metavar="MINUTES", help="left out of the slope")
    parser.add_argument("--pps", type=int, default=5_000)
    parser.add_argument("--samples", type=Path, default=Path("soak.csv"))
    parser.add_argument("options", nargs="*", help="further options of imapids live, behind --")
    args = parser.parse_args()
    with a_wire("soak") as wire:
        return soak(wire, args)


def soak(wire: Wire, args: argparse.Namespace) -> int:
    """Replays and measures; the exit code."""
    folder = Path(tempfile.mkdtemp(prefix="imapids-soak-"))
    shutil.chown(folder, "nobody")
    lines = folder / "eve.json"
    rows: list[tuple[float, int, int]] = []
    with args.samples.open("w") as samples:
        live = subprocess.Popen(wire.at_far(
            sys.executable, "-m", "imapids", "live", wire.far_device, "-o", str(lines), "--rotate", "20M",
            "--stats-interval", "10s", *args.options))
        time.sleep(5)
        replay = subprocess.Popen(
            wire.at_near("tcpreplay", "-q", "--timer", "nano", "--loop", "0", "--pps", str(args.pps), "-i",
                         wire.near_device, args.capture), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        begin = time.monotonic()
        try:
            while (now := time.monotonic() - begin) < 60 * args.minutes and live.poll() is None:
                rows.append((now, *sample(live.pid)))
                samples.write(",".join(map(str, (round(now, 1), *rows[-1][1:], last_packets(lines)))) + "\n")
                samples.flush()
                time.sleep(EVERY_SECONDS)
        finally:
            replay.terminate()
            replay.wait()
            packets = last_packets(lines)
            live.send_signal(signal.SIGTERM)
            code = live.wait(timeout=30)
            shutil.rmtree(folder, ignore_errors=True)
    warm_up = WARM_UP * args.minutes if args.warm_up is None else args.warm_up
    warm = [row for row in rows if row[0] >= 60 * warm_up]
    growth = slope([(x, y) for x, y, _ in warm]) if len(warm) > 2 else float("nan")
    sys.stdout.write(f"{packets:,} packets; exit code {code}; {growth:+.0f} KiB an hour after {warm_up:g} minutes; "
                     f"descriptors {min(row[2] for row in rows)} to {max(row[2] for row in rows)}\n")
    return 0 if code == 0 and growth < 1_024 else 1


if __name__ == "__main__":
    sys.exit(main())
