"""Picks the reader of an input by its first bytes, through whatever compresses it."""

from __future__ import annotations

import stat
from collections.abc import Callable

from imapids.capture.bytestreams import ByteStream, InflatedStream, RawStream
from imapids.capture.follow import Follower
from imapids.capture.inputs import Input
from imapids.capture.ledger import Ledger
from imapids.capture.pcap import PcapReader
from imapids.capture.pcapng import SECTION_BYTES_MAX, PcapngReader
from imapids.capture.recordreader import ROOM_BYTES, Feed, RecordReader
from imapids.capture.window import Window
from imapids.config import CaptureLimits
from imapids.errors import UnsupportedInput
from imapids.protocols import capture_formats as formats
from imapids.records.packets import CaptureSource

PEEK_BYTES = 64 << 10
"""Bytes read of a file at one time to learn when its first packet was."""


def window_for(limits: CaptureLimits, *, ahead: bool = False) -> Window:
    """A window that may grow to the longest packet or section header and its surroundings (`ahead`: see Window)."""
    return Window(limits.batch_bytes, max(limits.packet_bytes, SECTION_BYTES_MAX) + 2 * ROOM_BYTES, ahead=ahead)


def reader_for(
    raw: RawStream, ledger: Ledger, limits: CaptureLimits, window: Window,
    follower: Follower | None = None, stop: Callable[[], bool] | None = None,
) -> RecordReader | None:
    """The reader that the first bytes ask for; None (and a reason in the ledger) when there is none."""
    wait = follower.wait if follower is not None else None
    head = raw.peek(formats.MAGIC_BYTES)
    while len(head) < formats.MAGIC_BYTES and wait is not None and wait():
        head = raw.peek(formats.MAGIC_BYTES)
    container = formats.container_of(head)
    stream: ByteStream = raw
    if container:
        try:
            stream = InflatedStream(raw, container, limits.inflate_ratio, limits.batch_bytes)
        except UnsupportedInput as error:
            ledger.refuse("unsupported", str(error))
            return None
    feed = Feed(window, stream, wait, stop)
    feed.want(formats.MAGIC_BYTES)
    head = feed.window.head(formats.MAGIC_BYTES)
    kind = formats.kind_of(head)
    ledger.source.format = ".".join(filter(None, (kind, container)))
    if kind:
        return (PcapngReader if kind == "pcapng" else PcapReader)(feed, ledger, limits)
    named = formats.unsupported_name(head)
    if named:
        ledger.refuse("unsupported", f"a {named} file is not read: convert it to pcapng first")
    elif not head and not feed.stopped:
        ledger.refuse("unreadable", stream.fault or ("the file is empty" if not container else "no data inside"))
    elif not feed.stopped:
        ledger.refuse("unreadable", stream.fault or "this is not a capture file")
    return None


def first_packet_time(item: Input) -> int | None:
    """Nanoseconds of the first packet of a regular file, from its first bytes; None where they hold none."""
    status = item.status()
    if status is None or not stat.S_ISREG(status.st_mode):
        return None
    limits = CaptureLimits(batch_bytes=PEEK_BYTES, packet_bytes=PEEK_BYTES * 8, resync_bytes=PEEK_BYTES)
    try:
        raw = RawStream(item.open())
    except OSError:
        return None
    try:
        reader = reader_for(raw, Ledger(CaptureSource(item.path, 0)), limits, window_for(limits))
        batch = next(reader.batches(), None) if reader is not None else None
        return int(batch.time_ns[0]) if batch is not None else None
    finally:
        raw.close()
