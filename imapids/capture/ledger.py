"""The account of one source while it is read: packets, damage, notes, and the status that follows from them."""

from __future__ import annotations

import numpy as np

from imapids import kernels
from imapids.records.packets import I64, U16, CaptureSource, Damage, SourceAccount

DAMAGES_KEPT = 32
LINK_TYPES_KEPT = 64
"""Different link types that the account of a source tells apart."""
BACKWARD_NS = 1_000_000_000
"""A step back in time that is noted: several capture queues disorder packets by far less than this."""


def printable(text: str, limit: int = 300) -> str:
    """`text` without anything that a terminal would obey: other characters as \\x, \\u escapes; cut at `limit`."""
    safe = text if text.isprintable() else "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode("ascii") for c in text
    )
    return safe.encode("utf-8", "backslashreplace").decode("utf-8")[:limit]


class Ledger:
    """Keeps a `SourceAccount` right while its source is read."""

    def __init__(self, source: CaptureSource) -> None:
        self.source = source
        self.account = SourceAccount(source)
        self.name = printable(source.name)
        self._newest = -(1 << 62)

    def packets(self, time_ns: I64, link_type: U16) -> None:
        """These packets were handed on (their times, in order, at least one; their LINKTYPE_ numbers)."""
        account = self.account
        account.packets += len(time_ns)
        self._count_link_types(link_type)
        if kernels.COMPILED:
            stamped, first, last, self._newest, backward = kernels.compiled.stamp_facts(
                time_ns, self._newest, BACKWARD_NS)
            if stamped:
                self._span(first, last, backward)
            return
        if not time_ns.all():  # simple packet blocks have no time
            time_ns = time_ns[time_ns != 0]
            if not len(time_ns):
                return
        backward = int(np.count_nonzero(time_ns[1:] < time_ns[:-1] - BACKWARD_NS))
        backward += int(time_ns[0]) < self._newest - BACKWARD_NS
        self._newest = int(time_ns[-1])
        self._span(int(time_ns.min()), int(time_ns.max()), backward)

    def _span(self, first: int, last: int, backward: int) -> None:
        account = self.account
        account.first_ns = first if account.first_ns is None else min(account.first_ns, first)
        account.last_ns = last if account.last_ns is None else max(account.last_ns, last)
        if backward:
            self.note("time-went-back", backward)

    def _count_link_types(self, link_type: U16) -> None:
        first = int(link_type[0])
        alike = kernels.compiled.are_alike(link_type) if kernels.COMPILED else bool((link_type == first).all())
        if alike:  # one interface, or several of a kind
            numbers, counts = [first], [len(link_type)]
        else:
            found, times = np.unique(link_type, return_counts=True)
            numbers, counts = found.tolist(), times.tolist()
        known = self.account.link_types
        for number, count in zip(numbers, counts, strict=True):
            key = number if number in known or len(known) < LINK_TYPES_KEPT else -1
            known[key] = known.get(key, 0) + count

    def note(self, name: str, count: int = 1) -> None:
        """Something odd that lost nothing."""
        self.account.notes[name] = self.account.notes.get(name, 0) + count

    def skip(self, reason: str, count: int = 1) -> None:
        """Packets or blocks that could not be handed on."""
        self.account.skipped[reason] = self.account.skipped.get(reason, 0) + count

    def damage(self, offset: int, reason: str, what: str, skipped_bytes: int = 0) -> None:
        """A place that could not be read; `what` completes the sentence for people."""
        account = self.account
        account.damage_count += 1
        if len(account.damage) < DAMAGES_KEPT:
            text = f"{self.name}: {what} at byte {offset}"
            if skipped_bytes:
                text += f"; {skipped_bytes} bytes skipped"
            account.damage.append(Damage(self.name, offset, reason, skipped_bytes, text))
            account.message = account.message or text
        if reason != "cut":
            account.status = "damaged"
        elif account.status == "ok":
            account.status = "cut"

    def refuse(self, status: str, why: str) -> None:
        """Nothing of this source can be read: `status` is unreadable or unsupported."""
        self.account.status = status
        self.account.message = f"{self.name}: {why}"

    def close(self, bytes_read: int) -> None:
        """The source has been read to its end."""
        account = self.account
        account.bytes_read = bytes_read
        if account.status == "ok" and not account.packets and not account.skipped:
            self.note("no-packets")
