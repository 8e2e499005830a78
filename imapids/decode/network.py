"""Ethernet, IPv4 and IPv6: the plain majority straight from gathered header words, the odd rest step by step."""

from __future__ import annotations

import numpy as np

from imapids.decode.columns import Rows, header_words, u8
from imapids.decode.extensions import strip_extensions
from imapids.decode.links import by_ethertype, is_ip_type
from imapids.decode.transport import Addresses, decode_upper, emit_plain, is_plain
from imapids.decode.work import FragmentRows, Work
from imapids.protocols import ip_headers as ip
from imapids.protocols import link_layers as link
from imapids.records.packets import I64, U32, Bool
from imapids.records.segments import V4_PREFIX

BLOCK_ROWS = 16_384
"""Packets decoded at a time: their header words stay in the second-level cache."""
_IP_WORDS = 9
"""Words that hold an IPv4 header without options and the first 16 bytes of a TCP header."""


def decode_ethernet(work: Work, rows: Rows) -> None:
    """Ethernet II and 802.3: two addresses and a type (IEEE 802.3 clause 3).

    Where the type is IP, the words that were gathered with it are decoded at once: most packets are done here.
    """
    for start in range(0, len(rows), BLOCK_ROWS):
        block = work.need(rows.part(start, start + BLOCK_ROWS), 14)
        if not len(block):
            continue
        words = header_words(work.data, block.at + 10, 1 + _IP_WORDS)  # from the last two bytes of the source address
        types = words[0] & 0xFFFF
        block = block.moved(14)
        tagged = np.flatnonzero(types == link.ETHERTYPE_VLAN)
        if len(tagged):
            block, words, types = _strip_one_tag(work, block, words, types, tagged)
        internet = is_ip_type(types)
        if internet.all():
            _decode_block(work, block, words[1:])
        else:
            other = np.flatnonzero(~internet)
            by_ethertype(work, block.select(other), types[other].astype(np.int64))
            _decode_block(work, block, words[1:], internet)


def _strip_one_tag(work: Work, rows: Rows, words: U32, types: U32, tagged: I64) -> tuple[Rows, U32, U32]:
    """Put the words behind a single 802.1Q tag in the place of those behind the tag's type, where IP follows.

    Rows with other things behind the tag stay as they are: `by_ethertype` takes them.
    """
    tagged = tagged[rows.end[tagged] - rows.at[tagged] >= 4]
    behind = header_words(work.data, rows.at[tagged], 1 + _IP_WORDS)  # tag, type, IP header
    pick = np.flatnonzero(is_ip_type(behind[0] & 0xFFFF))
    if len(pick) < len(tagged):
        tagged, behind = tagged[pick], behind.take(pick, axis=1)
    if len(tagged) == len(rows):
        words, types, at = behind, behind[0] & 0xFFFF, rows.at + 4
        path = work.paths.vlan(rows.path, (behind[0] >> 16 & 0xFFF).astype(np.int64))
    elif len(tagged):
        words[:, tagged] = behind
        types[tagged] = behind[0] & 0xFFFF
        at, path = rows.at.copy(), rows.path.copy()
        at[tagged] += 4
        path[tagged] = work.paths.vlan(path[tagged], (behind[0] >> 16 & 0xFFF).astype(np.int64))
    else:
        return rows, words, types
    return rows.moved(at, path), words, types


def decode_ip(work: Work, rows: Rows) -> None:
    """IPv4 or IPv6 by the version in the first four bits, whatever the layer below announced."""
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows.part(start, start + BLOCK_ROWS)
        _decode_block(work, block, header_words(work.data, block.at, _IP_WORDS))


def _decode_block(work: Work, rows: Rows, words: U32, internet: Bool | None = None) -> None:
    """IP headers whose first words are there; `internet` leaves rows out (None: all are IP)."""
    plain = _is_plain_v4(work, rows, words)
    if internet is not None:
        plain &= internet
    if not plain.all():
        others = ~plain if internet is None else internet & ~plain
        if others.any():
            pick = np.flatnonzero(others)
            _decode_others(work, rows.select(pick), words[0, pick] >> 28)
        pick = np.flatnonzero(plain)
        if not len(pick):
            return
        rows, words = rows.select(pick), words.take(pick, axis=1)
    addresses = Addresses(0, words[3] | V4_PREFIX, 0, words[4] | V4_PREFIX, words[2] >> 24, rows.at)
    emit_plain(work, rows, addresses, words[2] >> 16 & 0xFF, words[5:9], 20, (words[0] & 0xFFFF) - np.uint32(20))


def _decode_others(work: Work, rows: Rows, version: U32) -> None:
    """All but plain IPv4."""
    present = rows.end > rows.at
    work.skip("cut-header", rows.select(~present))
    is_v4, is_v6 = (version == 4) & present, (version == 6) & present
    work.skip("bad-ip-version", rows.select(~(is_v4 | is_v6) & present))
    if is_v6.any():
        _decode_v6(work, rows.select(is_v6))
    odd = work.need(rows.select(is_v4), 20)
    if len(odd):
        _decode_odd_v4(work, odd)


def _is_plain_v4(work: Work, rows: Rows, words: U32) -> Bool:
    """No options, no fragment, lengths that fit the frame, a whole TCP or UDP header, no tunnel."""
    total = (words[0] & 0xFFFF).astype(np.int64)
    good: Bool = (words[0] >> 24 == 0x45) & (words[1] & ip.FRAGMENT_MASK == 0)
    good &= (total >= 28) & (total <= rows.wire - rows.at)
    good &= is_plain(work.tunnel_ports, words[2] >> 16 & 0xFF, words[5:9], total - 20, rows.end - rows.at - 20)
    return good


def _decode_odd_v4(work: Work, rows: Rows) -> None:
    """IPv4 with options, as fragment, with odd lengths or carrying something else than TCP and UDP (RFC 791)."""
    words = header_words(work.data, rows.at, 5).astype(np.int64)
    header = (words[0] >> 24 & 0x0F) * 4
    total = words[0] & 0xFFFF
    offload = total == 0  # segmentation offload: the card fills in the length of each packet it makes
    total = np.where(offload, rows.wire - rows.at, total)
    good = header >= 20
    work.skip("bad-ip-header", rows.select(~good))
    sound = good & (total >= header)
    work.skip("bad-ip-length", rows.select(good & ~sound))
    whole = sound & (rows.end - rows.at >= header)
    work.skip("cut-header", rows.select(sound & ~whole))
    work.note("presumed-offload", np.count_nonzero(offload & whole))
    work.note("ip-length-past-frame", np.count_nonzero(whole & (total > rows.wire - rows.at)))
    rows, words, header, total, start = rows.select(whole), words[:, whole], header[whole], total[whole], rows.at[whole]
    # The announced length stands even where it goes past the frame: the rest was not captured.
    inner = Rows(rows.row, start + header, np.minimum(rows.end, start + total), start + total, rows.path)
    addresses = Addresses(np.zeros(len(rows), np.uint64), words[3].astype(np.uint64) | V4_PREFIX,
                          np.zeros(len(rows), np.uint64), words[4].astype(np.uint64) | V4_PREFIX, words[2] >> 24, start)
    protocol = words[2] >> 16 & 0xFF
    fragment = words[1] & ip.FRAGMENT_MASK != 0
    if fragment.any():
        _collect_v4(work, inner.select(fragment), addresses.select(fragment), words[:, fragment])
        whole_one = ~fragment
        inner, addresses, protocol = inner.select(whole_one), addresses.select(whole_one), protocol[whole_one]
    _upper(work, inner, addresses, protocol, (ip.AH,), 4)


def _collect_v4(work: Work, rows: Rows, addresses: Addresses, words: I64) -> None:
    zero = np.zeros(len(rows), np.int64)
    work.fragments.append(FragmentRows(
        rows, addresses.at, 4, *addresses.columns(), words[1] >> 16, (words[1] & 0x1FFF) * 8,
        words[1] & ip.MORE_FRAGMENTS != 0, words[2] >> 16 & 0xFF, zero, zero,
    ))


def _decode_v6(work: Work, rows: Rows) -> None:
    words = header_words(work.data, rows.at, 14)
    length = (words[1] >> 16).astype(np.int64)
    plain: Bool = (length > 0) & (length + 40 <= rows.wire - rows.at)
    plain &= is_plain(work.tunnel_ports, words[1] >> 8 & 0xFF, words[10:14], length, rows.end - rows.at - 40)
    if not plain.all():
        odd = work.need(rows.select(~plain), 40)
        if len(odd):
            _decode_odd_v6(work, odd)
        pick = np.flatnonzero(plain)
        rows, words = rows.select(pick), words.take(pick, axis=1)
    if len(rows):
        emit_plain(work, rows, _addresses_v6(words, rows.at), words[1] >> 8 & 0xFF, words[10:14], 40, words[1] >> 16)


def _addresses_v6(words: U32, at: I64) -> Addresses:
    wide = words[2:10].astype(np.uint64)
    half = np.uint64(32)
    return Addresses(wide[0] << half | wide[1], wide[2] << half | wide[3], wide[4] << half | wide[5],
                     wide[6] << half | wide[7], words[1] & 0xFF, at)


def _decode_odd_v6(work: Work, rows: Rows) -> None:
    """IPv6 with extension headers, odd lengths or carrying something else than TCP and UDP (RFC 8200)."""
    words = header_words(work.data, rows.at, 10)
    length = (words[1] >> 16).astype(np.int64)
    following = (words[1] >> 8 & 0xFF).astype(np.int64)
    rest = rows.wire - rows.at - 40
    zero = (length == 0) & (rest > 0) & (following != ip.NO_NEXT_HEADER)
    if zero.any():
        jumbo = np.zeros(len(rows), np.int64)
        options = zero & (following == ip.HOP_BY_HOP)
        jumbo[options] = _jumbo_lengths(work, rows.select(options))
        length = np.where(jumbo > 0, jumbo, np.where(zero, rest, length))
        work.note("jumbogram", np.count_nonzero(jumbo))
        work.note("presumed-offload", np.count_nonzero(zero & (jumbo == 0)))
    work.note("ip-length-past-frame", np.count_nonzero(length > rest))
    start = rows.at + 40
    inner = Rows(rows.row, start, np.minimum(rows.end, start + length), start + length, rows.path)
    _upper(work, inner, _addresses_v6(words, rows.at), following, (*ip.EXTENSION_HEADERS, ip.AH, ip.FRAGMENT), 6)


def _jumbo_lengths(work: Work, rows: Rows) -> I64:
    """The payload length in a jumbo option of the hop-by-hop header, 0 where there is none (RFC 2675 section 2)."""
    found = np.zeros(len(rows), np.int64)
    alive = np.flatnonzero(rows.end - rows.at >= 48)
    stop = np.zeros(len(rows), np.int64)
    stop[alive] = np.minimum(rows.end[alive], rows.at[alive] + 48 + 8 * u8(work.data, rows.at[alive] + 41))
    at = rows.at + 42
    for _ in range(work.limits.ipv6_extension_headers):
        alive = alive[at[alive] + 6 <= stop[alive]]
        if not len(alive):
            break
        here = at[alive]
        kind, size = u8(work.data, here), u8(work.data, here + 1)
        jumbo = kind == ip.OPTION_JUMBO
        value = header_words(work.data, here[jumbo] + 2, 1)[0]
        found[alive[jumbo]] = value
        at[alive] = here + np.where(kind == ip.OPTION_PAD1, 1, size + 2)
        alive = alive[~jumbo]
    return found


def _upper(work: Work, rows: Rows, addresses: Addresses, protocol: I64, strip: tuple[int, ...], version: int) -> None:
    """Walk the headers between IP and transport, then hand on by protocol."""
    if np.isin(protocol, strip).any():
        rows, addresses, protocol = strip_extensions(work, rows, addresses, protocol, strip, version)
    if len(rows):
        decode_upper(work, rows, addresses, protocol, version)
