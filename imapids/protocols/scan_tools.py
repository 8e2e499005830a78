"""Marks that scanning tools leave in the headers of their SYN packets: facts of their sources, nothing statistical."""

from __future__ import annotations

import numpy as np

from imapids.records.packets import I64, U8
from imapids.records.segments import V4_PREFIX, SegmentBatch

TOOLS = ("", "masscan", "zmap", "nmap", "mirai")
"""Names by number; 0 stands for no mark."""
_MASSCAN, _ZMAP, _NMAP, _MIRAI = range(1, 5)

_ZMAP_ID = 54_321
_NMAP_WINDOWS = (1_024, 2_048, 3_072, 4_096)
_MSS_1460 = 0x0204_05B4
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
