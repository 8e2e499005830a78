"""ICMP and ICMPv6 errors: which TCP or UDP packet was refused, and by whom."""

from __future__ import annotations

import numpy as np

from imapids.decode.columns import Rows, u8
from imapids.decode.work import Work
from imapids.protocols import ip_headers as ip
from imapids.records.packets import I64
from imapids.records.segments import TCP, UDP, IcmpError

_V4_MAPPED = bytes(10) + b"\xff\xff"
QUOTED_BYTES = 256
"""Bytes of the refused packet that are looked at: routers quote 28 to 548 of them."""


def decode_icmp(work: Work, rows: Rows, src_hi: I64, src_lo: I64, version: int) -> None:
    """Count ICMP packets, and hand on the errors about TCP and UDP packets (RFC 792, RFC 4443)."""
    work.skip("icmp" if version == 4 else "icmpv6", rows)
    errors = ip.ICMP_ERRORS if version == 4 else ip.ICMPV6_ERRORS
    told = np.flatnonzero(rows.end - rows.at >= 8 + 20 + 8)
    told = told[np.isin(u8(work.data, rows.at[told]), list({kind for kind, _ in errors}))]
    room = max(work.limits.icmp_errors - len(work.icmp_errors), 0)
    work.note("icmp-errors-dropped", len(told[room:]))
    told = told[:room]
    rows, src_hi, src_lo = rows.select(told), src_hi[told], src_lo[told]
    columns = (rows.row, rows.at, rows.end, src_hi, src_lo, rows.path)
    for row, at, end, hi, lo, path in zip(*(column.tolist() for column in columns), strict=True):
        kind = errors.get((int(work.data[at]), int(work.data[at + 1])))
        if kind is None:
            continue
        packet = work.data[at + 8 : min(end, at + 8 + QUOTED_BYTES)].tobytes()
        quoted = _quoted(packet, work.limits.ipv6_extension_headers)
        if quoted is None:
            work.note("icmp-error-about-other", 1)
        else:
            protocol, src, src_port, dst, dst_port = quoted
            work.icmp_errors.append(IcmpError(
                int(work.batch.time_ns[row]), int(work.batch.number[row]), hi.to_bytes(8) + lo.to_bytes(8), kind,
                protocol, src, src_port, dst, dst_port, path,
            ))


def _quoted(packet: bytes, headers: int) -> tuple[int, bytes, int, bytes, int] | None:
    """Protocol, source, port, destination, port of a quoted packet; None where it is not TCP or UDP."""
    if packet[0] >> 4 == 4:
        at = (packet[0] & 0x0F) * 4
        if at < 20 or int.from_bytes(packet[6:8]) & 0x1FFF:
            return None
        protocol, src, dst = packet[9], _V4_MAPPED + packet[12:16], _V4_MAPPED + packet[16:20]
    elif packet[0] >> 4 == 6 and len(packet) >= 40:
        at, protocol, src, dst = 40, packet[6], packet[8:24], packet[24:40]
        for _ in range(headers):
            if protocol not in (*ip.EXTENSION_HEADERS, ip.FRAGMENT) or len(packet) < at + 8:
                break
            if protocol == ip.FRAGMENT and int.from_bytes(packet[at + 2 : at + 4]) & 0xFFF8:
                return None
            size = 8 if protocol == ip.FRAGMENT else 8 + 8 * packet[at + 1]
            protocol, at = packet[at], at + size
    else:
        return None
    if protocol not in (TCP, UDP) or len(packet) < at + 4:
        return None
    return protocol, src, int.from_bytes(packet[at : at + 2]), dst, int.from_bytes(packet[at + 2 : at + 4])
