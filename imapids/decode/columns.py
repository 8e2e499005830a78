"""Rows of packets as columns, and how big-endian fields are read at many offsets at once."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from imapids.records.packets import I64, U8, U32, Bool


class Rows(msgspec.Struct, eq=False):
    """Packets that have the same header next. All columns have shape (n,).

    Offsets count in the buffer of the current pass. `at <= end` always holds; reading `k` bytes of a header
    is allowed where `at + k <= end`.
    """

    row: I64
    """Index into the packet batch."""
    at: I64
    """Where the next header starts."""
    end: I64
    """Where the captured bytes of this layer end."""
    wire: I64
    """Where the layer would end had everything been captured: more than `end` where the snaplen cut."""
    path: I64
    """Number of the encapsulation around it (`EncapsulationTable`)."""

    def __len__(self) -> int:
        return len(self.row)

    def select(self, keep: Bool | I64) -> Rows:
        """The rows that a mask or an index column picks."""
        pick = keep.nonzero()[0] if keep.dtype == np.bool_ else keep  # `take` is three times as fast as indexing
        return Rows(self.row.take(pick), self.at.take(pick), self.end.take(pick), self.wire.take(pick),
                    self.path.take(pick))

    def place(self) -> slice | I64:
        """Where the rows stand in columns of the packet batch: a slice where they follow one another."""
        row = self.row
        if len(row) and row[-1] - row[0] == len(row) - 1 and np.all(row[1:] > row[:-1]):
            return slice(int(row[0]), int(row[-1]) + 1)
        return row

    def part(self, start: int, stop: int) -> Rows:
        """A run of rows, without a copy."""
        return Rows(self.row[start:stop], self.at[start:stop], self.end[start:stop], self.wire[start:stop],
                    self.path[start:stop])

    def moved(self, at: I64 | int, path: I64 | None = None) -> Rows:
        """The same packets, one header further: `at` is the new offset, or the bytes to go on by."""
        at = self.at + at if isinstance(at, int) else at
        return Rows(self.row, at, self.end, self.wire, self.path if path is None else path)

    def within(self, length: I64) -> Rows:
        """The same packets, the layer ending at most `length` bytes behind `at` (padding is cut off)."""
        stop = self.at + length
        return Rows(self.row, self.at, np.minimum(self.end, stop), np.minimum(self.wire, stop), self.path)


def join_rows(parts: list[Rows]) -> Rows:
    """Several groups of rows as one."""
    if len(parts) == 1:
        return parts[0]
    return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in Rows.__struct_fields__))


def u8(data: U8, at: I64) -> I64:
    """The bytes at many offsets."""
    return data[at].astype(np.int64)


def u16(data: U8, at: I64) -> I64:
    """The big-endian 16-bit numbers at many offsets."""
    return data[at].astype(np.int64) << 8 | data[at + 1]  # two byte gathers: an unaligned one is slower (measured)


def u24(data: U8, at: I64) -> I64:
    """The big-endian 24-bit numbers at many offsets."""
    return u16(data, at) << 8 | data[at + 2]


def u32(data: U8, at: I64) -> I64:
    """The big-endian 32-bit numbers at many offsets."""
    return u16(data, at) << 16 | u16(data, at + 2)


def header_words(data: U8, at: I64, count: int) -> U32:
    """The first `count` big-endian 32-bit words of the headers at many offsets, shape (count, n), in host order.

    Offsets may be anywhere in 0..len(data); bytes behind the buffer read as zero, so the caller checks lengths.
    """
    return header_bytes(data, at, 4 * count).view(">u4").T.astype(np.uint32)


def header_bytes(data: U8, at: I64, size: int) -> U8:
    """The first `size` bytes of the headers at many offsets, shape (n, size).

    Offsets may be anywhere in 0..len(data); bytes behind the buffer read as zero, so the caller checks lengths.
    Gathering blocks costs 6 to 20 ns each, about as much as one field alone (measured: 36 to 64 bytes).
    """
    last = len(data) - size
    if last >= 0 and (not len(at) or int(at.max()) <= last):
        blocks = _windows(data, size)[at]
    else:
        blocks = _blocks_near_end(data, at, last, size)
    return blocks.view(np.uint8).reshape(-1, size)


def put_rows(blocks: U8, index: I64, values: U8) -> None:
    """Put rows of bytes in the place of others, as blocks: byte by byte it takes six times as long (measured)."""
    kind = _block_type(blocks.shape[1])
    blocks.view(kind)[:, 0][index] = values.view(kind)[:, 0]


def _windows(data: U8, size: int) -> npt.NDArray[Any]:
    return np.ndarray((len(data) - size + 1,), _block_type(size), data, 0, (1,))


@cache
def _block_type(size: int) -> np.dtype[np.void]:
    return np.dtype((np.void, size))


def _blocks_near_end(data: U8, at: I64, last: int, size: int) -> npt.NDArray[Any]:
    first = max(last + 1, 0)
    tail = np.zeros(2 * size, np.uint8)
    tail[: len(data) - first] = data[first:]
    late = at >= first
    blocks = np.empty(len(at), _block_type(size))
    blocks[late] = _windows(tail, size)[at[late] - first]
    if last >= 0:
        blocks[~late] = _windows(data, size)[at[~late]]
    return blocks
