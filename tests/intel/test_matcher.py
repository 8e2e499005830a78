"""Indicators against events and against columns of addresses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.intel import Matcher, load_indicators
from imapids.protocols.addresses import parse_address
from imapids.records.events import Command, Event, EventBody, FlowBody, Ja3, Login, Session, Tls
from imapids.records.streams import Flow

NOW = 1_780_000_000 * 10**9
FLOW = Flow(protocol="TCP", client="10.0.0.5", client_port=40_000, server="192.0.2.1", server_port=143,
            direction="outbound")


def matcher(tmp_path: Path, text: str, *warnings: dict[str, Any]) -> Matcher:
    (tmp_path / "feed.txt").write_text(text)
    for number, content in enumerate(warnings):
        (tmp_path / f"warning{number}.json").write_text(json.dumps(content))
    found = load_indicators([tmp_path])
    assert found.faults == []
    return Matcher(found)


def session(**fields: Any) -> Session:
    return Session(**{"verdict": "genuine", "confidence": "high", "protocol": "imap", "shape": None, "reason": None,
                      "evidence": [], "sides_seen": "both", "midstream": False, "limits": [], "packets": 3,
                      "bytes_client": 1, "bytes_server": 1, "direction": "outbound", "state": "closed"} | fields)


def flow_body() -> FlowBody:
    return FlowBody(pkts_toserver=1, pkts_toclient=1, bytes_toserver=0, bytes_toclient=0, start="", end="", age=0,
                    state="", reason="")


@pytest.mark.parametrize(("indicator", "body", "kind", "field"), [
    pytest.param("192.0.2.1", session(), "address", "dest_ip", id="the server's address"),
    pytest.param("10.0.0.5", session(), "address", "src_ip", id="the client's address"),
    pytest.param("192.0.2.0/24", session(), "network", "dest_ip", id="the server's network"),
    pytest.param("192.0.2.1:143", session(), "endpoint", "dest_ip", id="the server's endpoint"),
    pytest.param("bad.example", session(greeting="* OK mx1.bad.example ready"), "domain", "session.greeting",
                 id="a name in the greeting"),
    pytest.param("bad.example", session(client_software='("name" "x" "support-url" "http://a.bad.example/")'), "domain",
                 "session.client_software", id="a name in the client's ID"),
    pytest.param("bad.example", Tls(sni="Mail.BAD.example"), "domain", "tls.sni", id="the server name of a handshake"),
    pytest.param("bad.example", Tls(subject="O=Acme, CN=*.bad.example"), "domain", "tls.subject",
                 id="a certificate's name"),
    pytest.param("ja3:" + "0a" * 16, Tls(ja3=Ja3("0a" * 16, "771,,,,")), "ja3", "tls.ja3.hash", id="JA3"),
    pytest.param("t13d1812ip_85036bcba153_d41ae481755e", Tls(ja4="t13d1812ip_85036bcba153_d41ae481755e"), "ja4",
                 "tls.ja4", id="JA4"),
    pytest.param("sha1:" + "ab" * 20, Tls(fingerprint=":".join(["AB"] * 20)), "certificate", "tls.fingerprint",
                 id="a certificate's hash with colons"),
    pytest.param("user:mallory", Login(mechanism="plain", outcome="success", user="Mallory"), "user", "login.user",
                 id="a user name in any case"),
])
def test_a_hit_names_kind_and_field(tmp_path: Path, indicator: str, body: EventBody, kind: str, field: str) -> None:
    found = matcher(tmp_path, f"{indicator} # from a friend\n").match(Event("x", NOW, body, FLOW))
    assert [(hit.kind, hit.field, hit.name, hit.source, hit.direction) for hit in found] == [
        (kind, field, "from a friend", "feed.txt", "outbound")]


@pytest.mark.parametrize(("indicator", "body"), [
    pytest.param("192.0.2.1:993", session(), id="another port"),
    pytest.param("xbad.example", session(greeting="* OK bad.example"), id="a longer name"),
    pytest.param("bad.example", Tls(sni="notbad.example"), id="the end of a label is no suffix"),
    pytest.param("bad.example", Tls(sni="bad.example.org"), id="the front of a name is no suffix"),
    pytest.param("192.0.2.1", Command(tag="a", name="NOOP", result="ok"),
                 id="addresses are told with the session only"),
    pytest.param("192.0.2.1", flow_body(), id="a watched flow has a session event"),
    pytest.param("192.0.2.1", Tls(sni=""), id="an empty handshake"),
])
def test_no_hit(tmp_path: Path, indicator: str, body: EventBody) -> None:
    assert matcher(tmp_path, indicator).match(Event("x", NOW, body, FLOW)) == []


def test_flows_on_other_ports_are_matched_by_address(tmp_path: Path) -> None:
    other = Flow(protocol="TCP", client="10.0.0.5", client_port=1, server="192.0.2.1", server_port=8080, watched=False)
    assert len(matcher(tmp_path, "192.0.2.1").match(Event("flow", NOW, flow_body(), other))) == 1


@pytest.mark.parametrize(("time_ns", "hits"), [
    pytest.param(1_767_225_600 * 10**9 - 1, 0, id="a nanosecond before it holds"),
    pytest.param(1_767_225_600 * 10**9, 1, id="from the first moment"),
    pytest.param(1_769_904_000 * 10**9 - 1, 1, id="up to the last nanosecond"),
    pytest.param(1_769_904_000 * 10**9, 0, id="no longer at its end"),
    pytest.param(0, 1, id="a capture without times"),
])
def test_validity_is_judged_at_packet_time(tmp_path: Path, time_ns: int, hits: int) -> None:
    found = matcher(tmp_path, "ip,valid_from,valid_until\n192.0.2.1,2026-01-01,2026-02-01\n").match(
        Event("session", time_ns, session(), FLOW))
    assert len(found) == hits
    assert all(hit.valid_until == "2026-02-01T00:00:00.000000+0000" for hit in found)


@pytest.mark.parametrize(("content", "body"), [
    pytest.param({"type": "cidr", "list": ["192.0.2.0/28"]}, session(), id="a benign network"),
    pytest.param({"type": "string", "list": ["192.0.2.1"]}, session(), id="a benign value"),
    pytest.param({"type": "hostname", "list": [".bad.example"]}, Tls(sni="a.bad.example"), id="a benign domain"),
    pytest.param({"type": "substring", "list": ["bad.ex"]}, Tls(sni="a.bad.example"), id="a benign part"),
])
def test_warning_lists_suppress_and_count(tmp_path: Path, content: dict[str, Any], body: EventBody) -> None:
    one = matcher(tmp_path, "192.0.2.1\na.bad.example\n", {"name": "well known", **content})
    assert one.match(Event("x", NOW, body, FLOW)) == []
    assert one.suppressed == {"well known": 1}


def test_several_sources_of_one_value(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("192.0.2.1 # one\n")
    (tmp_path / "b.txt").write_text("192.0.2.1 # two\n")
    found = Matcher(load_indicators([tmp_path])).match(Event("session", NOW, session(), FLOW))
    assert [(hit.source, hit.name) for hit in found] == [("a.txt", "one"), ("b.txt", "two")]


def test_hits_of_one_event_are_bounded(tmp_path: Path) -> None:
    text = "\n".join(f"192.0.2.0/{length}" for length in range(8, 32)) + "\n192.0.2.1\n"
    assert len(matcher(tmp_path, text).match(Event("session", NOW, session(), FLOW))) == 16


def test_nothing_loaded_matches_nothing() -> None:
    empty = Matcher(load_indicators([]))
    assert empty.match(Event("session", NOW, session(), FLOW)) == []
    assert not empty.match_addresses(np.zeros(3, np.uint64), np.zeros(3, np.uint64)).any()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.ip_addresses().map(str), st.ip_addresses(network="192.0.2.0/24").map(str)), min_size=1,
                max_size=30),
       st.lists(st.sampled_from(["192.0.2.0/26", "192.0.2.128/31", "2001:db8::/32", "fc00::/19", "10.0.0.0/9",
                                 "192.0.2.77", "2001:db8::1", "192.0.2.9:143", "[2001:db8:1::9]:143"]), max_size=6))
def test_columns_and_single_look_ups_agree(tmp_path_factory: pytest.TempPathFactory, addresses: list[str],
                                           indicators: list[str]) -> None:
    addresses = [address for address in [*addresses, "2001:db8::1", "192.0.2.77", "192.0.2.9"] if "%" not in address]
    path = tmp_path_factory.getbasetemp() / "columns.txt"
    path.write_text("\n".join(indicators))
    one = Matcher(load_indicators([path]))
    pairs = [parse_address(address) for address in addresses]
    hi, lo = (np.array(half, np.uint64) for half in zip(*pairs, strict=True))
    mask = one.match_addresses(hi, lo)
    for address, held in zip(addresses, mask, strict=True):
        flow = Flow(protocol="TCP", client="", client_port=1, server=address, server_port=143)
        assert bool(one.match(Event("session", NOW, session(), flow))) == bool(held)
