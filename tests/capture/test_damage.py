"""Every whole packet before damage is read, the reader finds its way behind it, and everything skipped is counted."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest
from helpers.captures import (
    START_S,
    Packet,
    Read,
    block,
    enhanced,
    interface,
    packets,
    pcap,
    pcap_header,
    pcap_record,
    pcapng,
    read,
    same,
    section,
    snoop,
)

from imapids.capture import recordreader

TEN = packets(10)
RECORDS = [pcap_record(p) for p in TEN]
BLOCKS = [enhanced(p) for p in TEN]
HEAD = section() + interface()


def stored(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "a.cap"
    path.write_bytes(data)
    return path


def adds_up(result: Read, size: int) -> bool:
    """Bytes of records, headers and skipped places are all bytes of the file."""
    return sum(d.skipped_bytes for d in result.account.damage) + sum(map(len, result.data)) <= size


@pytest.mark.parametrize(("data", "spans"), [
    pytest.param(pcap(TEN), [24 + 76 * (i + 1) for i in range(10)], id="pcap"),
    pytest.param(snoop(TEN), [16 + 84 * (i + 1) for i in range(10)], id="snoop"),
    pytest.param(pcapng(TEN), [len(HEAD) + 92 * (i + 1) for i in range(10)], id="pcapng"),
])
def test_every_prefix_gives_the_whole_packets_before_the_cut(tmp_path: Path, data: bytes, spans: list[int]) -> None:
    path = tmp_path / "a.cap"
    starts = {16: "snoop", 24: "pcap", len(HEAD): "pcapng"}
    header = spans[0] - (spans[1] - spans[0])
    assert header in starts
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        result = read(path)
        whole = sum(span <= size for span in spans)
        assert same(result, TEN[:whole]), size
        if size >= header:
            assert result.account.status == ("ok" if size in (header, *spans) else "cut"), size
        elif size < 16:
            assert result.account.status == "unreadable", size


def test_every_prefix_of_a_compressed_capture_gives_whole_packets_only(tmp_path: Path) -> None:
    varied = [Packet(bytes((i * k * 37) % 251 for k in range(60)), p.time_ns) for i, p in enumerate(TEN)]
    data = gzip.compress(pcap(varied), mtime=0)
    seen = set()
    for size in range(20, len(data), 7):
        result = read(stored(tmp_path, data[:size]))
        assert same(result, varied[: len(result.data)])
        assert result.account.status in ("cut", "unreadable")
        seen.add(len(result.data))
    assert len(seen) > 5, "what is there before the cut is read"


def test_a_broken_compressed_stream_gives_what_came_before_it(tmp_path: Path) -> None:
    varied = [
        Packet(bytes((i * k * 37 + k * k) % 251 for k in range(60)), p.time_ns) for i, p in enumerate(packets(400))
    ]
    data = bytearray(gzip.compress(pcap(varied), mtime=0))
    data[len(data) // 2 : len(data) // 2 + 40] = b"\xff" * 40
    result = read(stored(tmp_path, bytes(data)))
    assert result.account.status == "damaged"
    assert [d.reason for d in result.account.damage][-1] == "container"
    assert 100 < len(result.data) < 400
    assert result.data[:100] == [p.data for p in varied[:100]]


def lying(record: bytes, at: int, value: int) -> bytes:
    return record[:at] + struct.pack("<I", value) + record[at + 4 :]


@pytest.mark.parametrize(("data", "kept", "reason"), [
    pytest.param(pcap_header() + b"".join(RECORDS[:4]) + lying(RECORDS[4], 8, 0xFFFFFFFF) + b"".join(RECORDS[5:]),
                 9, "bad-record", id="pcap: a captured length of 4 GiB"),
    pytest.param(pcap_header() + b"".join(RECORDS[:9]) + lying(RECORDS[9], 8, 0xFFFFFFFF), 9, "bad-record",
                 id="pcap: the last one announces 4 GiB"),
    pytest.param(pcap_header() + lying(RECORDS[0], 8, 0xFFFFFFFF) + b"".join(RECORDS[1:]), 9, "bad-record",
                 id="pcap: the first one announces 4 GiB"),
    pytest.param(pcap_header() + b"".join(RECORDS[:4]) + lying(RECORDS[4], 8, 100_000) + b"".join(RECORDS[5:]),
                 9, "bad-record", id="pcap: a length that runs past the end of the file"),
    pytest.param(pcap_header() + b"".join(RECORDS[:5]) + b"D" * 17 + b"".join(RECORDS[5:]), 10, "bad-record",
                 id="pcap: foreign bytes"),
    pytest.param(pcap_header() + b"".join(RECORDS[:5]) + b"\0" * 100_000 + b"".join(RECORDS[5:]), 10, "foreign-bytes",
                 id="pcap: a hole of zeros"),
    pytest.param(pcap(TEN) + b"\0" * 5_000, 10, "foreign-bytes", id="pcap: a preallocated tail of zeros"),
    pytest.param(pcap_header() + b"".join((*RECORDS[:5], pcap_record(Packet(bytes(300_000))), *RECORDS[5:])), 10,
                 "oversized-record", id="pcap: a record longer than any packet"),
    pytest.param(HEAD + b"".join(BLOCKS[:4]) + lying(BLOCKS[4], 4, 0) + b"".join(BLOCKS[5:]), 9, "bad-block",
                 id="pcapng: a block of length 0"),
    pytest.param(HEAD + b"".join(BLOCKS[:4]) + lying(BLOCKS[4], 4, 93) + b"".join(BLOCKS[5:]), 9, "bad-block",
                 id="pcapng: a length that is no multiple of 4"),
    pytest.param(HEAD + b"".join(BLOCKS[:4]) + lying(BLOCKS[4], 4, 0x7FFFFFFC) + b"".join(BLOCKS[5:]), 9, "bad-block",
                 id="pcapng: a block of 2 GiB"),
    pytest.param(HEAD + b"".join(BLOCKS[:4]) + lying(BLOCKS[4], 4, 1 << 20) + b"".join(BLOCKS[5:]), 9, "bad-record",
                 id="pcapng: a block that runs past the end of the file"),
    pytest.param(HEAD + b"".join(BLOCKS[:4]) + lying(BLOCKS[4], 88, 44) + b"".join(BLOCKS[5:]), 9, "bad-block",
                 id="pcapng: lengths that differ"),
    pytest.param(HEAD + b"".join(BLOCKS[:5]) + b"garbage" + b"".join(BLOCKS[5:]), 10, "bad-block",
                 id="pcapng: foreign bytes that move the alignment"),
    pytest.param(HEAD + b"".join(BLOCKS[:5]) + b"\0" * 9_999 + b"".join(BLOCKS[5:]), 10, "bad-block",
                 id="pcapng: a hole of zeros"),
    pytest.param(lying(section(), 4, 0x7FFFFFF0) + interface() + b"".join(BLOCKS), 10, "bad-block",
                 id="pcapng: a section header of 2 GiB"),
    pytest.param(HEAD + BLOCKS[0] + enhanced(TEN[1], iface=3) + b"".join(BLOCKS[2:]), 9, "unknown-interface",
                 id="pcapng: an interface that does not exist"),
    pytest.param(section() + BLOCKS[0] + interface() + b"".join(BLOCKS[1:]), 9, "unknown-interface",
                 id="pcapng: a packet before its interface"),
    pytest.param(HEAD + BLOCKS[0] + lying(BLOCKS[1], 20, 5_000) + b"".join(BLOCKS[2:]), 9, "captured-past-block",
                 id="pcapng: captured bytes past the block"),
    pytest.param(HEAD + b"".join(BLOCKS[:5]) + section() + b"".join(BLOCKS[5:]), 5, "unknown-interface",
                 id="pcapng: a section that describes no interface"),
    pytest.param(HEAD + b"".join(BLOCKS[:5]) + block(1, b"abcd") + b"".join(BLOCKS[5:]), 10, "bad-block",
                 id="pcapng: an interface description that is too short"),
    pytest.param(HEAD + b"".join(BLOCKS[:5]) + section(version=(9, 9)) + HEAD + b"".join(BLOCKS[5:]), 10, "unsupported",
                 id="pcapng: a later section of another version"),
])
@pytest.mark.parametrize("batch_bytes", [50, 1 << 20])
def test_reading_goes_on_behind_damage(tmp_path: Path, data: bytes, kept: int, reason: str, batch_bytes: int) -> None:
    path = stored(tmp_path, data)
    result = read(path, batch_bytes=batch_bytes)
    assert len(result.data) == kept
    assert set(result.data) <= {p.data for p in TEN}
    assert len(set(result.data)) == kept, "no packet twice"
    assert result.account.status == "damaged"
    assert result.account.damage[0].reason == reason
    assert result.account.damage_count >= 1
    assert adds_up(result, len(data))
    place = result.account.damage[0]
    assert 0 <= place.offset < len(data)
    assert f"byte {place.offset}" in place.message
    assert str(path) in place.message


def test_a_cut_record_that_carries_a_capture_is_not_taken_for_damage(tmp_path: Path) -> None:
    outer = [*TEN, Packet(b"".join(pcap_record(p) for p in packets(20)))]
    data = pcap(outer)
    for lost in (1, 30, 76, 500):
        result = read(stored(tmp_path, data[:-lost]))
        assert same(result, TEN)
        assert result.account.status == "cut"


def test_the_search_stops_after_its_limit_and_says_so(tmp_path: Path) -> None:
    data = pcap(TEN) + b"D" * 100_000 + b"".join(RECORDS)
    result = read(stored(tmp_path, data), resync_bytes=5_000, batch_bytes=1_000)
    assert same(result, TEN)
    assert "not read" in result.account.message
    assert len(read(stored(tmp_path, data)).data) == 20


def test_a_file_that_is_damaged_everywhere_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordreader, "DAMAGES_MAX", 100)
    data = pcap_header() + (b"".join(RECORDS[:6]) + b"D" * 20) * 200
    result = read(stored(tmp_path, data))
    assert result.account.damage[-1].reason != "given-up", "only the first places are kept"
    assert 600 <= len(result.data) < 620
    assert 100 < result.account.damage_count < 103
    assert len(result.account.damage) == 32


def test_names_with_control_characters_never_reach_a_message(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m\u202e\n.cap"
    path.write_bytes(pcap(TEN)[:-3])
    result = read(path)
    assert result.account.message.isprintable()
    assert result.account.damage[0].message.isprintable()
    assert result.sources[0] == str(path), "the source keeps its name"
    assert result.times[0] == START_S * 10**9
