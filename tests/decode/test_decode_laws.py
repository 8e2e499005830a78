"""Whatever bytes come: nothing raises, every packet is accounted for, and batches may be cut anywhere."""

from __future__ import annotations

import ipaddress

import dpkt
import numpy as np
import pytest
from helpers.encapsulations import CASES
from helpers.frames import Decoded, batch_of, check_account, ethernet, ip4, ip6, tcp, udp, vlan
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.config import DecodeLimits
from imapids.decode import Decoder
from imapids.decode.headers import Header
from imapids.decode.link_types import LINK_TYPES
from imapids.records.segments import EncapsulationTable

FRAMES = [(case.values[0], case.values[1]) for case in CASES]
KINDS = sorted(LINK_TYPES)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*KINDS, 147]), st.binary(max_size=120)), max_size=20))
def test_random_bytes_of_every_link_type_are_accounted_for(frames):
    Decoded([data for _, data in frames], [kind for kind, _ in frames])


@pytest.mark.parametrize("kind", KINDS)
def test_every_short_frame_of_every_link_type_is_accounted_for(kind):
    frames = [fill * size for fill in (b"\0", b"\xff", b"\x45", b"\x60", b"\x03") for size in range(80)]
    assert Decoded(frames, kind).account.packets == len(frames)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_changed_bytes_in_good_frames_are_accounted_for(data):
    frames = []
    for kind, frame in data.draw(st.lists(st.sampled_from(FRAMES), min_size=1, max_size=12)):
        changed = bytearray(frame)
        for at in data.draw(st.lists(st.integers(0, len(frame) - 1), max_size=4)):
            changed[at] = data.draw(st.integers(0, 255))
        frames.append((kind, bytes(changed[: data.draw(st.integers(len(frame) // 2, len(frame)))])))
    whole = Decoded([frame for _, frame in frames], [kind for kind, _ in frames])
    parts = Decoded([frame for _, frame in frames], [kind for kind, _ in frames], cut=data.draw(st.integers(1, 4)))
    assert parts.segments == whole.segments
    assert parts.account == whole.account


def test_every_header_has_a_handler():
    from imapids.decode.decoder import HANDLERS

    assert set(HANDLERS) == set(Header) - {Header.UNKNOWN}


def test_an_empty_batch_gives_an_empty_batch():
    decoder = Decoder(DecodeLimits(), EncapsulationTable())
    assert len(decoder.feed(batch_of([])).segments) == 0
    check_account(decoder.account)


def test_segments_are_selected_over_the_same_buffer():
    decoder = Decoder(DecodeLimits(), EncapsulationTable())
    segments = decoder.feed(batch_of([ethernet(ip4(tcp(bytes([n])))) for n in range(5)])).segments
    odd = segments.select(np.array([1, 3]))
    assert odd.buffer is segments.buffer
    assert odd.number.tolist() == [2, 4]


frames_of_all_kinds = st.builds(
    lambda version, transport, payload, sport, dport, number, options: (
        ethernet(*((ip4(packet(transport, payload, sport, dport, number), transport, options=options), 0x0800)
                   if version == 4 else (ip6(packet(transport, payload, sport, dport, number), transport), 0x86DD)))
    ),
    st.sampled_from([4, 6]), st.sampled_from([6, 17]), st.binary(max_size=40), st.integers(0, 1000),
    st.integers(0, 1000), st.integers(0, 2**32 - 1), st.sampled_from([b"", b"\x01\x01\x01\x00"]),
)


def packet(transport: int, payload: bytes, sport: int, dport: int, number: int) -> bytes:
    return tcp(payload, sport, dport, number) if transport == 6 else udp(payload, sport, dport)


@settings(max_examples=60, deadline=None)
@given(st.lists(frames_of_all_kinds, max_size=20))
def test_a_second_decoder_reads_the_same(frames):
    expected = []
    for frame in frames:
        inner = dpkt.ethernet.Ethernet(frame).data
        expected.append((
            str(ipaddress.ip_address(inner.src)), str(ipaddress.ip_address(inner.dst)), inner.data.sport,
            inner.data.dport, bytes(inner.data.data), getattr(inner.data, "seq", 0), getattr(inner.data, "flags", 0),
        ))
    assert expected == [
        tuple(segment[name] for name in ("src", "dst", "sport", "dport", "payload", "seq", "flags"))
        for segment in Decoded(frames).segments
    ]


def frame_of(number: int) -> bytes:
    """IPv4, IPv6 and ARP, with and without a tag, in a pattern that has no period of two."""
    kind, inner = (
        (0x0806, b"") if number % 21 == 0 else
        (0x86DD, ip6(tcp(seq=number))) if number % 7 == 0 else
        (0x0800, ip4(tcp(seq=number)))
    )
    return ethernet(vlan(number % 3 + 1, kind) + inner, 0x8100) if number % 5 == 0 else ethernet(inner, kind)


def test_large_batches_are_decoded_in_blocks_without_a_seam():
    table = EncapsulationTable()
    decoder = Decoder(DecodeLimits(), table)
    segments = decoder.feed(batch_of([frame_of(number) for number in range(40_000)])).segments
    kept = [number for number in range(40_000) if number % 21]
    assert segments.seq.tolist() == kept
    assert (segments.number - 1).tolist() == kept
    vlans = [table.paths[path].vlan for path in segments.tunnel.tolist()]
    assert vlans == [(number % 3 + 1,) if number % 5 == 0 else () for number in kept]
    assert decoder.account.skipped == {"arp": 40_000 - len(kept)}
