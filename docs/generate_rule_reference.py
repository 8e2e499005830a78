#!/usr/bin/env python3
"""Write the reference pages about rules: fields (from the event records) and the shipped rules (rules/compiled.json).

usage: python docs/generate_rule_reference.py

Tests compare the pages with the code, so that they cannot grow old.
"""

from __future__ import annotations

import ast
from pathlib import Path

from imapids.detect import load_rules
from imapids.detect.compiled import Correlation, Rule
from imapids.detect.fields import CATEGORIES, SHARED, Field, fields_of
from imapids.records import candidates, events, streams, verdicts

FOLDER = Path(__file__).resolve().parent / "reference"
_SHARED_MEANING = {
    "timestamp": "When it happened, in packet time. Compare parts of it: `timestamp|hour|gte: 22`.",
    "event_type": "The type of the event.",
    "pcap_cnt": "Number of the packet that it is about, as Wireshark shows it.",
    "src_ip": "Address of the client: the side that opened the conversation.",
    "src_port": "The client's port.",
    "dest_ip": "Address of the server.",
    "dest_port": "The server's port.",
    "proto": "TCP or UDP.",
    "app_proto": "What the conversation speaks; `failed` where that is unknown.",
    "community_id": "Community ID, the same in other tools.",
    "vlan": "VLAN numbers, outermost first.",
    "in_iface": "Interface of a live capture.",
    "flow.pkts_toserver": "Packets of the client so far.",
    "flow.pkts_toclient": "Packets of the server so far.",
    "flow.bytes_toserver": "Payload bytes of the client so far.",
    "flow.bytes_toclient": "Payload bytes of the server so far.",
}
"""Meaning of shared fields that the records tell in other words."""

_MEANING = {
    "session.verdict": "genuine, not-imap, mimic, undecided or silent.",
    "session.confidence": "low, medium or high: by what was verified.",
    "session.protocol": "What it speaks, where that has a name: imap, imap+starttls, tls, ssh ...",
    "session.shape": "What the bytes look like where no protocol has a name: interactive-shell, fully-encrypted ...",
    "session.evidence.code": "Codes of the evidence (reference: evidence).",
    "session.sides_seen": "both, client, server or none: which sides the capture holds.",
    "session.packets": "Packets of both sides.",
    "session.bytes_server": "Payload bytes of the server.",
    "session.transport": "tcp or udp.",
    "session.packets_client": "Packets of the client.",
    "session.packets_server": "Packets of the server.",
    "session.duration_ms": "From the first packet to the last.",
    "session.missing_server": "Bytes of the server that the capture does not hold.",
    "session.history.verdict": "Earlier verdicts that later bytes contradicted.",
    "session.history.confidence": "Their confidence.",
    "session.on_watched_port": "The server's port is watched (143); false for IMAP found elsewhere.",
    "session.tunnels": "Tunnels that the packets came in.",
    "session.capabilities": "What the server said it can do.",
    "session.commands": "Commands of the client.",
    "session.logins": "Attempts to sign in.",
    "session.logins_failed": "Attempts that failed.",
    "session.preauth": "The server greeted with PREAUTH.",
    "session.sni": "Server name of the TLS handshake.",
    "session.ja3": "JA3 of the TLS client.",
    "session.ja4": "JA4 of the TLS client.",
    "command.tag": "The command's tag.",
    "command.longest_argument": "Bytes of the longest argument.",
    "command.literals": "Literals in the command.",
    "command.illegal_state": "The state before it forbids the command.",
    "command.duration_us": "Until its completion.",
    "login.user": "User name, as sent.",
    "login.code": "Response code of the answer: AUTHENTICATIONFAILED ...",
    "login.tag": "Tag of the command.",
    "login.encrypted": "Inside TLS.",
    "login.starttls_offered": "The server had offered STARTTLS.",
    "login.logindisabled": "The server had forbidden LOGIN on this connection.",
    "login.initial_response": "The first SASL message came with the command.",
    "message.mailbox": "The mailbox that was selected or named.",
    "message.flags": "Flags that were set or removed.",
    "message.result": "ok, no, bad or none.",
    "tls.sni": "Server name that the client asked for.",
    "tls.version": "Version that was agreed on.",
    "tls.ja3.hash": "JA3 of the client.",
    "tls.ja3.string": "What the JA3 hash was made of.",
    "tls.ja3s.hash": "JA3S of the server.",
    "tls.ja3s.string": "What the JA3S hash was made of.",
    "tls.ja4": "JA4 of the client.",
    "tls.subject": "Subject of the server's certificate.",
    "tls.issuerdn": "Issuer of the server's certificate.",
    "tls.serial": "Serial number of the server's certificate.",
    "tls.fingerprint": "SHA-1 of the server's certificate.",
    "tls.notbefore": "Start of its validity.",
    "tls.notafter": "End of its validity.",
    "tls.client_alpns": "Protocols that the client offered.",
    "tls.server_alpns": "Protocol that the server chose.",
    "tls.subjectaltname": "Names in the server's certificate.",
    "tls.session_resumed": "The handshake resumed an earlier session.",
    "anomaly.layer": "Where it was seen.",
    "anomaly.app_proto": "The protocol that was expected.",
    "anomaly.code": "Number of the anomaly, where it has one.",
    "flow.start": "Time of the first packet.",
    "flow.end": "Time of the last packet.",
    "flow.age": "Seconds between them.",
    "flow.alerted": "An alert was raised about it.",
    "capture.skipped": "Reasons for which packets gave nothing, and how many.",
    "capture.flows": "Conversations, of every kind.",
    "capture.sessions": "Conversations that were looked into.",
    "capture.inputs.name": "Names of the inputs.",
    "capture.inputs.format": "Their formats.",
    "capture.inputs.packets": "Packets read of each.",
    "capture.inputs.bytes": "Bytes read of each.",
    "capture.inputs.start": "Time of each one's first packet.",
    "capture.inputs.end": "Time of each one's last packet.",
    "capture.inputs.damage": "What was damaged, and where; or why nothing could be read.",
    "capture.inputs.skipped": "What was skipped of them.",
    "capture.inputs.notes": "What was odd about them.",
    "capture.events": "Events of each type.",
    "capture.notes": "What was odd.",
    "capture.start": "Time of the first packet.",
    "capture.end": "Time of the last packet.",
    "capture.one_sided": "Conversations of which one side only was captured.",
    "capture.interrupted": "The run was stopped.",
    "signature.rule": "Name of the YARA rule.",
    "signature.namespace": "Its file.",
    "signature.side": "client or server: whose bytes matched.",
    "signature.tags": "Its tags.",
    "signature.meta": "Names of its metadata.",
    "indicator.value": "The indicator that matched.",
    "indicator.name": "What the source calls it.",
    "indicator.valid_from": "Start of its validity.",
    "indicator.valid_until": "End of its validity.",
}
"""Meaning of fields whose names tell programmers enough."""


def _documentation() -> dict[str, str]:
    """`Record.attribute`: the text under it, and the record's own text under its name."""
    found: dict[str, str] = {}
    for module in (events, candidates, streams, verdicts):
        for node in ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.ClassDef):
                continue
            found[node.name] = " ".join((ast.get_docstring(node) or "").split())
            for first, second in zip(node.body, node.body[1:], strict=False):
                if (isinstance(first, ast.AnnAssign) and isinstance(first.target, ast.Name)
                        and isinstance(second, ast.Expr) and isinstance(second.value, ast.Constant)):
                    found[f"{node.name}.{first.target.id}"] = " ".join(str(second.value.value).split())
    return found


def _row(field: Field, meaning: dict[str, str]) -> str:
    alike = field.record.partition(".")[2]  # records of earlier stages have attributes of the same name
    told = meaning.get(field.record) or meaning.get(f"Verdict.{alike}") or meaning.get(f"Flow.{alike}")
    text = _SHARED_MEANING.get(field.name) or _MEANING.get(field.name) or told or ""
    kind = f"list of {field.type}" if field.many else field.type
    return f"| `{field.name}` | {kind} | {text.replace('|', chr(92) + '|')} |\n"


def fields_page() -> str:
    """Every field of every category, with its type and meaning."""
    meaning = _documentation()
    parts = ["""# Fields that rules may name

A rule says which type of event it looks at (`logsource: {product: imapids, category: session}`) and names fields of it.
The names are those of the JSON lines. An empty text and an empty list count as absent: `field: null` matches them.
A list matches when any element does. Where a field is a table of counts (`session.anomalies`), its own name gives the
list of the names in it, and `session.anomalies.NAME` the count under that name. Text is compared without case unless
`|cased` stands behind it. This page is made from the event records (`imapids/records/events.py`).

## Every category

| field | type | meaning |
| --- | --- | --- |
"""]
    parts += [_row(field, meaning) for field in SHARED.values()]
    parts.append(_row(fields_of("session")["app_proto"], meaning))
    for category in CATEGORIES:
        own = [field for name, field in fields_of(category).items() if field.origin == "body"]
        record = own[0].record.partition(".")[0] if own else ""
        parts.append(f"\n## {category}\n\n{meaning.get(record, '')}\n\n"
                     "| field | type | meaning |\n| --- | --- | --- |\n")
        parts += [_row(field, meaning) for field in own]
    return "".join(parts)


def rules_page() -> str:
    """The shipped rules by family."""
    rules = load_rules()
    shown: list[Rule | Correlation] = [*(item for item in rules.rules if item.output),
                                       *(item for item in rules.correlations if item.output)]
    parts = ["""# The shipped rules

What `imapids rules explain NAME` tells of a rule in full, in one line each. Correlations count several events; the
rules that only feed them raise no alert and are not listed. This page is made from `rules/sigma/`.
"""]
    for family in sorted({item.info.family for item in shown}):
        parts.append(f"\n## {family}\n\n| sid | rule | level | looks at | ATT&CK | title |\n"
                     "| --- | --- | --- | --- | --- | --- |\n")
        for item in sorted(shown, key=lambda item: item.info.sid):
            if item.info.family == family:
                sees = item.category if isinstance(item, Rule) else f"{item.kind}, {item.span_ns // 10**9} s"
                info = item.info
                parts.append(f"| {info.sid} | `{info.name}` | {info.level} | {sees} | {', '.join(info.techniques)} |"
                             f" {info.title} |\n")
    return "".join(parts)


PAGES = {"fields.md": fields_page, "rules.md": rules_page}

if __name__ == "__main__":
    for page, make in PAGES.items():
        (FOLDER / page).write_text(make(), encoding="utf-8")
