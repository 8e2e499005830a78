"""Makes the captures that the benchmarks run on, at any size, from nothing but NumPy and a seed.

    python benchmarks/generate.py mixed --packets 5000000 mixed.pcap

mixed     2.5 % of the packets on port 143, the rest web, DNS, SSH, mail ... over many flows, interleaved as on a link
all-imap  IMAP sessions of 17 packets each
one-byte  one IMAP session whose every segment carries one byte
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import dialogues as say
import numpy as np
from frames import SYN, TCP, Book, Columns, Flows, PacketOrder, Scripts, write_pcap

EPOCH_US = 1_767_323_045_000_000
"""2026-01-02T03:04:05Z: a capture is the same whenever it is made."""
PACKETS_PER_SECOND = 20_000
LONGEST_SCRIPT_S = 8
"""Flows start this long before the capture does: some are seen from their middle only, as on a real link."""
RETRANSMITTED = 0.001
OVERTAKEN = 0.001
ALL_IMAP_SCRIPTS = 8_192
"""Different sessions in an all-IMAP capture; larger captures repeat them with other addresses and times."""


@dataclass(frozen=True)
class Kind:
    """One sort of traffic in the mixture."""

    name: str
    share: float
    """Of the packets."""
    port: int
    scripts: int
    """How many different conversations are written."""
    play: Callable[[Book, random.Random], int]
    servers: int = 200


def _tcp(make: Callable[[random.Random], list[say.Turn]], close: str = "fin") -> Callable[[Book, random.Random], int]:
    return lambda book, rng: say.play_tcp(book, rng, make(rng), close=close)


def _udp(make: Callable[[random.Random], list[say.Turn]]) -> Callable[[Book, random.Random], int]:
    return lambda book, rng: say.play_udp(book, rng, make(rng))


MIXTURE = (
    Kind("web", 0.40, 443, 300, _tcp(lambda rng: say.tls_session(rng, rng.randrange(2, 25), 260, b"h2")), 3_000),
    Kind("web, reset", 0.05, 443, 40, _tcp(lambda rng: say.tls_session(rng, rng.randrange(6), 260, b"h2"), "rst"),
         3_000),
    Kind("http", 0.10, 80, 200, _tcp(say.http_session), 1_000),
    Kind("quic", 0.11, 443, 60, _udp(say.quic_exchange), 500),
    Kind("dns", 0.08, 53, 400, _udp(say.dns_exchange), 4),
    Kind("ssh", 0.08, 22, 30, _tcp(say.ssh_session), 100),
    Kind("database", 0.07, 5432, 40, _tcp(say.frames_session), 20),
    Kind("smtp", 0.035, 25, 80, _tcp(say.smtp_session), 12),
    Kind("imaps", 0.025, 993, 60, _tcp(lambda rng: say.tls_session(rng, rng.randrange(3, 12), 260, b"imap")), 12),
    Kind("pop3", 0.005, 110, 20, _tcp(say.pop3_session), 12),
    Kind("ntp", 0.005, 123, 50, _udp(say.ntp_exchange), 10),
    Kind("probes without an answer", 0.0145, 8080, 1, _tcp(lambda _: [], "unanswered"), 3_000),
    Kind("imap", 0.0195, 143, 400, _tcp(lambda rng: say.imap_session(rng, rng.randrange(1, 5), 350)), 12),
    Kind("imap, starttls", 0.0045, 143, 60, _tcp(say.starttls_session), 12),
    Kind("tls on 143", 0.0004, 143, 4, _tcp(lambda rng: say.tls_session(rng, 3, 260, b"h2")), 40),
    Kind("ssh on 143", 0.0003, 143, 2, _tcp(say.ssh_session), 40),
    Kind("probes of 143", 0.0003, 143, 1, _tcp(lambda _: [], "unanswered"), 3_000),
    Kind("imap elsewhere", 0.0005, 1143, 20, _tcp(say.imap_session), 3),
)


def make_flows(seed: np.random.Generator, scripts: Columns, ports: Columns, servers: Columns, seconds: float, *,
               plain: bool = False) -> Flows:
    """Flows in random order of time; clients take their ports one after the other, so that no 5-tuple comes twice."""
    count = len(scripts)
    turn = seed.permutation(count)
    clients = max(40, min(20_000, count // 12))
    who, use = turn % clients, turn // clients
    ipv6 = np.zeros(count, bool) if plain else (who % 12 == 0) & (ports != 123)
    server = seed.integers(0, 1 << 62, count) % servers
    pair = (who + server) % 50  # the VLAN belongs to the client's network
    return Flows(
        script=scripts,
        client=np.where(ipv6, 0x0001_0000_0000_0000, 0x0A01_0000) + who + 1,
        server=np.where(ipv6, 0x0002_0000_0000_0000, 0xC612_0000) + (ports & 0xF) * 4_096 + server + 1,
        client_port=1_024 + (use * 7_919 + who * 31) % 64_000, server_port=ports,
        isn_client=seed.integers(0, 1 << 32, count), isn_server=seed.integers(0, 1 << 32, count),
        start_us=EPOCH_US + (seed.random(count) * seconds * 1e6).astype(np.int64),
        slowness=0.3 + seed.random(count) * 1.7,
        vlan=np.zeros(count, np.int64) if plain else np.where(pair < 8, 100 + who % 8, 0),
        ipv6=ipv6, timestamps=who % 2 == 0,
    )


def order_packets(scripts: Scripts, flows: Flows) -> PacketOrder:
    """All packets of all flows by time, the packets of one flow in the order of its script."""
    packets = scripts.packets[flows.script]
    flow = np.repeat(np.arange(len(packets)), packets)
    row = np.arange(len(flow)) - np.repeat(np.cumsum(packets) - packets - scripts.first_row[flows.script], packets)
    sent = flows.start_us[flow] + (scripts.elapsed_us[row] * flows.slowness[flow]).astype(np.int64)
    order = np.argsort(sent, kind="stable")
    return PacketOrder(flow[order], row[order], sent[order], sent[order])


def disturb(order: PacketOrder, scripts: Scripts, flows: Flows, seed: np.random.Generator) -> PacketOrder:
    """A few TCP segments sent twice, a few overtaken by later ones."""
    data = (scripts.length[order.row] > 0) & (scripts.protocol[flows.script[order.flow]] == TCP)
    luck = seed.random(len(data))
    again = np.flatnonzero(data & (luck < RETRANSMITTED))
    late = data & (luck > 1 - OVERTAKEN) & ((scripts.flags[order.row] & SYN) == 0)
    time_us = order.time_us + late * 3_000
    time_us = np.concatenate([time_us, order.time_us[again] + 220_000])
    flow, row = np.concatenate([order.flow, order.flow[again]]), np.concatenate([order.row, order.row[again]])
    sent = np.concatenate([order.sent_us, order.sent_us[again] + 220_000])
    turn = np.argsort(time_us, kind="stable")
    return PacketOrder(flow[turn], row[turn], time_us[turn], sent[turn])


def mixed(packets: int, seed: int) -> tuple[Scripts, Flows, PacketOrder]:
    """The mixed capture of exactly `packets` packets."""
    rng, numbers, book = random.Random(seed), np.random.default_rng(seed), Book()
    mine = [[kind.play(book, rng) for _ in range(kind.scripts)] for kind in MIXTURE]
    scripts = book.freeze()
    seconds = max(packets / PACKETS_PER_SECOND, 60.0)
    wanted = (1.02 * packets + 2_000) * (seconds + LONGEST_SCRIPT_S) / seconds  # what is too much is cut
    chosen, ports, servers = list[Columns](), list[Columns](), list[Columns]()
    for kind, numbers_of_kind in zip(MIXTURE, mine, strict=True):
        mean = scripts.packets[numbers_of_kind].mean()
        count = max(1, round(kind.share * wanted / mean))
        chosen.append(np.resize(np.array(numbers_of_kind), count))
        ports.append(np.full(count, kind.port))
        servers.append(np.full(count, kind.servers))
    flows = make_flows(numbers, np.concatenate(chosen), np.concatenate(ports), np.concatenate(servers),
                       seconds + LONGEST_SCRIPT_S)
    flows.start_us -= LONGEST_SCRIPT_S * 1_000_000
    order = disturb(order_packets(scripts, flows), scripts, flows, numbers)
    begin = int(np.searchsorted(order.time_us, EPOCH_US))
    return scripts, flows, order.cut(begin, begin + packets)


def all_imap(packets: int, seed: int) -> tuple[Scripts, Flows, PacketOrder]:
    """Whole IMAP sessions of 17 packets each: `packets` // 17 of them."""
    rng, book = random.Random(seed), Book()
    sessions = max(1, packets // 17)
    for _ in range(min(sessions, ALL_IMAP_SCRIPTS)):
        say.play_tcp(book, rng, say.imap_session(rng, 1, rng.randrange(120, 500)), acks=False)
    scripts = book.freeze()
    ports = np.full(sessions, 143)
    flows = make_flows(np.random.default_rng(seed), np.arange(sessions) % len(scripts.packets), ports,
                       np.full(sessions, 12), packets / PACKETS_PER_SECOND, plain=True)
    return scripts, flows, order_packets(scripts, flows)


def one_byte(packets: int, seed: int) -> tuple[Scripts, Flows, PacketOrder]:
    """One session of about `packets` packets; every segment with payload carries one byte."""
    rng, book = random.Random(seed), Book()
    turns = say.imap_session(rng, 1, 0)
    size = max(0, packets - 6 - sum(len(data) for _, data in turns))
    opening, case, _, tags = say.imap_opening(rng)
    turns = [*opening, *say.imap_login(rng, case, tags), *say.imap_select(rng, case, tags),
             *say.imap_fetch(rng, case, tags, size), *say.imap_logout(case, tags)]
    say.play_tcp(book, rng, turns, mss=1, acks=False)
    scripts = book.freeze()
    flows = make_flows(np.random.default_rng(seed), np.zeros(1, np.int64), np.full(1, 143), np.ones(1, np.int64), 1.0,
                       plain=True)
    return scripts, flows, order_packets(scripts, flows)


CAPTURES: dict[str, Callable[[int, int], tuple[Scripts, Flows, PacketOrder]]] = {
    "mixed": mixed, "all-imap": all_imap, "one-byte": one_byte,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write one capture and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture", choices=CAPTURES)
    parser.add_argument("output", type=Path)
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    scripts, flows, order = CAPTURES[options.capture](options.packets, options.seed)
    size = write_pcap(options.output, scripts, flows, order)
    watched = int(np.count_nonzero(flows.server_port[order.flow] == 143))
    seen = len(np.unique(order.flow))
    print(f"{options.output}: {len(order.flow):,} packets ({watched / len(order.flow):.2%} on port 143), "
          f"{seen:,} flows, "
          f"{size / 1e6:,.0f} MB, {(size - 24) / len(order.flow) - 16:.0f} bytes a packet, "
          f"{time.perf_counter() - began:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
