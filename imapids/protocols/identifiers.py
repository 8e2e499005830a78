"""Names that come out the same on every machine and however the work is cut: community ids, flow ids, short hashes."""

from __future__ import annotations

import binascii
import hashlib
import struct
from collections.abc import Iterable

import numpy as np

from imapids.records.packets import U8, U16, U64

MAPPED_PREFIX = bytes(10) + b"\xff\xff"
"""The first 12 bytes of an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2)."""

_SEED = struct.Struct("!H")
_TAIL = struct.Struct("!BBHH")
_ICMP, _ICMP6 = 1, 58
_ICMP_PAIRS = {8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15, 17: 18, 18: 17, 10: 9, 9: 10}
_ICMP6_PAIRS = {128: 129, 129: 128, 133: 134, 134: 133, 135: 136, 136: 135, 130: 131, 131: 130, 144: 145, 145: 144,
                139: 140, 140: 139}
_FLOW_BITS = 51
_sha1, _blake2b, _base64 = hashlib.sha1, hashlib.blake2b, binascii.b2a_base64


def community_id(protocol_number: int, src16: bytes, sport: int, dst16: bytes, dport: int, seed: int = 0) -> str:
    """The Community ID (version 1) of a conversation: the same text for both directions, in every tool.

    Addresses are 16 bytes each, IPv4 as IPv4-mapped; those are hashed as 4 bytes, as the specification
    (github.com/corelight/community-id-spec) asks. For ICMP, `sport` is the type and `dport` the code.
    """
    if src16[:12] == MAPPED_PREFIX and dst16[:12] == MAPPED_PREFIX:
        src16, dst16 = src16[12:], dst16[12:]
    one_way = False
    if protocol_number in (_ICMP, _ICMP6):  # type and code take the ports' places; request and answer pair up
        partner = (_ICMP_PAIRS if protocol_number == _ICMP else _ICMP6_PAIRS).get(sport)
        one_way = partner is None
        dport = dport if partner is None else partner
    if not one_way and (src16, sport) > (dst16, dport):
        src16, sport, dst16, dport = dst16, dport, src16, sport
    data = _SEED.pack(seed) + src16 + dst16 + _TAIL.pack(protocol_number, 0, sport, dport)
    return "1:" + _base64(_sha1(data).digest(), newline=False).decode("ascii")


_V4_TUPLE = np.dtype([("seed", ">u2"), ("a", ">u4"), ("b", ">u4"), ("protocol", "u1"), ("zero", "u1"),
                      ("a_port", ">u2"), ("b_port", ">u2")])
_V6_TUPLE = np.dtype([("seed", ">u2"), ("a_hi", ">u8"), ("a_lo", ">u8"), ("b_hi", ">u8"), ("b_lo", ">u8"),
                      ("protocol", "u1"), ("zero", "u1"), ("a_port", ">u2"), ("b_port", ">u2")])
_DIGEST_TEXT = 28
"""Characters of 20 bytes in base64, the last one a filler."""


def community_ids(protocol: U8, a: tuple[U64, U64], a_port: U16, b: tuple[U64, U64], b_port: U16) -> list[str]:
    """Community IDs of many TCP and UDP conversations. All columns have shape (n,).

    Args:
        a, b: addresses (hi, lo), IPv4 as IPv4-mapped; `(a, a_port)` is never greater than `(b, b_port)`.
    """
    mapped = np.uint64(0xFFFF)
    short = ((a[0] | b[0]) == 0) & (a[1] >> np.uint64(32) == mapped) & (b[1] >> np.uint64(32) == mapped)
    tuples: list[bytes] = []
    for layout, chosen in ((_V4_TUPLE, np.flatnonzero(short)), (_V6_TUPLE, np.flatnonzero(~short))):
        if not chosen.size:
            continue
        packed = np.zeros(len(chosen), layout)
        packed["protocol"], packed["a_port"], packed["b_port"] = protocol[chosen], a_port[chosen], b_port[chosen]
        if layout is _V4_TUPLE:
            packed["a"], packed["b"] = a[1][chosen].astype(np.uint32), b[1][chosen].astype(np.uint32)
        else:
            packed["a_hi"], packed["a_lo"], packed["b_hi"], packed["b_lo"] = (
                a[0][chosen], a[1][chosen], b[0][chosen], b[1][chosen])
        data, size = packed.tobytes(), layout.itemsize
        tuples += [data[at : at + size] for at in range(0, len(data), size)]
    # one more byte for each digest, and base64 of all of them falls into texts of one length
    text = _base64(b"\0".join([_sha1(each).digest() for each in tuples]) + b"\0", newline=False).decode("ascii")
    ids = [f"1:{text[at : at + _DIGEST_TEXT - 1]}=" for at in range(0, len(tuples) * _DIGEST_TEXT, _DIGEST_TEXT)]
    if short.all() or not short.any():
        return ids
    places = np.argsort(np.concatenate((np.flatnonzero(short), np.flatnonzero(~short)))).tolist()
    return [ids[place] for place in places]


def flow_hashes(keys: Iterable[bytes]) -> list[int]:
    """`flow_hash` of many keys."""
    digests = b"\0".join([_blake2b(key, digest_size=7).digest() for key in keys]) + b"\0"
    hashes: list[int] = (np.frombuffer(digests[: len(digests) & ~7], ">u8") >> np.uint64(64 - _FLOW_BITS)).tolist()
    return hashes


def flow_hash(key: bytes) -> int:
    """51 bits of BLAKE2b of a packed key: as wide as Suricata's flow_id, exact in JavaScript's numbers."""
    return int.from_bytes(_blake2b(key, digest_size=7).digest(), "big") >> (56 - _FLOW_BITS)


def short_hash(*parts: str | bytes | int, size: int = 8) -> str:
    """`2 * size` hex digits of BLAKE2b over the parts; `("a", "bc")` and `("ab", "c")` differ."""
    framed = b""
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        framed += b"%d:%b" % (len(data), data)
    return _blake2b(framed, digest_size=size).hexdigest()
