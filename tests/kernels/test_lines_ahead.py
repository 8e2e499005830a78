"""Lines that another thread encodes are those that Python writes, in their order, whatever is left to who asks."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.told import TIME, a_flow, a_session
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids import kernels
from imapids.errors import OutputError
from imapids.output import eve, eve_line
from imapids.output.files import LineFile
from imapids.output.jsonl import JsonLines
from imapids.records.alerts import Alert, Reason, RuleInfo
from imapids.records.events import (
    EVENT_TYPES,
    Anomaly,
    Beacon,
    Command,
    Event,
    FlowBody,
    Login,
    Message,
    Tls,
)

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")

EVERYTHING = frozenset({"all"})


def an_event(body: Any, flow: Any = None, **changes: Any) -> Event:
    values = {"kind": EVENT_TYPES[type(body)], "time_ns": TIME, "body": body, "flow": flow, "packet": 4} | changes
    return Event(**values)


def a_command(**changes: Any) -> Command:
    return Command(**{"tag": "a1", "name": "UID FETCH", "result": "ok"} | changes)


def an_alert() -> Alert:
    rule = RuleInfo(id="6f2f6cb4", sid=1143001, title="Not IMAP on port 143", level="high", family="verdict")
    return Alert(id="0123456789abcdef", state="new", rule=rule, subject="10.1.2.3 > 192.0.2.1:143", case="0123456789ab",
                 time_ns=TIME, first_ns=TIME, last_ns=TIME, count=1, flow=a_flow(), packet=4, event="session",
                 why=Reason("all of", because=[Reason("session.verdict = not-imap")]))


def some(count: int) -> list[Any]:
    """Events of several types, of conversations with several events."""
    items: list[Any] = []
    for number in range(count // 4):
        flow = a_flow(flow_id=number + 1, client_port=number % 65_000)
        items += [an_event(a_command(tag=f"a{number}"), flow, packet=number, time_ns=TIME + number * 10**8),
                  an_event(Login(mechanism="plain", outcome="failure", user=f"user{number}"), flow),
                  an_event(Message(action="fetch", count=number), flow), an_event(a_session(), flow)]
    return items


def in_python(items: list[Any]) -> bytes:
    """What Python writes; the heads of the flows are forgotten before and after."""
    forget_heads(items)
    lines = eve_line.python_lines(items)
    forget_heads(items)
    return lines


def forget_heads(items: list[Any]) -> None:
    for item in items:
        if item.flow is not None:
            item.flow.eve_head = b""


def ahead_of(lines: Any, items: list[Any]) -> bytes:
    assert lines.start(items)
    return b"".join(bytes(piece) for piece in lines.pieces())


@pytest.fixture
def lines() -> Any:
    made = eve.lines_ahead()
    yield made
    made.close()


LEFT: dict[str, Callable[[], Any]] = {
    "a text that is not ASCII": lambda: an_event(a_command(arguments="é"), a_flow()),
    "a lone surrogate": lambda: an_event(a_command(arguments="\ud800"), a_flow()),
    "a control character": lambda: an_event(a_command(arguments="\x7f"), a_flow()),
    "a float": lambda: an_event(Beacon(over="turns", told="step", units=3, score=0.25), a_flow()),
    "a number beyond 64 bits": lambda: an_event(a_command(line_bytes=2**70), a_flow()),
    "a line that is too long": lambda: an_event(a_command(arguments="x" * 20_000), a_flow()),
    "a text that is far too long": lambda: an_event(a_command(arguments="x" * 70_000), a_flow()),
    "an alert": an_alert,
    "a head that is not ASCII": lambda: an_event(a_command(), a_flow(source="é.pcap")),
    "a head that Python makes with pain": lambda: an_event(a_command(), a_flow(interface="\ud800")),
    "a strange value": lambda: an_event(a_command(traits=(1, "b")), a_flow()),
    "a record that nobody has met": lambda: an_event(a_command(traits=[a_session()]), a_flow()),
}
NOT_LEFT: dict[str, Callable[[], Any]] = {
    "a flow without direction": lambda: an_event(Tls(), a_flow(direction="unknown")),
    "a flow with direction": lambda: an_event(Tls(), a_flow(direction="outbound")),
    "a protocol": lambda: an_event(Anomaly(type="stream", event="x", app_proto="imap"), a_flow()),
    "no protocol": lambda: an_event(Anomaly(type="stream", event="x"), a_flow()),
    "no flow": lambda: an_event(a_command()),
    "no frame": lambda: an_event(a_command(), a_flow(), packet=0),
    "counts": lambda: an_event(FlowBody(pkts_toserver=1, pkts_toclient=1, bytes_toserver=2, bytes_toclient=3, start="s",
                                        end="e", age=1, state="closed", reason="timeout"), a_flow()),
}


@pytest.mark.parametrize("place", [1, 250, 499])
@pytest.mark.parametrize("odd", [pytest.param(make, id=name) for name, make in (LEFT | NOT_LEFT).items()])
def test_any_line_stands_in_its_place(lines: Any, odd: Callable[[], Any], place: int) -> None:
    items = some(500)
    items.insert(place, odd())
    expected = in_python(items)
    assert ahead_of(lines, items) == expected
    assert ahead_of(lines, items) == expected  # with heads, and with what was learned


@pytest.mark.parametrize("odd", [pytest.param(make, id=name) for name, make in LEFT.items()])
def test_all_lines_may_be_left(lines: Any, odd: Callable[[], Any]) -> None:
    items = [an_event(a_command(), a_flow()), *[odd() for _ in range(100)]]
    assert ahead_of(lines, items) == in_python(items)


@pytest.mark.parametrize("sources", [1, 3, 12])
def test_flows_of_several_origins(lines: Any, sources: int) -> None:
    names = [f"day-{number}.pcap" for number in range(sources)]
    items = [
        an_event(a_command(tag=str(number)), a_flow(source=names[number % sources], interface=interface, vlan=vlan))
        for number in range(120) for interface in ("", "eth0") for vlan in ((), (7,), (7, 8))]
    expected = in_python(items)
    assert ahead_of(lines, items) == expected
    assert ahead_of(lines, items) == expected
    forget_heads(items)
    assert eve.encode_lines(items) == expected


def test_many_lists_one_after_the_other(lines: Any) -> None:
    items = some(400)
    expected = [in_python(items[:count]) for count in (1, 2, 5, 399, 400)]
    for _ in range(300):
        for count, line in zip((1, 2, 5, 399, 400), expected, strict=True):
            assert ahead_of(lines, items[:count]) == line


def test_what_is_beyond_the_room_is_left_and_written_all_the_same(lines: Any) -> None:
    items = [an_event(a_command(arguments="x" * 14_000), a_flow()) for _ in range(2_600)]  # 36 MB
    assert lines.start(items)
    pieces = [bytes(piece) for piece in lines.pieces()]
    assert len(pieces) > 1
    assert b"".join(pieces) == in_python(items)
    few = some(40)
    assert ahead_of(lines, few) == in_python(few)


def test_lists_that_are_not_for_it(lines: Any) -> None:
    assert not lines.start([])
    assert not lines.start([an_alert()])
    assert not list(lines.pieces())
    with pytest.raises(TypeError):
        lines.start(tuple(some(4)))
    assert lines.start(some(4))
    with pytest.raises(ValueError, match="not asked for"):
        lines.start(some(4))


def test_pieces_that_are_kept_are_not_overwritten(lines: Any) -> None:
    assert lines.start(some(400))
    kept = next(iter(lines.pieces()))
    before = bytes(kept)
    assert not lines.start(some(40))
    assert kept == before
    with pytest.raises(TypeError):
        kept[0] = 1
    del kept
    assert lines.start(some(40))


def threads() -> int:
    """Threads of this process, also those that Python does not know of."""
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no list of threads")
def test_dropped_in_the_middle_of_its_work() -> None:
    before = threads()
    for _ in range(50):
        items = some(2_000)
        lines = eve.lines_ahead()
        assert lines.start(items)
        del items, lines
    holder: list[Any] = [eve.lines_ahead()]
    holder += [holder, some(2_000)]  # a circle, which the collector takes apart
    assert holder[0].start(holder[2])
    del holder
    gc.collect()
    deadline = time.monotonic() + 5
    while threads() > before and time.monotonic() < deadline:  # the last word is said a little before the end
        time.sleep(0.01)
    assert threads() <= before


def test_events_are_held_only_as_long_as_they_are_read(lines: Any) -> None:
    items = some(100)
    before = sys.getrefcount(items), sys.getrefcount(items[0])
    assert lines.start(items)
    assert sys.getrefcount(items) == before[0] + 1
    assert len(list(lines.pieces())) == 1
    assert (sys.getrefcount(items), sys.getrefcount(items[0])) == before
    assert lines.start(items)
    lines.close()
    lines.close()
    assert (sys.getrefcount(items), sys.getrefcount(items[0])) == before
    assert ahead_of(lines, items) == in_python(items)  # with a new thread


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_does_the_work_itself(lines: Any) -> None:
    items = some(4_000)
    expected = in_python(items)
    assert ahead_of(lines, items) == expected
    assert lines.start(items)
    pid = os.fork()
    if not pid:
        code = 1
        try:
            signal.alarm(20)
            first = b"".join(bytes(piece) for piece in lines.pieces())
            code = 0 if first == ahead_of(lines, items) == expected else 2
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert b"".join(bytes(piece) for piece in lines.pieces()) == expected


def test_others_may_encode_and_read_meanwhile(lines: Any) -> None:
    items = some(8_000)
    expected = in_python(items)
    for _ in range(5):
        forget_heads(items)
        assert lines.start(items)
        assert eve.encode_lines(items[:300]) == expected[: len(eve_line.python_lines(items[:300]))]
        seen = [{name: getattr(item.body, name) for name in item.body.__struct_fields__} for item in items[:4_000]]
        assert len(seen) == 4_000
        assert b"".join(bytes(piece) for piece in lines.pieces()) == expected


odd_texts = st.one_of(st.text(max_size=20), st.text(st.sampled_from('ab"\\\t\x7fé'), max_size=20))


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from(sorted(LEFT | NOT_LEFT)), odd_texts), max_size=12),
       st.integers(4, 60))
def test_mixed_lists(odd: list[tuple[int, str, str]], count: int) -> None:
    items = some(count)
    for place, name, text in odd:
        items.insert(max(1, place), (LEFT | NOT_LEFT)[name]())
        items.insert(max(1, place), an_event(a_command(arguments=text, traits=[text]), a_flow(direction=text)))
    lines = eve.lines_ahead()
    assert ahead_of(lines, items) == in_python(items)


# ---- the sink --------------------------------------------------------------------------------------------------------


def test_lines_are_written_with_the_next_call() -> None:
    written: list[bytes] = []
    sink = JsonLines(lambda data: written.append(bytes(data)), EVERYTHING, lent=True)
    many, few, alert = some(2_000), some(8), an_alert()
    expected = [in_python(many), in_python(few), in_python([alert])]
    sink.write(many)
    assert not written
    sink.write([])
    assert b"".join(written) == expected[0]
    assert sink.lines == 2_000
    sink.write(few)
    sink.write(many)
    sink.write([alert])
    assert b"".join(written) == expected[0] + expected[1] + expected[0] + expected[2]
    sink.write(many)
    sink.close()
    sink.close()
    assert b"".join(written).endswith(expected[2] + expected[0])
    assert sink.lines == 3 * 2_000 + 9
    JsonLines(written.append, EVERYTHING, lent=True).close()


@pytest.mark.parametrize("compiled", [True, False])
def test_kinds_that_were_not_asked_for_are_left_out(monkeypatch: pytest.MonkeyPatch, compiled: bool) -> None:
    monkeypatch.setattr(kernels, "COMPILED", compiled)
    written: list[bytes] = []
    items = some(2_000)
    sink = JsonLines(lambda data: written.append(bytes(data)), frozenset({"login", "alert"}), lent=True)
    sink.write(items)
    sink.close()
    assert b"".join(written) == in_python([item for item in items if item.kind == "login"])


def test_an_error_of_the_file_comes_with_the_next_call() -> None:
    def full(data: bytes) -> None:
        raise OSError(28, "No space left on device")

    sink = JsonLines(full, EVERYTHING, lent=True)
    for after in (lambda: sink.write([]), lambda: sink.write(some(400)), sink.close):
        sink.write(some(2_000))
        with pytest.raises(OSError, match="No space"):
            after()
    sink.close()


def test_the_thread_writes_to_a_file_up_to_the_first_line_that_is_left(tmp_path: Path) -> None:
    odd = [make() for make in LEFT.values()]
    many = some(8_000)
    for items in (many, [*many, *odd], [*many[:10], *odd, *many], [*many[:1], *odd, *many]):
        lines = LineFile(str(tmp_path / "lines"))
        sink = JsonLines(lines.write, EVERYTHING, lent=True, file=lines.ordinary())
        before, expected = Path(lines.path).read_bytes(), in_python(items)
        sink.write(items)
        sink.write([])
        assert Path(lines.path).read_bytes() == before + expected
        sink.write(items)
        sink.close()
        lines.close()
        assert Path(lines.path).read_bytes() == before + expected + expected
        assert sink.lines == 2 * len(items)


def test_the_thread_is_done_with_a_file_without_being_asked(tmp_path: Path) -> None:
    lines, items = LineFile(str(tmp_path / "lines")), some(400)
    sink = JsonLines(lambda _data: pytest.fail("nothing is left"), EVERYTHING, lent=True, file=lines.ordinary())
    expected = in_python(items)
    sink.write(items)
    sink.close()
    lines.close()
    assert Path(lines.path).read_bytes() == expected


def test_what_the_system_refuses_the_thread_comes_up_with_the_next_call(tmp_path: Path) -> None:
    """A file may grow no further: the thread writes what fits, and who asks for the lines hears why."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    lines, items = LineFile(str(tmp_path / "lines")), some(8_000)
    sink = JsonLines(lines.write, EVERYTHING, lent=True, file=lines.ordinary())
    expected = in_python(items)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_001, before[1]))
    try:
        sink.write(items)
        with pytest.raises(OutputError, match="File too large"):
            sink.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    lines.close()
    assert Path(lines.path).read_bytes() == expected[:400_001]


def test_pipes_and_devices_are_no_ordinary_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    for name in (str(tmp_path / "pipe"), os.devnull):
        lines = LineFile(name)
        assert lines.ordinary() is None
        lines.close()
    os.close(reader)


def test_items_that_are_not_lent_are_written_at_once() -> None:
    written: list[bytes] = []
    items = some(2_000)
    JsonLines(written.append, EVERYTHING).write(items)
    assert b"".join(written) == in_python(items)
