"""What capture files look like: pcap, pcapng, snoop and the containers around them, as pure knowledge.

Sources: draft-ietf-opsawg-pcap (classic pcap), draft-ietf-opsawg-pcapng (pcapng), RFC 1761 (snoop).
"""

from __future__ import annotations

import struct

import msgspec

# ---- what the first bytes say ----------------------------------------------------------------------------------------

MAGIC_BYTES = 8
"""First bytes that are enough to tell every kind apart."""

CONTAINERS = {
    b"\x1f\x8b": "gz",                 # RFC 1952
    b"\x28\xb5\x2f\xfd": "zst",        # RFC 8878 section 3.1.1
    b"\x04\x22\x4d\x18": "lz4",        # LZ4 frame format 1.6
}
"""Magic of the compressed containers that are read; the word is the suffix of `CaptureSource.format`."""

SKIPPABLE_FRAME = bytes(range(0x50, 0x60)), b"\x2a\x4d\x18"
"""First byte, and the next three, of a skippable frame, which may stand before a zstd or lz4 frame (RFC 8878 3.1.2)."""

KNOWN_UNSUPPORTED = {
    b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip", b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"RTSS": "Network Monitor 1 capture", b"GMBU": "Network Monitor 2 capture", b"TRSNIFF ": "Sniffer capture",
    b"XCP\x00": "NetXRay capture", b"iptrace ": "AIX iptrace capture", b"\x05VNF": "Visual Networks capture",
    b"\x7fver": "EtherPeek capture", b"ObserveB": "Observer capture", b"NetS": "NetScreen capture",
}
"""Files that hold or may hold packets in a form that is not read: they can be converted first."""


def container_of(head: bytes) -> str:
    """The compressed container that starts with these bytes ("gz", "zst", "lz4"), or "" for none."""
    for magic, name in CONTAINERS.items():
        if head.startswith(magic):
            return name
    if len(head) >= 4 and head[0] in SKIPPABLE_FRAME[0] and head[1:4] == SKIPPABLE_FRAME[1]:
        return "zst"
    return ""


def kind_of(head: bytes) -> str:
    """The capture format that starts with these bytes: "pcap", "pcapng", "snoop", or "" for none that is read."""
    if head[:4] in PCAP_MAGICS:
        return "pcap"
    if head[:4] == SECTION_HEADER_BYTES:
        return "pcapng"
    return "snoop" if head.startswith(SNOOP_MAGIC) else ""


def unsupported_name(head: bytes) -> str:
    """The name of a known kind of file that is not read, or ""."""
    for magic, name in KNOWN_UNSUPPORTED.items():
        if head.startswith(magic):
            return name
    return ""


# ---- records with a fixed header: pcap and snoop ---------------------------------------------------------------------


class RecordLayout(msgspec.Struct, frozen=True):
    """Where the 32-bit fields of a record header stand, counted from the record's first byte."""

    order: str
    """Byte order as struct and NumPy write it: "<" or ">"."""
    header_bytes: int
    seconds: int
    fraction: int
    captured: int
    original: int
    fraction_ns: int
    """Nanoseconds in one unit of the fraction field."""
    record_bytes: int | None = None
    """The field that holds the length of the whole record; None where it is header plus captured bytes."""
    swapped: str = "never"
    """Whether captured and original stand in each other's place: never, always, or maybe (the smaller is captured)."""

    @property
    def fraction_limit(self) -> int:
        """The first value of the fraction field that makes no sense."""
        return 1_000_000_000 // self.fraction_ns


class FileHeader(msgspec.Struct, frozen=True):
    """What the header of a pcap or snoop file says."""

    layout: RecordLayout
    link_type: int
    snaplen: int
    """As announced; 0 means no limit."""
    header_bytes: int
    fcs_bytes: int = 0
    """Length of the frame check sequence that the header announces, 0 where it says nothing."""


PCAP_HEADER_BYTES = 24
PCAP_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000, 16),
    b"\xa1\xb2\xc3\xd4": (">", 1000, 16),
    b"\x4d\x3c\xb2\xa1": ("<", 1, 16),
    b"\xa1\xb2\x3c\x4d": (">", 1, 16),
    b"\x34\xcd\xb2\xa1": ("<", 1000, 24),  # Kuznetzov's modified format: ifindex, protocol, packet type follow
    b"\xa1\xb2\xcd\x34": (">", 1000, 24),
}
"""Byte order, nanoseconds of a time unit and bytes of a record header, by magic."""

PCAP_MAGIC_WORDS = frozenset(
    struct.unpack(order + "I", magic)[0] for order in "<>" for magic in PCAP_MAGICS
)
"""The magics as a reader of either byte order sees them in place of a record's seconds."""

SNAPLEN_CEILING = 262_144
"""libpcap's MAXIMUM_SNAPLEN: what a record may hold when the header announces less, or nothing."""


def parse_pcap_header(head: bytes) -> FileHeader | str:
    """The 24 bytes at the start of a pcap file, or what is wrong with them."""
    if len(head) < PCAP_HEADER_BYTES:
        return f"cut inside the file header: {len(head)} of {PCAP_HEADER_BYTES} bytes"
    order, fraction_ns, record_header = PCAP_MAGICS[head[:4]]
    major, minor, _, _, snaplen, network = struct.unpack_from(order + "HHiIII", head, 4)
    if major != 2 or minor > 4:
        return f"pcap version {major}.{minor} is not read"
    # Before 2.3 the two lengths stood the other way round; writers of 2.3 disagree.
    swapped = "always" if minor < 3 else "maybe" if minor == 3 else "never"
    first, second = (12, 8) if swapped == "always" else (8, 12)
    # The upper bits of the link type field say how long the frame check sequence is (bit 26: the top 4 bits count).
    fcs = (network >> 28) * 2 if network & 0x0400_0000 else 0
    layout = RecordLayout(order, record_header, 0, 4, first, second, fraction_ns, swapped=swapped)
    return FileHeader(layout, network & 0xFFFF, snaplen, PCAP_HEADER_BYTES, fcs)


def is_no_record(head: bytes) -> bool:
    """Whether these 16 bytes, where a record must start, are zeros (a lost part) or the header of a joined file."""
    return not any(head) or (head[:4] in PCAP_MAGICS and not any(head[8:16]))


SNOOP_MAGIC = b"snoop\x00\x00\x00"
SNOOP_HEADER_BYTES = 16
SNOOP_LINK_TYPES = {
    0: 1, 1: 6, 2: 6, 4: 1, 8: 10, 10: 12, 16: 124, 18: 122, 26: 242, 27: 1,
}
"""LINKTYPE_ by snoop's datalink type (RFC 1761 section 3 and IANA's registry of snoop data link types)."""


def parse_snoop_header(head: bytes) -> FileHeader | str:
    """The 16 bytes at the start of a snoop file, or what is wrong with them (RFC 1761 section 2)."""
    if len(head) < SNOOP_HEADER_BYTES:
        return f"cut inside the file header: {len(head)} of {SNOOP_HEADER_BYTES} bytes"
    version, datalink = struct.unpack_from(">II", head, 8)
    if version != 2:
        return f"snoop version {version} is not read"
    if datalink not in SNOOP_LINK_TYPES:
        return f"snoop data link type {datalink} is not read"
    layout = RecordLayout(">", 24, 16, 20, 4, 0, 1000, record_bytes=8)
    return FileHeader(layout, SNOOP_LINK_TYPES[datalink], 0, SNOOP_HEADER_BYTES)


# ---- pcapng ----------------------------------------------------------------------------------------------------------

SECTION_HEADER = 0x0A0D0D0A
SECTION_HEADER_BYTES = b"\x0a\x0d\x0d\x0a"
"""The same in both byte orders."""
INTERFACE_DESCRIPTION = 1
PACKET_BLOCK = 2
"""Obsolete; some old writers still use it."""
SIMPLE_PACKET = 3
NAME_RESOLUTION = 4
INTERFACE_STATISTICS = 5
ENHANCED_PACKET = 6
JOURNAL_EXPORT = 9
DECRYPTION_SECRETS = 10
CUSTOM = 0x0BAD
CUSTOM_NO_COPY = 0x4000_0BAD
SYSDIG_EVENTS = (0x204, 0x216, 0x221)
SYSDIG_EVENTS_WITH_FLAGS = (0x208, 0x217)

PACKET_BLOCKS = (ENHANCED_PACKET, SIMPLE_PACKET, PACKET_BLOCK)
KNOWN_BLOCKS = (
    *PACKET_BLOCKS, INTERFACE_DESCRIPTION, NAME_RESOLUTION, INTERFACE_STATISTICS, JOURNAL_EXPORT, DECRYPTION_SECRETS,
    CUSTOM, CUSTOM_NO_COPY, *SYSDIG_EVENTS, *SYSDIG_EVENTS_WITH_FLAGS,
)
NUMBERED_BLOCKS = (CUSTOM, CUSTOM_NO_COPY, JOURNAL_EXPORT, *SYSDIG_EVENTS)
"""Blocks that hold no packet and yet take a frame number in Wireshark (tried with tshark 4.0)."""

BYTE_ORDER_MAGIC = 0x1A2B3C4D
SECTION_VERSIONS = ((1, 0), (1, 2))
"""1.2 was written by mistake by some tools and means the same (Wireshark takes both)."""
BLOCK_BYTES_MIN = 12
ENHANCED_PACKET_BYTES = 28
"""Bytes of an enhanced (and of an obsolete) packet block before the packet's."""
SIMPLE_PACKET_BYTES = 12

OPTION_END = 0
OPTION_COMMENT = 1
OPTION_IF_NAME = 2
OPTION_IF_TSRESOL = 9
OPTION_IF_TSOFFSET = 14


def parse_options(body: bytes, order: str) -> tuple[dict[int, bytes], bool]:
    """The options of a block by code (the first of each), and whether they ended properly.

    `body` starts at the first option and ends where the block's trailing length starts. An option that runs past the
    block ends the list: it and what follows are ignored.
    """
    options: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        if code == OPTION_END:
            return options, True
        if at + 4 + length > len(body):
            return options, False
        options.setdefault(code, body[at + 4 : at + 4 + length])
        at += 4 + (length + 3) // 4 * 4
    return options, at >= len(body)


class TimeUnit(msgspec.Struct, frozen=True):
    """How ticks become nanoseconds: seconds are ticks // a_second, the rest r gives r // before * times // after."""

    a_second: int
    before: int
    times: int
    after: int


def time_unit(resolution: int) -> TimeUnit | None:
    """if_tsresol (one byte) as factors that stay inside 64 bits; None for a resolution that no 64-bit clock has."""
    exponent = resolution & 0x7F
    if resolution & 0x80:
        if exponent > 63:
            return None
        coarse = max(0, exponent - 34)  # 2^34 times 10^9 is the largest product below 2^64
        return TimeUnit(1 << exponent, 1 << coarse, 1_000_000_000, 1 << (exponent - coarse))
    if exponent > 19:
        return None
    if exponent <= 9:
        return TimeUnit(10**exponent, 1, 10 ** (9 - exponent), 1)
    return TimeUnit(10**exponent, 10 ** (exponent - 9), 1, 1)


MICROSECONDS = TimeUnit(10**6, 1, 10**3, 1)
"""Where an interface says nothing."""
