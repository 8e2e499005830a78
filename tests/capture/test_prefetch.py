"""Reading ahead in a thread gives what reading in line gives, and leaves nothing behind however it ends."""

from __future__ import annotations

import gzip
import os
import random
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from helpers.captures import Packet, Read, add_batch, interface, packets, pcap, pcapng, read, section

from imapids.capture import CaptureReader, open_captures, prefetch
from imapids.capture import reader as reader_module
from imapids.config import CaptureLimits
from imapids.errors import InputError, UnsupportedInput
from imapids.records.packets import PacketBatch

SMALL = {"batch_bytes": 4_096, "batch_packets": 16, "packet_bytes": 65_536}
"""Windows so small that every ring of buffers is turned many times, and grows."""


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read ahead whatever the size of the capture."""
    monkeypatch.setattr(reader_module, "is_worth_it", lambda stored_bytes: True)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert ahead_threads() == []


def ahead_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "imapids-read-ahead"]


def mixed(seed: int, count: int = 400) -> list[Packet]:
    """Packets of sizes that fill windows, fit into them by the dozen, or do not fit at all."""
    rng = random.Random(seed)
    sizes = [rng.choice([0, 1, 60, 200, 1_500, 9_000, 40_000]) for _ in range(count)]
    return [Packet(rng.randbytes(size), (1_700_000_000 + i) * 10**9) for i, size in enumerate(sizes)]


def damaged(content: bytes, seed: int) -> bytes:
    rng = random.Random(seed)
    parts = bytearray(content)
    for _ in range(6):
        at = rng.randrange(100, len(parts) - 100)
        parts[at : at + 50] = rng.randbytes(rng.randrange(80))
    return bytes(parts)


def read_ahead(*paths: Path, lag: float = 0.0, **limits: int) -> Read:
    """As `read`, behind a thread; `lag`: seconds that the caller leaves the thread to run ahead before it looks."""
    reader = open_captures([str(path) for path in paths], limits=CaptureLimits(**limits))
    result = Read()
    try:
        for number, batch in enumerate(reader.worked_on(lambda batch: batch)):
            if number % 8 == 0:
                time.sleep(lag)
            add_batch(result, batch)
    except InputError as error:
        result.error = error
    result.accounts = reader.accounts
    return result


CAPTURES = [
    pytest.param([pcap(mixed(1))], id="a pcap of all sizes"),
    pytest.param([pcap(packets(3_000))], id="a pcap of small packets"),
    pytest.param([pcapng(mixed(2))], id="a pcapng of all sizes"),
    pytest.param([pcapng(mixed(3)) + section(">") + interface(">") + pcapng(mixed(4))], id="sections"),
    pytest.param([damaged(pcap(mixed(5)), 5)], id="a damaged pcap"),
    pytest.param([damaged(pcapng(mixed(6)), 6)], id="a damaged pcapng"),
    pytest.param([pcap(mixed(7))[:-7]], id="a cut pcap"),
    pytest.param([gzip.compress(pcap(mixed(8)))], id="a compressed pcap"),
    pytest.param([gzip.compress(pcap(mixed(9)))[:-999]], id="a cut compressed pcap"),
    pytest.param([pcap(mixed(10, 90)), b"no capture", pcapng(mixed(11, 90)), b"", pcap([])], id="several files"),
]


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("lag", [pytest.param(0.0, id="a fast caller"), pytest.param(0.01, id="a slow caller")])
@pytest.mark.parametrize("contents", CAPTURES)
def test_the_same_comes_out_with_and_without_the_thread(tmp_path: Path, contents: list[bytes], lag: float) -> None:
    paths = [tmp_path / f"{number}.cap" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    assert read_ahead(*paths, lag=lag, **SMALL) == read(*paths, **SMALL)


@pytest.mark.usefixtures("always")
def test_no_more_than_a_ring_of_batches_is_made_ahead(tmp_path: Path) -> None:
    path = tmp_path / "small.pcap"
    path.write_bytes(pcap(packets(3_000)))
    made = 0

    def work(batch: PacketBatch) -> int:
        nonlocal made
        made += 1
        return made

    for done, number in enumerate(open_captures([str(path)], limits=CaptureLimits(**SMALL)).worked_on(work), 1):
        if done % 20 == 1:
            time.sleep(0.01)
        assert number == done
        assert made <= done + prefetch.RING - 1
    assert made > 40


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(("content", "kind"), [
    pytest.param(b"this is no capture", InputError, id="no capture"),
    pytest.param(b"RTSS" + bytes(60), UnsupportedInput, id="a capture of another program"),
])
def test_an_error_of_the_inputs_is_raised_to_the_caller(tmp_path: Path, content: bytes, kind: type[Exception]) -> None:
    path = tmp_path / "odd"
    path.write_bytes(content)
    with pytest.raises(kind):
        list(open_captures([str(path)]).worked_on(len))


class Broken(Exception):
    pass


def some_batches(tmp_path: Path) -> CaptureReader:
    path = tmp_path / "some.pcap"
    path.write_bytes(pcap(packets(3_000)))
    return open_captures([str(path)], limits=CaptureLimits(**SMALL))


@pytest.mark.usefixtures("always")
def test_what_the_work_raises_comes_behind_the_results_before_it(tmp_path: Path) -> None:
    calls = 0

    def work(batch: PacketBatch) -> int:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise Broken
        return calls

    results = some_batches(tmp_path).worked_on(work)
    assert [next(results) for _ in range(4)] == [1, 2, 3, 4]
    with pytest.raises(Broken):
        next(results)
    assert next(results, None) is None


def open_files() -> int:
    """Descriptors of this process; 0 where the system does not list them."""
    listed = Path("/proc/self/fd")
    return len(list(listed.iterdir())) if listed.exists() else 0


def leave(reader: CaptureReader, results: Iterator[int]) -> None:
    reader.close()


def drop(reader: CaptureReader, results: Iterator[int]) -> None:
    assert isinstance(results, Generator)
    results.close()
    results.close()
    reader.close()


def interrupt(reader: CaptureReader, results: Iterator[int]) -> None:
    assert isinstance(results, Generator)
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt)
    reader.close()


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("taken", [pytest.param(n, id=f"after {n} results") for n in (0, 1, 5)])
@pytest.mark.parametrize("end", [
    pytest.param(leave, id="closing the reader"),
    pytest.param(drop, id="closing the results, twice"),
    pytest.param(interrupt, id="an interrupt"),
])
def test_an_early_end_leaves_no_thread_and_no_file(
    tmp_path: Path, end: Callable[[CaptureReader, Iterator[int]], None], taken: int
) -> None:
    before = open_files()
    reader = some_batches(tmp_path)
    results = reader.worked_on(len)
    for _ in range(taken):
        next(results)
    end(reader, results)
    assert ahead_threads() == []
    assert open_files() == before


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("ahead", [pytest.param(True, id="with the thread"), pytest.param(False, id="without it")])
def test_a_stop_ends_the_run_with_an_account_of_what_was_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: bool
) -> None:
    monkeypatch.setattr(reader_module, "is_worth_it", lambda stored_bytes: ahead)
    path = tmp_path / "long.pcap"
    path.write_bytes(pcap(packets(20_000)))
    stopped = threading.Event()
    reader = open_captures([str(path)], limits=CaptureLimits(**SMALL), stop=stopped.is_set)
    seen = 0
    for count in reader.worked_on(len):
        seen += count
        stopped.set()
    assert 0 < seen < 20_000
    assert sum(account.packets for account in reader.accounts) == seen
    assert reader.accounts[0].status == "ok"


@pytest.mark.parametrize(("size", "worth"), [
    pytest.param(None, False, id="a pipe"),
    pytest.param(prefetch.SMALL_BYTES - 1, False, id="a small capture"),
    pytest.param(prefetch.SMALL_BYTES, True, id="a large capture"),
])
def test_when_a_thread_is_started(monkeypatch: pytest.MonkeyPatch, size: int | None, worth: bool) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    assert prefetch.is_worth_it(size) is worth


def test_one_processor_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    assert not prefetch.is_worth_it(1 << 30)


@pytest.mark.usefixtures("always")
def test_a_followed_capture_is_read_in_line(tmp_path: Path) -> None:
    path = tmp_path / "growing.pcap"
    path.write_bytes(pcap(packets(20)))
    stopped = threading.Event()
    with open_captures([str(path)], follow=True, stop=stopped.is_set) as reader:
        for _ in reader.worked_on(len):
            assert ahead_threads() == []
            stopped.set()
