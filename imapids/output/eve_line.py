"""One EVE JSON line after the other, written in Python: without the kernels all of them, with them the odd ones.

A line is ASCII without control characters whatever its texts hold: text from the wire is safe text already, text
from outside (rules, file names) is escaped here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from imapids.output.eve_alert import alert_json, alert_object
from imapids.output.line_limit import LINE_BYTES, shorten
from imapids.protocols.late_patterns import late_pattern
from imapids.protocols.text import safe_str
from imapids.protocols.timestamps import eve_second
from imapids.records.alerts import Alert
from imapids.records.events import (
    EVENT_TYPES,
    Anomaly,
    Body,
    Capture,
    Command,
    Event,
    FlowBody,
    Guessing,
    Login,
    Mailbox,
    Message,
    Session,
    Tls,
)
from imapids.records.streams import Flow

UNKNOWN_PROTOCOL = "failed"
"""What EVE calls the protocol of a flow that nobody recognised."""

DIRECTION_LABEL = "imapids-direction-"
CUT_LABEL = "imapids-cut"
"""Labels under traffic.label: the place for our words on lines whose objects the schema closes."""

FILE_NAME_BYTES = 1_024
"""A longer capture name is cut: PATH_MAX is 4,096, and four characters may stand for a byte."""

_Record = TypeVar("_Record", bound=msgspec.Struct)

_CLOSED_BODIES = (Tls, Anomaly, FlowBody)
_FIXED_PROTOCOLS: dict[type[Body], str] = {
    Command: "imap", Login: "imap", Message: "imap", Tls: "tls", Guessing: "imap", Mailbox: "imap",
}
PLAIN_BODY, _SESSION_BODY, CLOSED_BODY = range(3)
SHAPES: dict[type[Body], tuple[int, bytes, bytes, bytes]] = {
    cls: (
        _SESSION_BODY if cls is Session else CLOSED_BODY if cls in _CLOSED_BODIES else PLAIN_BODY,
        b'"event_type":"%b"' % name.encode(),
        b',"app_proto":"%b"' % _FIXED_PROTOCOLS[cls].encode() if cls in _FIXED_PROTOCOLS else b"",
        b',"%b":' % name.encode(),
    )
    for cls, name in EVENT_TYPES.items()
}
"""The parts of a line that its event type settles: its name, the protocol where it is always the same, its object."""
_SHORT_WAY: dict[type[Body], tuple[bytes, bytes, bytes]] = {
    cls: (b"+0000\"," + name, protocol + b',"pcap_cnt":', key)
    for cls, (treatment, name, protocol, key) in SHAPES.items() if treatment == PLAIN_BODY
}
"""The same for the types of most lines, between what differs: microsecond, flow, frame number, body."""
_EVENT_PROTOCOLS = {EVENT_TYPES[cls]: b',"app_proto":"%b"' % name.encode() for cls, name in _FIXED_PROTOCOLS.items()}
_AT_THE_END = ("session", "flow")
"""Events that are told when their flow is over: only then its counts and its protocol are known."""
ENVELOPE_BYTES = 1_024
"""Room for what stands around an event's object, but for the flow's head."""

_NOT_ASCII = late_pattern(r"[^\x00-\x7e]")

_app_protos: dict[str | None, bytes] = {}
_encoder = msgspec.json.Encoder()
encode_json = _encoder.encode
_append_json = _encoder.encode_into


def python_lines(items: Iterable[Event | Alert]) -> bytes:
    """The lines of many items, joined."""
    lines = bytearray()
    start = second_ns = 0
    stamp = b""
    for item in items:
        try:
            if not (isinstance(item, Event) and (short := _SHORT_WAY.get(type(item.body))) and item.packet
                    and (flow := item.flow)):
                lines += _line(item)
            else:  # nearly all lines: what stands ready, the microsecond, and the body written where it belongs
                name, protocol, key = short
                time_ns = item.time_ns
                past = time_ns - second_ns
                if not 0 <= past < 1_000_000_000 or not stamp:
                    second, past = divmod(time_ns, 1_000_000_000)
                    second_ns, stamp = time_ns - past, b'{"timestamp":"%b.' % second_text(second)
                lines += b"%b%06d%b%b%b%d%b" % (
                    stamp, past // 1000, name, flow.eve_head or flow_head(flow), protocol, item.packet, key)
                _append_json(item.body, lines, -1)
                lines += b"}\n"
                if len(lines) - start > LINE_BYTES - ENVELOPE_BYTES:
                    del lines[start:]
                    lines += _line(item)
        except UnicodeEncodeError:  # lone surrogates, from rule files or names: no JSON encoder takes them
            del lines[start:]
            lines += _line(_without_surrogates(item))
        start = len(lines)
    return bytes(lines) if lines.isascii() and 127 not in lines else _escape(lines)


def _line(item: Event | Alert) -> bytes:
    return _alert_line(item) if isinstance(item, Alert) else _event_line(item)


class Head(msgspec.Struct, omit_defaults=True):
    """The keys of a line that its flow settles, in their order; empty ones are left out."""

    flow_id: int
    community_id: str = ""
    src_ip: str | msgspec.UnsetType = msgspec.UNSET
    src_port: int | msgspec.UnsetType = msgspec.UNSET
    dest_ip: str | msgspec.UnsetType = msgspec.UNSET
    dest_port: int | msgspec.UnsetType = msgspec.UNSET
    proto: str | msgspec.UnsetType = msgspec.UNSET
    pcap_filename: str = ""
    in_iface: str = ""
    vlan: tuple[int, ...] = ()


def flow_head(flow: Flow) -> bytes:
    """What is equal in all lines of a flow, from `flow_id` to `vlan`; kept in `flow.eve_head`."""
    head = Head(flow.flow_id, flow.community_id, flow.client, flow.client_port, flow.server, flow.server_port,
                 flow.protocol, safe_str(flow.source, FILE_NAME_BYTES), safe_str(flow.interface), flow.vlan)
    flow.eve_head = b"," + encode_json(head)[1:-1]
    return flow.eve_head


@lru_cache(maxsize=256)  # lines come in order of time: nearly all find their second here
def second_text(second: int) -> bytes:
    return eve_second(second).encode()


def _event_line(event: Event) -> bytes:
    """The line of any event."""
    body, flow, packet = event.body, event.flow, event.packet
    treatment, name, protocol, key = SHAPES[type(body)]
    head = count = counts = traffic = b""
    labels: list[str] = []
    if flow is None:
        protocol = b""
    else:
        head = flow.eve_head or flow_head(flow)
        if treatment != PLAIN_BODY:
            protocol, labels = around(body, flow)
        if treatment == _SESSION_BODY:
            counts = _flow_counts(flow)
    if packet:
        count = b',"pcap_cnt":%d' % packet
    encoded = encode_json(body)
    if len(encoded) > LINE_BYTES - ENVELOPE_BYTES - len(head):
        encoded = _shortened_body(body, labels, LINE_BYTES - ENVELOPE_BYTES - len(head))
    if labels:
        traffic = b',"traffic":{"label":%b}' % encode_json(labels)
    second, rest = divmod(event.time_ns, 1_000_000_000)
    return b'{"timestamp":"%b.%06d+0000",%b%b%b%b%b%b%b%b}\n' % (
        second_text(second), rest // 1000, name, head, protocol, count, counts, traffic, key, encoded,
    )


def around(body: Body, flow: Flow) -> tuple[bytes, list[str]]:
    """Protocol and labels of a line, where they depend on its body or its flow."""
    if isinstance(body, Session):
        return _app_proto(body.protocol), []
    protocol = _app_proto(body.app_proto) if isinstance(body, Anomaly) and body.app_proto else SHAPES[type(body)][2]
    return protocol, [DIRECTION_LABEL + flow.direction] if flow.direction != "unknown" else []


def _alert_line(alert: Alert) -> bytes:
    flow = alert.flow
    head = count = counts = traffic = b""
    protocol, over = alert_around(alert)
    if flow is not None:
        head = (flow.eve_head or flow_head(flow)) + protocol
        counts = _flow_counts(flow) if over else _flow_start(flow)
    if alert.packet:
        count = b',"pcap_cnt":%d' % alert.packet
    if alert.labels:
        traffic = b',"traffic":{"label":%b}' % encode_json(alert.labels[:16])
    encoded = alert_json(alert)
    room = LINE_BYTES - ENVELOPE_BYTES - len(head) - len(traffic)
    if len(encoded) > room:
        plain = msgspec.to_builtins(alert_object(alert))
        plain["context"]["imapids"]["cut"] = True
        shorten(plain, room)
        encoded = encode_json(plain)
    second, rest = divmod(alert.time_ns, 1_000_000_000)
    return b'{"timestamp":"%b.%06d+0000","event_type":"alert"%b%b%b%b,"alert":%b}\n' % (
        second_text(second), rest // 1000, head, count, counts, traffic, encoded,
    )


def alert_around(alert: Alert) -> tuple[bytes, bool]:
    """`app_proto` of an alert: its session's, or before that is over what its event can only be about; is it over?"""
    at_the_end = alert.event in _AT_THE_END
    protocol = (_app_proto(alert.protocol) if alert.protocol or at_the_end
                else _EVENT_PROTOCOLS.get(alert.event, b""))
    return protocol, at_the_end or (alert.state == "final" and alert.flow is not None and bool(alert.flow.end_reason))


def _app_proto(protocol: str | None) -> bytes:
    part = _app_protos.get(protocol)
    if part is None:
        part = b',"app_proto":%b' % encode_json(protocol or UNKNOWN_PROTOCOL)
        if len(_app_protos) < 1_024:  # names are a closed list; a saved file that is read back may say anything
            _app_protos[protocol] = part
    return part


def _flow_counts(flow: Flow) -> bytes:
    """EVE's `flow` object on lines that are not about the flow alone."""
    second, rest = divmod(flow.start_ns, 1_000_000_000)
    return (b',"flow":{"pkts_toserver":%d,"pkts_toclient":%d,"bytes_toserver":%d,"bytes_toclient":%d,'
            b'"start":"%b.%06d+0000"}') % (
        flow.packets_client, flow.packets_server, flow.bytes_client, flow.bytes_server, second_text(second),
        rest // 1000,
    )


def _flow_start(flow: Flow) -> bytes:
    """EVE's `flow` object before the flow is over: counts of one moment would depend on how packets come in batches."""
    second, rest = divmod(flow.start_ns, 1_000_000_000)
    return b',"flow":{"start":"%b.%06d+0000"}' % (second_text(second), rest // 1000)


def _shortened_body(body: Body, labels: list[str], room: int) -> bytes:
    """A body that is too long for its `room`; the mark goes into it, or among the labels where the schema closes it."""
    plain = msgspec.to_builtins(body)
    if isinstance(body, Capture):  # inputs without a fault are the first to go
        plain["inputs"].sort(key=lambda account: account["status"] == "ok")
    if isinstance(body, _CLOSED_BODIES):
        labels.append(CUT_LABEL)
    else:
        plain["cut"] = True
    shorten(plain, room)
    return encode_json(plain)


def _escape(lines: bytearray) -> bytes:
    """The same JSON in ASCII without DEL; beyond ASCII there is only text, and text may hold escapes."""
    def escaped(match: re.Match[str]) -> str:
        data = match[0].encode("utf-16-be")
        return "".join(f"\\u{data[i]:02x}{data[i + 1]:02x}" for i in range(0, len(data), 2))

    return _NOT_ASCII.sub(escaped, lines.decode("utf-8")).encode("ascii")


def _without_surrogates(item: Event | Alert) -> Event | Alert:
    """A copy whose texts can be encoded: every lone surrogate becomes the bytes that it stands for, escaped."""
    flow = _cleaned(item.flow) if item.flow is not None else None
    if flow is not None:
        flow.eve_head = b""
    if isinstance(item, Alert):
        return msgspec.structs.replace(_cleaned(item), flow=flow)
    return msgspec.structs.replace(item, body=_cleaned(item.body), flow=flow)


def _cleaned(record: _Record) -> _Record:
    return msgspec.convert(_clean(msgspec.to_builtins(record)), type(record))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else safe_str(value, len(value) * 4)
    if isinstance(value, dict):
        return {_clean(key): _clean(child) for key, child in value.items()}
    return [_clean(child) for child in value] if isinstance(value, list | tuple) else value
