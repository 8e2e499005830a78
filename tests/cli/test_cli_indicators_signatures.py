"""Indicators and payload signatures from the command line to the alert."""

import json
from pathlib import Path

import pytest

import imapids as package

SAMPLES = Path(package.__file__).parent / "_samples"
OWN_RULE = """
rule somebody_asks_who_he_is : shell
{
    meta:
        level = "high"
        title = "whoami"
    strings:
        $asked = "whoami"
    condition:
        side == "server" and $asked
}
"""
FORMS = {
    "plain.txt": "# from a colleague\n203.0.113[.]96\n",
    "network.txt": "203.0.113.96/31\n",
    "table.csv": "first_seen,dst_ip,dst_port,malware\n2026-03-01 00:00:00,203.0.113.96,143,shell\n",
    "bundle.json": json.dumps({
        "type": "bundle", "id": "bundle--5b3f0d2c-7c3e-4c0a-9d0f-3a1b6a3c9f01", "objects": [{
            "type": "indicator", "spec_version": "2.1", "id": "indicator--5b3f0d2c-7c3e-4c0a-9d0f-3a1b6a3c9f02",
            "created": "2026-03-01T00:00:00Z", "modified": "2026-03-01T00:00:00Z", "pattern_type": "stix",
            "pattern": "[ipv4-addr:value = '203.0.113.96']", "valid_from": "2026-03-01T00:00:00Z"}]}),
}


def lines(outcome, kind):
    return [line for line in map(json.loads, outcome.out.splitlines()) if line["event_type"] == kind]


@pytest.mark.parametrize("name", sorted(FORMS))
def test_an_address_on_a_list_raises_the_alert_of_indicators(imapids, tmp_path, name):
    (tmp_path / name).write_text(FORMS[name])
    outcome = imapids("analyze", SAMPLES / "reverse-shell.pcap", "--indicators", tmp_path / name,
                      "--events", "alert,indicator", "--format", "jsonl")
    assert outcome.code == 0, outcome.err
    assert {line["indicator"]["source"] for line in lines(outcome, "indicator")} == {name}
    (alert,) = [line for line in lines(outcome, "alert")
                if line["alert"]["signature_id"] == 1143901 and line["alert"]["context"]["imapids"]["state"] == "new"]
    assert alert["dest_ip"] == "203.0.113.96"
    assert alert["alert"]["context"]["imapids"]["facts"]["source"] == name


def test_other_addresses_raise_nothing(imapids, tmp_path):
    (tmp_path / "list.txt").write_text("203.0.113.97\n")
    outcome = imapids("analyze", SAMPLES / "reverse-shell.pcap", "--indicators", tmp_path / "list.txt",
                      "--events", "indicator", "--format", "jsonl")
    assert (outcome.code, outcome.out) == (0, "")


def test_an_inbound_stranger_on_a_list_is_told_less_loudly(imapids, tmp_path):
    (tmp_path / "list.txt").write_text("198.51.100.0/24\n")
    outcome = imapids("analyze", SAMPLES / "password-guessing.pcap", "--indicators", tmp_path / "list.txt",
                      "--format", "jsonl")
    sids = {line["alert"]["signature_id"] for line in lines(outcome, "alert")}
    assert 1143902 in sids
    assert 1143901 not in sids


def test_a_wrong_list_is_told_with_exit_code_5(imapids, tmp_path):
    outcome = imapids("analyze", SAMPLES / "reverse-shell.pcap", "--indicators", tmp_path / "absent.csv")
    assert outcome.code == 5
    assert "absent.csv" in outcome.err


@pytest.mark.parametrize("named", ["rule.yar", "."])
def test_an_own_signature_raises_the_alert_of_its_level(imapids, tmp_path, named):
    (tmp_path / "rule.yar").write_text(OWN_RULE)
    outcome = imapids("analyze", SAMPLES / "reverse-shell.pcap", "--rules", tmp_path / named,
                      "--events", "alert,signature", "--format", "jsonl")
    assert outcome.code == 0, outcome.err
    assert "somebody_asks_who_he_is" in {line["signature"]["rule"] for line in lines(outcome, "signature")}
    assert 1143713 in {line["alert"]["signature_id"] for line in lines(outcome, "alert")}


def test_a_signature_of_no_level_raises_the_alert_of_medium(imapids, tmp_path):
    (tmp_path / "rule.yar").write_text(OWN_RULE.replace('level = "high"', 'author = "us"'))
    outcome = imapids("analyze", SAMPLES / "reverse-shell.pcap", "--rules", tmp_path / "rule.yar", "--format", "jsonl")
    assert 1143714 in {line["alert"]["signature_id"] for line in lines(outcome, "alert")}


@pytest.mark.parametrize("command", [["analyze", SAMPLES / "reverse-shell.pcap", "--rules"], ["rules", "check"]],
                         ids=["analyze", "rules check"])
def test_a_wrong_signature_is_told_with_its_line_and_exit_code_5(imapids, tmp_path, command):
    (tmp_path / "rule.yar").write_text(OWN_RULE.replace("$asked\n", "$nothing\n"))
    outcome = imapids(*command, tmp_path / "rule.yar")
    assert outcome.code == 5
    assert "rule.yar:10:" in outcome.out + outcome.err
