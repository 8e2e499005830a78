"""Frames of any link type: nothing raises, and each packet is a segment or skipped for a reason, however it is cut.

An input is a byte that picks the link type, then frames, each behind its length (two bytes, big-endian).
"""

from __future__ import annotations

from helpers.frames import Decoded, ethernet, ip4, ip6, mpls, syn, tcp, udp, vlan

LINK_TYPES = (1, 0, 9, 12, 14, 50, 51, 101, 104, 105, 107, 108, 113, 119, 127, 192, 228, 229, 276)
DICTIONARY = (
    b"\x81\x00",
    b"\x88\xa8",
    b"\x88\x47",
    b"\x88\x64",
    b"\x08\x00",
    b"\x86\xdd",
    b"\x88\xbe",
    b"\x22\xeb",
    b"\x45\x00",
    b"\x60\x00",
    b"\x12\xb5",
    b"\x17\xc1",
    b"\x08\x68",
    b"\x0d\xd8",
    b"\x00\x21",
    b"\x65\x58",
)


def seeds() -> list[bytes]:
    """One frame of each kind that the columns know, in Ethernet, and one for each other link type."""
    payload = tcp(b"* OK ready\r\n", 143, 40000)
    frames = [
        ethernet(ip4(syn())),
        ethernet(ip4(payload)),
        ethernet(ip6(payload), 0x86DD),
        ethernet(vlan(7) + vlan(8) + ip4(payload), 0x8100),
        ethernet(mpls(3, 4) + ip4(payload), 0x8847),
        ethernet(ip4(udp(b"x" * 20), 17)),
        ethernet(ip4(ip4(payload), 4)),
        ethernet(ip4(b"\0\0\x08\0" + ip4(payload), 47)),
    ]
    whole = b"\0" + b"".join(len(frame).to_bytes(2, "big") + frame for frame in frames)
    others = [
        bytes([place]) + len(frame).to_bytes(2, "big") + frame
        for place in range(1, len(LINK_TYPES))
        for frame in [bytes(20) + ip4(payload)]
    ]
    return [whole, *others]


def check(data: bytes) -> None:
    if not data:
        return
    link_type = LINK_TYPES[data[0] % len(LINK_TYPES)]
    frames, at = [], 1
    while at + 2 <= len(data) and len(frames) < 64:
        size = int.from_bytes(data[at : at + 2], "big") % 2048
        frames.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    if not frames:
        return
    whole = Decoded(frames, link_type)
    single = Decoded(frames, link_type, cut=1)
    assert whole.segments == single.segments
    assert whole.account == single.account
