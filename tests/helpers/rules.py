"""Rules and events for tests: documents to rule sets without files, events with few words, and a second judge.

The judge is pysigma-backend-sqlite: it turns a rule into SQL, and the events into rows of a table.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any

import msgspec

from imapids.detect.compiled import RuleSet
from imapids.detect.fields import fields_of, getter
from imapids.detect.rule_files import Document, Fault
from imapids.detect.sigma_rules import compile_documents
from imapids.records.events import EVENT_TYPES, Event
from imapids.records.streams import Flow

SECOND = 10**9
START = 1_767_355_200 * SECOND  # 2026-01-02T12:00:00Z


def compiled(*contents: dict[str, Any]) -> RuleSet:
    """The rule set of these documents; a fault fails the test."""
    rules, faults = compiled_with_faults(*contents)
    assert not faults, "\n".join(map(str, faults))
    return rules


def compiled_with_faults(*contents: dict[str, Any]) -> tuple[RuleSet, list[Fault]]:
    """The rule set of these documents, and what is wrong with them."""
    faults: list[Fault] = []
    documents = [Document(f"t{place}.yml", content, {(): 1}) for place, content in enumerate(contents)]
    return compile_documents(documents, faults), faults


def rule(category: str, detection: dict[str, Any], condition: str = "selection", **more: Any) -> dict[str, Any]:
    """A rule document. `detection` is the one selection, unless the condition names others."""
    named = detection if condition != "selection" or "selection" in detection else {"selection": detection}
    return {
        "title": "test", "level": "medium", "logsource": {"product": "imapids", "category": category},
        "detection": {**named, "condition": condition}, **more,
    }


def flow(client: str = "10.0.0.5", server: str = "198.51.100.7", client_port: int = 40000, server_port: int = 143,
         flow_id: int = 1, direction: str = "outbound") -> Flow:
    """A TCP flow."""
    return Flow(protocol="TCP", client=client, client_port=client_port, server=server, server_port=server_port,
                flow_id=flow_id, direction=direction)


_BASE: dict[str, dict[str, Any]] = {
    "session": {
        "verdict": "genuine", "confidence": "high", "protocol": "imap", "shape": None, "reason": None, "evidence": [],
        "sides_seen": "both", "midstream": False, "limits": [], "packets": 9, "bytes_client": 90, "bytes_server": 900,
        "direction": "outbound", "state": "closed",
    },
    "command": {"tag": "a1", "name": "NOOP", "result": "ok"},
    "login": {"mechanism": "login", "outcome": "failure"},
    "message": {"action": "fetch"},
    "anomaly": {"type": "stream", "event": "overlap"},
    "tls": {},
}


def event(kind: str, seconds: float = 0, packet: int = 1, on: Flow | None = None, **fields: Any) -> Event:
    """An event of this type at START + seconds."""
    body = {name: record for record, name in EVENT_TYPES.items()}[kind]
    time_ns = START + round(seconds * SECOND)
    return Event(kind, time_ns, body(**{**_BASE[kind], **fields}), on or flow(), packet, time_ns)


def _regexp(pattern: str, value: object) -> bool:
    return value is not None and re.search(pattern, str(value)) is not None


def as_row(item: Event) -> dict[str, Any]:
    """The event as flat columns; absent fields are NULL, booleans are words, times are ISO text."""
    row: dict[str, Any] = {}
    for name, field in fields_of(item.kind).items():
        value = getter(field)(item)
        if field.many:
            continue
        if name == "timestamp":
            value = value / SECOND
        row[name] = None if value == "" else ("true" if value else "false") if isinstance(value, bool) else value
    return row


def table_of(events: list[Event]) -> sqlite3.Connection:
    """A database whose table `logs` holds the events, one row each, rowid from 1."""
    rows = [as_row(item) for item in events]
    kinds = {name: field.type for name, field in fields_of(events[0].kind).items()}
    base = sqlite3.connect(":memory:")
    base.create_function("regexp", 2, _regexp)
    columns = ", ".join(
        f"`{name}` " + ("TEXT COLLATE NOCASE" if kinds[name] in ("text", "boolean") else "NUMERIC") for name in rows[0]
    )
    base.execute(f"CREATE TABLE logs ({columns})")
    marks = ", ".join("?" for _ in rows[0])
    base.executemany(f"INSERT INTO logs VALUES ({marks})", [tuple(row.values()) for row in rows])
    return base


def judged_matches(content: dict[str, Any], base: sqlite3.Connection) -> list[int]:
    """Places of the events that the second judge says the rule matches."""
    from sigma.backends.sqlite import sqliteBackend
    from sigma.collection import SigmaCollection

    collection = SigmaCollection.from_dicts([msgspec.convert(msgspec.to_builtins(content), dict)])
    query = sqliteBackend().convert(collection)[0].replace("SELECT *", "SELECT rowid", 1)
    return sorted(number - 1 for (number,) in base.execute(query))
