"""Two network namespaces with a cable between them: frames go in at one end, `imapids live` listens at the other."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
READY = b" is watched "
PATIENCE_SECONDS = 30.0
"""For anything that must happen: a busy machine, not a measure."""

_numbers = itertools.count()

_SENDER = """
import socket, struct, sys, time
data = open(sys.argv[2], "rb").read()
pps = float(sys.argv[3])
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
sock.bind((sys.argv[1], 0))
at, sent, begin = 24, 0, time.monotonic()
while at < len(data):
    size = struct.unpack_from("<I", data, at + 8)[0]
    if pps:
        pause = begin + sent / pps - time.monotonic()
        if pause > 0.002:
            time.sleep(pause)
    sock.send(data[at + 16 : at + 16 + size])
    at += 16 + size
    sent += 1
print(sent)
"""


def run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=PATIENCE_SECONDS)


class Wire:
    """Namespaces `near` (that sends) and `far` (that listens), and their devices."""

    def __init__(self, name: str) -> None:
        self.near, self.far = f"{name}-a", f"{name}-b"
        self.out, self.device = "wire0", "wire1"

    def build(self) -> None:
        for name in (self.near, self.far):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        self.plug()

    def plug(self) -> None:
        """Adds the cable."""
        run("ip", "link", "add", self.out, "mtu", "65535", "netns", self.near, "type", "veth",
            "peer", "name", self.device, "mtu", "65535", "netns", self.far)
        for name, device in ((self.near, self.out), (self.far, self.device)):
            run("ip", "netns", "exec", name, "sysctl", "-qw", f"net.ipv6.conf.{device}.disable_ipv6=1", check=False)
            run("ip", "-n", name, "link", "set", device, "up")

    def unplug(self) -> None:
        run("ip", "-n", self.near, "link", "del", self.out)

    def remove(self) -> None:
        for name in (self.near, self.far):
            run("ip", "netns", "del", name, check=False)

    def inside(self, *command: str, near: bool = False) -> list[str]:
        """The command, in the namespace that listens."""
        return ["ip", "netns", "exec", self.near if near else self.far, *command]

    def send(self, capture: Path, pps: float = 0) -> int:
        """Sends the frames of a little-endian classic pcap file; how many."""
        done = run(*self.inside(sys.executable, "-c", _SENDER, self.out, str(capture), str(pps), near=True))
        return int(done.stdout)

    @contextlib.contextmanager
    def sending(self, capture: Path, pps: float = 0, times: int = 1) -> Iterator[subprocess.Popen[bytes]]:
        """A process that sends the frames of a capture so many times."""
        code = f"for _ in range({times}):\n    exec({_SENDER!r})"
        command = self.inside(sys.executable, "-c", code, self.out, str(capture), str(pps), near=True)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                yield process
            finally:
                process.kill()

    @contextlib.contextmanager
    def live(self, folder: Path, *options: str, ready: bool = True, device: str | None = None,
             code: str = "") -> Iterator[Live]:
        """`imapids live` on the far device, with its output in a folder of its own."""
        live = Live(self.inside(
            sys.executable, *(["-c", code] if code else ["-m", "imapids"]), "live", device or self.device, *options),
            folder)
        try:
            if ready:
                live.wait_for(lambda: READY in live.said())
            yield live
        finally:
            live.kill()


class Live:
    """A running `imapids live`."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self.folder = folder
        self._error = folder / "stderr.txt"
        self._output = folder / "stdout.txt"
        with self._error.open("wb") as error, self._output.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=error, stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"})

    def said(self) -> bytes:
        return self._error.read_bytes()

    def lines(self, name: str | None = None) -> list[dict[str, Any]]:
        """Whole JSON lines of standard output or of a file in the folder."""
        path = self._output if name is None else self.folder / name
        data = path.read_bytes() if path.exists() else b""
        return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]

    def wait_for(self, what: Any, seconds: float = PATIENCE_SECONDS) -> None:
        end = time.monotonic() + seconds
        while not what():
            if self.process.poll() is not None or time.monotonic() > end:
                if what():
                    return
                raise AssertionError(f"exit {self.process.poll()}: {self.said().decode('utf-8', 'replace')}")
            time.sleep(0.05)

    def status(self, key: str) -> str:
        """A line of the process's status in /proc."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(line.partition(":")[2].strip() for line in text.splitlines() if line.startswith(f"{key}:"))

    def send_signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Exit code, and the seconds that it took to end."""
        begin = time.monotonic()
        self.send_signal(number)
        code = self.process.wait(PATIENCE_SECONDS)
        return code, time.monotonic() - begin

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def why_not() -> str:
    """Why no wire can be laid here; empty where one can."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [name for name in ("ip", "sysctl") if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    probe = run("ip", "netns", "add", f"imapids-probe-{os.getpid()}", check=False)
    run("ip", "netns", "del", f"imapids-probe-{os.getpid()}", check=False)
    return f"network namespaces are not permitted: {probe.stderr.strip()}" if probe.returncode else ""


@contextlib.contextmanager
def a_wire() -> Iterator[Wire]:
    """A wire for one test; skips visibly where none can be laid."""
    reason = why_not()
    if reason:
        pytest.skip(f"no network namespaces: {reason}")
    wire = Wire(f"imapids-t{os.getpid()}-{next(_numbers)}")
    try:
        wire.build()
    except subprocess.CalledProcessError as error:
        wire.remove()
        pytest.skip(f"no network namespaces: {error.stderr.strip()}")
    try:
        yield wire
    finally:
        wire.remove()


def joined_pcap(path: Path, captures: Sequence[Path]) -> int:
    """One classic pcap of several (all little-endian, microseconds); how many packets."""
    count = 0
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))
        for capture in captures:
            data = capture.read_bytes()
            assert data[:4] == b"\xd4\xc3\xb2\xa1", capture
            at = 24
            while at < len(data):
                size = 16 + struct.unpack_from("<I", data, at + 8)[0]
                out.write(data[at : at + size])
                at += size
                count += 1
    return count


@contextlib.contextmanager
def a_folder() -> Iterator[Path]:
    """A folder in which the user that live becomes may write, and to which it may come (not below pytest's own)."""
    path = Path(tempfile.mkdtemp(prefix="imapids-live-"))
    shutil.chown(path, "nobody")
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
