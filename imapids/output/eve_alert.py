"""The `alert` object of an EVE line: Suricata's keys for its consumers, everything of ours under context.imapids."""

from __future__ import annotations

from typing import Any

import msgspec

from imapids.protocols.timestamps import eve_time, parse_eve_time
from imapids.records.alerts import SEVERITY, Alert, Reason, RuleInfo
from imapids.records.streams import Flow

TACTIC_IDS = {
    "reconnaissance": "TA0043", "resource-development": "TA0042", "initial-access": "TA0001", "execution": "TA0002",
    "persistence": "TA0003", "privilege-escalation": "TA0004", "defense-evasion": "TA0005",
    "credential-access": "TA0006", "discovery": "TA0007", "lateral-movement": "TA0008", "collection": "TA0009",
    "command-and-control": "TA0011", "exfiltration": "TA0010", "impact": "TA0040",
}
"""ATT&CK Enterprise tactics by the names that Sigma tags use (attack.mitre.org/tactics/enterprise)."""

SIGNATURE_SEVERITY = {"critical": "Critical", "high": "Major", "medium": "Minor", "low": "Informational",
                      "informational": "Informational"}
"""The words that rule metadata of Suricata rule sets uses, by Sigma level."""


class Ours(msgspec.Struct, kw_only=True, omit_defaults=True):
    """alert.context.imapids: what EVE has no place for."""

    id: str
    state: str
    rule: str
    """UUID of the Sigma rule."""
    level: str
    subject: str
    case: str
    event: str
    first: str
    last: str
    count: int
    why: Reason
    name: str = ""
    family: str = ""
    description: str = ""
    advice: str = ""
    falsepositives: list[str] = []
    direction: str = "unknown"
    verdict: str = ""
    protocol: str = ""
    shape: str = ""
    confidence: str = ""
    display_filter: str = ""
    facts: dict[str, str] = {}
    cut: bool = False
    """The line was too long: the tree or the texts were shortened."""


class Context(msgspec.Struct):
    """alert.context, the one place in which the schema allows anything."""

    imapids: Ours


class EveAlert(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The `alert` object, in the order in which Suricata writes its keys."""

    action: str | msgspec.UnsetType = msgspec.UNSET
    gid: int | msgspec.UnsetType = msgspec.UNSET
    signature_id: int
    rev: int | msgspec.UnsetType = msgspec.UNSET
    signature: str
    category: str | msgspec.UnsetType = msgspec.UNSET
    severity: int
    metadata: dict[str, list[str]] = {}
    references: list[str] = []
    context: Context


class Found(msgspec.Struct):
    """The part of Ours that is of the alert alone, and stands between two parts that are of its rule."""

    subject: str
    case: str
    event: str
    first: str
    last: str
    count: int
    why: Reason


class Facts(msgspec.Struct, omit_defaults=True):
    """The end of Ours."""

    direction: str = "unknown"
    verdict: str = ""
    protocol: str = ""
    shape: str = ""
    confidence: str = ""
    display_filter: str = ""
    facts: dict[str, str] = {}


class RuleParts(msgspec.Struct, frozen=True):
    """What all alerts of a rule with one confidence say, encoded."""

    rule: RuleInfo
    begin: bytes
    """From `action` to before the brace of context.imapids."""
    identity: bytes
    """`rule` and `level`, behind a comma."""
    texts: bytes
    """From `name` to `falsepositives`; commas as there."""


_NO_CONTEXT: Any = {}
_RULE_TEXTS = ("name", "family", "description", "advice", "falsepositives")
_RULES_REMEMBERED = 4_096
_rule_parts: dict[tuple[int, str], RuleParts] = {}
"""By identity of the rule's record (each entry holds it) and confidence: alerts of a run share the records."""
_encode = msgspec.json.Encoder().encode


def alert_json(alert: Alert) -> bytes:
    """The JSON of `alert_object`, with what all alerts of a rule share encoded once."""
    parts = rule_parts(alert)
    found = _encode(Found(alert.subject, alert.case, alert.event, eve_time(alert.first_ns), eve_time(alert.last_ns),
                           alert.count, alert.why))
    facts = _encode(Facts(alert.direction, alert.verdict, alert.protocol, alert.shape, alert.confidence,
                           alert.display_filter, alert.context))[1:]
    return b'%b{"id":%b,"state":%b%b,%b%b%b%b}}}' % (
        parts.begin, _encode(alert.id), _encode(alert.state), parts.identity, found[1:-1], parts.texts,
        b"" if facts == b"}" else b",", facts[:-1],
    )


def rule_parts(alert: Alert) -> RuleParts:
    """What is encoded of an alert's rule already, or is now."""
    return _rule_parts.get((id(alert.rule), alert.confidence)) or _parts_of(alert)


def _parts_of(alert: Alert) -> RuleParts:
    """The parts of a rule, taken from a whole object: nothing can stand in another order here than there."""
    rule = alert.rule
    whole = alert_object(alert)
    ours = whole.context.imapids
    begin = _encode(msgspec.structs.replace(whole, context=_NO_CONTEXT))[: -len(b"{}}")]
    identity = b"," + _encode({"rule": rule.id, "level": rule.level})[1:-1]
    texts = {name: text for name in _RULE_TEXTS if (text := getattr(ours, name))}
    parts = RuleParts(rule, begin + b'{"imapids":', identity, b"," + _encode(texts)[1:-1] if texts else b"")
    if len(_rule_parts) >= _RULES_REMEMBERED:  # alerts that are read back bring a record each
        _rule_parts.clear()
    _rule_parts[id(rule), alert.confidence] = parts
    return parts


def alert_object(alert: Alert) -> EveAlert:
    """The `alert` object that stands for an alert."""
    rule = alert.rule
    ours = Ours(
        id=alert.id, state=alert.state, rule=rule.id, level=rule.level, name=rule.name, family=rule.family,
        description=rule.description, advice=rule.advice, falsepositives=rule.falsepositives, subject=alert.subject,
        case=alert.case, event=alert.event, first=eve_time(alert.first_ns), last=eve_time(alert.last_ns),
        count=alert.count, direction=alert.direction, verdict=alert.verdict, protocol=alert.protocol,
        shape=alert.shape, confidence=alert.confidence, why=alert.why, display_filter=alert.display_filter,
        facts=alert.context,
    )
    return EveAlert(
        action="allowed", gid=1, signature_id=rule.sid, rev=rule.rev, signature=rule.title,
        category=rule.family.replace("-", " ").capitalize() or "Imapids", severity=SEVERITY.get(rule.level, 3),
        metadata=_metadata(rule, alert.confidence), references=rule.references, context=Context(ours),
    )


def _metadata(rule: RuleInfo, confidence: str) -> dict[str, list[str]]:
    """Arrays of strings under the names that the Elastic integration maps to `threat.*`."""
    metadata = {"signature_severity": [SIGNATURE_SEVERITY.get(rule.level, "Informational")]}
    if confidence:
        metadata["confidence"] = [confidence.capitalize()]
    if rule.tactics:
        known = [TACTIC_IDS[tactic] for tactic in rule.tactics if tactic in TACTIC_IDS]
        if known:
            metadata["mitre_tactic_id"] = known
        metadata["mitre_tactic_name"] = ["_".join(word.capitalize() for word in tactic.split("-"))
                                         for tactic in rule.tactics]
    if rule.techniques:
        metadata["mitre_technique_id"] = rule.techniques
    if rule.created:
        metadata["created_at"] = [rule.created.replace("-", "_")]
    if rule.modified:
        metadata["updated_at"] = [rule.modified.replace("-", "_")]
    return metadata


def alert_record(body: EveAlert, time_ns: int, flow: Flow | None, packet: int, labels: list[str]) -> Alert:
    """The alert that an `alert` object of ours stands for; ValueError where its times are none."""
    ours = body.context.imapids
    metadata = body.metadata
    rule = RuleInfo(
        id=ours.rule, sid=body.signature_id, title=body.signature, level=ours.level, name=ours.name,
        family=ours.family, rev=body.rev or 1, description=ours.description, advice=ours.advice,
        techniques=metadata.get("mitre_technique_id", []),
        tactics=[name.lower().replace("_", "-") for name in metadata.get("mitre_tactic_name", [])],
        references=body.references, falsepositives=ours.falsepositives,
        created="".join(metadata.get("created_at", [])[:1]).replace("_", "-"),
        modified="".join(metadata.get("updated_at", [])[:1]).replace("_", "-"),
    )
    return Alert(
        id=ours.id, state=ours.state, rule=rule, subject=ours.subject, case=ours.case, time_ns=time_ns,
        first_ns=parse_eve_time(ours.first), last_ns=parse_eve_time(ours.last), count=ours.count, flow=flow,
        packet=packet, event=ours.event, direction=ours.direction, why=ours.why, verdict=ours.verdict,
        protocol=ours.protocol, shape=ours.shape, confidence=ours.confidence, labels=labels, context=ours.facts,
        display_filter=ours.display_filter,
    )
