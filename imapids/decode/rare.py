"""The last resort: frames whose link header the columns do not know are shown to dpkt, which may find IP in them."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from imapids.decode.columns import Rows
from imapids.decode.headers import Header
from imapids.decode.work import Work
from imapids.protocols import link_layers as link
from imapids.records.packets import I64

_PARSERS = {
    link.ETHERNET: ("ethernet", "Ethernet"), link.SLL: ("sll", "SLL"), link.SLL2: ("sll2", "SLL2"),
    link.NULL: ("loopback", "Loopback"), link.LOOP: ("loopback", "Loopback"), link.PPP: ("ppp", "PPP"),
    link.WLAN: ("ieee80211", "IEEE80211"), link.RADIOTAP: ("radiotap", "Radiotap"),
}
"""Module and class of dpkt for a LINKTYPE_ number."""
LOOK_BYTES = 512
"""Of a frame: dpkt cuts a copy for each header, so that its work grows with the square of nested headers."""
_LAYERS = 8
"""Objects inside each other that are searched for an IP header."""
_TYPE_AT, _TYPE_MIN = 12, 1536


def ask_dpkt(work: Work, rows: Rows) -> I64:
    """Let dpkt look at frames that the columns are about to give up; returns the index of those that stay lost.

    The others go on with the IP header that dpkt found. It must stand behind the place where the columns stopped:
    so every frame gets nearer to its end, and none is asked about for what the columns have read already.
    dpkt is imported here and nowhere else, for the few frames that need it: that takes 0.1 s.
    """
    lost = np.ones(len(rows), np.bool_)
    known = np.isin(work.batch.link_type[rows.row], list(_PARSERS)) & (not work.base)  # rebuilt datagrams are no frames
    asked = np.flatnonzero(known)[: work.rare_left]
    work.note("rare-frames-not-tried", np.count_nonzero(known) - len(asked))
    work.rare_left -= len(asked)
    for index in asked.tolist():
        row, at, end = int(rows.row[index]), int(rows.at[index]), int(rows.end[index])
        start = int(work.batch.offset[row])
        frame = work.data[start : min(end, start + LOOK_BYTES)].tobytes()
        found, vlans = _find_ip(work, _PARSERS[int(work.batch.link_type[row])], frame, at - start)
        if found < 0:
            continue
        lost[index] = False
        work.note("decoded-by-dpkt", 1)
        inner = rows.part(index, index + 1).moved(start + found - at)
        for number in vlans:
            inner.path = work.paths.vlan(inner.path, np.array([number]))
        work.push(Header.IP, inner)
    return np.flatnonzero(lost)


def _find_ip(work: Work, parser: tuple[str, str], frame: bytes, least: int) -> tuple[int, list[int]]:
    """Where in a frame dpkt sees an IP header, at `least` or behind it, and the VLANs around it; -1 where none."""
    kind = int.from_bytes(frame[_TYPE_AT : _TYPE_AT + 2])
    if parser == _PARSERS[link.ETHERNET] and link.LENGTH_MAX < kind < _TYPE_MIN:
        # dpkt takes these lengths for types; full frames of Cisco ISL have them.
        frame = frame[:_TYPE_AT] + link.LENGTH_MAX.to_bytes(2) + frame[_TYPE_AT + 2 :]
    try:
        packet = outer = getattr(importlib.import_module(f"dpkt.{parser[0]}"), parser[1])(frame)
        for _ in range(_LAYERS):
            if type(packet).__name__ in ("IP", "IP6"):
                return frame.find(packet.pack_hdr(), least), _vlans(outer)
            packet = getattr(packet, "data", None)
    except Exception:  # noqa: BLE001  # dpkt raises whatever a hostile length or type leads to
        work.note("dpkt-failed", 1)
    return -1, []


def _vlans(packet: Any) -> list[int]:
    """The VLAN of an ISL header and those of the tags in the frame inside it; without ISL the columns have them."""
    if not hasattr(packet, "vlan"):
        return []
    tags = [tag.id for tag in getattr(packet, "vlan_tags", []) if type(tag).__name__ == "VLANtag8021Q"]
    return [int(number) & 0xFFF for number in (packet.vlan, *tags)]
