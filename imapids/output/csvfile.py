"""Events of one type as a CSV table (RFC 4180) that a spreadsheet opens without running anything in it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from typing import TextIO

import msgspec

from imapids.protocols.text import safe_str
from imapids.protocols.timestamps import eve_time
from imapids.records.alerts import Alert
from imapids.records.events import EVENT_TYPES, Body, Event

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that starts like this for a formula (OWASP, CSV injection)."""

_ENVELOPE = ("timestamp", "flow_id", "community_id", "src_ip", "src_port", "dest_ip", "dest_port", "proto",
             "pcap_filename", "pcap_cnt")
_ALERT = ("level", "title", "sid", "rule_id", "family", "state", "count", "first", "last", "direction", "verdict",
          "protocol", "shape", "confidence", "why", "advice", "techniques", "subject", "case", "id", "display_filter")
_BODIES: dict[str, type[Body]] = {name: cls for cls, name in EVENT_TYPES.items()}
_encode = msgspec.json.Encoder().encode


def columns(kind: str) -> tuple[str, ...]:
    """Names of the columns of an event type (or `alert`): the conversation first, then the type's own fields."""
    if kind == "alert":
        return _ENVELOPE + _ALERT
    return _ENVELOPE + tuple(name for name in _BODIES[kind].__struct_fields__ if name not in _ENVELOPE)


def cell(value: object) -> str | int | float:
    """A value as a cell: numbers stay numbers, lists of words are joined by `; `, deeper things are JSON.

    Text that would be a formula gets an apostrophe in front; characters beyond printable ASCII are escaped.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        text = value
    elif isinstance(value, list | tuple) and all(isinstance(part, str | int) for part in value):
        text = "; ".join(map(str, value))
    else:
        text = _encode(value).decode() if value else ""
    text = safe_str(text, 4 * len(text))  # a character is at most four bytes: nothing is cut here
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def row(item: Event | Alert) -> dict[str, str | int | float]:
    """One line of the table, by column."""
    values: dict[str, object] = {"timestamp": eve_time(item.time_ns), "pcap_cnt": item.packet or None}
    flow = item.flow
    if flow is not None:
        values |= {
            "flow_id": flow.flow_id, "community_id": flow.community_id,
            "src_ip": flow.client, "src_port": flow.client_port, "dest_ip": flow.server, "dest_port": flow.server_port,
            "proto": flow.protocol, "pcap_filename": flow.source,
        }
    if isinstance(item, Alert):
        rule = item.rule
        values |= {
            "level": rule.level, "title": rule.title, "sid": rule.sid, "rule_id": rule.id, "family": rule.family,
            "state": item.state, "count": item.count, "first": eve_time(item.first_ns), "last": eve_time(item.last_ns),
            "direction": item.direction, "verdict": item.verdict, "protocol": item.protocol,
            "shape": item.shape, "confidence": item.confidence, "why": item.why, "advice": rule.advice,
            "techniques": rule.techniques, "subject": item.subject, "case": item.case, "id": item.id,
            "display_filter": item.display_filter,
        }
    else:
        values |= {name: getattr(item.body, name) for name in item.body.__struct_fields__ if name not in _ENVELOPE}
    return {name: cell(value) for name, value in values.items()}


class CsvTables:
    """Writes each kind of item to the table that `open_table` gives for it; a table is opened when its kind is."""

    def __init__(self, open_table: Callable[[str], TextIO], kinds: frozenset[str]) -> None:
        self._writers = {}
        for kind in sorted(kinds):
            writer = csv.DictWriter(open_table(kind), columns(kind), restval="", extrasaction="raise")
            writer.writeheader()  # an empty table still says what it would hold
            self._writers[kind] = writer

    def write(self, items: Sequence[Event | Alert]) -> None:
        """Writes the rows of the items; other kinds are left out."""
        for item in items:
            writer = self._writers.get("alert" if isinstance(item, Alert) else item.kind)
            if writer is not None:
                writer.writerow(row(item))

    def close(self) -> None:
        """Nothing is held back here: whoever opened the tables closes them."""
