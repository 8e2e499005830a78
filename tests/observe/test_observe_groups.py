"""Groups with windows, and the budget of values."""

from __future__ import annotations

import pytest

from imapids.observe.groups import Groups, Values, passed_step


class _Group:
    def __init__(self, start_ns: int) -> None:
        self.start_ns = start_ns


@pytest.mark.parametrize(("before", "after", "passed"), [
    pytest.param(0, 9, False, id="nine is no step"),
    pytest.param(9, 10, True, id="ten is one"),
    pytest.param(10, 99, False, id="none between ten and hundred"),
    pytest.param(3, 2_000, True, id="several steps at once count once"),
    pytest.param(100, 100, False, id="what did not rise passed nothing"),
])
def test_steps(before: int, after: int, passed: bool) -> None:
    assert passed_step(before, after) is passed


def test_a_window_is_over_when_its_time_is_over() -> None:
    groups: Groups[str, _Group] = Groups(100, 8)
    for name, start in (("a", 0), ("b", 40), ("c", 90)):
        assert groups.add(name, _Group(start)) is None
    assert groups.over(99) == []
    assert [group.start_ns for group in groups.over(140)] == [0, 40]
    assert groups.get("a") is None
    assert groups.get("c") is not None
    assert [group.start_ns for group in groups.take_all()] == [90]
    assert len(groups) == 0
    assert groups.over(10**15) == []


def test_the_oldest_makes_room_and_is_counted() -> None:
    groups: Groups[int, _Group] = Groups(10**9, 3)
    out = [groups.add(number, _Group(number)) for number in range(5)]
    assert [group.start_ns for group in out if group is not None] == [0, 1]
    assert groups.dropped == 2
    assert len(groups) == 3


def test_the_budget_of_values_is_kept_and_refusals_are_counted() -> None:
    values = Values(3, 2)
    assert [values.room(known) for known in (0, 1, 2)] == [True, True, False]
    assert values.room(0)
    assert not values.room(0)
    values.give_back(2)
    assert values.room(0)
    assert values.refused == 2
