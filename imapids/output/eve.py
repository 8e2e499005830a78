"""Events and alerts as EVE JSON lines: the shape that the consumers of Suricata's output read (DESIGN section 9).

How a line is put together stands in eve_line.py. The kernel (kernels/lines.pxi) writes the lines that nearly all are,
and has that write the others. It may do so while the rules look at the same events (kernels/ahead.pxi).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from imapids import kernels
from imapids.output.eve_alert import Facts, Found, rule_parts
from imapids.output.eve_line import (
    CLOSED_BODY,
    DIRECTION_LABEL,
    ENVELOPE_BYTES,
    SHAPES,
    UNKNOWN_PROTOCOL,
    Head,
    alert_around,
    encode_json,
    flow_head,
    python_lines,
)
from imapids.output.line_limit import LINE_BYTES
from imapids.records.alerts import Alert
from imapids.records.events import Anomaly, Body, Event, Session
from imapids.records.streams import Flow

if TYPE_CHECKING:
    from imapids.kernels._events import Lines, LinesAhead

_HEAD = {"flow_id": "flow_id", "community_id": "community_id", "src_ip": "client", "src_port": "client_port",
         "dest_ip": "server", "dest_port": "server_port", "proto": "protocol"}
"""The keys that begin a flow's head, and the flow's fields. The two after them are the same for many flows."""
_PROTOCOL_IN: dict[type[Body], str] = {Session: "protocol", Anomaly: "app_proto"}
"""The fields of bodies that say the protocol of the line (eve_line.around)."""
_COUNTS = {"pkts_toserver": "packets_client", "pkts_toclient": "packets_server", "bytes_toserver": "bytes_client",
           "bytes_toclient": "bytes_server", "start": "start_ns"}
_START = {"start": "start_ns"}
_UNKNOWN = b',"app_proto":"%b"' % UNKNOWN_PROTOCOL.encode()
_IDENTITY = {"id": "id", "state": "state"}
_FOUND = dict(zip(Found.__struct_fields__, Found.__struct_fields__, strict=True)) | {
    "first": "first_ns", "last": "last_ns"}
_FACTS = dict(zip(Facts.__struct_fields__, Facts.__struct_fields__, strict=True)) | {"facts": "context"}


def encode(item: Event | Alert) -> bytes:
    """One line, newline included, at most 16 KiB: evidence and why are shortened from the end, `cut` says so."""
    return encode_lines((item,))


def encode_lines(items: Iterable[Event | Alert]) -> bytes:
    """The lines of many items: what `encode` gives for each, joined."""
    return _compiled().encode(items) if kernels.COMPILED else python_lines(items)


def lines_ahead() -> LinesAhead:
    """Encodes lines in a thread of its own, where there are kernels (kernels/ahead.pxi)."""
    return kernels.events.LinesAhead(_compiled())


@cache
def _compiled() -> Lines:
    """The kernel, told of our records and keys."""
    plan = kernels.events.Plan
    kinds = {
        cls: kernels.events.LineParts(plan(cls), name, _UNKNOWN if cls is Session else protocol, key,
                                      protocol_in=_PROTOCOL_IN.get(cls), labelled=treatment == CLOSED_BODY,
                                      counted=cls is Session)
        for cls, (treatment, name, protocol, key) in SHAPES.items()}
    return kernels.events.Lines(
        kinds=kinds, event=plan(Event), alert=plan(Alert), head=plan(Flow, _HEAD, like=Head),
        vlans=plan(Flow, {"vlan": "vlan"}, like=Head),
        counts=plan(Flow, _COUNTS, times=("start",)), start=plan(Flow, _START, times=("start",)),
        identity=plan(Alert, _IDENTITY), found=plan(Alert, _FOUND, times=("first", "last")),
        facts=plan(Alert, _FACTS, like=Facts), longest=LINE_BYTES - ENVELOPE_BYTES, direction=DIRECTION_LABEL.encode(),
        encode_json=encode_json, alone=_alone, make_head=flow_head, alert_parts=_alert_parts,
    )


def _alone(item: Event | Alert) -> bytes:
    return python_lines((item,))


def _alert_parts(alert: Alert) -> tuple[bytes, bool, bytes, bytes, bytes]:
    parts = rule_parts(alert)
    return *alert_around(alert), parts.begin, parts.identity, parts.texts
