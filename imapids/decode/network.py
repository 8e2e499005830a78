"""Ethernet, and the IPv4 and IPv6 packets that are not plain: options, fragments, odd lengths, other contents."""

from __future__ import annotations

import numpy as np

from imapids.decode.columns import Rows, header_bytes, header_words, put_rows, u8
from imapids.decode.extensions import strip_extensions
from imapids.decode.links import by_ethertype, is_ip_type
from imapids.decode.plain import HEAD_BYTES, LEAD_BYTES, decode_plain, take_plain
from imapids.decode.transport import Addresses, decode_upper
from imapids.decode.work import FragmentRows, Work
from imapids.protocols import ip_headers as ip
from imapids.protocols import link_layers as link
from imapids.records.packets import I64, U8, U16, U32
from imapids.records.segments import V4_PREFIX

CHAINED = {4: (ip.AH,), 6: (*ip.EXTENSION_HEADERS, ip.AH, ip.FRAGMENT)}
"""Headers between IP and transport, by the version of IP."""
_CHAINED = {version: np.isin(np.arange(256), numbers) for version, numbers in CHAINED.items()}


def decode_ethernet(work: Work, rows: Rows) -> None:
    """Ethernet II and 802.3: two addresses and a type (IEEE 802.3 clause 3).

    Where the type is IP, perhaps behind one 802.1Q tag, most packets are decoded to the end here.
    """
    rows = work.need(take_plain(work, rows, framed=True), 14)
    if not len(rows):
        return
    rows = rows.moved(14)
    heads = header_bytes(work.data, rows.at - LEAD_BYTES, HEAD_BYTES)
    types = heads.view(">u2")[:, 1].astype(np.uint16)
    tagged = np.flatnonzero(types == link.ETHERTYPE_VLAN)
    if len(tagged):
        rows = _strip_one_tag(work, rows, types, heads, tagged)
    internet = is_ip_type(types)
    if internet.all():
        decode_plain(work, rows, heads)
    else:
        other = np.flatnonzero(~internet)
        by_ethertype(work, rows.select(other), types[other].astype(np.int64))
        if len(other) < len(rows):
            decode_plain(work, rows, heads, internet)


def _strip_one_tag(work: Work, rows: Rows, types: U16, heads: U8, tagged: I64) -> Rows:
    """Step over a single 802.1Q tag where IP follows; `types` and `heads` then hold what follows.

    Rows with other things behind the tag stay as they are: `by_ethertype` takes them.
    """
    tagged = tagged[rows.end[tagged] - rows.at[tagged] >= 4]
    behind = header_bytes(work.data, rows.at[tagged], HEAD_BYTES)  # the tag's content, a type, and what follows
    internet = is_ip_type(behind.view(">u2")[:, 1].astype(np.uint16))
    if not internet.all():
        tagged, behind = tagged[internet], behind[internet]
    if not len(tagged):
        return rows
    at, path, tags = rows.at.copy(), rows.path.copy(), behind.view(">u2")
    path[tagged] = work.paths.vlan(path[tagged], tags[:, 0].astype(np.int64) & 0xFFF)
    at[tagged] += 4
    types[tagged] = tags[:, 1]
    put_rows(heads, tagged, behind)
    return rows.moved(at, path)


def decode_ip(work: Work, rows: Rows) -> None:
    """IPv4 or IPv6 by the version in the first four bits, whatever the layer below announced."""
    rows = take_plain(work, rows, framed=False)
    if not len(rows):
        return
    heads = np.empty((len(rows), HEAD_BYTES), np.uint8)
    heads[:, LEAD_BYTES:] = header_bytes(work.data, rows.at, HEAD_BYTES - LEAD_BYTES)  # `at` may be 0
    decode_plain(work, rows, heads)


def decode_odd_ip(work: Work, rows: Rows) -> None:
    """All IP packets but the plain ones."""
    rows = work.need(rows, 1)
    version = u8(work.data, rows.at) >> 4
    is_v4, is_v6 = version == 4, version == 6
    work.skip("bad-ip-version", ~(is_v4 | is_v6))
    for mine, size, decode in ((is_v6, 40, _decode_odd_v6), (is_v4, 20, _decode_odd_v4)):
        if mine.any():
            odd = work.need(rows.select(mine), size)
            if len(odd):
                decode(work, odd)


def _decode_odd_v4(work: Work, rows: Rows) -> None:
    """IPv4 with options, as fragment, with odd lengths or carrying something else than TCP and UDP (RFC 791)."""
    words = header_words(work.data, rows.at, 5).astype(np.int64)
    header = (words[0] >> 24 & 0x0F) * 4
    total = words[0] & 0xFFFF
    offload = total == 0  # segmentation offload: the card fills in the length of each packet it makes
    total = np.where(offload, rows.wire - rows.at, total)
    good = header >= 20
    work.skip("bad-ip-header", ~good)
    sound = good & (total >= header)
    work.skip("bad-ip-length", good & ~sound)
    whole = sound & (rows.end - rows.at >= header)
    work.skip("cut-header", sound & ~whole)
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
    _upper(work, inner, addresses, protocol, 4)


def _collect_v4(work: Work, rows: Rows, addresses: Addresses, words: I64) -> None:
    zero = np.zeros(len(rows), np.int64)
    work.fragments.append(FragmentRows(
        rows, addresses.at, 4, *addresses.columns(), words[1] >> 16, (words[1] & 0x1FFF) * 8,
        words[1] & ip.MORE_FRAGMENTS != 0, words[2] >> 16 & 0xFF, zero, zero,
    ))


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
    _upper(work, inner, _addresses_v6(words, rows.at), following, 6)


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


def _upper(work: Work, rows: Rows, addresses: Addresses, protocol: I64, version: int) -> None:
    """Walk the headers between IP and transport, then hand on by protocol."""
    if _CHAINED[version][protocol].any():
        rows, addresses, protocol = strip_extensions(work, rows, addresses, protocol, CHAINED[version], version)
    if len(rows):
        decode_upper(work, rows, addresses, protocol, version)
