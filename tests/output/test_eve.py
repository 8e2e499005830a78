"""EVE lines: what consumers need is there, the schema holds, nothing unprintable, and they can be read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from helpers.told import TIME, a_flow, a_session
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.output.eve import encode, encode_lines
from imapids.output.eve_alert import alert_json, alert_object
from imapids.output.eve_reader import decode
from imapids.output.jsonl import JsonLines
from imapids.output.line_limit import LINE_BYTES, shorten
from imapids.protocols.timestamps import eve_time
from imapids.records.alerts import Alert, Reason, RuleInfo
from imapids.records.candidates import Evidence
from imapids.records.events import (
    EVENT_TYPES,
    Anomaly,
    Beacon,
    Capture,
    Command,
    Event,
    Exposure,
    FlowBody,
    Guessing,
    Indicator,
    InputAccount,
    Ja3,
    KernelCounts,
    Login,
    Mailbox,
    Message,
    OutputCounts,
    Scan,
    Service,
    Session,
    Signature,
    Stats,
    StatsInterval,
    Tls,
)
from imapids.records.streams import Flow
from imapids.records.verdicts import Revision


def an_alert(**changes: Any) -> Alert:
    rule = RuleInfo(
        id="6f2f6cb4-1b0c-4d3b-9c7e-000000000001", sid=1143001, title="Not IMAP on port 143", level="high", rev=2,
        name="not-imap-143", family="verdict", description="d", advice="Block it.", techniques=["T1571"],
        tactics=["command-and-control"], references=["https://example.org/"], falsepositives=["tests"],
        created="2026-01-31",
    )
    values: dict[str, Any] = {
        "id": "0123456789abcdef", "state": "new", "rule": rule, "subject": "10.1.2.3 > 192.0.2.1:143",
        "case": "0123456789ab", "time_ns": TIME, "first_ns": TIME, "last_ns": TIME, "count": 1, "flow": a_flow(),
        "packet": 4, "event": "session", "direction": "outbound", "verdict": "not-imap", "protocol": "ssh",
        "confidence": "high", "labels": ["imapids-not-imap"], "context": {"server": "SSH-2.0"},
        "why": Reason("all of", because=[Reason("session.verdict = not-imap", value="not-imap", packet=4)]),
    }
    return Alert(**values | changes)


BODIES = [
    a_session(), a_session(protocol=None, history=[Revision("genuine", "low", "imap", 9, "late-binary")]),
    Command(tag="a1", name="UID FETCH", result="ok", arguments="1:* (FLAGS)", traits=["nul-byte"]),
    Login(mechanism="plain", outcome="failure", user="alice", secret_hash="0123456789abcdef"),
    Message(action="append", mailbox="Drafts", count=1, bytes=1000, opaque_body=True),
    Tls(sni="mail.example.org", version="TLS 1.2", ja3=Ja3("0" * 32, "771,1,,,"), ja4="t12d0100_0_0",
        subject="CN=mail.example.org", issuerdn="CN=ca", serial="0A", fingerprint="aa:bb",
        notbefore="2026-01-01T00:00:00", notafter="2027-01-01T00:00:00", client_alpns=["imap"]),
    Anomaly(type="applayer", event="no-tls-after-starttls", layer="proto_detect", app_proto="imap"),
    FlowBody(pkts_toserver=1, pkts_toclient=1, bytes_toserver=2, bytes_toclient=3, start="s", end="e", age=1,
             state="closed", reason="timeout"),
    Capture(packets=3, processed=2, skipped={"arp": 1}, flows=1, sessions=1,
            inputs=[InputAccount(name="day.pcap", status="ok", packets=3)]),
    Signature(rule="mz_stage", side="server", strings=["$mz@4"], meta={"level": "high"}),
    Indicator(kind="address", value="192.0.2.1", field="dest_ip", source="feed.csv"),
    Service(protocol="smtp", banner="220 mail.example.org ESMTP Postfix", software="Postfix", starttls_offered=True),
    Scan(by="source", hosts=10, methods={"syn": 10}, mail_ports=[143], tools={"zmap": 10}, likelihood=13.86),
    Guessing(by="source", told="step", window_s=3600, span_s=61.5, attempts=10, failures=10, users=1, user="anna",
             secrets=9, secrets_of_one_user=9, mechanisms=["login"], tools=["medusa"]),
    Beacon(over="connections", told="step", units=10, scored=10, score=0.91, rhythm=0.91, regularity=1.0,
           interval_s=60.0, verdict="not-imap", protocol="http", direction="outbound"),
    Mailbox(by="client", told="end", window_s=3600, span_s=12.0, user="drop", mailbox="Drafts", appends=3, cycles=3,
            repeated_search=9, repeated_criteria="SUBJECT rpt"),
    Exposure(state="open", asked_by=["lan", "wan"], networks=["192.0.2.0/24"], unexpected=["service"]),
    Stats(interface="eth0", link="up", uptime=60, capture=KernelCounts(kernel_packets=1000, kernel_drops=3),
          interval=StatsInterval(seconds=60.0, packets=900, bytes=90_000, drops=3), packets=997, bytes=100_000, flows=7,
          output=OutputCounts(lines=5)),
]


def event_of(body: Any, flow: Flow | None) -> Event:
    return Event(EVENT_TYPES[type(body)], TIME, body, None if isinstance(body, Capture) else flow, 4, TIME)


def test_a_session_line_holds_what_consumers_need_in_a_fixed_order() -> None:
    line = encode(event_of(a_session(), a_flow(vlan=(12, 7), interface="span0")))
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    record = json.loads(line)
    assert list(record) == [
        "timestamp", "event_type", "flow_id", "community_id", "src_ip", "src_port", "dest_ip", "dest_port", "proto",
        "pcap_filename", "in_iface", "vlan", "app_proto", "pcap_cnt", "flow", "session",
    ]
    assert record["timestamp"] == "2026-01-02T03:00:45.123456+0000"
    assert (record["src_ip"], record["src_port"]) == ("10.1.2.3", 40000)
    assert (record["dest_ip"], record["dest_port"]) == ("192.0.2.1", 143)
    assert record["vlan"] == [12, 7]
    assert record["app_proto"] == "ssh"
    assert record["flow"] == {"pkts_toserver": 9, "pkts_toclient": 8, "bytes_toserver": 120, "bytes_toclient": 940,
                              "start": "2026-01-02T03:00:44.123456+0000"}
    assert record["session"]["shape"] is None
    assert record["session"]["evidence"][0]["text"] == "SSH-2.0-OpenSSH_9.2"


@pytest.mark.parametrize(("body", "protocol"), [
    pytest.param(a_session(protocol=None), "failed", id="an unknown protocol is what EVE calls failed"),
    pytest.param(a_session(protocol="imap+starttls"), "imap+starttls", id="an upgraded session says so"),
    pytest.param(Command(tag="a", name="NOOP", result="ok"), "imap", id="commands are IMAP's"),
    pytest.param(Tls(), "tls", id="a handshake is TLS"),
])
def test_app_proto(body: Any, protocol: str) -> None:
    assert json.loads(encode(event_of(body, a_flow())))["app_proto"] == protocol


def test_an_alert_line_says_what_siems_map_and_keeps_ours_in_the_context() -> None:
    record = json.loads(encode(an_alert()))
    alert = record["alert"]
    assert record["event_type"] == "alert"
    assert record["app_proto"] == "ssh"
    assert record["traffic"] == {"label": ["imapids-not-imap"]}
    expected = {"action": "allowed", "gid": 1, "signature_id": 1143001, "rev": 2, "signature": "Not IMAP on port 143",
                "category": "Verdict", "severity": 1}
    assert {key: alert[key] for key in expected} == expected
    assert alert["metadata"] == {
        "signature_severity": ["Major"], "confidence": ["High"], "mitre_tactic_id": ["TA0011"],
        "mitre_tactic_name": ["Command_And_Control"], "mitre_technique_id": ["T1571"], "created_at": ["2026_01_31"],
    }
    ours = alert["context"]["imapids"]
    assert ours["why"]["because"][0]["condition"] == "session.verdict = not-imap"
    assert (ours["state"], ours["count"], ours["advice"]) == ("new", 1, "Block it.")


def test_an_alert_about_unknown_bytes_keeps_their_shape_apart_from_the_protocol() -> None:
    alert = an_alert(protocol="", shape="fake-tls")
    record = json.loads(encode(alert))
    assert record["app_proto"] == "failed"
    assert record["alert"]["context"]["imapids"]["shape"] == "fake-tls"
    assert "protocol" not in record["alert"]["context"]["imapids"]
    back = decode(encode(alert))
    assert isinstance(back, Alert)
    assert (back.protocol, back.shape) == ("", "fake-tls")


@pytest.fixture
def validator(shared: Path) -> Any:
    schema = Path(shared) / "schema" / "eve.schema.json"
    if not schema.exists():
        pytest.skip("the shared folder holds no EVE schema")
    return jsonschema.Draft7Validator(json.loads(schema.read_text()))


@pytest.mark.parametrize("item", [
    pytest.param(an_alert(), id="alert"),
    pytest.param(an_alert(flow=None, labels=[], rule=RuleInfo(id="x", sid=1, title="t", level="low")), id="bare alert"),
    pytest.param(an_alert(why=Reason("any of", because=[Reason("x" * 900) for _ in range(90)])), id="cut alert"),
    pytest.param(event_of(Tls(subject="x" * 30_000), a_flow(vlan=(1,))), id="cut tls"),
    *(pytest.param(event_of(body, a_flow()), id=EVENT_TYPES[type(body)]) for body in BODIES
      if isinstance(body, Tls | Anomaly | FlowBody)),
])
def test_lines_of_suricatas_types_validate_against_its_schema(item: Any, validator: Any) -> None:
    assert [error.message for error in validator.iter_errors(json.loads(encode(item)))] == []


@pytest.mark.parametrize("body", [
    pytest.param(body, id=f"{EVENT_TYPES[type(body)]} {n}") for n, body in enumerate(BODIES)
])
def test_every_event_comes_back_as_it_was(body: Any) -> None:
    event = event_of(body, a_flow())
    back = decode(encode(event))
    assert isinstance(back, Event)
    assert (back.kind, back.packet, back.body) == (event.kind, 4, body)
    assert back.time_ns == TIME // 1000 * 1000
    if event.flow is not None and back.flow is not None:
        for name in ("protocol", "client", "client_port", "server", "server_port", "flow_id", "community_id", "source"):
            assert getattr(back.flow, name) == getattr(event.flow, name)
        if isinstance(body, Tls | Anomaly | FlowBody | Session):
            assert back.flow.direction == "outbound"
    assert encode(back) == encode(event)


def test_an_alert_comes_back_as_it_was() -> None:
    alert = an_alert()
    back = decode(encode(alert))
    assert isinstance(back, Alert)
    assert back.rule == alert.rule
    assert back.why == alert.why
    assert (back.context, back.labels, back.flow.client) == (alert.context, alert.labels, "10.1.2.3")  # type: ignore[union-attr]
    assert encode(back) == encode(alert)


@pytest.mark.parametrize("line", [
    pytest.param(b"", id="nothing"),
    pytest.param(b"\xff\xfe", id="no text"),
    pytest.param(b"[1]", id="no object"),
    pytest.param(b'{"event_type":"session","timestamp":"2026-01-02T03:00:45.123456+0000"}', id="no body"),
    pytest.param(b'{"event_type":"stats","timestamp":"2026-01-02T03:00:45.123456+0000","stats":{}}', id="foreign type"),
    pytest.param(b'{"event_type":"tls","timestamp":"yesterday","tls":{}}', id="no time"),
    pytest.param(b'{"event_type":"tls","timestamp":"9999-12-31T23:59:59.9-2359","tls":{}}', id="a time beyond time"),
    pytest.param(b'{"event_type":"alert","timestamp":"2026-01-02T03:00:45.123456+0000","alert":{"signature":"x"}}',
                 id="another engine's alert"),
    pytest.param(b'{"event_type":"session","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="deep nesting"),
])
def test_lines_that_are_not_ours_are_left_alone(line: bytes) -> None:
    assert decode(line) is None


@given(st.binary(max_size=80), st.integers(0, 600))
def test_no_line_raises(garbage: bytes, position: int) -> None:
    line = encode(an_alert())
    decode(line[:position] + garbage + line[position + len(garbage):])
    decode(garbage)


hostile = st.text(st.characters(exclude_categories=()), max_size=40)


@settings(max_examples=60)
@given(hostile, hostile, hostile)
def test_whatever_rules_and_names_hold_lines_stay_printable_ascii(title: str, source: str, advice: str) -> None:
    rule = RuleInfo(id="x", sid=1, title=title, level="low", advice=advice)
    flow = a_flow(source=source, interface=source)
    lines = [encode(an_alert(rule=rule, flow=flow)), encode(event_of(a_session(greeting=title), flow))]
    for line in lines:
        assert line.isascii()
        assert line[:-1].decode().isprintable()
        record = json.loads(line)
        assert record["pcap_filename" if source else "proto"].isprintable()
    text = json.loads(lines[0])["alert"]["signature"]
    assert text == title or any("\ud800" <= character <= "\udfff" for character in title + source + advice)


@pytest.mark.parametrize("item", [
    pytest.param(event_of(a_session(evidence=[Evidence("c", "server", n, n, "\\x00" * 200) for n in range(32)]),
                          a_flow()), id="much evidence"),
    pytest.param(event_of(a_session(greeting="g" * 100_000), a_flow(source="/" * 4096)), id="one long text"),
    pytest.param(event_of(Capture(packets=0, processed=0, skipped={}, flows=0, sessions=0, inputs=[
        InputAccount(name=f"{n}.pcap", status="cut" if n == 1999 else "ok") for n in range(2000)]), None),
        id="many inputs"),
    pytest.param(an_alert(why=Reason("all of", because=[
        Reason("any of", because=[Reason(f"c{n}", value="v" * 300) for n in range(60)])])), id="a broad why"),
])
def test_long_lines_are_cut_from_the_end_and_say_so(item: Any) -> None:
    line = encode(item)
    assert len(line) <= LINE_BYTES
    record = json.loads(line)
    ours = record["alert"]["context"]["imapids"] if isinstance(item, Alert) else record[item.kind]
    assert ours["cut"] is True
    assert decode(line) is not None
    if isinstance(item, Alert):
        assert ours["why"]["because"][0]["because"][0]["condition"] == "c0"
    elif item.kind == "capture":
        assert ours["inputs"][0]["name"] == "1999.pcap"
    elif ours["evidence"]:
        assert ours["evidence"][0]["packet"] in (0, 4)


def test_shortening_never_drops_a_key_and_gives_up_in_the_end() -> None:
    value = {"a": ["x" * 500], "b": {"c": "y" * 5000}, "d": 1}
    assert shorten(value, 200)
    assert set(value) == {"a", "b", "d"}
    assert not shorten({str(n): n for n in range(100)}, 50)


def test_kinds_that_nobody_asked_for_are_not_written() -> None:
    written: list[bytes] = []
    sink = JsonLines(written.append, frozenset({"alert", "session"}))
    items = [event_of(body, a_flow()) for body in BODIES] + [an_alert()]
    sink.write(items)
    sink.write([items[2]])
    sink.close()
    assert len(written) == 1
    assert sink.lines == 3
    kinds = [json.loads(line)["event_type"] for line in written[0].splitlines()]
    assert kinds == ["session", "session", "alert"]
    everything: list[bytes] = []
    JsonLines(everything.append, frozenset({"all"})).write(items)
    assert b"".join(everything) == encode_lines(items)
    assert everything[0].count(b"\n") == len(items)


def test_the_head_of_a_flow_is_encoded_once() -> None:
    flow = a_flow()
    encode(event_of(a_session(), flow))
    assert json.loads(b"{" + flow.eve_head[1:] + b"}")["src_ip"] == "10.1.2.3"
    flow.eve_head = b',"src_ip":"cached"'
    assert json.loads(encode(event_of(Command(tag="a", name="NOOP", result="ok"), flow)))["src_ip"] == "cached"


@pytest.mark.parametrize("changes", [
    pytest.param({}, id="a rule with everything"),
    pytest.param({"rule": RuleInfo(id="x", sid=1, title="t", level="low")}, id="a rule with nothing"),
    pytest.param({"confidence": "", "context": {}, "direction": "unknown", "verdict": "", "protocol": ""},
                 id="no facts"),
    pytest.param({"state": "final", "count": 12, "id": '"quoted"', "shape": "fake-tls"}, id="a last line"),
])
def test_alerts_written_from_parts_are_the_whole_object(changes: dict[str, Any]) -> None:
    alert = an_alert(**changes)
    whole = msgspec.json.encode(alert_object(alert))
    assert alert_json(alert) == whole
    assert alert_json(alert) == whole  # the parts are remembered now
    other = msgspec.structs.replace(alert, rule=msgspec.structs.replace(alert.rule, title="another"))
    assert b'"another"' in alert_json(other)


@given(st.lists(st.tuples(st.sampled_from(range(len(BODIES))), st.integers(-10**19, 10**19), st.booleans(),
                          st.integers(0, 2))))
def test_lines_written_together_are_the_lines_written_alone(
        choices: list[tuple[int, int, bool, int]]) -> None:
    items = [Event(EVENT_TYPES[type(BODIES[place])], time_ns, BODIES[place], a_flow() if on else None, packet)
             for place, time_ns, on, packet in choices]
    assert encode_lines(items) == b"".join(map(encode, items))
    for item, line in zip(items, encode_lines(items).splitlines(), strict=True):
        assert json.loads(line)["timestamp"] == eve_time(item.time_ns)


def test_every_event_type_has_its_own_object() -> None:
    assert {EVENT_TYPES[type(body)] for body in BODIES} == set(EVENT_TYPES.values())
    assert msgspec.structs.fields(Session)[0].name == "verdict"
