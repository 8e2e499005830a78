#!/usr/bin/env python3
"""Time and memory of the data frame of many sessions.

usage: python benchmarks/frame.py [--sessions 300000] [--runs 3]

Makes session records in memory, as a run gives them (distinct conversations, 4,000 clients, 300 servers, texts that
differ), then builds `analysis.sessions` from them and says what that took: processor seconds (the best and the median
run) and resident memory before and after.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from pathlib import Path

import imapids
from imapids.records.candidates import Evidence
from imapids.records.events import Event, Session
from imapids.records.streams import Flow

VERDICTS = ("genuine", "genuine", "genuine", "not-imap", "undecided", "silent", "mimic")
PROTOCOLS = ("imap", "imap+starttls", "imap", "http", None, None, "imap")


def sessions(count: int) -> list[Event]:
    """Records of `count` sessions, each of its own conversation."""
    found = []
    for number in range(count):
        kind = number % len(VERDICTS)
        start = 1_772_524_800_000_000_000 + number * 1_000_003
        flow = Flow(
            protocol="TCP", client=f"10.{number % 4 + 1}.{number % 250}.{number // 250 % 4 + 1}",
            client_port=1_024 + number % 60_000, server=f"203.0.{number % 3}.{number % 100 + 1}", server_port=143,
            source="monday.pcap", flow_id=number, community_id=f"1:{number:027x}=", direction="outbound",
            start_ns=start, end_ns=start + 10**9, first_packet=number)
        body = Session(
            verdict=VERDICTS[kind], confidence="high", protocol=PROTOCOLS[kind], shape=None,
            reason="too-short" if kind == 4 else None, sides_seen="both", midstream=False, limits=[], packets=17,
            bytes_client=311, bytes_server=number % 9_000, direction="outbound", state="closed", end_reason="fin",
            evidence=[Evidence("greeting", "server", number, 0, "* OK IMAP4rev1 ready"),
                      Evidence("tagged-completions", "server", number, 71, f"a{number} OK done")],
            packets_client=9, packets_server=8, duration_ms=number % 60_000, first_speaker="server",
            greeting=f"* OK mail{number % 50}.example.com IMAP4rev1 ready", software="Dovecot",
            capabilities=["IMAP4rev1", "IDLE", "STARTTLS"], starttls="offered", commands=5, completed=5, logins=1)
        found.append(Event("session", start, body, flow, number, start + 10**9))
    return found


def resident_mib() -> float:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=300_000)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    imapids.Analysis([]).sessions  # noqa: B018  # imports and plans are made once
    empty = resident_mib()
    records = sessions(asked.sessions)
    gc.collect()
    held = resident_mib()
    seconds, grown = [], []
    for _ in range(asked.runs):
        before, start = resident_mib(), time.process_time()
        frame = imapids.Analysis(records).sessions
        seconds.append(time.process_time() - start)
        grown.append(resident_mib() - before)
        assert len(frame) == asked.sessions
        del frame
        gc.collect()
    sys.stdout.write(
        f"{asked.sessions:,} sessions, {len(imapids.Analysis([]).sessions.columns)} columns: "
        f"{min(seconds):.2f} s CPU (median {statistics.median(seconds):.2f}); "
        f"records {held - empty:.0f} MiB, frame {max(grown):.0f} MiB\n")


if __name__ == "__main__":
    main()
