"""STIX, MISP and ECS: what other platforms read of the alerts of the samples, judged by their own libraries."""

import json
from pathlib import Path

import pytest
from helpers.analysis import analyze_all

import imapids as package
from imapids.output import ecs, misp, stix

SAMPLES = Path(package.__file__).parent / "_samples"
NAMES = ["ssh-on-143", "office-day", "genuine-ipv6", "password-guessing", "open-mail-proxy", "udp-143", "dead-drop"]


def alerts_of(name):
    return analyze_all(SAMPLES / f"{name}.pcap", events=("alert",)).alerts


def written(sink_type, items, cuts=1):
    out = []
    sink = sink_type(out.append)
    for i in range(0, max(len(items), 1), max(1, len(items) // cuts)):
        sink.write(items[i : i + max(1, len(items) // cuts)])
    sink.close()
    return out


@pytest.mark.parametrize("name", NAMES)
def test_stix2_accepts_the_bundle_strictly(name):
    stix2 = pytest.importorskip("stix2")
    made = stix.bundle(alerts_of(name))
    parsed = stix2.parse(json.dumps(made), allow_custom=False, version="2.1")
    objects = {each["id"] for each in made["objects"]}
    assert len(objects) == len(parsed.objects)
    references = [value for each in made["objects"] for key, values in each.items() if key.endswith(("_ref", "_refs"))
                  for value in ([values] if isinstance(values, str) else values)]
    assert [value for value in references if value not in objects] == []


def test_an_alert_becomes_indicator_sighting_and_observed_data():
    made = stix.bundle(alerts_of("ssh-on-143"))
    by_type = {}
    for each in made["objects"]:
        by_type.setdefault(each["type"], []).append(each)
    assert set(by_type) >= {"identity", "indicator", "sighting", "observed-data", "network-traffic", "attack-pattern",
                            "note"}
    traffic = by_type["network-traffic"][0]
    assert traffic["dst_port"] == 143
    assert f"network-traffic:dst_port = {traffic['dst_port']}" in by_type["indicator"][0]["pattern"]
    sighting = by_type["sighting"][0]
    assert sighting["sighting_of_ref"] in {each["id"] for each in by_type["indicator"]}


def test_patterns_are_valid_stix_patterns():
    validator = pytest.importorskip("stix2patterns.validator")
    for name in NAMES:
        for each in stix.bundle(alerts_of(name))["objects"]:
            if each["type"] == "indicator":
                assert validator.run_validator(each["pattern"], stix_version="2.1") == []


@pytest.mark.parametrize("name", NAMES)
def test_pymisp_loads_the_event(name):
    pymisp = pytest.importorskip("pymisp")
    made = misp.event(alerts_of(name))
    event = pymisp.MISPEvent()
    event.load(json.loads(json.dumps(made)))
    assert len(event.objects) == len(made["Event"]["Object"])
    for each in event.objects:
        template = pymisp.MISPObject("network-connection", strict=True)
        for attribute in each.attributes:
            template.add_attribute(attribute.object_relation, value=attribute.value)
        assert template.template_uuid == each.template_uuid
        template.to_dict(strict=True)
    uuids = [item["uuid"] for item in [*made["Event"]["Attribute"], *made["Event"]["Object"],
                                       *(a for o in made["Event"]["Object"] for a in o["Attribute"])]]
    assert len(uuids) == len(set(uuids))


@pytest.mark.parametrize("make", [pytest.param(stix.bundle, id="stix"), pytest.param(misp.event, id="misp")])
def test_the_same_alerts_give_the_same_file(make):
    assert json.dumps(make(alerts_of("office-day"))) == json.dumps(make(alerts_of("office-day")))


@pytest.mark.parametrize("sink", [pytest.param(stix.StixBundle, id="stix"), pytest.param(misp.MispEvent, id="misp")])
def test_an_alert_of_several_lines_stands_there_once(sink):
    items = alerts_of("password-guessing")
    assert len({item.id for item in items}) < len(items)
    assert written(sink, items, cuts=1) == written(sink, items, cuts=len(items))


@pytest.mark.parametrize("make", [pytest.param(stix.bundle, id="stix"), pytest.param(misp.event, id="misp")])
def test_a_run_without_alerts_gives_a_valid_file(make):
    assert json.loads(json.dumps(make([])))


FLAT_ECS = {
    "event.kind": {"alert", "event", "metric"}, "event.outcome": {"success", "failure", "unknown"},
    "network.direction": {"inbound", "outbound", "internal", "external", "unknown"},
    "network.transport": {"tcp", "udp"}, "network.type": {"ipv4", "ipv6"},
}
"""Fields of which ECS 8.17 lists the values."""
CATEGORIES = {"network", "intrusion_detection", "authentication", "host"}


@pytest.mark.parametrize("name", NAMES)
def test_ecs_documents_hold_the_words_that_ecs_allows(name):
    items = analyze_all(SAMPLES / f"{name}.pcap").items
    for line in b"".join(written(ecs.EcsLines, items)).splitlines():
        document = json.loads(line)
        assert document["@timestamp"].endswith("Z")
        assert document["ecs"]["version"] == ecs.ECS_VERSION
        assert set(document["event"]["category"]) <= CATEGORIES
        for field, allowed in FLAT_ECS.items():
            value = document
            for part in field.split("."):
                value = value.get(part, {}) if isinstance(value, dict) else {}
            assert value == {} or value in allowed, (field, value)


def test_an_ecs_alert_says_who_what_and_why():
    (line, *_) = written(ecs.EcsLines, alerts_of("ssh-on-143"))
    document = json.loads(line.splitlines()[0])
    assert document["event"]["kind"] == "alert"
    assert document["rule"]["ruleset"] == "imapids"
    assert document["destination"]["port"] == 143
    assert document["threat"]["framework"] == "MITRE ATT&CK"
    assert document["imapids"]["alert"]["why"]["condition"]
