"""Where the lines of a live run go: a file that rotates, a stream, a local or remote socket that may be away.

A target takes whole lines, in bytes. It raises OSError where it cannot take them now, and remembers nothing that was
not written: whoever calls it tries the same lines again.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from imapids.errors import OutputError, UsageError
from imapids.output.files import reason
from imapids.protocols.text import safe_str

_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o600
_LOOK_SECONDS = 1.0
"""How often the file at the path is compared with the one that is open."""
_PATIENCE_SECONDS = 60.0
"""A file that cannot be put aside goes on for so long before that is tried again."""
_CONNECT_SECONDS, _SEND_SECONDS = 2.0, 1.0
_SYSLOG_DATAGRAM = 8_192
"""RFC 5425 section 4.3.1 lets receivers cut what is longer; over datagrams most do."""
_FACILITY = 16 << 3
"""local0 (RFC 5424 section 6.2.1)."""
_NOTICE, _INFORMATIONAL = 5, 6


class Target(Protocol):
    """Takes lines."""

    opened: int
    """Times that it was opened or connected."""
    failures: int
    """Times that something failed which stopped no line."""

    def write(self, data: bytes) -> None:
        """Takes whole lines, all of them, or raises OSError; then `sent` tells how many bytes of whole lines went."""

    def sent(self) -> int:
        """Bytes of the last, failed, write that need not come again."""

    def look(self) -> None:
        """Called now and then while nothing is written."""

    def reopen(self) -> None:
        """Opens the file at the path anew."""

    def close(self) -> None: ...


class Rotation(msgspec.Struct, frozen=True):
    """When a file is put aside and a new one begun."""

    max_bytes: int = 0
    """0: however long."""
    seconds: int = 0
    """0: however old."""


class FileTarget:
    """Appends to a file. The file is put aside when it is full or old, and opened anew when somebody moved it away."""

    def __init__(self, path: str, rotation: Rotation = Rotation(), *, owner: tuple[int, int] | None = None,  # noqa: B008
                 clock: Callable[[], float] = time.time) -> None:
        """
        Args:
            owner: user and group that a new file is given to, for a process that is about to become them.

        Raises:
            OutputError: it cannot be written.
        """
        self.path = path
        self.opened = self.failures = 0
        self._rotation = rotation
        self._clock = clock
        self._descriptor = -1
        self._sent = 0
        self._looked = self._not_before = 0.0
        try:
            self._open()
            if owner is not None:
                os.fchown(self._descriptor, *owner)
        except OSError as error:
            raise OutputError(f"cannot write {safe_str(path)}: {reason(error)}") from error

    def write(self, data: bytes) -> None:
        self._sent = 0
        self.look()
        if self._due(len(data)):
            self._put_aside()
        if self._descriptor < 0:
            self._open()
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest):]
        except OSError:
            self._sent = data.rfind(b"\n", 0, len(data) - len(rest)) + 1
            self._size += self._sent
            with contextlib.suppress(OSError):  # no half line stays; a file that cannot be cut keeps it
                os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(data)

    def sent(self) -> int:
        return self._sent

    def look(self) -> None:
        """Opens the file anew where the one at the path is another one, or none."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS or self._descriptor < 0:
            return
        self._looked = now
        try:
            there = Path(self.path).lstat()
            same = (there.st_dev, there.st_ino) == self._identity
        except OSError:
            same = False
        if not same:
            self.reopen()
        elif self._due(0):
            self._put_aside()

    def reopen(self) -> None:
        """Opens the path anew; where that fails, the file that is open stays in use."""
        former = self._descriptor
        try:
            self._open()
        except OSError:
            self._descriptor = former
            raise
        if former >= 0:
            os.close(former)

    def close(self) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):  # what could not be written was counted
                os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        descriptor = os.open(self.path, _APPEND, _MODE)
        status = os.fstat(descriptor)
        self._descriptor, self._size = descriptor, status.st_size
        self._identity = (status.st_dev, status.st_ino)
        self._began = self._clock()
        self._looked = time.monotonic()
        self.opened += 1
        if self._size and os.pread(descriptor, 1, self._size - 1) != b"\n":
            self._size += os.write(descriptor, b"\n")  # the end of a line that a machine's crash cut

    def _due(self, more: int) -> bool:
        rotation = self._rotation
        if not self._size or time.monotonic() < self._not_before:
            return False
        return bool((rotation.max_bytes and self._size + more > rotation.max_bytes)
                    or (rotation.seconds and self._clock() - self._began >= rotation.seconds))

    def _put_aside(self) -> None:
        """Renames the file to its name and the time, and begins a new one; where that fails, the file goes on."""
        stamp = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y%m%dT%H%M%S")
        aside, number = f"{self.path}.{stamp}", 0
        while Path(aside).exists() or Path(aside).is_symlink():
            number += 1
            aside = f"{self.path}.{stamp}.{number}"
        try:
            Path(self.path).rename(aside)
        except OSError:
            self.failures += 1
            self._not_before = time.monotonic() + _PATIENCE_SECONDS
            return
        self.reopen()


class StreamTarget:
    """Standard output, or another open descriptor. A reader that went away is no error: `gone` says so."""

    def __init__(self, descriptor: int) -> None:
        self.opened, self.failures = 1, 0
        self.gone = False
        self._descriptor = descriptor

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest and not self.gone:
                rest = rest[os.write(self._descriptor, rest):]
        except BrokenPipeError:
            self.gone = True

    def sent(self) -> int:
        return 0

    def look(self) -> None:
        pass

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        pass


class SocketAddress(msgspec.Struct, frozen=True):
    """Where a socket goes, and how lines are framed."""

    family: int
    kind: int
    address: str | tuple[str, int]
    syslog: bool

    @property
    def port(self) -> int:
        """The TCP port to connect to; 0 for others."""
        return self.address[1] if isinstance(self.address, tuple) and self.kind == socket.SOCK_STREAM else 0


def socket_address(text: str) -> SocketAddress | None:
    """`unix:PATH`, `tcp://HOST:PORT`, `syslog:PATH`, `syslog+tcp://HOST:PORT`, `syslog+udp://HOST:PORT`; None for else.

    A name is looked up here, once, at the start.

    Raises:
        UsageError: it begins like one of these and is none.
    """
    local = re.fullmatch(r"(unix|syslog):(?!//)(.+)", text)
    if local:
        kind = socket.SOCK_STREAM if local[1] == "unix" else socket.SOCK_DGRAM
        return SocketAddress(socket.AF_UNIX, kind, local[2], local[1] == "syslog")
    remote = re.fullmatch(r"(tcp|syslog\+tcp|syslog\+udp)://(\[[^\]]+\]|[^:/]+):(\d{1,5})/?", text)
    if remote is None or not 0 < int(remote[3]) < 65_536:
        if re.match(r"(unix|tcp|udp|syslog(\+\w+)?):", text):
            raise UsageError(f"-o {safe_str(text)}: write unix:PATH, tcp://HOST:PORT, syslog:PATH, "
                             "syslog+tcp://HOST:PORT or syslog+udp://HOST:PORT.")
        return None
    kind = socket.SOCK_DGRAM if remote[1].endswith("udp") else socket.SOCK_STREAM
    try:
        found = socket.getaddrinfo(remote[2].strip("[]"), int(remote[3]), type=kind)
    except (OSError, OverflowError) as error:
        raise UsageError(f"-o {safe_str(text)}: the host is not known: {error}") from error
    family, _, _, _, address = found[0]
    return SocketAddress(int(family), kind, (str(address[0]), int(address[1])), remote[1].startswith("syslog"))


class SocketTarget:
    """Connects when there is something to send, and again when the connection is lost."""

    def __init__(self, where: SocketAddress) -> None:
        self.opened = self.failures = 0
        self._where = where
        self._socket: socket.socket | None = None
        self._sent = 0
        self._host = re.sub(r"[^\x21-\x7e]", "", socket.gethostname()) or "-"

    def write(self, data: bytes) -> None:
        self._sent = 0
        if self._socket is None:
            self._connect()
        assert self._socket is not None
        try:
            if self._where.syslog:
                for line in data.splitlines():
                    self._send_whole(self._framed(line))
                    self._sent += len(line) + 1
            else:
                self._send_lines(data)
        except OSError:
            self._disconnect()
            raise

    def sent(self) -> int:
        return self._sent

    def look(self) -> None:
        pass

    def reopen(self) -> None:
        self._disconnect()

    def close(self) -> None:
        self._disconnect()

    def _send_lines(self, data: bytes) -> None:
        assert self._socket is not None
        rest, taken = memoryview(data), 0
        try:
            while taken < len(data):
                taken += self._socket.send(rest[taken : taken + (1 << 16)])
        finally:
            self._sent = taken if taken == len(data) else data.rfind(b"\n", 0, taken) + 1

    def _send_whole(self, message: bytes) -> None:
        assert self._socket is not None
        if self._where.kind == socket.SOCK_DGRAM:
            self._socket.send(message[:_SYSLOG_DATAGRAM])
        else:
            self._socket.sendall(message)

    def _framed(self, line: bytes) -> bytes:
        """A line as a message of RFC 5424; over TCP with its length before it (RFC 6587 section 3.4.1)."""
        severity = _NOTICE if b'"event_type":"alert"' in line[:96] else _INFORMATIONAL
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        message = f"<{_FACILITY + severity}>1 {now} {self._host} imapids {os.getpid()} - - ".encode() + line
        return b"%d %b" % (len(message), message) if self._where.kind == socket.SOCK_STREAM else message

    def _connect(self) -> None:
        sock = socket.socket(self._where.family, self._where.kind)
        try:
            sock.settimeout(_CONNECT_SECONDS)
            sock.connect(self._where.address)
            sock.settimeout(_SEND_SECONDS)
        except OSError:
            sock.close()
            raise
        self._socket = sock
        self.opened += 1

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
