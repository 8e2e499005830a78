"""The shipped samples are what their generator makes, and the manifest tells the truth about them."""

import hashlib
import ipaddress
import struct
import sys
import tomllib
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "sample_pcaps"
MANIFEST = tomllib.loads((FOLDER / "MANIFEST.toml").read_text())["sample"]
FAMILIES = {
    "verdict",
    "transport-security",
    "credentials",
    "service-abuse",
    "mailbox-abuse",
    "exposure",
    "scanning",
    "c2",
    "udp",
}
VERDICTS = {"genuine", "not-imap", "mimic", "undecided", "silent"}


def records(data):
    """((seconds, microseconds), frame) of a classic little-endian capture; fails where a record is cut."""
    position = 24
    while position < len(data):
        seconds, micros, length = struct.unpack_from("<III", data, position)
        frame = data[position + 16 : position + 16 + length]
        assert len(frame) == length
        yield (seconds, micros), frame
        position += 16 + length


@pytest.fixture(scope="module")
def generated():
    pytest.importorskip("scapy")
    sys.path.insert(0, str(FOLDER))
    import generate

    yield generate.generate()
    sys.path.remove(str(FOLDER))


def test_the_generator_makes_the_committed_files_byte_by_byte(generated):
    committed = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.suffix in {".pcap", ".toml", ".yml"}}
    assert sorted(generated) == sorted(committed)
    assert [name for name, data in generated.items() if data != committed[name]] == []


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry["name"]) for entry in MANIFEST])
def test_the_manifest_tells_hash_and_packets_of_each_capture(entry):
    data = (FOLDER / entry["file"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == entry["sha256"]
    times = [time for time, _ in records(data)]
    assert len(times) == entry["packets"]
    assert times == sorted(times)


def test_the_manifest_uses_the_words_of_the_design():
    for entry in MANIFEST:
        assert {word for words in entry["verdicts"] for word in words.split("|")} <= VERDICTS, entry["name"]
        assert set(entry["alerts"]) <= FAMILIES, entry["name"]
        assert entry["shows"].endswith(".")


def test_the_samples_stay_small_and_every_capture_is_in_the_manifest():
    captures = list(FOLDER.glob("*.pcap"))
    assert sum(path.stat().st_size for path in captures) < 1_500_000
    assert {path.name for path in captures} == {entry["file"] for entry in MANIFEST}


def test_no_address_outside_the_documentation_and_private_ranges():
    ranges = [
        ipaddress.ip_network(text)
        for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "10.0.0.0/8", "2001:db8::/32")
    ]
    addresses = set()
    for entry in MANIFEST:
        for _, frame in records((FOLDER / entry["file"]).read_bytes()):
            first, size = (26, 4) if frame[12:14] == b"\x08\x00" else (22, 16)
            addresses |= {frame[first : first + size], frame[first + size : first + 2 * size]}
    found = sorted(str(ipaddress.ip_address(address)) for address in addresses)
    assert [text for text in found if not any(ipaddress.ip_address(text) in network for network in ranges)] == []
