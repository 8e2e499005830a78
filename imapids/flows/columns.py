"""The flow table's columns: one row for each conversation of any port, in memory that is taken where it is used."""

from __future__ import annotations

import contextlib
import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

from imapids import kernels
from imapids.flows.index import KEY_WORDS
from imapids.records.packets import I32, I64, U8, U16, U32, U64, Bool

COUNTED, WATCHED, FOUND, PEEKED = 0, 1, 2, 3
"""Selection of a flow: only counted; on a watched port; found elsewhere by its greeting; only its first bytes."""

UNKNOWN, NEVER = -(1 << 62), 1 << 62
"""Values of `FlowColumns.due`: to be found out; nothing to wait for."""

_LINE, _PAGE = 64, 4_096
_APART = 7 * _LINE
"""Columns begin at whole cache lines, and at another place of its page than the column before: fields of a row that
stood at the same place of their pages would push each other out of the cache."""
_RESERVED = 1 << 20
"""Rows for which there is room from the beginning, at most: pages that were never used cost nothing."""
_MAPPED = 4 << 20
"""Bytes from which on memory is mapped by itself."""

ROLES = ("syn", "port", "content", "lower-port", "first-packet")
"""How client and server were told apart, by `FlowColumns.roles`."""

_LAYOUT: tuple[tuple[str, type, int], ...] = (
    ("keys", np.uint64, KEY_WORDS),
    ("target", np.int32, 0),       # the row that counts: itself, or the flow that another VLAN's row joined
    ("live", np.bool_, 0),
    ("due", np.int64, 0),          # when it is over if nothing more comes; UNKNOWN, or NEVER where it is over already
    ("serial", np.int64, 0),       # counts the conversations of a run
    ("protocol", np.uint8, 0),
    ("path", np.uint32, 0),        # encapsulation of the first packet
    ("source", np.int32, 0),       # capture of the first packet
    ("interface", np.uint16, 0),   # interface of the first packet, as the capture numbers them
    ("client_end", np.uint8, 0),   # which end of the key opened the flow: 0 the first, 1 the second
    ("roles", np.uint8, 0),
    ("selected", np.uint8, 0),
    ("first_ns", np.int64, 0),
    ("last_ns", np.int64, 0),
    ("last_clock", np.int64, 0),   # of the monotonous clock that expiry uses
    ("first_number", np.int64, 0),
    ("last_number", np.int64, 0),
    ("first_seq", np.uint32, 0),
    ("packets", np.int64, 2),      # by end
    ("bytes", np.int64, 2),        # payload bytes on the wire, by end
    ("flags", np.uint8, 2),        # TCP flags or-ed, by end
    ("isn", np.uint32, 2),         # sequence number of the SYN, by end (where flags hold SYN)
    ("fin_end", np.uint32, 2),     # where the first FIN ended the stream, by end (selected flows whose flags hold FIN)
    ("spoke", np.bool_, 2),        # payload was seen, by end
    ("looked", np.bool_, 2),       # its first bytes were looked at, by end (counted and peeked flows)
    ("known", np.bool_, 2),        # next_seq is known, by end
    ("next_seq", np.uint32, 2),    # the byte expected next, by end
    ("acked", np.int64, 2),        # stream offset that the peer acknowledged, by end (selected flows)
    ("delivered", np.int64, 2),    # stream bytes delivered or declared missing, by end
    ("heard", np.bool_, 2),        # packets came before this batch, by end
    ("finished", np.bool_, 2),     # a FIN came before this batch, by end
    ("began", np.bool_, 0),        # the first packet was of the handshake (always so for UDP)
    ("slow", np.bool_, 0),         # the per-segment reassembler owns the flow
    ("tagged", np.bool_, 0),       # its encapsulation holds VLAN tags (once the joiner looked at it)
    ("unreachable", np.bool_, 0),  # an ICMP error was about this flow
    ("tool", np.uint8, 0),         # the scanning tool whose mark the SYN bears (protocols/scan_tools.py), 0 none
    ("traits", np.uint64, 0),      # traits of a SYN that no ordinary stack sends (ibid.), 0 none
)

_CLEARED = ("interface", "packets", "bytes", "flags", "spoke", "looked", "known", "next_seq", "acked", "delivered",
            "heard", "finished", "slow", "tagged", "unreachable", "tool", "traits")
"""Columns that a new conversation does not set by itself."""


class FlowColumns:
    """Columns of at least `capacity` rows, shape (rows,) or (rows, 2); rows below `used` may be live."""

    keys: U64
    target: I32
    live: Bool
    due: I64
    serial: I64
    protocol: U8
    path: U32
    source: I32
    interface: U16
    client_end: U8
    roles: U8
    selected: U8
    first_ns: I64
    last_ns: I64
    last_clock: I64
    first_number: I64
    last_number: I64
    first_seq: U32
    packets: I64
    bytes: I64
    flags: U8
    isn: U32
    fin_end: U32
    spoke: Bool
    looked: Bool
    known: Bool
    next_seq: U32
    acked: I64
    delivered: I64
    heard: Bool
    finished: Bool
    began: Bool
    slow: Bool
    tagged: Bool
    unreachable: Bool
    tool: U8
    traits: U64

    def __init__(self, capacity: int = 4096, most: int = 0) -> None:
        """`most`: rows up to which it is likely to grow."""
        self.capacity = capacity
        self.used = 0
        self.free: list[npt.NDArray[np.int32]] = []
        try:
            columns = _columns(max(capacity, min(most, _RESERVED)))
        except (MemoryError, OSError):  # the process may not map so much (ulimit -v): they grow when they are full
            columns = _columns(capacity)
        for name, column in columns.items():
            setattr(self, name, column)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        column: npt.NDArray[Any] = getattr(self, name)
        return column

    def room(self) -> int:
        """Rows that can be taken without growing."""
        return self.capacity - self.used + sum(len(rows) for rows in self.free)

    def grow(self, capacity: int) -> None:
        """Makes every column longer."""
        if capacity > len(self.live):
            for name, column in _columns(capacity).items():
                column[: self.used] = getattr(self, name)[: self.used]
                setattr(self, name, column)
        self.capacity = capacity

    def take(self, count: int) -> I32:
        """Numbers of `count` cleared rows; the caller made room for them."""
        parts: list[npt.NDArray[np.int32]] = []
        missing = count
        while missing and self.free:
            rows = self.free.pop()
            if len(rows) > missing:
                self.free.append(rows[missing:])
                rows = rows[:missing]
            self._clear(rows)
            parts.append(rows)
            missing -= len(rows)
        if missing:  # rows that were never used are clear
            parts.append(np.arange(self.used, self.used + missing, dtype=np.int32))
            self.used += missing
        taken = np.concatenate(parts) if len(parts) != 1 else parts[0]
        if kernels.COMPILED:
            kernels.compiled.claim_rows(self, taken, UNKNOWN)
        else:
            self.target[taken] = taken
            self.live[taken] = True
            self.due[taken] = UNKNOWN
        return taken

    def _clear(self, rows: I32) -> None:
        if kernels.COMPILED:
            kernels.compiled.clear_rows(self, rows)
            return
        for name in _CLEARED:
            getattr(self, name)[rows] = 0

    def keep(self, kept: Bool) -> None:
        """Makes the rows (below `used`) that are not marked the free ones."""
        self.live[: self.used] &= kept
        spare = np.flatnonzero(~kept).astype(np.int32)
        self.selected[spare] = COUNTED
        self.due[spare] = NEVER
        self.free = [spare] if spare.size else []


def _columns(rows: int) -> dict[str, npt.NDArray[Any]]:
    """Cleared columns, in one block of memory."""
    sizes = [np.dtype(dtype).itemsize * (width or 1) * rows for _, dtype, width in _LAYOUT]
    places, place = [], 0
    for number, size in enumerate(sizes):
        place += (number * _APART - place) % _PAGE
        places.append(place)
        place += size
    block = _cleared(place)
    columns: dict[str, npt.NDArray[Any]] = {}
    for (name, dtype, width), place, size in zip(_LAYOUT, places, sizes, strict=True):
        column: npt.NDArray[Any] = block[place : place + size].view(dtype)
        columns[name] = column.reshape(rows, width) if width else column
    return columns


def _cleared(size: int) -> U8:
    """Zeros. Much of it is mapped by itself, in small pages: NumPy asks for huge ones, of which most columns would use
    a small part only."""
    if size < _MAPPED:
        return np.zeros(size, np.uint8)
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    memory = mmap.mmap(-1, size, **private)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without huge pages
            memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, np.uint8)
