"""Frames with a link header that only dpkt knows are decoded with its help; whatever it does, nothing is lost."""

from __future__ import annotations

import subprocess
import sys

import dpkt
import pytest
from helpers.frames import Decoded, ethernet, ip4, ip6, tcp, vlan
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.config import DecodeLimits

TEXT = b"a1 OK done\r\n"


def isl(frame: bytes, number: int = 5, first: int = 1) -> bytes:
    """Cisco's Inter-Switch Link: 26 bytes before the frame and a checksum behind it."""
    body = bytes.fromhex("aaaa0300000c") + (number << 1).to_bytes(2) + bytes(4) + frame + bytes(4)
    return bytes((first, 0, 0x0C, 0, 0, 0)) + b"\x02" * 6 + (len(body)).to_bytes(2) + body


@pytest.mark.parametrize(("frame", "vlans"), [
    pytest.param(isl(ethernet(ip4(tcp(TEXT)))), (5,), id="IPv4 in ISL"),
    pytest.param(isl(ethernet(ip6(tcp(TEXT)), 0x86DD), 900, 3), (900,), id="IPv6 in ISL, the other address"),
    pytest.param(isl(ethernet(vlan(7) + ip4(tcp(TEXT)), 0x8100)), (5, 7), id="a tagged frame in ISL"),
])
def test_cisco_isl(frame, vlans):
    result = Decoded([frame])
    assert (result.only["payload"], result.only["vlan"], result.only["dport"]) == (TEXT, vlans, 143)
    assert result.account.notes == {"decoded-by-dpkt": 1}


@pytest.mark.parametrize("size", [1400, 1430, 1440, 1460])
def test_full_frames_in_isl_have_lengths_above_those_of_ethernet(size):
    result = Decoded([isl(ethernet(ip4(tcp(b"x" * size))))])
    assert result.only["payload"] == b"x" * size


@pytest.mark.parametrize(("frame", "reason"), [
    pytest.param(ethernet(b"\xff\xff" + bytes(40), 42), "llc", id="Novell's raw frames"),
    pytest.param(ethernet(b"\x18\x18\x03" + bytes(40), 43), "llc", id="an unknown service access point"),
    pytest.param(ethernet(bytes(40), 0x88B5), "ethertype:0x88b5", id="an unknown EtherType"),
    pytest.param(isl(ethernet(b"\x42\x42\x03" + bytes(40), 43)), "llc", id="spanning tree in ISL"),
    pytest.param(isl(b"")[:30], "llc", id="ISL around nothing"),
])
def test_what_dpkt_does_not_know_either_keeps_its_reason(frame, reason):
    result = Decoded([frame])
    assert result.segments == []
    assert result.account.skipped == {reason: 1}


def test_only_so_many_frames_of_a_batch_are_tried():
    result = Decoded([isl(ethernet(ip4(tcp(TEXT))))] * 10, limits=DecodeLimits(rare_frames=4))
    assert len(result.segments) == 4
    assert result.account.notes == {"decoded-by-dpkt": 4, "rare-frames-not-tried": 6}
    assert result.account.skipped == {"llc": 6}


@pytest.mark.parametrize("error", [ValueError, RecursionError, dpkt.NeedData, IndexError, MemoryError])
def test_whatever_dpkt_raises_is_counted(monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(dpkt.ethernet, "Ethernet", fail)
    result = Decoded([isl(ethernet(ip4(tcp(TEXT))))])
    assert result.account.skipped == {"llc": 1}
    assert result.account.notes == {"dpkt-failed": 1}


def test_headers_inside_each_other_cost_little():
    frame = ethernet(ip4(tcp(TEXT)))
    for _ in range(100):
        frame = isl(frame[:1400])
    assert sum(Decoded([frame] * 64).account.skipped.values()) == 64


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=120), st.sampled_from([0, 1, 9, 105, 108, 113, 127, 276]), st.booleans())
def test_random_frames_are_accounted_for(data, kind, in_isl):
    Decoded([isl(data) if in_isl else data], 1 if in_isl else kind)


def test_dpkt_is_not_imported_before_it_is_needed():
    code = "import sys, imapids.decode; sys.exit('dpkt' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
