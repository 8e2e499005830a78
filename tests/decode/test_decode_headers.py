"""Every link layer and tunnel leads to the same inner packet; every prefix of a frame is counted."""

from __future__ import annotations

import struct

import pytest
from helpers.encapsulations import CASES, PLAIN, TEXT, V4, gre, gtp, in_udp
from helpers.frames import CLIENT6, SERVER6, Decoded, batch_of, ethernet, mpls, tcp, vlan

from imapids.config import DecodeLimits
from imapids.decode import Decoder
from imapids.records.segments import EncapsulationTable


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


@pytest.mark.parametrize(("there", "back"), [
    pytest.param(in_udp(gtp(V4), 2152), in_udp(gtp(V4)[:4] + b"\x99" * 4 + V4, 2152), id="GTP-U endpoint ids"),
    pytest.param(ethernet(mpls(17) + V4, 0x8847), ethernet(mpls(9000, 3) + V4, 0x8847), id="MPLS labels"),
    pytest.param(in_udp(struct.pack(">BBHI", 0, 0, 0x0800, 7 << 8) + V4, 6081),
                 in_udp(struct.pack(">BBHI", 0, 0, 0x0800, 8 << 8) + V4, 6081), id="Geneve identifiers"),
    pytest.param(gre(0x3001, 0x880B, b"\x21" + V4, struct.pack(">HHI", 1 + len(V4), 77, 1)),
                 gre(0x3001, 0x880B, b"\x21" + V4, struct.pack(">HHI", 1 + len(V4), 99, 5)), id="PPTP call ids"),
    pytest.param(gre(0x2000, 0x6558, PLAIN, struct.pack(">I", 0x501)),
                 gre(0x2000, 0x6558, PLAIN, struct.pack(">I", 0x502)), id="NVGRE flow numbers"),
])
def test_ids_that_each_direction_chooses_for_itself_do_not_part_a_flow(there, back):
    result = Decoded([there, back])
    assert result.segments[0]["tunnels"] == result.segments[1]["tunnels"]


def test_vlans_part_packets_and_join_again():
    table = EncapsulationTable()
    frames = [ethernet(vlan(number) + V4, 0x8100) for number in (5, 6)] + [PLAIN]
    tunnels = Decoder(DecodeLimits(), table).feed(batch_of(frames)).segments.tunnel.tolist()
    assert len(set(tunnels)) == 3
    assert {table.join[path] for path in tunnels} == {0}
