"""Blocks of a packet ring as columns, from blocks built by hand as the kernel builds them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import pytest
from helpers.frames import MACS, ethernet, ip4, tcp, vlan
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.capture.ring_blocks import frames_of

BLOCK = 1 << 16
MAC_OFFSET = 100
"""Of frames: behind header and address, with room for a tag."""


@dataclass
class Packet:
    data: bytes
    original: int = 0
    time_ns: int = 1_700_000_000_123_456_789
    status: int = 1
    tci: int = 0
    tpid: int = 0
    kind: int = 0

    def encoded(self) -> bytes:
        size = (MAC_OFFSET + len(self.data) + 7) // 8 * 8
        seconds, fraction = divmod(self.time_ns, 10**9)
        header = struct.pack("6I2H3IH14x", size, seconds, fraction, len(self.data), self.original or len(self.data),
                             self.status, MAC_OFFSET, MAC_OFFSET + 14, 0, self.tci, self.tpid, 0)[:48]
        assert len(header) == 48
        address = struct.pack("HHiHBB8s", 17, 0, 3, 1, self.kind, 6, b"")
        return (header + address).ljust(MAC_OFFSET, b"\xcc") + self.data.ljust(size - MAC_OFFSET, b"\xdd")


def ring_of(blocks: list[list[Packet]]) -> np.ndarray:
    parts = []
    for packets in blocks:
        body = b"".join(packet.encoded() for packet in packets)
        header = struct.pack("7I", 3, 0, 1, len(packets), 48, 48 + len(body), 0)
        parts.append((header.ljust(48, b"\0") + body).ljust(BLOCK, b"\xaa"))
    return np.frombuffer(bytearray(b"".join(parts)), np.uint8)


def read(blocks: list[list[Packet]], *, ethernet_header: bool = True, which: list[int] | None = None) -> list[tuple]:
    ring = ring_of(blocks)
    chosen = np.array(range(len(blocks)) if which is None else which, np.int64)
    frames = frames_of(ring, chosen, BLOCK, ethernet=ethernet_header)
    columns = (frames.offset, frames.captured, frames.original, frames.time_ns, frames.outgoing)
    return [(ring[at : at + size].tobytes(), *rest)
            for at, size, *rest in zip(*(column.tolist() for column in columns), strict=True)]


packets = st.builds(
    Packet, data=st.binary(min_size=0, max_size=200), time_ns=st.integers(0, 4 * 10**18), kind=st.integers(0, 7))


@given(st.lists(st.lists(packets, max_size=40), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_every_packet_comes_out_in_the_order_of_the_blocks(blocks: list[list[Packet]]) -> None:
    wanted = [(p.data, len(p.data), p.time_ns, p.kind == 4) for block in blocks for p in block]
    assert read(blocks) == wanted


def test_only_the_blocks_that_are_named_are_read_and_in_that_order() -> None:
    blocks = [[Packet(b"a" * 60)], [Packet(b"b" * 60)], [Packet(b"c" * 60)]]
    assert [row[0][:1] for row in read(blocks, which=[2, 0])] == [b"c", b"a"]


def test_blocks_without_packets_give_none() -> None:
    assert read([[], [], []]) == []


def test_a_packet_that_the_ring_cut_keeps_its_length_on_the_wire() -> None:
    assert read([[Packet(b"x" * 50, original=9_000)]])[0][1] == 9_000


PLAIN = ethernet(ip4(tcp()))


@pytest.mark.parametrize(("status", "tpid", "wanted"), [
    pytest.param(0x11, 0, 0x8100, id="the kernel does not say the type: 802.1Q"),
    pytest.param(0x51, 0x88A8, 0x88A8, id="the kernel says the type: 802.1ad"),
])
def test_a_tag_that_the_kernel_took_off_is_put_back(status: int, tpid: int, wanted: int) -> None:
    (row,) = read([[Packet(PLAIN, status=status, tci=0x2005, tpid=tpid)]])
    assert row[0] == MACS + struct.pack(">HH", wanted, 0x2005) + PLAIN[12:]
    assert row[1] == len(PLAIN) + 4


def test_tagged_and_plain_packets_stand_side_by_side() -> None:
    seven, nine = Packet(PLAIN, status=0x11, tci=7), Packet(PLAIN, status=0x11, tci=9)
    rows = read([[Packet(PLAIN), seven, Packet(PLAIN)], [nine]])
    tagged = [ethernet(vlan(number) + ip4(tcp()), 0x8100) for number in (7, 9)]
    assert [row[0] for row in rows] == [PLAIN, tagged[0], PLAIN, tagged[1]]


@pytest.mark.parametrize(("data", "is_ethernet"), [
    pytest.param(b"x" * 11, True, id="a frame too short for addresses"),
    pytest.param(PLAIN[14:], False, id="a link without Ethernet headers"),
])
def test_a_tag_without_a_place_is_left_out(data: bytes, is_ethernet: bool) -> None:
    (row,) = read([[Packet(data, status=0x11, tci=7)]], ethernet_header=is_ethernet)
    assert row[0] == data
