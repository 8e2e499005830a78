"""The lines of a live run on their way out: queue, rotation, sockets that are away, disks that are full."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from imapids.config import LiveLimits
from imapids.errors import OutputError, UsageError
from imapids.run.outlet import Outlet
from imapids.run.targets import FileTarget, Rotation, SocketAddress, SocketTarget, StreamTarget, socket_address

FAST = msgspec.structs.replace(LiveLimits(), output_bytes=1_000, output_retry_ns=10**7)
LINE = b'{"event_type":"alert","n":%03d}\n'


class Memory:
    """A target that fails when it is told to."""

    def __init__(self) -> None:
        self.data = b""
        self.opened, self.failures = 1, 0
        self.broken = False
        self.taken = 0
        self.gate = threading.Event()
        self.gate.set()

    def write(self, data: bytes) -> None:
        self.taken = 0
        self.gate.wait(10)
        if self.broken:
            half = data.find(b"\n") + 1
            self.data += data[:half]
            self.taken = half
            raise OSError(errno.ENOSPC, "full")
        self.data += data

    def sent(self) -> int:
        return self.taken

    def look(self) -> None:
        pass

    def reopen(self) -> None:
        self.opened += 1

    def close(self) -> None:
        pass


def until(what: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not what():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_lines_come_out_in_order() -> None:
    target = Memory()
    outlet = Outlet(target, FAST)
    lines = [LINE % number for number in range(20)]
    for line in lines:
        outlet.put(line)
    outlet.start()
    counts = outlet.close(10**10)
    assert target.data == b"".join(lines)
    assert (counts.lines, counts.lines_dropped, counts.bytes_waiting) == (20, 0, 0)


def test_a_slow_output_drops_the_newest_lines_and_counts_them() -> None:
    target = Memory()
    target.gate.clear()
    outlet = Outlet(target, FAST)
    outlet.start()
    lines = [LINE % number for number in range(100)]
    for line in lines:
        outlet.put(line)
    assert outlet.counts().bytes_waiting <= FAST.output_bytes
    target.gate.set()
    counts = outlet.close(10**10)
    assert counts.lines + counts.lines_dropped == 100
    assert counts.lines == FAST.output_bytes // len(lines[0])
    assert target.data == b"".join(lines[: counts.lines])


def test_what_failed_is_written_later_and_never_twice() -> None:
    target = Memory()
    target.broken = True
    outlet = Outlet(target, FAST)
    outlet.start()
    outlet.put(LINE % 1 + LINE % 2 + LINE % 3)
    until(lambda: outlet.counts().failures >= 1)
    target.broken = False
    outlet.put(LINE % 4)
    counts = outlet.close(10**10)
    assert target.data == b"".join(LINE % number for number in (1, 2, 3, 4))
    assert counts.lines == 4


def test_an_output_that_hangs_does_not_keep_the_run_from_ending() -> None:
    target = Memory()
    target.gate.clear()
    outlet = Outlet(target, FAST)
    outlet.start()
    outlet.put(LINE % 1)
    begin = time.monotonic()
    counts = outlet.close(2 * 10**8)
    assert time.monotonic() - begin < 2
    assert (counts.lines, counts.lines_dropped) == (0, 1)
    target.gate.set()


# ---- files ----------------------------------------------------------------------------------------------------------


def written(folder: Path) -> list[bytes]:
    return sorted(line for path in folder.iterdir() for line in path.read_bytes().splitlines(keepends=True))


def test_a_file_that_is_full_is_put_aside(tmp_path: Path) -> None:
    target = FileTarget(str(tmp_path / "eve.json"), Rotation(max_bytes=100))
    lines = [LINE % number for number in range(30)]
    for line in lines:
        target.write(line)
    target.close()
    assert written(tmp_path) == lines
    assert len(list(tmp_path.iterdir())) == 10
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_file_that_is_old_is_put_aside_even_while_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1_700_000_000.0]
    target = FileTarget(str(tmp_path / "eve.json"), Rotation(seconds=60), clock=lambda: now[0])
    target.write(LINE % 1)
    now[0] += 61
    monkeypatch.setattr("imapids.run.targets._LOOK_SECONDS", 0)
    target.look()
    target.write(LINE % 2)
    target.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["eve.json", "eve.json.20231114T221421"]


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imapids.run.targets._LOOK_SECONDS", 0)
    path = tmp_path / "eve.json"
    target = FileTarget(str(path))
    target.write(LINE % 1)
    path.rename(tmp_path / "old")
    target.write(LINE % 2)
    path.unlink()
    target.write(LINE % 3)
    target.close()
    assert (tmp_path / "old").read_bytes() == LINE % 1
    assert path.read_bytes() == LINE % 3


def test_a_folder_that_cannot_be_written_keeps_the_file_that_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = FileTarget(str(tmp_path / "eve.json"), Rotation(max_bytes=40))
    target.write(LINE % 1)
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(PermissionError(errno.EACCES, "no")))
    target.write(LINE % 2)
    target.write(LINE % 3)
    target.close()
    assert (tmp_path / "eve.json").read_bytes() == LINE % 1 + LINE % 2 + LINE % 3
    assert target.failures == 1


def test_a_line_that_a_crash_cut_is_ended_first(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    path.write_bytes(LINE % 1 + b'{"event_ty')
    target = FileTarget(str(path))
    target.write(LINE % 2)
    target.close()
    assert path.read_bytes() == LINE % 1 + b'{"event_ty\n' + LINE % 2


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "eve.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="symbolic link"):
        FileTarget(str(tmp_path / "eve.json"))


def test_a_full_device_takes_whole_lines_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = FileTarget(str(tmp_path / "eve.json"))
    target.write(LINE % 1)
    real = os.write
    room = [len(LINE % 2) + 5]

    def full(descriptor: int, data: bytes) -> int:
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = real(descriptor, bytes(data)[: room[0]])
        room[0] -= count
        return count

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        target.write(LINE % 2 + LINE % 3)
    assert target.sent() == len(LINE % 2)
    assert (tmp_path / "eve.json").read_bytes() == LINE % 1 + LINE % 2
    room[0] = 1 << 20
    target.write(LINE % 3)
    target.close()
    assert (tmp_path / "eve.json").read_bytes() == LINE % 1 + LINE % 2 + LINE % 3


def test_a_reader_that_went_away_is_noticed() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    target = StreamTarget(writing)
    target.write(LINE % 1)
    assert target.gone
    os.close(writing)


# ---- sockets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "wanted"), [
    pytest.param("unix:/run/x", SocketAddress(socket.AF_UNIX, socket.SOCK_STREAM, "/run/x", False), id="unix"),
    pytest.param("syslog:/dev/log", SocketAddress(socket.AF_UNIX, socket.SOCK_DGRAM, "/dev/log", True), id="syslog"),
    pytest.param("tcp://127.0.0.1:5140", SocketAddress(
        socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 5140), False), id="TCP"),
    pytest.param("tcp://[::1]:5140", SocketAddress(
        socket.AF_INET6, socket.SOCK_STREAM, ("::1", 5140), False), id="TCP over IPv6"),
    pytest.param("syslog+udp://127.0.0.1:514", SocketAddress(
        socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 514), True), id="syslog over UDP"),
    pytest.param("eve.json", None, id="a file"),
    pytest.param("/var/log/tcp/eve.json", None, id="a file in a folder"),
])
def test_addresses_are_told_from_files(text: str, wanted: SocketAddress | None) -> None:
    assert socket_address(text) == wanted


@pytest.mark.parametrize("text", ["tcp://", "tcp://host", "tcp:5140", "syslog+tls://h:1", "udp://127.0.0.1:1", "unix:",
                                  "tcp://127.0.0.1:70000"])
def test_what_only_looks_like_an_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        socket_address(text)


def received(server: socket.socket, count: int) -> bytes:
    connection, _ = server.accept()
    with connection:
        connection.settimeout(10)
        data = b""
        while data.count(b"\n") < count and (part := connection.recv(1 << 16)):
            data += part
    return data


def test_a_connection_that_breaks_is_made_again_and_whole_lines_follow(tmp_path: Path) -> None:
    path = str(tmp_path / "sock")
    target = SocketTarget(SocketAddress(socket.AF_UNIX, socket.SOCK_STREAM, path, False))
    with pytest.raises(OSError, match="No such file"):
        target.write(LINE % 1)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        server.settimeout(10)
        target.write(LINE % 1)
        assert received(server, 1) == LINE % 1
        until(lambda: _fails(target))
        target.write(LINE % 3)
        assert received(server, 1) == LINE % 3
    target.close()
    assert target.opened == 2


def _fails(target: SocketTarget) -> bool:
    try:
        target.write(LINE % 2)
    except OSError:
        return True
    return False


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_syslog_messages_bear_their_severity_and_length(kind: int, tmp_path: Path) -> None:
    path = str(tmp_path / "sock")
    other = b'{"event_type":"stats"}'
    with socket.socket(socket.AF_UNIX, kind) as server:
        server.bind(path)
        server.settimeout(10)
        if kind == socket.SOCK_STREAM:
            server.listen()
        target = SocketTarget(SocketAddress(socket.AF_UNIX, kind, path, True))
        target.write(LINE % 1 + other + b"\n")
        target.close()
        if kind == socket.SOCK_DGRAM:
            messages = [server.recv(9_000) for _ in range(2)]
        else:
            data = received(server, 99)
            messages = []
            while data:
                size, _, data = data.partition(b" ")
                messages.append(data[: int(size)])
                data = data[int(size):]
    assert [message[:6] for message in messages] == [b"<133>1", b"<134>1"]
    assert messages[0].endswith(b" - - " + (LINE % 1).rstrip())
    assert messages[1].endswith(other)
