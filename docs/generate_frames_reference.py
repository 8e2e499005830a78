#!/usr/bin/env python3
"""Write the reference page of data frames, from the columns that the frames are built with (imapids/desk/).

usage: python docs/generate_frames_reference.py

A test compares the page with the code, so that it cannot grow old.
"""

from __future__ import annotations

import ast
import inspect
import runpy
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from imapids.desk import cases, frames
from imapids.desk.analysis import FRAMES, Analysis
from imapids.desk.columns import Column
from imapids.records import alerts, candidates, events, streams, verdicts

PAGE = Path(__file__).resolve().parent / "reference" / "frames.md"

CONVERSATION = {
    "time": "When: the first packet of a conversation, the packet of a command or login",
    "flow_id": "The conversation: the same number in every frame and in the JSON lines; missing where there is none",
    "case": "Client, server and server port, as 12 hex digits: the same in every frame",
    "client": "Address of the side that opened the conversation",
    "client_port": "Its port",
    "server": "Address of the side that was called",
    "server_port": "Its port",
    "proto": "Transport",
    "direction": "By the home networks",
    "community_id": "Community ID, to find the conversation in other tools",
    "pcap_filename": "The capture",
    "pcap_cnt": "Packet number in it, as Wireshark shows it",
    "client_hi": "Upper half of the client's address, IPv4 as IPv4-mapped IPv6",
    "client_lo": "Lower half",
    "server_hi": "Upper half of the server's address",
    "server_lo": "Lower half",
    "why": "The conditions that held, in one line",
}
"""What the columns say that many frames share."""

SHARED = ("Event", "Flow", "Alert")
"""Records whose fields are columns of many frames."""
TABLE = "\n| column | dtype | meaning |\n| --- | --- | --- |\n"

MORE = {
    "FlowBody.pkts_toserver": "Packets of the client", "FlowBody.pkts_toclient": "Packets of the server",
    "FlowBody.start": "First packet", "FlowBody.end": "Last packet", "FlowBody.age": "Seconds between them",
    "RuleInfo.title": "Title of the rule", "RuleInfo.level": "How grave the rule is", "RuleInfo.family": "Its family",
    "RuleInfo.name": "Its name", "RuleInfo.rev": "Its revision", "RuleInfo.description": "What it looks for",
    "RuleInfo.advice": "What to do", "RuleInfo.references": "Where to read more",
    "RuleInfo.falsepositives": "What else may look like it", "RuleInfo.modified": "Date of its last change",
    "Alert.first_ns": "When it held first", "Alert.last_ns": "When it held last", "Alert.count": "How often it held",
    "Alert.verdict": "Verdict of the session, where it was known", "Alert.protocol": "Its protocol",
    "Alert.confidence": "How sure that verdict is", "Alert.labels": "Words to search for",
    "Session.anomalies": "Oddities on the wire and their counts",
    "Session.evidence": "Codes of the evidence, the weightiest first; the rows stand in `evidence`",
    "Session.history": "Earlier verdicts; the rows stand in `history`", "Session.shape": "What the bytes look like",
    "Session.protocol": "What the session speaks, where that has a name",
    "Capture.inputs": "Names of the inputs; the rows stand in `inputs`",
    "Capture.skipped": "Packets that gave no segment, by reason",
    "Evidence.code": "What was found (evidence.md)", "Evidence.side": "Whose bytes",
    "Revision.verdict": "What was said until then", "Revision.confidence": "How sure it was",
    "Revision.protocol": "What it was taken for", "InputAccount.name": "File name, or - for standard input",
    "InputAccount.format": "File format", "InputAccount.packets": "Packets read",
    "InputAccount.bytes": "Bytes read, before unpacking", "InputAccount.start": "First packet",
    "InputAccount.end": "Last packet", "InputAccount.skipped": "Records that are no packets, by reason",
    "InputAccount.notes": "Oddities of the file", "Case.client": "Who called", "Case.server": "Who was called",
    "Case.server_port": "The server's port", "Case.proto": "Transport", "Case.direction": "By the home networks",
    "Case.sessions": "Sessions", "Case.packets": "Packets of its sessions",
    "Case.bytes_client": "Payload bytes of the client", "Case.bytes_server": "Payload bytes of the server",
    "Case.alert_ids": "Ids of its alerts, the gravest first",
}
"""What columns say whose records do not."""

HEAD = """# Data frames

What `imapids.read_pcap(...)` and `imapids.load(...)` give: each frame is an attribute of the `Analysis`, built from the
records of the run when it is first asked for. Columns and dtypes are the same however many rows there are, none
included. This page is made from the code (`docs/generate_frames_reference.py`).

```python
import imapids

analysis = imapids.read_pcap("sample_pcaps/office-day.pcap")
analysis.sessions.groupby("verdict", observed=True).size()
analysis.logins.merge(analysis.sessions[["flow_id", "starttls"]], on="flow_id")
analysis.evidence[analysis.evidence["flow_id"] == analysis.cases["flow_id"].iloc[0]]
analysis.session(analysis.cases["flow_id"].iloc[0]).dialogue
```

- **Times** are `datetime64[ns, UTC]`, packet time.
- **Words out of a closed list** are categories in the order of the list; `level` and `confidence` compare
  (`alerts[alerts.level >= "high"]`). A word that is not there is missing; a word that is in no list stands behind it.
- **Text** is `string`, safe text (printable ASCII, other bytes as `\\xNN`); what is not there is empty or missing.
- **Numbers** that can be missing are `Int64`, `UInt16` or `Float64`; all others are plain.
- **Lists and counts by name** are Python objects in columns of dtype `object`; `explode` makes rows of a list. In
  Parquet (`analysis.to_parquet`) they are lists and maps.
- **Lists of records** (evidence, history, inputs) stand in the frame as the list of their codes or names; the records
  have a frame of their own, joined by `flow_id`.

`analysis.frame("session")` gives the frame of any event type by its name, `analysis.events("session")` the records.
"""


def docstrings() -> dict[str, str]:
    """`Struct.field` to the docstring under the field, of all records."""
    found = {}
    for module in (alerts, candidates, events, streams, verdicts, cases):
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.ClassDef):
                for field, text in zip(node.body, [*node.body[1:], None], strict=True):
                    if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
                        continue
                    if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                        found[f"{node.name}.{field.target.id}"] = " ".join(str(text.value.value).split())
    return found


def rows(columns: Iterable[Column], kind: str, told: Mapping[str, str], named: Mapping[str, str]) -> Iterator[str]:
    """One line of a table for each column: its own docstring, or what another page says of the field."""
    for column in columns:
        record, _, field = column.source.partition(".")
        text = (CONVERSATION.get(column.name) if record in SHARED else None) or MORE.get(column.source)
        text = text or told.get(column.source) or named.get(f"{kind}.{field}") or named.get(field)
        text = (text or told.get(f"Flow.{field}") or told.get(f"Session.{field}") or "").rstrip(".")
        words = ", ".join(f"`{word}`" for word in column.words if f"{word}" not in text)
        cell = ". ".join(filter(None, (text, f"One of {words}" if words and len(words) > 8 else "")))
        yield f"| `{column.name}` | {column.dtype} | {cell.replace('|', chr(92) + '|')} |\n"


def page() -> str:
    """The whole page."""
    told = docstrings()
    named = runpy.run_path(str(PAGE.parents[1] / "generate_rule_reference.py"))["_MEANING"]
    kinds = {"alerts": "alert", "cases": "case"} | FRAMES | {name: each.kind for name, each in frames.DETAILS.items()}
    plans = {"alerts": frames.alert_plan(), "cases": frames.case_plan()}
    plans |= {name: frames.event_plan(kind) for name, kind in FRAMES.items()}
    plans |= {name: frames.detail_plan(name) for name in frames.DETAILS}
    names = {column.name for part in frames.CONVERSATION for column in part.columns}
    shared = [column for part in frames.CONVERSATION for column in part.columns]
    parts = [HEAD, f"\n## The first columns of every frame of events and alerts\n{TABLE}"]
    parts += rows(shared, "", told, named)
    order = ["sessions", "alerts", "cases"]
    for name in sorted(plans, key=lambda name: order.index(name) if name in order else len(order)):
        doc = " ".join(str(getattr(Analysis, name).__doc__).split())
        own = [column for part in plans[name] for column in part.columns
               if name == "cases" or column.name not in names]
        if name in frames.DETAILS:
            doc += " The first columns are `time`, `flow_id` and `case`."
        elif name != "cases":
            doc += " The columns about the conversation come first."
        parts += [f"\n## {name}\n\n{doc}\n{TABLE}", *rows(own, kinds[name], told, named)]
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE}\n")
