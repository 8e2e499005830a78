"""Counts by group as columns are what plain dictionaries count, however the rows are cut."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.observe.counting import GroupCounts, SeenBefore, at_step, mixed, mixed_one, parts_of


def hashes(*values: int) -> np.ndarray:
    return np.array(values, np.uint64)


class TestSeenBefore:
    @given(st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=8))
    @settings(max_examples=60, deadline=None)
    def test_a_value_is_new_once(self, batches: list[list[int]]) -> None:
        seen, known = SeenBefore(1_000), set()
        for batch in batches:
            expected = [value not in known and not known.add(value) for value in batch]  # type: ignore[func-returns-value]
            assert seen.add(hashes(*batch)).tolist() == expected
        assert seen.forgotten == 0

    @given(st.lists(st.integers(0, 60), max_size=120), st.lists(st.integers(0, 120), max_size=5))
    @settings(max_examples=60, deadline=None)
    def test_what_is_forgotten_does_not_depend_on_how_values_come(self, values: list[int], cuts: list[int]) -> None:
        whole, cut = SeenBefore(20), SeenBefore(20)
        expected = whole.add(hashes(*values)).tolist()
        edges = [0, *sorted(cuts), len(values)]
        found = [flag for start, stop in itertools.pairwise(edges)
                 for flag in cut.add(hashes(*values[start:stop])).tolist()]
        assert found == expected
        assert cut.forgotten == whole.forgotten

    def test_it_holds_no_more_than_its_limit(self) -> None:
        seen = SeenBefore(100)
        seen.add(np.arange(1_000, dtype=np.uint64))
        assert seen.forgotten == 19
        assert not seen.add(hashes(999)).any()
        assert seen.add(hashes(0)).all()


def test_hashes_of_a_process_are_alike_and_depend_on_every_column() -> None:
    first = mixed(hashes(1, 2, 1), hashes(3, 3, 4))
    assert first.tolist() == mixed(hashes(1, 2, 1), hashes(3, 3, 4)).tolist()
    assert len(set(first.tolist())) == 3
    assert mixed(hashes(1), 3)[0] == first[0]
    assert mixed(hashes(3), 1)[0] != first[0]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=6))
def test_the_hash_of_one_row_is_that_of_columns(row: list[int]) -> None:
    assert mixed_one(*row) == int(mixed(*(hashes(number) for number in row))[0])


def reference(rows: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(row, count) at each step of each group."""
    counts: dict[int, int] = {}
    told = []
    for number, (key, size) in enumerate(rows):
        before = counts.get(key, 0)
        counts[key] = before + size
        if size and counts[key] in (3, 10, 100):
            told.append((number, counts[key]))
    return told


class TestGroupCounts:
    @given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1)), max_size=120),
           st.lists(st.integers(0, 120), max_size=4))
    @settings(max_examples=80, deadline=None)
    def test_steps_are_told_at_their_rows(self, rows: list[tuple[int, int]], cuts: list[int]) -> None:
        groups = GroupCounts(2, 64)
        told = []
        edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
        for start, stop in itertools.pairwise(edges):
            part = rows[start:stop]
            of, _ = groups.groups_of(hashes(*(key for key, _ in part)))
            times = np.arange(start, stop)
            counted = np.array([(1, size) for _, size in part], np.int8).reshape(-1, 2)
            found = groups.add(of, counted, times, times, times, lambda own, running: at_step(own, running, 0, 3), (1,))
            told += [(start + each.row, int(each.counts[1])) for each in found]
            for each in found:
                mine = [number for number, (key, _) in enumerate(rows[: start + each.row + 1])
                        if key == rows[start + each.row][0]]
                assert (each.first_ns, each.last_ns, int(each.counts[0])) == (mine[0], mine[-1], len(mine))
        assert told == reference(rows)

    def test_groups_that_are_dropped_begin_anew(self) -> None:
        groups = GroupCounts(1, 8)
        of, new = groups.groups_of(hashes(5, 7, 5))
        assert new.tolist() == [0, 1]
        ones, times = np.ones((3, 1), np.int8), np.array([3, 1, 4])
        groups.add(of, ones, times, times, times, lambda own, running: np.zeros(len(own), bool), (0,))
        assert groups.counts[of[0], 0] == 2
        assert groups.quietest(1).tolist() == [of[1]]
        assert groups.quiet_since(2).tolist() == [of[1]]
        serial = groups.serial[of[0]]
        groups.drop(of[:1])
        assert len(groups) == 1
        again, _ = groups.groups_of(hashes(5))
        assert groups.counts[again[0], 0] == 0
        assert groups.serial[again[0]] > serial

    @pytest.mark.parametrize(("keys", "fitting"), [
        pytest.param(range(8), 8, id="as many groups as there is room for"),
        pytest.param(range(9), 8, id="one too many: all rows before it"),
        pytest.param([0] * 20, 20, id="many rows of one group"),
        pytest.param([0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 9, 2], 10, id="known groups go on fitting"),
    ])
    def test_rows_fit_up_to_the_first_group_without_room(self, keys: list[int], fitting: int) -> None:
        groups = GroupCounts(1, 8)
        assert groups.fitting(hashes(*keys)) == fitting
        groups.groups_of(hashes(*list(keys)[:fitting]))
        assert groups.fitting(hashes(*keys)) == fitting

    def test_many_groups_make_the_columns_grow(self) -> None:
        groups = GroupCounts(3, 10_000)
        of, new = groups.groups_of(np.arange(5_000, dtype=np.uint64))
        assert len(set(of.tolist())) == len(new) == len(groups) == 5_000
        assert groups.every().tolist() == of.tolist()


def test_parts_cover_all_rows() -> None:
    assert [(part.start, part.stop) for part in parts_of(10, 4)] == [(0, 4), (4, 8), (8, 10)]
