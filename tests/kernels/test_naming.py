"""Records of flows, and the hashes in their names, compiled and in Python."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids import kernels
from imapids.flows.columns import FlowColumns
from imapids.flows.ending import _Ends, _last_updates
from imapids.flows.naming import FlowNamer, KeptRows
from imapids.records.packets import U64, CaptureSource
from imapids.records.segments import V4_PREFIX, Encapsulation, EncapsulationTable
from imapids.records.streams import Flow, FlowUpdate, Piece, StreamEnd, StreamGap

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")

LONG_WAY = Encapsulation(tuple(range(4000, 4020)), ("gre", "vxlan:5001"))
PATHS = EncapsulationTable()
WAYS = [PATHS.intern(way) for way in (Encapsulation(), Encapsulation((7,), ()), Encapsulation((), ("gre",)), LONG_WAY)]
SOURCES = [CaptureSource("a.pcap", 0), CaptureSource("b.pcapng", 1, interfaces=["eth0", "eth1"])]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=55))
def test_sha_1_is_that_of_hashlib(data: bytes) -> None:
    assert kernels.events.sha1_of(data) == hashlib.sha1(data, usedforsecurity=False).digest()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=128), st.integers(7, 64))
def test_blake2b_is_that_of_hashlib(data: bytes, size: int) -> None:
    expected = hashlib.blake2b(data, digest_size=size).digest()[:8]
    assert kernels.events.blake2b_of(data, size).to_bytes(8, "big")[: len(expected)] == expected


@pytest.mark.parametrize("size", [0, 1, 54, 55, 63, 64, 127, 128])
def test_hashes_of_blocks_that_are_just_full(size: int) -> None:
    data = bytes(range(128))[:size]
    if size <= 55:
        assert kernels.events.sha1_of(data) == hashlib.sha1(data, usedforsecurity=False).digest()
    assert kernels.events.blake2b_of(data, 64) == int.from_bytes(hashlib.blake2b(data).digest()[:8], "big")


@pytest.mark.parametrize("call", [
    pytest.param(lambda: kernels.events.sha1_of(bytes(56)), id="more than a block of SHA-1"),
    pytest.param(lambda: kernels.events.blake2b_of(bytes(129), 8), id="more than a block of BLAKE2b"),
    pytest.param(lambda: kernels.events.blake2b_of(b"", 6), id="too short a digest"),
    pytest.param(lambda: kernels.events.blake2b_of(b"", 65), id="too long a digest"),
])
def test_hashes_of_more_are_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="more than one block"):
        call()


ADDRESS = st.tuples(st.just(0), st.integers(0, 5).map(lambda low: int(V4_PREFIX) | low)) | st.tuples(
    st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)) | st.just((0, 1))
ENDS = st.tuples(ADDRESS, st.integers(0, 65_535))
COUNTS = st.integers(0, 2) | st.integers(0, 2**40)
FLAGS = st.sampled_from([0, 0x02, 0x12, 0x14, 0x04, 0x18, 0x01, 0xFF])
ROW = st.tuples(
    ENDS, ENDS, st.sampled_from([6, 17]), st.sampled_from(WAYS), st.integers(0, 1), st.integers(0, 3),
    st.integers(0, 1), st.integers(0, 4), st.integers(0, 3), st.integers(-(2**62), 2**62), st.integers(0, 2**32 - 1),
    st.booleans(), st.booleans(), st.tuples(COUNTS, COUNTS), st.tuples(COUNTS, COUNTS), st.tuples(FLAGS, FLAGS))
REASONS = st.sampled_from(["idle", "end-of-capture", "reused", "evicted"])


def columns_of(rows: list[tuple[Any, ...]]) -> KeptRows:
    names = ("protocol", "path", "source", "interface", "client_end", "roles", "selected", "first_ns", "first_seq",
             "began", "unreachable", "packets", "bytes", "flags")
    layout = FlowColumns(1)
    values: dict[str, Any] = {name: np.array([row[2 + at] for row in rows]) for at, name in enumerate(names)}
    values["keys"] = [[*a, *b, a_port << 48 | b_port << 32] for ((a, a_port), (b, b_port)) in (
        sorted(row[:2]) for row in rows)]
    for name in ("last_ns", "first_number", "last_number"):
        values[name] = np.arange(len(rows)) + 7
    return KeptRows({name: np.array(column, layout[name].dtype).reshape(len(rows), *layout[name].shape[1:])
                     for name, column in values.items()})


def directions(client_hi: U64, client_lo: U64, server_hi: U64, server_lo: U64) -> list[str]:
    return [f"{each}" for each in zip(*(half.tolist() for half in (client_hi, client_lo, server_hi, server_lo)),
                                      strict=True)]


@settings(max_examples=80, deadline=None)
@given(st.lists(ROW, max_size=12), st.data(), st.booleans())
def test_flows_are_named_as_in_python(rows: list[tuple[Any, ...]], data: st.DataObject, directed: bool) -> None:
    kept = columns_of(rows)
    picked = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=9)) if rows else [], np.int32)
    reasons = data.draw(st.lists(REASONS, min_size=len(picked), max_size=len(picked)))
    results = []
    for compiled in (True, False):
        namer = FlowNamer(FlowColumns(1), PATHS, SOURCES, directions if directed else None)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kernels, "COMPILED", compiled)
            opened = namer.open(picked, kept)
            new = [(flow, flow.flow_id, flow.community_id) for flow in namer.open(picked, kept)]
            namer.complete(picked, opened, reasons, kept)
        results.append((opened, new))
        assert all(type(flow.watched) is bool and type(flow.midstream) is bool for flow in opened)
    assert results[0] == results[1]


def a_namer() -> tuple[FlowNamer, KeptRows]:
    rows = [(((0, int(V4_PREFIX) | at), 143), ((0, int(V4_PREFIX) | 9), 40_000), 6, 0, 0, 0, 0, 0, 1, 5, 6, True, False,
             (1, 1), (1, 1), (2, 18)) for at in range(3)]
    return FlowNamer(FlowColumns(1), PATHS, SOURCES, None), columns_of(rows)


def test_new_flows_share_nothing_that_changes() -> None:
    namer, kept = a_namer()
    one, other = namer.open(np.arange(2), kept)
    assert gc.is_tracked(one)
    one.anomalies["odd"] = 1
    one.limits.append("full")
    assert not other.anomalies
    assert not other.limits
    assert namer.open(np.arange(1), kept)[0].anomalies == {}


def test_a_row_that_is_not_there_is_an_error_and_changes_nothing() -> None:
    namer, kept = a_namer()
    with pytest.raises(IndexError):
        namer.open(np.array([0, 3]), kept)
    flows = namer.open(np.arange(2), kept)
    with pytest.raises(IndexError):
        namer.complete(np.array([0, -1]), flows, ["idle", "idle"], kept)
    with pytest.raises(ValueError, match="a row and a reason"):
        namer.complete(np.arange(2), flows, ["idle"], kept)
    with pytest.raises(TypeError):
        namer.complete(np.arange(1), [object()], ["idle"], kept)  # type: ignore[list-item]
    assert all(type(flow) is Flow for flow in flows)


def test_ends_are_told_as_in_python() -> None:
    namer, kept = a_namer()
    results: list[list[FlowUpdate]] = []
    for compiled in (True, False):
        flows = namer.open(np.arange(3), kept)
        namer.complete(np.arange(3), flows, ["idle", "reused", "evicted"], kept)
        pieces: list[list[Piece]] = [[], [StreamGap(0, 0, 1, 2, 3)], []]
        columns = KeptRows({"serial": np.array([7, 8, 9]), "last_number": np.array([4, 5, 6])})
        ends = _Ends(columns, [], [], np.array([-1, 2**62, 3]), np.array([1, 2, 3]))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kernels, "COMPILED", compiled)
            results.append(_last_updates(flows, pieces, columns, ends))
        assert [update.pieces is own for update, own in zip(results[-1], pieces, strict=True)] == [True] * 3
    assert results[0] == results[1]
    assert [update.pieces[-1].reason for update in results[0]] == ["idle", "reused", "evicted"]  # type: ignore[union-attr]


@pytest.mark.parametrize(("flows", "pieces", "error"), [
    pytest.param([object()], [[]], TypeError, id="no flow"),
    pytest.param([Flow("TCP", "a", 1, "b", 2)], [()], TypeError, id="pieces that nothing can be added to"),
    pytest.param([Flow("TCP", "a", 1, "b", 2)], [], ValueError, id="a flow without pieces"),
    pytest.param([Flow("TCP", "a", 1, "b", 2)] * 2, [[], []], IndexError, id="more flows than numbers"),
])
def test_odd_ends_are_refused(flows: list[Any], pieces: list[Any], error: type[Exception]) -> None:
    one = np.zeros(1, np.int64)
    with pytest.raises(error):
        kernels.events.LastUpdates(Flow, StreamEnd, FlowUpdate).make(flows, pieces, one, one, one, one)
