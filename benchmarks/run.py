"""Runs imapids and its peers on the same captures, whole processes in turn, and prints medians, ratios and peak memory.

    python benchmarks/run.py [mixed all-imap one-byte small version] [--quick] [--runs 5]

How Python was built matters: of one version, a distribution's interpreter has taken up to an eighth less time than one
built plainly. The first lines say what ran; `--python` times imapids under a second one in the same rounds.

Two programs are comparable only when both ran in the same minutes of the same machine: every round runs all of them
once (A B C, A B C, ...), the first round only warms the file cache, and ratios are of medians.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

SIZES = {"mixed": (5_000_000, 1_000_000), "all-imap": (500_000, 100_000), "one-byte": (300_000, 100_000)}
"""Packets of each capture, in a full and in a quick run."""
SMALL_PACKETS = 85
"""Five IMAP sessions: about 11 kB."""


@dataclass
class Contender:
    """A command to time."""

    name: str
    command: list[str]
    peer: bool = False
    result: Path | None = None
    """What it must write: a program that ends early and silently is not fast."""
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    peak_mib: float = 0.0
    failed: str = ""

    @property
    def median(self) -> float:
        """Median of the wall-clock seconds."""
        return statistics.median(self.seconds) if self.seconds else float("nan")


@dataclass
class Scenario:
    """A capture, who reads it, and which peer our ratio is against."""

    name: str
    contenders: list[Contender]
    against: str = ""
    goal: str = ""


def imapids(*arguments: str, python: str = sys.executable) -> list[str]:
    """The command line of this checkout, under the Python that runs the benchmark, or another."""
    return [python, "-m", "imapids", *arguments]


def build_of(python: str) -> str:
    """Version, compiler and options of an interpreter, in one line."""
    code = ("import platform, sysconfig; given = sysconfig.get_config_var('CONFIG_ARGS') or ''; "
            "flags = [each for each in ('--enable-optimizations', '--with-lto', '--enable-shared') if each in given]; "
            "print(platform.python_version(), platform.python_compiler(), *flags)")
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def run_once(command: Sequence[str], timeout_s: float) -> tuple[float, float, float, str]:
    """Wall seconds, CPU seconds, peak MiB (of the process and its waited-for children, the largest), fault."""
    with tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, stdin=subprocess.DEVNULL)
        deadline = began + timeout_s
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.perf_counter() > deadline:
                process.kill()
                _, status, usage = os.wait4(process.pid, 0)
                break
            time.sleep(0.002)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        fault = ""
        if process.returncode not in (0, 4):  # 4: the capture is cut, and imapids says so
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - 200))
            tail = errors.read().decode(errors="replace").strip().splitlines()
            fault = f"exit {process.returncode}" + (f": {tail[-1][:90]}" if tail else "")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, fault


def run_in_turn(scenario: Scenario, runs: int, timeout_s: float) -> None:
    """One warm-up round, then `runs` rounds; a contender that fails is left out from then on."""
    for turn in range(runs + 1):
        for contender in scenario.contenders:
            if contender.failed:
                continue
            if contender.result:
                contender.result.unlink(missing_ok=True)
            wall, cpu, peak, fault = run_once(contender.command, timeout_s)
            if not fault and contender.result and not contender.result.exists():
                fault = "ended well, but wrote nothing"
            if fault:
                contender.failed = fault
                contender.seconds.clear()
                continue
            contender.peak_mib = max(contender.peak_mib, peak)
            if turn:
                contender.seconds.append(wall)
                contender.cpu_seconds.append(cpu)


def make_capture(kind: str, packets: int, path: Path) -> None:
    """Generate a capture in a process of its own: a child's peak memory starts at the size of the process that forked
    it, so this one must stay small."""
    script = str(Path(__file__).with_name("generate.py"))
    subprocess.run([sys.executable, script, kind, str(path), "--packets", str(packets)], check=True)


def peers(capture: Path, scratch: Path) -> list[Contender]:
    """Whichever programs are installed, each with the question that it answers about the capture."""
    name, logs = str(capture), str(scratch)
    every = [
        Contender("tcpdump port 143", ["tcpdump", "-nr", name, "-w", os.devnull, "port 143"], peer=True),
        Contender("tshark", ["tshark", "-nr", name, "-q", "-z", "io,phs"], peer=True),
        Contender("suricata", ["suricata", "-r", name, "-l", logs, "-k", "none", "-S", os.devnull], peer=True),
        Contender("zeek", ["zeek", "-C", "-r", name, f"Log::default_logdir={logs}"], peer=True),
        Contender("ndpiReader", ["ndpiReader", "-i", name, "-q"], peer=True),
    ]
    return [contender for contender in every if shutil.which(contender.command[0])]


def build(names: Sequence[str], folder: Path, scratch: Path, *, quick: bool, workers: int, skip: Sequence[str],
          pythons: Sequence[str] = ()) -> list[Scenario]:
    """The scenarios, with their captures generated where the folder lacks them."""
    goals = {"mixed": ("tcpdump port 143", "at most 3 x in one process, 2 x with two workers; goal 1 x"),
             "all-imap": ("suricata", "at most 3 x in one process, 2 x with two workers; goal 1 x"),
             "one-byte": ("suricata", "")}
    scenarios = []
    for name in names:
        if name == "version":
            scenarios.append(Scenario(name, [Contender("imapids --version", imapids("--version")),
                                             Contender("python -c pass", [sys.executable, "-c", "pass"], peer=True)],
                                      goal="at most 0.25 s"))
            continue
        kind, packets = ("all-imap", SMALL_PACKETS) if name == "small" else (name, SIZES[name][quick])
        capture = folder / f"{kind}-{packets}.pcap"
        if not capture.exists():
            make_capture(kind, packets, capture)
        events = ["--events", "all"] if name in ("all-imap", "one-byte") else []
        asked = ["analyze", str(capture), "--format", "jsonl", "--quiet", *events]
        command = imapids(*asked)
        one, two = scratch / "one.jsonl", scratch / "two.jsonl"
        contenders = [Contender("imapids", [*command, "-o", str(one)], result=one)]
        for number, python in enumerate(pythons, 2):
            own = scratch / f"python-{number}.jsonl"
            contenders.append(Contender(f"imapids, Python {number}", [*imapids(*asked, python=python), "-o", str(own)],
                                        result=own))
        if name == "small":
            scenarios.append(Scenario(name, contenders, goal="at most 0.6 s"))
            continue
        if workers > 1:
            contenders.append(Contender(f"imapids, {workers} workers",
                                        [*command, "-o", str(two), "--workers", str(workers)], result=two))
        contenders += [peer for peer in peers(capture, scratch) if peer.command[0] not in skip]
        scenarios.append(Scenario(name, contenders, *goals[name]))
    return scenarios


def report(scenario: Scenario) -> str:
    """A table for people."""
    lines = [f"\n{scenario.name}" + (f"   ({scenario.goal})" if scenario.goal else "")]
    against = next((one for one in scenario.contenders if one.name == scenario.against and one.seconds), None)
    lines.append(f"  {'':<24}{'median s':>10}{'min':>9}{'max':>9}{'CPU s':>9}{'peak MiB':>10}"
                 + (f"   x {against.name}" if against else ""))
    for one in scenario.contenders:
        if not one.seconds:
            lines.append(f"  {one.name:<24}{'-':>10}   {one.failed}")
            continue
        ratio = f"{one.median / against.median:>8.2f}" if against else ""
        lines.append(f"  {one.name:<24}{one.median:>10.3f}{min(one.seconds):>9.3f}{max(one.seconds):>9.3f}"
                     f"{statistics.median(one.cpu_seconds):>9.2f}{one.peak_mib:>10.0f}{ratio}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenarios; 1 when imapids itself failed somewhere."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="mixed all-imap one-byte small version")
    parser.add_argument("--quick", action="store_true", help="captures of a fifth of the size, or less")
    parser.add_argument("--runs", type=int, default=5, help="timed rounds after the warm-up")
    parser.add_argument("--workers", type=int, default=1, help="above 1: also time imapids with so many workers")
    parser.add_argument("--skip", action="append", default=[], metavar="PROGRAM", help="leave this peer out")
    parser.add_argument("--python", action="append", default=[], metavar="PATH",
                        help="another Python with imapids installed: timed as well")
    parser.add_argument("--captures", type=Path, help="keep the captures in this folder and use those that are there")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one process")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    known = ("mixed", "all-imap", "small", "version", "one-byte")
    unknown = [name for name in options.scenarios if name not in known]
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)} (there are: {', '.join(known)})")
    for number, python in enumerate([sys.executable, *options.python], 1):
        print(f"Python {number}: {build_of(python)}")
    with tempfile.TemporaryDirectory(prefix="imapids-bench-") as scratch:
        folder = options.captures or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        scenarios = build(options.scenarios or known[:4], folder, Path(scratch), quick=options.quick,
                          workers=options.workers, skip=options.skip, pythons=options.python)
        for scenario in scenarios:
            run_in_turn(scenario, options.runs, options.timeout)
            print(report(scenario), flush=True)
    if options.json:
        options.json.write_text(json.dumps([{
            "scenario": scenario.name, "against": scenario.against,
            "results": [{"name": one.name, "median_s": one.median if one.seconds else None, "runs_s": one.seconds,
                         "cpu_s": one.cpu_seconds, "peak_mib": one.peak_mib, "failed": one.failed}
                        for one in scenario.contenders],
        } for scenario in scenarios], indent=1) + "\n")
    return int(any(one.failed for scenario in scenarios for one in scenario.contenders if not one.peer))


if __name__ == "__main__":
    sys.exit(main())
