"""Captures of every kind give the packets that were written into them."""

from __future__ import annotations

import bz2
import gzip
import struct
from pathlib import Path

import pytest
from helpers.captures import (
    START_S,
    Packet,
    block,
    enhanced,
    interface,
    obsolete,
    option,
    packets,
    pcap,
    pcap_header,
    pcap_record,
    pcapng,
    read,
    same,
    section,
    simple,
    snoop,
)

from imapids.errors import InputError, UnsupportedInput

TEN = packets(10)
OTHER_BLOCKS = (4, 5, 10, 11, 77, 4, 5, 99, 7, 8)


def stored(tmp_path: Path, data: bytes, name: str = "a.cap") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(pcap(TEN), id="pcap, little-endian"),
        pytest.param(pcap(TEN, ">"), id="pcap, big-endian"),
        pytest.param(pcap(TEN, nano=True), id="pcap, nanoseconds"),
        pytest.param(pcap(TEN, ">", nano=True), id="pcap, nanoseconds, big-endian"),
        pytest.param(pcap(TEN, modified=True), id="pcap with Kuznetzov's record header"),
        pytest.param(pcap(TEN, ">", modified=True), id="pcap with Kuznetzov's record header, big-endian"),
        pytest.param(pcap(TEN, snaplen=0), id="pcap without a snaplen"),
        pytest.param(pcap_header(version=(2, 2)) + b"".join(
            pcap_record(Packet(p.data, p.time_ns, 90), swapped=True) for p in TEN), id="pcap 2.2: lengths swapped"),
        pytest.param(pcap_header(version=(2, 3)) + b"".join(
            pcap_record(Packet(p.data, p.time_ns, 90), swapped=i % 2 == 0) for i, p in enumerate(TEN)),
            id="pcap 2.3: lengths in either order"),
        pytest.param(snoop(TEN), id="snoop"),
        pytest.param(pcapng(TEN), id="pcapng, little-endian"),
        pytest.param(pcap(TEN[:5]) + pcap(TEN[5:]), id="pcap files joined"),
        pytest.param(pcap(TEN[:5]) + pcap(TEN[5:], ">", nano=True), id="pcap files of different kinds joined"),
        pytest.param(pcapng(TEN, ">"), id="pcapng, big-endian"),
        pytest.param(pcapng(TEN[:5]) + pcapng(TEN[5:], ">"), id="pcapng, sections of both byte orders"),
        pytest.param(section() + interface() + b"".join(map(obsolete, TEN)), id="pcapng, obsolete packet blocks"),
        pytest.param(section(">") + interface(">") + b"".join(obsolete(p, ">") for p in TEN),
                     id="pcapng, obsolete packet blocks, big-endian"),
        pytest.param(section() + interface(tsresol=9) + b"".join(enhanced(p, per_second=10**9) for p in TEN),
                     id="pcapng, nanoseconds"),
        pytest.param(section() + interface(tsresol=10) + b"".join(enhanced(p, per_second=10**10) for p in TEN),
                     id="pcapng, tenths of nanoseconds"),
        pytest.param(section() + interface(tsresol=0x80 | 30) + b"".join(
            enhanced(Packet(p.data, p.time_ns + 1), per_second=1 << 30) for p in TEN), id="pcapng, power of two"),
        pytest.param(section() + interface(tsoffset=1_000_000) + b"".join(
            enhanced(Packet(p.data, p.time_ns - 10**15)) for p in TEN), id="pcapng, time offset"),
        pytest.param(section() + interface() + b"".join(
            block(kind, b"x" * 20) + enhanced(p) for kind, p in zip(OTHER_BLOCKS, TEN, strict=True)
        ), id="pcapng, other blocks between"),
        pytest.param(section() + interface() + b"".join(enhanced(p, options=option(1, b"\xff\x1b[31m")) for p in TEN),
                     id="pcapng, hostile comments"),
    ],
)
def test_written_packets_come_back(tmp_path: Path, data: bytes) -> None:
    result = read(stored(tmp_path, data))
    assert same(result, TEN)
    assert result.numbers == list(range(1, 11))
    assert set(result.link_types) == {1}
    assert result.account.status == "ok"
    assert not result.account.damage
    assert result.account.bytes_read == len(data)


def zstd(data: bytes) -> bytes:
    module = pytest.importorskip("backports.zstd")
    return bytes(module.compress(data))


def lz4(data: bytes) -> bytes:
    module = pytest.importorskip("lz4.frame")
    return bytes(module.compress(data))


@pytest.mark.parametrize("pack", [
    pytest.param(gzip.compress, id="gzip"),
    pytest.param(lambda b: gzip.compress(b[:100]) + gzip.compress(b"") + gzip.compress(b[100:]) + b"\0" * 50,
                 id="gzip with several members and padding"),
    pytest.param(zstd, id="zstd"),
    pytest.param(lambda b: zstd(b[:100]) + zstd(b[100:]), id="zstd with two frames"),
    pytest.param(lz4, id="lz4"),
])
@pytest.mark.parametrize("inside", [pytest.param(pcap(TEN), id="pcap"), pytest.param(pcapng(TEN), id="pcapng")])
def test_compressed_captures_are_read_by_their_magic(tmp_path: Path, pack: object, inside: bytes) -> None:
    result = read(stored(tmp_path, pack(inside), "no-suffix"))  # type: ignore[operator]
    assert same(result, TEN)
    assert result.account.status == "ok"
    assert "." in result.account.source.format


def test_interfaces_keep_link_type_name_and_clock(tmp_path: Path) -> None:
    data = (
        section() + interface(name="eth0") + interface(link_type=101, name="tun\x1b0", tsresol=9)
        + enhanced(TEN[0]) + enhanced(TEN[1], iface=1, per_second=10**9) + simple(Packet(b"abcd", 0, 4))
        + section(">") + interface(">", link_type=113, name="any", snaplen=2) + enhanced(TEN[2], ">")
        + simple(Packet(b"wxyz", 0, 4), ">")
    )
    result = read(stored(tmp_path, data))
    assert result.link_types == [1, 101, 1, 113, 113]
    assert result.interfaces == ["eth0", "tun\\x1b0", "eth0", "any", "any"]
    assert result.times == [TEN[0].time_ns, TEN[1].time_ns, 0, TEN[2].time_ns, 0]
    assert result.data[2:] == [b"abcd", TEN[2].data, b"wx"], "the snaplen cuts simple packets"
    assert result.originals[-1] == 4
    assert not result.account.notes, "packets without a time do not turn the clock back"


def test_blocks_that_wireshark_numbers_leave_a_gap_in_the_numbers(tmp_path: Path) -> None:
    data = section() + interface() + enhanced(TEN[0]) + block(0xBAD, b"abcd") + enhanced(TEN[1])
    result = read(stored(tmp_path, data))
    assert result.numbers == [1, 3]
    assert result.account.notes == {"numbered-block-without-packet": 1}


@pytest.mark.parametrize(("data", "note"), [
    pytest.param(pcap([Packet(b"abc", original=1)]), "original-below-captured", id="original below captured"),
    pytest.param(pcap(TEN, snaplen=20), "captured-above-snaplen", id="more than the snaplen"),
    pytest.param(pcap_header() + struct.pack("<IIII", START_S, 4_000_000_000, 1, 1) + b"x", "fraction-above-second",
                 id="microseconds above a second"),
    pytest.param(pcap(TEN[::-1], nano=True)[:24] + b"".join(
        pcap_record(Packet(b"x", p.time_ns - i * 10**10), nano=True) for i, p in enumerate(TEN)),
        "time-went-back", id="the clock steps back"),
    pytest.param(pcap(TEN, link_type=0x1400_0001), "frame-check-sequence", id="frame check sequence announced"),
    pytest.param(section() + interface(tsresol=0xFF) + enhanced(TEN[0]), "absurd-tsresol", id="absurd resolution"),
    pytest.param(section() + interface(tsoffset=1 << 62) + enhanced(TEN[0]), "absurd-tsoffset", id="absurd offset"),
    pytest.param(section() + interface(tsresol=0) + block(6, struct.pack("<IIIII", 0, 1 << 31, 0, 4, 4) + b"abcd"),
                 "absurd-time", id="a time beyond 64 bits"),
    pytest.param(section() + interface(tsresol=0) + interface(tsresol=9) + block(
        6, struct.pack("<IIIII", 0, 1 << 31, 0, 4, 4) + b"abcd"), "absurd-time", id="the same among different clocks"),
    pytest.param(section() + interface() + enhanced(TEN[0], options=struct.pack("<HH", 1, 60000) + b"abcd"),
                 "option-past-block", id="an option runs past its block"),
    pytest.param(section() + interface() + enhanced(TEN[0], options=option(2, b"abcd") * 3 + b"\1\0\7\0"),
                 "option-past-block", id="the fourth option runs past its block"),
    pytest.param(pcap([]), "no-packets", id="no packet"),
])
def test_oddities_lose_nothing_and_are_noted(tmp_path: Path, data: bytes, note: str) -> None:
    result = read(stored(tmp_path, data))
    assert note in result.account.notes
    assert result.account.status == "ok"
    assert all(o >= len(d) for o, d in zip(result.originals, result.data, strict=True))
    assert set(result.link_types) <= {1}


@pytest.mark.parametrize(("data", "status", "says"), [
    pytest.param(b"", "unreadable", "empty", id="empty file"),
    pytest.param(b"this is no capture\n" * 30, "unreadable", "not a capture", id="text"),
    pytest.param(pcap([])[:20], "unreadable", "cut", id="cut inside the file header"),
    pytest.param(section()[:17], "unreadable", "cut", id="cut inside the section header"),
    pytest.param(gzip.compress(b""), "unreadable", "no data", id="gzip of nothing"),
    pytest.param(gzip.compress(bytes(range(256)))[:20], "unreadable", "cut", id="cut gzip without a capture inside"),
    pytest.param(pcap_header(version=(3, 0)), "unsupported", "version 3.0", id="pcap of another version"),
    pytest.param(section(version=(0, 1)), "unsupported", "version 0.1", id="pcapng of another version"),
    pytest.param(snoop(TEN, datalink=99), "unsupported", "link type 99", id="snoop of an unknown link type"),
    pytest.param(bz2.compress(pcap(TEN)), "unsupported", "bzip2", id="bzip2"),
    pytest.param(b"GMBU" + b"\0" * 60, "unsupported", "Network Monitor", id="Network Monitor"),
])
def test_what_cannot_be_read_is_said(tmp_path: Path, data: bytes, status: str, says: str) -> None:
    path = stored(tmp_path, data)
    result = read(path)
    assert result.account.status == status
    assert says in result.account.message
    assert isinstance(result.error, UnsupportedInput if status == "unsupported" else InputError)
    assert not result.data

    good = stored(tmp_path, pcap(TEN), "good.pcap")
    both = read(path, good)
    assert both.error is None
    assert same(both, TEN), "reading goes on with the next input"
    assert sorted(a.status for a in both.accounts) == sorted(["ok", status])


@pytest.mark.parametrize("data", [
    pytest.param(pcap(packets(40)), id="pcap"),
    pytest.param(pcapng(packets(40)), id="pcapng"),
    pytest.param(gzip.compress(pcap(packets(40))), id="gzip"),
])
@pytest.mark.parametrize("batch_bytes", [1, 100, 1000, 1 << 20])
@pytest.mark.parametrize("batch_packets", [1, 7, 1000])
def test_windows_of_any_size_give_the_same_columns(
    tmp_path: Path, data: bytes, batch_bytes: int, batch_packets: int
) -> None:
    path = stored(tmp_path, data)
    small = read(path, batch_bytes=batch_bytes, batch_packets=batch_packets)
    large = read(path)
    for one in (small, large):
        assert same(one, packets(40))
    assert small.numbers == large.numbers
    assert small.originals == large.originals
    assert small.batches >= 40 / batch_packets
