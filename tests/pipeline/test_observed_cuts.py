"""One capture whole, packet by packet, or in ten files: the same scans, guessing and exposure sheet."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from helpers.analysis import analyze_all, limits_of

from imapids.records.events import Event

SAMPLES = Path(__file__).parents[2] / "sample_pcaps"
KINDS = frozenset({"scan", "exposure", "service", "guessing"})
NAMES = ["scan", "scan-inside", "slow-scan", "odd-probes", "unexpected-server", "open-mail-proxy", "office-day",
         "shared-scan", "research-scanner", "hydra-stops"]


def told(*paths: Path, batch_packets: int | None = None, inventory: Path | None = None) -> list[Event]:
    limits = None if batch_packets is None else limits_of(batch_packets=batch_packets)
    run = analyze_all(*paths, events=KINDS, limits=limits, default_rules=False,
                      inventory_path=str(inventory) if inventory is not None and inventory.is_file() else None)
    return [item for item in run.items if isinstance(item, Event)]


def plain(events: list[Event]) -> list[tuple[object, ...]]:
    """What may not differ when a capture comes as several files: all but names of files and numbers of packets."""
    return [(event.kind, event.time_ns, event.body, event.flow.flow_id if event.flow else 0) for event in events]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("packets", [1, 7])
def test_batches_change_nothing(name: str, packets: int) -> None:
    path = SAMPLES / f"{name}.pcap"
    inventory = path.with_suffix(".inventory.yml")
    expected = told(path, inventory=inventory)
    assert expected
    assert told(path, batch_packets=packets, inventory=inventory) == expected


@pytest.mark.parametrize("name", NAMES)
def test_ten_files_are_one_capture(name: str, tmp_path: Path) -> None:
    data = (SAMPLES / f"{name}.pcap").read_bytes()
    records, position = [], 24
    while position < len(data):
        length = struct.unpack_from("<I", data, position + 8)[0]
        records.append(data[position : position + 16 + length])
        position += 16 + length
    each = -(-len(records) // 10)
    files = []
    for number in range(0, len(records), each):
        files.append(tmp_path / f"{number // each:02}.pcap")
        files[-1].write_bytes(data[:24] + b"".join(records[number : number + each]))
    assert plain(told(*files)) == plain(told(SAMPLES / f"{name}.pcap"))


def test_all_samples_at_once_keep_within_bounds() -> None:
    events = told(*sorted(SAMPLES.glob("*.pcap")), batch_packets=257)
    assert events == told(*sorted(SAMPLES.glob("*.pcap")))
