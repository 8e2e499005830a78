"""Reads pcapng: sections of either byte order, interfaces, enhanced, simple and obsolete packet blocks."""

from __future__ import annotations

import struct

import numpy as np

from imapids import kernels
from imapids.capture.framing import BlockFraming
from imapids.capture.interfaces import InterfaceTable
from imapids.capture.recordreader import ROOM_BYTES, Fault, RecordReader
from imapids.protocols import capture_formats as formats
from imapids.records.packets import I64, U32, U64, Bool, PacketBatch

SECTION_BYTES_MAX = 1 << 20
"""A longer section header is damage: libpcap's limit."""
OPTIONS_CHECKED = 8
"""Options of a packet that are checked to lie inside their block."""


class PcapngReader(RecordReader):
    """Blocks; a section header may change the byte order and forgets the interfaces."""

    framing: BlockFraming

    def open(self) -> bool:
        """Enter the first section."""
        self._names: dict[tuple[str, int], int] = {}
        self._interfaces = InterfaceTable(self.ledger)
        self.framing = BlockFraming("<", self.limits.packet_bytes + ROOM_BYTES)
        if not self.feed.want(28):
            if not self.feed.stopped:
                self.ledger.refuse("unreadable", "cut inside the section header")
            return False
        self._bind()
        try:
            if not self.enter(self.window.start):  # the header has long options
                length = self._section_length(self.window.start)
                self.feed.want(length)
                self._bind()
                if not self.enter(self.window.start):
                    self.ledger.refuse("unreadable", "cut inside the section header")
                    return False
        except Fault as fault:
            if fault.reason == "unsupported":
                self.ledger.refuse("unsupported", fault.what)
                return False
            return self._resync(fault)
        return True

    # ---- what is no plain block --------------------------------------------------------------------------------------

    def _section_length(self, at: int) -> int:
        """Set the byte order by the section header at `at`, and give its length.

        Raises:
            Fault: the header is damaged, or its version is not read.
        """
        head = self.window.buffer[at : at + 16].tobytes()
        for order in "<>":
            kind_magic, major, minor = struct.unpack_from(order + "IHH", head, 8)
            if kind_magic == formats.BYTE_ORDER_MAGIC:
                break
        else:
            raise Fault("bad-block", "a section header without a byte order")
        if (major, minor) not in formats.SECTION_VERSIONS:
            raise Fault("unsupported", f"pcapng version {major}.{minor} is not read")
        if order != self.framing.order:
            self.framing = BlockFraming(order, self.framing.room)
            self._bind()
        length = int(struct.unpack_from(order + "I", head, 4)[0])
        if length & 3 or not 28 <= length <= SECTION_BYTES_MAX:
            self._interfaces = InterfaceTable(self.ledger)
            raise Fault("bad-block", f"a section header announces {length} bytes")
        return length

    def enter(self, at: int) -> bool:
        """A section header, or why no block can start here."""
        framing, window = self.framing, self.window
        left = window.stop - at
        if left < 16:
            return False
        kind, length = struct.unpack_from(framing.order + "II", window.buffer.data, at)
        if kind == formats.SECTION_HEADER:
            length = self._section_length(at)
            if left < length:
                return False
            if struct.unpack_from(self.framing.order + "I", window.buffer.data, at + length - 4)[0] != length:
                raise Fault("bad-block", "the two lengths of a section header differ")
            self._interfaces = InterfaceTable(self.ledger)
            window.start += length
            return True
        if length & 3 or not formats.BLOCK_BYTES_MIN <= length <= framing.room:
            raise Fault("bad-block", f"a block announces {length} bytes")
        if left < length:
            return False
        raise Fault("bad-block", "the two lengths of a block differ")

    def leap(self, at: int) -> bool:  # noqa: ARG002  # the format has no such records
        """pcapng has no limit between a block that fits and one that is damage."""
        return False

    def whole_but_cut(self, at: int) -> bool:
        """Whether what is left is too short to tell, or a packet block whose lengths agree with each other."""
        framing, window = self.framing, self.window
        self._bind()
        if window.stop - at < 32:
            return True
        kind, length, _, _, _, captured, original, _ = framing.packet_words(np.array([at]))[0].tolist()
        if kind not in (formats.ENHANCED_PACKET, formats.PACKET_BLOCK):
            return kind in formats.KNOWN_BLOCKS or kind == formats.SECTION_HEADER
        needed = formats.ENHANCED_PACKET_BYTES + captured + 4
        return bool(captured <= original and needed <= length <= needed + ROOM_BYTES)

    def resync_candidates(self, at: int, length: int) -> I64:
        """Blocks of known types whose two lengths agree, at any alignment."""
        return self.framing.candidates(at, length)

    # ---- columns -----------------------------------------------------------------------------------------------------

    def batch(self, offsets: I64) -> tuple[PacketBatch | None, int]:
        """The packets of these blocks as columns; the other blocks are read or skipped."""
        ready = self._read_enhanced(offsets) if kernels.COMPILED else None
        if ready is not None:
            return ready, len(offsets)
        words = self.framing.packet_words(offsets)
        kind = words[:, 0]
        numbered = described = None
        if not (kind == formats.ENHANCED_PACKET).all():
            packets, described, numbered = self._sort_out(offsets, words)
            number = self.number + np.cumsum(numbered)[packets]
            self.number += int(np.count_nonzero(numbered))
            offsets, words, described = offsets[packets], words[packets], described[packets]
        else:
            number = np.arange(self.number + 1, self.number + len(offsets) + 1, dtype=np.int64)
            self.number += len(offsets)
        if not len(offsets):
            return None, len(kind)
        return self._packets(offsets, words, described, number), len(kind)

    def _read_enhanced(self, offsets: I64) -> PacketBatch | None:
        """The packets of blocks that are all enhanced packets and sound, compiled; None where one of them is not."""
        count = len(offsets)
        data, captured, original = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
        interface, ticks = np.empty(count, np.int64), np.empty(count, np.uint64)
        sound, below, past = kernels.compiled.read_blocks(
            self.window.buffer, offsets, self.framing.order == ">", formats.ENHANCED_PACKET,
            formats.ENHANCED_PACKET_BYTES, self._interfaces.count, OPTIONS_CHECKED, data, captured, original, interface,
            ticks)
        if sound < count:
            return None
        number = np.arange(self.number + 1, self.number + count + 1, dtype=np.int64)
        self.number += count
        self._note(below, past)
        return self._columns(data, captured, original, interface, ticks, number, None)

    def _note(self, below: int, past: int) -> None:
        if below:
            self.ledger.note("original-below-captured", below)
        if past:
            self.ledger.note("option-past-block", past)

    def _sort_out(self, offsets: I64, words: U32) -> tuple[Bool, I64, Bool]:
        """Which blocks hold packets, the interfaces known at each block, and which blocks have a frame number."""
        kind = words[:, 0]
        packets = np.isin(kind, formats.PACKET_BLOCKS)
        descriptions = kind == formats.INTERFACE_DESCRIPTION
        described = np.minimum(self._interfaces.count + np.cumsum(descriptions), 65_536)
        order = self.framing.order
        for index in np.flatnonzero(descriptions).tolist():
            at, length = int(offsets[index]), int(words[index, 1])
            if length < 20:
                self.ledger.damage(self.window.base + at, "bad-block", "an interface description is too short", length)
                described[index:] -= 1
                continue
            body = self.window.buffer[at + 8 : at + min(length - 4, 1 << 16)].tobytes()
            self._interfaces.describe(body, order, self._names)
        numbered = packets | np.isin(kind, formats.NUMBERED_BLOCKS)
        others = int(np.count_nonzero(numbered & ~packets))
        if others:
            self.ledger.note("numbered-block-without-packet", others)
        known = packets | np.isin(kind, formats.KNOWN_BLOCKS)
        if not known.all():
            self.ledger.note("unknown-block", int(np.count_nonzero(~known)))
        return packets, described, numbered

    def _packets(
        self, offsets: I64, words: U32, described: I64 | None, number: I64
    ) -> PacketBatch | None:
        """Columns of packet blocks; those that lie about an interface or a length are skipped and counted."""
        kind, length = words[:, 0], words[:, 1].astype(np.int64)
        interface = words[:, 2].astype(np.int64)
        ticks: U64 = (words[:, 3].astype(np.uint64) << np.uint64(32)) | words[:, 4]
        captured, original = words[:, 5].astype(np.int64), words[:, 6].astype(np.int64)
        data = offsets + formats.ENHANCED_PACKET_BYTES
        overhead = np.int64(formats.ENHANCED_PACKET_BYTES + 4)
        timed: Bool | None = None
        if described is not None:
            obsolete = kind == formats.PACKET_BLOCK
            if obsolete.any():  # two 16-bit fields in the word: interface, drops
                little = self.framing.order == "<"
                interface[obsolete] = interface[obsolete] & 0xFFFF if little else interface[obsolete] >> 16
            simple = kind == formats.SIMPLE_PACKET
            if simple.any():
                timed = ~simple
                original[simple] = interface[simple]
                room = length[simple] - formats.SIMPLE_PACKET_BYTES - 4
                limit = self._interfaces.snaplen or formats.SNAPLEN_CEILING
                captured[simple] = np.minimum(np.minimum(original[simple], limit), np.maximum(room, 0))
                interface[simple] = 0
                data[simple] = offsets[simple] + formats.SIMPLE_PACKET_BYTES
                ticks[simple] = 0
        space = length - overhead
        if timed is not None:
            space = np.where(timed, space, length - formats.SIMPLE_PACKET_BYTES - 4)
        stray = interface >= (self._interfaces.count if described is None else described)
        past = (captured > space) & ~stray
        good = ~(stray | past)
        if not good.all():
            self._tell(offsets, length, stray, "unknown-interface", "a packet names an interface that is not described")
            self._tell(offsets, length, past, "captured-past-block", "a packet's captured length runs past its block")
            if not good.any():
                return None
            offsets, data, number, space = offsets[good], data[good], number[good], space[good]
            interface, ticks, captured, original = interface[good], ticks[good], captured[good], original[good]
            timed = timed[good] if timed is not None else None
        self._note(int(np.count_nonzero(original < captured)),
                   self._count_bad_options(data + captured, data + space, -(data + captured - offsets) & 3))
        return self._columns(data, captured, np.maximum(original, captured), interface, ticks, number, timed)

    def _columns(self, data: I64, captured: I64, original: I64, interface: I64, ticks: U64, number: I64,
                 timed: Bool | None) -> PacketBatch:
        """Packets with the time and the link type of their interfaces; `timed` tells which have a time (None: all)."""
        time_ns, clamped = self._interfaces.time_ns(interface, ticks)
        if clamped:
            self.ledger.note("absurd-time", clamped)
        if timed is not None:
            time_ns = np.where(timed, time_ns, 0)
        link_type, named = self._interfaces.look_up(interface)
        return PacketBatch(
            self.ledger.source, self.window.lend(), data, captured, original, time_ns, number, link_type, named
        )

    def _tell(self, offsets: I64, length: I64, bad: Bool, reason: str, what: str) -> None:
        """Account for packet blocks that were skipped."""
        count = int(np.count_nonzero(bad))
        if not count:
            return
        self.ledger.skip(reason, count)
        kept = np.flatnonzero(bad)[:32]
        for at, size in zip(offsets[kept].tolist(), length[kept].tolist(), strict=True):
            self.ledger.damage(self.window.base + at, reason, what, size)
        self.ledger.account.damage_count += count - len(kept)

    def _count_bad_options(self, at: I64, end: I64, padding: I64) -> int:
        """How many packets have an option that runs past its block; the options themselves are not used."""
        at = at + padding
        live = at + 4 <= end
        past = 0
        for _ in range(OPTIONS_CHECKED):
            if not live.any():
                break
            at, end = at[live], end[live]
            word = self.framing.words_at(at)
            code, length = (word & 0xFFFF, word >> 16) if self.framing.order == "<" else (word >> 16, word & 0xFFFF)
            after = at + 4 + (length + 3 & ~3)
            beyond = (code != formats.OPTION_END) & (at + 4 + length > end)
            past += int(np.count_nonzero(beyond))
            live = (code != formats.OPTION_END) & ~beyond & (after + 4 <= end)
            at = after
        return past
