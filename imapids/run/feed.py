"""From the ring of an interface into a pipeline: batches, and the time that goes on without them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from imapids.capture.ledger import Ledger
from imapids.capture.ring import RingCounts
from imapids.config import LiveLimits
from imapids.pipeline import Pipeline
from imapids.records.events import Event
from imapids.records.packets import PacketBatch, SourceAccount
from imapids.run.account import Tally, tally_of
from imapids.run.keep import PacketKeeper
from imapids.run.memory import give_freed_memory_back, keep_columns_apart

_WAIT_NS = 100 * 10**6
"""How long a silent link is listened to before anything else is looked at."""
_TRIM_NS = 60 * 10**9
"""How often freed memory goes back: what long-lived records leave between them is never reused otherwise."""
_STEP_NS = 10**9
"""A clock that moves this much against the machine's own time was set by somebody (or the machine slept)."""


class LiveSource(Protocol):
    """An interface that is read: the kernel's packet ring, or what stands in for it."""

    ledger: Ledger
    state: str
    """up, down, removed."""

    def start(self) -> None: ...
    def read(self, wait_ns: int) -> PacketBatch | None: ...
    def stop(self) -> None: ...
    def look(self) -> str: ...
    def count(self) -> RingCounts: ...
    def close(self) -> None: ...


class FeedReport(msgspec.Struct, kw_only=True):
    """How one feed is doing: plain data, for other processes."""

    link: str
    kernel_packets: int
    kernel_drops: int
    frozen: int
    account: SourceAccount
    tally: Tally
    lag_ns: int
    """How old the newest packet of the last batch was when it had been read."""


class LiveFeed:
    """Reads a source into a pipeline. Twice a batch: columns, then events."""

    def __init__(self, source: LiveSource, pipeline: Pipeline, limits: LiveLimits, *,
                 keeper: PacketKeeper | None = None,
                 wall_ns: Callable[[], int] = time.time_ns, own_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """
        Args:
            keeper: stores packets of watched flows.
            wall_ns: the clock that stamps packets; `own_ns`: one that nobody can set.
        """
        self.source = source
        self.pipeline = pipeline
        self._limits = limits
        self._keeper = keeper
        self._wall_ns, self._own_ns = wall_ns, own_ns
        self._next_tick = own_ns() + limits.tick_ns
        self._next_trim = own_ns() + _TRIM_NS
        self._offset = wall_ns() - own_ns()
        self._lag_ns = 0
        keep_columns_apart()

    def step(self) -> Iterator[list[Event]]:
        """The events of the packets that have come, or of the time that went on."""
        batch = self.source.read(_WAIT_NS)
        if batch is not None:
            yield from self._follow(batch)
        if self._own_ns() >= self._next_tick:
            self._next_tick = self._own_ns() + self._limits.tick_ns
            self.source.look()
            self.source.count()
            self._follow_clock()
            if self._own_ns() >= self._next_trim:
                self._next_trim = self._own_ns() + _TRIM_NS
                give_freed_memory_back()
            if batch is None:
                yield from self.pipeline.tick(self._wall_ns() - self._limits.clock_margin_ns)

    def rest(self, until_own_ns: int) -> Iterator[list[Event]]:
        """No more packets are let in: the events of those that the ring still holds, as far as the time allows."""
        self.source.stop()
        quiet_after = self._own_ns() + 3 * self._limits.block_timeout_ns  # the last block is handed on by then
        while self._own_ns() < until_own_ns:
            batch = self.source.read(self._limits.block_timeout_ns // 2)
            if batch is not None:
                yield from self._follow(batch)
            elif self._own_ns() >= quiet_after:
                break
        counts, ledger = self.source.count(), self.source.ledger
        taken = ledger.account.packets + ledger.account.notes.get("outgoing-duplicate", 0)
        left = counts.packets - counts.dropped - taken
        if left > 0:
            ledger.skip("left-in-ring", left)

    def close(self) -> None:
        """No more will be read."""
        if self._keeper is not None:
            self._keeper.close()
        self.source.close()

    def report(self) -> FeedReport:
        """How it is doing."""
        if self._keeper is not None and self._keeper.failed:
            self.source.ledger.account.notes["packets-not-kept"] = self._keeper.failed
        counts = self.source.count()
        return FeedReport(link=self.source.state, kernel_packets=counts.packets, kernel_drops=counts.dropped,
                          frozen=counts.frozen, account=self.source.ledger.account, tally=tally_of(self.pipeline),
                          lag_ns=self._lag_ns)

    def _follow(self, batch: PacketBatch) -> Iterator[list[Event]]:
        decoded = self.pipeline.decode(batch)
        self._lag_ns = max(0, self._wall_ns() - int(batch.time_ns[-1]))
        yield from self.pipeline.follow(decoded)
        if self._keeper is not None:
            self._keeper.keep(batch, decoded)

    def _follow_clock(self) -> None:
        """Notices that the clock was set, and lets the conversations keep their age."""
        offset = self._wall_ns() - self._own_ns()
        step = offset - self._offset
        self._offset = offset
        if abs(step) >= _STEP_NS:
            self.pipeline.clock_stepped(step)
            self.source.ledger.note("clock-stepped")
