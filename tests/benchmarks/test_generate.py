"""The benchmark captures hold what they promise: sizes, ports, whole sessions, right checksums. Nothing is timed."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import dpkt

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "generate.py"


def generate(tmp_path: Path, kind: str, packets: int) -> list[tuple[float, bytes]]:
    out = tmp_path / f"{kind}.pcap"
    command = [sys.executable, str(SCRIPT), kind, str(out), "--packets", str(packets)]
    subprocess.run(command, check=True, capture_output=True)
    with out.open("rb") as stream:
        return list(dpkt.pcap.Reader(stream))


def network(frame: bytes) -> dpkt.ip.IP | dpkt.ip6.IP6:
    return dpkt.ethernet.Ethernet(frame).data


def checksum_holds(packet: dpkt.ip.IP | dpkt.ip6.IP6) -> bool:
    """One's complement sum of pseudo header and segment (RFC 1071, RFC 8200 section 8.1)."""
    body = bytes(packet.data)
    protocol = packet.p if isinstance(packet, dpkt.ip.IP) else packet.nxt
    data = packet.src + packet.dst + bytes([0, protocol]) + len(body).to_bytes(2, "big") + body
    total = sum(int.from_bytes(data[at:at + 2].ljust(2, b"\0"), "big") for at in range(0, len(data), 2))
    return total % 0xFFFF == 0 and total > 0


def test_all_imap_holds_whole_sessions_of_17_packets(tmp_path: Path) -> None:
    records = generate(tmp_path, "all-imap", 340)
    assert len(records) == 340
    flows: dict[frozenset[tuple[bytes, int]], list[tuple[int, int, bytes]]] = {}
    for _, frame in records:
        packet = network(frame)
        segment = packet.data
        assert 143 in (segment.sport, segment.dport)
        assert checksum_holds(packet)
        key = frozenset([(packet.src, segment.sport), (packet.dst, segment.dport)])
        flows.setdefault(key, []).append((segment.sport, segment.seq, segment.data))
    assert Counter(map(len, flows.values())) == {17: 20}
    for packets in flows.values():
        said = b"".join(data for port, _, data in packets if port == 143)
        assert said.startswith(b"* OK ")
        assert said.rstrip().lower().endswith(b"ok logout completed.")
        following = dict[bool, int]()
        for port, seq, data in packets:  # each side's sequence numbers go on without a gap
            expected = following.get(port == 143)
            assert expected is None or seq in (expected, (expected + 1) & 0xFFFFFFFF)
            following[port == 143] = (seq + len(data)) & 0xFFFFFFFF


def test_mixed_is_a_mixture(tmp_path: Path) -> None:
    records = generate(tmp_path, "mixed", 6_000)
    assert len(records) == 6_000
    times = [when for when, _ in records]
    assert times == sorted(times)
    packets = [network(frame) for _, frame in records]
    assert all(checksum_holds(packet) for packet in packets[::10])
    ports = Counter(min(packet.data.sport, packet.data.dport) for packet in packets)
    assert 0.01 < ports[143] / 6_000 < 0.05, "2.5 %, with the luck of a small capture"
    assert {443, 80, 53, 22, 25, 993, 5432} <= ports.keys()
    assert any(isinstance(packet, dpkt.ip6.IP6) for packet in packets)
    assert any(frame[12:14] == b"\x81\x00" for _, frame in records)
    assert 100 < sum(len(frame) for _, frame in records) / 6_000 < 250


def test_one_byte_segments(tmp_path: Path) -> None:
    sizes = Counter(len(network(frame).data.data) for _, frame in generate(tmp_path, "one-byte", 2_000))
    assert set(sizes) == {0, 1}
    assert sizes[1] > 1_900


def test_a_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    assert generate(tmp_path, "all-imap", 500) == generate(tmp_path / "again", "all-imap", 500)
