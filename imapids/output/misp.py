"""Alerts as a MISP event: one object a case, with its addresses, ports, techniques and reasons.

Source: MISP core format (draft-dulaunoy-misp-core-format), object template network-connection. Plain dictionaries;
the same alerts give the same bytes. Tests load the event with pymisp.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from imapids.output.latest_alerts import LatestAlerts
from imapids.protocols.timestamps import eve_time
from imapids.records.alerts import LEVELS, Alert
from imapids.records.events import Event
from imapids.records.streams import Flow

Object = dict[str, Any]

OURS = uuid.uuid5(uuid.NAMESPACE_URL, "https://imapids.invalid/misp")
"""Namespace of the ids that we make."""
_TEMPLATE = {"name": "network-connection", "meta-category": "network", "template_version": "7",
             "template_uuid": "af16764b-f8e5-4603-9de1-de34d272f80b",
             "description": "A local or remote network connection."}
_THREAT_LEVELS = {"critical": 1, "high": 1, "medium": 2, "low": 3, "informational": 4}
"""high 1, medium 2, low 3, undefined 4 (core format section 2.2.1)."""
_ONGOING, _OWN_ORGANISATION = 1, 0
"""`analysis` and `distribution` of a new event: a person decides about sharing."""


class MispEvent:
    """A sink that writes one event when the run is over."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._alerts = LatestAlerts()

    def write(self, items: Sequence[Event | Alert]) -> None:
        """Takes results, in order."""
        self._alerts.take(items)

    def close(self) -> None:
        """Writes the event."""
        self._write(json.dumps(event(list(self._alerts)), indent=1) + "\n")


def event(alerts: Sequence[Alert]) -> Object:
    """All alerts as one event; alerts about one conversation share an object."""
    cases: dict[tuple[str, int], list[Alert]] = {}
    for alert in alerts:
        if alert.flow is not None:
            cases.setdefault((alert.case, alert.flow.flow_id), []).append(alert)
    first = min((alert.first_ns for alert in alerts), default=0)
    last = max((alert.last_ns for alert in alerts), default=0)
    worst = max((LEVELS.index(alert.rule.level) for alert in alerts), default=0)
    name = ",".join(sorted(alert.id for alert in alerts))
    techniques = sorted({technique for alert in alerts for technique in alert.rule.techniques})
    return {"Event": {
        "uuid": str(uuid.uuid5(OURS, f"event {name}")), "info": _info(alerts), "date": eve_time(first)[:10],
        "timestamp": str(max(0, last // 10**9)), "threat_level_id": str(_THREAT_LEVELS[LEVELS[worst]]),
        "analysis": str(_ONGOING), "distribution": str(_OWN_ORGANISATION), "published": False,
        "Attribute": [_attribute(f"event {name} {level}", "comment", "Other", title,
                                 comment=f"{count} alerts, level {level}")
                      for (title, level), count in sorted(_titles(alerts).items())],
        "Object": [_object(found[0].flow, found) for found in cases.values() if found[0].flow is not None],
        "Tag": [{"name": "tool:imapids"}, *({"name": f'misp-galaxy:mitre-attack-pattern="{each}"'}
                                            for each in techniques)],
    }}


def _info(alerts: Sequence[Alert]) -> str:
    titles = list(dict.fromkeys(alert.rule.title for alert in alerts))
    more = f" and {len(titles) - 1} more findings" if len(titles) > 1 else ""
    return f"imapids: {titles[0]}{more}" if titles else "imapids: no alerts"


def _titles(alerts: Sequence[Alert]) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for alert in alerts:
        key = alert.rule.title, alert.rule.level
        counts[key] = counts.get(key, 0) + 1
    return counts


def _object(flow: Flow, alerts: Sequence[Alert]) -> Object:
    """One conversation (template network-connection)."""
    key = f"object {flow.flow_id} {alerts[0].case}"
    # what we look for goes to sensors (to_ids): the far end of a severe finding
    severe = any(alert.rule.level in ("high", "critical") for alert in alerts)
    outside = "ip-src" if flow.direction == "inbound" else "ip-dst"
    values: list[tuple[str, str, str]] = [
        ("ip-src", "ip-src", flow.client), ("ip-dst", "ip-dst", flow.server),
        ("src-port", "port", str(flow.client_port)), ("dst-port", "port", str(flow.server_port)),
        ("layer3-protocol", "text", "IPv6" if ":" in flow.client else "IPv4"),
        ("layer4-protocol", "text", flow.protocol),
        ("first-packet-seen", "datetime", _time(min(alert.first_ns for alert in alerts))),
        ("last-packet-seen", "datetime", _time(max(alert.last_ns for alert in alerts))),
    ]
    if flow.community_id:
        values.append(("community-id", "community-id", flow.community_id))
    protocol = next((alert.protocol for alert in alerts if alert.protocol), "")
    if protocol:
        values.append(("layer7-protocol", "text", protocol))
    comment = "; ".join(f"{alert.rule.title} ({alert.rule.level}, sid {alert.rule.sid}, {alert.count} times)"
                        for alert in alerts)
    return {
        **_TEMPLATE, "uuid": str(uuid.uuid5(OURS, key)), "comment": comment, "distribution": "5",
        "timestamp": str(max(0, max(alert.last_ns for alert in alerts) // 10**9)),
        "Attribute": [{**_attribute(f"{key} {relation}", kind, "Network activity" if kind != "text" else "Other", value,
                                    to_ids=severe and relation == outside), "object_relation": relation}
                      for relation, kind, value in values],
    }


def _attribute(owner: str, kind: str, category: str, value: str, *, comment: str = "", to_ids: bool = False) -> Object:
    return {"uuid": str(uuid.uuid5(OURS, f"{owner} {kind} {value}")), "type": kind, "category": category,
            "value": value, "to_ids": to_ids, "comment": comment, "distribution": "5"}


def _time(time_ns: int) -> str:
    return eve_time(time_ns)[:26] + "+00:00"
