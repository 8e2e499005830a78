"""Real servers, where they are installed, are asked in their own words, and named by what they answer."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from helpers.openings import Turn, c, growing, s, talk

from imapids.sniff import sniff

START_SECONDS = 10
ANSWER_SECONDS = 3


class Service(NamedTuple):
    """A server that runs in the foreground, without rights, on a port that we choose."""

    name: str
    command: tuple[str, ...]
    asked: tuple[bytes, ...]
    """What the client says, each after an answer; empty: it only listens."""
    settings: str = ""


SERVICES = (
    Service("redis", ("redis-server", "--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--dir", "{folder}"),
            (b"*1\r\n$4\r\nPING\r\n", b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n")),
    Service("memcached", ("memcached", "-l", "127.0.0.1", "-p", "{port}", "-U", "0", "-u", "nobody"),
            (b"version\r\n", b"mn\r\n")),
    Service("mqtt", ("mosquitto", "-c", "{settings}"),
            (b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02ab", b"\xc0\x00"),
            "listener {port} 127.0.0.1\nallow_anonymous true\n"),
    Service("nats", ("nats-server", "-a", "127.0.0.1", "-p", "{port}"), (b"", b"CONNECT {{}}\r\nPING\r\n")),
    Service("rsync", ("rsync", "--daemon", "--no-detach", "--address=127.0.0.1", "--port={port}",
                      "--config={settings}"),
            (b"", b"@RSYNCD: 31.0\n#list\n"), "use chroot = no\npid file = {folder}/pid\n"),
    Service("svn", ("svnserve", "-d", "--foreground", "-r", "{folder}", "--listen-host", "127.0.0.1", "--listen-port",
                    "{port}"), (b"",)),
    Service("epmd", ("epmd", "-address", "127.0.0.1", "-port", "{port}"), (b"\x00\x01n",)),
    Service("ssh", ("dropbear", "-R", "-F", "-E", "-p", "127.0.0.1:{port}", "-P", "{folder}/pid"),
            (b"",)),
    Service("http2", ("nghttpd", "--no-tls", "-a", "127.0.0.1", "{port}"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",)),
    Service("tor-control", ("tor", "-f", "{settings}"), (b"PROTOCOLINFO 1\r\n",),
            "ControlPort 127.0.0.1:{port}\nSocksPort 0\nDataDirectory {folder}/data\nDisableNetwork 1\n"),
)  # fmt: skip


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running(service: Service, folder: Path) -> Iterator[socket.socket]:
    """The server, and a connection to it."""
    program = shutil.which(service.command[0])
    if program is None:
        pytest.skip(f"{service.command[0]} is not installed")
    port = free_port()
    settings = folder / "settings"
    settings.write_text(service.settings.format(port=port, folder=folder))
    words = [word.format(port=port, folder=folder, settings=settings) for word in service.command]
    process = subprocess.Popen([program, *words[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, cwd=folder)  # fmt: skip
    try:
        yield connect(process, port)
    finally:
        process.kill()
        process.wait()


def connect(process: subprocess.Popen[bytes], port: int) -> socket.socket:
    """The connection, as soon as the server listens."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            return socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS)
        if process.poll() is not None:
            break
        time.sleep(0.05)
    pytest.skip(f"{process.args[0]!r} does not run here")  # type: ignore[index]  # a list, as we made it


def conversation(service: Service, connection: socket.socket) -> list[Turn]:
    turns: list[Turn] = []
    with connection:
        for words in service.asked:
            if words:
                connection.sendall(words)
                turns.append(c(words))
            turns.append(s(connection.recv(4_096)))
    return turns


@pytest.mark.oracle
@pytest.mark.parametrize("service", [pytest.param(service, id=service.name) for service in SERVICES])
def test_a_real_server_is_named(service: Service, tmp_path: Path) -> None:
    with running(service, tmp_path) as connection:
        turns = conversation(service, connection)
    whole = sniff(talk(*turns))
    assert whole.finding is not None
    assert whole.finding.protocol == service.name
    finals = [now for now in map(sniff, growing(turns, [1])) if now.final]
    assert all(now == whole for now in finals)
