"""Reads classic pcap (all byte orders and header variants) and snoop."""

from __future__ import annotations

import numpy as np

from imapids import kernels
from imapids.capture.framing import CHAIN, RecordFraming
from imapids.capture.recordreader import ROOM_BYTES, SECONDS_A_DAY, Fault, RecordReader
from imapids.protocols import capture_formats as formats
from imapids.records.packets import I64, U16, PacketBatch

NO_RECORD = np.array([0, *formats.PCAP_MAGIC_WORDS], np.uint32)
"""What stands in place of the seconds where no record starts."""
Columns = tuple[I64, I64, I64, I64, I64]
PACE_RECORDS = 64
"""Records at the front of a window that tell how fast its time passes."""


class PcapReader(RecordReader):
    """Records behind one file header that says everything about them."""

    framing: RecordFraming

    def open(self) -> bool:
        """Read the file header."""
        self.feed.want(formats.PCAP_HEADER_BYTES)
        head = self.window.head(formats.PCAP_HEADER_BYTES)
        parse = formats.parse_snoop_header if head.startswith(formats.SNOOP_MAGIC) else formats.parse_pcap_header
        header = parse(head)
        if isinstance(header, str):
            cut = header.startswith("cut")
            if not self.feed.stopped:
                self.ledger.refuse("unreadable" if cut else "unsupported", header)
            return False
        self.ledger.source.interfaces.append("")
        self._start(header)
        return True

    def _start(self, header: formats.FileHeader) -> None:
        """Read records as this file header says."""
        self.header = header
        self.window.start += header.header_bytes
        announced = header.snaplen or formats.SNAPLEN_CEILING
        limit = min(self.limits.packet_bytes, max(announced, formats.SNAPLEN_CEILING))
        self.framing = RecordFraming(header.layout, limit, self.limits.packet_bytes + ROOM_BYTES)
        if header.fcs_bytes:
            self.ledger.note("frame-check-sequence")
        self._snaplen = header.snaplen
        self._alike: U16 = np.zeros((2, 0), np.uint16)
        """Link type and interface, which all packets share, as columns of the longest batch so far."""

    def prepare(self) -> None:
        """Tell the framing where in time records may be expected."""
        framing, window = self.framing, self.window
        listed, end, _ = framing.serial(window.start, PACE_RECORDS, framing.stop)
        if not listed:
            return
        seconds = framing.headers(np.array([listed[0], listed[-1]]))[:, framing.layout.seconds // 4].astype(np.int64)
        pace = abs(int(seconds[1] - seconds[0])) * (window.stop - window.start) // (end - window.start)
        framing.reference = int(seconds[0])
        framing.tolerance = max(SECONDS_A_DAY, 4 * pace, self._span_seconds())

    def _span_seconds(self) -> int:
        account = self.ledger.account
        if account.first_ns is None or account.last_ns is None:
            return 0
        return (account.last_ns - account.first_ns) // 10**9

    def batch(self, offsets: I64) -> tuple[PacketBatch | None, int]:
        """The packets of these records as columns; zeros or a file header in place of a record end them."""
        columns, count = self._read(offsets)
        if not count:
            return None, 0
        self.number += count
        if self._alike.shape[1] < count:
            self._alike = np.zeros((2, count), np.uint16)
            self._alike[0] = self.header.link_type
            self._alike.flags.writeable = False
        return PacketBatch(self.ledger.source, self.window.lend(), *columns, *self._alike[:, :count]), count

    def _read(self, offsets: I64) -> tuple[Columns, int]:
        """Where packets start, captured and original length, nanoseconds and frame numbers; and of how many records."""
        layout = self.framing.layout
        if not kernels.COMPILED or layout.record_bytes is not None or layout.swapped == "maybe":
            return self._read_odd(offsets)
        # In place of no record stand zeros or a file header: the compiled walk has ended there.
        count = len(offsets)
        columns: Columns = (np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64),
                            np.empty(count, np.int64), np.empty(count, np.int64))
        self._tell(*kernels.compiled.read_records(
            self.window.buffer, offsets, layout.header_bytes, layout.seconds, layout.fraction, layout.captured,
            layout.original, layout.fraction_ns, layout.fraction_limit, self._snaplen, layout.order == ">",
            self.number + 1, *columns))
        return columns, count

    def _read_odd(self, offsets: I64) -> tuple[Columns, int]:
        """`_read` for every layout."""
        layout = self.framing.layout
        words = self.framing.headers(offsets)
        captured = words[:, layout.captured // 4].astype(np.int64)
        original = words[:, layout.original // 4].astype(np.int64)
        if not original.all():
            for index in np.flatnonzero((original == 0) & (captured == 0) & np.isin(words[:, 0], NO_RECORD)).tolist():
                at = int(offsets[index])
                if formats.is_no_record(self.window.buffer[at : at + 16].tobytes()):
                    return self._read_odd(offsets[:index])
        if not len(offsets):
            return (captured, captured, captured, captured, captured), 0
        if layout.swapped == "maybe":
            captured, original = np.minimum(captured, original), np.maximum(captured, original)
        if layout.record_bytes is not None:
            captured = self._clip(captured, words[:, layout.record_bytes // 4].astype(np.int64) - layout.header_bytes)
        fraction = words[:, layout.fraction // 4]
        self._tell(int(np.count_nonzero(original < captured)),
                   int(np.count_nonzero(captured > self._snaplen)) if self._snaplen else 0,
                   int(np.count_nonzero(fraction >= layout.fraction_limit)))
        np.maximum(original, captured, out=original)
        # 32-bit seconds and fractions cannot leave 64-bit nanoseconds.
        time_ns = words[:, layout.seconds // 4].astype(np.int64) * 1_000_000_000
        time_ns += fraction.astype(np.int64) * layout.fraction_ns
        number = np.arange(self.number + 1, self.number + len(offsets) + 1, dtype=np.int64)
        return (offsets + layout.header_bytes, captured, original, time_ns, number), len(offsets)

    def _tell(self, below: int, above: int, late: int) -> None:
        """Note what is odd about headers."""
        for name, count in (("original-below-captured", below), ("captured-above-snaplen", above),
                            ("fraction-above-second", late)):
            if count:
                self.ledger.note(name, count)

    def _clip(self, captured: I64, room: I64) -> I64:
        """snoop: captured bytes cannot be more than the record holds."""
        if (captured > room).any():
            self.ledger.note("captured-past-record", int(np.count_nonzero(captured > room)))
        return np.minimum(captured, room)

    def enter(self, at: int) -> bool:
        """Nothing but records follows the file header, unless somebody joined files."""
        framing = self.framing
        if at + formats.PCAP_HEADER_BYTES > framing.stop:
            return False
        head = self.window.head(formats.PCAP_HEADER_BYTES)
        if formats.is_no_record(head[:16]):
            header = formats.parse_pcap_header(head) if any(head[:4]) else ""
            if isinstance(header, str):
                raise Fault("foreign-bytes", header or "zeros where a record must start")
            self.ledger.note("joined-file")
            self._start(header)
            return True
        length = framing.length_at(at)
        if not framing.header_bytes <= length <= framing.header_bytes + framing.limit:
            raise Fault("bad-record", f"a record announces {length} bytes")
        return False

    def leap(self, at: int) -> bool:
        """A record longer than any packet, behind which the capture goes on, is skipped whole."""
        framing = self.framing
        length = framing.length_at(at)
        if not framing.limit < length - framing.header_bytes <= self.limits.packet_bytes:
            return False
        self.feed.want(length + framing.header_bytes)
        framing.bind(self.window.buffer, self.window.stop)
        after = self.window.start + length
        if after > framing.stop or not (after == framing.stop or framing.chain_at(after, self.feed.ended) is not False):
            return False
        self.ledger.damage(self.window.position, "oversized-record", f"a record holds {length} bytes", length)
        self.ledger.skip("oversized-record")
        self.number += 1
        self.window.start = after
        return True

    def whole_but_cut(self, at: int) -> bool:
        """Whether the header at `at` is missing or plausible in every respect."""
        framing = self.framing
        framing.bind(self.window.buffer, self.window.stop)
        if at + framing.header_bytes > framing.stop:
            return True
        return framing.plausible_at(at) and framing.length_at(at) <= framing.header_bytes + max(self._snaplen, 65_535)

    def resync_candidates(self, at: int, length: int) -> I64:
        """Headers near the last packet's time that begin a chain."""
        account = self.ledger.account
        if account.last_ns is not None:
            self.framing.reference = account.last_ns // 10**9
        self.framing.tolerance = max(SECONDS_A_DAY, self._span_seconds())
        return self.framing.entries(np.array([at]), length, CHAIN)[1]
