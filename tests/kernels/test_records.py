"""The compiled walk and the compiled reading of headers give what the code beside them gives, on any bytes."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.captures import START_S, Packet, enhanced, interface, option, pcap_header, read, section, simple
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids import kernels
from imapids.capture import framing
from imapids.capture.ledger import Ledger
from imapids.decode.segment_columns import are_alike
from imapids.protocols.capture_formats import PCAP_MAGICS, RecordLayout
from imapids.records.packets import CaptureSource, SourceAccount

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")

MICRO = 1000
PLAIN = RecordLayout("<", 16, 0, 4, 8, 12, MICRO)
FRAMINGS = {
    "pcap": lambda: framing.RecordFraming(PLAIN, 2_000, 1 << 20),
    "pcap, big-endian": lambda: framing.RecordFraming(RecordLayout(">", 16, 0, 4, 8, 12, MICRO), 2_000, 1 << 20),
    "pcap, modified": lambda: framing.RecordFraming(RecordLayout("<", 24, 0, 4, 8, 12, MICRO), 2_000, 1 << 20),
    "pcap, lengths swapped or not": lambda: framing.RecordFraming(
        RecordLayout("<", 16, 0, 4, 8, 12, MICRO, swapped="maybe"), 2_000, 1 << 20),
    "snoop": lambda: framing.RecordFraming(RecordLayout(">", 24, 16, 20, 4, 0, MICRO, record_bytes=8), 2_000, 1 << 20),
    "pcapng": lambda: framing.BlockFraming("<", 4_096),
    "pcapng, big-endian": lambda: framing.BlockFraming(">", 4_096),
}
LENGTHS = st.one_of(st.integers(0, 70), st.sampled_from([0, 2_000, 2_001, 65_535, 1 << 24, (1 << 32) - 1]))


@st.composite
def pieces(draw: st.DrawFn) -> bytes:
    """A record or a block of some format, or what may stand in place of one."""
    size, order = draw(st.integers(0, 70)), draw(st.sampled_from("<>"))
    kind = draw(st.integers(0, 7))
    if kind == 0:
        return draw(st.binary(max_size=40))
    if kind == 1:
        return bytes(draw(st.sampled_from([8, 16, 24, 40])))
    if kind == 2:
        magic = draw(st.sampled_from([*PCAP_MAGICS, bytes(4)]))
        return magic + struct.pack(order + "III", draw(st.sampled_from([0, 5])), draw(st.sampled_from([0, 1])), 0)
    if kind == 3:
        told = draw(LENGTHS)
        return struct.pack(order + "IIII", START_S, 5, told, draw(LENGTHS)) + bytes(size)
    if kind == 4:
        return struct.pack(order + "IIIIII", size, size, 24 + size + draw(st.sampled_from([0, 0, 3])), 0, 1, 2
                           ) + b"s" * size
    if kind == 5:
        return section(order)
    if kind == 6:
        return simple(Packet(b"p" * size), order)
    good = enhanced(Packet(b"p" * size), order)
    return good if draw(st.booleans()) else good[:4] + struct.pack(order + "I", draw(LENGTHS)) + good[8:]


@pytest.mark.parametrize("name", FRAMINGS)
@settings(max_examples=60, deadline=None)
@given(data=st.lists(pieces(), max_size=30).map(b"".join), start=st.integers(0, 40), count=st.integers(0, 40),
       cut=st.integers(0, 40), until=st.none() | st.integers(0, 400))
def test_the_compiled_walk_takes_the_same_steps(
    name: str, data: bytes, start: int, count: int, cut: int, until: int | None,
) -> None:
    walker = FRAMINGS[name]()
    stop = max(0, len(data) - cut)
    walker.bind(np.frombuffer(data + bytes(65_536), np.uint8).copy(), stop)
    until = stop if until is None else until
    found, at, stuck = walker.walk(start, count, until)
    assert (found.tolist(), at, stuck) == walker.serial(start, count, until)


def test_an_announced_number_of_records_takes_no_memory() -> None:
    assert len(framing.room_for(1 << 60, 4_096, 16)) == 256
    assert len(framing.room_for(393_216, 33, 16)) == 3
    assert len(framing.room_for(5, -7, 16)) == 0


@pytest.mark.parametrize(("at", "last", "stop", "field"), [
    pytest.param(-1, 49, 64, 8, id="a start before the buffer"),
    pytest.param(0, 50, 64, 8, id="a header past the data"),
    pytest.param(0, 49, 65, 8, id="data past the buffer"), pytest.param(0, 49, 64, 13, id="a field past its header"),
])
def test_walks_and_headers_stay_in_the_buffer(at: int, last: int, stop: int, field: int) -> None:
    data, found = np.zeros(64, np.uint8), np.empty(4, np.int64)
    with pytest.raises(IndexError):
        kernels.compiled.walk_records(data, at, last, stop, 16, field, field, 16, 99, False, framing.MAGICS, found)
    if field == 8:
        with pytest.raises(IndexError):
            kernels.compiled.walk_blocks(data, at, last + 4, stop, 12, 99, False, 7, found)
    columns = [np.empty(1, np.int64) for _ in range(5)]
    with pytest.raises(IndexError):
        kernels.compiled.read_records(data, np.array([at if at < 0 else last]), 16, 0, 4, field, 12, 1, 1, 0, False,
                                      1, *columns)


def agree(path: Path) -> None:
    """The capture is read the same with and without kernels, in batches of nine records."""
    with pytest.MonkeyPatch.context() as patch:
        compiled = read(path, batch_packets=9)
        patch.setattr(kernels, "COMPILED", False)
        plain = read(path, batch_packets=9)
    assert vars(compiled) | {"error": str(compiled.error)} == vars(plain) | {"error": str(plain.error)}


HEADERS = st.lists(st.tuples(
    st.sampled_from([0, 1, START_S, (1 << 32) - 1]), st.sampled_from([0, 999_999, 1_000_000, 10**9, (1 << 32) - 1]),
    st.integers(0, 60), st.integers(-3, 3) | st.just(1 << 20)), max_size=40)


@settings(max_examples=60, deadline=None)
@given(headers=HEADERS, order=st.sampled_from("<>"), nano=st.booleans(), modified=st.booleans(),
       version=st.sampled_from([(2, 4), (2, 3), (2, 2)]), snaplen=st.sampled_from([0, 30, 65_535]))
def test_headers_of_records_are_read_the_same(
    tmp_path_factory: pytest.TempPathFactory, headers: list[tuple[int, int, int, int]], order: str, nano: bool,
    modified: bool, version: tuple[int, int], snaplen: int,
) -> None:
    out = [pcap_header(order, nano, modified, snaplen, version=version)]
    for seconds, fraction, size, more in headers:
        lengths = [size, max(size + more, 0)]
        if version == (2, 2):
            lengths.reverse()
        out.append(struct.pack(order + "IIII", seconds, fraction, *lengths) + bytes(8 * modified) + b"d" * size)
    path = tmp_path_factory.mktemp("headers") / "a.pcap"
    path.write_bytes(b"".join(out))
    agree(path)


@st.composite
def enhanced_blocks(draw: st.DrawFn, order: str) -> bytes:
    """An enhanced packet block that may be wrong about its interface, its lengths, or its options."""
    size = draw(st.integers(0, 40))
    options = b"".join(draw(st.lists(st.sampled_from([
        option(1, b"comment", order), option(2, b"", order), option(0, b"", order), bytes(3), bytes(4),
        struct.pack(order + "HH", 5, 65_535), struct.pack(order + "HH", 5, 4) + b"1234",
    ]), max_size=10)))
    whole = draw(st.sampled_from([size, size, size + 7, max(size - 1, 0)]))
    out = bytearray(enhanced(Packet(b"d" * size, draw(st.integers(0, 1 << 50)), whole), order,
                             draw(st.sampled_from([0, 0, 0, 1, 2])), options=options))
    if draw(st.integers(0, 9)) == 0:
        out[20:24] = struct.pack(order + "I", draw(st.sampled_from([size + 1, size + 40, (1 << 32) - 1])))
    if draw(st.integers(0, 9)) == 0:
        out[12:16] = draw(st.sampled_from([b"\xff", b"\x7f"])) * 4
    return bytes(out)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from("<>"), st.integers(0, 3), st.booleans())
def test_enhanced_packets_are_read_the_same(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, order: str, interfaces: int, mixed: bool,
) -> None:
    blocks = data.draw(st.lists(enhanced_blocks(order), max_size=30))
    if mixed:
        blocks.insert(len(blocks) // 2, simple(Packet(b"simple"), order))
        blocks.append(struct.pack(order + "III", 6, 12, 12))  # too short for its kind
    clock = data.draw(st.sampled_from([6, 9, 12, 0x93]))
    path = tmp_path_factory.mktemp("blocks") / "a.pcapng"
    path.write_bytes(section(order) + interface(order) * min(interfaces, 1)
                     + interface(order, tsresol=clock) * max(interfaces - 1, 0) + b"".join(blocks))
    agree(path)


STAMPS = st.lists(st.sampled_from([0, 1, 5, 10**9, 2 * 10**9, 2**62, -7]) | st.integers(-2**62, 2**62), max_size=9)


@given(st.lists(STAMPS.filter(bool), max_size=3))
@settings(max_examples=100, deadline=None)
def test_stamps_are_told_of_as_numpy_tells(parts: list[list[int]]) -> None:
    def call() -> SourceAccount:
        ledger = Ledger(CaptureSource("x", 0))
        for stamps in parts:
            ledger.packets(np.array(stamps), np.ones(len(stamps), np.uint16))
        return ledger.account

    with pytest.MonkeyPatch.context() as patch:
        compiled = call()
        patch.setattr(kernels, "COMPILED", False)
        assert compiled == call()


@given(st.lists(st.booleans(), max_size=40), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_rows_are_kept_as_numpy_takes_them(present: list[bool], seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns = [rng.integers(0, 200, len(present)).astype(kind) for kind in ("u1", "?", "<u2", "u4", "i8", "u8")]
    expected = [column[np.array(present, bool)].tolist() for column in columns]
    mask = np.array(present, np.uint8)
    for kept in ([np.empty_like(column) for column in columns], columns):  # in other columns, and where they stand
        assert kernels.compiled.keep_rows(mask, columns, kept) == sum(present)
        assert [column[: sum(present)].tolist() for column in kept] == expected


@pytest.mark.parametrize(("columns", "kept"), [
    pytest.param([np.zeros(3)], [np.zeros(2)], id="less room"),
    pytest.param([np.zeros(2)], [np.zeros(3)], id="less rows"),
    pytest.param([np.zeros(3)], [np.zeros(3, np.float32)], id="another type"),
    pytest.param([np.zeros(3)], [], id="no pair"), pytest.param([np.zeros(3)] * 33, [np.zeros(3)] * 33, id="too many"),
])
def test_columns_that_do_not_fit_are_refused(columns: list[Any], kept: list[Any]) -> None:
    with pytest.raises(IndexError):
        kernels.compiled.keep_rows(np.ones(3, np.uint8), columns, kept)


@pytest.mark.parametrize(("column", "alike"), [
    pytest.param([], True, id="nothing"), pytest.param([7], True, id="one"),
    pytest.param([7, 7, 7], True, id="the same"),
    pytest.param([7, 7, 8], False, id="the last differs"), pytest.param([1, 2, 1], False, id="the middle differs"),
    pytest.param([1, 2, 2], False, id="the first differs"),
])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_columns_of_one_number(column: list[int], alike: bool, kind: type[np.unsignedinteger[Any]]) -> None:
    numbers = np.array(column, kind)
    with pytest.MonkeyPatch.context() as patch:
        assert are_alike(numbers) is alike
        patch.setattr(kernels, "COMPILED", False)
        assert are_alike(numbers) is alike
