"""The compiled decoding of plain packets gives what the columns give, and takes no other packet."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from helpers.encapsulations import CASES
from helpers.frames import batch_of, ethernet, extension, fragment6, ip4, ip6, tcp, udp, vlan
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids import kernels
from imapids.config import DecodeLimits
from imapids.decode import Decoder
from imapids.decode.columns import Rows
from imapids.decode.paths import Paths
from imapids.decode.plain import take_plain
from imapids.decode.segment_columns import SegmentColumns
from imapids.decode.tunnel_ports import TunnelPorts
from imapids.decode.work import Work
from imapids.protocols import encapsulations as tun
from imapids.records.packets import PacketBatch
from imapids.records.segments import SEGMENT_COLUMNS, DecodeAccount, EncapsulationTable

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")

PORTS = (53, 143, 4789, tun.TEREDO_PORT, tun.GTP_U_PORT, tun.L2TP_PORT, tun.CAPWAP_PORT, tun.GENEVE_PORT)


def tagged(inner: bytes, number: int, kind: int = 0x0800) -> bytes:
    return ethernet(vlan(number, kind) + inner, 0x8100)


def decoded(batches: list[PacketBatch], plain_ports: tuple[int, ...] = ()) -> tuple[object, ...]:
    """All that a decoder makes of some batches, as plain values."""
    table = EncapsulationTable()
    decoder = Decoder(DecodeLimits(encapsulations=6), table, plain_ports)
    columns, errors = [], []
    for batch in batches:
        result = decoder.feed(batch)
        columns.append([getattr(result.segments, name).tolist() for name in SEGMENT_COLUMNS])
        errors.append(result.icmp_errors)
    decoder.finish()
    return columns, errors, table.paths, table.join, decoder.account


def agree(batches: list[PacketBatch], plain_ports: tuple[int, ...] = ()) -> None:
    """With and without kernels the same comes out."""
    compiled = decoded(batches, plain_ports)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "COMPILED", False)
        assert compiled == decoded(batches, plain_ports)


def left(frames: list[bytes], *, framed: bool = True, known: tuple[int, ...] = (), slack: int = 64,
         originals: list[int] | None = None) -> list[int]:
    """Which of the frames the kernel does not take, with the paths of some VLANs known."""
    batch = batch_of([*frames, bytes(slack)])
    paths = Paths(EncapsulationTable(), 100)
    paths.vlan(np.zeros(len(known), np.int64), np.array(known, np.int64))
    count = len(batch)
    work = Work(batch, DecodeLimits(), paths, TunnelPorts(), DecodeAccount(), batch.buffer, 0, SegmentColumns(count),
                np.zeros(count, np.uint8), np.zeros(count, np.bool_))
    wire = batch.captured.copy()
    wire[:-1] = [len(frame) for frame in frames] if originals is None else originals
    rows = Rows(np.arange(count), batch.offset, batch.offset + batch.captured, batch.offset + wire,
                np.zeros(count, np.int64)).part(0, count - 1)
    rest = take_plain(work, rows, framed=framed)
    assert sorted([*rest.row.tolist(), *np.flatnonzero(work.segments.present).tolist()]) == list(range(count - 1))
    return rest.row.tolist()


@pytest.mark.parametrize("frame", [
    pytest.param(ethernet(ip4(tcp(b"a1 LOGIN"))), id="TCP over IPv4"),
    pytest.param(ethernet(ip4(tcp(options=b"\1" * 12))), id="TCP with options"),
    pytest.param(ethernet(ip4(tcp()) + bytes(6)), id="a padded frame"),
    pytest.param(ethernet(ip4(udp(b"x"), 17)), id="UDP over IPv4"),
    pytest.param(ethernet(ip6(tcp(b"x")), 0x86DD), id="TCP over IPv6"),
    pytest.param(ethernet(ip6(udp(b"x"), 17), 0x86DD), id="UDP over IPv6"),
    pytest.param(ethernet(ip4(udp(b"\0 no tunnel", 40000, 4789), 17)), id="a tunnel's port without its header"),
    pytest.param(tagged(ip4(tcp(b"x")), 7), id="one tag"),
    pytest.param(tagged(ip6(tcp(b"x")), 7, 0x86DD), id="one tag and IPv6"),
    pytest.param(tagged(ip4(tcp(b"x")), 0), id="a priority tag"),
])
def test_plain_packets_are_taken(frame: bytes) -> None:
    assert left([frame], known=(7,)) == []
    assert left([frame[14:]], framed=False) == ([] if frame[12:14] != b"\x81\x00" else [0])


@pytest.mark.parametrize("frame", [
    pytest.param(ethernet(ip4(tcp(), options=b"\1" * 4)), id="IPv4 options"),
    pytest.param(ethernet(ip4(tcp(), more=True)), id="a first fragment"),
    pytest.param(ethernet(ip4(tcp(), offset=8)), id="a later fragment"),
    pytest.param(ethernet(ip4(tcp(), total=0)), id="IPv4 without a length"),
    pytest.param(ethernet(ip4(tcp(), total=19)), id="IPv4 shorter than its header"),
    pytest.param(ethernet(ip4(tcp(), total=41)), id="IPv4 longer than the frame"),
    pytest.param(ethernet(ip4(tcp()[:19])), id="TCP cut"),
    pytest.param(ethernet(ip4(tcp()[:12] + b"\x40" + tcp()[13:])), id="TCP with a header of 16 bytes"),
    pytest.param(ethernet(ip4(tcp()[:12] + b"\x60" + tcp()[13:])), id="TCP with a header past the packet"),
    pytest.param(ethernet(ip4(udp(length=7), 17)), id="UDP shorter than its header"),
    pytest.param(ethernet(ip4(udp(length=0), 17)), id="UDP without a length"),
    pytest.param(ethernet(ip4(udp(length=9), 17)), id="UDP longer than IP"),
    pytest.param(ethernet(ip4(udp()[:7], 17)), id="UDP cut"),
    pytest.param(ethernet(ip4(bytes(20), 1)), id="ICMP"),
    pytest.param(ethernet(ip6(extension(6) + tcp(), 0), 0x86DD), id="IPv6 options"),
    pytest.param(ethernet(ip6(fragment6(6, 0, True) + tcp(), 44), 0x86DD), id="an IPv6 fragment"),
    pytest.param(ethernet(ip6(tcp(), length=0), 0x86DD), id="IPv6 without a length"),
    pytest.param(ethernet(ip4(udp(b"\x08\0\0\0\0\0\7\0" + bytes(40), 40000, 4789), 17)), id="maybe VXLAN"),
    pytest.param(ethernet(ip4(udp(b"\0\1", 40000, tun.L2TP_PORT)[:-2] + b"\0\2\0\0\0\0", 17)), id="maybe L2TP"),
    pytest.param(ethernet(ip4(udp(ip6(bytes(8), 59)), 17)), id="maybe Teredo between peers"),
    pytest.param(ethernet(ip4(tcp()), 0x0806), id="ARP"),
    pytest.param(ethernet(ip4(tcp()), 40), id="an 802.3 frame"),
    pytest.param(ethernet(b"\x55" + ip4(tcp())[1:]), id="IP of version 5"),
    pytest.param(tagged(ip4(tcp()), 8), id="a VLAN that was not seen before"),
    pytest.param(tagged(vlan(7) + ip4(tcp()), 7, 0x8100), id="two tags"),
    pytest.param(ethernet(vlan(7) + ip4(tcp()), 0x88A8), id="a provider's tag"),
    pytest.param(ethernet(b"")[:13], id="cut inside the Ethernet header"),
    pytest.param(tagged(b"", 7)[:17], id="cut inside the tag"),
    pytest.param(b"", id="nothing"),
])
def test_all_other_packets_are_left(frame: bytes) -> None:
    assert left([frame], known=(7,)) == [0]
    agree([batch_of([frame, ethernet(ip4(tcp())), frame])])


def test_a_packet_at_the_end_of_the_buffer_is_left() -> None:
    frame = ethernet(ip4(udp(b"123456"), 17))  # 16 bytes behind the IP header are looked at
    assert left([frame, frame], slack=0) == [1]
    agree([batch_of([frame, frame])])


def test_a_vlan_is_left_once_and_then_known() -> None:
    frames = [tagged(ip4(tcp()), number % 40) for number in range(90)]
    agree([batch_of(frames), batch_of(frames[::-1]), batch_of(frames[:3])])


def test_offsets_and_rows_outside_the_columns_are_not_followed() -> None:
    frame = ethernet(ip4(tcp()))
    data = np.frombuffer(frame + bytes(64), np.uint8)
    columns, rest = SegmentColumns(1), np.empty(5, np.int64)
    at = np.array([-1, 0, 0, len(data), 1 << 40])
    paths = Paths(EncapsulationTable(), 10)
    count = kernels.compiled.take_plain(
        data, np.array([0, 1, -1, 0, 0]), at, at + len(frame), at + len(frame), np.zeros(5, np.int64), True,
        paths.outermost, *TunnelPorts().tables, columns.present.view(np.uint8), columns.columns, 0, rest)
    assert rest[:count].tolist() == [0, 3, 4]
    assert not columns.present.any()


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """Frames that are nearly plain: one thing or another may be odd."""
    payload = draw(st.binary(max_size=60))
    protocol = draw(st.sampled_from([6, 6, 17, 17, 1, 47, 0, 44]))
    ports = draw(st.sampled_from(PORTS)), draw(st.sampled_from(PORTS))
    if protocol == 17:
        size = draw(st.sampled_from([None, None, None, 0, 7, 8, 9, 65_535]))
        if draw(st.booleans()):
            payload = ip6(payload[:8], draw(st.sampled_from([59, 17, 6])))
        inner = udp(payload, *ports, length=size)
    else:
        inner = tcp(payload, *ports, options=draw(st.sampled_from([b"", b"\1\1\1\0"])))
        inner = inner[:12] + bytes([draw(st.sampled_from([inner[12], inner[12], 0x40, 0xF0]))]) + inner[13:]
    inner = inner[: draw(st.sampled_from([len(inner), len(inner), 19, 8, 7]))]
    if draw(st.booleans()):
        packet = ip4(inner, protocol, options=draw(st.sampled_from([b"", b"", b"\1" * 4])),
                     offset=draw(st.sampled_from([0, 0, 8])), total=draw(st.sampled_from([None, None, 0, 19, 21, 999])))
        kind = 0x0800
    else:
        packet = ip6(inner, protocol, length=draw(st.sampled_from([None, None, 0, 7, 999])))
        kind = draw(st.sampled_from([0x86DD, 0x86DD, 0x0800]))
    match draw(st.integers(0, 5)):
        case 0:
            return tagged(packet, draw(st.integers(0, 9)) | draw(st.sampled_from([0, 0xE000])), kind)
        case 1:
            return tagged(vlan(draw(st.integers(0, 3)), kind) + packet, draw(st.integers(0, 3)), 0x8100)
        case 2:
            return draw(st.sampled_from([case.values[1] for case in CASES if case.values[0] == 1]))
    return ethernet(packet, kind) + bytes(draw(st.sampled_from([0, 0, 4])))


@settings(max_examples=80, deadline=None)
@given(content=st.lists(st.lists(st.tuples(packets(), st.none() | st.integers(0, 90), st.integers(0, 3)), min_size=1,
                                 max_size=12), min_size=1, max_size=3),
       link_type=st.sampled_from([1, 1, 1, 12, 101, 113, 276]), watched=st.sampled_from([(), (143, 4789)]))
def test_whatever_comes_is_decoded_the_same(
    content: list[list[tuple[bytes, int | None, int]]], link_type: int, watched: tuple[int, ...],
) -> None:
    lead = {1: b"", 113: bytes(14), 276: b""}.get(link_type)
    batches = []
    for part in content:
        frames = [frame if link_type == 1 else frame[14:] if lead is None else
                  bytes(14) + frame[12:] if link_type == 113 else frame[12:14] + bytes(18) + frame[14:]
                  for frame, _, _ in part]
        cut = [frame[:end] for frame, (_, end, _) in zip(frames, part, strict=True)]
        sizes = [max(len(frame), len(short)) + more
                 for frame, short, (_, _, more) in zip(frames, cut, part, strict=True)]
        batches.append(batch_of(cut, link_type, originals=sizes))
    agree(batches, watched)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([case.values[:2] for case in CASES]), st.integers(0, 200),
                          st.integers(0, 255)), min_size=1, max_size=12))
def test_tunnels_with_a_changed_byte_are_decoded_the_same(cases: list[tuple[tuple[int, bytes], int, int]]) -> None:
    kinds, frames = [], []
    for (kind, frame), at, value in cases:
        kinds.append(kind)
        frames.append(frame[: at % len(frame)] + struct.pack("B", value) + frame[at % len(frame) + 1 :])
    agree([batch_of(frames, kinds), batch_of(frames[::-1], kinds[::-1])])
