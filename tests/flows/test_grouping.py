"""Segments by conversation: exact for every kind of key, in the order of first segments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.segments import Segment, batch_of
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.flows.grouping import Groups, SegmentGrouper
from imapids.flows.index import key_words
from imapids.records.segments import UDP, SegmentBatch

ADDRESSES = [1, 2, 0xFFFFFFFF, 0x0A000005]
PORTS = [0, 143, 65_535]


def expected(batch: SegmentBatch) -> tuple[list[int], list[int]]:
    """(group of each segment, first of each group), one segment after the other."""
    words, _ = key_words(batch)
    seen: dict[tuple[int, ...], int] = {}
    local, first = [], []
    for position, key in enumerate(map(tuple, words.T.tolist())):
        if key not in seen:
            seen[key] = len(seen)
            first.append(position)
        local.append(seen[key])
    return local, first


def check(batch: SegmentBatch, grouper: SegmentGrouper) -> None:
    local, first, swapped = grouper.group(batch)
    assert (local.tolist(), first.tolist()) == expected(batch)
    assert swapped.tolist() == key_words(batch)[1].tolist()


ends = st.tuples(st.sampled_from(ADDRESSES), st.sampled_from(PORTS))
segments = st.builds(Segment, ends, ends, protocol=st.sampled_from([6, UDP]), tunnel=st.sampled_from([0, 0, 1, 300]))


@settings(max_examples=150, deadline=None)
@given(st.lists(segments, min_size=1, max_size=60), st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5),
       st.sets(st.integers(0, 59)), st.booleans())
def test_segments_stand_with_all_others_of_their_key(parts: list[Segment], halves: list[int], wide: set[int],
                                                     high: bool) -> None:
    batch = batch_of(parts)
    for position in (at for at in wide if at < len(parts)):  # some IPv6 among it
        one, two = halves[position % len(halves)], halves[position // 2 % len(halves)]
        low, hi = (batch.src_lo, batch.src_hi) if position % 2 else (batch.dst_lo, batch.dst_hi)
        low[position], hi[position] = one, two if high else 0
    grouper = SegmentGrouper()
    check(batch, grouper)
    check(batch.select(slice(None, None, -1)), grouper)  # the grouper keeps nothing from batch to batch


def test_addresses_that_differ_above_the_low_48_bits_are_kept_apart() -> None:
    batch = batch_of([Segment((1, 1), (2, 2))] * 4)
    batch.src_lo[1] |= np.uint64(1 << 63)
    batch.src_lo[2] ^= np.uint64((0xFFFF ^ 0xFFE8) << 32)  # as if another protocol stood above the address
    batch.protocol[2] = UDP
    batch.dst_hi[3] = 1
    check(batch, SegmentGrouper())


@pytest.mark.parametrize("tunnel", [pytest.param(0, id="plain"), pytest.param(70_000, id="a number above 16 bits")])
def test_thousands_of_conversations_that_share_slots(tunnel: int) -> None:
    parts = [Segment((i % 5_000, i % 3), (i * 7 % 5_000, 143), tunnel=tunnel) for i in range(20_000)]
    check(batch_of(parts), SegmentGrouper())


def test_keys_that_no_round_of_hashing_separates_are_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SegmentGrouper, "_home", lambda self, words, turn, bits: np.zeros(len(words[0]), np.int64))
    parts = [Segment((i % 40, 5), (99, 143)) for i in range(200)]
    check(batch_of(parts), SegmentGrouper())
    check(batch_of([replace(part, target=(part.source[0] % 9, 143)) for part in parts]), SegmentGrouper())


def test_groups_of_one_row_are_merged() -> None:
    groups = Groups(np.array([7, 3, 7], np.int32), np.array([0, 1, 3]), np.array([0, 1, 0, 2, 2, 1]),
                    np.array([0, 1, 0, 1, 1, 0], np.uint8))
    merged = groups.merged()
    assert merged.rows.tolist() == [3, 7]
    assert merged.first.tolist() == [1, 0]
    assert merged.local.tolist() == [1, 0, 1, 1, 1, 0]
    assert merged.end is groups.end
    assert groups.merged().rows[merged.local].tolist() == groups.rows[groups.local].tolist()


def test_groups_from_rows_know_their_first_segment() -> None:
    groups = Groups.of_rows(np.array([9, 4, 9, 4, 2], np.int32), np.zeros(5, np.uint8))
    assert groups.rows.tolist() == [2, 4, 9]
    assert groups.first.tolist() == [4, 1, 0]
    assert groups.local.tolist() == [2, 1, 2, 1, 0]
