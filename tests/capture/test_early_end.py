"""Whoever stops reading early leaves no file open, and has an account of what was handed on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.captures import packets, pcap

from imapids.capture import CaptureReader, open_captures
from imapids.config import CaptureLimits
from imapids.records.packets import PacketBatch

SMALL = {"batch_bytes": 4_096, "batch_packets": 16, "packet_bytes": 65_536}


def open_files() -> int:
    """Descriptors of this process; 0 where the system does not list them."""
    listed = Path("/proc/self/fd")
    return len(list(listed.iterdir())) if listed.exists() else 0


def leave(reader: CaptureReader, batches: Iterator[PacketBatch]) -> None:
    reader.close()


def leave_twice(reader: CaptureReader, batches: Iterator[PacketBatch]) -> None:
    reader.close()
    reader.close()
    assert next(batches, None) is None


def leave_the_block(reader: CaptureReader, batches: Iterator[PacketBatch]) -> None:
    with pytest.raises(KeyboardInterrupt), reader:
        raise KeyboardInterrupt


@pytest.mark.parametrize("taken", [pytest.param(n, id=f"after {n} batches") for n in (0, 1, 5)])
@pytest.mark.parametrize("end", [
    pytest.param(leave, id="closing the reader"),
    pytest.param(leave_twice, id="closing it twice"),
    pytest.param(leave_the_block, id="an interrupt"),
])
def test_an_early_end_leaves_no_file_open(
    tmp_path: Path, end: Callable[[CaptureReader, Iterator[PacketBatch]], None], taken: int
) -> None:
    path = tmp_path / "some.pcap"
    path.write_bytes(pcap(packets(3_000)))
    before = open_files()
    reader = open_captures([str(path)], limits=CaptureLimits(**SMALL))
    batches = iter(reader)
    for _ in range(taken):
        next(batches)
    end(reader, batches)
    assert open_files() == before


def test_a_stop_ends_the_run_with_an_account_of_what_was_handed_on(tmp_path: Path) -> None:
    path = tmp_path / "long.pcap"
    path.write_bytes(pcap(packets(20_000)))
    stopped = threading.Event()
    reader = open_captures([str(path)], limits=CaptureLimits(**SMALL), stop=stopped.is_set)
    seen = 0
    for batch in reader:
        seen += len(batch)
        stopped.set()
    assert 0 < seen < 20_000
    assert sum(account.packets for account in reader.accounts) == seen
    assert reader.accounts[0].status == "ok"
