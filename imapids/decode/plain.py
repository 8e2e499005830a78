"""The plain majority: IPv4 and IPv6 packets with whole TCP or UDP headers, from gathered header words to segments."""

from __future__ import annotations

import numpy as np

from imapids import kernels
from imapids.decode.columns import Rows, header_bytes, put_rows
from imapids.decode.headers import Header
from imapids.decode.work import Work
from imapids.protocols import ip_headers as ip
from imapids.records.packets import I64, U8, Bool
from imapids.records.segments import V4_PREFIX

LEAD_BYTES = 4
"""What is gathered before an IP header: an EtherType and what stands before it."""
HEAD_BYTES = LEAD_BYTES + 36
"""And an IPv4 header without options and the first 16 bytes of a TCP header."""
_FRAGMENT_MASK = np.array(ip.FRAGMENT_MASK, ">u2").view(np.uint16)
"""As it stands in the packet, whatever the host's byte order."""
_NOBODY: I64 = np.zeros(0, np.int64)


def take_plain(work: Work, rows: Rows, *, framed: bool) -> Rows:
    """Decode what is plain among Ethernet frames or IP packets, where kernels are compiled; returns the other rows."""
    if not kernels.COMPILED or not len(rows):
        return rows
    left = np.empty(len(rows), np.int64)
    count = kernels.compiled.take_plain(
        work.data, rows.row, rows.at, rows.end, rows.wire, rows.path, framed, work.paths.outermost,
        *work.tunnel_ports.tables, work.segments.present.view(np.uint8), work.segments.columns, work.base, left)
    return rows.select(left[:count])


def decode_plain(work: Work, rows: Rows, heads: U8, internet: Bool | None = None) -> None:
    """IP headers at `rows.at`, no row of which has given a segment yet; `internet` leaves rows out (None: all are IP).

    Plain are packets without options, extension headers and fragments, with lengths that fit the frame and with TCP
    or UDP in them that suggests no tunnel. The rest goes on as ODD_IP.

    `heads` are the bytes from LEAD_BYTES before `rows.at` on, shape (n, HEAD_BYTES); they are changed. Each field is
    read from them in one strided pass: this and the gather that made them cost less than gathering two fields.
    """
    start = rows.at + 20
    length = heads.view(">u2")[:, 3].astype(np.int64)
    length -= 20
    ttl, protocol = heads[:, 12].copy(), heads[:, 13].copy()
    four: Bool = heads[:, 4] == 0x45
    plain: Bool = heads.view(np.uint16)[:, 5] & _FRAGMENT_MASK == 0
    plain &= four
    six, fixed = _NOBODY, heads
    if not four.all():
        rest = (~four).nonzero()[0]
        six = rest[(heads[:, 4][rest] >> 4 == 6) & (rows.end[rest] - rows.at[rest] >= 40)]
    if len(six):
        fixed = header_bytes(work.data, rows.at[six], 40 + 16)
        put_rows(heads[:, 24:], six, fixed[:, 40:])
        start[six] += 20
        length[six], protocol[six], ttl[six] = fixed.view(">u2")[:, 2], fixed[:, 6], fixed[:, 7]
        plain[six] = True
    plain &= length <= rows.wire - start
    size, udp = _take_transport(work, plain, protocol, heads, length, rows.end - start)
    if internet is not None:
        plain &= internet
    if not plain.all():
        work.push(Header.ODD_IP, rows.select(~plain if internet is None else internet & ~plain))
        if not plain.any():
            return
    place = rows.place()
    columns = work.segments.columns
    work.segments.present[place] = plain
    columns["protocol"][place] = protocol
    columns["ttl"][place] = ttl
    _write_places(work, rows, place, start, size, length)
    _write_fields(work, place, heads, udp)
    if len(six):
        done = plain[six]
        _write_v6_addresses(work, rows.row[six[done]], fixed[done, :40])


def _take_transport(work: Work, plain: Bool, protocol: U8, heads: U8, length: I64, room: I64) -> tuple[I64, I64]:
    """The sizes of TCP and UDP headers, and which are UDP; `plain` is cleared where none stands whole, or a tunnel's
    port is named.

    `length` are the announced and `room` the captured bytes from the header on. `length` becomes that of UDP where it
    has its own.
    """
    tcp: Bool = protocol == ip.TCP
    size = (heads[:, 36] >> 4 << 2).astype(np.int64)
    good = size >= 20
    good &= size <= length
    good &= room >= 20
    udp = _NOBODY
    if not tcp.all():
        good &= tcp
        udp = ((protocol == ip.UDP) & plain).nonzero()[0]
        ports, told, first, second = heads.take(udp, axis=0).view(">u4").T[6:].astype(np.uint32, "C")
        told >>= 16
        fits = (told >= 8) & (told <= length[udp]) & (room[udp] >= 8)
        fits &= ~work.tunnel_ports.suspects(ports, first, second, told)
        good[udp] = fits
        size[udp] = 8
        length[udp] = told
    plain &= good
    return size, udp


def _write_places(work: Work, rows: Rows, place: slice | I64, start: I64, size: I64, length: I64) -> None:
    """Where everything stands, for all rows, those too that are not plain: they stay marked as absent."""
    out, base, end = work.segments.columns, work.base, rows.end
    length -= size
    payload = start + size
    held = end - payload
    np.minimum(held, length, out=held)
    np.maximum(held, 0, out=held)
    np.minimum(payload, end, out=payload)
    out["tunnel"][place] = rows.path
    out["payload"][place] = payload + base if base else payload
    out["captured"][place] = held
    out["length"][place] = length
    out["ip_offset"][place] = rows.at + base if base else rows.at
    out["transport_offset"][place] = start + base if base else start


def _write_fields(work: Work, place: slice | I64, heads: U8, udp: I64) -> None:
    """What headers say; of UDP, the fields that only TCP has are zero."""
    out = work.segments.columns
    short, wide = heads.view(">u2"), heads.view(">u4")
    for name, column in (("src_lo", 4), ("dst_lo", 5)):
        out[name][place] = wide[:, column]
        out[name][place] |= V4_PREFIX
    out["src_hi"][place] = out["dst_hi"][place] = 0
    out["src_port"][place], out["dst_port"][place] = short[:, 12], short[:, 13]
    without = udp + place.start if isinstance(place, slice) else place[udp]
    for name, field in (("seq", wide[:, 7]), ("ack", wide[:, 8]), ("flags", heads[:, 37] & 0x3F),
                        ("window", short[:, 19])):
        out[name][place] = field
        out[name][without] = 0


def _write_v6_addresses(work: Work, place: I64, headers: U8) -> None:
    """`headers` are IPv6 headers, shape (n, 40)."""
    wide = headers.view(">u8")
    for index, name in enumerate(("src_hi", "src_lo", "dst_hi", "dst_lo")):
        work.segments.columns[name][place] = wide[:, 1 + index]
