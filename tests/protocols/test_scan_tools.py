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
from imapids.protocols.scan_tools import TOOLS, tool_marks
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
