"""Finds out which selected flows of a batch arrived in order, and which of their segments bring bytes to deliver.

One comparison of arrays tells for all flows of a batch at once which of them came in order, without overlap, urgent
data or cut payload. The segments of the others are handed on one by one.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from imapids import kernels
from imapids.flows.columns import COUNTED, PEEKED, FlowColumns
from imapids.flows.grouping import Groups
from imapids.records.packets import I32, I64, U8, U32, Bool
from imapids.records.segments import ACK, FIN, RST, SYN, TCP, URG, SegmentBatch

IS_CLOSED, IS_QUIET = 1, 2
"""Values of `Ordered.closed`."""
PIECE = np.dtype([
    ("at", np.int64), ("length", np.int64), ("offset", np.int64), ("seq", np.uint32), ("ack", np.uint32),
    ("flags", np.uint8), ("end", np.uint8), ("tcp", np.uint8), ("cut", np.uint8),
], align=True)
"""A segment as the compiled loops read it."""

Enough = Callable[[I32], Bool]
"""Tells which of some peeked rows, in the order in which they spoke first, are not to be looked at."""


class Ordered(msgspec.Struct, eq=False):
    """The segments of f selected flows: p with payload of those in order, o of the others."""

    rows: I32
    """Shape (f,)."""
    closed: U8
    """Which flows in order both sides have closed: IS_CLOSED, or IS_QUIET where nothing of them is to be delivered;
    shape (f,)."""
    at: I64
    """Position in the batch, shape (p,), sorted by flow, in capture order inside a flow; so are those that follow."""
    flow: I64
    """Index into `rows`."""
    offset: I64
    """Stream offset of the first byte."""
    side: U8
    stream: U8
    """1 for TCP, 0 for datagrams."""
    odd_at: I64
    """Position of all segments of the flows that are not in order, shape (o,), sorted in the same way."""
    odd_flow: I64


def ordered(columns: FlowColumns, batch: SegmentBatch, groups: Groups, positions: I64, peek_bytes: int,
            enough: Enough) -> Ordered:
    """Moves flows in order on, and marks the others as slow.

    Args:
        positions: the segments of selected flows, ascending.
        peek_bytes: bytes of a side of a peeked flow that are wanted.
    """
    return (_ordered_compiled if kernels.COMPILED else _ordered)(columns, batch, groups, positions, peek_bytes, enough)


def _ordered_compiled(columns: FlowColumns, batch: SegmentBatch, groups: Groups, positions: I64, peek_bytes: int,
                      enough: Enough) -> Ordered:
    count, most = len(positions), len(groups.first)
    first, chosen, pieces = np.empty(most + 1, np.int64), np.empty(most, np.int64), np.empty(count, PIECE)
    flows = kernels.compiled.sort_pieces(
        batch, groups.local, groups.end, positions, np.zeros(most, np.int64), first, chosen, pieces)
    rows = groups.rows.take(chosen[:flows])
    dropped, closed = np.zeros((2, flows), np.uint8)
    if peek_bytes:
        fresh, spoke = np.empty((2, flows), np.int64)
        found = kernels.compiled.fresh_peeks(columns, rows, first, pieces, fresh, spoke)
        if found:
            fresh = fresh[:found].take(spoke[:found].argsort())
            dropped[fresh] = enough(rows.take(fresh))
    plain, marks, odd = np.empty((3, count), np.int64), np.empty((2, count), np.uint8), np.empty((2, count), np.int64)
    plains, odds = kernels.compiled.order_pieces(
        columns, rows, first, pieces, dropped, peek_bytes, closed, plain, marks, odd)
    return Ordered(rows, closed, *plain[:, :plains], *marks[:, :plains], *odd[:, :odds])


# ---- the same with NumPy -----------------------------------------------------------------------------------------


class _Part(msgspec.Struct, eq=False):
    """The segments of selected flows of one batch, ordered by flow, in capture order inside a flow.

    n segments of f flows; 2 * f directions ("cells"), whose state before the batch is copied from the columns.
    """

    rows: I32
    """Shape (f,)."""
    known: Bool
    """Shape (2 * f,); so are the next two."""
    next_seq: U32
    delivered: I64
    at: I64
    """Position in the batch, shape (n,); so are those that follow."""
    flow: I64
    end: U8
    cell: I64
    """2 * flow + end."""
    length: I64
    flags: U8
    seq: U32
    ack: U32
    tcp: Bool


def starts_of(values: I64 | I32) -> Bool:
    """Marks the first element of each run of equal values."""
    starts = np.empty(len(values), bool)
    starts[:1] = True
    np.not_equal(values[1:], values[:-1], out=starts[1:])
    return starts


def _first_of(cells: I64, positions: I64, count: int, none: int) -> I64:
    """The first of ascending positions for each cell, `none` where a cell has none."""
    first = np.full(count, none, np.int64)
    first[cells[::-1]] = positions[::-1]
    return first


def _sorted(local: I64, positions: I64) -> tuple[I64, I64, I64]:
    """Ascending positions sorted by their groups: (positions, numbers of their flows, group of each flow)."""
    shift = int(positions[-1]).bit_length() if len(positions) else 0
    order = local.take(positions)
    order <<= shift
    order |= positions
    order.sort()
    at = order & ((1 << shift) - 1)
    order >>= shift
    starts = starts_of(order)
    flow: I64 = np.cumsum(starts, dtype=np.int64) - 1
    return at, flow, order[starts]


def _ordered(columns: FlowColumns, batch: SegmentBatch, groups: Groups, positions: I64, peek_bytes: int,
             enough: Enough) -> Ordered:
    part = _part(columns, batch, groups, positions)
    _learn_starts(columns, part)
    slow, offset = _check_order(columns, batch, part)
    told = ~slow.take(part.flow)
    if peek_bytes:
        peeked = columns.selected[part.rows] == PEEKED
        if peeked.any():  # what a side sends behind its first bytes is not looked at
            past = _past(part, peeked, peek_bytes)
            past |= _dropped(part, peeked, enough).take(part.flow)
            told &= ~past
    followed = columns.selected[part.rows] != COUNTED
    slow &= followed
    acked = _acked(part, told)  # a reassembler sees each acknowledgement of its flow at its place
    columns.acked[part.rows] = np.maximum(columns.acked[part.rows], acked.reshape(-1, 2))
    plain, odd = np.flatnonzero(told & (part.length > 0)), np.flatnonzero(slow.take(part.flow))
    flow, flags = part.flow.take(plain), columns.flags[part.rows]
    closed = ((flags[:, 0] & flags[:, 1] & FIN) != 0) & ~slow & followed
    quiet = closed.copy()
    quiet[flow] = False
    return Ordered(
        part.rows, np.where(quiet, np.uint8(IS_QUIET), closed), part.at.take(plain), flow, offset.take(plain),
        part.end.take(plain) ^ columns.client_end[part.rows].take(flow), part.tcp.take(plain).view(np.uint8),
        part.at.take(odd), part.flow.take(odd))


def _part(columns: FlowColumns, batch: SegmentBatch, groups: Groups, positions: I64) -> _Part:
    """The segments at some positions, sorted by flow."""
    at, flow, chosen = _sorted(groups.local, positions)
    end, rows = groups.end.take(at), groups.rows.take(chosen)
    return _Part(rows, columns.known[rows].ravel(), columns.next_seq[rows].ravel(), columns.delivered[rows].ravel(),
                 at, flow, end, 2 * flow + end, batch.length.take(at), batch.flags.take(at), batch.seq.take(at),
                 batch.ack.take(at), batch.protocol.take(at) == TCP)


def _learn_starts(columns: FlowColumns, part: _Part) -> None:
    """Where each side's stream begins: its SYN, or the first packet that tells (its own, or the peer's ACK)."""
    if part.known.all():
        return
    none, cells = len(part.at), len(part.known)
    usable = part.tcp & ((part.flags & RST) == 0)
    own = np.flatnonzero(usable)
    peer = np.flatnonzero(usable & ((part.flags & ACK) != 0))
    own_first = _first_of(part.cell.take(own), own, cells, none)
    peer_first = _first_of(part.cell.take(peer) ^ 1, peer, cells, none)
    tells = np.minimum(own_first, peer_first)
    new = np.flatnonzero(~part.known & (tells < none))
    at = tells[new]
    syn = ((part.flags[at] & SYN) != 0).astype(np.uint32)
    part.next_seq[new] = np.where(own_first[new] < peer_first[new], part.seq[at] + syn, part.ack[at])
    part.known[new] = True
    columns.known[part.rows] = part.known.reshape(-1, 2)
    columns.next_seq[part.rows] = part.next_seq.reshape(-1, 2)


def _check_order(columns: FlowColumns, batch: SegmentBatch, part: _Part) -> tuple[Bool, I64]:
    """Finds out which flows are not in order, and moves the others on.

    Returns (which flows are slow, stream offset of each segment with payload, where its flow is in order).
    """
    slow = columns.slow[part.rows]
    _check_handshakes(part, slow)
    offset = np.zeros(len(part.at), np.int64)
    data = np.flatnonzero((part.length > 0) | ((part.flags & FIN) != 0))
    if data.size:
        shift = len(part.at).bit_length()
        order = part.cell.take(data)
        order <<= shift
        order |= data
        order.sort()  # by direction, in capture order
        data = order & ((1 << shift) - 1)
        order >>= shift
        size, seq = part.length.take(data), part.seq.take(data)
        after = seq + size.astype(np.uint32)
        first = np.flatnonzero(starts_of(order))
        cells = order.take(first)
        last = np.append(first[1:], len(data)) - 1
        expected = np.empty(len(data), np.uint32)
        expected[1:] = after[:-1]
        expected[first] = part.next_seq.take(cells)
        wrong = (seq != expected) | (((part.flags.take(data) & (URG | SYN | RST)) != 0) & (size > 0))
        wrong |= ~part.known.take(order)
        wrong &= part.tcp.take(data)
        wrong |= batch.captured.take(part.at.take(data)) < size
        slow[order[wrong] >> 1] = True
        total = np.cumsum(size)
        before = total.take(first) - size.take(first)
        runs = np.diff(first, append=len(data))
        offset[data] = total - size + np.repeat(part.delivered.take(cells) - before, runs)
        keep = np.flatnonzero(~slow.take(cells >> 1))
        rows, ends = part.rows.take(cells[keep] >> 1), cells[keep] & 1
        columns.next_seq[rows, ends] = after.take(last[keep])
        columns.delivered[rows, ends] += (total.take(last) - before)[keep]
    columns.slow[part.rows] = slow
    return slow, offset


def _check_handshakes(part: _Part, slow: Bool) -> None:
    """SYNs that do not fit the known start of their side, or accept another one, before any byte came.

    One of several is forged: the reassembler takes the one that the peer accepts.
    """
    syn = np.flatnonzero(part.tcp & ((part.flags & SYN) != 0))
    cells = part.cell.take(syn)
    other = (part.seq.take(syn) + np.uint32(1)) != part.next_seq.take(cells)
    slow[cells[other & (part.delivered.take(cells) == 0)] >> 1] = True
    accepts = np.flatnonzero((part.flags.take(syn) & ACK) != 0)
    peers = cells[accepts] ^ 1
    other = part.known.take(peers) & (part.ack.take(syn[accepts]) != part.next_seq.take(peers))
    slow[peers[other & (part.delivered.take(peers) == 0)] >> 1] = True


def _past(part: _Part, peeked: Bool, peek_bytes: int) -> Bool:
    """Marks what sides of peeked flows sent behind the bytes that are wanted of them (where they are in order)."""
    offset = part.delivered.take(part.cell)
    first = np.flatnonzero(starts_of(part.flow))
    for side in (0, 1):
        own = part.end == side
        sent = np.where(own, part.length, 0)
        before = np.cumsum(sent) - sent
        offset += np.where(own, before - before.take(first).take(part.flow), 0)
    past: Bool = peeked.take(part.flow) & (offset >= peek_bytes)
    return past


def _dropped(part: _Part, peeked: Bool, enough: Enough) -> Bool:
    """Which peeked flows are let go."""
    spoke = np.flatnonzero(part.length > 0)
    first = _first_of(part.flow.take(spoke), part.at.take(spoke), len(part.rows), 1 << 62)
    fresh = np.flatnonzero(peeked & (first < 1 << 62) & (part.delivered.reshape(-1, 2) == 0).all(axis=1))
    fresh = fresh[np.argsort(first[fresh])]
    dropped = np.zeros(len(part.rows), bool)
    dropped[fresh] = enough(part.rows[fresh])
    return dropped


def _acked(part: _Part, among: Bool) -> I64:
    """Stream offset up to which each direction was acknowledged: what tells a lost segment from a late one."""
    usable = part.tcp & ((part.flags & (ACK | RST)) == ACK)
    usable &= among
    at = np.flatnonzero(usable)
    peer = part.cell.take(at) ^ 1
    offset = (part.ack.take(at) - part.next_seq.take(peer)).view(np.int32) + part.delivered.take(peer)
    acked = np.zeros(len(part.known), np.int64)
    np.maximum.at(acked, peer, offset)
    return acked
