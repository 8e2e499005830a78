"""decode -> flows: the TCP and UDP packets of a batch as columns."""

from __future__ import annotations

import msgspec
import numpy as np

from imapids.records.packets import I64, U8, U16, U32, U64, Bool, CaptureSource

TCP, UDP = 6, 17
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32

V4_PREFIX = np.uint64(0x0000_FFFF_0000_0000)
"""Low half of an IPv4 address as an IPv4-mapped IPv6 one (RFC 4291 section 2.5.5.2); its high half is 0."""


class SegmentBatch(msgspec.Struct, eq=False):
    """The TCP segments and UDP datagrams of a packet batch. All columns have shape (n,), in capture order.

    Addresses are 128 bits in two columns; IPv4 stands as IPv4-mapped (`V4_PREFIX`).
    """

    source: CaptureSource
    buffer: U8
    """The packet batch's bytes; where datagrams were rebuilt from fragments, theirs stand behind."""
    number: I64
    """Frame number (of the frame that completed a fragmented datagram)."""
    time_ns: I64
    protocol: U8
    """6 TCP, 17 UDP."""
    src_hi: U64
    src_lo: U64
    dst_hi: U64
    dst_lo: U64
    src_port: U16
    dst_port: U16
    tunnel: U32
    """Index into `EncapsulationTable.paths`: VLANs and tunnels around the packet; 0 = none."""
    payload: I64
    """Offset of the payload in `buffer`."""
    captured: I64
    """Payload bytes in the buffer."""
    length: I64
    """Payload bytes on the wire: more than `captured` where the snaplen cut."""
    seq: U32
    """TCP; 0 for UDP."""
    ack: U32
    flags: U8
    """FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32."""
    window: U16
    ttl: U8
    ip_offset: I64
    """Offset of the innermost IP header in `buffer`, for checksums where something is odd."""
    transport_offset: I64
    """Offset of the TCP or UDP header in `buffer`."""
    fragmented: Bool
    """The datagram was rebuilt from fragments."""
    interface: U16 | None = None
    """Index into `source.interfaces`; None where all packets of the batch have the index 0."""

    def __len__(self) -> int:
        return len(self.number)

    def select(self, keep: Bool | I64) -> SegmentBatch:
        """The segments that a mask or an index column picks, over the same buffer."""
        picked = SegmentBatch(
            self.source, self.buffer,
            *(getattr(self, name)[keep] for name in SEGMENT_COLUMNS),
        )
        picked.interface = None if self.interface is None else self.interface[keep]
        return picked

    def interface_name(self, index: int) -> str:
        """The name of the interface that saw a segment, "" where the capture does not tell it.

        The name is the capture's: safe text (capture/interfaces.py), of at most 64 characters.
        """
        names = self.source.interfaces
        number = 0 if self.interface is None else int(self.interface[index])
        return names[number] if number < len(names) else ""


SEGMENT_COLUMNS = tuple(name for name in SegmentBatch.__struct_fields__[2:] if name != "interface")
"""Names of the columns that are always there, in the order of the constructor."""


class Encapsulation(msgspec.Struct, frozen=True):
    """What stood around an IP packet: it is part of the flow's identity."""

    vlan: tuple[int, ...] = ()
    """VLAN ids, outermost first (of all layers)."""
    tunnels: tuple[str, ...] = ()
    """Tunnels, outermost first: `gre`, `vxlan:5001`, `gtp-u`, `mpls`, `pppoe:3`, ... An id stands here only
    where both directions of a conversation carry the same one (decode/paths.py)."""


class EncapsulationTable(msgspec.Struct):
    """Interned encapsulations of a run: the flow key carries a number, events show the path."""

    paths: list[Encapsulation] = msgspec.field(default_factory=lambda: [Encapsulation()])
    index: dict[Encapsulation, int] = msgspec.field(default_factory=lambda: {Encapsulation(): 0})
    join: list[int] = msgspec.field(default_factory=lambda: [0])
    """For each path, the path without its VLAN ids: the two directions of a flow may be tagged
    with different VLANs, so flows are joined under this number (see flows/table.py)."""

    def intern(self, path: Encapsulation) -> int:
        """The number of a path, a new one if it was never seen."""
        number = self.index.get(path)
        if number is None:
            bare = self.intern(Encapsulation((), path.tunnels)) if path.vlan else len(self.paths)
            number = len(self.paths)
            self.index[path] = number
            self.paths.append(path)
            self.join.append(bare)
        return number


class IcmpError(msgspec.Struct):
    """An ICMP or ICMPv6 error about a TCP or UDP packet: a filtered or closed port (RFC 792, RFC 4443)."""

    time_ns: int
    number: int
    reporter: bytes
    """Packed 16-byte address of the host that sent the error."""
    kind: str
    """port-unreachable, host-unreachable, admin-prohibited, ..., time-exceeded."""
    protocol: int
    src: bytes
    """Packed 16-byte address of the packet that the error is about."""
    src_port: int
    dst: bytes
    dst_port: int
    tunnel: int = 0
    """Index into `EncapsulationTable.paths`, as in the segments of the flow that it is about."""


class DecodeAccount(msgspec.Struct):
    """What became of the packets of a run in decode: processed + the sum of skipped == packets."""

    packets: int = 0
    segments: int = 0
    """TCP segments and UDP datagrams handed on (a rebuilt datagram counts once)."""
    skipped: dict[str, int] = {}
    """Packets that gave no segment, by reason: arp, icmp, fragment-held, unknown-link-type:147, cut-header, ...
    (docs/reference/packet-account.md). `fragment-held` is what waits for the rest now: it may become less."""
    notes: dict[str, int] = {}
    """Oddities that lost nothing: presumed-offload, ..."""


class Decoded(msgspec.Struct, eq=False):
    """What decode makes of one packet batch."""

    segments: SegmentBatch
    icmp_errors: list[IcmpError] = []
