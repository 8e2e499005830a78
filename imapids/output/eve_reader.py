"""EVE JSON lines of ours, back as events and alerts: for `imapids detect` and for opening saved results."""

from __future__ import annotations

import msgspec

from imapids.output.eve_alert import EveAlert, alert_record
from imapids.output.eve_line import DIRECTION_LABEL
from imapids.protocols.timestamps import parse_eve_time
from imapids.records.alerts import Alert
from imapids.records.events import EVENT_TYPES, Body, Event, Session
from imapids.records.streams import Flow

_ABSENT = msgspec.Raw(b"")
_BODIES: dict[str, type[Body]] = {name: cls for cls, name in EVENT_TYPES.items()}


class _Counts(msgspec.Struct):
    """EVE's `flow` object on session and alert lines."""

    pkts_toserver: int = 0
    pkts_toclient: int = 0
    bytes_toserver: int = 0
    bytes_toclient: int = 0
    start: str = ""


class _Traffic(msgspec.Struct, frozen=True):
    label: list[str] = []


class _Envelope(msgspec.Struct):
    """The keys of a line that are no event's own."""

    timestamp: str
    event_type: str
    flow_id: int | None = None
    community_id: str = ""
    src_ip: str = ""
    src_port: int = 0
    dest_ip: str = ""
    dest_port: int = 0
    proto: str = ""
    vlan: tuple[int, ...] = ()
    pcap_filename: str = ""
    in_iface: str = ""
    pcap_cnt: int = 0
    traffic: _Traffic = _Traffic()


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_objects = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_alert = msgspec.json.Decoder(EveAlert).decode
_decode_counts = msgspec.json.Decoder(_Counts).decode
_decode_body = {name: msgspec.json.Decoder(cls).decode for name, cls in _BODIES.items()}


def decode(line: bytes) -> Event | Alert | None:
    """The event or alert of one line; None where it is no line of ours (damaged, another program's, a later type).

    Times come back to the microsecond, which is all that a line holds. Never raises on bytes.
    """
    try:
        return _decode(line)
    except (ValueError, RecursionError, OverflowError):  # msgspec's errors are ValueErrors
        return None


def _decode(line: bytes) -> Event | Alert | None:
    envelope = _decode_envelope(line)
    kind = envelope.event_type
    if kind != "alert" and kind not in _BODIES:
        return None
    objects = _decode_objects(line)
    if kind not in objects:
        return None
    time_ns = parse_eve_time(envelope.timestamp)
    labels = envelope.traffic.label
    flow = _flow(envelope) if envelope.flow_id is not None else None
    if flow is not None and "flow" in objects and kind != "flow":
        _fill_counts(flow, _decode_counts(objects["flow"]))
    if kind == "alert":
        alert = alert_record(_decode_alert(objects[kind]), time_ns, flow, envelope.pcap_cnt, labels)
        if flow is not None:
            flow.direction = alert.direction
        return alert
    body = _decode_body[kind](objects[kind])
    if flow is not None:
        flow.direction = getattr(body, "direction", "") or _labelled_direction(labels)
        if isinstance(body, Session):
            _fill_session(flow, body)
    return Event(kind, time_ns, body, flow, envelope.pcap_cnt, time_ns)


def _flow(envelope: _Envelope) -> Flow:
    return Flow(
        protocol=envelope.proto, client=envelope.src_ip, client_port=envelope.src_port, server=envelope.dest_ip,
        server_port=envelope.dest_port, vlan=envelope.vlan, source=envelope.pcap_filename,
        interface=envelope.in_iface, flow_id=envelope.flow_id or 0, community_id=envelope.community_id,
    )


def _fill_counts(flow: Flow, counts: _Counts) -> None:
    flow.packets_client, flow.packets_server = counts.pkts_toserver, counts.pkts_toclient
    flow.bytes_client, flow.bytes_server = counts.bytes_toserver, counts.bytes_toclient
    if counts.start:
        flow.start_ns = parse_eve_time(counts.start)


def _fill_session(flow: Flow, body: Session) -> None:
    """What a session line tells of its flow."""
    flow.tunnels = tuple(body.tunnels)
    flow.watched = body.on_watched_port
    flow.roles_by = body.roles_by
    flow.midstream = body.midstream
    flow.state = body.state
    flow.end_reason = body.end_reason
    flow.missing_client, flow.missing_server = body.missing_client, body.missing_server
    flow.snapped = body.snapped
    flow.anomalies = body.anomalies
    flow.limits = body.limits


def _labelled_direction(labels: list[str]) -> str:
    for label in labels:
        if label.startswith(DIRECTION_LABEL):
            return label.removeprefix(DIRECTION_LABEL)
    return "unknown"
