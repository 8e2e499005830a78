"""What a live run tells of itself: the `stats` event at fixed times, and what the account at the end adds."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from imapids.protocols.text import safe_str
from imapids.records.events import KernelCounts, OutputCounts, Stats, StatsInterval
from imapids.records.packets import SourceAccount
from imapids.records.streams import FlowAccount
from imapids.run.account import Tally, added
from imapids.run.feed import FeedReport

WORRYING_LOSS = 0.001
"""A greater part of the packets that were dropped in one interval is told on standard error at once."""
_LINKS = ("removed", "down", "up")
"""What several rings of one interface say of it: the worst holds."""


class Sums(msgspec.Struct, kw_only=True):
    """The reports of all feeds together."""

    link: str
    kernel_packets: int
    kernel_drops: int
    frozen: int
    packets: int
    bytes: int
    notes: dict[str, int]
    tally: Tally
    lag_ns: int


def summed(reports: Sequence[FeedReport]) -> Sums:
    """Several feeds as one."""
    return Sums(
        link=min((report.link for report in reports), key=_LINKS.index, default="removed"),
        kernel_packets=sum(report.kernel_packets for report in reports),
        kernel_drops=sum(report.kernel_drops for report in reports),
        frozen=sum(report.frozen for report in reports),
        packets=sum(report.account.packets for report in reports),
        bytes=sum(report.account.bytes_read for report in reports),
        notes=added(report.account.notes for report in reports),
        tally=_one_tally([report.tally for report in reports]),
        lag_ns=max((report.lag_ns for report in reports), default=0),
    )


def _one_tally(tallies: Sequence[Tally]) -> Tally:
    flows = FlowAccount(limits=added(tally.flows.limits for tally in tallies))
    for name in ("flows", "selected", "one_sided", "midstream", "payload_bytes", "missing_bytes"):
        setattr(flows, name, sum(getattr(tally.flows, name) for tally in tallies))
    return Tally(
        clock_ns=max((tally.clock_ns for tally in tallies), default=0),
        skipped=added(tally.skipped for tally in tallies), notes=added(tally.notes for tally in tallies), flows=flows,
        flows_open=sum(tally.flows_open for tally in tallies), sessions=added(tally.sessions for tally in tallies),
        hit=added(tally.hit for tally in tallies),
    )


class LiveAccount:
    """Makes the bodies of the `stats` events of a run: what was counted since the start, and since the one before."""

    def __init__(self, interface: str, workers: int, began_s: float) -> None:
        self._interface = interface
        self._workers = workers
        self._began_s = self._last_s = began_s
        self._packets = self._bytes = self._drops = 0
        self.reloads = self.reloads_failed = 0

    def stats(self, sums: Sums, now_s: float, *, counts: Mapping[str, int], alerts: Mapping[str, int],
              limits: Mapping[str, int], output: OutputCounts | None) -> Stats:
        """What is told now.

        Args:
            now_s: on the clock of `began_s`.
            counts: lines by event type; `alerts`: by level; `limits`: of observers and rules.
        """
        interval = StatsInterval(seconds=round(now_s - self._last_s, 3), packets=sums.packets - self._packets,
                                 bytes=sums.bytes - self._bytes, drops=sums.kernel_drops - self._drops)
        self._last_s, self._packets, self._bytes, self._drops = now_s, sums.packets, sums.bytes, sums.kernel_drops
        tally = sums.tally
        return Stats(
            interface=safe_str(self._interface), link=sums.link, uptime=int(now_s - self._began_s),
            capture=KernelCounts(kernel_packets=sums.kernel_packets, kernel_drops=sums.kernel_drops,
                                 frozen=sums.frozen),
            interval=interval, packets=sums.packets, bytes=sums.bytes, flows=tally.flows.flows,
            flows_open=tally.flows_open, sessions=dict(tally.sessions), alerts=dict(alerts), events=dict(counts),
            skipped=dict(tally.skipped), limits=added([tally.flows.limits, tally.hit, limits]),
            notes=added([tally.notes, sums.notes]), output=output, workers=self._workers, reloads=self.reloads,
            reloads_failed=self.reloads_failed, lag_ms=sums.lag_ns // 10**6, memory_kib=resident_kib(),
            cpu_ms=processor_ms(),
        )


def source_account(reports: Sequence[FeedReport]) -> SourceAccount:
    """The rings of an interface as one input of the account at the end."""
    parts = [report.account for report in reports]
    drops = sum(report.kernel_drops for report in reports)
    starts = [part.first_ns for part in parts if part.first_ns is not None]
    ends = [part.last_ns for part in parts if part.last_ns is not None]
    skipped = added([*(part.skipped for part in parts), {"kernel-dropped": drops}])
    account = SourceAccount(
        parts[0].source, packets=sum(part.packets for part in parts), bytes_read=sum(part.bytes_read for part in parts),
        first_ns=min(starts, default=None), last_ns=max(ends, default=None),
        skipped={name: count for name, count in skipped.items() if count}, notes=added(part.notes for part in parts),
        link_types={number: sum(part.link_types.get(number, 0) for part in parts)
                    for number in {number for part in parts for number in part.link_types}})
    lost = sum(account.skipped.values())
    if lost:
        account.status = "lossy"
        account.message = (f"{safe_str(account.source.name)}: lost {lost:,} of {account.packets + lost:,} packets: "
                           + ", ".join(f"{count:,} {name}" for name, count in account.skipped.items()))
    return account


def resident_kib() -> int:
    """Resident memory of this process and of its children."""
    return sum(_resident_kib(process) for process in ["self", *_children()])


def _resident_kib(process: str) -> int:
    try:
        pages = int(Path(f"/proc/{process}/statm").read_bytes().split()[1])
    except (OSError, IndexError, ValueError):  # not Linux, or gone meanwhile
        return 0
    return pages * (resource.getpagesize() >> 10)


def _children() -> list[str]:
    try:
        listed = Path(f"/proc/self/task/{os.getpid()}/children").read_bytes()
    except OSError:
        return []
    return [number.decode("ascii", "replace") for number in listed.split()]


def processor_ms() -> int:
    """Processor time of this process and of its children that have ended."""
    times = os.times()
    return int(1000 * (times.user + times.system + times.children_user + times.children_system))
