"""Packets as a pcapng file that Wireshark and tcpdump read: original bytes, times to the nanosecond, comments.

Source: draft-ietf-opsawg-pcapng (sections 4.1 section header, 4.2 interface description, 4.3 enhanced packet).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from imapids.protocols.capture_formats import (
    BYTE_ORDER_MAGIC,
    ENHANCED_PACKET,
    INTERFACE_DESCRIPTION,
    OPTION_COMMENT,
    OPTION_IF_NAME,
    OPTION_IF_TSRESOL,
    SECTION_HEADER,
)

_OPTION_APPLICATION = 4
_NANOSECONDS = b"\x09"
_UNKNOWN_LENGTH = 0xFFFF_FFFF_FFFF_FFFF
COMMENT_BYTES = 2_000
"""A comment is shown in one line: what is longer is cut."""


class PcapngWriter:
    """Writes one section; `write` takes whole blocks."""

    def __init__(self, write: Callable[[bytes], object], *, application: str, comment: str = "") -> None:
        """
        Args:
            write: takes the bytes of each block.
            application: who wrote the file.
            comment: on the whole section.
        """
        self._write = write
        self._interfaces: dict[tuple[int, str], int] = {}
        options = _option(OPTION_COMMENT, comment) + _option(_OPTION_APPLICATION, application)
        write(_block(SECTION_HEADER, struct.pack("<IHHQ", BYTE_ORDER_MAGIC, 1, 0, _UNKNOWN_LENGTH)
                     + options + _end(options)))

    def packet(self, data: bytes, time_ns: int, original: int, link_type: int, interface: str = "",
               comments: Sequence[str] = ()) -> None:
        """One packet: its captured bytes, its length on the wire, and where it was captured.

        Args:
            time_ns: nanoseconds since 1970; times before that are written as 0 (the format has no sign).
            original: bytes on the wire.
            link_type: LINKTYPE_ value of the interface.
            interface: its name; a capture file's name stands for one that has none.
        """
        number = self._interface(link_type, interface)
        high, low = divmod(max(0, time_ns), 1 << 32)
        options = b"".join(_option(OPTION_COMMENT, comment) for comment in comments)
        self._write(_block(ENHANCED_PACKET, struct.pack(
            "<IIIII", number, high, low, len(data), original) + _padded(data) + options + _end(options)))

    def _interface(self, link_type: int, name: str) -> int:
        key = (link_type, name)
        number = self._interfaces.get(key)
        if number is None:
            number = self._interfaces[key] = len(self._interfaces)
            options = _option(OPTION_IF_NAME, name) + _raw_option(OPTION_IF_TSRESOL, _NANOSECONDS)
            self._write(_block(INTERFACE_DESCRIPTION, struct.pack("<HHI", link_type, 0, 0) + options + _end(options)))
        return number


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _block(kind: int, body: bytes) -> bytes:
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


def _option(code: int, text: str) -> bytes:
    """A text option; nothing where the text is empty."""
    if not text:
        return b""
    return _raw_option(code, text.encode("utf-8", "replace")[:COMMENT_BYTES].decode("utf-8", "ignore").encode())


def _raw_option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _end(options: bytes) -> bytes:
    """The end-of-options mark, which stands only behind options."""
    return struct.pack("<HH", 0, 0) if options else b""
