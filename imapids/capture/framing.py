"""How to step from one record to the next, for one offset or a thousand at once: pcap, snoop and pcapng."""

from __future__ import annotations

import struct
from typing import Protocol

import numpy as np

from imapids import kernels
from imapids.capture.words import Words
from imapids.protocols import capture_formats as formats
from imapids.records.packets import I64, U8, U32, Bool

STUCK = 1 << 62
"""Added to an offset at which no whole record starts."""
FAR = 1 << 40
"""How far a walk goes on from a record whose announced length is less than its header: out of any buffer."""

CHAIN = 5
"""Plausible headers in a row that make an offset worth a resynchronisation."""
ENTRY_CHAIN = 2
"""Plausible headers in a row that make an offset worth a walk: a wrong one costs time and changes nothing."""
MAGICS = np.array([int.from_bytes(magic, "little") for magic in formats.PCAP_MAGICS], np.uint32)
"""What a joined file has in place of a record's first field, read as little-endian numbers."""


class Framing(Protocol):
    """The records of one format inside the buffer of a window."""

    header_bytes: int
    """Bytes at the start of a record that tell its length."""
    stop: int
    """End of the data in the buffer."""

    def bind(self, buffer: U8, stop: int) -> None:
        """Look at this buffer from now on; data ends at `stop`."""
        ...

    def advance(self, at: I64) -> I64:
        """Where the record at each offset says that it ends, which is always behind `at`; nothing is checked.

        Offsets may be anywhere: from outside the data the walk goes on to anywhere behind it.
        """
        ...

    def sound(self, at: I64, after: I64) -> Bool:
        """Whether a whole record stands at each offset (inside the data), `after` being what `advance` gave."""
        ...

    def serial(self, at: int, count: int, until: int) -> tuple[list[int], int, bool]:
        """Walk up to `count` whole records that start before `until`: offsets, the end, and whether it is stuck."""
        ...

    def walk(self, at: int, count: int, until: int) -> tuple[I64, int, bool]:
        """`serial`, compiled (only where kernels are); the offsets as a column."""
        ...

    def entries(self, base: I64, length: int) -> tuple[I64, I64]:
        """Offsets where a plausible chain of records may start, in `length` bytes from each of the bases.

        Returns:
            Index into `base` and offset, both ascending.
        """
        ...

    def chain_at(self, at: int, ended: bool) -> bool | None:
        """Whether a plausible chain starts at `at`; None when more data is needed to tell (never with `ended`)."""
        ...


def room_for(count: int, length: int, least: int) -> I64:
    """A column for the offsets of up to `count` records of `least` bytes or more that start in `length` bytes."""
    return np.empty(max(0, min(count, -(-length // least))), np.int64)


def gathered_rows(buffer: U8, base: I64, length: int) -> U8:
    """Rows of `length` bytes, one from each base offset: shape (len(base), length)."""
    kind = np.dtype((np.void, length))
    rows = np.ndarray((len(buffer) - length + 1,), kind, buffer, strides=(1,))
    return rows[base].view(np.uint8).reshape(len(base), length)


class RecordFraming:
    """Records with a fixed header and no marks of their own: pcap and snoop."""

    def __init__(self, layout: formats.RecordLayout, limit: int, room: int) -> None:
        """`limit`: most captured bytes of a plausible record; `room`: most bytes of any record (fits the window)."""
        self.layout = layout
        self.limit = limit
        self.room = room
        self.header_bytes = layout.header_bytes
        self.reference: int | None = None
        """Seconds near which entries must lie; None before the first packet."""
        self.tolerance = 86_400
        self.stop = 0
        self._u4 = np.dtype(layout.order + "u4")
        self._captured = struct.Struct(layout.order + "I")
        self._fields = struct.Struct(layout.order + "IIII")

    def bind(self, buffer: U8, stop: int) -> None:
        """Look at this buffer from now on; data ends at `stop`."""
        self._buffer = buffer
        self._memory = buffer.data
        self.stop = stop
        layout, order = self.layout, self.layout.order
        length_field = layout.captured if layout.record_bytes is None else layout.record_bytes
        self._lengths = Words(buffer, length_field, order)
        self._originals = Words(buffer, layout.original, order) if layout.swapped == "maybe" else None
        shape = (len(buffer) - self.header_bytes + 1,)
        self._header_view = np.ndarray(shape, f"V{self.header_bytes}", buffer, strides=(1,))

    def headers(self, at: I64) -> U32:
        """The header words of records, in native byte order: shape (n, header_bytes / 4)."""
        words = self._header_view[at].view(self._u4).reshape(len(at), self.header_bytes // 4)
        return words.astype(np.uint32, copy=False)

    def advance(self, at: I64) -> I64:
        """Where the record at each offset says that it ends, which is always behind `at`; nothing is checked."""
        length = self._lengths.read(at)
        if self._originals is not None:
            np.minimum(length, self._originals.read(at), out=length)
        if self.layout.record_bytes is None:
            length += self.header_bytes
        else:
            length[length < self.header_bytes] = FAR
        length += at
        return length

    def sound(self, at: I64, after: I64) -> Bool:
        """Whether a whole record stands at each offset (inside the data), `after` being what `advance` gave."""
        good: Bool = after - at <= self.limit + (self.header_bytes if self.layout.record_bytes is None else 0)
        good &= after <= self.stop
        return good

    def length_at(self, at: int) -> int:
        """The length of the whole record at `at` as its header says (which must be inside the data); not checked."""
        layout = self.layout
        if layout.record_bytes is not None:
            return int(self._captured.unpack_from(self._memory, at + layout.record_bytes)[0])
        captured: int = self._captured.unpack_from(self._memory, at + layout.captured)[0]
        if layout.swapped == "maybe":
            captured = min(captured, self._captured.unpack_from(self._memory, at + layout.original)[0])
        return layout.header_bytes + captured

    def serial(self, at: int, count: int, until: int) -> tuple[list[int], int, bool]:
        """Walk up to `count` whole records that start before `until`: offsets, the end, and whether it is stuck."""
        found: list[int] = []
        least, most = self.header_bytes, self.limit + self.header_bytes
        last = min(until, self.stop - least + 1)
        memory, length_at = self._memory, self.length_at
        simple = self.layout.record_bytes is None and self.layout.swapped != "maybe"
        captured_at, unpack = self.layout.captured, self._captured.unpack_from
        while at < last and len(found) < count:
            length = least + unpack(memory, at + captured_at)[0] if simple else length_at(at)
            if not least <= length <= most or at + length > self.stop:
                return found, at, True
            if length == least and formats.is_no_record(bytes(memory[at : at + 16])):
                return found, at, True
            found.append(at)
            at += length
        return found, at, at < until and at + least > self.stop

    def walk(self, at: int, count: int, until: int) -> tuple[I64, int, bool]:
        """`serial`, compiled; the offsets as a column."""
        layout, least = self.layout, self.header_bytes
        last = min(until, self.stop - least + 1)
        length_at = layout.captured if layout.record_bytes is None else layout.record_bytes
        other_at = layout.original if layout.swapped == "maybe" else length_at
        found = room_for(count, last - at, least)
        have, at, stuck = kernels.compiled.walk_records(
            self._buffer, at, last, self.stop, least, length_at, other_at,
            least if layout.record_bytes is None else 0, least + self.limit, layout.order == ">", MAGICS, found)
        return found[:have], at, stuck or (at < until and at + least > self.stop)

    def entries(self, base: I64, length: int, links: int = ENTRY_CHAIN) -> tuple[I64, I64]:
        """Offsets where so many plausible records in a row may start, in `length` bytes from each of the bases."""
        layout = self.layout
        rows = gathered_rows(self._buffer, base, length + self.header_bytes)
        top = 0 if layout.order == ">" else 3
        low = 2 if layout.order == ">" else 0

        def byte(field: int) -> U8:
            return rows[:, field : field + length]

        # The top bytes of both lengths are 0, and the packet was not empty on the wire (zeros are no header).
        mask = byte(layout.captured + top) == 0
        mask &= byte(layout.original + top) == 0
        mask &= (byte(layout.original + low) | byte(layout.original + low + 1)) != 0
        if self.reference is not None:
            around = (self.tolerance >> 24) + 1
            if around < 128:
                first = np.uint8(((self.reference >> 24) - around) & 0xFF)
                mask &= (byte(layout.seconds + top) - first) <= 2 * around
        hits = np.flatnonzero(mask)
        row = hits // length
        at = base[row] + (hits - row * length)
        good = self._chained(at, links)
        return row[good], at[good]

    def _plausible(self, at: I64) -> tuple[Bool, I64]:
        """Whether the headers make sense, and where the next ones stand."""
        layout = self.layout
        words = self.headers(at)
        captured = words[:, layout.captured // 4].astype(np.int64)
        original = words[:, layout.original // 4].astype(np.int64)
        good = (captured <= self.limit) & (original >= captured) & (original > 0)
        good &= original <= max(self.limit, formats.SNAPLEN_CEILING)
        good &= words[:, layout.fraction // 4] < layout.fraction_limit
        if self.reference is not None:
            good &= np.abs(words[:, layout.seconds // 4].astype(np.int64) - self.reference) <= self.tolerance
        if layout.record_bytes is None:
            return good, at + self.header_bytes + captured
        length = words[:, layout.record_bytes // 4].astype(np.int64)
        return good & (length >= self.header_bytes + captured) & (length <= self.room), at + length

    def _chained(self, at: I64, links: int) -> Bool:
        """Whether so many plausible headers follow each other from each offset (as far as the data reaches)."""
        good = np.zeros(len(at), np.bool_)
        index = np.flatnonzero(at <= self.stop - self.header_bytes)
        at = at[index]
        for _ in range(links):
            fine, at = self._plausible(at)
            index, at = index[fine], at[fine]
            inside = at <= self.stop - self.header_bytes
            good[index[~inside]] = True
            index, at = index[inside], at[inside]
        good[index] = True
        return good

    def plausible_at(self, at: int) -> bool:
        """Whether the header at `at` (inside the data) makes sense in every respect."""
        return bool(self._plausible(np.array([at]))[0][0])

    def chain_at(self, at: int, ended: bool) -> bool | None:
        """Whether a plausible chain starts at `at`; None when more data is needed to tell (never with `ended`)."""
        links = 0
        while links < CHAIN:
            if at + self.header_bytes > self.stop:
                # At the end a chain must end with the data, or have shown more than one header.
                return None if not ended else at == self.stop or links > 1
            fine, after = self._plausible(np.array([at]))
            if not fine[0]:
                return False
            at = int(after[0])
            links += 1
        return True


class BlockFraming:
    """pcapng blocks: type, length, body, and the length again."""

    header_bytes = 12  # type, length, and a section's byte order magic

    def __init__(self, order: str, room: int) -> None:
        """`room`: most bytes of a plausible block."""
        self.order = order
        self.room = room
        self.stop = 0
        self._u4 = np.dtype(order + "u4")
        self._pair = struct.Struct(order + "II")
        self._word = struct.Struct(order + "I")

    def bind(self, buffer: U8, stop: int) -> None:
        """Look at this buffer from now on; data ends at `stop`."""
        self._buffer = buffer
        self._memory = buffer.data
        self.stop = stop
        self._words, self._lengths = Words(buffer, 0, self.order), Words(buffer, 4, self.order)
        self._pair_view = np.ndarray((len(buffer) - 7,), "V8", buffer, strides=(1,))
        self._packet_view = np.ndarray((len(buffer) - 31,), "V32", buffer, strides=(1,))

    def packet_words(self, at: I64) -> U32:
        """The first eight words of blocks, in native byte order: shape (n, 8); a short block has fewer of its own."""
        return self._packet_view[at].view(self._u4).reshape(len(at), 8).astype(np.uint32, copy=False)

    def words_at(self, at: I64) -> I64:
        """One 32-bit word at each offset."""
        return self._words.read(at)

    def advance(self, at: I64) -> I64:
        """Where the block at each offset says that it ends, which is always behind `at`; nothing is checked."""
        length = self._lengths.read(at)
        length[length < formats.BLOCK_BYTES_MIN] = FAR
        length += at
        return length

    def sound(self, at: I64, after: I64) -> Bool:
        """Whether a whole block that is no section header stands at each offset; `after` is what `advance` gave."""
        length = after - at
        good: Bool = (length & 3 == 0) & (length <= self.room) & (after <= self.stop)
        good &= self.words_at(at) != formats.SECTION_HEADER
        good &= self.words_at(np.where(good, after - 4, at)) == length
        return good

    def serial(self, at: int, count: int, until: int) -> tuple[list[int], int, bool]:
        """Walk up to `count` whole blocks that start before `until`: offsets, the end, and whether it is stuck."""
        found: list[int] = []
        last = min(until, self.stop - formats.BLOCK_BYTES_MIN + 1)
        memory, pair, word = self._memory, self._pair.unpack_from, self._word.unpack_from
        stop, room = self.stop, self.room
        while at < last and len(found) < count:
            kind, length = pair(memory, at)
            if length & 3 or not formats.BLOCK_BYTES_MIN <= length <= room or at + length > stop:
                return found, at, True
            if kind == formats.SECTION_HEADER or word(memory, at + length - 4)[0] != length:
                return found, at, True
            found.append(at)
            at += length
        return found, at, at < until and at + formats.BLOCK_BYTES_MIN > stop

    def walk(self, at: int, count: int, until: int) -> tuple[I64, int, bool]:
        """`serial`, compiled; the offsets as a column."""
        least = formats.BLOCK_BYTES_MIN
        last = min(until, self.stop - least + 1)
        found = room_for(count, last - at, least)
        have, at, stuck = kernels.compiled.walk_blocks(
            self._buffer, at, last, self.stop, least, self.room, self.order == ">", formats.SECTION_HEADER, found)
        return found[:have], at, stuck or (at < until and at + least > self.stop)

    def entries(self, base: I64, length: int) -> tuple[I64, I64]:
        """Offsets where a packet block may start, in `length` bytes from each of the bases; blocks stand at 4 bytes."""
        rows = gathered_rows(self._buffer, base, length + 8).view(self._u4)
        kind, size = rows[:, : length // 4], rows[:, 1 : length // 4 + 1]
        mask = (kind == formats.ENHANCED_PACKET) | (kind == formats.SIMPLE_PACKET) | (kind == formats.PACKET_BLOCK)
        mask &= size <= self.room
        hits = np.flatnonzero(mask)
        row = hits // (length // 4)
        at = base[row] + (hits - row * (length // 4)) * 4
        inside = at <= self.stop - self.header_bytes
        row, at = row[inside], at[inside]
        good = np.ones(len(at), np.bool_)
        after = at
        for _ in range(2):  # the trailing length is proof enough: two links
            live = np.flatnonzero(good & (after <= self.stop - self.header_bytes))
            reached = self.advance(after[live])
            good[live] = self.sound(after[live], reached)
            after = after.copy()
            after[live] = reached
        return row[good], at[good]

    def candidates(self, at: int, length: int) -> I64:
        """Offsets in `length` bytes from `at`, at any alignment, where a block of a known type or a section starts."""
        base = at + np.arange(4, dtype=np.int64)
        rows = gathered_rows(self._buffer, base, (length + 3) // 4 * 4 + 8).view(self._u4)
        kind, size = rows[:, :-2], rows[:, 1:-1]
        known = ((kind - np.uint32(1)) < 10) | (kind == formats.SECTION_HEADER)
        known |= (kind == formats.CUSTOM) | (kind == formats.CUSTOM_NO_COPY)
        row, column = np.nonzero(known)
        where = np.sort(base[row] + column * 4)
        where = where[where <= self.stop - self.header_bytes]
        pair = self._pair_view[where].view(self._u4).reshape(len(where), 2)
        section = pair[:, 0] == formats.SECTION_HEADER
        size = pair[:, 1].astype(np.int64)
        sane = (size & 3 == 0) & (size >= formats.BLOCK_BYTES_MIN) & (size <= self.room)
        inside = sane & (where + size <= self.stop)
        trailer = self.words_at(np.where(inside, where + size - 4, where))
        good: I64 = where[section | (sane & (~inside | (trailer == size)))]
        return good

    def chain_at(self, at: int, ended: bool) -> bool | None:
        """Whether a plausible chain starts at `at`; None when more data is needed to tell (never with `ended`)."""
        links = 0
        memory = self._memory
        while links < 2:
            if at == self.stop and ended and links:
                return True
            if at + self.header_bytes > self.stop:
                return None if not ended else links > 0
            kind, length = self._pair.unpack_from(memory, at)
            if kind == formats.SECTION_HEADER:
                return bytes(memory[at + 8 : at + 12]) in (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a")
            if kind not in formats.KNOWN_BLOCKS or length & 3 or not formats.BLOCK_BYTES_MIN <= length <= self.room:
                return False
            if at + length > self.stop:
                return None if not ended else links > 0
            if self._word.unpack_from(memory, at + length - 4)[0] != length:
                return False
            at += length
            links += 1
        return True
