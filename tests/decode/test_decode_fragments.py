"""Fragments give the original datagram or nothing, within limits, whoever sends them."""

from __future__ import annotations

import itertools
import random
import struct

import pytest
from helpers.frames import Decoded, ethernet, extension, fragment6, ip4, ip6, syn, tcp, udp, vlan
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.config import DecodeLimits
from imapids.decode.fragments import Fragment, Reassembler
from imapids.records.segments import DecodeAccount

TEXT = bytes(range(256)) * 3
SECOND = 10**9


def pieces(data: bytes, *cuts: int) -> list[tuple[int, bytes, bool]]:
    """(offset, data, more) of a datagram cut at these multiples of 8."""
    edges = [0, *sorted(cuts), len(data)]
    return [(low, data[low:high], high < len(data)) for low, high in itertools.pairwise(edges)]


def frames4(data: bytes, *cuts: int, ident: int = 7, protocol: int = 6) -> list[bytes]:
    return [ethernet(ip4(part, protocol, offset=offset, more=more, ident=ident)) for offset, part, more in
            pieces(data, *cuts)]


def frames6(data: bytes, *cuts: int, ident: int = 7, protocol: int = 6) -> list[bytes]:
    return [ethernet(ip6(fragment6(protocol, offset, more, ident) + part, 44), 0x86DD) for offset, part, more in
            pieces(data, *cuts)]


@pytest.mark.parametrize("build", [frames4, frames6])
def test_the_rebuilt_datagram_takes_the_place_of_the_packet_that_completed_it(build):
    plain = ethernet(ip4(tcp(b"plain")))
    first, second, third = build(tcp(TEXT), 24, 400)
    result = Decoded([plain, third, first, plain, second, plain], times_ns=[SECOND * i for i in range(6)])
    assert [segment["number"] for segment in result.segments] == [1, 4, 5, 6]
    rebuilt = result.segments[2]
    assert (rebuilt["payload"], rebuilt["length"], rebuilt["time_ns"]) == (TEXT, len(TEXT), 4 * SECOND)
    assert [segment["fragmented"] for segment in result.segments] == [False, False, True, False]
    assert result.account.skipped == {"fragment": 2}
    assert [segment["payload"] for segment in result.segments if not segment["fragmented"]] == [b"plain"] * 3


def test_a_tiny_first_fragment_does_not_hide_a_syn():
    segment = Decoded(frames4(syn(), 8, 16)).only
    assert (segment["flags"], segment["dport"]) == (2, 143)


def test_the_rebuilt_ipv4_header_is_valid():
    result = Decoded(frames4(tcp(TEXT), 24))
    assert result.only["ip"] == 4
    reassembler = Reassembler(DecodeLimits(), DecodeAccount())
    header = ip4(tcp(TEXT))[:20]
    assert reassembler.feed(Fragment(b"k", 4, 0, 0, 8, True, header, bytes(8))) is None
    datagram = reassembler.feed(Fragment(b"k", 4, 0, 8, 8, False, b"", bytes(8)))
    assert datagram is not None
    words = struct.unpack(">10H", datagram.header)
    assert words[1] == 36
    assert (sum(words) & 0xFFFF) + (sum(words) >> 16) in (0xFFFF, 0x1FFFE)


def test_ipv6_headers_before_the_fragment_header_are_kept():
    parts = [ethernet(ip6(extension(44) + fragment6(60, offset, more) + part, 0), 0x86DD)
             for offset, part, more in pieces(extension(6) + tcp(TEXT), 8, 48)]
    assert Decoded(parts).only["payload"] == TEXT


def test_a_tunnel_in_fragments_is_followed():
    inner = ethernet(ip4(tcp(TEXT)))
    outer = udp(struct.pack(">II", 0x08000000, 9 << 8) + inner, 1, 4789)
    segment = Decoded(frames4(outer, 48, 96, protocol=17)).only
    assert (segment["tunnels"], segment["payload"], segment["fragmented"]) == (("vxlan:9",), TEXT, True)


def test_fragments_inside_fragments_are_rebuilt_in_turn():
    inner = [ip4(part, offset=offset, more=more, src="10.9.9.9") for offset, part, more in pieces(tcp(TEXT), 400)]
    frames = [frame for number, one in enumerate(inner) for frame in frames4(one, 104, ident=number, protocol=4)]
    segment = Decoded(frames).only
    assert (segment["tunnels"], segment["payload"], segment["src"]) == (("ipip",), TEXT, "10.9.9.9")
    assert Decoded(frames, cut=1).segments == [segment]


def test_fragments_of_other_vlans_and_other_ids_do_not_mix():
    first, second = frames4(tcp(TEXT), 400)
    other = frames4(tcp(TEXT), 400, ident=8)[1]
    tagged = second[:12] + struct.pack(">H", 0x8100) + vlan(5) + second[14:]
    result = Decoded([first, other, tagged])
    assert result.segments == []
    assert result.account.skipped == {"fragment-incomplete": 3}
    assert result.held == {"fragment-held": 3}


def test_the_same_id_starts_afresh_once_a_datagram_is_whole():
    one, two = frames4(tcp(b"1" * 64), 40), frames4(tcp(b"2" * 64), 40)
    assert [segment["payload"] for segment in Decoded([*one, *two]).segments] == [b"1" * 64, b"2" * 64]


def test_a_fragment_cut_by_the_snaplen_cuts_the_datagram_there():
    first, second = frames4(tcp(TEXT), 400)
    segment = Decoded([first[:200], second], originals=[len(first), len(second)]).only
    assert segment["length"] == len(TEXT)
    assert segment["payload"] == TEXT[: 200 - 34 - 20]


def test_identical_copies_are_dropped():
    first, second, third = frames4(tcp(TEXT), 24, 400)
    result = Decoded([first, first, third, second])
    assert result.only["payload"] == TEXT
    assert result.account.skipped == {"fragment": 2, "fragment-duplicate": 1}


def test_the_first_copy_wins_in_ipv4():
    data = tcp(TEXT)
    frames = [ethernet(ip4(part, offset=offset, more=more)) for offset, part, more in (
        (0, data[:400], True), (200, b"x" * 400, True), (600, data[600:], False),
    )]
    result = Decoded(frames)
    assert result.only["payload"] == TEXT[:380] + b"x" * 200 + TEXT[580:]
    assert result.account.notes == {"fragment-overlap": 1, "fragment-conflict": 1}


def test_overlap_discards_an_ipv6_datagram_and_all_that_follows():
    data = tcp(TEXT)
    frames = [ethernet(ip6(fragment6(6, offset, more) + part, 44), 0x86DD) for offset, part, more in (
        (0, data[:400], True), (200, data[200:600], True), (400, data[400:], False), (0, data[:400], True),
    )]
    result = Decoded(frames)
    assert result.segments == []
    assert result.account.skipped == {"fragment-overlap": 4}


@pytest.mark.parametrize("frames", [
    pytest.param(lambda d: [(0, d[:400], True), (600, d[600:], False)], id="a hole"),
    pytest.param(lambda d: [(400, d[400:], False)], id="no first fragment"),
    pytest.param(lambda d: [(0, d[:400], True), (400, d[400:600], True)], id="no last fragment"),
    pytest.param(lambda d: [(0, d[:400], True), (600, d[600:], False), (0, d[:48], True)], id="a hole and a copy"),
    pytest.param(lambda d: [(0, d[:400], False), (400, d[400:], False)][1:], id="an end without a start"),
    pytest.param(lambda d: [(400, b"", False), (0, b"", True)], id="empty fragments"),
    pytest.param(lambda d: [(65528, d[:16], False), (0, d[:8], True)], id="past 64 KiB"),
    pytest.param(lambda d: [(0, d[:5], True), (8, d[8:], False)], id="a first fragment of five bytes"),
])
@pytest.mark.parametrize("version", [4, 6])
def test_a_datagram_with_a_hole_never_comes_out(frames, version):
    parts = frames(tcp(TEXT))
    built = [ethernet(ip4(part, offset=offset, more=more)) for offset, part, more in parts] if version == 4 else [
        ethernet(ip6(fragment6(6, offset, more) + part, 44), 0x86DD) for offset, part, more in parts]
    result = Decoded(built)
    assert result.segments == []
    assert sum(result.account.skipped.values()) == len(parts)


def test_a_datagram_above_64_kib_is_dropped():
    size = 65512
    parts = frames4(bytes(size + 8), *range(1480, size, 1480), protocol=17)
    result = Decoded(parts)
    assert result.segments == []
    assert result.account.skipped == {"fragment": len(parts) - 1, "bad-fragment": 1}


def test_the_oldest_datagram_is_dropped_when_the_table_is_full():
    firsts = [frames4(tcp(TEXT), 400, ident=i)[0] for i in range(12)]
    lasts = [frames4(tcp(TEXT), 400, ident=i)[1] for i in range(12)]
    result = Decoded([*firsts, *lasts[4:]], limits=DecodeLimits(fragment_datagrams=8))
    assert len(result.segments) == 8
    assert result.account.skipped == {"fragment-evicted": 4, "fragment": 8}


def test_bytes_held_are_bounded():
    frames = [frames4(tcp(TEXT), 400, ident=i)[0] for i in range(1000)]
    result = Decoded(frames, limits=DecodeLimits(fragment_bytes=50_000))
    assert result.account.skipped["fragment-evicted"] > 900
    assert 0 < result.account.skipped["fragment-incomplete"] < 50_000 / 400


@pytest.mark.parametrize(("gap_ns", "rebuilt"), [(30 * SECOND, 1), (30 * SECOND + 1, 0), (-31 * SECOND, 0)])
def test_an_old_datagram_times_out_by_packet_time(gap_ns, rebuilt):
    result = Decoded(frames4(tcp(TEXT), 400), times_ns=[100 * SECOND, 100 * SECOND + gap_ns])
    assert len(result.segments) == rebuilt


def test_a_wrong_time_stamp_does_not_keep_others_from_timing_out():
    far = frames4(tcp(TEXT), 400, ident=1)[0]
    first, second = frames4(tcp(TEXT), 400)
    result = Decoded([far, first, second], times_ns=[10**18, 0, 31 * SECOND])
    assert result.segments == []


def test_many_small_fragments_that_overlap_again_and_again_are_cheap():
    reassembler = Reassembler(DecodeLimits(), DecodeAccount())
    for unit in range(0, 8000, 2):  # every second unit of eight bytes: nothing is complete
        reassembler.feed(Fragment(b"k", 4, 0, unit * 8, 8, True, b"H" * 20, bytes(8)))
    for _ in range(20_000):  # and copies of one of them: the others must not be looked at
        reassembler.feed(Fragment(b"k", 4, 0, 80, 8, True, b"", bytes(8)))
    assert reassembler.held == 4000


# ---- laws ------------------------------------------------------------------------------------------------------------


@st.composite
def shuffled_fragments(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, bytes, bool]]]:
    data = draw(st.binary(min_size=17, max_size=400))
    last = (len(data) - 1) // 8
    cuts = sorted(draw(st.sets(st.integers(1, last), min_size=1, max_size=8)))
    parts = pieces(data, *(cut * 8 for cut in cuts))
    copies = draw(st.lists(st.sampled_from(parts), max_size=4))
    return data, draw(st.permutations([*parts, *copies]))


def reassemble(version: int, parts: list[tuple[int, bytes, bool]]) -> tuple[list[bytes], DecodeAccount, Reassembler]:
    account = DecodeAccount()
    reassembler = Reassembler(DecodeLimits(), account)
    header = ip4(b"") if version == 4 else ip6(b"")
    whole = [reassembler.feed(Fragment(b"k", version, 0, offset, len(part), more, header if offset == 0 else b"", part))
             for offset, part, more in parts]
    return [datagram.data for datagram in whole if datagram is not None], account, reassembler


@settings(max_examples=150, deadline=None)
@given(shuffled_fragments(), st.sampled_from([4, 6]))
def test_any_order_and_any_copies_give_the_original(made, version):
    data, parts = made
    whole, account, reassembler = reassemble(version, parts)
    assert whole
    assert set(whole) == {data}
    assert len(parts) == len(whole) + sum(account.skipped.values()) + reassembler.held
    reassembler.finish()
    assert reassembler.held == 0


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.binary(min_size=0, max_size=60), st.booleans()), max_size=12),
       st.sampled_from([4, 6]))
def test_whatever_comes_out_has_every_byte_from_a_fragment(raw, version):
    parts = [(unit * 8, data, more) for unit, data, more in raw]
    whole, account, reassembler = reassemble(version, parts)
    for datagram in whole:
        for at, byte in enumerate(datagram):
            assert any(offset <= at < offset + len(data) and data[at - offset] == byte for offset, data, _ in parts)
    assert len(parts) == len(whole) + sum(account.skipped.values()) + reassembler.held
    if reassembler.held == 0:
        reassembler.finish()


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from([frames4, frames6]))
def test_batches_may_cut_between_fragments(rng: random.Random, build):
    frames = [frame for ident in range(6) for frame in build(tcp(TEXT[: 100 + ident], seq=ident), 24, 56, ident=ident)]
    frames += [ethernet(ip4(tcp(b"plain")))] * 3 + frames[:2]
    rng.shuffle(frames)
    whole = Decoded(frames)
    for cut in (1, 2, 5):
        parts = Decoded(frames, cut=cut)
        assert parts.segments == whole.segments
        assert parts.account == whole.account
