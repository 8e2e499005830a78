"""`imapids rules`: what each subcommand prints, and when it fails."""

import json
import re
from pathlib import Path

import pytest

import imapids as package

SAMPLES = Path(package.__file__).parent / "_samples"
RULE = """
title: A failed login
id: 6a5c2b1e-5f0c-4b2a-8b7e-0d6f2c9f5a11
status: test
description: Somebody could not sign in.
logsource: {product: imapids, category: login}
detection:
  failed: {login.outcome: failure}
  condition: failed
falsepositives: [A typing error]
tags: [attack.credential-access, attack.t1110]
level: medium
imapids:
  sid: 1143990
  subject: source
  advice: Look at the source.
  samples: {fires: %s, silent: genuine-session}
"""


@pytest.fixture
def rule(tmp_path):
    path = tmp_path / "rule.yml"
    path.write_text(RULE % "password-guessing")
    return path


def test_list_shows_every_shipped_rule_once(imapids):
    outcome = imapids("rules", "list")
    sids = re.findall(r"^ *(\d{7}) ", outcome.out, re.MULTILINE)
    assert outcome.code == 0
    assert len(sids) == len(set(sids)) > 30
    assert "1143001" in sids


def test_list_shows_own_rules_alone(imapids, rule):
    outcome = imapids("rules", "list", rule, "--no-default-rules")
    assert outcome.out.split()[:2] == ["1143990", "medium"]
    assert len(outcome.out.splitlines()) == 1


def test_the_shipped_rules_pass_their_check(imapids):
    outcome = imapids("rules", "check")
    assert outcome.code == 0, outcome.out
    assert outcome.err.startswith("imapids: 0 faults")


def test_check_tells_every_fault_with_its_line_and_the_right_word(imapids, rule):
    rule.write_text(rule.read_text().replace("login.outcome", "login.outcom"))
    outcome = imapids("rules", "check", rule)
    assert outcome.code == 5
    assert re.search(rf"^{re.escape(str(rule))}:\d+: .*login\.outcom.*Did you mean", outcome.out, re.MULTILINE)


def test_check_escapes_what_a_file_holds(imapids, rule):
    rule.write_text(rule.read_text().replace("login.outcome", '"\\e[31mevil"'))
    outcome = imapids("rules", "check", rule)
    assert outcome.code == 5
    assert "\x1b" not in outcome.out + outcome.err


@pytest.mark.parametrize(
    ("fires", "code", "says"),
    [
        pytest.param("password-guessing", 0, "2 promises tried, 0 not kept", id="a rule that keeps its promises"),
        pytest.param("starttls", 5, "fires on starttls: FAILED", id="a rule that does not fire"),
        pytest.param("nowhere.pcap", 5, "there is no sample 'nowhere.pcap'", id="a capture that does not exist"),
    ],
)
def test_rules_are_tried_on_their_samples(imapids, rule, fires, code, says):
    rule.write_text(RULE % fires)
    outcome = imapids("rules", "test", rule)
    assert outcome.code == code, outcome.err
    assert says in outcome.out + outcome.err


def test_a_rule_may_name_a_capture_beside_it(imapids, rule):
    (rule.parent / "mine.pcap").write_bytes((SAMPLES / "password-guessing.pcap").read_bytes())
    rule.write_text(RULE % "mine.pcap")
    outcome = imapids("rules", "test", rule, "-v")
    assert outcome.code == 0, outcome.out
    assert "fires on mine.pcap: ok" in outcome.out


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, id=kind) for kind in ("session", "command", "login", "correlation", "filter")]
)
def test_a_new_rule_passes_the_check(imapids, tmp_path, kind):
    target = tmp_path / "new.yml"
    assert imapids("rules", "new", kind, "-o", target).code == 0
    outcome = imapids("rules", "check", target)
    assert outcome.code == 0, outcome.out
    assert imapids("rules", "new", kind, "-o", target).code == 2
    assert imapids("rules", "new", kind).out.startswith("title: ")


def test_explain_says_a_rule_in_words(imapids):
    by_sid = imapids("rules", "explain", "1143001")
    assert by_sid.code == 0
    assert "session.verdict = not-imap" in by_sid.out
    wrong = imapids("rules", "explain", "not_imap_outbnd")
    assert wrong.code == 2
    assert "not_imap_outbound" in wrong.err


def test_convert_says_what_is_missing(imapids):
    outcome = imapids("rules", "convert", "-t", "xyz")
    assert outcome.code == 2
    assert "splunk" in outcome.err


def test_allow_silences_one_finding(imapids, tmp_path):
    capture, results, filters = SAMPLES / "ssh-on-143.pcap", tmp_path / "results.jsonl", tmp_path / "allow.yml"
    imapids("analyze", capture, "-o", results)
    alerts = [json.loads(line) for line in results.read_text().splitlines() if '"event_type":"alert"' in line]
    chosen = alerts[0]["alert"]["context"]["imapids"]["id"]
    for source in (results, capture):
        filters.unlink(missing_ok=True)
        outcome = imapids("rules", "allow", chosen, source, "--days", "366", "--reason", "The backup", "-o", filters)
        assert outcome.code == 0, outcome.err
    assert imapids("rules", "check", filters).code == 0
    left = imapids("analyze", capture, "--allow", filters).out
    assert chosen not in left
    assert len([line for line in left.splitlines() if '"event_type":"alert"' in line]) < len(alerts)
    assert imapids("rules", "allow", "0" * 16, results).code == 2
    assert imapids("rules", "allow", chosen, tmp_path / "nowhere").code == 3
