"""Who knocks on mail ports: what counts as a knock, when it is told, and that cuts of the rows change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from helpers.ended_flows import Row, ended_flows, parts
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.config import ObserveLimits
from imapids.observe import Told
from imapids.observe.scans import ScanObserver
from imapids.protocols.known_scanners import KnownScanners
from imapids.protocols.scan_tools import TOOLS
from imapids.records.events import Scan
from imapids.records.flows import EndedFlows

SCANNER = "198.51.100.7"
DAY_NS = 86_400 * 10**9


def told_of(records: Sequence[EndedFlows], **limits: int) -> list[Told]:
    observer = ScanObserver(ObserveLimits(**limits))
    told = [each for record in records for each in observer.see_flows(record)]
    return told + observer.finish(DAY_NS, 1_000_000)


def scans(rows: Sequence[Row], **limits: int) -> list[Scan]:
    return [event.body for _, event in told_of([ended_flows(rows)], **limits)]  # type: ignore[misc]


def hosts(count: int, way: str = "silent", *, apart: float = 1.0, **more: Any) -> list[Row]:
    return [Row(SCANNER, f"10.0.{number >> 8}.{number & 255}", way=way, at=number * apart, **more)
            for number in range(count)]


@pytest.mark.parametrize(("way", "method", "counts"), [
    pytest.param("silent", "syn", {"unanswered": 5, "hosts_failed": 5}, id="a SYN without an answer"),
    pytest.param("refused", "syn", {"refused": 5, "hosts_failed": 5}, id="a SYN that is reset"),
    pytest.param("half-open", "syn", {"half_open": 5, "odd_probes": 5}, id="a half-open connection"),
    pytest.param("connect", "connect", {}, id="a connection in which nobody speaks"),
    pytest.param("banner", "banner", {}, id="a client that only takes the greeting"),
    pytest.param("fin", "fin", {"odd_probes": 5, "unanswered": 5, "hosts_failed": 5}, id="FIN alone"),
    pytest.param("null", "null", {"odd_probes": 5, "refused": 5, "hosts_failed": 5}, id="no flags at all"),
    pytest.param("xmas", "xmas", {"odd_probes": 5, "refused": 5, "hosts_failed": 5}, id="FIN, PSH and URG"),
    pytest.param("ack", "ack", {"refused": 5, "hosts_failed": 5}, id="a lone ACK that is reset"),
    pytest.param("udp", "udp", {}, id="UDP without an answer"),
])
def test_a_knock_counts_by_its_method(way: str, method: str, counts: dict[str, int]) -> None:
    last = [scan for scan in scans(hosts(5, way)) if scan.by == "source"][-1]
    expected = {"refused": 0, "unanswered": 0, "half_open": 0, "odd_probes": 0, "hosts_failed": 0} | counts
    if way == "udp":
        expected |= {"unanswered": last.unanswered, "hosts_failed": last.hosts_failed}
    assert last.methods == {method: 5}
    assert {name: getattr(last, name) for name in expected} == expected
    assert (last.hosts, last.knocks, last.conversations, last.mail_ports) == (5, 5, 0, [143])


@pytest.mark.parametrize("way", ["talk", "one-sided", "tail", "udp-answered"])
def test_conversations_and_what_says_nothing_are_no_knocks(way: str) -> None:
    assert scans(hosts(40, way)) == []


def test_other_ports_count_as_tried_in_vain_only() -> None:
    rows = [Row(SCANNER, "10.0.0.1", port, "refused") for port in range(1_000, 1_030)]
    assert scans(rows) == []
    found = scans([*rows, Row(SCANNER, "10.0.0.1", 143, "refused"), *hosts(6)])
    assert (found[-1].ports, found[-1].further_ports, found[-1].mail_ports) == (31, 30, [143])


def test_lines_come_at_steps_and_at_the_end() -> None:
    found = [scan for scan in scans(hosts(120, apart=0.5)) if scan.by == "source"]
    assert [(scan.hosts, scan.final) for scan in found] == [(5, False), (10, False), (100, False), (120, True)]
    assert found[-1].span_s == pytest.approx(59.6)
    assert found[-1].per_minute == pytest.approx(120.8, abs=0.1)


def test_an_odd_probe_and_the_mark_of_a_tool_are_told_at_once() -> None:
    assert [scan.half_open for scan in scans(hosts(1, "half-open"))] == [1, 1]
    marked = scans(hosts(2, "refused", tool=TOOLS.index("masscan")))
    assert [scan.tools for scan in marked] == [{"masscan": 1}, {"masscan": 2}]


@pytest.mark.parametrize(("failed", "answered", "likelihood"), [
    pytest.param(5, 0, 6.93, id="every contact fails: a scanner"),
    pytest.param(5, 5, 0.0, id="half of them: nobody can say"),
    pytest.param(5, 50, -62.38, id="most are answered: a busy mail server"),
])
def test_the_odds_of_sequential_testing(failed: int, answered: int, likelihood: float) -> None:
    talked = [Row(SCANNER, f"192.0.2.{number}", way="talk") for number in range(answered)]
    assert scans([*talked, *hosts(failed)])[-1].likelihood == likelihood


def test_a_network_of_sources_is_told_of_from_the_second_source_on() -> None:
    rows = [Row(f"198.51.100.{number % 6 + 1}", f"10.0.0.{number}", at=number) for number in range(18)]
    found = [scan for scan in scans(rows) if scan.by == "network"]
    assert found[-1].network == "198.51.100.0/24"
    assert (found[-1].sources, found[-1].hosts, found[-1].final) == (6, 18, True)
    assert [scan for scan in scans(hosts(18)) if scan.by == "network"] == []


def test_a_target_is_told_of_when_many_knock() -> None:
    rows = [Row(f"203.0.113.{number}", "10.0.0.1") for number in range(12)]
    found = [scan for scan in scans(rows) if scan.by == "target"]
    assert [(scan.sources, scan.final) for scan in found] == [(5, False), (10, False), (12, True)]


RAW = 1 << 48 | 3 << 40 | 1_024
"""A SYN without options, window 1,024, first time to live 255 (scan_tools.hand_made)."""


def shared(hosts: int, sources: int, *, each_asks_all: bool = False, **more: Any) -> list[Row]:
    """Sources of different networks that divide hosts among themselves, or all ask all of them."""
    pairs = [(source, host) for host in range(hosts) for source in range(sources)
             if each_asks_all or host % sources == source]
    return [Row(f"198.51.{100 + source}.7", f"10.0.0.{host}", at=number, **{"traits": RAW} | more)
            for number, (source, host) in enumerate(pairs)]


def test_sources_of_many_networks_with_the_same_hand_made_packets_are_one_campaign() -> None:
    found = scans(shared(24, 4))
    campaign = [scan for scan in found if scan.by == "campaign"][-1]
    assert (campaign.hosts, campaign.sources, campaign.networks, campaign.final) == (24, 4, 4, True)
    assert (campaign.overlap, campaign.source_ports) == (1.0, 1)
    assert campaign.traits == "ttl=255 window=1024 mss=none"
    sources = [scan for scan in found if scan.by == "source"]
    assert {scan.campaign for scan in sources} == {campaign.campaign}
    assert len(campaign.campaign) == 12


def test_scanners_that_each_ask_all_hosts_overlap() -> None:
    found = [scan for scan in scans(shared(24, 4, each_asks_all=True)) if scan.by == "campaign"]
    assert (found[-1].hosts, found[-1].knocks, found[-1].overlap) == (24, 96, 4.0)


@pytest.mark.parametrize(("rows", "campaigns"), [
    pytest.param(shared(24, 4, traits=0), 0, id="ordinary systems make no campaign"),
    pytest.param(shared(24, 2), 0, id="two networks are too few"),
    pytest.param(shared(24, 4, way="talk"), 0, id="conversations are no knocks"),
    pytest.param([*shared(24, 4), *shared(24, 4, traits=RAW + 1)], 2, id="other packets are another campaign"),
    pytest.param([*shared(12, 3), *(Row(row.client, row.server, at=row.at + 90_000, traits=RAW)
                                    for row in shared(12, 3))], 2, id="a day later it is another campaign"),
])
def test_what_makes_a_campaign(rows: list[Row], campaigns: int) -> None:
    assert len({scan.campaign for scan in scans(rows) if scan.by == "campaign"}) == campaigns


def test_known_scanners_are_named() -> None:
    known = KnownScanners()
    known.add("198.51.100.0/24", "Somebody")
    observer = ScanObserver(ObserveLimits(), scanners=known)
    rows = [*hosts(6), *(Row("203.0.113.5", f"10.0.1.{number}") for number in range(6))]
    told = [event.body for _, event in observer.see_flows(ended_flows(rows))]
    assert {(scan.by, scan.scanner) for scan in told if isinstance(scan, Scan)} == {
        ("source", "Somebody"), ("source", "")}
    known = KnownScanners()
    known.add("203.0.113.5", "Somebody else")
    observer.know(known)
    told = observer.see_flows(ended_flows([Row(row.client, f"10.0.2.{at}", at=row.at) for at, row in enumerate(rows)]))
    told += observer.finish(0, 0)
    assert {scan.scanner for _, event in told if isinstance(scan := event.body, Scan)} == {"", "Somebody else"}


def test_who_was_quiet_for_hours_begins_anew() -> None:
    again = [Row(row.client, row.server, at=40_000 + row.at) for row in hosts(6)]
    rows = [*hosts(6), Row("10.9.9.9", "10.0.0.1", at=30_000), *again]
    found = [scan for scan in scans(rows) if scan.by == "source"]
    assert [(scan.hosts, scan.final) for scan in found] == [(5, False), (6, True), (5, False), (6, True)]


def test_floods_of_sources_stay_within_the_limit_and_are_counted() -> None:
    observer = ScanObserver(ObserveLimits(groups=64, values=512))
    rows = [Row(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "192.0.2.1") for number in range(3_000)]
    told = observer.see_flows(ended_flows(rows))
    assert observer.limits_hit["scan-groups"] > 2_000
    assert observer.limits_hit["scan-values"] > 0
    assert {event.body.by for _, event in told} == {"target", "network"}


ROWS = st.builds(
    Row, client=st.sampled_from([f"198.51.{100 + number // 3}.{number}" for number in range(9)]
                                + ["2001:db8::1", "2001:db8::2"]),
    server=st.sampled_from([f"10.0.0.{number}" for number in range(14)]),
    port=st.sampled_from([143, 143, 25, 993, 8080]),
    way=st.sampled_from(["silent", "refused", "half-open", "talk", "banner", "fin", "udp"]),
    at=st.floats(0, 50_000), tool=st.sampled_from([0, 0, 0, 1, 3]), traits=st.sampled_from([0, RAW, RAW, RAW + 1]))


@given(st.lists(ROWS, max_size=120), st.lists(st.integers(0, 120), max_size=6))
@settings(max_examples=60, deadline=None)
def test_how_rows_are_cut_changes_nothing(rows: list[Row], cuts: list[int]) -> None:
    rows.sort(key=lambda row: row.at)
    ended = ended_flows(rows)
    cut = parts(ended, [min(each, len(rows)) for each in cuts])
    for limits in ({}, {"groups": 8, "values": 16}):
        assert told_of(cut, **limits) == told_of([ended], **limits)
