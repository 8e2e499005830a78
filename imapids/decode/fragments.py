"""IP fragments: held within limits, put together when no byte is missing (RFC 791, RFC 8200, RFC 5722)."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from imapids.config import DecodeLimits
from imapids.decode.work import count
from imapids.protocols.ip_headers import IP_LENGTH_MAX
from imapids.records.segments import DecodeAccount

PIECE_COST = 160
"""Bytes that Python spends on holding one fragment, counted against `fragment_bytes`."""
DATAGRAM_COST = 640
"""Bytes that Python spends on one incomplete datagram."""


class Fragment(msgspec.Struct):
    """One fragment of a datagram."""

    key: bytes
    """Addresses, identification, protocol and tunnel: what fragments of one datagram share."""
    version: int
    time_ns: int
    offset: int
    """Position of the data in the datagram."""
    length: int
    """Announced bytes of data; more than `len(data)` where the capture cut the packet."""
    more: bool
    header: bytes
    """Headers before the data, as they must stand before the rebuilt datagram; used where offset is 0."""
    data: bytes


class Datagram(msgspec.Struct):
    """A rebuilt datagram: the first fragment's headers and the data."""

    header: bytes
    data: bytes
    """Up to the first byte that the capture does not hold."""
    length: int
    """Announced bytes of data."""


class _Partial(msgspec.Struct):
    """An incomplete datagram."""

    since_ns: int
    packets: int = 0
    cost: int = DATAGRAM_COST
    pieces: dict[int, tuple[int, bytes]] = {}
    """Announced length and data by offset; pieces never overlap."""
    have: int = 0
    """One bit for each 8 bytes that arrived: offsets count in units of 8."""
    starts: int = 0
    """One bit for each 8 bytes at which a piece starts."""
    total: int = -1
    """Announced length of the whole, once the last fragment was seen."""
    header: bytes = b""
    dead: bool = False
    """Overlapped (IPv6): all further fragments are dropped too (RFC 5722 section 4)."""


class Reassembler:
    """Incomplete datagrams of a run. Time is packet time."""

    def __init__(self, limits: DecodeLimits, account: DecodeAccount) -> None:
        self._limits = limits
        self._account = account
        self._partials: OrderedDict[bytes, _Partial] = OrderedDict()
        self._cost = 0
        self.held = 0
        """Fragment packets that wait for the rest."""

    def feed(self, fragment: Fragment) -> Datagram | None:
        """Take one fragment, in capture order; returns the datagram that it completes.

        The packet that completes a datagram is not counted here; the others are, once it is known what became
        of them: `fragment` (part of a rebuilt datagram), `fragment-duplicate`, `fragment-overlap`, ...
        """
        self._expire(fragment.time_ns)
        if fragment.length <= 0 or fragment.offset + fragment.length > IP_LENGTH_MAX:
            self._skip("bad-fragment", 1)
            return None
        partial = self._partials.get(fragment.key)
        if partial is not None and abs(fragment.time_ns - partial.since_ns) > self._limits.fragment_timeout_ns:
            self._drop(fragment.key, "fragment-timeout")  # behind a datagram whose time stamp is wrong
            partial = None
        if partial is None:
            partial = self._open(fragment)
        elif partial.dead:
            self._skip("fragment-overlap", 1)
            return None
        reason = self._add(partial, fragment)
        if reason:
            self._skip(reason, 1)
            if reason == "fragment-overlap" and fragment.version == 6:
                self._kill(partial)
            return None
        partial.packets += 1
        self.held += 1
        if partial.total >= 0 and partial.have == (1 << _units(partial.total)) - 1 and partial.header:
            return self._complete(fragment.key, partial)
        while self._cost > self._limits.fragment_bytes and self._partials:
            self._drop(next(iter(self._partials)), "fragment-evicted")
        return None

    def finish(self) -> None:
        """The capture is over: what is held will never be complete."""
        while self._partials:
            self._drop(next(iter(self._partials)), "fragment-incomplete")

    def _open(self, fragment: Fragment) -> _Partial:
        while len(self._partials) >= max(self._limits.fragment_datagrams, 1):
            self._drop(next(iter(self._partials)), "fragment-evicted")
        partial = self._partials[fragment.key] = _Partial(fragment.time_ns)
        self._cost += partial.cost
        return partial

    def _add(self, partial: _Partial, fragment: Fragment) -> str:
        """Take the data of a fragment; returns why it is not taken, or nothing."""
        start, length, data = fragment.offset, fragment.length, fragment.data
        if fragment.more:
            length &= ~7  # hosts cut such a fragment to whole units: the rest has no place
            data = data[:length]
        if not length:
            return "bad-fragment"
        end = start + length
        if (not fragment.more and 0 <= partial.total != end) or (partial.total >= 0 and end > partial.total):
            count(self._account.notes, "fragment-end-conflict", 1)
            return "fragment-overlap"
        if not fragment.more and partial.have >> _units(end):
            count(self._account.notes, "fragment-end-conflict", 1)
            return "fragment-overlap"
        mask = ((1 << _units(end) - start // 8) - 1) << start // 8
        common = partial.have & mask
        if common:
            same = _agrees(partial, start, data)
            if common == mask and same and (fragment.more or partial.total >= 0):
                return "fragment-duplicate"
            count(self._account.notes, "fragment-overlap", 1)
            if fragment.version == 6:
                return "fragment-overlap"
            if not same:
                count(self._account.notes, "fragment-conflict", 1)
        if not fragment.more:
            partial.total = end
        if start == 0 and not partial.header:
            partial.header = fragment.header
            self._charge(partial, len(fragment.header))
        self._hold(partial, _free_runs(mask & ~common), start, end, data)
        partial.have |= mask
        return ""

    def _hold(self, partial: _Partial, runs: list[tuple[int, int]], start: int, end: int, data: bytes) -> None:
        """Keep the parts of a fragment that nobody sent before: the first copy wins."""
        for first, stop in runs:
            low, high = first * 8, min(stop * 8, end)
            piece = data[low - start : high - start]
            partial.pieces[low] = (high - low, piece)
            partial.starts |= 1 << first
            self._charge(partial, len(piece) + PIECE_COST)

    def _charge(self, partial: _Partial, cost: int) -> None:
        partial.cost += cost
        self._cost += cost

    def _complete(self, key: bytes, partial: _Partial) -> Datagram | None:
        parts: list[bytes] = []
        for offset in sorted(partial.pieces):
            length, data = partial.pieces[offset]
            parts.append(data)
            if len(data) < length:
                break
        self._forget(key)
        header = _whole_header(partial.header, partial.total)
        self._skip("fragment", partial.packets - 1)
        if header is None:
            self._skip("bad-fragment", 1)
            return None
        return Datagram(header, b"".join(parts), partial.total)

    def _kill(self, partial: _Partial) -> None:
        self._skip("fragment-overlap", partial.packets)
        self.held -= partial.packets
        self._cost -= partial.cost - DATAGRAM_COST
        partial.packets, partial.cost, partial.have, partial.starts, partial.dead = 0, DATAGRAM_COST, 0, 0, True
        partial.pieces.clear()

    def _expire(self, now_ns: int) -> None:
        while self._partials:
            key, partial = next(iter(self._partials.items()))
            if now_ns - partial.since_ns <= self._limits.fragment_timeout_ns:
                return
            self._drop(key, "fragment-timeout")

    def _drop(self, key: bytes, reason: str) -> None:
        self._skip(reason, self._forget(key).packets)
        count(self._account.notes, f"{reason}-datagrams", 1)

    def _forget(self, key: bytes) -> _Partial:
        partial = self._partials.pop(key)
        self._cost -= partial.cost
        self.held -= partial.packets
        return partial

    def _skip(self, reason: str, packets: int) -> None:
        if packets:
            count(self._account.skipped, reason, packets)


def _whole_header(header: bytes, length: int) -> bytes | None:
    """The first fragment's header with the length of the whole, and for IPv4 a checksum that fits (RFC 791)."""
    fields = bytearray(header)
    if header[0] >> 4 == 4:
        total = len(header) + length
        fields[2:4], fields[10:12] = (total & 0xFFFF).to_bytes(2), bytes(2)
        check = sum(int.from_bytes(fields[at : at + 2]) for at in range(0, len(fields), 2))
        check = (check & 0xFFFF) + (check >> 16)
        fields[10:12] = (~(check + (check >> 16)) & 0xFFFF).to_bytes(2)
    else:
        total = len(header) - 40 + length
        fields[4:6] = (total & 0xFFFF).to_bytes(2)
    return bytes(fields) if total <= IP_LENGTH_MAX else None


def _units(length: int) -> int:
    return length + 7 >> 3


def _free_runs(bits: int) -> list[tuple[int, int]]:
    """The runs of ones in a number, as (first bit, bit behind the last)."""
    runs = []
    at = 0
    while bits:
        gap = (bits & -bits).bit_length() - 1
        bits >>= gap
        size = (~bits & (bits + 1)).bit_length() - 1
        runs.append((at + gap, at + gap + size))
        at += gap + size
        bits >>= size
    return runs


def _agrees(partial: _Partial, start: int, data: bytes) -> bool:
    """Whether a fragment says the same as the data held, wherever both have captured bytes.

    Looks only at the pieces in the fragment's range, so the work is in proportion to its length.
    """
    unit, stop = start >> 3, _units(start + len(data))
    before = (partial.starts & ((1 << unit) - 1)).bit_length() - 1
    inside = partial.starts >> unit & ((1 << stop - unit) - 1)
    offsets = [before * 8] if before >= 0 else []
    offsets += [(unit + first) * 8 + 8 * step for first, last in _free_runs(inside) for step in range(last - first)]
    for offset in offsets:
        piece = partial.pieces[offset][1]
        low, high = max(offset, start), min(offset + len(piece), start + len(data))
        if low < high and piece[low - offset : high - offset] != data[low - start : high - start]:
            return False
    return True
