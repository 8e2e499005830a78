"""What a live run tells of itself: several feeds as one, and every limit that was hit."""

from __future__ import annotations

import time

import msgspec
from helpers.frames import batch_of, ethernet, ip4, syn

from imapids.config import Limits, ObserveLimits
from imapids.records.packets import CaptureSource, SourceAccount
from imapids.records.streams import FlowAccount
from imapids.run.account import Tally
from imapids.run.engine import Engine, rules_for
from imapids.run.feed import FeedReport
from imapids.run.live_account import LiveAccount, summed
from imapids.run.options import RunOptions


def report(flow_limits: dict[str, int], hit: dict[str, int]) -> FeedReport:
    """Of a feed that hit these limits."""
    tally = Tally(clock_ns=0, skipped={}, notes={}, flows=FlowAccount(limits=flow_limits), flows_open=0, sessions={},
                  hit=hit)
    account = SourceAccount(CaptureSource("eth0", 0, "live", ["eth0"]))
    return FeedReport(link="up", kernel_packets=0, kernel_drops=0, frozen=0, account=account, tally=tally, lag_ns=0)


def test_limits_of_all_feeds_observers_and_rules_are_told() -> None:
    sums = summed([report({"flows": 1}, {"deflate-bomb": 2}), report({"flows": 2}, {"deflate-bomb": 3})])
    stats = LiveAccount("eth0", 2, time.monotonic()).stats(
        sums, time.monotonic(), counts={}, alerts={}, limits={"observe-beacon-pairs": 4}, output=None)
    assert stats.limits == {"deflate-bomb": 5, "flows": 3, "observe-beacon-pairs": 4}


def test_a_run_knows_the_limits_that_its_observers_hit() -> None:
    limits = msgspec.structs.replace(Limits(), observe=ObserveLimits(groups=2))
    options = RunOptions(limits=limits)
    engine = Engine(options, rules_for(options), live=True)
    assert engine.limits_hit == {}
    frames = [ethernet(ip4(syn(40_000, 143), src=f"198.51.100.{host}")) for host in range(1, 60)]
    for events in engine.pipeline.feed(batch_of(frames)):
        list(engine.handle(events))
    list(engine.finish())
    assert engine.limits_hit["scan-groups"] > 0
