"""EVE's timestamps: fixed width, exact to the microsecond, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapids.protocols.timestamps import eve_second, eve_time, parse_eve_time


@pytest.mark.parametrize(("time_ns", "text"), [
    pytest.param(0, "1970-01-01T00:00:00.000000+0000", id="the beginning of time"),
    pytest.param(1767322845_123456789, "2026-01-02T03:00:45.123456+0000", id="nanoseconds are cut, not rounded"),
    pytest.param(-1, "1969-12-31T23:59:59.999999+0000", id="before 1970"),
    pytest.param(2**63 - 1, "2262-04-11T23:47:16.854775+0000", id="the latest that a column holds"),
])
def test_known_times(time_ns: int, text: str) -> None:
    assert eve_time(time_ns) == text


@given(st.integers(-2**63, 2**63 - 1))
def test_there_and_back_to_the_microsecond(time_ns: int) -> None:
    text = eve_time(time_ns)
    assert len(text) == 31
    assert parse_eve_time(text) == time_ns // 1000 * 1000


def test_other_offsets_are_read_and_missing_ones_refused() -> None:
    assert parse_eve_time("1970-01-01T02:00:00.000001+0200") == 1000
    with pytest.raises(ValueError, match="offset"):
        parse_eve_time("1970-01-01T00:00:00")
    with pytest.raises(ValueError, match=r"."):
        parse_eve_time("yesterday")


def test_absurd_seconds_do_not_raise() -> None:
    assert eve_second(10**15) == "9999-12-31T23:59:59"
    assert eve_second(-10**15) == "0001-01-01T00:00:00"
