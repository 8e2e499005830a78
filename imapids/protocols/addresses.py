"""IPv4 and IPv6 addresses as two 64-bit numbers, as bytes and as text; networks to look them up in.

IPv4 stands as IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2): high half 0, low half 0x0000ffff_aabbccdd. So one pair of
uint64 columns holds both kinds. Text follows RFC 5952.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address, ip_network

import msgspec
import numpy as np

from imapids import kernels
from imapids.records.packets import U64, Bool

MAPPED = 0xFFFF_0000_0000
"""The low half of an IPv4-mapped address, without the IPv4 address."""

_MAPPED_HIGH = 0xFFFF
_FEW = 64
"""IPv6 addresses up to which one bisection each is faster than one of all in step."""
_VERY_FEW, _ONE = 16, 1
"""Addresses up to which one bisection each is faster than any work with columns, without kernels and with them."""
_MASK64 = (1 << 64) - 1
_MASK128 = (1 << 128) - 1
_ZEROS = tuple(":" + "0:" * count for count in range(8, 1, -1))
"""Runs of zeros that are left out of a text, the longest first."""


def address_text(hi: int, lo: int) -> str:
    """Text of an address; IPv4-mapped ones as dotted quads."""
    if not hi and lo >> 32 == _MAPPED_HIGH:
        return f"{lo >> 24 & 255}.{lo >> 16 & 255}.{lo >> 8 & 255}.{lo & 255}"
    return _ipv6_text(hi, lo)


@lru_cache(maxsize=8192)  # the same networks come back again and again
def network_around(address: str) -> str:
    """The /24 (IPv4) or /64 (IPv6) around an address, as CIDR; ValueError where the text is no address."""
    return str(ip_network(f"{address}/{64 if ':' in address else 24}", strict=False))


def network_text(hi: int, lo: int) -> str:
    """The same of an address in two numbers."""
    if not hi and lo >> 32 == _MAPPED_HIGH:
        return f"{lo >> 24 & 255}.{lo >> 16 & 255}.{lo >> 8 & 255}.0/24"
    return _ipv6_text(hi, 0) + "/64"


@lru_cache(maxsize=8192)  # peers come back again and again; a flood of new ones costs no more than before
def _ipv6_text(hi: int, lo: int) -> str:
    """RFC 5952 section 4, as `ipaddress` writes it, in a third of its time."""
    words = "".join([f":{half >> shift & 0xFFFF:x}" for half in (hi, lo) for shift in (48, 32, 16, 0)]) + ":"
    for zeros in _ZEROS if ":0:0:" in words else ():
        before, found, after = words.partition(zeros)
        if found:
            return f"{before[1:]}::{after[:-1]}"
    return words[1:-1]


def address_bytes(hi: int, lo: int) -> bytes:
    """The 16 bytes of an address in network order."""
    return ((hi & _MASK64) << 64 | (lo & _MASK64)).to_bytes(16, "big")


@lru_cache(maxsize=8192)
def parse_address(text: str) -> tuple[int, int]:
    """(hi, lo) of an address in text; ValueError where it is none. A zone (`%eth0`) is not part of it."""
    address = ip_address(text)
    if address.version == 4:
        return 0, MAPPED | int(address)
    if address.scope_id is not None:
        raise ValueError(f"{text!r} has a zone: leave out '%{address.scope_id}'")
    number = int(address)
    return number >> 64, number & _MASK64


class Network(msgspec.Struct, frozen=True):
    """One network: an address is in it when `(hi & hi_mask, lo & lo_mask) == (hi, lo)`."""

    hi: int
    lo: int
    hi_mask: int
    lo_mask: int

    @property
    def prefix(self) -> int:
        """Length of the prefix in 128-bit terms (an IPv4 /24 has 120)."""
        return (self.hi_mask << 64 | self.lo_mask).bit_count()

    @property
    def is_ipv4(self) -> bool:
        """Whether it holds IPv4 (IPv4-mapped) addresses only."""
        return not self.hi and self.lo >> 32 == _MAPPED_HIGH and self.prefix >= 96

    @property
    def first(self) -> int:
        """The lowest address, as one number."""
        return self.hi << 64 | self.lo

    @property
    def last(self) -> int:
        """The highest address, as one number."""
        return self.first | (_MASK128 ^ (self.hi_mask << 64 | self.lo_mask))


def parse_network(text: str) -> Network:
    """A network or single address in text (`10.0.0.0/8`, `fc00::/7`, `192.0.2.1`); ValueError where it is none.

    Host bits may be set: `10.1.2.3/8` means 10.0.0.0/8, as everywhere in firewalls.
    """
    network = ip_network(text, strict=False)
    first, mask = int(network.network_address), int(network.netmask)
    if network.version == 4:
        first |= MAPPED
        mask |= _MASK128 ^ 0xFFFF_FFFF
    return Network(first >> 64, first & _MASK64, mask >> 64, mask & _MASK64)


class Networks:
    """A set of networks: is this address in one of them?

    Networks are merged into intervals without overlap, kept sorted: a single address costs one bisection, a column
    one `searchsorted` for IPv4 and one bisection over columns for IPv6. `::/0` means all of IPv6 and no IPv4.
    """

    def __init__(self, networks: Iterable[str | Network]) -> None:
        """`networks`: text or parsed; ValueError where a text is no network."""
        parsed = [parse_network(item) if isinstance(item, str) else item for item in networks]
        mapped = [network for network in parsed if network.is_ipv4]
        self._v4_first, self._v4_last = _merge((item.lo, item.last & _MASK64) for item in mapped)
        self._v6_first, self._v6_last = _merge((item.first, item.last) for item in parsed if not item.is_ipv4)
        self._v4_columns = np.array(self._v4_first, np.uint64), np.array(self._v4_last, np.uint64)
        self._v6_columns = _halves(self._v6_first) + _halves(self._v6_last)

    def __bool__(self) -> bool:
        return bool(self._v4_first or self._v6_first)

    def contains(self, hi: int, lo: int) -> bool:
        """Whether the address is in one of the networks."""
        if not hi and lo >> 32 == _MAPPED_HIGH:
            index = bisect_right(self._v4_first, lo)
            return index > 0 and lo <= self._v4_last[index - 1]
        address = hi << 64 | lo
        index = bisect_right(self._v6_first, address)
        return index > 0 and address <= self._v6_last[index - 1]

    def contains_columns(self, hi: U64, lo: U64) -> Bool:
        """Mask of shape (n,), bool: which of the addresses in two columns of shape (n,), uint64, are in a network."""
        if len(hi) <= (_ONE if kernels.COMPILED else _VERY_FEW):
            return np.array([self.contains(*each) for each in zip(hi.tolist(), lo.tolist(), strict=True)], np.bool_)
        inside = np.zeros(len(hi), np.bool_)
        if kernels.COMPILED:
            kernels.compiled.in_networks(hi, lo, *self._v4_columns, *self._v6_columns, inside.view(np.uint8))
            return inside
        mapped = (hi == 0) & (lo >> np.uint64(32) == _MAPPED_HIGH)
        if self._v4_first:
            first, last = self._v4_columns
            index = np.searchsorted(first, lo, side="right") - 1
            inside = mapped & (index >= 0) & (lo <= last[index])
        if self._v6_first and not mapped.all():
            others = np.flatnonzero(~mapped)
            if len(others) <= _FEW:
                inside[others] = [self.contains(*each) for each in zip(hi[others].tolist(), lo[others].tolist(),
                                                                       strict=True)]
            else:
                inside[others] = self._contains_v6(hi[others], lo[others])
        return inside

    def _contains_v6(self, hi: U64, lo: U64) -> Bool:
        """Bisection of all rows at once: NumPy's own knows no 128-bit numbers."""
        first_hi, first_lo, last_hi, last_lo = self._v6_columns
        low = np.zeros(len(hi), np.int64)
        high = np.full(len(hi), len(first_hi), np.int64)
        for _ in range(len(first_hi).bit_length()):
            middle = np.minimum((low + high) >> 1, len(first_hi) - 1)
            begun = (first_hi[middle] < hi) | ((first_hi[middle] == hi) & (first_lo[middle] <= lo))
            begun &= low < high
            low, high = np.where(begun, middle + 1, low), np.where(begun, high, np.minimum(middle, high))
        index = low - 1
        inside: Bool = (index >= 0) & ((hi < last_hi[index]) | ((hi == last_hi[index]) & (lo <= last_lo[index])))
        return inside


def _merge(intervals: Iterable[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """First and last addresses of the intervals, sorted, overlapping and touching ones joined."""
    firsts: list[int] = []
    lasts: list[int] = []
    for first, last in sorted(intervals):
        if lasts and first <= lasts[-1] + 1:
            lasts[-1] = max(last, lasts[-1])
        else:
            firsts.append(first)
            lasts.append(last)
    return firsts, lasts


def _halves(numbers: list[int]) -> tuple[U64, U64]:
    return (np.array([number >> 64 for number in numbers], np.uint64),
            np.array([number & _MASK64 for number in numbers], np.uint64))
