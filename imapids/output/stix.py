"""Alerts as a STIX 2.1 bundle: what was observed, by which indicator, with which ATT&CK technique.

Source: OASIS STIX Version 2.1. Plain dictionaries: the same alerts give the same bytes, so that a platform that
imports them twice finds nothing new. Tests validate the bundle with stix2.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from imapids.output.latest_alerts import LatestAlerts
from imapids.protocols.timestamps import eve_time
from imapids.records.alerts import Alert, Reason
from imapids.records.events import Event
from imapids.records.streams import Flow

Object = dict[str, Any]

OBSERVABLES = uuid.UUID("00abedb4-aa42-466c-9c01-fed23315a9b7")
"""Namespace of the ids of cyber-observable objects (STIX 2.1 section 2.9)."""
OURS = uuid.uuid5(uuid.NAMESPACE_URL, "https://imapids.invalid/stix")
"""Namespace of the ids of everything else that we make."""
_BEFORE_ALL = "2026-01-01T00:00:00.000Z"
"""When objects that depend on no capture were made: a fixed time, so that they are the same in every bundle."""
_MALICIOUS = ("high", "critical")
_CONFIDENCE = {"low": 15, "medium": 50, "high": 85}
"""STIX 2.1 appendix A, None/Low/Med/High scale."""


class StixBundle:
    """A sink that writes one bundle when the run is over."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._alerts = LatestAlerts()

    def write(self, items: Sequence[Event | Alert]) -> None:
        """Takes results, in order."""
        self._alerts.take(items)

    def close(self) -> None:
        """Writes the bundle."""
        self._write(json.dumps(bundle(list(self._alerts)), indent=1) + "\n")


def bundle(alerts: Sequence[Alert]) -> Object:
    """All alerts as one bundle; objects that several alerts share stand in it once."""
    objects: dict[str, Object] = {}
    identity = _identity()
    objects[identity["id"]] = identity
    for alert in alerts:
        for each in _of_alert(alert, identity["id"]):
            objects.setdefault(each["id"], each)
    name = ",".join(sorted(objects))
    return {"type": "bundle", "id": f"bundle--{uuid.uuid5(OURS, name)}", "objects": list(objects.values())}


def _identity() -> Object:
    return _object("identity", "imapids", _BEFORE_ALL, _BEFORE_ALL, name="imapids", identity_class="system",
                   description="Network IoC detector over packet captures")


def _of_alert(alert: Alert, identity: str) -> list[Object]:
    """The objects of one alert; an alert about no conversation (a run) is a note on the identity."""
    created, modified = _time(alert.first_ns), _time(max(alert.last_ns, alert.first_ns))
    rule = alert.rule
    common = {"created_by_ref": identity, "labels": [f"imapids-{rule.family}"] if rule.family else ["imapids"]}
    techniques = [_technique(each, rule.tactics, identity) for each in rule.techniques]
    found: list[Object] = list(techniques)
    about = [identity]
    if alert.flow is not None:
        observables, traffic = _observables(alert.flow)
        observed = _object("observed-data", f"observed {alert.id}", created, modified, **common, first_observed=created,
                           last_observed=modified, number_observed=max(1, min(alert.count, 999_999_999)),
                           object_refs=[each["id"] for each in observables])
        indicator = _indicator(alert, alert.flow, created, common, traffic)
        sighting = _object("sighting", f"sighting {alert.id}", created, modified, **common, first_seen=created,
                           last_seen=modified, count=max(1, min(alert.count, 999_999_999)),
                           sighting_of_ref=indicator["id"], observed_data_refs=[observed["id"]],
                           where_sighted_refs=[identity])
        links = [_object("relationship", f"{indicator['id']} {each['id']}", created, created, created_by_ref=identity,
                         relationship_type="indicates", source_ref=indicator["id"], target_ref=each["id"])
                 for each in techniques]
        found += [*observables, observed, indicator, sighting, *links]
        about = [observed["id"], indicator["id"]]
    text = "\n".join(filter(None, (rule.description, "Why: " + _why(alert.why), f"What to do: {rule.advice}"
                                   if rule.advice else "")))
    found.append(_object("note", f"note {alert.id}", created, modified, **common, abstract=rule.title, content=text,
                         object_refs=about))
    return found


def _indicator(alert: Alert, flow: Flow, created: str, common: Object, traffic: Object) -> Object:
    """The endpoint to look for: the server that our side called, or the client that came to us."""
    kind = "ipv6-addr" if ":" in (flow.client if alert.direction == "inbound" else flow.server) else "ipv4-addr"
    side, address = ("src", flow.client) if alert.direction == "inbound" else ("dst", flow.server)
    pattern = (f"[network-traffic:{side}_ref.type = '{kind}' AND network-traffic:{side}_ref.value = '{address}' "
               f"AND network-traffic:dst_port = {traffic['dst_port']}]")
    options: Object = {}
    if alert.confidence in _CONFIDENCE:
        options["confidence"] = _CONFIDENCE[alert.confidence]
    return _object(
        "indicator", f"indicator {alert.rule.id} {pattern}", created, created, **common, **options,
        name=alert.rule.title, description=alert.rule.description or alert.rule.title, pattern=pattern,
        pattern_type="stix", pattern_version="2.1", valid_from=created,
        indicator_types=["malicious-activity" if alert.rule.level in _MALICIOUS else "anomalous-activity"],
        external_references=[{"source_name": "sigma", "external_id": alert.rule.id,
                              "description": f"imapids rule {alert.rule.sid}"}])


def _observables(flow: Flow) -> tuple[list[Object], Object]:
    """The addresses and the conversation (STIX 2.1 sections 6.6, 6.7 and 6.12)."""
    ends = [_observable("ipv6-addr" if ":" in address else "ipv4-addr", {"value": address})
            for address in (flow.client, flow.server)]
    network = "ipv6" if ":" in flow.client else "ipv4"
    identifying: Object = {
        "src_ref": ends[0]["id"], "dst_ref": ends[1]["id"], "src_port": flow.client_port, "dst_port": flow.server_port,
        "protocols": [network, flow.protocol.lower()], "start": _time(flow.start_ns),
    }
    traffic = _observable("network-traffic", identifying, src_packets=flow.packets_client,
                          dst_packets=flow.packets_server, src_byte_count=flow.bytes_client,
                          dst_byte_count=flow.bytes_server)
    every = {each["id"]: each for each in (*ends, traffic)}
    return list(every.values()), traffic


def _technique(number: str, tactics: Sequence[str], identity: str) -> Object:
    phases = [{"kill_chain_name": "mitre-attack", "phase_name": tactic} for tactic in tactics]
    return _object("attack-pattern", f"{number} {','.join(tactics)}", _BEFORE_ALL, _BEFORE_ALL, created_by_ref=identity,
                   name=number, **({"kill_chain_phases": phases} if phases else {}), external_references=[
                       {"source_name": "mitre-attack", "external_id": number,
                        "url": f"https://attack.mitre.org/techniques/{number.replace('.', '/')}"}])


def _why(reason: Reason) -> str:
    """The conditions that held, in one line."""
    waiting, parts = [reason], []
    while waiting:
        node = waiting.pop()
        if node.because:
            waiting.extend(reversed([each for each in node.because if each.held]))
        elif node.held:
            value = f" ({node.value})" if node.value and node.value not in node.condition else ""
            parts.append(f"{node.condition}{value}")
    return "; ".join(parts) or reason.condition


def _object(kind: str, key: str, created: str, modified: str, **fields: Any) -> Object:
    return {"type": kind, "spec_version": "2.1", "id": f"{kind}--{uuid.uuid5(OURS, f'{kind} {key}')}",
            "created": created, "modified": modified, **fields}


def _observable(kind: str, identifying: Object, **fields: Any) -> Object:
    """An object whose id follows from what it is (section 2.9: a UUIDv5 of the JSON of these properties)."""
    name = json.dumps(identifying, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    number = uuid.uuid5(OBSERVABLES, name)
    return {"type": kind, "spec_version": "2.1", "id": f"{kind}--{number}", **identifying, **fields}


def _time(time_ns: int) -> str:
    """`2026-01-02T03:04:05.123456Z`: STIX wants the Z."""
    return eve_time(time_ns)[:26] + "Z"
