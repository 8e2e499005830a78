"""The state of decoding one packet batch: what is still to do, what came out, and what was counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from imapids.config import DecodeLimits
from imapids.decode.columns import Rows, join_rows
from imapids.decode.headers import Header
from imapids.decode.paths import Paths
from imapids.decode.segment_columns import SegmentColumns
from imapids.decode.tunnel_ports import TunnelPorts
from imapids.records.packets import I64, U8, Bool, PacketBatch
from imapids.records.segments import DecodeAccount, IcmpError

COUNTED_REASONS = 256
"""Reasons with a number in them (`ethertype:0x1234`) that are told apart; the rest is counted without the number."""


def count(counts: dict[str, int], reason: str, number: int) -> None:
    """Add to a counter; hostile packets cannot make more than COUNTED_REASONS of them."""
    if reason not in counts and len(counts) >= COUNTED_REASONS:
        reason = reason.partition(":")[0]
    counts[reason] = counts.get(reason, 0) + number


class FragmentRows(msgspec.Struct, eq=False):
    """IP fragments, to be rebuilt when nothing else of the batch is left. All columns have shape (n,)."""

    rows: Rows
    """`at` is the first byte of the fragment's data, `wire` where its announced data ends."""
    ip: I64
    """Where the IP header starts; the bytes up to `at` are kept as the header of the rebuilt datagram."""
    version: int
    src_hi: I64
    src_lo: I64
    dst_hi: I64
    dst_lo: I64
    identity: I64
    offset: I64
    """Position of the data in the datagram, in bytes."""
    more: Bool
    protocol: I64
    """IPv4 protocol; for IPv6 the next header that the fragment header names."""
    patch: I64
    """IPv6: offset of the next-header byte that names the fragment header."""
    unfragmentable: I64
    """IPv6: offset of the fragment header."""

    def select(self, keep: I64) -> FragmentRows:
        """The fragments that an index column picks."""
        return FragmentRows(
            self.rows.select(keep), self.ip[keep], self.version, self.src_hi[keep], self.src_lo[keep],
            self.dst_hi[keep], self.dst_lo[keep], self.identity[keep], self.offset[keep], self.more[keep],
            self.protocol[keep], self.patch[keep], self.unfragmentable[keep],
        )


class Work(msgspec.Struct, eq=False):
    """One packet batch on its way through the headers."""

    batch: PacketBatch
    limits: DecodeLimits
    paths: Paths
    tunnel_ports: TunnelPorts
    account: DecodeAccount
    data: U8
    """Buffer of the current pass: the batch's, then those of rebuilt datagrams."""
    base: int
    """Where `data` will stand in the buffer that is handed on."""
    segments: SegmentColumns
    depth: U8
    """Headers stripped so far, by row."""
    fragmented: Bool
    """By row: some layer was rebuilt from fragments."""
    pending: dict[Header, list[Rows]] = {}
    fragments: list[FragmentRows] = []
    icmp_errors: list[IcmpError] = []
    rare_left: int = 0
    """Frames of this batch that may still be shown to dpkt."""

    def push(self, header: Header, rows: Rows) -> None:
        """These packets go on with this header."""
        if len(rows):
            self.pending.setdefault(header, []).append(rows)

    def push_each(self, headers: I64 | U8, rows: Rows) -> None:
        """Each packet goes on with its own header (none of them UNKNOWN)."""
        for value in np.flatnonzero(np.bincount(headers)).tolist():
            same = headers == value
            self.push(Header(value), rows if same.all() else rows.select(same))

    def skip(self, reason: str, rows: Rows | Bool) -> None:
        """These packets, or those that a mask picks, give no segment."""
        number = len(rows) if isinstance(rows, Rows) else int(np.count_nonzero(rows))
        if number:
            count(self.account.skipped, reason, number)

    def skip_each(self, prefix: str, values: I64, names: dict[int, str], rows: Rows, form: str = "d") -> None:
        """These packets give no segment: the reason is the name of a value, or the prefix and the value."""
        if len(rows):
            for value, number in zip(*(a.tolist() for a in np.unique(values, return_counts=True)), strict=True):
                count(self.account.skipped, names.get(value) or f"{prefix}:{value:{form}}", number)

    def note(self, name: str, number: int | np.integer[Any]) -> None:
        """Something odd that lost nothing."""
        if number:
            count(self.account.notes, name, int(number))

    def need(self, rows: Rows, length: I64 | int, reason: str = "cut-header") -> Rows:
        """The rows that hold `length` more captured bytes; the others are skipped."""
        return self.keep(rows, rows.end - rows.at >= length, reason)

    def keep(self, rows: Rows, good: Bool, reason: str) -> Rows:
        """The rows for which `good` holds; the others are skipped for this reason."""
        if good.all():
            return rows
        self.skip(reason, ~good)
        return rows.select(good)

    def run(self, handlers: dict[Header, Callable[[Work, Rows], None]]) -> None:
        """Strip headers until nothing is pending: one header of all packets that have it at a time."""
        while self.pending:
            header = next(iter(self.pending))
            rows = join_rows(self.pending.pop(header))
            if header is not Header.ODD_IP:  # the second look at a header that was counted before
                place = rows.place()
                self.depth[place] += 1
                rows = self.keep(rows, self.depth[place] <= self.limits.layers, "too-many-layers")
            handlers[header](self, rows)
