"""The plain majority: IPv4 and IPv6 packets with whole TCP or UDP headers, from gathered header words to segments."""

from __future__ import annotations

import numpy as np

from imapids.decode.columns import Rows, header_words
from imapids.decode.headers import Header
from imapids.decode.work import Work
from imapids.protocols import ip_headers as ip
from imapids.records.packets import I64, U8, U32, Bool
from imapids.records.segments import V4_PREFIX

_WORDS = 9
"""Words that hold an IPv4 header without options and the first 16 bytes of a TCP header."""
_ADDRESS_BYTES = 20
"""What an IPv6 header has more than an IPv4 header without options."""


def decode_plain(work: Work, rows: Rows, internet: Bool | None = None) -> None:
    """IP headers at `rows.at`, no row of which has given a segment yet; `internet` leaves rows out (None: all are IP).

    Plain are packets without options, extension headers and fragments, with lengths that fit the frame and with TCP
    or UDP in them that suggests no tunnel. The rest goes on as ODD_IP.
    """
    data, at = work.data, rows.at
    six = np.flatnonzero((data.take(at, mode="clip") >> 4 == 6) & (rows.end - at >= 40))
    # From 20 bytes into an IPv6 header on, TCP and UDP stand where they stand in the words from an IPv4 header on.
    start = at
    if len(six):
        start = at.copy()
        start[six] += _ADDRESS_BYTES
    words = header_words(data, start, _WORDS)
    start = start + 20
    length = (words[0] & 0xFFFF).astype(np.int64)
    length -= 20
    protocol, ttl = (words[2] >> 16).astype(np.uint8), (words[2] >> 24).astype(np.uint8)
    plain: Bool = (words[0] >> 24 == 0x45) & (words[1] & ip.FRAGMENT_MASK == 0)
    fixed: U32 | None = None
    if len(six):
        fixed = header_words(data, at[six], 10)
        length[six], protocol[six], ttl[six] = fixed[1] >> 16, fixed[1] >> 8 & 0xFF, fixed[1] & 0xFF
        plain[six] = True
    plain &= length <= rows.wire - start
    tcp = _check_transport(work, plain, protocol, words[5:], length, rows.end - start)
    if internet is not None:
        plain &= internet
    if not plain.all():
        work.push(Header.ODD_IP, rows.select(~plain if internet is None else internet & ~plain))
        if not plain.any():
            return
    _write(work, rows, plain, start, length, words, tcp, protocol, ttl)
    if fixed is not None:
        done = plain[six]  # what stands inside the others may be IPv4, whose upper halves stay zero
        _write_v6_addresses(work, rows.row[six[done]], fixed[:, done])


def _check_transport(work: Work, plain: Bool, protocol: U8, words: U32, length: I64, room: I64) -> Bool:
    """Clear `plain` where no whole TCP or UDP header stands or a tunnel port is named; returns which are TCP.

    `words` are the header's first four 32-bit words, shape (4, n); `length` the announced and `room` the captured
    bytes from the header on.
    """
    tcp: Bool = protocol == ip.TCP
    header = words[3] >> 28 << 2
    good = tcp & (header >= 20) & (header <= length) & (room >= 20)
    udp = np.flatnonzero((protocol == ip.UDP) & plain)
    if len(udp):
        told = words[1].take(udp) >> 16
        suspect = work.tunnel_ports.suspects(words[0].take(udp), words[2].take(udp), words[3].take(udp), told)
        good[udp] = (told >= 8) & (told <= length.take(udp)) & (room.take(udp) >= 8) & ~suspect
    plain &= good
    return tcp


def _write(
    work: Work, rows: Rows, plain: Bool, start: I64, length: I64, words: U32, tcp: Bool, protocol: U8, ttl: U8,
) -> None:
    """The segments of all rows to their places; those that are not plain stay marked as absent.

    Arithmetic with masks takes the place of `np.where`, which is eight times as slow (measured).
    """
    place, out, base, end = rows.place(), work.segments.columns, work.base, rows.end
    mask = np.negative(tcp.astype(np.uint32))  # all ones for TCP, zero for UDP
    size = (words[8] >> 28 << 2 & mask | ~mask & np.uint32(8)).astype(np.int64)
    told = (words[6] >> 16).astype(np.int64)
    told ^= (told ^ length) & np.negative(tcp.astype(np.int64))
    told -= size
    payload = start + size
    held = end - payload
    np.minimum(held, told, out=held)
    np.maximum(held, 0, out=held)
    np.minimum(payload, end, out=payload)
    work.segments.present[place] = plain
    out["protocol"][place] = protocol
    out["src_lo"][place] = words[3] | V4_PREFIX
    out["dst_lo"][place] = words[4] | V4_PREFIX
    out["src_port"][place] = words[5] >> 16
    out["dst_port"][place] = words[5].astype(np.uint16)
    out["tunnel"][place] = rows.path
    out["payload"][place] = payload + base if base else payload
    out["captured"][place] = held
    out["length"][place] = told
    out["seq"][place] = words[6] & mask
    out["ack"][place] = words[7] & mask
    out["flags"][place] = words[8] >> 16 & mask & np.uint32(0x3F)
    out["window"][place] = (words[8] & mask).astype(np.uint16)
    out["ttl"][place] = ttl
    out["ip_offset"][place] = rows.at + base if base else rows.at
    out["transport_offset"][place] = start + base if base else start


def _write_v6_addresses(work: Work, place: I64, words: U32) -> None:
    wide, half, out = words[2:].astype(np.uint64), np.uint64(32), work.segments.columns
    for index, name in enumerate(("src_hi", "src_lo", "dst_hi", "dst_lo")):
        out[name][place] = wide[2 * index] << half | wide[2 * index + 1]
