"""Every shipped YARA rule says what it is, fires on its own example and stays silent on its counter-example."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import dpkt
import pytest

from imapids.records.alerts import LEVELS
from imapids.signatures import Signatures

FOLDER = Path(__file__).resolve().parents[2] / "rules" / "yara"
META = re.compile(r'^\s+(\w+) = "([^"\n]*)"$', re.MULTILINE)
NEEDED = {"id", "title", "level", "family", "reference", "fires", "silent"}


class Rule(NamedTuple):
    name: str
    meta: dict[str, str]
    text: str


def read_rules() -> list[Rule]:
    found = []
    for file in sorted(FOLDER.glob("*.yar")):
        for part in re.split(r"^(?=rule )", file.read_text(), flags=re.MULTILINE)[1:]:
            name = part.split()[1]
            found.append(Rule(name, dict(META.findall(part.partition("condition:")[0])), part))
    return found


RULES = read_rules()
EACH_RULE = pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.name) for rule in RULES])


@pytest.fixture(scope="module")
def shipped() -> Signatures:
    one = Signatures(use_cache=False)
    one._must_check = True  # shipped rules are trusted at run time: it is here that they are checked
    assert one.faults == []
    return one


def hits(shipped: Signatures, data: str) -> set[str]:
    """Names of the rules that fire on the hex bytes, whichever side sent them."""
    content = bytes.fromhex(data.replace(" ", ""))
    return {hit.rule for side in ("client", "server") for hit in shipped.scan(side, content, verdict="not-imap")}


@EACH_RULE
def test_a_rule_says_what_it_is(rule: Rule) -> None:
    assert rule.meta.keys() >= NEEDED
    assert rule.meta["level"] in LEVELS
    assert re.fullmatch(r"Y143\d{3}", rule.meta["id"])
    assert rule.meta["reference"].startswith("https://")


@EACH_RULE
def test_a_rule_fires_on_its_example_alone(shipped: Signatures, rule: Rule) -> None:
    assert hits(shipped, rule.meta["fires"]) == {rule.name}


@EACH_RULE
def test_a_rule_is_silent_on_its_counter_example(shipped: Signatures, rule: Rule) -> None:
    assert hits(shipped, rule.meta["silent"]) == set()


@EACH_RULE
def test_a_rule_never_fires_on_genuine_imap(shipped: Signatures, rule: Rule) -> None:
    content = bytes.fromhex(rule.meta["fires"].replace(" ", ""))
    assert not any(shipped.scan(side, content, verdict="genuine") for side in ("client", "server"))


def test_ids_are_unique() -> None:
    assert len(RULES) >= 35
    assert len({rule.meta["id"] for rule in RULES}) == len(RULES)


def first_bytes(capture: Path) -> dict[str, bytes]:
    """What each side of a sample says, all flows together: samples have no loss and no disorder."""
    said = {"client": b"", "server": b""}
    with capture.open("rb") as stream:
        for _, frame in dpkt.pcap.Reader(stream):
            segment = dpkt.ethernet.Ethernet(frame).data.data
            said["server" if segment.sport == 143 else "client"] += segment.data
    return said


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.name) for rule in RULES if "sample" in rule.meta])
def test_a_rule_fires_on_the_sample_capture_that_it_names(shipped: Signatures, rule: Rule) -> None:
    said = first_bytes(FOLDER.parents[1] / "sample_pcaps" / f"{rule.meta['sample']}.pcap")
    found = [hit.rule for side, data in said.items() for hit in shipped.scan(side, data, verdict="not-imap")]
    assert rule.name in found


@pytest.mark.parametrize("talk", [
    pytest.param(b"* OK [CAPABILITY IMAP4rev1 STARTTLS] Dovecot ready.\r\n", id="an IMAP greeting"),
    pytest.param(b"220 mx.example ESMTP Postfix\r\n250-SIZE 10240000\r\n250 8BITMIME\r\n", id="SMTP"),
    pytest.param(b"+OK POP3 ready\r\n-ERR [AUTH] no\r\n", id="POP3"),
    pytest.param(b"SSH-2.0-OpenSSH_9.2p1\r\n\x00\x00\x04\x1c\x0a\x14" + bytes(range(256)), id="SSH"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), id="TLS"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: a.example\r\nUser-Agent: curl/8\r\n\r\n", id="HTTP"),
    pytest.param(b"RFB 003.008\n", id="RFB"),
    pytest.param(b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00", id="RDP"),
    pytest.param(bytes(8192), id="zeros"),
    pytest.param(b"\xff" * 8192, id="ones"),
    pytest.param(b"A" * 8192, id="one letter"),
])
def test_ordinary_protocols_raise_nothing(shipped: Signatures, talk: bytes) -> None:
    for side in ("client", "server"):
        assert shipped.scan(side, talk, verdict="not-imap") == []
