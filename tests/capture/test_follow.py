"""A growing capture is followed: nothing is lost, nothing is read twice."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.captures import Packet, Read, add_batch, packets, pcap, pcap_record, pcapng, same

from imapids.capture import open_captures
from imapids.records.packets import SourceAccount


def followed(
    paths: list[Path], write: Callable[[], None], expected: int, seconds: float = 20
) -> tuple[Read, list[SourceAccount]]:
    """Follow `paths` while `write` runs in a thread; stop when the packets are there (or time is up)."""
    result = Read()
    end = time.monotonic() + seconds
    done = threading.Event()

    def stop() -> bool:
        return time.monotonic() > end or (done.is_set() and len(result.data) >= expected)

    def work() -> None:
        write()
        done.set()

    writer = threading.Thread(target=work)
    writer.start()
    reader = open_captures([str(p) for p in paths], follow=True, stop=stop)
    for batch in reader:
        add_batch(result, batch)
    writer.join()
    return result, reader.accounts


@pytest.mark.parametrize("make", [pytest.param(pcap, id="pcap"), pytest.param(pcapng, id="pcapng")])
def test_appended_bytes_in_chunks_of_any_size(tmp_path: Path, make: Callable[[list[Packet]], bytes]) -> None:
    content = packets(1_000)
    data = make(content)
    path = tmp_path / "grow.cap"
    path.write_bytes(b"")
    rng = random.Random(1)

    def write() -> None:
        with path.open("ab", buffering=0) as file:
            at = 0
            while at < len(data):
                size = rng.randint(1, 200)
                file.write(data[at : at + size])
                at += size
                if rng.random() < 0.02:
                    time.sleep(0.02)

    result, accounts = followed([path], write, 1_000)
    assert same(result, content)
    assert [a.status for a in accounts] == ["ok"]


def test_an_appended_packet_is_there_within_a_second(tmp_path: Path) -> None:
    path = tmp_path / "grow.pcap"
    path.write_bytes(pcap(packets(3)))
    delays: list[float] = []
    written = 0.0
    result = Read()

    def write() -> None:
        nonlocal written
        for packet in packets(3):
            time.sleep(0.15)
            written = time.monotonic()
            with path.open("ab") as file:
                file.write(pcap_record(packet))

    writer = threading.Thread(target=write)
    writer.start()
    end = time.monotonic() + 10
    stop = lambda: len(result.data) >= 6 or time.monotonic() > end  # noqa: E731
    for batch in open_captures([str(path)], follow=True, stop=stop):
        add_batch(result, batch)
        if len(result.data) > 3:
            delays.append(time.monotonic() - written)
    writer.join()
    assert len(result.data) == 6
    assert max(delays) < 1


def test_rotation_by_rename(tmp_path: Path) -> None:
    content = packets(60)
    path = tmp_path / "ring.pcap"
    path.write_bytes(pcap(content[:10]))

    def write() -> None:
        for turn in range(1, 4):
            time.sleep(0.25)
            with path.open("ab") as file:  # the last packets of a file come just before it is renamed
                file.write(b"".join(map(pcap_record, content[turn * 20 - 10 : turn * 20])))
            path.rename(tmp_path / f"ring.pcap.{turn}")
            if turn < 3:
                path.write_bytes(pcap(content[turn * 20 : turn * 20 + 10]))

    result, accounts = followed([path], write, 60)
    assert same(result, content)
    assert len(accounts) == 3


def test_new_files_in_a_followed_folder(tmp_path: Path) -> None:
    content = packets(40)
    (tmp_path / "ring_1").write_bytes(pcap(content[:10]))

    def write() -> None:
        for number in range(2, 5):
            time.sleep(0.3)
            data = pcap(content[number * 10 - 10 : number * 10])
            with (tmp_path / f"ring_{number}").open("wb", buffering=0) as file:
                file.write(data[:30])
                time.sleep(0.05)
                file.write(data[30:])

    result, accounts = followed([tmp_path], write, 40)
    assert same(result, content)
    assert len(accounts) == 4


def test_truncation_starts_again(tmp_path: Path) -> None:
    content = packets(15)
    path = tmp_path / "copytruncate.pcap"
    path.write_bytes(pcap(content[:10]))

    def write() -> None:
        time.sleep(0.4)
        path.write_bytes(pcap(content[10:]))

    result, accounts = followed([path], write, 15)
    assert same(result, content)
    assert [a.packets for a in accounts] == [10, 5]


def test_an_empty_folder_is_waited_for(tmp_path: Path) -> None:
    content = packets(5)

    def write() -> None:
        time.sleep(0.3)
        (tmp_path / "first.pcap").write_bytes(pcap(content))

    result, _ = followed([tmp_path], write, 5)
    assert same(result, content)
