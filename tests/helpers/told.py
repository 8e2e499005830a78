"""Records as runs tell them, for those who write or read lines."""

from __future__ import annotations

from typing import Any

from imapids.records.candidates import Evidence
from imapids.records.events import Session
from imapids.records.streams import Flow

TIME = 1767322845_123456789


def a_flow(**changes: Any) -> Flow:
    values: dict[str, Any] = {
        "protocol": "TCP", "client": "10.1.2.3", "client_port": 40000, "server": "192.0.2.1", "server_port": 143,
        "flow_id": 1234567890123, "community_id": "1:LQU9qZlK+B5F3KDmev6m5PMibrg=", "source": "day.pcap",
        "direction": "outbound", "start_ns": TIME - 10**9, "packets_client": 9, "packets_server": 8,
        "bytes_client": 120, "bytes_server": 940,
    }
    return Flow(**values | changes)


def a_session(**changes: Any) -> Session:
    values: dict[str, Any] = {
        "verdict": "not-imap", "confidence": "high", "protocol": "ssh", "shape": None, "reason": None,
        "evidence": [Evidence("server-speaks-ssh", "server", 4, 0, "SSH-2.0-OpenSSH_9.2")], "sides_seen": "both",
        "midstream": False, "limits": [], "packets": 31, "bytes_client": 2411, "bytes_server": 3120,
        "direction": "outbound", "state": "closed",
    }
    return Session(**values | changes)
