"""Headers between Ethernet and IP: MPLS, PPPoE, provider backbones, fabrics, service chains."""

from __future__ import annotations

import numpy as np

from imapids.decode.columns import Rows, u8, u16, u24
from imapids.decode.headers import Header
from imapids.decode.links import looks_like_ethernet
from imapids.decode.udp_tunnels import push_next
from imapids.decode.work import Work


def decode_mpls(work: Work, rows: Rows) -> None:
    """A label stack, then IP, a pseudowire's control word and Ethernet, or Ethernet at once (RFC 3032, 4385, 4448).

    Labels belong to one direction of a path, so they are not part of a flow's identity.
    """
    rows = rows.moved(0, work.paths.tunnel(rows, "mpls"))
    for _ in range(work.limits.layers):
        rows = work.need(rows, 4)
        if not len(rows):
            return
        bottom = u8(work.data, rows.at + 2) & 1 == 1
        rows = rows.moved(4)
        _below_labels(work, rows.select(bottom))
        rows = rows.select(~bottom)
    work.skip("too-many-labels", rows)


def _below_labels(work: Work, rows: Rows) -> None:
    rows = work.need(rows, 1)
    first = u8(work.data, rows.at)
    internet = (first >= 0x45) & (first <= 0x4F) | (first >> 4 == 6)
    # A MAC address may begin with 4 or 6 as well: a known type behind it decides (RFC 4928 section 2).
    work.push(Header.IP, rows.select(internet))
    rows, first = rows.select(~internet), first[~internet]
    channel = first >> 4 == 1
    work.skip("mpls-channel", rows.select(channel))
    rows, first = rows.select(~channel), first[~channel]
    worded = (first >> 4 == 0) & (rows.end - rows.at >= 4)
    behind = rows.select(worded)
    # RFC 4385 section 3: flags and length are zero in a long frame. A MAC address may look like that too, so a known
    # type at either place decides first.
    zero = (u16(work.data, behind.at) & 0xFFC0) == 0
    shifted, straight = looks_like_ethernet(work.data, behind.moved(4)), looks_like_ethernet(work.data, behind)
    worded[worded] = np.where(shifted == straight, zero, shifted)
    frames = rows.moved(rows.at + np.where(worded, 4, 0))
    work.push(Header.ETHERNET, frames.moved(0, work.paths.tunnel(frames, "pseudowire")))


def decode_pppoe(work: Work, rows: Rows) -> None:
    """PPPoE session data; both directions carry the same session id (RFC 2516 section 4)."""
    rows = work.need(rows, 6)
    session = u16(work.data, rows.at) == 0x1100
    work.skip("pppoe-discovery", rows.select(~session))
    rows = rows.select(session)
    length = u16(work.data, rows.at + 4)
    path = work.paths.tunnel(rows, "pppoe", u16(work.data, rows.at + 2))
    # Length 0 stands in offloaded frames above 64 KiB; IP knows better.
    rows = rows.moved(6, path)
    work.push(Header.PPP, rows.within(np.where(length == 0, rows.wire - rows.at, length)))


def decode_pbb(work: Work, rows: Rows) -> None:
    """802.1ah: the I-TAG's service id, then the customer's whole frame."""
    rows = work.need(rows, 4)
    work.push(Header.ETHERNET, rows.moved(4, work.paths.tunnel(rows, "pbb", u24(work.data, rows.at + 1))))


def decode_fabricpath(work: Work, rows: Rows) -> None:
    """Cisco FabricPath: tree and time to live in two bytes, then the whole frame."""
    work.push(Header.ETHERNET, work.need(rows, 2).moved(2))


def decode_trill(work: Work, rows: Rows) -> None:
    """TRILL: six bytes, options in units of four, then the whole frame (RFC 6325 section 3)."""
    rows = work.need(rows, 6)
    size = 6 + (u16(work.data, rows.at) >> 6 & 0x1F) * 4
    whole = rows.end - rows.at >= size
    rows, size = work.keep(rows, whole, "cut-header"), size[whole]
    work.push(Header.ETHERNET, rows.moved(rows.at + size))


def decode_nsh(work: Work, rows: Rows) -> None:
    """Network service header: length in units of four bytes, a next protocol number (RFC 8300 section 2)."""
    rows = work.need(rows, 8)
    size = (u16(work.data, rows.at) & 0x3F) * 4
    good = size >= 8
    rows, size = work.keep(rows, good, "bad-nsh-header"), size[good]
    whole = rows.end - rows.at >= size
    rows, size = work.keep(rows, whole, "cut-header"), size[whole]
    following = u8(work.data, rows.at + 3)
    push_next(work, rows.moved(rows.at + size), following)


def decode_radiotap(work: Work, rows: Rows) -> None:
    """Radiotap: version 0 and a little-endian length, then 802.11 (radiotap.org)."""
    rows = work.need(rows, 8)
    size = u8(work.data, rows.at + 2) | u8(work.data, rows.at + 3) << 8
    good = (size >= 8) & (rows.end - rows.at >= size)
    rows, size = work.keep(rows, good, "bad-link-header"), size[good]
    work.push(Header.WLAN, rows.moved(rows.at + size))


def decode_wlan(work: Work, rows: Rows) -> None:
    """802.11 data frames in clear, then LLC; of an aggregated frame (A-MSDU) the first part (IEEE 802.11 clause 9)."""
    rows = work.need(rows, 24)
    control, flags = u8(work.data, rows.at), u8(work.data, rows.at + 1)
    # Wireless controllers may swap the two bytes of the frame control field (CAPWAP, Wireshark's preference).
    swapped = (control & 0x0C != 0x08) & (flags & 0x0F == 0x08)
    control, flags = np.where(swapped, flags, control), np.where(swapped, control, flags)
    data = control & 0x0F == 0x08
    empty, secret = control & 0x40 != 0, flags & 0x40 != 0
    work.skip("wlan-management", rows.select(~data))
    work.skip("wlan-no-data", rows.select(data & empty))
    work.skip("wlan-encrypted", rows.select(data & ~empty & secret))
    clear = data & ~empty & ~secret
    rows, control, flags = rows.select(clear), control[clear], flags[clear]
    service = control & 0x80 != 0
    size = 24 + 6 * (flags & 3 == 3)
    whole = rows.end - rows.at >= size + 6
    rows, size, service, flags = work.keep(rows, whole, "cut-header"), size[whole], service[whole], flags[whole]
    aggregate = service.copy()
    aggregate[service] = u8(work.data, rows.at[service] + size[service]) & 0x80 != 0
    size = size + 2 * service + 4 * (service & (flags & 0x80 != 0))
    rows = rows.moved(np.minimum(rows.at + size, rows.end))
    work.push(Header.LLC, rows.select(~aggregate))
    several = work.need(rows.select(aggregate), 14)
    work.note("wlan-aggregate", len(several))
    work.push(Header.LLC, several.moved(14))


