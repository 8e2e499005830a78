"""Kernels of counts: tables say what the sorted sets and counts of observe/counting.py say."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids import kernels
from imapids.observe.counting import GroupCounts, SeenBefore, at_step, mixed
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


@given(st.lists(st.tuples(st.integers(0, 1), st.one_of(st.integers(0, 12), st.sampled_from(
    [step + more for step in [10**power for power in range(2, 13)] for more in (-1, 0, 1)]))), max_size=30),
    st.lists(st.integers(0, 12), max_size=2))
@settings(max_examples=60, deadline=None)
def test_steps_are_those_of_numpy(rows: list[tuple[int, int]], also: list[int]) -> None:
    marks = np.array([(0, own) for own, _ in rows], np.int8).reshape(-1, 2)
    running = np.array([(10, count) for _, count in rows], np.int64).reshape(-1, 2)
    compiled = at_step(marks, running, 1, *also)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kernels, "COMPILED", False)
        assert compiled.tolist() == at_step(marks, running, 1, *also).tolist()


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
        assert 2 * np.count_nonzero(table._newer) <= len(table._newer) <= 1 << 18


_rows = st.lists(st.tuples(_values, st.integers(0, 1), st.integers(0, 1), st.integers(0, 1), st.integers(-9, 9)),
                 max_size=60)


class TestGroupTable:
    @given(_rows, st.lists(st.integers(0, 60), max_size=4), st.sampled_from([4, 8, 64]))
    @settings(max_examples=200, deadline=None)
    def test_groups_are_counted_and_told_of_as_numpy_does(self, rows: list[Any], cuts: list[int], limit: int) -> None:
        edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
        parts = [rows[start:stop] for start, stop in itertools.pairwise(edges)]
        assert run(GroupTable(3, limit), parts) == run(GroupCounts(3, limit), parts)

    def test_many_groups_make_the_table_grow(self) -> None:
        groups = GroupTable(3, 10_000)
        of, new = groups.groups_of(np.arange(5_000, dtype=np.uint64))
        assert len(set(of.tolist())) == len(new) == len(groups) == 5_000
        assert groups.every().tolist() == of.tolist()
        groups.drop(of[:4_000])
        again, new = groups.groups_of(np.arange(5_000, dtype=np.uint64))
        assert new.tolist() == list(range(4_000))
        assert again[4_000:].tolist() == of[4_000:].tolist()

    @pytest.mark.parametrize("group", [pytest.param(-1, id="negative"), pytest.param(1 << 20, id="too large")])
    def test_a_group_that_there_is_not_is_refused(self, group: int) -> None:
        groups, times = GroupTable(1, 8), np.zeros(1, np.int64)
        with pytest.raises(IndexError):
            groups.add(np.array([group]), np.ones((1, 1), np.int8), times, times, times,
                       lambda own, running: at_step(own, running, 0), (0,))


def run(groups: GroupCounts, parts: list[list[Any]]) -> list[Any]:
    """All that groups tell of rows; a full table drops its quietest groups. Groups stand by their serial numbers."""
    told: list[Any] = []
    for part in parts:
        while part:
            keys = hashes([row[0] for row in part])
            fitting = groups.fitting(keys)
            told.append(fitting)
            if fitting:
                of, new = groups.groups_of(keys[:fitting])
                names = groups.serial[of].tolist()
                counted = np.array([row[1:4] for row in part[:fitting]], np.int8)
                times = np.array([row[4] for row in part[:fitting]], np.int64)
                found = groups.add(of, counted, times, times + 1, times + 2,
                                   lambda own, running: (own[:, 0] != 0) & (running[:, 1] > 1), (2, 0))
                told += [names, new.tolist(), [
                    (each.row, groups.serial[each.group], each.counts.tolist(), each.first_ns, each.last_ns)
                    for each in found]]
            part = part[fitting:]
            if part:
                quiet = groups.quietest(groups.limit // 4)
                told.append(groups.serial[quiet].tolist())
                groups.drop(quiet)
        every = groups.every()
        told += [len(groups), groups.made, groups.serial[every].tolist(), groups.counts[every].tolist(),
                 groups.over_ns[every].tolist(), groups.serial[groups.quiet_since(3)].tolist()]
    return told
