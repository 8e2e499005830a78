"""`imapids detect`: saved events in, the same alerts out."""

import json
import struct
from pathlib import Path

import pytest

import imapids as package
from imapids.output.eve import encode
from imapids.records.events import Event, Login
from imapids.records.streams import Flow

SAMPLES = Path(package.__file__).parent / "_samples"
FLOW = Flow(protocol="TCP", client="198.51.100.9", client_port=50_000, server="10.20.0.25", server_port=143, flow_id=7)
RULE = """
title: A failed login
id: 6a5c2b1e-5f0c-4b2a-8b7e-0d6f2c9f5a11
status: test
description: Somebody could not sign in.
author: imapids
date: 2026-03-03
logsource: {product: imapids, category: login}
detection:
  failed: {login.outcome: failure}
  condition: failed
level: medium
imapids:
  sid: 1143990
  subject: source
  advice: Look at the source.
  samples: {fires: password-guessing, silent: genuine-session}
"""


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "events.jsonl"
    events = [
        Event(
            "login",
            10**9 * n,
            Login(mechanism="login", outcome="failure" if n % 2 else "success", user="maria"),
            FLOW,
            n,
            known_ns=10**9 * n,
        )
        for n in range(1, 6)
    ]
    path.write_bytes(b"".join(map(encode, events)))
    (tmp_path / "rule.yml").write_text(RULE)
    return path


def test_rules_fire_on_saved_events(imapids, saved):
    outcome = imapids(
        "detect", saved, "--no-default-rules", "--rules", saved.parent / "rule.yml", "--fail-on", "medium"
    )
    alerts = [json.loads(line) for line in outcome.out.splitlines()]
    assert outcome.code == 1, outcome.err
    assert {alert["alert"]["signature"] for alert in alerts} == {"A failed login"}
    assert alerts[-1]["alert"]["context"]["imapids"]["count"] == 3


def test_lines_that_are_no_events_are_counted_and_give_exit_code_4(imapids, saved):
    saved.write_bytes(saved.read_bytes() + b'{"event_type":"dns"}\nnonsense\n\xff\xfe\n' + b"x" * (3 << 20) + b"\n")
    outcome = imapids("detect", saved, "--no-default-rules", "--rules", saved.parent / "rule.yml")
    assert outcome.code == 4
    assert "5 events read; 4 lines left out" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(["/nowhere/events.jsonl"], 3, id="no such file"),
        pytest.param([], 2, id="no file named"),
        pytest.param(["EVENTS", "--rules", "/nowhere/rules"], 5, id="no such rules"),
    ],
)
def test_wrong_inputs(imapids, saved, arguments, code):
    assert imapids("detect", *(str(saved) if word == "EVENTS" else word for word in arguments)).code == code


def test_events_can_be_passed_on(imapids, saved):
    outcome = imapids(
        "detect", saved, "--no-default-rules", "--rules", saved.parent / "rule.yml", "--events", "alert,login"
    )
    kinds = [json.loads(line)["event_type"] for line in outcome.out.splitlines()]
    assert kinds.count("login") == 5
    assert "alert" in kinds


def alerts(path):
    lines = [json.loads(line)["alert"] for line in path.read_text().splitlines() if '"event_type":"alert"' in line]
    ours = [line["context"]["imapids"] for line in lines]
    return [(alert["id"], alert["state"], alert["count"], alert["rule"]) for alert in ours]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, id=name)
        for name in ("office-day", "password-spraying", "dead-drop", "scan", "http-beacon", "udp-143")
    ],
)
def test_saved_events_give_the_alerts_of_the_run_that_saved_them(imapids, tmp_path, name):
    saved, again = tmp_path / "saved.jsonl", tmp_path / "again.jsonl"
    assert imapids("analyze", SAMPLES / f"{name}.pcap", "--events", "all", "-o", saved).code == 0
    assert imapids("detect", saved, "-o", again).code == 0
    assert alerts(again) == alerts(saved) != []


def in_nanoseconds(capture):
    """The same capture by a clock of nanoseconds, none of whose times is a whole microsecond."""
    parts, at = [struct.pack("<I", 0xA1B23C4D), capture[4:24]], 24
    while at < len(capture):
        second, micro, held, length = struct.unpack_from("<IIII", capture, at)
        parts.append(struct.pack("<IIII", second, micro * 1000 + 1 + at % 999, held, length))
        parts.append(capture[at + 16 : at + 16 + held])
        at += 16 + held
    return b"".join(parts)


@pytest.mark.parametrize("name", ["scan", "password-guessing", "http-beacon", "fake-tls"])
def test_alerts_of_a_capture_in_nanoseconds_keep_their_ids_although_lines_hold_microseconds(imapids, tmp_path, name):
    capture, saved, again = tmp_path / "fine.pcap", tmp_path / "saved.jsonl", tmp_path / "again.jsonl"
    capture.write_bytes(in_nanoseconds((SAMPLES / f"{name}.pcap").read_bytes()))
    assert imapids("analyze", capture, "--events", "all", "-o", saved).code == 0
    assert imapids("detect", saved, "-o", again).code == 0
    assert alerts(again) == alerts(saved) != []
