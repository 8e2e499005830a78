"""IPv6 extension headers and AH: walked in columns, each step going on by at least eight bytes."""

from __future__ import annotations

import numpy as np

from imapids.decode.columns import Rows, header_words, u8, u16
from imapids.decode.transport import Addresses
from imapids.decode.work import FragmentRows, Work
from imapids.protocols import ip_headers as ip
from imapids.records.packets import I64, Bool

ROUTING_FINAL_LAST, ROUTING_HOME, ROUTING_FINAL_FIRST = 0, 2, 4
"""Routing headers that hold the final destination: type 0 (RFC 2460) at the end of its list, type 2 (RFC 6275) and
the segment routing header (RFC 8754) at its start."""


def strip_extensions(
    work: Work, rows: Rows, addresses: Addresses, following: I64, strip: tuple[int, ...], version: int,
) -> tuple[Rows, Addresses, I64]:
    """Walk to the first header that is not in `strip`.

    Returns the rows that reached one, with `at` there, their addresses (the final destination where a routing
    header names it) and the protocol number. Fragments are set aside in `work.fragments`; broken and endless
    chains are skipped. `version` is that of the IP header before the chain.
    """
    done: list[tuple[Rows, Addresses, I64]] = []
    patch = addresses.at + (6 if version == 6 else 9)
    for _ in range(work.limits.ipv6_extension_headers + 1):
        more = np.isin(following, strip)
        done.append((rows.select(~more), addresses.select(~more), following[~more]))
        # Four bytes tell the length of every kind; a fragment header and the shortest AH and option header have eight.
        whole = more & (rows.end - rows.at >= 8)
        work.skip("cut-header", rows.select(more & ~whole))
        rows, addresses, following, patch = rows.select(whole), addresses.select(whole), following[whole], patch[whole]
        if not len(rows):
            break
        rows, addresses, following, patch = _step(work, rows, addresses, following, patch)
    work.skip("too-many-extension-headers", rows)
    groups = [group for group in done if len(group[0])] or done[:1]
    return (
        Rows(*(np.concatenate([getattr(group[0], name) for group in groups]) for name in Rows.__struct_fields__)),
        Addresses.join([group[1] for group in groups]),
        np.concatenate([group[2] for group in groups]),
    )


def _step(
    work: Work, rows: Rows, addresses: Addresses, following: I64, patch: I64,
) -> tuple[Rows, Addresses, I64, I64]:
    """One extension header of every row; returns the rows that go on behind it."""
    after, size = u8(work.data, rows.at), u8(work.data, rows.at + 1)
    length = np.where(following == ip.AH, np.maximum((size + 2) * 4, 8), (size + 1) * 8)
    fragment = following == ip.FRAGMENT
    go_on = ~fragment
    if fragment.any():
        length[fragment] = 8
        field = u16(work.data, rows.at + 2)
        atomic = fragment & (field & 0xFFF9 == 0)  # offset 0, no more: RFC 6946
        work.note("ipv6-atomic-fragment", np.count_nonzero(atomic))
        parts = fragment & ~atomic
        if parts.any():
            _collect_v6(work, rows.select(parts), addresses.select(parts), after[parts], field[parts], patch[parts])
        go_on |= atomic
    routing = (following == ip.ROUTING) & (rows.end - rows.at >= np.minimum(length, 24)) & (size >= 2)
    if routing.any():
        addresses = _final_destination(work, rows, addresses, routing, length)
    fits = rows.wire - rows.at >= length
    work.skip("bad-extension-header", rows.select(go_on & ~fits))
    held = rows.end - rows.at >= length
    work.skip("cut-header", rows.select(go_on & fits & ~held))
    go_on &= fits & held
    return (rows.select(go_on).moved(rows.at[go_on] + length[go_on]), addresses.select(go_on), after[go_on],
            rows.at[go_on])


def _final_destination(work: Work, rows: Rows, addresses: Addresses, routing: Bool, length: I64) -> Addresses:
    """Replace the destination by the last stop of a routing header with stops left: ports belong to that host."""
    at = rows.at
    kind = np.full(len(rows), -1, np.int64)
    kind[routing] = u8(work.data, at[routing] + 2)
    left = np.zeros(len(rows), np.int64)
    left[routing] = u8(work.data, at[routing] + 3)
    where = at + np.where(kind == ROUTING_FINAL_LAST, length - 16, 8)
    known = (kind == ROUTING_FINAL_LAST) | (kind == ROUTING_HOME) | (kind == ROUTING_FINAL_FIRST)
    use = np.flatnonzero(known & (left > 0) & (where + 16 <= rows.end))
    if not len(use):
        return addresses
    work.note("routing-header", len(use))
    words = header_words(work.data, where[use], 4).astype(np.uint64)
    hi, lo = np.array(addresses.dst_hi), addresses.dst_lo.copy()
    hi[use], lo[use] = words[0] << np.uint64(32) | words[1], words[2] << np.uint64(32) | words[3]
    return addresses.with_destination(hi, lo)


def _collect_v6(work: Work, rows: Rows, addresses: Addresses, after: I64, field: I64, patch: I64) -> None:
    identity = header_words(work.data, rows.at + 4, 1)[0].astype(np.int64)
    work.fragments.append(FragmentRows(
        rows.moved(8), addresses.at, 6, *addresses.columns(), identity, field & 0xFFF8, field & 1 != 0, after, patch,
        rows.at,
    ))
