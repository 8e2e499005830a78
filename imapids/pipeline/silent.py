"""Conversations without payload: they need no reader, and in a scan or a flood thousands of them share one record."""

from __future__ import annotations

from imapids.judge import judge
from imapids.pipeline.session import session_body
from imapids.records.dialogue import SessionFacts
from imapids.records.events import Session
from imapids.records.streams import Flow

_MEMO_ENTRIES = 4_096
_MEMO: dict[tuple[object, ...], Session] = {}


def silent_body(flow: Flow) -> Session:
    """The session record of a flow of which no payload came; shared by all that are equal, so nobody changes it."""
    if flow.anomalies or flow.limits or flow.tunnels:
        return session_body(flow, judge(SessionFacts(flow=flow)), [])
    key = (
        flow.packets_client, flow.packets_server, flow.bytes_client, flow.bytes_server, flow.state, flow.end_reason,
        flow.direction, flow.roles_by, flow.protocol, flow.midstream, flow.watched, flow.snapped, flow.missing_client,
        flow.missing_server, (flow.end_ns - flow.start_ns) // 1_000_000)
    body = _MEMO.get(key)
    if body is None:
        if len(_MEMO) >= _MEMO_ENTRIES:
            _MEMO.clear()
        body = _MEMO[key] = session_body(flow, judge(SessionFacts(flow=flow)), [])
    return body
