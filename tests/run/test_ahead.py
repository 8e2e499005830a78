"""Batches that are made in a thread beside the use of those before them: same results, and a clean end in all cases."""

from __future__ import annotations

import gzip
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from helpers.analysis import Run, analyze_all, limits_of
from helpers.captures import enhanced, interface, packets, pcap, pcapng, section

from imapids import kernels
from imapids.capture import open_captures
from imapids.config import CaptureLimits
from imapids.errors import InputError
from imapids.records.packets import PacketBatch
from imapids.run import local
from imapids.run.ahead import OneAhead
from imapids.run.local import scan
from imapids.run.options import ALL_EVENTS, RunOptions

SAMPLES = sorted((Path(__file__).resolve().parents[2] / "sample_pcaps").glob("*.pcap"))
SMALL = {"batch_bytes": 4_096, "batch_packets": 16, "packet_bytes": 65_536}
LARGE = 10


def is_large(number: int) -> bool:
    return number >= LARGE


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "imapids-ahead"]


class Maker:
    """Makes numbers; knows in which thread, and how many were begun."""

    def __init__(self, numbers: list[int], error_at: int = -1) -> None:
        self.numbers, self.error_at = numbers, error_at
        self.begun = 0
        self.made_by: list[str] = []

    def __iter__(self) -> Iterator[int]:
        for place, number in enumerate(self.numbers):
            self.begun += 1
            if place == self.error_at:
                raise InputError("no more")
            self.made_by.append("thread" if threading.current_thread().name == "imapids-ahead" else "line")
            yield number


@pytest.mark.parametrize(("numbers", "made_by"), [
    pytest.param([], "", id="none"),
    pytest.param([1, 2, 3], "line line line", id="small ones are made in line"),
    pytest.param([10, 11, 12], "line thread thread", id="behind a large one the next is made in the thread"),
    pytest.param([10, 2, 3, 10, 11], "line thread line line thread", id="behind a small one in line again"),
    pytest.param([10], "line", id="a large one and the end"),
])
def test_items_come_in_order(numbers: list[int], made_by: str) -> None:
    maker = Maker(numbers)
    assert list(OneAhead(is_large).hand_on(iter(maker))) == numbers
    assert maker.made_by == made_by.split()
    assert not threads()


def test_one_item_at_most_is_made_ahead() -> None:
    maker = Maker([10] * 6)
    with closing(OneAhead(is_large).hand_on(iter(maker))) as items:
        for used, _ in enumerate(items, 1):
            time.sleep(0.01)
            assert maker.begun <= used + 1


@pytest.mark.parametrize("place", [pytest.param(n, id=f"item {n}") for n in (0, 1, 2, 5)])
def test_an_error_comes_up_behind_the_items_before_it(place: int) -> None:
    seen: list[int] = []
    with pytest.raises(InputError, match="no more"):
        seen.extend(OneAhead(is_large).hand_on(iter(Maker([10, 10, 1, 10, 10, 10], place))))
    assert len(seen) == place
    assert not threads()


@pytest.mark.parametrize("taken", [pytest.param(n, id=f"after {n}") for n in (0, 1, 2, 4)])
def test_whoever_ends_early_leaves_no_thread(taken: int) -> None:
    items = OneAhead(is_large).hand_on(iter(Maker([10] * 9)))
    for _ in range(taken):
        next(items)
    items.close()
    assert not threads()


def test_what_blocks_is_told_that_nobody_waits() -> None:
    ahead = OneAhead(is_large)

    def numbers() -> Iterator[int]:
        yield 10
        while not ahead.closing:
            time.sleep(0.001)

    items = ahead.hand_on(numbers())
    next(items)
    items.close()
    assert not threads()


# ---- captures ------------------------------------------------------------------------------------------------------


def damaged(content: bytes) -> bytes:
    """Some kilobytes of noise in the middle, and a cut at the end."""
    middle = len(content) // 2
    return content[:middle] + bytes(range(7, 256)) * 40 + content[middle:-9]


CAPTURES: dict[str, Callable[[], bytes]] = {
    "pcap": lambda: pcap(packets(900, 300)),
    "pcapng": lambda: pcapng(packets(900, 300)),
    "pcapng, whose interfaces come late": lambda: section() + interface() + b"".join(
        (interface() if number % 200 == 0 else b"") + enhanced(packet) for number, packet in enumerate(
            packets(900, 300))),
    "gzip": lambda: gzip.compress(pcap(packets(900, 300))),
    "damaged": lambda: damaged(pcap(packets(900, 300))),
    "packets larger than a window": lambda: pcap(packets(40, 9_000)),
    "few": lambda: pcap(packets(3)),
}


def contents(batch: PacketBatch) -> list[bytes]:
    """The packets of a batch, as its buffer holds them now."""
    return [batch.buffer[at : at + size].tobytes()
            for at, size in zip(batch.offset.tolist(), batch.captured.tolist(), strict=True)]


@pytest.mark.parametrize("files", [pytest.param(1, id="one file"), pytest.param(3, id="three files")])
@pytest.mark.parametrize("kind", CAPTURES)
def test_a_batch_holds_while_the_next_one_is_made(tmp_path: Path, kind: str, files: int) -> None:
    for number in range(files):
        (tmp_path / f"{number}.cap").write_bytes(CAPTURES[kind]())
    limits = CaptureLimits(**SMALL)
    with open_captures([str(tmp_path)], limits=limits) as reader:
        expected = [packet for batch in reader for packet in contents(batch)]
    found: list[bytes] = []
    with open_captures([str(tmp_path)], limits=limits, ahead=True) as reader:
        before = next(iter(reader))
        for batch in reader:
            found += contents(before)
            before = batch
        found += contents(before)
    assert found == expected
    assert len(found) >= 3 * files


@pytest.fixture
def in_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine and however small the batch, the next one is made in a thread."""
    if not kernels.COMPILED:
        pytest.skip("only compiled loops let go of the interpreter for long: without them batches are made in line")
    monkeypatch.setattr(local, "_LARGE_BATCH", 1)
    monkeypatch.setattr(local, "has_second_processor", lambda: True)


def in_line(path: Path, **limits: int) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "has_second_processor", lambda: False)
        return analyze_all(path, limits=limits_of(**limits))


@pytest.mark.usefixtures("in_thread")
@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in SAMPLES])
def test_a_sample_tells_the_same(path: Path) -> None:
    limits = {"batch_packets": 64, "batch_bytes": 8_192, "packet_bytes": 65_536}
    assert analyze_all(path, limits=limits_of(**limits)).text == in_line(path, **limits).text


@pytest.mark.usefixtures("in_thread")
def test_a_stop_ends_the_run_with_what_was_read() -> None:
    (path,) = (path for path in SAMPLES if path.stem == "office-day")
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 12

    run = Run()
    result = local.analyze([str(path)], RunOptions(limits=limits_of(batch_packets=16)), run, stop=stop)
    assert result.interrupted
    body = result.capture.body
    assert 0 < body.packets < in_line(path).capture.packets
    assert body.packets == result.accounts[0].packets
    assert body.processed + sum(body.skipped.values()) == body.packets
    assert not threads()


@pytest.mark.usefixtures("in_thread")
def test_whoever_leaves_while_a_pipe_says_nothing_is_not_kept(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (path,) = (path for path in SAMPLES if path.stem == "office-day")
    writer = os.open(pipe, os.O_RDWR)
    os.write(writer, path.read_bytes()[:32_768])
    found = scan([str(pipe)], RunOptions(events=ALL_EVENTS, limits=limits_of(batch_packets=16)))
    assert next(filter(None, found))
    before = time.monotonic()
    found.close()
    os.close(writer)
    assert time.monotonic() - before < 5
    assert not threads()
