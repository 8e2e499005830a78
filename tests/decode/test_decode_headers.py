"""Every link layer and tunnel leads to the same inner packet; every prefix of a frame is counted."""

from __future__ import annotations

import pytest
from helpers.encapsulations import CASES, TEXT
from helpers.frames import CLIENT6, SERVER6, Decoded, tcp


@pytest.mark.parametrize(("link_type", "frame", "vlans", "tunnels"), CASES)
def test_the_inner_packet_comes_out(link_type, frame, vlans, tunnels):
    segment = Decoded([frame], link_type).only
    assert (segment["vlan"], segment["tunnels"]) == (vlans, tunnels)
    assert segment["payload"] == TEXT
    assert segment["length"] == len(TEXT)
    assert (segment["sport"], segment["dport"], segment["seq"], segment["ack"]) == (40000, 143, 1, 2)
    assert (segment["flags"], segment["window"], segment["ttl"]) == (24, 512, 64)
    assert segment["transport"] == tcp()[:4]
    assert segment["ip"] == (4 if "." in segment["src"] else 6)
    assert (segment["src"], segment["dst"]) in {
        ("10.0.0.1", "10.0.0.2"), (CLIENT6, SERVER6), ("2001:0:1::1", SERVER6),
    }


@pytest.mark.parametrize(("link_type", "frame", "vlans", "tunnels"), CASES)
def test_a_cut_frame_is_counted_and_the_rest_of_the_payload_is_missing(link_type, frame, vlans, tunnels):
    prefixes = [frame[:size] for size in range(len(frame))]
    result = Decoded(prefixes, link_type, originals=[len(frame)] * len(frame))
    assert result.account.packets == len(frame)
    for segment in result.segments:
        if segment["tunnels"] == tunnels and segment["dport"] == 143:
            assert segment["length"] == len(TEXT)
            assert segment["payload"] == TEXT[: len(segment["payload"])]
    assert len(result.segments) >= len(TEXT)


@pytest.mark.parametrize(("link_type", "frame", "vlans", "tunnels"), CASES)
def test_bytes_behind_the_packet_change_nothing(link_type, frame, vlans, tunnels):
    whole, padded = Decoded([frame], link_type), Decoded([frame + b"\0" * 9], link_type)
    assert padded.segments == whole.segments


def test_all_cases_together_come_out_in_capture_order():
    frames = [case.values[1] for case in CASES]
    kinds = [case.values[0] for case in CASES]
    together, one_by_one = Decoded(frames, kinds), Decoded(frames, kinds, cut=1)
    assert [segment["number"] for segment in together.segments] == list(range(1, len(CASES) + 1))
    assert together.segments == one_by_one.segments
