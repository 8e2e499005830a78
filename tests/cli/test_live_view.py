"""The view of a live run: what stands there, and that no text of the wire reaches the terminal as anything but text."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from imapids.cli.live_view import LiveView
from imapids.records.alerts import Alert, Reason, RuleInfo
from imapids.records.events import KernelCounts, Stats, StatsInterval

TIME = 1_700_000_000 * 10**9


def stats(**changes: object) -> Stats:
    values: dict[str, object] = {
        "interface": "eth0", "link": "up", "uptime": 60, "flows": 7, "packets": 1_000_000, "bytes": 10**9,
        "capture": KernelCounts(kernel_packets=1_000_073, kernel_drops=73),
        "interval": StatsInterval(seconds=10.0, packets=500_000, bytes=5 * 10**8, drops=73),
        "sessions": {"genuine": 5, "not-imap": 2}, "memory_kib": 204_800,
    }
    return Stats(**values | changes)


def alert(subject: str, title: str = "Port 143 carries a protocol that is not IMAP") -> Alert:
    rule = RuleInfo(id="r", sid=1143001, title=title, level="high")
    return Alert(id="0", state="new", rule=rule, subject=subject, case="c", time_ns=TIME, first_ns=TIME, last_ns=TIME,
                 count=1, flow=None, packet=1, event="session", why=Reason("x"))


def drawn(counts: Stats, *items: Alert) -> str:
    view = LiveView("eth0")
    out = io.StringIO()
    view._console = Console(file=out, force_terminal=False, width=140)
    view._live.console = view._console
    view.glance(counts)
    view.show(items)
    view._console.print(view._picture())
    return out.getvalue()


def test_rates_drops_verdicts_and_alerts_stand_there() -> None:
    text = drawn(stats(), alert("10.1.2.3 -> 192.0.2.1:143"))
    for part in ("1,000,000", "50,000 a second", "400.0 Mbit/s", "73", "5 genuine, 2 not-imap", "200 MiB", "22:13:20",
                 "10.1.2.3 -> 192.0.2.1:143", "Port 143 carries a protocol that is not IMAP"):
        assert part in text, part


@pytest.mark.parametrize("hostile", [
    pytest.param("\x1b[2J\x1b]0;owned\x07", id="escapes"),
    pytest.param("[link=http://192.0.2.1]x[/link][/x]", id="markup"),
    pytest.param("\u202e\u2066\x9b31m", id="bidirectional and C1 controls"),
])
def test_hostile_text_stays_text(hostile: str) -> None:
    text = drawn(stats(), alert(f"10.1.2.3{hostile}", f"title{hostile}"))
    assert not set(text) & {"\x1b", "\x07", "\x9b", "\u202e", "\u2066"}


def test_only_the_latest_alerts_stay() -> None:
    text = drawn(stats(), *(alert(f"subject-{number}") for number in range(40)))
    assert "subject-39" in text
    assert "subject-1 " not in text
