"""The summary: what matters first, in plain text of fixed width, from fixed memory, whatever the data hold."""

from __future__ import annotations

import io
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.output.table import CASES_HELD, CASES_SHOWN, FINDINGS_HELD, TableReport
from imapids.output.table_text import clock_span, count_list, number, one_line, shown, span_of_time, why_line
from imapids.records.alerts import LEVELS, Alert, Reason, RuleInfo
from imapids.records.candidates import Evidence
from imapids.records.events import Capture, Event, InputAccount, Session
from imapids.records.streams import Flow

TIME = 1767322845_000000000


def flow_number(n: int, **changes: Any) -> Flow:
    values: dict[str, Any] = {"protocol": "TCP", "client": f"10.0.{n // 250}.{n % 250 + 1}", "client_port": 40000,
                              "server": "192.0.2.1", "server_port": 143, "flow_id": n, "direction": "outbound"}
    return Flow(**values | changes)


def alert_number(n: int, *, level: str = "high", state: str = "new", count: int = 1, rule: str = "r", **changes: Any
                 ) -> Alert:
    values: dict[str, Any] = {
        "id": f"{rule}{n:015d}", "state": state, "subject": f"subject {n}", "case": f"{n:012d}", "time_ns": TIME,
        "rule": RuleInfo(id=rule, sid=1143001, title=f"Not IMAP ({rule})", level=level, advice="Block it.",
                         techniques=["T1571"]),
        "first_ns": TIME, "last_ns": TIME, "count": count, "flow": flow_number(n), "packet": 4, "event": "session",
        "direction": "outbound", "verdict": "not-imap", "protocol": "ssh",
        "why": Reason("all of", because=[Reason("session.verdict = not-imap", value="not-imap"),
                                         Reason("session.direction = outbound", value="outbound")]),
    }
    return Alert(**values | changes)


def session_number(n: int, verdict: str = "not-imap", text: str = "SSH-2.0-x") -> Event:
    body = Session(verdict=verdict, confidence="high", protocol="ssh", shape=None, reason=None,
                   evidence=[Evidence("server-speaks-ssh", "server", 4, 0, text)], sides_seen="both", midstream=False,
                   limits=[], packets=3, bytes_client=1, bytes_server=2, direction="outbound", state="closed")
    return Event("session", TIME, body, flow_number(n))


def account(**changes: Any) -> Event:
    values: dict[str, Any] = {
        "packets": 1000, "processed": 990, "skipped": {"arp": 7, "icmp": 3}, "flows": 12, "sessions": 4,
        "inputs": [InputAccount(name="day.pcap", status="ok", packets=1000)],
        "start": "2026-01-02T03:00:45.000000+0000", "end": "2026-01-02T04:00:45.000000+0000",
    }
    return Event("capture", TIME, Capture(**values | changes))


def render(*items: Event | Alert, width: int = 80, color: bool = False) -> str:
    report = TableReport(width=width, color=color)
    report.write(items)
    report.close()
    stream = io.StringIO()
    report.render(stream)
    return stream.getvalue()


def test_one_screen_says_what_matters() -> None:
    assert render(session_number(1), alert_number(1), account()) == """\
imapids: day.pcap
  1,000 packets, 12 flows, 4 sessions; 2026-01-02 03:00:45 to 04:00:45 UTC

1 finding in 1 case: 1 high

HIGH   10.0.0.2 > 192.0.2.1:143  outbound  not-imap: ssh  03:00:45
       Not IMAP (r) (T1571)
       why   verdict = not-imap, direction = outbound
       seen  server-speaks-ssh: SSH-2.0-x (server, packet 4)
       do    Block it.

Sessions       not-imap
  outbound            1
  protocols: ssh 1

Capture
  990 of 1,000 packets processed; skipped: arp 7, icmp 3
"""


def test_nothing_found_is_said() -> None:
    assert "No findings." in render(session_number(1, "genuine"), account())
    assert render() == "\nNo findings.\n"


def test_cases_are_ordered_by_severity_and_findings_of_a_case_stand_together() -> None:
    text = render(alert_number(1, level="low"), alert_number(2, level="critical"), alert_number(3, level="medium"),
                  alert_number(1, level="medium", rule="s"), alert_number(3, level="medium", state="final", count=41))
    lines = [line for line in text.splitlines() if " > " in line]
    assert [line.split()[0] for line in lines] == ["CRIT", "MED", "MED"]
    assert "10.0.0.2 " in lines[1]  # two findings weigh more than one that came often
    assert "4 findings in 3 cases: 1 critical, 2 medium, 1 low" in text
    assert "41 x Not IMAP (r)" in text
    assert text.count("do    Block it.") == 1


def test_updates_count_up_and_widen_the_span() -> None:
    text = render(alert_number(1), alert_number(1, state="update", count=10, last_ns=TIME + 60 * 10**9),
                  alert_number(1, state="final", count=12, last_ns=TIME + 90 * 10**9))
    assert "1 finding in 1 case" in text
    assert "12 x Not IMAP" in text
    assert "03:00:45 to 03:02:15" in text


def test_more_cases_than_a_screen_are_counted() -> None:
    text = render(*[alert_number(n, level="high" if n % 2 else "low") for n in range(40)])
    assert text.count(" > 192.0.2.1:143") == CASES_SHOWN
    assert "and 28 more cases (8 high, 20 low)" in text


def test_memory_is_bounded_and_the_most_severe_stay() -> None:
    report = TableReport()
    rng = random.Random(3)
    levels = [rng.choice(LEVELS[:3]) for _ in range(4_000)]
    for n, level in enumerate(levels):
        report.write([session_number(n), alert_number(n, level=level)])
        report.write([alert_number(n, level=level, state="final", count=2)])
    report.write([alert_number(9_999, level="critical")])
    report.write([alert_number(9_999, level="critical", rule=f"x{n}") for n in range(50)])
    assert len(report._level_of) == CASES_HELD
    assert len(report._evidence) <= 1_024
    assert len(report._cases["critical"]["000000009999"].findings) == FINDINGS_HELD
    assert not report._cases["informational"]
    stream = io.StringIO()
    report.render(stream)
    text = stream.getvalue()
    assert "4,051 findings in 4,001 cases: 51 critical" in text
    assert "and 43 more findings" in text


def test_damaged_inputs_and_what_was_not_seen_are_told() -> None:
    text = render(account(
        inputs=[InputAccount(name=f"{n}.pcap", status="cut", damage=["cut at byte 77"]) for n in range(9)],
        one_sided=2, midstream=1, capture_loss=1.5, limits={"streams": 3}, notes={"overlap": 2}, interrupted=True,
    ))
    for expected in ("imapids: 9 captures", "interrupted", "cut: 0.pcap: cut at byte 77", "and 4 more inputs that",
                     "2 one-sided flows, 1 flow without a beginning, 1.50 %",
                     "limits hit: streams 3", "odd: overlap 2"):
        assert expected in text


def test_addresses_of_both_kinds() -> None:
    text = render(alert_number(1, flow=flow_number(1, client="2001:db8::1", server="2001:db8::2", protocol="UDP")),
                  alert_number(2, flow=None))
    assert "2001:db8::1 > [2001:db8::2]:143/udp" in text
    assert "subject 2" in text


@pytest.mark.parametrize("color", [False, True])
def test_colours_only_where_asked_for(color: bool) -> None:
    assert ("\x1b[" in render(alert_number(1), color=color)) is color


def alert_of(rule: RuleInfo, **changes: Any) -> Alert:
    return msgspec.structs.replace(alert_number(1), rule=rule, **changes)


hostile = st.text(st.characters(exclude_categories=()), max_size=300)


@settings(max_examples=60)
@given(hostile, hostile, st.integers(40, 200))
def test_whatever_the_data_hold_lines_are_printable_and_fit(text: str, name: str, width: int) -> None:
    rule = RuleInfo(id="x", sid=1, title=text, level="high", advice=name, techniques=[name])
    rendered = render(
        session_number(1, text=text),
        alert_of(rule, why=Reason(text, value=name), protocol=text, verdict=name, subject=text),
        account(inputs=[InputAccount(name=name, status="cut", damage=[text])], skipped={text: 3, "[bold]": 2}),
        width=width,
    )
    for line in rendered.split("\n"):
        assert line.isascii()
        assert line.isprintable() or not line
        assert len(line) <= max(width, 60)


def test_markup_in_data_is_text() -> None:
    assert "[red]" in render(alert_number(1, protocol="[red]"))


@pytest.mark.parametrize(("text", "expected"), [
    pytest.param(number(1, "case"), "1 case", id="one"),
    pytest.param(number(1200, "case"), "1,200 cases", id="many"),
    pytest.param(one_line("a\n b\t\tc"), "a b c", id="blanks become one"),
    pytest.param(one_line("x" * 30, 10), "xxxxxxx...", id="long text is cut"),
    pytest.param(shown("\\x0d"), "\\x0d", id="safe text is not escaped again"),
    pytest.param(shown("\x1b\\x0d"), "\\x1b\\x5cx0d", id="other text is"),
    pytest.param(count_list({"a": 1, "b": 5, "c": 2}, 2), "b 5, c 2 and 1 other", id="counts"),
    pytest.param(span_of_time("2026-01-02T23:00:00.1+0000", "2026-01-03T01:00:00.1+0000"),
                 "2026-01-02 23:00:00 to 2026-01-03 01:00:00 UTC", id="over midnight"),
    pytest.param(span_of_time("", "x"), "", id="no times"),
    pytest.param(clock_span(TIME, TIME + 86_400 * 10**9), "03:00:45 to 2026-01-03 03:00:45", id="a day"),
    pytest.param(why_line(Reason("not", because=[Reason("any of", because=[Reason("tls.sni exists"), Reason(
        "login.user = root", value="ROOT")])])), "sni exists, user = root (ROOT)", id="a why"),
    pytest.param(why_line(Reason("count >= 10", value="12", because=[Reason("session.verdict = silent")])),
                 "count >= 10 (12), verdict = silent", id="a correlation"),
])
def test_small_pieces(text: str, expected: str) -> None:
    assert text == expected
