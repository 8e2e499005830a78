"""The packets of watched flows on disk, the newest of them: so that what an alert is about can be extracted afterwards.

Packets go into segments (pcapng files); when all segments together are too large, the oldest goes. A segment is a whole
capture: `imapids extract FOLDER --alert ID` reads them like any other.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imapids.errors import OutputError
from imapids.output.files import make_folder, reason
from imapids.protocols import capture_formats as formats
from imapids.protocols.text import safe_str
from imapids.protocols.timestamps import eve_time
from imapids.records.packets import I64, U8, PacketBatch
from imapids.records.segments import Decoded

SEGMENTS = 16
"""Files that share the size: so much of the past goes at a time."""
SMALLEST_BYTES = 1 << 20
"""A smaller segment would hold seconds."""
SUFFIX = ".pcapng"
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o600
_HEADER_BYTES, _TRAILER_BYTES = 28, 4
"""Of an enhanced packet block (draft-ietf-opsawg-pcapng section 4.3)."""


class PacketKeeper:
    """Writes packets from or to the watched ports, at most `size_bytes` in all."""

    def __init__(self, folder: str, size_bytes: int, interface: str, tcp: Sequence[int], udp: Sequence[int], *,
                 prefix: str = "") -> None:
        """
        Args:
            folder: segments of earlier runs in it count, and go in their turn.
            prefix: of the names of segments: each of several processes has its own.

        Raises:
            OutputError: the folder cannot be used.
        """
        self.folder = Path(folder)
        self.kept = self.failed = 0
        """Packets that were written, and that could not be."""
        self._size = size_bytes
        self._segment_bytes = max(SMALLEST_BYTES, size_bytes // SEGMENTS)
        self._interface = interface
        self._prefix = prefix
        self._watched = np.zeros((2, 1 << 16), bool)
        self._watched[0, list(tcp)] = True
        self._watched[1, list(udp)] = True
        self._descriptor = -1
        self._written = 0
        try:
            self._segments = [(path, path.stat().st_size)
                              for path in sorted(self.folder.glob(f"{prefix}[0-9]*{SUFFIX}"))]
        except OSError as error:
            raise OutputError(f"cannot keep packets in {safe_str(folder)}: {reason(error)}") from error

    def keep(self, batch: PacketBatch, decoded: Decoded) -> None:
        """Writes the packets of a batch that belong to watched flows (a datagram's last fragment stands for it)."""
        segments = decoded.segments
        kind = (segments.protocol == 17).astype(np.int64)
        chosen = self._watched[kind, segments.src_port] | self._watched[kind, segments.dst_port]
        if not chosen.any():
            return
        at = np.unique(segments.number[chosen] - batch.number[0])
        try:
            self._write(batch, at)
            self.kept += len(at)
        except OSError:
            self.failed += len(at)
            self.close()  # the next batch begins a new segment

    def close(self) -> None:
        """The segment is whole."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            path, _ = self._segments[-1]
            self._segments[-1] = path, self._written
            self._descriptor = -1

    def _write(self, batch: PacketBatch, at: I64) -> None:
        data = enhanced_packets(batch, at)
        if self._descriptor >= 0 and self._written + len(data) > self._segment_bytes:
            self.close()
        if self._descriptor < 0:
            self._begin(int(batch.time_ns[at[0]]), int(batch.link_type[0]))
        before, rest = self._written, memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest):]
        except OSError:
            os.ftruncate(self._descriptor, before)  # a capture must not end inside a packet
            raise
        self._written += len(data)

    def _begin(self, time_ns: int, link_type: int) -> None:
        """A new segment, named by its first packet; the oldest ones make room."""
        while self._segments and sum(size for _, size in self._segments) + self._segment_bytes > self._size:
            path, _ = self._segments.pop(0)
            with contextlib.suppress(OSError):
                path.unlink()
        stamp = eve_time(time_ns)[:26].replace("-", "").replace(":", "")
        path, number = self.folder / f"{self._prefix}{stamp}{SUFFIX}", 0
        while path.exists():
            number += 1
            path = self.folder / f"{self._prefix}{stamp}-{number}{SUFFIX}"
        self._descriptor = os.open(path, _NEW_FILE, _MODE)
        self._segments.append((path, self._segment_bytes))
        head = section_head(link_type, self._interface)
        self._written = os.write(self._descriptor, head)


def section_head(link_type: int, interface: str) -> bytes:
    """A section header and one interface that counts nanoseconds."""
    name = os.fsencode(interface)[:255]
    options = (struct.pack("<HH", formats.OPTION_IF_NAME, len(name)) + name + bytes(-len(name) % 4)
               + struct.pack("<HHB3x", formats.OPTION_IF_TSRESOL, 1, 9) + bytes(4))
    section = struct.pack("<IHHq", formats.BYTE_ORDER_MAGIC, 1, 0, -1)
    described = struct.pack("<HHI", link_type, 0, 0) + options
    return b"".join(struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)
                    for kind, body in ((formats.SECTION_HEADER, section), (formats.INTERFACE_DESCRIPTION, described)))


def enhanced_packets(batch: PacketBatch, at: I64) -> bytes:
    """The packets at these positions as enhanced packet blocks of interface 0, without a loop over them."""
    size = batch.captured[at]
    padded = (size + 3) & ~3
    total = padded + (_HEADER_BYTES + _TRAILER_BYTES)
    end = np.cumsum(total)
    begin = end - total
    out: U8 = np.zeros(int(end[-1]), np.uint8)
    words = out.view("<u4")
    head = begin // 4
    time_ns = np.maximum(batch.time_ns[at], 0)
    for place, column in enumerate((
            np.full(len(at), formats.ENHANCED_PACKET), total, np.zeros(len(at), np.int64), time_ns >> 32,
            time_ns & 0xFFFF_FFFF, size, batch.original[at])):
        words[head + place] = column
    words[end // 4 - 1] = total
    # the bytes of all packets at once: position in the output minus position in the buffer is the same in one packet
    inside = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
    out[np.repeat(begin + _HEADER_BYTES, size) + inside] = batch.buffer[np.repeat(batch.offset[at], size) + inside]
    return out.tobytes()


def packet_folder(path: str, owner: tuple[int, int] | None) -> None:
    """Makes the folder for packets; a new one is given to the user that the process is about to become.

    Raises:
        OutputError: it cannot be made.
    """
    new = not Path(path).exists()
    folder = make_folder(path)
    if new and owner is not None:
        os.chown(folder, *owner)
