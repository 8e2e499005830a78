"""Turns columns about packets into the bytes of a classic pcap file, without a loop over packets.

A capture is made of *scripts* (who sends what, once) that many *flows* play. `Book` holds the scripts as columns;
`write_pcap` joins them with the flows' addresses, ports, sequence numbers and times, thousands of packets at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

Columns = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

CLIENT, SERVER = 0, 1
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
TCP, UDP = 6, 17

PCAP_HEADER = np.array([0xA1B2C3D4, 0x0004_0002, 0, 0, 262_144, 1], dtype="<u4").tobytes()
CHUNK_PACKETS = 65_536
MACS = np.array([[0x02, 0, 0, 0, 0, 0x0A, 0x02, 0, 0, 0, 0, 0x0B],
                 [0x02, 0, 0, 0, 0, 0x0B, 0x02, 0, 0, 0, 0, 0x0A]], dtype=np.uint8)
"""Destination and source: every frame crosses the same two routers, as on a tapped uplink."""

RECORD = [("sec", "<u4"), ("usec", "<u4"), ("captured", "<u4"), ("original", "<u4"), ("macs", "u1", 12)]
VLAN = [("tpid", ">u2"), ("tci", ">u2")]
IPV4 = [("ethertype", ">u2"), ("version", ">u2"), ("total", ">u2"), ("id", ">u2"), ("fragment", ">u2"),
        ("ttl", "u1"), ("protocol", "u1"), ("ip_checksum", ">u2"), ("src", ">u4"), ("dst", ">u4")]
IPV6 = [("ethertype", ">u2"), ("version", ">u4"), ("total", ">u2"), ("protocol", "u1"), ("ttl", "u1"),
        ("src_hi", ">u8"), ("src", ">u8"), ("dst_hi", ">u8"), ("dst", ">u8")]
PORTS = [("src_port", ">u2"), ("dst_port", ">u2")]
TCP_HEADER = [("seq", ">u4"), ("ack", ">u4"), ("offset", "u1"), ("flags", "u1"), ("window", ">u2"),
              ("checksum", ">u2"), ("urgent", ">u2")]
UDP_HEADER = [("udp_length", ">u2"), ("checksum", ">u2")]
SYN_OPTIONS = [("mss", ">u4"), ("sack", ">u2"), ("scale_pad", ">u2"), ("scale", ">u4")]
TIMESTAMP = [("ts_head", ">u4"), ("tsval", ">u4"), ("tsecr", ">u4")]
IPV6_HI = 0x2001_0DB8_0000_0000
"""Documentation prefix (RFC 3849)."""


@dataclass
class Book:
    """Scripts of conversations as columns: one row a packet, the payload bytes of all in one buffer."""

    side: list[int] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)
    seq: list[int] = field(default_factory=list)
    ack: list[int] = field(default_factory=list)
    start: list[int] = field(default_factory=list)
    """Where the packet's payload begins in `payload`; always even, so that checksums are sums of words."""
    length: list[int] = field(default_factory=list)
    gap_us: list[int] = field(default_factory=list)
    """Time since the packet before it."""
    payload: bytearray = field(default_factory=bytearray)
    first_row: list[int] = field(default_factory=list)
    """Row of the first packet of each script."""
    protocol: list[int] = field(default_factory=list)

    def open_script(self, protocol: int) -> int:
        """Begin a script; its number."""
        self.first_row.append(len(self.side))
        self.protocol.append(protocol)
        return len(self.first_row) - 1

    def add(self, side: int, flags: int, seq: int, ack: int, data: bytes, gap_us: int) -> None:
        """Append one packet to the script that was begun last."""
        self.side.append(side)
        self.flags.append(flags)
        self.seq.append(seq & 0xFFFF_FFFF)
        self.ack.append(ack & 0xFFFF_FFFF)
        self.start.append(len(self.payload))
        self.length.append(len(data))
        self.gap_us.append(gap_us)
        self.payload += data
        if len(data) & 1:
            self.payload.append(0)

    def freeze(self) -> Scripts:
        """The book as arrays."""
        payload = np.frombuffer(bytes(self.payload) or b"\0\0", dtype=np.uint8)
        start, length = np.array(self.start), np.array(self.length)
        sums = np.zeros(len(payload) // 2 + 1, dtype=np.int64)
        np.cumsum(payload.view(">u2"), out=sums[1:])
        rows = np.array([*self.first_row, len(self.side)])
        gaps = np.array(self.gap_us)
        before = np.cumsum(gaps)
        script_of_row = np.repeat(np.arange(len(self.first_row)), np.diff(rows))
        elapsed = before - (before - gaps)[rows[:-1]][script_of_row]
        return Scripts(
            side=np.array(self.side), flags=np.array(self.flags), seq=np.array(self.seq), ack=np.array(self.ack),
            start=start, length=length, elapsed_us=elapsed, payload=payload,
            payload_sum=sums[(start + length + 1) // 2] - sums[start // 2],
            first_row=rows[:-1], packets=np.diff(rows), protocol=np.array(self.protocol),
        )


@dataclass
class Scripts:
    """A frozen `Book`. Columns of shape (rows,) but the last three, of shape (scripts,)."""

    side: Columns
    flags: Columns
    seq: Columns
    """Relative to the side's initial sequence number."""
    ack: Columns
    start: Columns
    length: Columns
    elapsed_us: Columns
    """Time since the first packet of the script."""
    payload: U8
    payload_sum: Columns
    """Sum of the payload's 16-bit words, for the checksum."""
    first_row: Columns
    packets: Columns
    protocol: Columns


@dataclass
class Flows:
    """Who plays which script, when: columns of shape (flows,)."""

    script: Columns
    client: Columns
    """IPv4 address, or the low 64 bits of an IPv6 one."""
    server: Columns
    client_port: Columns
    server_port: Columns
    isn_client: Columns
    isn_server: Columns
    start_us: Columns
    """Since 1970; may lie before the capture's start: such a flow is seen from its middle."""
    slowness: npt.NDArray[np.float64]
    """Factor on the script's gaps: no two flows tick alike."""
    vlan: Columns
    """0: untagged."""
    ipv6: npt.NDArray[np.bool_]
    timestamps: npt.NDArray[np.bool_]
    """TCP timestamps option in every segment (RFC 7323)."""


def fold(total: Columns) -> Columns:
    """Internet checksum (RFC 1071) of a sum of 16-bit words."""
    for _ in range(3):
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def words(value: Columns) -> Columns:
    """Sum of the four 16-bit words of a number."""
    return (value & 0xFFFF) + (value >> 16 & 0xFFFF) + (value >> 32 & 0xFFFF) + (value >> 48 & 0xFFFF)


def write_pcap(path: Path, scripts: Scripts, flows: Flows, order: PacketOrder) -> int:
    """Write the packets in the given order; bytes written."""
    written = len(PCAP_HEADER)
    with path.open("wb") as out:
        out.write(PCAP_HEADER)
        for begin in range(0, len(order.flow), CHUNK_PACKETS):
            chunk = _render(scripts, flows, order.cut(begin, begin + CHUNK_PACKETS), begin)
            out.write(chunk.data)
            written += len(chunk)
    return written


@dataclass
class PacketOrder:
    """The packets of a capture in its order: columns of shape (packets,)."""

    flow: Columns
    row: Columns
    time_us: Columns
    sent_us: Columns
    """When the host sent it: a packet that was overtaken on the way arrives later."""

    def cut(self, begin: int, end: int) -> PacketOrder:
        """Some of the packets."""
        return PacketOrder(*(column[begin:end] for column in (self.flow, self.row, self.time_us, self.sent_us)))


def _render(scripts: Scripts, flows: Flows, order: PacketOrder, first_number: int) -> U8:
    """Bytes of the records of some packets."""
    row, flow = order.row, order.flow
    tcp = scripts.protocol[flows.script[flow]] == TCP
    syn = tcp & ((scripts.flags[row] & SYN) != 0)
    stamps = tcp & flows.timestamps[flow] & ((scripts.flags[row] & RST) == 0)
    tagged, ipv6 = flows.vlan[flow] > 0, flows.ipv6[flow]
    transport = np.where(tcp, 20 + 12 * syn + 12 * stamps, 8)
    header = 16 + 14 + 4 * tagged + np.where(ipv6, 40, 20) + transport
    size = header + scripts.length[row]
    place = np.cumsum(size) - size
    out = np.empty(int(size.sum()), dtype=np.uint8)
    _copy_payloads(out, place + header, scripts, row)
    kind = tcp * 1 + syn * 2 + stamps * 4 + tagged * 8 + ipv6 * 16
    for value in np.unique(kind):
        pick = np.flatnonzero(kind == value)
        _render_headers(out, place[pick], scripts, flows, order, pick, first_number, transport[pick], int(value))
    return out


def _copy_payloads(out: U8, place: Columns, scripts: Scripts, row: Columns) -> None:
    length = scripts.length[row]
    ends = np.cumsum(length)
    if not len(ends) or not ends[-1]:
        return
    step = np.arange(int(ends[-1]))
    before = ends - length
    read = np.repeat(scripts.start[row] - before, length) + step
    out[np.repeat(place - before, length) + step] = scripts.payload[read]


def _render_headers(out: U8, place: Columns, scripts: Scripts, flows: Flows, order: PacketOrder, pick: Columns,
                    first_number: int, transport: Columns, kind: int) -> None:
    """Headers of the packets that share a layout."""
    tcp, syn, stamps, tagged, ipv6 = (bool(kind >> bit & 1) for bit in range(5))
    layout = [*RECORD, *(VLAN if tagged else []), *(IPV6 if ipv6 else IPV4), *PORTS,
              *(TCP_HEADER if tcp else UDP_HEADER), *(SYN_OPTIONS if syn else []), *(TIMESTAMP if stamps else [])]
    head = np.zeros(len(pick), dtype=layout)
    row, flow, time_us = order.row[pick], order.flow[pick], order.time_us[pick]
    side, length = scripts.side[row], scripts.length[row]
    from_client = side == CLIENT
    protocol = TCP if tcp else UDP
    below_ip = transport + length

    head["sec"], head["usec"] = time_us // 1_000_000, time_us % 1_000_000
    head["captured"] = head["original"] = head.dtype.itemsize - 16 + length
    head["macs"] = MACS[side]
    if tagged:
        head["tpid"], head["tci"] = 0x8100, flows.vlan[flow]
    src = np.where(from_client, flows.client[flow], flows.server[flow])
    dst = np.where(from_client, flows.server[flow], flows.client[flow])
    head["src"], head["dst"], head["protocol"] = src, dst, protocol
    head["ttl"] = np.where(from_client, 63, 57)
    pseudo = words(src) + words(dst) + protocol + below_ip
    if ipv6:
        head["ethertype"], head["version"], head["total"] = 0x86DD, 0x6000_0000, below_ip
        head["src_hi"] = head["dst_hi"] = IPV6_HI
        pseudo = pseudo + 2 * (0x2001 + 0x0DB8)
    else:
        number = (first_number + pick) & 0xFFFF
        head["ethertype"], head["version"], head["total"] = 0x0800, 0x4500, below_ip + 20
        head["id"], head["fragment"] = number, 0x4000
        head["ip_checksum"] = fold(0x4500 + below_ip + 20 + number + 0x4000 + (head["ttl"].astype(np.int64) << 8)
                                   + protocol + words(src) + words(dst))
    src_port = np.where(from_client, flows.client_port[flow], flows.server_port[flow])
    dst_port = np.where(from_client, flows.server_port[flow], flows.client_port[flow])
    head["src_port"], head["dst_port"] = src_port, dst_port
    total = pseudo + src_port + dst_port + scripts.payload_sum[row]
    if tcp:
        total = total + _fill_tcp(head, scripts, flows, row, flow, order.sent_us[pick], transport, syn, stamps)
        head["checksum"] = fold(total)
    else:
        head["udp_length"] = below_ip
        checksum = fold(total + below_ip)
        head["checksum"] = np.where(checksum == 0, 0xFFFF, checksum)  # RFC 768: zero says that there is none
    matrix = head.view(np.uint8).reshape(len(pick), head.dtype.itemsize)
    out[place[:, None] + np.arange(head.dtype.itemsize)] = matrix


def _fill_tcp(head: npt.NDArray[np.void], scripts: Scripts, flows: Flows, row: Columns, flow: Columns,
              sent_us: Columns, transport: Columns, syn: bool, stamps: bool) -> Columns:
    """Fill the TCP header after the ports; the sum of its 16-bit words."""
    from_client = scripts.side[row] == CLIENT
    own = np.where(from_client, flows.isn_client[flow], flows.isn_server[flow])
    peer = np.where(from_client, flows.isn_server[flow], flows.isn_client[flow])
    flags = scripts.flags[row]
    seq = (own + scripts.seq[row]) & 0xFFFF_FFFF
    ack = np.where(flags & ACK, (peer + scripts.ack[row]) & 0xFFFF_FFFF, 0)
    window = np.where(flags & SYN, 64_240, 502)
    head["seq"], head["ack"], head["window"], head["flags"] = seq, ack, window, flags
    head["offset"] = transport // 4 << 4
    total = words(seq) + words(ack) + (transport // 4 << 12) + flags + window
    if syn:
        # MSS 1460; SACK permitted; two no-operations; scale 7 with one no-operation before it (RFC 7323)
        head["mss"], head["sack"], head["scale_pad"], head["scale"] = 0x020405B4, 0x0402, 0x0101, 0x01030307
        total = total + 0x0204 + 0x05B4 + 0x0402 + 0x0101 + 0x0103 + 0x0307
    if stamps:
        tick = sent_us // 1_000
        own_clock = (own * 7 + tick) & 0xFFFF_FFFF
        peer_clock = np.where(flags & ACK, (peer * 7 + tick - 20) & 0xFFFF_FFFF, 0)
        head["ts_head"], head["tsval"], head["tsecr"] = 0x0101080A, own_clock, peer_clock
        total = total + 0x0101 + 0x080A + words(own_clock) + words(peer_clock)
    return total
