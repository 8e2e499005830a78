"""The page for Prometheus: asked over a real socket."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator

import pytest

from imapids.errors import OutputError
from imapids.records.events import KernelCounts, OutputCounts, Stats, StatsInterval
from imapids.run.metrics import Metrics

pytest.importorskip("prometheus_client")


def counts() -> Stats:
    return Stats(
        interface="eth0", link="up", uptime=60, flows=7, packets=1_000, bytes=64_000, flows_open=3, lag_ms=250,
        capture=KernelCounts(kernel_packets=1_073, kernel_drops=73), memory_kib=200_000, cpu_ms=1_500,
        interval=StatsInterval(seconds=1.0, packets=10, bytes=640, drops=0), sessions={"not-imap": 2},
        alerts={"high": 4}, output=OutputCounts(lines=9, lines_dropped=5))


@pytest.fixture
def served() -> Iterator[tuple[Metrics, str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    metrics = Metrics("127.0.0.1", port)
    metrics.start()
    yield metrics, f"http://127.0.0.1:{port}/metrics"
    metrics.close()


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


@pytest.mark.parametrize("line", [
    'imapids_kernel_packets_total{interface="eth0"} 1073.0', 'imapids_kernel_drops_total{interface="eth0"} 73.0',
    'imapids_packets_total{interface="eth0"} 1000.0', 'imapids_flows_open{interface="eth0"} 3.0',
    'imapids_sessions_total{interface="eth0",verdict="not-imap"} 2.0', 'imapids_lag_seconds{interface="eth0"} 0.25',
    'imapids_alerts_total{interface="eth0",level="high"} 4.0', 'imapids_up{interface="eth0"} 1.0',
    'imapids_lines_dropped_total{interface="eth0"} 5.0', 'imapids_processor_seconds_total{interface="eth0"} 1.5',
])
def test_the_counts_of_now_stand_on_the_page(served: tuple[Metrics, str], line: str) -> None:
    metrics, url = served
    metrics.glance(counts())
    assert line in page(url).splitlines()


def test_before_the_first_counts_the_page_is_empty(served: tuple[Metrics, str]) -> None:
    assert "imapids_" not in page(served[1])


def test_who_connects_and_says_nothing_does_not_keep_others_away(served: tuple[Metrics, str]) -> None:
    metrics, url = served
    metrics.glance(counts())
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    with socket.create_connection(("127.0.0.1", port)):
        assert "imapids_up" in page(url)


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OutputError, match=f"127.0.0.1:{port}"):
            Metrics("127.0.0.1", port)
