"""Alerts and events as Elastic Common Schema documents, one JSON line each (ECS 8.17).

Where ECS has a field, the value stands there; all of ours besides stands under `imapids.*`. The mapping is a table in
docs/reference/ecs.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from imapids.output.eve_alert import TACTIC_IDS
from imapids.protocols.timestamps import eve_time
from imapids.records.alerts import SEVERITY, Alert
from imapids.records.events import Capture, Event, FlowBody, Login, Session, Tls
from imapids.records.streams import Flow

ECS_VERSION = "8.17.0"
_DIRECTIONS = {"inbound": "inbound", "outbound": "outbound", "internal": "internal", "external": "external",
               "unknown": "unknown"}
_LOGIN_OUTCOMES = {"success": "success", "failure": "failure"}
_RISK = {"critical": 99, "high": 73, "medium": 47, "low": 21, "informational": 1}
"""Risk scores that Elastic's own rules use for these words."""
_encode = msgspec.json.Encoder().encode


class EcsLines:
    """A sink that writes one document a line."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def write(self, items: Sequence[Event | Alert]) -> None:
        """Takes results, in order."""
        if items:
            self._write(b"".join(_encode(document(item)) + b"\n" for item in items))

    def close(self) -> None:
        """Every line is written."""


def document(item: Event | Alert) -> dict[str, Any]:
    """One event or alert as an ECS document."""
    found: dict[str, Any] = {"@timestamp": _time(item.time_ns), "ecs": {"version": ECS_VERSION}}
    if item.flow is not None:
        found |= _network(item.flow)
    found |= _alert(item) if isinstance(item, Alert) else _event(item)
    found.setdefault("observer", {"vendor": "imapids", "product": "imapids", "type": "ids"})
    return found


def _network(flow: Flow) -> dict[str, Any]:
    network: dict[str, Any] = {
        "transport": flow.protocol.lower(), "type": "ipv6" if ":" in flow.client else "ipv4",
        "direction": _DIRECTIONS[flow.direction], "community_id": flow.community_id,
        "bytes": flow.bytes_client + flow.bytes_server, "packets": flow.packets_client + flow.packets_server,
    }
    if flow.vlan:
        network["vlan"] = {"id": str(flow.vlan[-1])}
        if len(flow.vlan) > 1:
            network["inner"] = {"vlan": {"id": str(flow.vlan[-1])}}
            network["vlan"] = {"id": str(flow.vlan[0])}
    client = {"ip": flow.client, "address": flow.client, "port": flow.client_port, "bytes": flow.bytes_client,
              "packets": flow.packets_client}
    server = {"ip": flow.server, "address": flow.server, "port": flow.server_port, "bytes": flow.bytes_server,
              "packets": flow.packets_server}
    return {"network": network, "source": client, "destination": server, "client": client, "server": server,
            **({"log": {"file": {"path": flow.source}}} if flow.source else {})}


def _alert(alert: Alert) -> dict[str, Any]:
    rule = alert.rule
    found: dict[str, Any] = {
        "message": rule.title,
        "event": {
            "kind": "alert", "category": ["network", "intrusion_detection"], "type": ["info"], "module": "imapids",
            "dataset": "imapids.alert", "id": alert.id, "severity": SEVERITY[rule.level],
            "risk_score": _RISK[rule.level], "action": alert.state, "start": _time(alert.first_ns),
            "end": _time(alert.last_ns), "reason": rule.description or rule.title,
        },
        "rule": {"id": str(rule.sid), "uuid": rule.id, "name": rule.title, "category": rule.family,
                 "version": str(rule.rev), "ruleset": "imapids",
                 **({"reference": rule.references[0]} if rule.references else {})},
        "imapids": {"alert": {
            "case": alert.case, "subject": alert.subject, "level": rule.level, "count": alert.count,
            "verdict": alert.verdict, "shape": alert.shape, "confidence": alert.confidence, "packet": alert.packet,
            "why": alert.why, "advice": rule.advice, "facts": alert.context,
        }},
    }
    if rule.techniques or rule.tactics:
        found["threat"] = {
            "framework": "MITRE ATT&CK",
            "technique": {"id": [each for each in rule.techniques if "." not in each],
                          "subtechnique": {"id": [each for each in rule.techniques if "." in each]}},
            "tactic": {"id": [TACTIC_IDS[name] for name in rule.tactics if name in TACTIC_IDS],
                       "name": [name.replace("-", " ").title() for name in rule.tactics]},
        }
    if alert.protocol and alert.flow is not None:
        found["network"] = {**_network(alert.flow)["network"], "protocol": alert.protocol}
    return found


def _event(event: Event) -> dict[str, Any]:
    body = event.body
    outcome: dict[str, Any] = {}
    category, kinds = ["network"], ["info"]
    found: dict[str, Any] = {}
    if isinstance(body, Session | FlowBody):
        kinds = ["connection", "end"]
    if isinstance(body, Login):
        category, kinds = ["authentication", "network"], ["start"]
        outcome["outcome"] = _LOGIN_OUTCOMES.get(body.outcome, "unknown")
        if body.user:
            found["user"] = {"name": body.user}
    if isinstance(body, Tls):
        found["tls"] = _tls(body)
    if isinstance(body, Session) and event.flow is not None:
        protocol = {"protocol": body.protocol} if body.protocol else {}
        found["network"] = {**_network(event.flow)["network"], **protocol}
        outcome |= {"start": _time(event.flow.start_ns), "end": _time(event.flow.end_ns),
                    "duration": max(0, event.flow.end_ns - event.flow.start_ns)}
    if isinstance(body, Capture):
        category = ["host"]
    found["event"] = {"kind": "metric" if isinstance(body, Capture) else "event", "category": category, "type": kinds,
                      "module": "imapids", "dataset": f"imapids.{event.kind}", **outcome}
    found["imapids"] = {event.kind: body, **({"packet": event.packet} if event.packet else {})}
    return found


def _tls(body: Tls) -> dict[str, Any]:
    found: dict[str, Any] = {"version_protocol": "tls"}
    if body.version:
        found["version"] = body.version.removeprefix("TLS ").strip()
    client: dict[str, Any] = {}
    if body.sni:
        client["server_name"] = body.sni
    if body.ja3 is not None:
        client["ja3"] = body.ja3.hash
    if client:
        found["client"] = client
    server: dict[str, Any] = {}
    if body.subject:
        server["subject"] = body.subject
    if body.issuerdn:
        server["issuer"] = body.issuerdn
    if body.ja3s is not None:
        server["ja3s"] = body.ja3s.hash
    if server:
        found["server"] = server
    if body.session_resumed:
        found["resumed"] = True
    return found


def _time(time_ns: int) -> str:
    return eve_time(time_ns)[:26] + "Z"
