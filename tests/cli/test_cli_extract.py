"""`imapids extract`: exactly the packets of what was asked for, as they stood in the captures."""

import gzip
import json
import stat
from pathlib import Path

import dpkt
import pytest
from helpers.captures import Packet, pcap
from helpers.frames import ethernet, ip4, tcp, udp

import imapids as package

SAMPLES = Path(package.__file__).parent / "_samples"
SECRETS = ("hunter2", "s3cret", "Winter2024")


def lines(imapids, *arguments):
    outcome = imapids("analyze", *arguments, "--format", "jsonl", "--events", "alert,session", "--quiet")
    assert outcome.code == 0, outcome.err
    return [json.loads(line) for line in outcome.out.splitlines()]


def packets_of(path):
    """(time in microseconds, bytes) of every packet of a file, read by dpkt."""
    with path.open("rb") as file:
        reader = dpkt.pcap.UniversalReader(file)
        return [(round(float(time) * 1e6), bytes(data)) for time, data in reader]


def in_capture(path, ports):
    """The packets of a capture between two TCP ports, found by dpkt."""
    found = []
    for time, data in packets_of(path):
        frame = dpkt.ethernet.Ethernet(data)
        segment = getattr(frame.data, "data", None)
        if isinstance(segment, dpkt.tcp.TCP) and {segment.sport, segment.dport} == set(ports):
            found.append((time, data))
    return found


def extract(imapids, tmp_path, *arguments):
    out = tmp_path / "out.pcapng"
    outcome = imapids("extract", *arguments, "-o", out, "--quiet")
    assert outcome.code == 0, outcome.err
    return packets_of(out)


@pytest.mark.parametrize("name", ["ssh-on-143", "fake-tls", "http-beacon", "office-day", "dead-drop", "genuine-ipv6"])
def test_a_session_is_extracted_whole_and_nothing_else(imapids, tmp_path, name):
    path = SAMPLES / f"{name}.pcap"
    session = next(line for line in lines(imapids, path) if line["event_type"] == "session")
    expected = in_capture(path, (session["src_port"], session["dest_port"]))
    assert expected
    assert extract(imapids, tmp_path, path, "--flow", session["flow_id"]) == expected


def test_an_alert_that_counts_many_sessions_brings_all_of_them(imapids, tmp_path):
    path = SAMPLES / "password-guessing.pcap"
    found = lines(imapids, path)
    final = max((line for line in found if line["event_type"] == "alert"),
                key=lambda line: line["alert"]["context"]["imapids"]["count"])
    assert final["alert"]["context"]["imapids"]["count"] > 5
    packets = extract(imapids, tmp_path, path, "--alert", final["alert"]["context"]["imapids"]["id"])
    guesser = final["src_ip"]
    ports = {line["src_port"] for line in found if line["event_type"] == "session" and line["src_ip"] == guesser}
    assert len({dpkt.ethernet.Ethernet(data).data.data.sport for _, data in packets} - {143}) == len(ports)


def test_a_rule_is_named_by_its_id_its_sid_or_its_name(imapids, tmp_path):
    path = SAMPLES / "ssh-on-143.pcap"
    alert = next(line for line in lines(imapids, path) if line["event_type"] == "alert")
    ours = alert["alert"]["context"]["imapids"]
    results = [extract(imapids, tmp_path, path, "--rule", name)
               for name in (ours["rule"], alert["alert"]["signature_id"], ours["name"])]
    assert results[0]
    assert results[0] == results[1] == results[2]


def test_comments_name_the_alert_and_the_evidence(imapids, tmp_path):
    path = SAMPLES / "ssh-on-143.pcap"
    alert = next(line for line in lines(imapids, path) if line["event_type"] == "alert")
    extract(imapids, tmp_path, path, "--alert", alert["alert"]["context"]["imapids"]["id"])
    data = (tmp_path / "out.pcapng").read_bytes()
    assert f"imapids alert {alert['alert']['context']['imapids']['id']}".encode() in data
    assert b"imapids evidence server-speaks-ssh" in data
    assert str(SAMPLES).encode() not in data


def test_captures_of_several_kinds_give_one_file(imapids, tmp_path):
    plain, packed = SAMPLES / "ssh-on-143.pcap", tmp_path / "tls.pcap.gz"
    packed.write_bytes(gzip.compress((SAMPLES / "tls-direct.pcap").read_bytes()))
    found = {line["pcap_filename"]: line for line in lines(imapids, plain, packed) if line["event_type"] == "session"}
    for path, line in found.items():
        source = SAMPLES / "tls-direct.pcap" if path.endswith(".gz") else plain
        assert extract(imapids, tmp_path, plain, packed, "--flow", line["flow_id"]) == in_capture(
            source, (line["src_port"], line["dest_port"]))


def made_capture(tmp_path):
    """A UDP conversation on 143 with a fragmented datagram, an ICMP error about it, and traffic of others."""
    datagram = udp(b"A" * 2000, 5000, 143)
    frames = [
        ethernet(ip4(udp(b"hello", 5000, 143), 17)),
        ethernet(ip4(datagram[:1480], 17, ident=9, more=True)),
        ethernet(ip4(udp(b"other", 5001, 53), 17)),
        ethernet(ip4(datagram[1480:], 17, ident=9, offset=1480)),
        ethernet(ip4(b"\x03\x03\0\0\0\0\0\0" + ip4(udp(b"", 5000, 143), 17), 1, src="10.0.0.2", dst="10.0.0.1")),
        ethernet(ip4(tcp(b"", 1, 2), 6)),
        ethernet(ip4(datagram[:1480], 17, src="10.0.0.8", ident=9, more=True)),
        ethernet(ip4(udp(b"bye", 5000, 143), 17)),
    ]
    path = tmp_path / "udp.pcap"
    path.write_bytes(pcap([Packet(frame, (1_700_000_000 + number) * 10**9) for number, frame in enumerate(frames)]))
    return path, [frames[i] for i in (0, 1, 3, 4, 7)]


def test_fragments_and_icmp_errors_come_with_their_conversation(imapids, tmp_path):
    path, expected = made_capture(tmp_path)
    session = next(line for line in lines(imapids, path) if line["event_type"] == "session")
    assert [data for _, data in extract(imapids, tmp_path, path, "--flow", session["flow_id"])] == expected


def test_streams_hold_the_dialogue_without_its_secrets(imapids, tmp_path):
    path = SAMPLES / "cleartext-login.pcap"
    session = next(line for line in lines(imapids, path) if line["event_type"] == "session")
    extract(imapids, tmp_path, path, "--flow", session["flow_id"], "--streams")
    (made,) = (tmp_path / "out.streams").iterdir()
    text = made.read_text()
    assert "LOGIN" in text
    assert not [secret for secret in SECRETS if secret in text]
    assert stat.S_IMODE(made.stat().st_mode) == stat.S_IMODE((tmp_path / "out.pcapng").stat().st_mode) == 0o600


def test_unredacted_streams_are_the_bytes_of_each_side(imapids, tmp_path):
    path = SAMPLES / "ssh-on-143.pcap"
    session = next(line for line in lines(imapids, path) if line["event_type"] == "session")
    for _ in range(2):  # a second run replaces what the first one wrote
        extract(imapids, tmp_path, path, "--flow", session["flow_id"], "--streams", "--unredacted")
    sizes = {made.name.split(".")[1]: made.stat().st_size for made in (tmp_path / "out.streams").iterdir()}
    assert sizes == {"client": session["session"]["bytes_client"], "server": session["session"]["bytes_server"]}


@pytest.mark.parametrize(("arguments", "code", "says"), [
    pytest.param(("--flow", "77", "-o", "OUT"), 3, "no conversation of flow 77", id="a flow that is not there"),
    pytest.param(("--alert", "0123456789abcdef", "-o", "OUT"), 3, "no conversation of alert 0123456789abcdef",
                 id="an alert that is not there"),
    pytest.param(("-o", "OUT"), 2, "one of --alert, --flow and --rule", id="nothing to extract is named"),
    pytest.param(("--flow", "1", "--rule", "x", "-o", "OUT"), 2, "one of", id="two things are named"),
    pytest.param(("--flow", "1"), 2, "-o", id="no file is named"),
    pytest.param(("--flow", "1", "-o", "-"), 2, "standard output", id="standard output is no place for packets"),
    pytest.param(("--flow", "1", "--unredacted", "-o", "OUT"), 2, "--streams", id="unredacted without streams"),
])
def test_what_cannot_be_done_is_said(imapids, tmp_path, arguments, code, says):
    out = tmp_path / "out.pcapng"
    outcome = imapids("extract", SAMPLES / "ssh-on-143.pcap", *(str(out) if a == "OUT" else a for a in arguments))
    assert outcome.code == code
    assert says in outcome.err
    assert not out.exists()


def test_a_capture_is_never_written_over(imapids, tmp_path):
    path = tmp_path / "x.pcap"
    path.write_bytes((SAMPLES / "ssh-on-143.pcap").read_bytes())
    outcome = imapids("extract", path, "--flow", "1", "-o", path)
    assert outcome.code == 2
    assert path.read_bytes() == (SAMPLES / "ssh-on-143.pcap").read_bytes()
