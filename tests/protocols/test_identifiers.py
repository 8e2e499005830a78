"""Identifiers: the same everywhere, checked against the reference implementation of Community ID."""

from __future__ import annotations

import ipaddress

import communityid
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapids.protocols.identifiers import MAPPED_PREFIX, community_id, flow_hash, short_hash

KNOWN = "1:LQU9qZlK+B5F3KDmev6m5PMibrg="


def packed(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    return address.packed if address.version == 6 else MAPPED_PREFIX + address.packed


def test_the_known_answer_of_the_specification_in_both_directions() -> None:
    a, b = (packed(ipaddress.ip_address(text)) for text in ("128.232.110.120", "66.35.250.204"))
    assert community_id(6, a, 34855, b, 80) == KNOWN
    assert community_id(6, b, 80, a, 34855) == KNOWN
    assert community_id(6, a, 34855, b, 80, seed=1) != KNOWN


ports = st.integers(0, 65535)


@given(st.sampled_from([6, 17, 132]), st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4))
       | st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6)), ports, ports)
def test_equal_to_the_reference_implementation(protocol: int, pair: tuple, sport: int, dport: int) -> None:
    a, b = pair
    if a.version == 6 and (a.ipv4_mapped or b.ipv4_mapped):
        return
    tuple_ = communityid.FlowTuple(protocol, str(a), str(b), sport, dport)
    assert community_id(protocol, packed(a), sport, packed(b), dport) == communityid.CommunityID().calc(tuple_)


@pytest.mark.parametrize(("version", "kind", "code"), [
    pytest.param(4, kind, code, id=f"ICMP type {kind} code {code}")
    for kind, code in [(8, 0), (0, 0), (3, 3), (11, 0), (13, 0), (17, 1), (10, 0)]
] + [
    pytest.param(6, kind, code, id=f"ICMPv6 type {kind} code {code}")
    for kind, code in [(128, 0), (129, 0), (1, 4), (135, 0), (136, 0), (3, 0)]
])
def test_icmp_types_take_the_place_of_ports(version: int, kind: int, code: int) -> None:
    low, high = ("192.0.2.1", "198.51.100.2") if version == 4 else ("2001:db8::1", "2001:db8::2")
    number = 1 if version == 4 else 58
    for a, b in ((low, high), (high, low)):
        tuple_ = communityid.FlowTuple(number, a, b, kind, code)
        ours = community_id(number, packed(ipaddress.ip_address(a)), kind, packed(ipaddress.ip_address(b)), code)
        assert ours == communityid.CommunityID().calc(tuple_)


@given(st.binary(max_size=64))
def test_a_flow_id_has_51_bits_at_most(key: bytes) -> None:
    assert 0 <= flow_hash(key) < 2**51


def test_a_short_hash_keeps_its_parts_apart() -> None:
    assert short_hash("a", "bc") != short_hash("ab", "c")
    assert short_hash("rule", 7) == short_hash(b"rule", "7")
    assert len(short_hash("x", size=6)) == 12
