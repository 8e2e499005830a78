"""Files, folders, globs, pipes and standard input, each once, in the order of their first packets."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers.captures import Packet, add_batch, packets, pcap, pcapng, read, same, simple
from helpers.captures import Read as Result

from imapids.capture import open_captures
from imapids.errors import InputError

THIRTY = packets(30)
PARTS = {"c.pcap": pcap(THIRTY[:10]), "a.pcap.gz": gzip.compress(pcap(THIRTY[10:20])), "b.dump": pcapng(THIRTY[20:])}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "captures"
    folder.mkdir()
    for name, data in PARTS.items():
        (folder / name).write_bytes(data)
    (folder / "README.txt").write_text("no capture\n")
    (folder / "empty").write_bytes(b"")
    (folder / "deeper").mkdir()
    (folder / "deeper" / "x.pcap").write_bytes(pcap(packets(3)))
    return folder


def test_a_folder_is_read_in_time_order_and_not_deeper(folder: Path) -> None:
    result = read(folder)
    assert same(result, THIRTY)
    assert [Path(a.source.name).name for a in result.accounts] == ["c.pcap", "a.pcap.gz", "b.dump"]
    assert [a.source.index for a in result.accounts] == [0, 1, 2]
    assert [a.packets for a in result.accounts] == [10, 10, 10]


def test_names_given_twice_are_read_once(folder: Path) -> None:
    (folder / "again.pcap").symlink_to(folder / "c.pcap")
    result = read(folder / "c.pcap", folder, folder / "*.pcap", folder / "c.pcap")
    assert same(result, THIRTY)
    assert result.accounts[0].source.name == str(folder / "c.pcap"), "the name is the one that the user gave first"


def test_globs_and_what_is_missing(folder: Path) -> None:
    result = read(folder / "*.p*", folder / "missing.pcap", folder / "*.none", folder / "deeper")
    statuses = {Path(a.source.name).name: a.status for a in result.accounts}
    assert statuses == {
        "c.pcap": "ok", "a.pcap.gz": "ok", "missing.pcap": "unreadable", "*.none": "unreadable", "x.pcap": "ok",
    }


def test_a_folder_without_captures_is_said(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "notes.txt").write_text("text")
    assert isinstance(read(bare).error, InputError)
    good = tmp_path / "good.pcap"
    good.write_bytes(pcap(THIRTY))
    result = read(bare, good)
    assert result.error is None
    assert [a.status for a in result.accounts] == ["ok", "unreadable"]


def test_no_input_at_all_is_an_error() -> None:
    assert isinstance(read().error, InputError)


def test_an_unreadable_file_among_others(folder: Path) -> None:
    result = read(folder / "c.pcap", folder / "deeper" / "none")
    assert same(result, THIRTY[:10])
    assert result.accounts[1].message.endswith("No such file or directory")


def test_captures_without_times_come_last(tmp_path: Path) -> None:
    bare = pcapng([]) + simple(Packet(b"abcd"))
    (tmp_path / "0.pcapng").write_bytes(bare)
    (tmp_path / "1.pcap").write_bytes(pcap(THIRTY[:1]))
    result = read(tmp_path)
    assert result.times in ([0, THIRTY[0].time_ns], [THIRTY[0].time_ns, 0])


def test_progress_reaches_the_total(folder: Path) -> None:
    with open_captures([str(folder)]) as reader:
        assert reader.bytes_total is not None
        for _ in reader:
            assert reader.bytes_done <= reader.bytes_total
        assert reader.bytes_done == reader.bytes_total


def test_closing_early_keeps_the_accounts_and_the_descriptors(folder: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    reader = open_captures([str(folder)])
    next(iter(reader))
    reader.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert reader.accounts[0].packets == 10


READ_STDIN = "from imapids.capture import open_captures; print(sum(len(b) for b in open_captures(['-'])))"


@pytest.mark.parametrize("data", [
    pytest.param(pcap(THIRTY), id="pcap"),
    pytest.param(gzip.compress(pcapng(THIRTY)), id="compressed pcapng"),
])
def test_standard_input_is_read(data: bytes) -> None:
    done = subprocess.run([sys.executable, "-c", READ_STDIN], input=data, capture_output=True, check=True, timeout=60)
    assert done.stdout.strip() == b"30"


def test_a_pipe_that_trickles_loses_nothing_and_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    data = pcap(THIRTY)
    first_came = threading.Event()

    def write() -> None:
        with path.open("wb", buffering=0) as pipe:
            pipe.write(data[:1000])
            assert first_came.wait(5), "the first packets were not handed on while the pipe paused"
            for at in range(1000, len(data), 333):
                pipe.write(data[at : at + 333])

    writer = threading.Thread(target=write)
    writer.start()
    reader = open_captures([str(path)])
    assert reader.bytes_total is None
    result = Result()
    for batch in reader:
        add_batch(result, batch)
        first_came.set()
    writer.join()
    assert same(result, THIRTY)
    assert reader.accounts[0].status == "ok"


def test_stop_ends_the_reading_of_a_silent_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    stop = threading.Event()
    keep = os.open(path, os.O_RDWR)
    os.write(keep, pcap(THIRTY)[:-5])
    threading.Timer(0.3, stop.set).start()
    started = time.monotonic()
    reader = open_captures([str(path)], stop=stop.is_set)
    assert sum(map(len, reader)) == 29
    assert time.monotonic() - started < 2
    assert reader.accounts[0].status == "ok", "the reader stopped; the capture was not cut"
    os.close(keep)
