"""Marks that scanning tools leave in the headers of their SYN packets: facts of their sources, nothing statistical."""

from __future__ import annotations

import numpy as np

from imapids.records.packets import I64, U8, U64
from imapids.records.segments import V4_PREFIX, SegmentBatch

TOOLS = ("", "masscan", "zmap", "nmap", "mirai")
"""Names by number; 0 stands for no mark."""
_MASSCAN, _ZMAP, _NMAP, _MIRAI = range(1, 5)

_ZMAP_ID = 54_321
_NMAP_WINDOWS = (1_024, 2_048, 3_072, 4_096)
_MSS_1460 = 0x0204_05B4
_MSS = 0x0204
"""Kind and length of the option that says the maximum segment size."""
_INITIAL_TTLS = (32, 64, 128, 255)
"""What systems and tools begin with (a path has fewer than 32 hops, as a rule)."""
_OWN_WINDOWS = (_NMAP, _MIRAI)
"""Tools that choose a window for each packet or each run."""
"""The only option that nmap's raw SYN has: a maximum segment size of 1,460 (RFC 9293 section 3.7.1)."""


def tool_marks(batch: SegmentBatch, at: I64) -> U8:
    """The tool (index into `TOOLS`) whose mark the SYN segments at some positions bear; shape (n,), uint8.

    - masscan: IP identification = low halves of target address, port and sequence number, exclusive-or; window 1,024
      (robertdavidgraham/masscan, src/templ-pkt.c).
    - zmap: IP identification 54,321, window 65,535 (zmap/zmap, src/probe_modules/packet.c).
    - nmap: window 1,024 to 4,096 in steps of 1,024, only the option MSS 1,460 (nmap/nmap, scan_engine_raw.cc).
    - Mirai and its heirs: sequence number = target address (bot/scanner.c).
    """
    buffer, ip, tcp = batch.buffer, batch.ip_offset[at], batch.transport_offset[at]
    size = len(buffer) - 24
    if size < 0:
        return np.zeros(len(at), np.uint8)
    ip, tcp = ip.clip(0, size), tcp.clip(0, size)  # headers were whole when they were decoded; options may be cut
    target, seq = batch.dst_lo[at], batch.seq[at].astype(np.uint64)
    v4 = (batch.dst_hi[at] == 0) & (target & ~np.uint64(0xFFFF_FFFF) == V4_PREFIX)
    identification = buffer[ip + 4].astype(np.uint64) << np.uint64(8) | buffer[ip + 5]
    window = batch.window[at]
    header = (buffer[tcp + 12] >> 4) * 4
    mixed = (target ^ batch.dst_port[at].astype(np.uint64) ^ seq) & np.uint64(0xFFFF)
    marks = np.zeros(len(at), np.uint8)
    option = (buffer[tcp + 20].astype(np.uint32) << 24 | buffer[tcp + 21].astype(np.uint32) << 16
              | buffer[tcp + 22].astype(np.uint32) << 8 | buffer[tcp + 23])
    marks[(header == 24) & (option == _MSS_1460) & np.isin(window, _NMAP_WINDOWS)] = _NMAP
    marks[v4 & (seq == target & np.uint64(0xFFFF_FFFF))] = _MIRAI
    marks[v4 & (identification == _ZMAP_ID) & (window == 65_535)] = _ZMAP
    marks[v4 & (identification == mixed) & (window == 1_024)] = _MASSCAN
    return marks


def hand_made(batch: SegmentBatch, at: I64, tools: U8) -> U64:
    """Traits of the SYN segments at some positions that a program made by itself; shape (n,), uint64, 0 for others.

    The stacks of today's systems offer selective acknowledgements, window scaling or time stamps with every SYN
    (RFC 2018, RFC 7323); programs that write their packets themselves send no option, or the segment size alone. What
    stays the same in all packets of such a program makes the number: tool, window, segment size, first time to live
    and the flag against fragments. `traits_text` reads it.

    Args:
        tools: what `tool_marks` says of the same segments.
    """
    buffer, last = batch.buffer, len(batch.buffer) - 24
    if last < 0:
        return np.zeros(len(at), np.uint64)
    ip, tcp = batch.ip_offset[at], batch.transport_offset[at]  # headers were whole when they were decoded
    header = (buffer[tcp + 12] >> 4) * 4
    options = tcp.clip(0, last) + 20
    only_size = (header == 24) & (tcp <= last) & (
        (buffer[options].astype(np.uint64) << np.uint64(8) | buffer[options + 1]) == _MSS)
    segment = np.where(only_size, buffer[options + 2].astype(np.uint64) << np.uint64(8) | buffer[options + 3], 0)
    v4 = buffer[ip] >> 4 == 4
    began = np.searchsorted(_INITIAL_TTLS, batch.ttl[at]).astype(np.uint64)
    whole = (v4 & ((buffer[ip + 6] & 0x40) != 0)).astype(np.uint64)
    window = np.where(np.isin(tools, _OWN_WINDOWS), 0, batch.window[at]).astype(np.uint64)
    traits = (window | segment.astype(np.uint64) << np.uint64(16) | tools.astype(np.uint64) << np.uint64(32)
              | began << np.uint64(40) | whole << np.uint64(44) | np.uint64(1 << 48))
    return np.where((header == 20) | only_size, traits, np.uint64(0))


def traits_text(traits: int) -> str:
    """The traits of `hand_made` in words: `masscan ttl=255 window=1024 mss=none`; empty for 0."""
    if not traits:
        return ""
    tool, began = traits >> 32 & 0xFF, traits >> 40 & 3
    words = [TOOLS[tool] if tool < len(TOOLS) else "", f"ttl={_INITIAL_TTLS[began]}"]
    if tool not in _OWN_WINDOWS:
        words.append(f"window={traits & 0xFFFF}")
    words.append(f"mss={traits >> 16 & 0xFFFF or 'none'}")
    if traits >> 44 & 1:
        words.append("df")
    return " ".join(word for word in words if word)
