"""Indicator files of every kind, and what is told of wrong ones."""

from __future__ import annotations

import json
import pickle
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.intel import IndicatorSet, load_indicators
from imapids.intel.indicators import FOREVER

YEAR_2026_NS = 1_767_225_600 * 10**9


def load(tmp_path: Path, name: str, content: object) -> IndicatorSet:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes)
                     else (content if isinstance(content, str) else json.dumps(content)).encode())
    return load_indicators([path])


def stix(*patterns: str, **fields: object) -> dict[str, object]:
    return {"type": "bundle", "id": "bundle--1", "objects": [
        {"type": "indicator", "id": f"indicator--{number}", "pattern": pattern, "pattern_type": "stix",
         "valid_from": "2026-01-01T00:00:00Z", "name": "a trojan", **fields}
        for number, pattern in enumerate(patterns)]}


@pytest.mark.parametrize(("name", "text", "counts", "skipped"), [
    pytest.param("plain.txt", "# C2 servers\n192.0.2.1\n198.51.100.0/24 # a nest\r\n\n; old\nbad[.]example // seen\n",
                 {"address": 1, "network": 1, "domain": 1}, {}, id="a plain list with comments"),
    pytest.param("hosts", "127.0.0.1 bad.example\n0.0.0.0 worse.example\n", {"domain": 2}, {}, id="a hosts file"),
    pytest.param("pairs.txt", "192.0.2.1,143\n192.0.2.2 993 trojan\n", {"endpoint": 2}, {},
                 id="address and port in words"),
    pytest.param("c2.csv", '# Generated\n# "first_seen_utc","dst_ip","dst_port","malware"\n'
                           '"2026-01-01 00:00:00","192.0.2.1","143","Emotet"\n#\n', {"endpoint": 1}, {},
                 id="a CSV whose quoted header stands in a comment"),
    pytest.param("ssl.csv", "# Listingdate,SHA1,Listingreason\n2026-01-01 00:00:00," + "ab" * 20 + ",Dridex C&C\n",
                 {"certificate": 1}, {}, id="a list of certificates"),
    pytest.param("ja3.csv", "# ja3_md5,Firstseen,Listingreason\n" + "0a" * 16 + ",2026-01-01,Tofsee\n",
                 {"ja3": 1}, {}, id="a list of JA3"),
    pytest.param("iocs.csv", "type;value;comment\nip-dst;192.0.2.1;x\nsha256;" + "0a" * 32 + ";x\n"
                             "url;http://a.example/b;y\n",
                 {"address": 1}, {"file-hash": 1, "url-with-path": 1}, id="a table with a type for each value"),
    pytest.param("ja3.txt", "0a" * 16 + "\n", {"ja3": 1}, {}, id="bare digests in a file named for JA3"),
    pytest.param("one.csv", "ip\n192.0.2.1\n192.0.2.1\n", {"address": 1}, {"duplicate": 1}, id="a table of one column"),
    pytest.param("list.json", '["192.0.2.1", "bad.example", 7]', {"address": 1, "domain": 1}, {"not-an-indicator": 1},
                 id="a JSON list of values"),
    pytest.param("records.json", '[{"ip_address": "192.0.2.1", "port": 143, "malware": "x"}, {"a": "red", "b": 1}, 3]',
                 {"endpoint": 1}, {"no-known-column": 1, "not-a-record": 1}, id="a JSON list of records"),
    pytest.param("export.json", '{"1": [{"ioc_value": "192.0.2.1:143", "ioc_type": "ip:port"}]}', {"endpoint": 1}, {},
                 id="records grouped by id"),
    pytest.param("bom.txt", "\ufeff192.0.2.1\n", {"address": 1}, {}, id="a byte order mark"),
])
def test_lists_and_tables(tmp_path: Path, name: str, text: str, counts: dict[str, int],
                          skipped: dict[str, int]) -> None:
    found = load(tmp_path, name, text)
    assert found.faults == []
    assert found.counts == counts
    assert found.skipped == skipped


def test_what_is_known_of_a_value(tmp_path: Path) -> None:
    found = load(tmp_path, "c2.csv", "ip,malware,valid_from,valid_until\n192.0.2.1,Emo\x1btet,2026-01-01,2026-02-01\n")
    known, = found.find("address", "192.0.2.1")
    assert (known.name, known.source, known.from_ns) == ("Emo\\x1btet", "c2.csv", YEAR_2026_NS)
    assert known.until_ns == YEAR_2026_NS + 31 * 86_400 * 10**9


@pytest.mark.parametrize(("pattern", "counts"), [
    pytest.param("[ipv4-addr:value = '192.0.2.1']", {"address": 1}, id="an address"),
    pytest.param("[ ipv4-addr:value='198.51.100.0/24' ]", {"network": 1}, id="a network by equality"),
    pytest.param("[ipv6-addr:value ISSUBSET '2001:db8::/32']", {"network": 1}, id="a network by ISSUBSET"),
    pytest.param("[ipv4-addr:value IN ('192.0.2.1', '192.0.2.2')]", {"address": 2}, id="a set"),
    pytest.param("[domain-name:value = 'a.example' OR domain-name:value = 'b.example']", {"domain": 2}, id="OR inside"),
    pytest.param("[ipv4-addr:value = '192.0.2.1'] OR [url:value = 'http://a.example/']", {"address": 1, "domain": 1},
                 id="OR of observations"),
    pytest.param("[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '192.0.2.1' AND "
                 "network-traffic:dst_port = 143 AND network-traffic:protocols[*] = 'tcp']", {"endpoint": 1},
                 id="an address and a port"),
    pytest.param("[x509-certificate:hashes.'SHA-1' = '" + "ab" * 20 + "']", {"certificate": 1}, id="a certificate"),
    pytest.param("[user-account:account_login = 'bob']", {"user": 1}, id="an account"),
    pytest.param("[network-traffic:extensions.'tls-ext'.ja3_hash = '" + "0a" * 16 + "']", {"ja3": 1}, id="JA3"),
])
def test_stix_patterns_within_the_subset(tmp_path: Path, pattern: str, counts: dict[str, int]) -> None:
    found = load(tmp_path, "bundle.json", stix(pattern))
    assert (found.counts, found.skipped, found.faults) == (counts, {}, [])


@pytest.mark.parametrize(("pattern", "reason"), [
    pytest.param("[ipv4-addr:value = '192.0.2.1' AND domain-name:value = 'a.example']", "pattern-and",
                 id="AND of two things"),
    pytest.param("[ipv4-addr:value = '192.0.2.1'] AND [domain-name:value = 'a.example']", "pattern-and",
                 id="AND outside"),
    pytest.param("[ipv4-addr:value != '192.0.2.1']", "pattern-operator", id="not equal"),
    pytest.param("[ipv4-addr:value NOT = '192.0.2.1']", "pattern-not", id="NOT"),
    pytest.param("[domain-name:value LIKE 'a%']", "pattern-like", id="LIKE"),
    pytest.param("[domain-name:value MATCHES '(a+)+$']", "pattern-matches", id="MATCHES"),
    pytest.param("[ipv4-addr:value = '192.0.2.1'] WITHIN 5 SECONDS", "pattern-qualifier", id="a qualifier"),
    pytest.param("[a:b = 'x'] FOLLOWEDBY [a:b = 'y']", "pattern-followedby", id="FOLLOWEDBY"),
    pytest.param("([ipv4-addr:value = '192.0.2.1'])", "pattern-parentheses", id="parentheses"),
    pytest.param("[file:hashes.MD5 = '" + "0a" * 16 + "']", "file-hash", id="a file"),
    pytest.param("[process:name = 'x.exe']", "stix-process", id="something that is not on the wire"),
    pytest.param("[ipv4-addr:value = '192.0.2.1", "bad-pattern", id="an open text"),
    pytest.param("[" * 60_000, "bad-pattern", id="sixty thousand brackets"),
    pytest.param("[a:b IN (" + "'x'," * 15_000, "bad-pattern", id="an endless set"),
    pytest.param("x" * 70_000, "pattern-too-long", id="a long pattern"),
    pytest.param("", "bad-pattern", id="nothing"),
])
def test_stix_patterns_beyond_the_subset_are_counted(tmp_path: Path, pattern: str, reason: str) -> None:
    found = load(tmp_path, "bundle.json", stix(pattern, "[ipv4-addr:value = '192.0.2.9']"))
    assert (found.counts, found.skipped) == ({"address": 1}, {reason: 1})
    assert any(reason in note for note in found.notes)


def test_stix_objects_that_do_not_hold(tmp_path: Path) -> None:
    bundle = stix("[ipv4-addr:value = '192.0.2.1']", revoked=True)
    objects = bundle["objects"]
    assert isinstance(objects, list)
    objects += [{"type": "malware"}, 7, {"type": "indicator", "pattern_type": "yara", "pattern": "rule x {}"},
                {"type": "indicator", "pattern": "[ipv4-addr:value = '192.0.2.2']", "valid_from": "soon"}]
    found = load(tmp_path, "bundle.json", bundle)
    assert found.skipped == {"revoked": 1, "stix-malware": 1, "not-an-object": 1, "pattern-type-yara": 1, "bad-date": 1}
    assert len(found.faults) == 1
    assert "holds no indicator" in found.faults[0]


def misp_event(*attributes: tuple[str, str], **fields: object) -> dict[str, object]:
    return {"Event": {"info": "Campaign", "Attribute": [
        {"type": kind, "value": value, "to_ids": True, **fields} for kind, value in attributes]}}


def test_misp_events(tmp_path: Path) -> None:
    event = misp_event(("ip-dst", "192.0.2.1"), ("ip-dst|port", "192.0.2.2|143"), ("domain|ip", "a.example|192.0.2.3"),
                       ("hostname", "b.example"), ("ja3-fingerprint-md5", "0a" * 16),
                       ("x509-fingerprint-sha1", "ab" * 20),
                       ("email-src", "bob@a.example"), ("md5", "0a" * 16), ("filename|sha256", "x|y"), ("yara", "r"))
    inner = {"Attribute": [{"type": "ip-src", "value": "192.0.2.4", "to_ids": True},
                           {"type": "ip-src", "value": "192.0.2.5", "to_ids": False},
                           {"type": "ip-src", "value": "192.0.2.6", "to_ids": True, "deleted": True}, "nonsense"]}
    event["Event"]["Object"] = [inner, 3]  # type: ignore[index]
    found = load(tmp_path, "search.json", {"response": [event]})
    assert found.counts == {"address": 3, "endpoint": 1, "domain": 2, "ja3": 1, "certificate": 1, "user": 1}
    assert found.skipped == {"file-hash": 2, "misp-yara": 1, "not-for-detection": 1, "deleted": 1}
    assert found.find("address", "192.0.2.4")[0].name == "Campaign"


def test_a_misp_feed_is_read_by_its_manifest(tmp_path: Path) -> None:
    key = "12345678-1234-1234-1234-1234567890ab"
    (tmp_path / f"{key}.json").write_text(json.dumps(misp_event(("ip-dst", "192.0.2.1"))))
    (tmp_path / "stray.json").write_text("this is not JSON")
    (tmp_path / "manifest.json").write_text(json.dumps({key: {}, "../../secret": {}, key[:-1] + "c": {}}))
    found = load_indicators([tmp_path])
    assert (found.counts, found.skipped, found.faults) == ({"address": 1}, {"feed-event-missing": 1}, [])


@pytest.mark.parametrize(("content", "line", "what"), [
    pytest.param(b'{"objects": [\n {"a": }\n]}', 2, "not JSON", id="broken JSON is told with its line"),
    pytest.param(b"[" * 200_000, 1, "", id="deep nesting"),
    pytest.param(b'{"hello": "world"}', 1, "no known format", id="JSON of no known kind"),
    pytest.param(b"\xff\xfe{", 1, "", id="not UTF-8"),
])
def test_faults_name_file_and_line(tmp_path: Path, content: bytes, line: int, what: str) -> None:
    found = load(tmp_path, "x.json", content)
    assert len(found.faults) == 1
    assert f"x.json:{line}: " in found.faults[0]
    assert what in found.faults[0]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "no such file" in load_indicators([tmp_path / "nowhere.txt"]).faults[0]
    (tmp_path / "folder").mkdir()
    assert "holds no indicator file" in load_indicators([tmp_path / "folder"]).faults[0]
    assert "is binary" in load(tmp_path, "image.bin", b"\x89PNG\0\0\0").faults[0]
    assert "holds no indicator" in load(tmp_path, "prose.txt", "hello\nworld\n").faults[0]
    assert load(tmp_path, "empty.txt", "# nothing today\n").faults == []


@pytest.mark.parametrize("content", [
    pytest.param(b"x" * (8 << 20), id="one endless word"),
    pytest.param(b"\n" * (1 << 20), id="nothing but line ends"),
    pytest.param(b"," * (8 << 20), id="nothing but commas"),
    pytest.param(b"ip,name\n" + b'"' * (8 << 20), id="nothing but quotes"),
    pytest.param(b"192.0.2.1 " + b"# " * (4 << 20), id="an endless comment"),
    pytest.param(b"192.0.2.1 " + b" " * (8 << 20), id="endless white space"),
    pytest.param(b"[[" + b"[],[]," * (4 << 20), id="a JSON file of empty lists"),
    pytest.param(b"hxxp://" + b"a." * (1 << 20) + b"\n" + b"1" * (1 << 20) + b"\n" + b"[.]" * (1 << 20),
                 id="endless values"),
])
def test_hostile_files_cost_little(tmp_path: Path, content: bytes) -> None:
    began = time.process_time()
    found = load(tmp_path, "feed.txt", content)
    assert time.process_time() - began < 10, "a hang is minutes; a busy machine takes a few seconds"
    assert len(found) <= 1


def test_a_broken_file_does_not_take_the_others_along(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.txt").write_text("192.0.2.1\n")
    found = load_indicators([tmp_path])
    assert found.counts == {"address": 1}
    assert len(found.faults) == 1


def test_a_set_survives_pickling(tmp_path: Path) -> None:
    found = load(tmp_path, "a.txt", "192.0.2.1 # bad\n198.51.100.0/24\n")
    again = pickle.loads(pickle.dumps(found))
    assert again.counts == found.counts
    assert again.find("address", "192.0.2.1")[0].until_ns == FOREVER


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=20),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
                        st.sampled_from(["type", "pattern", "objects", "Event", "response", "Attribute", "Object",
                                         "list", "name", "value", "to_ids", "ip", "port", "info", "valid_from",
                                         "data", "id"]),
                        inner | st.sampled_from(["indicator", "cidr", "ip-dst", "192.0.2.1"]), max_size=5),
                    max_leaves=25)


@settings(max_examples=120, deadline=None)
@given(st.one_of(JSON.map(lambda value: json.dumps(value).encode()), st.binary(max_size=200)))
def test_no_content_raises(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    for name in ("x.json", "x.txt"):
        path = tmp_path_factory.getbasetemp() / name
        path.write_bytes(content)
        found = load_indicators([path])
        assert all(text.isascii() and text.isprintable() for text in (*found.faults, *found.notes, *found.skipped))
