#!/usr/bin/env python3
"""How many packets a second live reading takes, beside tcpdump and scapy on the same wire in the same run.

usage: sudo python benchmarks/live.py CAPTURE [--pps 100000 | --top] [--packets N] [--only NAME]...

Makes two network namespaces with a veth pair, replays the capture into one end, and lets each reader in turn listen at
the other, bound to one processor; the replay has another one. Tells packets sent, received and dropped, and the
processor time of the reader for each packet that was sent. Needs root, iproute2 and tcpreplay.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from namespaces import Wire, a_wire

SCAPY = """
import sys, time
from scapy.all import conf
sock = conf.L2listen(iface=sys.argv[1])
print("listening", file=sys.stderr, flush=True)
count = 0
import signal
def end(*_):
    print(count, flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
while True:
    if sock.recv_raw()[1] is not None:
        count += 1
"""


def contenders(folder: Path, device: str) -> dict[str, tuple[list[str], bytes]]:
    """Name: command, and what it says on standard error when it listens."""
    live = [sys.executable, "-m", "imapids", "live", device, "-o", str(folder / "eve.json"), "--stats-interval", "1d"]
    found = {
        "imapids live": (live, b" is watched "),
        "imapids live --events all": ([*live, "--events", "all"], b" is watched "),
        "imapids live --filter watched": ([*live, "--filter", "watched"], b" is watched "),
    }
    if shutil.which("tcpdump"):
        found["tcpdump -w /dev/null"] = (["tcpdump", "-i", device, "-w", "/dev/null", "-s", "0", "-B", "65536"],
                                         b"listening")
    with contextlib.suppress(ImportError):
        import scapy  # noqa: F401

        found["scapy recv_raw"] = ([sys.executable, "-c", SCAPY, device], b"listening")
    return found


def replay(wire: Wire, capture: str, rate: Sequence[str], packets: int) -> tuple[int, float]:
    """Packets sent, and how many a second."""
    limit = ["-L", str(packets)] if packets else []
    done = subprocess.run(
        wire.at_near("taskset", "-c", "0", "tcpreplay", "-K", "-q", *rate, *limit, "-i", wire.near_device, capture),
        capture_output=True, text=True, check=True)
    sent = re.search(r"Successful packets:\s+(\d+)", done.stdout)
    speed = re.search(r"([\d.]+) pps", done.stdout)
    return int(sent[1]) if sent else 0, float(speed[1]) if speed else 0.0


def received(name: str, said: str, told: str, folder: Path) -> tuple[int, int]:
    """(received, dropped) in the reader's own words."""
    if name.startswith("imapids"):
        lines = [json.loads(line) for line in (folder / "eve.json").read_text().splitlines()]
        stats = [line["stats"] for line in lines if line["event_type"] == "stats"][-1]
        return stats["packets"], stats["capture"]["kernel_drops"]
    if name.startswith("tcpdump"):
        return tuple(int(re.search(rf"(\d+) packets? {word}", said)[1]) for word in ("captured", "dropped by kernel"))
    return int(told.rsplit(maxsplit=1)[-1]), -1


def measure(wire: Wire, name: str, command: Sequence[str], ready: bytes, capture: str, rate: Sequence[str],
            packets: int) -> str:
    """One line of the table."""
    folder = Path(command[command.index("-o") + 1]).parent if "-o" in command else Path()
    for old in folder.glob("eve.json*") if "-o" in command else ():
        old.unlink()
    processors = "1" if (os.cpu_count() or 1) > 1 else "0"
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(wire.at_far("taskset", "-c", processors, *command), stdout=subprocess.PIPE,
                         stderr=said) as reader,
    ):
        end = time.monotonic() + 30
        while ready not in _text(said) and time.monotonic() < end:
            time.sleep(0.05)
        idle = _processor_seconds(reader.pid)
        sent, speed = replay(wire, capture, rate, packets)
        time.sleep(1)
        busy = _processor_seconds(reader.pid) - idle
        reader.send_signal(signal.SIGTERM)
        told = reader.communicate(timeout=30)[0].decode()
        got, dropped = received(name, _text(said).decode(), told, folder)
    lost = f"{dropped:,}" if dropped >= 0 else "not told"
    return (f"| {name} | {speed:,.0f} | {sent:,} | {got:,} | {lost} | {sent - got - max(dropped, 0):,} | "
            f"{1e6 * busy / max(sent, 1):.2f} |")


def _text(stream: object) -> bytes:
    return os.pread(stream.fileno(), 1 << 20, 0)  # type: ignore[attr-defined]


def _processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture")
    parser.add_argument("--pps", type=int, default=100_000)
    parser.add_argument("--top", action="store_true", help="as fast as tcpreplay can")
    parser.add_argument("--packets", type=int, default=0, help="send only so many")
    parser.add_argument("--only", action="append", default=[], help="a part of the name of a reader")
    args = parser.parse_args()
    rate = ["--topspeed"] if args.top else ["--pps", str(args.pps)]
    folder = Path(tempfile.mkdtemp(prefix="imapids-bench-"))
    shutil.chown(folder, "nobody")
    try:
        with a_wire("bench") as wire:
            sys.stdout.write("| reader | sent/s | sent | received | dropped | unaccounted | CPU us a packet sent |\n"
                             "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
            for name, (command, ready) in contenders(folder, wire.far_device).items():
                if not args.only or any(part in name for part in args.only):
                    sys.stdout.write(measure(wire, name, command, ready, args.capture, rate, args.packets) + "\n")
                    sys.stdout.flush()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
