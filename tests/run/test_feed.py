"""From a source into a pipeline: batches, silence, a clock that is set, and what is left at the end."""

from __future__ import annotations

from collections.abc import Iterator

from helpers.frames import batch_of, ethernet, ip4, syn

from imapids.capture.ledger import Ledger
from imapids.capture.ring import RingCounts
from imapids.config import Limits
from imapids.pipeline import Pipeline
from imapids.records.events import Event, Session
from imapids.records.packets import CaptureSource, PacketBatch
from imapids.run.feed import LiveFeed

START = 1_700_000_000 * 10**9
S = 10**9


class Clocks:
    def __init__(self) -> None:
        self.wall, self.own = START, 5 * S

    def go_on(self, by: int) -> None:
        self.wall += by
        self.own += by


class Source:
    """A source whose packets and counts are set by hand."""

    def __init__(self, clocks: Clocks) -> None:
        self.ledger = Ledger(CaptureSource("eth0", 0, "live", ["eth0"]))
        self.state = "up"
        self.counts = RingCounts()
        self.waiting: list[PacketBatch] = []
        self.stopped = False
        self.clocks = clocks

    def send(self, *frames: bytes) -> None:
        batch = batch_of(frames, times_ns=[self.clocks.wall] * len(frames))
        self.waiting.append(batch)
        self.counts.packets += len(frames)

    def start(self) -> None:
        pass

    def read(self, wait_ns: int) -> PacketBatch | None:
        if not self.waiting:
            self.clocks.go_on(wait_ns)
            return None
        batch = self.waiting.pop(0)
        self.ledger.packets(batch.time_ns, batch.link_type)
        return batch

    def stop(self) -> None:
        self.stopped = True

    def look(self) -> str:
        return self.state

    def count(self) -> RingCounts:
        return self.counts

    def close(self) -> None:
        pass


def feed() -> tuple[LiveFeed, Source, Clocks]:
    clocks = Clocks()
    source = Source(clocks)
    limits = Limits()
    pipeline = Pipeline(limits, kinds={"session"})
    return (LiveFeed(source, pipeline, limits.live, wall_ns=lambda: clocks.wall, own_ns=lambda: clocks.own), source,
            clocks)


def sessions(told: Iterator[list[Event]]) -> list[Event]:
    return [event for events in told for event in events if isinstance(event.body, Session)]


def for_seconds(live: LiveFeed, clocks: Clocks, seconds: int) -> list[Event]:
    end, found = clocks.own + seconds * S, []
    while clocks.own < end:
        found += sessions(live.step())
    return found


def test_on_a_silent_link_conversations_end_in_their_time() -> None:
    live, source, clocks = feed()
    source.send(ethernet(ip4(syn())))
    assert for_seconds(live, clocks, 50) == []
    (session,) = for_seconds(live, clocks, 40)
    assert isinstance(session.body, Session)
    assert (session.body.verdict, session.body.end_reason) == ("silent", "idle")


def test_a_clock_that_is_set_ends_nothing_and_is_noted() -> None:
    live, source, clocks = feed()
    source.send(ethernet(ip4(syn())))
    assert for_seconds(live, clocks, 5) == []
    clocks.wall += 7 * 3600 * S
    assert for_seconds(live, clocks, 40) == []
    clocks.wall -= 14 * 3600 * S
    assert for_seconds(live, clocks, 5) == []
    assert source.ledger.account.notes["clock-stepped"] == 2
    assert len(for_seconds(live, clocks, 40)) == 1


def test_at_the_end_the_ring_is_read_empty() -> None:
    live, source, clocks = feed()
    source.send(ethernet(ip4(syn(sport=1))))
    source.send(ethernet(ip4(syn(sport=2))))
    assert sessions(live.rest(clocks.own + S)) == []
    assert source.stopped
    assert len(sessions(live.pipeline.finish())) == 2
    assert "left-in-ring" not in source.ledger.account.skipped


def test_what_could_not_be_read_in_time_is_counted() -> None:
    live, source, clocks = feed()
    source.send(ethernet(ip4(syn(sport=1))), ethernet(ip4(syn(sport=2))))
    assert sessions(live.rest(clocks.own)) == []
    assert source.ledger.account.skipped == {"left-in-ring": 2}


def test_a_report_tells_how_it_is_doing() -> None:
    live, source, _ = feed()
    source.send(ethernet(ip4(syn())))
    source.counts.packets += 5
    source.counts.dropped = 5
    list(live.step())
    report = live.report()
    assert (report.kernel_packets, report.kernel_drops, report.account.packets, report.link) == (6, 5, 1, "up")
    assert (report.tally.flows.flows, report.tally.flows_open) == (1, 1)
