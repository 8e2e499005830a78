"""Flows without payload: what is remembered of one is what would be made of another, and it is shared."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from imapids.judge import judge
from imapids.pipeline.session import session_body
from imapids.pipeline.silent import silent_body
from imapids.records.dialogue import SessionFacts
from imapids.records.streams import Flow

PLAIN: dict[str, Any] = {
    "protocol": "TCP", "client": "192.0.2.1", "client_port": 4000, "server": "192.0.2.2", "server_port": 143,
    "state": "silent", "end_reason": "idle", "packets_client": 1, "start_ns": 10**18, "end_ns": 10**18,
}
OTHERS = [
    pytest.param({}, id="a SYN that nobody answers"),
    pytest.param({"packets_client": 3, "end_ns": 10**18 + 3 * 10**9}, id="a SYN that is repeated"),
    pytest.param({"packets_server": 1, "state": "rejected", "end_reason": "rst"}, id="a closed port"),
    pytest.param({"packets_server": 2, "packets_client": 3, "state": "closed", "end_reason": "fin"}, id="a knock"),
    pytest.param({"direction": "outbound"}, id="another direction"),
    pytest.param({"protocol": "UDP"}, id="an empty datagram"),
    pytest.param({"bytes_server": 12}, id="payload that no stream holds"),
    pytest.param({"roles_by": "port", "midstream": True}, id="no start"),
    pytest.param({"missing_client": 9}, id="bytes that are missing"),
    pytest.param({"snapped": True}, id="cut packets"),
    pytest.param({"tunnels": ("gre",)}, id="inside a tunnel"),
    pytest.param({"anomalies": {"bad-checksum": 1}}, id="an anomaly"),
    pytest.param({"limits": ["streams"]}, id="a limit"),
]


@pytest.mark.parametrize("fields", OTHERS)
def test_the_record_is_the_one_that_the_judge_gives(fields: dict[str, Any]) -> None:
    silent_body(Flow(**PLAIN))
    flow = Flow(**{**PLAIN, **fields})
    expected = session_body(flow, judge(SessionFacts(flow=flow)), [])
    for _ in range(2):
        assert msgspec.to_builtins(silent_body(flow)) == msgspec.to_builtins(expected)


def test_equal_flows_share_a_record() -> None:
    first, second = Flow(**PLAIN), Flow(**{**PLAIN, "client": "192.0.2.9", "client_port": 9})
    assert silent_body(first) is silent_body(second)
