"""Option values: what each kind takes, and what it says when it refuses."""

import contextlib
import re

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.cli.values import Format, Moment, Names, Network, Ports, Size, Workers

SECOND = 10**9
EIGHT = 1_772_524_800 * SECOND
EVENTS = Names("event type", frozenset({"alert", "session", "flow"}), frozenset({"alert", "session"}))


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        pytest.param(Moment(), "2026-03-03T08:00:00Z", EIGHT, id="ISO 8601 with Z"),
        pytest.param(Moment(), "2026-03-03T08:00:00", EIGHT, id="ISO 8601 without an offset is UTC"),
        pytest.param(Moment(), "2026-03-03T09:00:00+01:00", EIGHT, id="an offset counts"),
        pytest.param(Moment(), "2026-03-03 08:00", EIGHT, id="a blank instead of the T, no seconds"),
        pytest.param(Moment(), "2026-03-03", EIGHT - 8 * 3600 * SECOND, id="a date is its first moment"),
        pytest.param(Moment(), "20260303", EIGHT - 8 * 3600 * SECOND, id="eight digits are a date, as in ISO 8601"),
        pytest.param(Moment(), "2026-03-03T08:00:00.123456789Z", EIGHT + 123_456_789, id="nanoseconds of ISO 8601"),
        pytest.param(Moment(), "1772524800", EIGHT, id="seconds since the epoch"),
        pytest.param(Moment(), "1772524800.000000001", EIGHT + 1, id="a fraction is exact to the nanosecond"),
        pytest.param(Moment(), "-1.5", -1_500_000_000, id="before the epoch"),
        pytest.param(Network(), "10.1.2.3/8", "10.0.0.0/8", id="host bits are dropped"),
        pytest.param(Network(), "192.0.2.7", "192.0.2.7", id="a single address stays one"),
        pytest.param(Network(), "2001:DB8::/32", "2001:db8::/32", id="IPv6 in normal form"),
        pytest.param(Ports(), "143", ((143, "tcp"),), id="a port is TCP"),
        pytest.param(
            Ports(), "143,2143/TCP, 143/udp", ((143, "tcp"), (2143, "tcp"), (143, "udp")), id="a list with transports"
        ),
        pytest.param(Size(), "400M", 400 << 20, id="mebibytes"),
        pytest.param(Size(), "2GiB", 2 << 30, id="a long unit"),
        pytest.param(Size(), "1000", 1000, id="bytes"),
        pytest.param(EVENTS, "alert, Session", frozenset({"alert", "session"}), id="names in any case"),
        pytest.param(EVENTS, "all", frozenset({"alert", "session"}), id="all stands for its own set"),
        pytest.param(EVENTS, "all,flow", frozenset({"alert", "session", "flow"}), id="all and one more"),
        pytest.param(Workers(), "4", 4, id="a number of workers"),
        pytest.param(Format("table", "jsonl"), "JSONL", "jsonl", id="a format in capitals"),
    ],
)
def test_a_value_is_understood(kind, text, expected):
    assert kind.convert(text, None, None) == expected


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        pytest.param(Moment(), "yesterday", "2026-03-03T08:00:00Z", id="no time: an example is shown"),
        pytest.param(Moment(), "2026-13-01", "no time", id="a month that does not exist"),
        pytest.param(Network(), "10.0.0.0/33", "10.0.0.0/8", id="a prefix that is too long"),
        pytest.param(Network(), "mail.example.org", "no address", id="names are not resolved"),
        pytest.param(Ports(), "0", "no port", id="port zero"),
        pytest.param(Ports(), "65536", "no port", id="a port too large"),
        pytest.param(Ports(), "143/sctp", "no port", id="an unknown transport"),
        pytest.param(Size(), "lots", "400M", id="no size: an example is shown"),
        pytest.param(EVENTS, "sesion", "Did you mean 'session'?", id="a typing error in an event type"),
        pytest.param(EVENTS, ",", "at least one", id="no event type at all"),
        pytest.param(Workers(), "0", "1 to 256", id="no workers"),
        pytest.param(Workers(), "many", "auto", id="workers in words"),
        pytest.param(Format("table", "jsonl"), "json", "Did you mean 'jsonl'?", id="a near format"),
    ],
)
def test_a_wrong_value_is_refused_with_a_hint(kind, text, says):
    with pytest.raises(click.BadParameter, match=re.escape(says)):
        kind.convert(text, None, None)


def test_auto_workers_is_at_least_one():
    assert Workers().convert("auto", None, None) >= 1


@settings(max_examples=100)
@given(
    st.text(max_size=30), st.sampled_from([Moment(), Network(), Ports(), Size(), EVENTS, Workers(), Format("table")])
)
def test_any_text_gives_a_value_or_a_refusal(text, kind):
    with contextlib.suppress(click.BadParameter):  # no other exception
        kind.convert(text, None, None)
