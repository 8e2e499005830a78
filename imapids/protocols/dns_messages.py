"""DNS messages (RFC 1035 section 4) and their kin: mDNS (RFC 6762), LLMNR (RFC 4795), NetBIOS names (RFC 1002)."""

from __future__ import annotations

from imapids.protocols.probing import Probe, Recogniser, be16, dialogue, fixed

_TYPES = frozenset((*range(1, 53), 55, 59, 61, 62, 63, 64, 65, 99, *range(100, 110), *range(249, 259), 32_768, 32_769))
"""Types of the IANA registry, queries included."""
_CLASSES = (1, 3, 4, 254, 255)


def _name(data: bytes, at: int) -> int:
    """Where the name that begins at `at` ends, or -1: labels of at most 63 bytes, 255 in all, or a pointer back."""
    start = at
    while at < len(data):
        size = data[at]
        if size == 0:
            return at + 1
        if size >= 0xC0:
            return at + 2 if at + 1 < len(data) and (size & 0x3F) << 8 | data[at + 1] < start else -1
        if size > 63:
            return -1
        at += 1 + size
        if at - start > 255:
            return -1
    return -1


def _record(data: bytes, at: int, question: bool) -> int:
    """Where the question or resource record that begins at `at` ends, or -1."""
    at = _name(data, at)
    if at < 0 or at + (4 if question else 10) > len(data) or be16(data, at) not in _TYPES:
        return -1
    if be16(data, at) != 41 and be16(data, at + 2) & 0x7FFF not in _CLASSES:  # 41: OPT keeps a size in the class
        return -1
    return at + 4 if question else at + 10 + be16(data, at + 8)


def name_message(data: bytes) -> bool:
    """A DNS header whose counts are small, and a first question or record that is well formed to its end."""
    if len(data) < 12:
        return False
    flags = be16(data, 2)
    counts = [be16(data, at) for at in (4, 6, 8, 10)]
    if flags >> 11 & 0xF not in (0, 1, 2, 4, 5, 6) and not _netbios(data):
        return False
    if counts[0] > 32 or not any(counts) or max(counts) > 4_096 or (not flags & 0x8000 and counts[1] > 64):
        return False
    if len(data) == 12:
        return False
    return _record(data, 12, question=counts[0] > 0) > 0


def _netbios(data: bytes) -> bool:
    """The first name is 32 letters A to P: a NetBIOS name in its first encoding."""
    return data[12:13] == b"\x20" and len(data) >= 46 and not data[13:45].translate(None, b"ABCDEFGHIJKLMNOP")


def name_service(data: bytes) -> str:
    """Which of the family a message belongs to: netbios-ns, mdns, llmnr or dns; empty where it is none of them."""
    if not name_message(data):
        return ""
    flags = be16(data, 2)
    if _netbios(data):  # whatever type is asked for: no host of the DNS has a name of 32 letters A to P
        return "netbios-ns"
    if be16(data) == 0 and flags & 0x7BFF == 0 and (b"\x05local\x00" in data or b"\x04arpa\x00" in data):
        return "mdns"
    if (
        flags & 0x7FFF in (0, 0x0200, 0x0400)
        and be16(data, 4) == 1
        and data[12]
        and data[13 + data[12] : 14 + data[12]] == b"\x00"
    ):
        return "llmnr"  # one label, and no recursion desired
    return "dns"


def _tcp(response: bool) -> Recogniser:
    """RFC 1035 section 4.2.2: two bytes of length before the message."""

    def check(data: bytes) -> bool:
        length = be16(data)
        if length < 17 or bool(data[4] & 0x80) != response:
            return False
        flags, counts = be16(data, 4), [be16(data, at) for at in (6, 8, 10, 12)]
        good = flags >> 11 & 0xF in (0, 1, 2, 4, 5, 6) and counts[0] <= 2 and max(counts) <= 8_192 and any(counts)
        return good and data[14] <= 63 and (data[14] == 0 or data[15 : 15 + min(data[14], 4)].isascii())

    return fixed(19, check)


PROBES: tuple[Probe, ...] = (dialogue("dns", server=_tcp(True), client=_tcp(False)),)
