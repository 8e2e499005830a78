"""Kernels of counts: tables say what the sorted sets and counts of observe/counting.py say."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids import kernels
from imapids.observe.counting import EVERY, GroupCounts, Offer, Rows, SeenBefore, at_step, decision, mixed
from imapids.observe.tables import GroupTable, SeenTable, group_counts, seen_before

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")

_EDGES = [0, 1, 2**63, 2**64 - 1]
_values = st.one_of(st.integers(0, 40), st.sampled_from(_EDGES))


def hashes(values: Any) -> np.ndarray:
    return np.array(values, np.uint64)


def test_what_is_made_follows_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (type(seen_before(9)), type(group_counts(1, 9))) == (SeenTable, GroupTable)
    monkeypatch.setattr(kernels, "COMPILED", False)
    assert (type(seen_before(9)), type(group_counts(1, 9))) == (SeenBefore, GroupCounts)


@given(st.lists(st.tuples(*[st.integers(0, 2**64 - 1)] * 3), max_size=20), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_hashes_are_those_of_numpy(rows: list[tuple[int, ...]], width: int) -> None:
    columns = [hashes([row[number] for row in rows]) for number in range(width)]
    compiled = mixed(*columns)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kernels, "COMPILED", False)
        assert compiled.tolist() == np.broadcast_to(mixed(*columns), len(rows)).tolist()
    strided = np.repeat(hashes([1, 2, 3]), 2)[::2]
    assert mixed(strided).tolist() == mixed(hashes([1, 2, 3])).tolist()


class TestSeenTable:
    @given(st.lists(st.lists(_values, max_size=60), max_size=6), st.integers(0, 60))
    @settings(max_examples=150, deadline=None)
    def test_values_are_new_where_the_sorted_set_says_so(self, batches: list[list[int]], limit: int) -> None:
        table, plain = SeenTable(limit), SeenBefore(limit)
        for batch in batches:
            assert table.add(hashes(batch)).tolist() == plain.add(hashes(batch)).tolist()
            assert table.forgotten == plain.forgotten

    def test_many_values_make_the_table_grow(self) -> None:
        table, values = SeenTable(1 << 20), np.random.default_rng(1).integers(0, 1 << 63, 60_000, np.uint64)
        assert all(table.add(part).all() for part in np.array_split(values, 7))
        assert not table.add(values).any()
        assert 2 * len(values) <= table.values.slots <= 1 << 18

    def test_it_grows_no_further_than_its_limit(self) -> None:
        table = SeenTable(4_000)
        table.add(np.arange(100_000, dtype=np.uint64))
        assert (table.forgotten, table.values.slots) == (49, 4_096)


_steps = [power + more for power in (10, 63, 64, 100, 1_000, 10**11, 10**12) for more in (-1, 0, 1)]
_row = st.tuples(_values, st.integers(0, 31), st.integers(0, 31), st.integers(0, 5), _values, st.integers(-9, 9))
_rows = st.lists(_row, max_size=60)
"""Key, fields that are certain, fields that are offered, two values, and a time."""


def decide(own: np.ndarray, running: np.ndarray) -> np.ndarray:
    return ((at_step(own, running, 0, 3, 7) & (running[:, 1] > 1)) | (own[:, 2] != 0)) & (running[:, 0] != 5)


DECISION = decision(decide, 5, (2, 0, 4), {2: [3, 7], 4: [EVERY]}, timeless=1 << 3)


class TestGroupTable:
    @given(_rows, st.lists(st.integers(0, 60), max_size=4), st.sampled_from([4, 8, 64]), st.sampled_from([2, 9, 99]))
    @settings(max_examples=200, deadline=None)
    def test_groups_are_counted_and_told_of_as_numpy_does(
            self, rows: list[Any], cuts: list[int], limit: int, values: int) -> None:
        edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
        parts = [rows[start:stop] for start, stop in itertools.pairwise(edges)]
        seen = [[kind(values), kind(values)] for kind in (SeenTable, SeenBefore)]
        assert run(GroupTable(5, limit), seen[0], parts) == run(GroupCounts(5, limit), seen[1], parts)
        assert [each.forgotten for each in seen[0]] == [each.forgotten for each in seen[1]]

    def test_as_much_is_told_as_there_is(self) -> None:
        rows = [(number % 3, 31, 0, 0, 0, number) for number in range(2_000)]
        found = run(GroupTable(5, 8), [SeenTable(9), SeenTable(9)], [rows])
        assert found == run(GroupCounts(5, 8), [SeenBefore(9), SeenBefore(9)], [rows])
        assert len(found[3]) > 256

    @given(st.lists(st.sampled_from(_steps), min_size=1, max_size=9))
    @settings(max_examples=30, deadline=None)
    def test_steps_are_told_at_large_counts(self, counts: list[int]) -> None:
        for groups in (GroupTable(5, 64), GroupCounts(5, 64)):
            keys, times = np.arange(len(counts), dtype=np.uint64), np.zeros(len(counts), np.int64)
            bits, at = np.full(len(counts), 4, np.uint64), np.arange(len(counts))
            rows = Rows(keys[None], bits, bits, times, times, times)
            of, _, _ = groups.place(rows, 0, at, ())
            groups.counts[of, 2] = np.array(counts) - 1
            told = groups.count(rows, at, of, bits, decision(
                lambda own, running: at_step(own, running, 0, 63), 5, (2,), {2: [63]}))
            assert [each.row for each in told] == [
                row for row, count in enumerate(counts) if count in (10, 63, 100, 1_000, 10**11)]

    def test_many_groups_make_the_table_grow(self) -> None:
        groups = GroupTable(3, 10_000)
        of, new = groups.groups_of(np.arange(5_000, dtype=np.uint64))
        assert len(set(of.tolist())) == len(new) == len(groups) == 5_000
        assert groups.every().tolist() == of.tolist()
        groups.drop(of[:4_000])
        again, new = groups.groups_of(np.arange(5_000, dtype=np.uint64))
        assert new.tolist() == list(range(4_000))
        assert again[4_000:].tolist() == of[4_000:].tolist()
        assert not groups.counts[again[:4_000]].any()

    @pytest.mark.parametrize(("group", "bits"), [
        pytest.param(-1, 1, id="a negative group"), pytest.param(1 << 20, 1, id="a group that is too large"),
        pytest.param(0, 2, id="a field that there is not")])
    def test_what_there_is_not_is_refused(self, group: int, bits: int) -> None:
        groups, times, one = GroupTable(1, 8), np.zeros(1, np.int64), hashes([bits])
        with pytest.raises(IndexError):
            groups.count(Rows(one[None], one, one, times, times, times), times, np.array([group]), one, decision(
                lambda own, running: at_step(own, running, 0), 1, (0,), {}))

    @pytest.mark.parametrize("column", [pytest.param(-1, id="negative"), pytest.param(2, id="too large")])
    def test_a_column_that_there_is_not_is_refused(self, column: int) -> None:
        groups, times, one = GroupTable(1, 8), np.zeros(1, np.int64), hashes([1])
        with pytest.raises(IndexError):
            groups.place(Rows(one[None], one, one, times, times, times), column, times, ())
        with pytest.raises(IndexError):
            groups.place(Rows(one[None], one, one, times, times, times), 0, times, (Offer(SeenTable(9), column, 1),))


@given(st.lists(_values, max_size=30), st.lists(_values, max_size=60))
@settings(max_examples=60, deadline=None)
def test_common_values_are_found(some: list[int], others: list[int]) -> None:
    table = np.zeros(1 << (2 * len(some)).bit_length(), np.uint64)
    found = kernels.compiled.have_common(hashes(some), hashes(others), table, 0x1234_5678_9ABC_DEF1)
    assert found == bool(set(some) & set(others))


def run(groups: GroupCounts, seen: list[SeenBefore], parts: list[list[Any]]) -> list[Any]:
    """All that groups tell of rows; a full table drops its quietest groups. Groups stand by their serial numbers."""
    told: list[Any] = []
    offers = [Offer(seen[0], 1, 0b00110), Offer(seen[1], 2, 0b11000)]
    for part in parts:
        times = np.array([row[5] for row in part], np.int64)
        rows = Rows(hashes([(row[0], row[3], row[4]) for row in part]).reshape(-1, 3).T,
                    hashes([row[1] for row in part]), hashes([row[2] for row in part]), times, times + 1, times + 2)
        at = np.arange(len(part))
        while at.size:
            of, new, bits = groups.place(rows, 0, at, offers)
            chosen, at = at[: len(of)], at[len(of) :]
            told += [groups.serial[of].tolist(), new.tolist(), bits.tolist()]
            told += [[(each.row, groups.serial[each.group], each.counts.tolist(), each.first_ns, each.last_ns)
                      for each in groups.count(rows, chosen, of, bits, DECISION)]]
            if at.size:
                quiet = groups.quietest(groups.limit // 4)
                told.append(groups.serial[quiet].tolist())
                groups.drop(quiet)
        every = groups.every()
        told += [len(groups), groups.made, groups.serial[every].tolist(), groups.counts[every].tolist(),
                 groups.over_ns[every].tolist(), groups.serial[groups.quiet_since(3)].tolist()]
    return told
