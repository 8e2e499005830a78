"""Rows of many histories in one table: what is held of each, and rows that are given back and taken again."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.observe.histories import NONE, ROW, Histories, Unit

NUMBERS = st.one_of(st.integers(0, 9), st.sampled_from([2**32 - 1, 2**32, 2**62]))
UNITS = st.tuples(st.integers(-(2**63), 2**63 - 1), NUMBERS, NUMBERS, NUMBERS)
STEPS = st.one_of(st.tuples(st.just("add"), st.integers(0, 2), UNITS),
                  st.tuples(st.just("keep"), st.integers(0, 2), st.integers(1, 4)),
                  st.tuples(st.just("give back"), st.integers(0, 2), st.none()))


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_each_history_is_the_list_that_it_stands_for(steps: list[tuple[str, int, Unit | int | None]]) -> None:
    histories, newest = Histories(60), [NONE] * 3
    lists: list[list[Unit]] = [[], [], []]
    most = 0
    for what, which, value in steps:
        if what == "add" and isinstance(value, tuple):
            newest[which] = histories.add(value, newest[which])
            lists[which].append(value)
        elif what == "keep" and isinstance(value, int) and len(lists[which]) >= value:
            histories.keep(newest[which], value)
            del lists[which][:-value]
        elif what == "give back":
            histories.give_back(newest[which])
            newest[which] = NONE
            lists[which].clear()
        most = max(most, sum(map(len, lists)))
        assert [histories.units(row) for row in newest] == lists
    assert histories.used == most  # rows that were given back are taken first
    assert set(histories.large.values()) <= {unit for some in lists for unit in some}


def test_the_memory_is_there_from_the_beginning() -> None:
    histories = Histories(7)
    assert len(histories.memory) == 7 * ROW.size
    row = NONE
    for number in range(7):
        row = histories.add((number, 0, 0, 0), row)
    assert len(histories.memory) == 7 * ROW.size
    histories.clear()
    assert (histories.add((1, 2, 3, 4), NONE), histories.used) == (0, 1)


@pytest.mark.parametrize("unit", [
    pytest.param((1, 2**32, 0, 0), id="a client sends four gigabytes"),
    pytest.param((1, 0, 2**40, 0), id="a server sends a terabyte"),
    pytest.param((1, 0, 0, 2**33), id="a connection takes three months"),
])
def test_what_is_too_large_for_a_row_is_held_beside_it(unit: Unit) -> None:
    histories = Histories(2)
    row = histories.add(unit, NONE)
    assert histories.units(histories.add((5, 6, 7, 8), row)) == [unit, (5, 6, 7, 8)]
    histories.give_back(row)
    assert histories.units(histories.add((5, 6, 7, 8), NONE)) == [(5, 6, 7, 8)]
