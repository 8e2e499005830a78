"""The counts of a live run for Prometheus: one page, served by one thread that makes no others."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from imapids.errors import OutputError, UsageError
from imapids.protocols.text import safe_str
from imapids.records.events import Stats

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_REQUEST_SECONDS = 2.0
"""Who sends no request is sent away: the one thread must be free for the next."""

_COUNTERS: dict[str, tuple[str, Callable[[Stats], float]]] = {
    "kernel_packets": ("Packets that came and passed the filter", lambda stats: stats.capture.kernel_packets),
    "kernel_drops": ("Packets that the kernel dropped", lambda stats: stats.capture.kernel_drops),
    "packets": ("Packets read", lambda stats: stats.packets),
    "bytes": ("Captured bytes of the packets read", lambda stats: stats.bytes),
    "flows": ("Conversations of any port", lambda stats: stats.flows),
    "reloads": ("Times that rules, indicators and inventory were read again", lambda stats: stats.reloads),
    "reloads_failed": ("Times that they were wrong, and the old ones stayed", lambda stats: stats.reloads_failed),
    "processor_seconds": ("Processor time", lambda stats: stats.cpu_ms / 1000),
}
_GAUGES: dict[str, tuple[str, Callable[[Stats], float]]] = {
    "flows_open": ("Conversations that go on", lambda stats: stats.flows_open),
    "memory_bytes": ("Resident memory of all processes", lambda stats: stats.memory_kib * 1024),
    "lag_seconds": ("Age of the newest packet when it had been read", lambda stats: stats.lag_ms / 1000),
    "up": ("The interface is up", lambda stats: int(stats.link == "up")),
}
_BY_NAME: dict[str, tuple[str, str, Callable[[Stats], dict[str, int]]]] = {
    "sessions": ("Sessions by verdict", "verdict", lambda stats: stats.sessions),
    "alerts": ("Alerts by level", "level", lambda stats: stats.alerts),
    "lines": ("Lines by event type", "type", lambda stats: stats.events),
    "skipped": ("Packets that gave no segment, by reason", "reason", lambda stats: stats.skipped),
    "limits": ("Limits that were hit", "limit", lambda stats: stats.limits),
}


class _Quiet(WSGIRequestHandler):
    """Writes no log, and does not wait for ever."""

    timeout = _REQUEST_SECONDS

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        pass


class Metrics:
    """Listens from the start; answers from `start` on with the newest counts."""

    def __init__(self, host: str, port: int) -> None:
        """
        Raises:
            UsageError: prometheus-client is not installed.
            OutputError: nobody can listen there.
        """
        try:
            from prometheus_client import CollectorRegistry, make_wsgi_app
        except ImportError as error:
            raise UsageError("--metrics needs prometheus-client: pip install 'imapids[metrics]'") from error
        self._stats: Stats | None = None
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        server = type("Server", (WSGIServer,), {
            "address_family": socket.AF_INET6 if ":" in host else socket.AF_INET, "server_bind": _bind_without_names})
        try:
            self._server: WSGIServer = server((host, port), _Quiet)
        except OSError as error:
            raise OutputError(f"--metrics: cannot listen at {safe_str(host)}:{port}: "
                              f"{error.strerror or error}") from error
        self._server.set_app(make_wsgi_app(registry, disable_compression=True))
        self._thread = threading.Thread(target=self._server.serve_forever, name="imapids-metrics", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def glance(self, stats: Stats) -> None:
        """Takes the counts of now."""
        self._stats = stats

    def close(self) -> None:
        """Answers no more."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def describe(self) -> Iterator[Metric]:
        """Nothing to tell before the first counts (the registry would ask `collect` otherwise)."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """What Prometheus asks for."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        stats = self._stats
        if stats is None:
            return
        labels = {"interface": stats.interface}
        for name, (text, read) in _COUNTERS.items():
            yield _one(CounterMetricFamily(f"imapids_{name}", text, labels=list(labels)), labels, read(stats))
        for name, (text, read) in _GAUGES.items():
            yield _one(GaugeMetricFamily(f"imapids_{name}", text, labels=list(labels)), labels, read(stats))
        for name, (text, label, read_many) in _BY_NAME.items():
            family = CounterMetricFamily(f"imapids_{name}", text, labels=[*labels, label])
            for key, count in read_many(stats).items():
                family.add_metric([*labels.values(), key], count)
            yield family
        if stats.output is not None:
            family = CounterMetricFamily("imapids_lines_dropped", "Lines that the output had no room for",
                                         labels=list(labels))
            yield _one(family, labels, stats.output.lines_dropped)


def _one(family: Any, labels: dict[str, str], value: float) -> Any:
    family.add_metric(list(labels.values()), value)
    return family


def _bind_without_names(server: WSGIServer) -> None:
    """Binds as http.server does, but asks nobody for the host's name."""
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.socket.bind(server.server_address)
    server.server_address = server.socket.getsockname()
    server.server_name, server.server_port = "localhost", int(server.server_address[1])
    server.setup_environ()
