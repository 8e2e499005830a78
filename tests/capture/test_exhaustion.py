"""Captures that inflate, lie or repeat cannot take more memory or time than their size allows."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.captures import Packet, interface, packets, pcap, pcap_header, pcap_record, pcapng, read, same, section

MEASURED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))
from imapids.capture import open_captures
reader = open_captures(sys.argv[1:])
packets = sum(map(len, reader))
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(packets, int(peak) >> 10, reader.accounts[0].status)
"""


def peak(path: Path) -> tuple[int, int, str]:
    """Packets, peak MiB of the whole process, and status, in a process of limited address space."""
    command = [sys.executable, "-c", MEASURED, str(path)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=120, text=True)
    count, memory, status = done.stdout.split()
    return int(count), int(memory), status


@pytest.mark.parametrize(("start", "count", "status"), [
    pytest.param(b"", 0, "", id="zeros without a header"),
    pytest.param(pcap(packets(10)), 10, "damaged", id="a capture that ends in zeros"),
    pytest.param(pcapng(packets(10)), 10, "damaged", id="a pcapng that ends in zeros"),
])
def test_a_hundred_megabytes_of_zeros_in_a_small_gzip(tmp_path: Path, start: bytes, count: int, status: str) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(start + bytes(100 << 20), 1))
    if not status:
        assert read(path).account.status == "unreadable"
        return
    assert path.stat().st_size < 1 << 20
    started = time.monotonic()
    found, memory, told = peak(path)
    assert (found, told) == (count, status)
    assert memory < 64
    assert time.monotonic() - started < 20


def test_what_inflates_beyond_reason_is_ended(tmp_path: Path) -> None:
    record = pcap_record(Packet(bytes(60_000)))
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(pcap_header() + record * 400, 9))
    result = read(path, inflate_ratio=100, batch_bytes=1 << 20)
    assert result.account.status == "damaged"
    assert "inflates more than 100 times" in result.account.message
    assert 0 < len(result.data) < 100
    assert len(read(path, batch_bytes=1 << 20).data) == 400


def test_many_tiny_members(tmp_path: Path) -> None:
    path = tmp_path / "members.gz"
    data = pcap(packets(300))
    path.write_bytes(b"".join(gzip.compress(data[at : at + 3]) for at in range(0, len(data), 3)))
    assert same(read(path), packets(300))


def test_lengths_that_lie_allocate_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lies.pcap"
    lie = struct.pack("<IIII", 1_700_000_000, 0, 15 << 20, 15 << 20)
    path.write_bytes(pcap_header(snaplen=16 << 20) + lie + b"x" * 100)
    found, memory, status = peak(path)
    assert (found, status) == (0, "cut")
    assert memory < 64


def test_a_frame_longer_than_the_window_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.pcap"
    long = Packet(b"\x5a" * 3_000_000)
    content = [Packet(b"abc"), long, Packet(b"def"), long]
    path.write_bytes(pcap(content, snaplen=4 << 20))
    assert same(read(path, batch_bytes=100_000), content)


def test_thousands_of_interfaces_and_empty_sections(tmp_path: Path) -> None:
    path = tmp_path / "many.pcapng"
    path.write_bytes(section() * 3_000 + section() + b"".join(interface(name=f"if{i}") for i in range(6_000))
                     + pcapng(packets(10)))
    result = read(path)
    assert same(result, packets(10))
    assert result.account.notes["interface-names-limit"] > 0
    assert len(result.account.source.interfaces) <= 4_096
