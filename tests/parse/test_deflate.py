"""COMPRESS=DEFLATE: inflated exactly, cut anywhere; faults and bombs end it quietly and cheaply."""

from __future__ import annotations

import os
import random
import time
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.config import DialogueLimits
from imapids.parse.deflate import Inflater
from imapids.records.streams import SERVER, StreamChunk

LIMITS = DialogueLimits()
TEXT = b"".join(b"* %d FETCH (FLAGS (\\Seen) UID %d)\r\n" % (n, n * 7) for n in range(400))


def deflate(*parts: bytes, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return b"".join(packer.compress(part) + packer.flush(flush) for part in parts)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, position = [], 0
    for size in sizes:
        pieces.append(data[position : position + size])
        position += size
    return [*pieces, data[position:]]


def inflate(pieces: list[bytes]) -> tuple[bytes, bool, bool, int]:
    inflater = Inflater(LIMITS)
    out = b"".join(inflater.feed(piece) for piece in pieces)
    assert len(out) == inflater.bytes_out
    return out, inflater.failed, inflater.bomb, inflater.fault_offset


@pytest.mark.parametrize("flush", [zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_PARTIAL_FLUSH])
def test_flushed_lines_come_out_when_their_bytes_are_in(flush: int) -> None:
    packer = zlib.compressobj(wbits=-15)
    inflater = Inflater(LIMITS)
    for line in TEXT.splitlines(keepends=True):
        out = inflater.feed(packer.compress(line) + packer.flush(flush))
        if flush != zlib.Z_PARTIAL_FLUSH:
            assert out == line
    assert not inflater.dead


@given(st.lists(st.integers(0, 600), max_size=8))
def test_any_cut_gives_the_same_output(sizes: list[int]) -> None:
    packed = deflate(TEXT[:5000], os.urandom(0), TEXT[5000:])
    assert inflate(cut(packed, sizes)) == (TEXT, False, False, -1)


def test_byte_by_byte() -> None:
    packed = deflate(TEXT)
    assert inflate([packed[i : i + 1] for i in range(len(packed))]) == (TEXT, False, False, -1)


@given(st.binary(max_size=400), st.lists(st.integers(0, 90), max_size=8))
def test_no_bytes_raise_and_faults_do_not_depend_on_cuts(garbage: bytes, sizes: list[int]) -> None:
    packed = deflate(TEXT[:700]) + garbage
    whole = inflate([packed])
    assert whole == inflate(cut(packed, sizes))
    assert whole == inflate([packed[i : i + 1] for i in range(len(packed))])
    assert whole[0].startswith(TEXT[:700])


@pytest.mark.parametrize("data", [
    pytest.param(b"* OK not compressed at all\r\n", id="plain text"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(40)), id="a TLS hello"),
    pytest.param(b"\x78\x9c" + zlib.compress(TEXT)[2:], id="zlib's header, which RFC 4978 leaves out"),
])
def test_what_is_no_deflate_stream_fails(data: bytes) -> None:
    inflater = Inflater(LIMITS)
    inflater.feed(data)
    assert inflater.failed
    assert inflater.fault_offset >= 0
    assert inflater.feed(b"anything") == b""


def test_bytes_behind_a_final_block_are_a_fault_and_the_block_is_not() -> None:
    packed = deflate(TEXT, flush=zlib.Z_FINISH)
    inflater = Inflater(LIMITS)
    assert inflater.feed(packed) == TEXT
    assert inflater.ended
    assert not inflater.failed
    assert inflater.feed(b"x") == b""
    assert inflater.failed
    assert inflate([packed + b"x"]) == (TEXT, True, False, len(packed))


def test_a_bomb_of_64_kib_costs_little_time_and_memory() -> None:
    packer = zlib.compressobj(9, wbits=-15)
    packed = (packer.compress(bytes(64 << 20)) + packer.flush())[: 64 << 10]
    inflater = Inflater(LIMITS)
    tracemalloc.start()
    begun = time.process_time()
    out = inflater.feed(packed)
    spent = time.process_time() - begun
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert inflater.bomb
    assert len(out) <= 2 << 20
    assert peak < 2 << 20
    assert spent < 0.5  # 50 ms on an idle machine
    assert inflater.feed(packed) == b""


def test_text_that_compresses_well_is_no_bomb() -> None:
    mail = b"The quick brown fox. " * 3000  # 63 kB, free of the ratio test
    assert inflate([deflate(mail)]) == (mail, False, False, -1)
    rng = random.Random(1)
    lines = b"".join(b"* %d FETCH (UID %d)\r\n" % (n, rng.randrange(10**6)) for n in range(60_000))
    assert inflate([deflate(lines)]) == (lines, False, False, -1)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=6))
def test_inner_bytes_know_the_packet_that_completed_them(sizes: list[int]) -> None:
    lines = [b"A%d NOOP %s\r\n" % (n, b"x" * size) for n, size in enumerate(sizes)]
    packer = zlib.compressobj(wbits=-15)
    packed = [packer.compress(line) + packer.flush(zlib.Z_SYNC_FLUSH) for line in lines]
    starts = [sum(map(len, packed[:n])) for n in range(len(packed))]
    later = range(1, len(packed))
    chunk = StreamChunk(SERVER, 77, b"".join(packed), 100, 10, starts[1:] or None,
                        [10 + n for n in later] or None, [100 + n for n in later] or None)
    inner = list(Inflater(LIMITS).chunks(chunk))
    assert [(c.side, c.offset, c.data) for c in inner] == [(SERVER, 0, b"".join(lines))]
    position = 0
    for n, line in enumerate(lines):
        assert inner[0].locate(position) == (10 + n, 100 + n)
        assert inner[0].locate(position + len(line) - 1) == (10 + n, 100 + n)
        position += len(line)


def test_inner_chunks_are_bounded_and_follow_each_other() -> None:
    limits = DialogueLimits(inflate_chunk_bytes=100_000)
    data = random.Random(2).randbytes(50_000) * 20
    pieces = list(Inflater(limits).chunks(StreamChunk(SERVER, 0, deflate(data), 1, 1)))
    assert b"".join(piece.data for piece in pieces) == data
    assert max(len(piece.data) for piece in pieces) <= 100_000 + 65_536
    assert [piece.offset for piece in pieces] == [sum(len(p.data) for p in pieces[:n]) for n in range(len(pieces))]
