"""Kernels of knocks: one pass over ended conversations finds the rows and fields that the masks of NumPy find."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.ended_flows import Row, ended_flows
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids import kernels
from imapids.config import HOME_NETS
from imapids.observe.askers import askers
from imapids.observe.scan_rows import scan_rows
from imapids.protocols.addresses import Networks
from imapids.protocols.scan_tools import TOOLS
from imapids.records.flows import STATES, EndedFlows
from imapids.records.segments import ACK, FIN, PSH, RST, SYN, URG

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")

_HOME = Networks(HOME_NETS)
_PORTS = (25, 110, 143, 465, 587, 993, 995, 0, 80, 144, 8143, 65_535)
_FLAGS = (0, FIN, SYN, RST, ACK, FIN | PSH | URG, SYN | ACK, SYN | RST, RST | ACK, FIN | ACK, 255)
_HIGH = (0, 0, 0, 1, 0xFD00 << 48, 2**64 - 1)
_LOW = (0, 0xFFFF_0A14_0118, 0xFFFF_CB00_7109, 0xFFFF_FFFF_FFFF, 0xFFFE_0000_0001, 2**64 - 1)


def any_flows(seed: int, count: int) -> EndedFlows:
    """Conversations of any kind, and of kinds that there are not."""
    random = np.random.default_rng(seed)
    ended = ended_flows([Row("10.0.0.1", "10.0.0.2")] * count)

    def pick(values: Any, shape: Any = count) -> Any:
        return np.array(values)[random.integers(0, len(values), shape)]

    ended.protocol = pick([6, 6, 6, 17, 1, 255]).astype(np.uint8)
    ended.server_port, ended.client_port = pick(_PORTS).astype(np.uint16), pick(_PORTS).astype(np.uint16)
    ended.state, ended.selected = pick(range(len(STATES))).astype(np.uint8), pick(range(5)).astype(np.uint8)
    ended.flags = pick(_FLAGS, (count, 2)).astype(np.uint8)
    ended.bytes, ended.packets = pick([0, 0, 1, 1 << 60], (count, 2)), pick([0, 1, 2, 3, 1 << 60], (count, 2))
    ended.tool, ended.began = pick(range(len(TOOLS))).astype(np.uint8), pick([False, True])
    ended.traits = pick(np.array([0, 1, 2**64 - 1], np.uint64))
    for name, values in (("client_hi", _HIGH), ("client_lo", _LOW), ("server_hi", _HIGH), ("server_lo", _LOW)):
        setattr(ended, name, pick(np.array(values, np.uint64)))
    return ended


def shown(rows: Any, names: str) -> dict[str, Any] | None:
    return None if rows is None else {name: np.asarray(getattr(rows, name)).tolist() for name in names.split()}


@given(st.integers(0, 2**32), st.sampled_from([0, 1, 5, 400]))
@settings(max_examples=60, deadline=None)
def test_rows_are_those_of_numpy(seed: int, count: int) -> None:
    ended = any_flows(seed, count)
    scans = "columns certain offered first_ns last_ns over_ns at traits known knock"
    sheet = "columns certain offered first_ns last_ns over_ns at known"
    compiled = shown(scan_rows(ended), scans), shown(askers(ended, _HOME), sheet)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kernels, "COMPILED", False)
        assert compiled[0] == shown(scan_rows(ended), scans)
        assert compiled[1] == shown(askers(ended, _HOME), sheet)


def test_columns_with_gaps_are_read() -> None:
    ended, sparse = any_flows(7, 200), any_flows(7, 200)
    for name in ("packets", "bytes", "flags"):
        setattr(sparse, name, np.asfortranarray(getattr(ended, name)))
    sparse.client_lo = np.repeat(ended.client_lo, 2)[::2]
    sparse.server_port.setflags(write=False)
    for name in ("columns", "certain", "offered", "at"):
        assert shown(scan_rows(ended), name) == shown(scan_rows(sparse), name)
        assert shown(askers(ended, _HOME), name) == shown(askers(sparse, _HOME), name)


def test_a_tool_that_there_is_not_is_refused() -> None:
    ended = ended_flows([Row("10.0.0.1", "10.0.0.2", tool=len(TOOLS))])
    with pytest.raises(IndexError):
        scan_rows(ended)
