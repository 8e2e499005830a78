"""Marks of scanning tools in SYN packets."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.frames import batch_of
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from imapids.config import DecodeLimits
from imapids.decode import Decoder
from imapids.protocols.scan_tools import TOOLS, hand_made, tool_marks, traits_text
from imapids.records.segments import EncapsulationTable


def mark_of(frame: bytes) -> str:
    """The tool of a frame's SYN."""
    decoded = Decoder(DecodeLimits(), EncapsulationTable()).feed(batch_of([frame]))
    return TOOLS[int(tool_marks(decoded.segments, np.array([0]))[0])]


PORT, TARGET = 143, "10.143.0.9"
SEQ = 4_205_364_294


@pytest.mark.parametrize(
    ("packet", "tool"),
    [
        pytest.param(
            IP(dst=TARGET, id=(0x0009 ^ PORT ^ (SEQ & 0xFFFF))) / TCP(dport=PORT, seq=SEQ, window=1_024),
            "masscan",
            id="masscan: identification from target, port and sequence number",
        ),
        pytest.param(
            IP(dst=TARGET, id=54_321) / TCP(dport=PORT, seq=7, window=65_535), "zmap", id="zmap: its identification"
        ),
        pytest.param(
            IP(dst=TARGET, id=7) / TCP(dport=PORT, seq=7, window=2_048, options=[("MSS", 1_460)]),
            "nmap",
            id="nmap: a window of 2,048 and no option but the segment size",
        ),
        pytest.param(
            IPv6(dst="fd00::9") / TCP(dport=PORT, seq=7, window=1_024, options=[("MSS", 1_460)]),
            "nmap",
            id="nmap over IPv6",
        ),
        pytest.param(
            IP(dst=TARGET, id=7) / TCP(dport=PORT, seq=0x0A8F_0009, window=5_000),
            "mirai",
            id="Mirai: the target's address as sequence number",
        ),
        pytest.param(
            IP(dst=TARGET, id=54_321)
            / TCP(
                dport=PORT,
                seq=7,
                window=64_240,
                options=[("MSS", 1_460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)],
            ),
            "",
            id="Linux, by chance",
        ),
        pytest.param(
            IP(dst=TARGET, id=7) / TCP(dport=PORT, seq=7, window=8_192, options=[("MSS", 1_460)]),
            "",
            id="an old stack with one option",
        ),
    ],
)
def test_a_tool_is_named_by_its_mark(packet: object, tool: str) -> None:
    assert mark_of(bytes(Ether() / packet)) == tool


def traits_of(frame: bytes) -> str:
    """The traits of a frame's SYN, in words."""
    decoded = Decoder(DecodeLimits(), EncapsulationTable()).feed(batch_of([frame]))
    at = np.array([0])
    return traits_text(int(hand_made(decoded.segments, at, tool_marks(decoded.segments, at))[0]))


STACK = [("MSS", 1_460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]


@pytest.mark.parametrize(("packet", "traits"), [
    pytest.param(IP(dst=TARGET, ttl=244, id=0x0009 ^ PORT ^ (SEQ & 0xFFFF)) / TCP(dport=PORT, seq=SEQ, window=1_024),
                 "masscan ttl=255 window=1024 mss=none", id="masscan, eleven hops away"),
    pytest.param(IP(dst=TARGET, ttl=255, id=54_321) / TCP(dport=PORT, window=65_535),
                 "zmap ttl=255 window=65535 mss=none", id="zmap"),
    pytest.param(IP(dst=TARGET, ttl=50, id=7) / TCP(dport=PORT, window=3_072, options=[("MSS", 1_460)]),
                 "nmap ttl=64 mss=1460", id="nmap: its window differs from packet to packet"),
    pytest.param(IP(dst=TARGET, ttl=52, id=7) / TCP(dport=PORT, seq=0x0A8F_0009, window=5_001),
                 "mirai ttl=64 mss=none", id="Mirai: its window differs from run to run"),
    pytest.param(IP(dst=TARGET, ttl=119, flags="DF") / TCP(dport=PORT, window=8_192, options=[("MSS", 1_400)]),
                 "ttl=128 window=8192 mss=1400 df", id="a program that nobody has named"),
    pytest.param(IPv6(dst="fd00::9", hlim=250) / TCP(dport=PORT, window=65_535), "ttl=255 window=65535 mss=none",
                 id="IPv6"),
    pytest.param(IP(dst=TARGET, ttl=64) / TCP(dport=PORT, window=64_240, options=STACK), "",
                 id="the stack of a system"),
    pytest.param(IP(dst=TARGET, ttl=64) / TCP(dport=PORT, window=64_240, options=[("SAckOK", b""), ("NOP", None),
                                                                              ("NOP", None)]), "",
                 id="four bytes of options that are no segment size"),
])
def test_traits_of_hand_made_packets(packet: IP | IPv6, traits: str) -> None:
    assert traits_of(bytes(Ether() / packet)) == traits


def test_traits_of_any_number_are_text() -> None:
    assert traits_text(0) == ""
    assert traits_text((1 << 64) - 1).startswith("ttl=255")
