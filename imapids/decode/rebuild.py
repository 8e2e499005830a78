"""From fragment columns to the reassembler and back: rebuilt datagrams become rows over a buffer of their own."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from operator import itemgetter

import numpy as np

from imapids.decode.columns import Rows
from imapids.decode.fragments import Datagram, Fragment, Reassembler
from imapids.decode.headers import Header
from imapids.decode.work import FragmentRows, Work
from imapids.protocols.ip_headers import FRAGMENT_MASK
from imapids.records.packets import U8

AT_ONCE = 2_048
"""Fragments that exist as objects at one time."""
KEY_BYTES = 48


def rebuild(work: Work, reassembler: Reassembler) -> U8 | None:
    """Feed the fragments that the batch set aside, in capture order.

    Returns the bytes of the datagrams that became whole, with `work` pointing at them and their rows pending;
    None where there are none.
    """
    groups, work.fragments = work.fragments, []
    rebuilt: list[tuple[int, int, Datagram]] = []
    for row, path, fragment in heapq.merge(*(_read(work, group) for group in groups), key=itemgetter(0)):
        datagram = reassembler.feed(fragment)
        if datagram is not None:
            rebuilt.append((row, path, datagram))
    if not rebuilt:
        return None
    rows = np.array([row for row, _, _ in rebuilt], np.int64)
    paths = np.array([path for _, path, _ in rebuilt], np.int64)
    size = np.array([len(datagram.header) + len(datagram.data) for _, _, datagram in rebuilt], np.int64)
    wire = np.array([len(datagram.header) + datagram.length for _, _, datagram in rebuilt], np.int64)
    data = np.frombuffer(b"".join(part for _, _, one in rebuilt for part in (one.header, one.data)), np.uint8)
    end = np.cumsum(size)
    work.base += len(work.data)
    work.data = data
    work.fragmented[rows] = True
    work.push(Header.IP, Rows(rows, end - size, end, end - size + wire, paths))
    return data


def _read(work: Work, group: FragmentRows) -> Iterator[tuple[int, int, Fragment]]:
    """The fragments of a group as objects, with their row and path, in capture order."""
    order = np.argsort(group.rows.row, kind="stable")
    for start in range(0, len(order), AT_ONCE):
        yield from _read_part(work, group.select(order[start : start + AT_ONCE]))


def _read_part(work: Work, group: FragmentRows) -> Iterator[tuple[int, int, Fragment]]:
    rows, data = group.rows, work.data
    key = np.stack([column.astype(np.uint64) for column in (
        group.src_hi, group.src_lo, group.dst_hi, group.dst_lo,
        group.identity << 16 | (group.protocol if group.version == 4 else 0) << 8 | group.version, rows.path,
    )], axis=1).tobytes()
    columns = (rows.row, rows.at, rows.end, rows.wire, rows.path, work.batch.time_ns[rows.row], group.ip, group.offset,
               group.more, group.protocol, group.patch, group.unfragmentable)
    for index, (row, at, end, wire, path, time_ns, start, offset, more, protocol, patch, stop) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True),
    ):
        header = b""
        if offset == 0:
            header = data[start : at if group.version == 4 else stop].tobytes()
            header = _header_v4(header) if group.version == 4 else _header_v6(header, patch - start, protocol)
        yield row, path, Fragment(key[index * KEY_BYTES : (index + 1) * KEY_BYTES], group.version, time_ns, offset,
                                  wire - at, more, header, data[at:end].tobytes())


def _header_v4(header: bytes) -> bytes:
    """The header without its fragment fields."""
    fields = bytearray(header)
    fields[6:8] = (int.from_bytes(fields[6:8]) & ~FRAGMENT_MASK).to_bytes(2)
    return bytes(fields)


def _header_v6(header: bytes, patch: int, protocol: int) -> bytes:
    """The unfragmentable part, its last next-header field naming what the fragment header named."""
    fields = bytearray(header)
    fields[patch] = protocol
    return bytes(fields)
