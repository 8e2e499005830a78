"""The compiled writer of EVE lines gives, byte for byte, what the Python one gives, whatever stands in the records."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import json
import math
from typing import Any

import msgspec
import pytest
from helpers.told import TIME, a_flow
from helpers.told import a_session as a_told_session
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids import kernels
from imapids.output import eve, eve_line
from imapids.records.alerts import Alert, Reason, RuleInfo
from imapids.records.candidates import Evidence
from imapids.records.events import (
    EVENT_TYPES,
    Anomaly,
    Beacon,
    Capture,
    Command,
    Event,
    FlowBody,
    Ja3,
    Login,
    Session,
    Tls,
)
from imapids.records.streams import Flow
from imapids.records.verdicts import Revision

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")


DAY_NS = 86_400 * 10**9


def a_session(**changes: Any) -> Session:
    return a_told_session(**{"history": [Revision("genuine", "low", "imap", 9, "late")]} | changes)


def a_command(**changes: Any) -> Command:
    return Command(**{"tag": "a1", "name": "UID FETCH", "result": "ok"} | changes)


def an_event(body: Any, flow: Flow | None = None, **changes: Any) -> Event:
    values = {"kind": EVENT_TYPES[type(body)], "time_ns": TIME, "body": body, "flow": flow, "packet": 4} | changes
    return Event(**values)


def an_alert(**changes: Any) -> Alert:
    rule = RuleInfo(id="6f2f6cb4", sid=1143001, title="Not IMAP on port 143", level="high", family="verdict",
                    tactics=["command-and-control"], references=["https://example.org/"])
    values: dict[str, Any] = {
        "id": "0123456789abcdef", "state": "new", "rule": rule, "subject": "10.1.2.3 > 192.0.2.1:143",
        "case": "0123456789ab", "time_ns": TIME, "first_ns": TIME - 5 * 10**9, "last_ns": TIME, "count": 1,
        "flow": a_flow(), "packet": 4, "event": "session", "labels": ["imapids-not-imap"],
        "why": Reason("all of", because=[Reason("session.verdict = not-imap", value="not-imap", packet=4)]),
    }
    return Alert(**values | changes)


def without_heads(items: list[Event | Alert]) -> list[Event | Alert]:
    """The same items, with flows whose heads were not written yet."""
    for item in items:
        if item.flow is not None:
            item.flow.eve_head = b""
    return items


def both(items: list[Event | Alert]) -> tuple[Any, Any]:
    """What Python and the kernel make of the items; an error stands for itself."""
    made = []
    for encode in (eve_line.python_lines, eve.encode_lines):
        try:
            made.append(encode(without_heads(items)))
        except Exception as error:  # noqa: BLE001  # both must fail alike
            made.append(repr(error))
    return made[0], made[1]


class Color(enum.Enum):
    """No value of any record."""

    RED = "red"


class Word(str):
    """A text of a kind of its own."""

    __slots__ = ()


class Tagged(msgspec.Struct, tag="kind"):
    """A record with a key more than fields."""

    value: int = 1


class Listed(msgspec.Struct, array_like=True):
    """A record that is a list."""

    value: int = 1


class Renamed(msgspec.Struct, rename="camel", omit_defaults=True):
    """A record whose keys are not its fields."""

    some_value: int = 1
    other_value: str = "o"
    none: Any = msgspec.UNSET


class Quoted(msgspec.Struct, rename={"value": "é"}):
    """A record whose key is escaped."""

    value: int = 1


class Empties(msgspec.Struct, omit_defaults=True):
    """Defaults of every kind."""

    items: list[int] = []
    names: dict[str, int] = {}
    seen: set[int] = msgspec.field(default_factory=set)
    made: list[int] = msgspec.field(default_factory=lambda: [1])
    pair: tuple[int, ...] = ()
    number: int = 1_000_000
    share: float = 0.0
    text: str = "text"
    maybe: str | None = None
    yes: bool = True


VALUES = [
    "", "plain", 'a "quote"', "back\\slash", "\\x00\\", '"', "x" * 7 + '"', "x" * 8 + "\\", "tab\t", "nul\0", "del\x7f",
    "é", "日本", "😀", "lone \ud800", "\udcff", "x" * 15_000, "x" * 70_000, "\\" * 9_000, "é" * 9_000,
    0, 1, -1, 9, 10, 99, 100, 101, 12345, -12345, 2**63 - 1, -2**63, 2**63, 2**64, -2**63 - 1, 10**30, True, False,
    None, 0.0, -0.0, 1.5, 1e300, math.nan, math.inf, [], [1, [2, ["three", None]]], (), (1, "two"), [[]] * 3, {},
    {"a": 1}, {"a": {"b": 1}}, {"a": [1]}, {1: 2}, {"é": 1}, {'"': "\\"}, {Word("w"): 1}, {"a": True}, {"a": None},
    {"a": 2**64},
    set(), {1}, frozenset({1}), b"bytes", bytearray(b"b"), Word("word"), Color.RED, dt.date(2026, 1, 2),
    collections.OrderedDict(a=1), collections.deque([1]), object(), msgspec.UNSET, msgspec.Raw(b"[1]"), range(3),
    Tagged(), Listed(), Renamed(), Renamed(2, "p", 3), Quoted(), Empties(), Ja3("h", "s"), Evidence("c", "s", 1, 2),
    Evidence("c", "s", 1, 2, "é"),
    Empties([1], {"a": 1}, {1}, [1], (1,), 1_000_001, 0.5, "other", "some", False), Empties(number=10**6, share=0.0),
    Empties([], {}, set(), [], (), yes=False), [Reason("c", because=[Reason("d")])],
]


def nested(depth: int) -> list[Any]:
    """Lists in lists."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("field", ["tag", "state", "arguments", "line_bytes", "pipelined", "traits"])
def test_whatever_a_field_of_a_body_holds(field: str) -> None:
    for value in [*VALUES, nested(15), nested(16), nested(17), nested(18), nested(900)]:
        items = [an_event(a_command(), a_flow()), an_event(a_command(**{field: value}), a_flow()),
                 an_event(a_command(), a_flow())]
        expected, got = both(items)
        assert got == expected, f"{value!r}"[:80]


@pytest.mark.parametrize("field", ["source", "interface", "vlan", "client", "client_port", "community_id",
                                   "direction", "end_reason"])
def test_whatever_a_flow_holds(field: str) -> None:
    for value in VALUES:
        flow = a_flow(**{field: value})
        for item in (an_event(a_session(), flow), an_event(Tls(), flow), an_alert(flow=flow, state="final")):
            expected, got = both([an_event(a_command(), a_flow()), item])
            assert got == expected, f"{value!r}"[:80]


@pytest.mark.parametrize("field", ["flow_id", "start_ns", "packets_client", "bytes_server"])
def test_whatever_numbers_a_flow_holds(field: str) -> None:
    for value in VALUES:
        if type(value) is int:
            flow = a_flow(**{field: value})
            expected, got = both([an_event(a_session(), flow), an_alert(flow=flow)])
            assert got == expected, f"{value!r}"[:80]


@pytest.mark.parametrize("field", ["id", "state", "subject", "why", "first_ns", "time_ns", "count", "packet", "event",
                                   "protocol", "labels", "context", "direction", "confidence", "flow"])
def test_whatever_an_alert_holds(field: str) -> None:
    for value in VALUES:
        expected, got = both([an_alert(), an_alert(**{field: value}), an_alert()])
        assert got == expected, f"{value!r}"[:80]


@pytest.mark.parametrize("field", ["title", "level", "advice", "falsepositives", "id", "tactics", "created"])
def test_whatever_a_rule_holds(field: str) -> None:
    for value in VALUES:
        rule = RuleInfo(**{"id": "x", "sid": 1, "title": "t", "level": "low"} | {field: value})
        expected, got = both([an_alert(rule=rule)] * 2)
        assert got == expected, f"{value!r}"[:80]


@pytest.mark.parametrize("item", [
    pytest.param(an_event(a_command(), a_flow(), packet=0), id="no frame"),
    pytest.param(an_event(a_command(), a_flow(), packet=2**64), id="a frame beyond 64 bits"),
    pytest.param(an_event(a_command(), a_flow(), packet=True), id="a frame that is no number"),
    pytest.param(an_event(a_command()), id="no flow"),
    pytest.param(an_event(a_session()), id="a session without a flow"),
    pytest.param(an_event(Tls(), a_flow(direction="unknown")), id="a flow without direction"),
    pytest.param(an_event(Anomaly(type="stream", event="x", app_proto="é"), a_flow()), id="a strange protocol"),
    pytest.param(an_event(a_session(protocol="\ud800"), a_flow()), id="no text as protocol"),
    pytest.param(an_event(a_command(), a_flow(), time_ns=-1), id="just before 1970"),
    pytest.param(an_event(a_command(), a_flow(), time_ns=-2**63), id="the earliest time"),
    pytest.param(an_event(a_command(), a_flow(), time_ns=2**63), id="beyond the latest time"),
    pytest.param(an_event(a_command(), a_flow(eve_head=b',"a":"\xc3\xa9"')), id="a head that is not ASCII"),
    pytest.param(an_alert(flow=None), id="an alert without a flow"),
    pytest.param(an_alert(labels=[f"label-{n}" for n in range(40)]), id="many labels"),
    pytest.param(an_alert(labels=("one", "two")), id="labels of another kind"),
    pytest.param(an_alert(why=Reason("c" * 15_000)), id="an alert that is cut"),
    pytest.param("no event at all", id="something else"),
])
def test_odd_items(item: Any) -> None:
    made = []
    for encode in (eve_line.python_lines, eve.encode_lines):
        try:
            made.append(encode([an_event(a_command(), a_flow()), item]))
        except Exception as error:  # noqa: BLE001  # both must fail alike
            made.append(repr(error))
    assert made[0] == made[1]


@pytest.mark.parametrize("odd", ['"', "\\", "\x1f", "\x7f", "\0", "\x80", " ", "~"], ids=ascii)
def test_an_odd_character_is_found_at_any_place_of_a_text_of_any_length(odd: str) -> None:
    for size in range(1, 28):
        for place in range(size):
            text = "ab!#[]~ "[place % 8] * place + odd + "z" * (size - place - 1)
            expected, got = both([an_event(a_command(arguments=text, traits=[text, "x"]), a_flow())])
            assert got == expected, text


@pytest.mark.parametrize("size", [*range(14_800, 15_000, 7), 15_359, 15_360, 15_361, 16_384, 70_000])
def test_the_longest_lines(size: int) -> None:
    for body in (a_command(arguments="x" * size), a_session(greeting="x" * size), Tls(subject="x" * size)):
        expected, got = both([an_event(body, a_flow())] * 2)
        assert got == expected


def test_a_line_that_python_must_write_stands_in_its_place() -> None:
    lines = eve.encode_lines([an_event(a_command(tag=tag), a_flow()) for tag in ("a", "é", "b", "\ud800", "c")])
    tags = [json.loads(line)["command"]["tag"] for line in lines.splitlines()]
    assert tags == ["a", "é", "b", "\\xed\\xa0\\x80", "c"]


def test_heads_are_written_once_and_end_as_their_own_flow_says() -> None:
    flows = [a_flow(source=source, interface=interface, vlan=vlan)
             for source in ("a.pcap", "b.pcap", "é.pcap") for interface in ("", "eth0") for vlan in ((), (7,))]
    expected, got = both([an_event(a_command(), flow) for flow in flows + flows])
    assert got == expected
    assert all(flow.eve_head for flow in flows)
    flows[0].eve_head = b',"src_ip":"kept"'
    assert json.loads(eve.encode(an_event(a_command(), flows[0])))["src_ip"] == "kept"


def test_times_of_all_years() -> None:
    days = range(-2**63 // DAY_NS + 1, 2**63 // DAY_NS, 13)
    edges = [int(dt.datetime(year, month, 1, tzinfo=dt.UTC).timestamp()) * 10**9 + shift
             for year in (1678, 1699, 1700, 1900, 1969, 1970, 1972, 2000, 2024, 2100, 2261) for month in (1, 3, 12)
             for shift in (-1, 0, 999, 1_000, 10**9 - 1)]
    times = [*(day * DAY_NS + day * 7_919_000_001 % DAY_NS for day in days), *edges, 2**63 - 1, -2**63]
    expected, got = both([an_event(a_command(), time_ns=time_ns) for time_ns in times])
    assert got == expected


def test_any_iterable_is_taken() -> None:
    items = [an_event(a_command(), a_flow()) for _ in range(3)]
    assert eve.encode_lines(iter(items)) == eve.encode_lines(tuple(items)) == eve.encode_lines(items)
    assert eve.encode_lines([]) == b""


def test_the_buffer_grows_as_it_must() -> None:
    short = [an_event(a_command(), a_flow())] * 50
    eve.encode_lines(short)  # from now on little room is expected to do
    long = [an_event(a_session(greeting="\\" * 3_000), a_flow())] * 50
    expected, got = both(long)
    assert got == expected
    assert eve.encode_lines(short) == eve_line.python_lines(short)


@pytest.mark.parametrize(("fields", "like"), [
    pytest.param({'"': "kind"}, None, id="a key that would be escaped"),
    pytest.param({"é": "kind"}, None, id="a key that is not ASCII"),
    pytest.param({"kind": "kind"}, Tagged, id="a record with a tag"),
    pytest.param({"kind": "kind"}, Listed, id="a record that is a list"),
])
def test_plans_that_nobody_could_follow_are_refused(fields: dict[str, str], like: type | None) -> None:
    with pytest.raises(TypeError):
        kernels.events.Plan(Event, fields, like=like)


texts = st.one_of(st.text(max_size=40), st.text(st.sampled_from('ab"\\\t\x7fé'), max_size=20), st.sampled_from([
    "", "unknown", "imap"]))
numbers = st.one_of(st.integers(), st.integers(-2**63, 2**63 - 1), st.integers(0, 300))


@settings(max_examples=40)
@given(st.data())
def test_bodies_of_every_kind(data: st.DataObject) -> None:
    items: list[Event | Alert] = []
    flow = a_flow(source=data.draw(texts), vlan=tuple(data.draw(st.lists(st.integers(0, 4095), max_size=2))),
                  start_ns=data.draw(numbers), packets_client=data.draw(numbers))
    for body in (a_session(), a_command(), Login(mechanism="plain", outcome="failure"), Tls(),
                 Anomaly(type="stream", event="gap"), Beacon(over="turns", told="step", units=3),
                 Capture(packets=1, processed=1, skipped={}, flows=1, sessions=0, inputs=[]),
                 FlowBody(pkts_toserver=1, pkts_toclient=1, bytes_toserver=2, bytes_toclient=3, start="s", end="e",
                          age=1, state="closed", reason="timeout")):
        for name in data.draw(st.lists(st.sampled_from(type(body).__struct_fields__), max_size=4)):
            value = getattr(body, name)
            kinds: Any = (
                st.booleans() if isinstance(value, bool) else numbers if isinstance(value, int)
                else st.floats() if isinstance(value, float) else st.lists(texts, max_size=3) if isinstance(value, list)
                else st.dictionaries(texts, numbers, max_size=3) if isinstance(value, dict) else texts)
            setattr(body, name, data.draw(kinds))
        items.append(an_event(body, data.draw(st.sampled_from([flow, None])), time_ns=data.draw(numbers),
                              packet=data.draw(st.integers(0, 2**40))))
    items.append(an_alert(flow=flow, subject=data.draw(texts), context=data.draw(st.dictionaries(texts, texts)),
                          first_ns=data.draw(numbers), state=data.draw(st.sampled_from(["new", "final"]))))
    expected, got = both(items)
    assert got == expected
