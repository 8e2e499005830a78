"""Addresses as numbers, bytes and text, and the networks they are in."""

from __future__ import annotations

import ipaddress
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapids import kernels
from imapids.protocols.addresses import (
    MAPPED,
    Networks,
    address_bytes,
    address_text,
    network_around,
    network_text,
    parse_address,
    parse_network,
)


@pytest.mark.parametrize(("hi", "lo", "text"), [
    pytest.param(0, MAPPED | 0xC0000201, "192.0.2.1", id="IPv4 as a dotted quad"),
    pytest.param(0, MAPPED, "0.0.0.0", id="the lowest IPv4 address"),
    pytest.param(0, MAPPED | 0xFFFFFFFF, "255.255.255.255", id="the highest IPv4 address"),
    pytest.param(0, 1, "::1", id="IPv6 loopback"),
    pytest.param(0x20010DB8 << 32, 0xBEEF, "2001:db8::beef", id="IPv6 compressed"),
    pytest.param(0, 0xC0000201, "::c000:201", id="IPv4-compatible is IPv6"),
])
def test_text_of_an_address(hi: int, lo: int, text: str) -> None:
    assert address_text(hi, lo) == text
    assert parse_address(text) == (hi, lo)
    assert address_bytes(hi, lo) == (hi << 64 | lo).to_bytes(16, "big")


@given(st.integers(0, 2**128 - 1))
def test_text_and_numbers_round_trip(number: int) -> None:
    hi, lo = number >> 64, number & 2**64 - 1
    assert parse_address(address_text(hi, lo)) == (hi, lo)


@given(st.lists(st.sampled_from([0, 0, 1, 0x10, 0xFFFF]), min_size=8, max_size=8))
def test_text_of_ipv6_is_that_of_the_standard_library(words: list[int]) -> None:
    number = int.from_bytes(struct.pack("!8H", *words), "big")
    if number >> 32 != 0xFFFF:  # newer versions of Python write what is mapped in another way
        assert address_text(number >> 64, number & 2**64 - 1) == str(ipaddress.IPv6Address(number))


@pytest.mark.parametrize("text", ["", "1.2.3", "1.2.3.256", "fe80::1%eth0", "10.0.0.0/8", "mail.example"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_address(text)


def test_a_network_is_two_halves_and_their_masks() -> None:
    network = parse_network("10.1.2.3/8")
    assert (network.hi, network.lo) == (0, MAPPED | 0x0A000000)
    assert network.prefix == 104
    assert network.is_ipv4
    assert not parse_network("fc00::/7").is_ipv4
    assert parse_network("2001:db8::1").prefix == 128


def test_all_of_ipv6_holds_no_ipv4() -> None:
    nets = Networks(["::/0"])
    assert nets.contains(*parse_address("2001:db8::1"))
    assert not nets.contains(*parse_address("192.0.2.1"))
    assert Networks(["0.0.0.0/0"]).contains(*parse_address("192.0.2.1"))
    assert not Networks(["0.0.0.0/0"]).contains(*parse_address("::1"))


def test_no_networks_hold_nothing() -> None:
    nets = Networks([])
    assert not nets
    assert not nets.contains(0, MAPPED)
    assert not nets.contains_columns(np.zeros(2, np.uint64), np.array([1, MAPPED], np.uint64)).any()


v4 = st.builds(lambda a, p: f"{ipaddress.IPv4Address(a)}/{p}", st.integers(0, 2**32 - 1), st.integers(1, 32))
v6 = st.builds(lambda a, p: f"{ipaddress.IPv6Address(a)}/{p}", st.integers(0, 2**128 - 1), st.integers(1, 128))


@given(st.lists(v4 | v6, max_size=12), st.data())
def test_membership_is_that_of_the_standard_library(texts: list[str], data: st.DataObject) -> None:
    nets = [ipaddress.ip_network(text, strict=False) for text in texts]
    edges = [net[0] for net in nets] + [net[-1] for net in nets]
    edges += [edge + 1 for edge in edges if int(edge) + 1 < 2**edge.max_prefixlen]
    random = data.draw(st.lists(st.ip_addresses(), max_size=6))
    addresses = [a for a in edges + random if not (a.version == 6 and a.ipv4_mapped)]
    numbers = [parse_address(str(a)) for a in addresses]
    expected = [any(a in net for net in nets) for a in addresses]
    ours = Networks(texts)
    assert [ours.contains(hi, lo) for hi, lo in numbers] == expected
    columns = np.array(numbers, np.uint64).reshape(-1, 2)
    with pytest.MonkeyPatch.context() as patch:
        for compiled in {kernels.COMPILED, False}:
            patch.setattr(kernels, "COMPILED", compiled)
            for times in (1, 20, 65):  # few are looked for one by one
                many = np.tile(columns, (times, 1))
                assert ours.contains_columns(many[:, 0], many[:, 1]).tolist() == expected * times


@pytest.mark.parametrize("text", [
    pytest.param("192.0.2.77", id="IPv4"),
    pytest.param("0.0.0.0", id="the lowest IPv4 address"),
    pytest.param("255.255.255.255", id="the highest"),
    pytest.param("2001:db8:1:2:3:4:5:6", id="IPv6"),
    pytest.param("2001:db8::1", id="IPv6 with zeros"),
    pytest.param("::1", id="IPv6 that looks like no number"),
])
def test_the_network_around_numbers_is_that_around_their_text(text: str) -> None:
    assert network_text(*parse_address(text)) == network_around(text)
