"""The lockstep walk gives what a serial walk gives, whatever the records look like."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.captures import START_S, Packet, enhanced, interface, pcap, pcap_header, pcap_record, read, section, simple
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imapids import kernels
from imapids.capture import framing, lanes
from imapids.protocols.capture_formats import RecordLayout

LAYOUT = RecordLayout("<", 16, 0, 4, 8, 12, 1000)


def walk_serially(data: bytes, start: int, limit: int) -> list[int]:
    """The oracle: whole pcap records from `start`, one after the other."""
    found, at = [], start
    while at + 16 <= len(data):
        captured = struct.unpack_from("<I", data, at + 8)[0]
        if captured > limit or at + 16 + captured > len(data):
            break
        found.append(at)
        at += 16 + captured
    return found


def find(data: bytes, start: int, limit: int = 262_144) -> tuple[lanes.Chain, framing.RecordFraming]:
    buffer = np.frombuffer(data + b"\0" * 65_536, np.uint8).copy()
    walker = framing.RecordFraming(LAYOUT, limit, 1 << 24)
    walker.reference = START_S
    walker.bind(buffer, len(data))
    return lanes.RecordFinder(1 << 20).find(walker, start), walker


@pytest.fixture(scope="module", params=[pytest.param(False, id="in lanes"), pytest.param(True, id="compiled")],
                autouse=True)
def _both_ways(request: pytest.FixtureRequest) -> Iterator[None]:
    """Everything here holds for lanes and for the compiled walk."""
    if request.param and not kernels.COMPILED:
        pytest.skip("the kernels are not compiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "COMPILED", request.param)
        yield


@pytest.fixture
def few_records_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes from the start: small data would be walked serially."""
    monkeypatch.setattr(lanes, "PREFIX_RECORDS", 2)
    monkeypatch.setattr(lanes, "SERIAL_RECORDS", 4)
    monkeypatch.setattr(lanes, "SPAN_MIN_BYTES", 64)
    monkeypatch.setattr(lanes, "LANES_MIN", 1)


def record(size: int, seconds: int, filling: bytes) -> bytes:
    data = (filling * (size // max(1, len(filling)) + 1))[:size]
    return pcap_record(Packet(data, seconds * 10**9, max(size, 1)))


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 700), min_size=1, max_size=400),
    filling=st.sampled_from([
        b"\0", b"\xff\x01", b"text in lines\r\n", pcap_record(Packet(b"inner", START_S * 10**9)),
        struct.pack("<IIII", START_S, 5, 20, 20) + b"x" * 20,
    ]),
    lanes_min=st.sampled_from([1, 8, 32]), cut=st.integers(0, 40),
    damaged=st.none() | st.integers(0, 399), seed=st.integers(0, 99),
)
@example(sizes=[0, 0, 33, 0, 0], filling=b"\0", lanes_min=8, cut=17, damaged=None, seed=0)  # a whole record, then a cut
def test_lanes_agree_with_a_serial_walk(
    sizes: list[int], filling: bytes, lanes_min: int, cut: int, damaged: int | None, seed: int
) -> None:
    patch = pytest.MonkeyPatch()
    with patch.context() as small:
        small.setattr(lanes, "PREFIX_RECORDS", 2)
        small.setattr(lanes, "SERIAL_RECORDS", 4)
        small.setattr(lanes, "SPAN_MIN_BYTES", 64)
        small.setattr(lanes, "LANES_MIN", lanes_min)
        rng = random.Random(seed)
        records = [record(size, START_S + rng.randrange(100), filling) for size in sizes]
        if damaged is not None and damaged < len(records):
            spoilt = records[damaged]
            records[damaged] = spoilt[:8] + b"\xff\xff\xff\xff" + spoilt[12:]
        data = b"junk" + b"".join(records)
        data = data[: len(data) - cut]
        chain, _ = find(data, 4)
        assert chain.offsets.tolist() == walk_serially(data, 4, 262_144)


def walk_one_by_one(walker: framing.Framing, start: int) -> list[int]:
    """The oracle for every format: what `sound` says of one record after the other."""
    found, at = [], start
    while at + walker.header_bytes <= walker.stop:
        after = walker.advance(np.array([at]))
        if not walker.sound(np.array([at]), after)[0]:
            break
        found.append(at)
        at = int(after[0])
    return found


def snoop_record(data: bytes) -> bytes:
    size = 24 + len(data)
    return struct.pack(">IIIIII", len(data) + 1, len(data), size + -size % 4, 0, START_S, 5) + data + bytes(-size % 4)


def old_record(data: bytes) -> bytes:
    """The lengths in the one order or the other: writers of version 2.3 disagree."""
    lengths = (len(data), len(data) + 1) if len(data) % 2 else (len(data) + 1, len(data))
    return struct.pack("<IIII", START_S, 5, *lengths) + data


FORMATS = {
    "pcap, big-endian": (lambda data: struct.pack(">IIII", START_S, 5, len(data), len(data) + 1) + data,
                         lambda: framing.RecordFraming(RecordLayout(">", 16, 0, 4, 8, 12, 1000), 2_000, 1 << 20)),
    "pcap 2.3, lengths swapped or not": (
        old_record,
        lambda: framing.RecordFraming(RecordLayout("<", 16, 0, 4, 8, 12, 1000, swapped="maybe"), 2_000, 1 << 20)),
    "snoop": (snoop_record, lambda: framing.RecordFraming(
        RecordLayout(">", 24, 16, 20, 4, 0, 1000, record_bytes=8), 2_000, 1 << 20)),
    "pcapng": (lambda data: enhanced(Packet(data, START_S * 10**9)), lambda: framing.BlockFraming("<", 1 << 20)),
    "pcapng, big-endian": (lambda data: enhanced(Packet(data, START_S * 10**9), ">"),
                           lambda: framing.BlockFraming(">", 1 << 20)),
}


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(0, 900), min_size=1, max_size=300), lead=st.integers(0, 5), cut=st.integers(0, 40),
       junk=st.none() | st.tuples(st.integers(0, 299), st.binary(min_size=1, max_size=40)),
       steps=st.sampled_from([1, 8]))
def test_lanes_of_every_format_agree_with_a_walk_one_by_one(
    name: str, sizes: list[int], lead: int, cut: int, junk: tuple[int, bytes] | None, steps: int
) -> None:
    write, make = FORMATS[name]
    records = [write(bytes([size & 0x0F | 1]) * size) for size in sizes]
    if junk is not None:
        records.insert(junk[0], junk[1])
    data = b"j" * lead + b"".join(records)
    data = data[: max(len(data) - cut, lead)]
    walker = make()
    walker.bind(np.frombuffer(data + bytes(65_536), np.uint8).copy(), len(data))
    patch = pytest.MonkeyPatch()
    with patch.context() as small:
        for limit, value in (("PREFIX_RECORDS", 2), ("SERIAL_RECORDS", 4), ("SPAN_MIN_BYTES", 64), ("LANES_MIN", 1)):
            small.setattr(lanes, limit, value)
        small.setattr(lanes, "STEPS", steps)
        chain = lanes.RecordFinder(1 << 20).find(walker, lead)
    assert chain.offsets.tolist() == walk_one_by_one(walker, lead)


@pytest.mark.parametrize(("step_s", "count"), [
    pytest.param(60, 40_000, id="a month of one packet a minute"),
    pytest.param(86_400 * 30, 400, id="decades of one packet a month"),
    pytest.param(0, 40_000, id="one moment"),
    pytest.param(-10, 40_000, id="time runs backwards"),
])
def test_captures_of_any_pace(tmp_path: Path, step_s: int, count: int) -> None:
    path = tmp_path / "long.pcap"
    path.write_bytes(pcap_header() + b"".join(
        pcap_record(Packet(bytes(i % 90), (START_S + i * step_s) * 10**9, 100)) for i in range(count)))
    result = read(path)
    assert result.times == [(START_S + i * step_s) * 10**9 for i in range(count)]
    assert [len(d) for d in result.data] == [i % 90 for i in range(count)]


@pytest.mark.parametrize("same_time", [pytest.param(True, id="recorded at the same time"),
                                       pytest.param(False, id="recorded a year before")])
def test_a_capture_carried_inside_packets(tmp_path: Path, same_time: bool) -> None:
    shift = 0 if same_time else 86_400 * 365
    inner = pcap(Packet(bytes([i % 256]) * 70, (START_S - shift + i // 100) * 10**9) for i in range(60_000))
    pieces = [inner[at : at + 1_448] for at in range(0, len(inner), 1_448)]
    outer = [Packet(b"\x02" * 54 + piece, (START_S + i // 100) * 10**9) for i, piece in enumerate(pieces)]
    path = tmp_path / "nested.pcap"
    path.write_bytes(pcap(outer))
    result = read(path)
    assert result.data == [p.data for p in outer]
    assert result.account.status == "ok"


def test_blocks_of_many_kinds_and_sections(tmp_path: Path) -> None:
    rng = random.Random(4)
    expected: list[bytes] = []
    out = io.BytesIO()
    for number in range(40):
        order = "<>"[number % 2]
        out.write(section(order) + interface(order))
        for _ in range(rng.choice((0, 1, 3_000))):
            data = rng.randbytes(rng.randrange(120))
            expected.append(data)
            packet = Packet(data, START_S * 10**9)
            out.write(simple(packet, order) if rng.random() < 0.1 else enhanced(packet, order))
    path = tmp_path / "a.pcapng"
    path.write_bytes(out.getvalue())
    result = read(path)
    assert result.data == expected
    assert result.numbers == list(range(1, len(expected) + 1))
    assert result.account.status == "ok"


@pytest.mark.parametrize("size", [pytest.param(60_000, id="frames longer than a lane"),
                                  pytest.param(0, id="empty packets")])
def test_records_of_extreme_size(tmp_path: Path, size: int) -> None:
    count = 300 if size else 30_000
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(Packet(bytes([i % 256]) * size, original=size + 1) for i in range(count)))
    result = read(path)
    assert [len(d) for d in result.data] == [size] * count
    assert result.numbers[-1] == count


def test_damage_costs_in_proportion_to_the_data(few_records_are_enough: None) -> None:
    """Lanes behind damage are lost work: the finder must try shorter spans, and recover."""
    finder = lanes.RecordFinder(1 << 20)
    good = b"".join(record(100, START_S, b"ab") for _ in range(300))
    spoilt = (good + b"D" * 16) * 30
    buffer = np.frombuffer(spoilt + b"\0" * 65_536, np.uint8).copy()
    walker = framing.RecordFraming(LAYOUT, 262_144, 1 << 24)
    walker.bind(buffer, len(spoilt))
    looked_at = 0
    plain = walker.advance

    def counting(at: np.ndarray[tuple[int], np.dtype[np.int64]]) -> object:
        nonlocal looked_at
        looked_at += len(at)
        return plain(at)

    walker.advance = counting  # type: ignore[method-assign,assignment]
    at = found = 0
    while at < len(spoilt):
        chain = finder.find(walker, at)
        found += len(chain.offsets)
        assert chain.stuck or chain.end == len(spoilt)
        at = chain.end + 16
    assert found == 9_000
    assert looked_at < 12 * 9_000  # a lane walks up to STEPS - 1 records past its goal, and most lanes here are short
