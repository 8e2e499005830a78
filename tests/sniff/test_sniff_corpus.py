"""The law on real conversations: each answer that is final stays, at every prefix of the shared captures."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest
from helpers.openings import c, growing, s

from imapids.sniff import sniff

dpkt = pytest.importorskip("dpkt")

CAPTURES = (
    "ssh.pcap",
    "smb.pcap",
    "ftp.pcap",
    "mqtt.pcap",
    "pgsql.pcap",
    "tls.pcap",
    "socks.pcap",
    "irc.pcap",
    "bgp.pcap",
)


def conversations(path: Path, server_port: int) -> list[list[tuple[int, bytes]]]:
    """Payloads in capture order, retransmissions and all: any byte strings will do for the law."""
    flows: dict[tuple[bytes, int], list[tuple[int, bytes]]] = {}
    with path.open("rb") as stream:
        for _time, frame in dpkt.pcap.UniversalReader(stream):
            packet = dpkt.ethernet.Ethernet(frame).data
            segment = getattr(packet, "data", None)
            if isinstance(segment, dpkt.tcp.TCP) and segment.data:
                server = segment.sport == server_port
                key = (packet.dst, segment.dport) if server else (packet.src, segment.sport)
                turn = s(bytes(segment.data)) if server else c(bytes(segment.data))
                flows.setdefault(key, []).append(turn)
    return list(flows.values())


@pytest.mark.parametrize("name", CAPTURES)
def test_a_final_answer_stays_on_captured_conversations(shared: Path, name: str) -> None:
    folder = shared / "corpus" / "public" / "nonimap_tcp"
    with (folder / "labels.tsv").open() as stream:
        assert any(row["pcap"] == name for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    dice = random.Random(name)
    for turns in conversations(folder / name, 143)[:6]:
        turns = [(side, data[:600]) for side, data in turns[:20]]
        decided = None
        for opening in growing(turns, [dice.randint(1, 90) for _ in range(9)]):
            now = sniff(opening)
            if decided is not None:
                assert now == decided
            elif now.final:
                decided = now
        assert decided is not None
