"""Writing behind the run: order, bounds, and errors that reach whoever writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from imapids.errors import OutputError
from imapids.output import behind
from imapids.output.behind import WriteBehind


class Slow:
    """What is written behind: waits until it may go on, and fails when told so."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.threads: set[int] = set()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.error: Exception | None = None

    def write(self, data: bytes) -> None:
        assert self.may_go_on.wait(30)
        if self.error is not None:
            raise self.error
        self.threads.add(threading.get_ident())
        self.taken.append(data)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    monkeypatch.setattr(behind, "DIRECT_BYTES", 10)
    monkeypatch.setattr(behind, "WAITING_BYTES", 100)
    return Slow()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def write_much(writer: WriteBehind) -> None:
    for _ in range(100):
        writer.write(b"x" * 50)


def test_lines_keep_their_order_and_are_all_there_after_close(slow: Slow) -> None:
    writer = WriteBehind(slow.write)
    lines = [b"%d\n" % number for number in range(500)]
    for line in lines:
        writer.write(line)
    writer.close()
    assert slow.taken == lines
    assert len(slow.threads) == 2


def test_small_results_are_written_by_the_caller_at_once(slow: Slow) -> None:
    writer = WriteBehind(slow.write)
    writer.write(b"12345")
    writer.write(b"67890")
    assert slow.taken == [b"12345", b"67890"]
    assert slow.threads == {threading.get_ident()}
    writer.close()


def test_what_waits_is_bounded(slow: Slow) -> None:
    writer = WriteBehind(slow.write)
    slow.may_go_on.clear()
    written: list[int] = []

    def produce() -> None:
        for number in range(20):
            writer.write(b"x" * 50)
            written.append(number)

    producer = threading.Thread(target=produce)
    producer.start()
    until(lambda: len(written) >= 3)
    time.sleep(0.05)
    assert len(written) == 3  # 150 bytes: the bound, and one write on top
    slow.may_go_on.set()
    producer.join(30)
    writer.close()
    assert slow.taken == [b"x" * 50] * 20


def test_an_error_reaches_the_next_write_and_is_not_told_again_at_the_end(slow: Slow) -> None:
    writer = WriteBehind(slow.write)
    writer.write(b"first line\n")
    slow.error = OutputError("cannot write there: No space left on device")
    with pytest.raises(OutputError, match="No space left"):
        write_much(writer)
    with pytest.raises(OutputError, match="No space left"):
        writer.write(b"more")
    writer.close()


def test_an_error_of_the_last_lines_is_raised_at_the_end(slow: Slow) -> None:
    writer = WriteBehind(slow.write)
    slow.may_go_on.clear()
    writer.write(b"one line that is worth a thread\n")
    slow.error = OutputError("cannot write there: No space left on device")
    slow.may_go_on.set()
    with pytest.raises(OutputError, match="No space left"):
        writer.close()


def test_the_caller_writes_where_no_thread_can_be_started(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    writer = WriteBehind(slow.write)
    lines = [b"a line that is long enough\n"] * 5
    for line in lines:
        writer.write(line)
    writer.close()
    assert slow.taken == lines
    assert slow.threads == {threading.get_ident()}
