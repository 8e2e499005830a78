"""Damaged and hard captures that were collected elsewhere: what must be read of each, and how it must be told."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.captures import read

FAULTS = {
    "00": (10, 10, "ok"), "01": (0, 0, "unreadable"), "02": (0, 0, "ok"), "03": (0, 0, "unreadable"),
    "04": (9, 9, "cut"), "05": (9, 9, "cut"), "06": (9, 9, "damaged"), "07": (9, 9, "damaged"),
    "08": (10, 10, "ok"), "09": (10, 10, "ok"), "10": (10, 10, "ok"), "11": (10, 10, "ok"),
    "12": (10, 10, "ok"), "13": (10, 10, "ok"), "14": (10, 10, "ok"), "15": (10, 10, "ok"),
    "16": (9, 10, "damaged"), "17": (10, 10, "ok"), "18": (9, 9, "cut"), "19": (20, 20, "ok"),
    "20": (0, 0, "unreadable"), "30": (10, 10, "ok"), "31": (9, 9, "damaged"), "32": (9, 9, "damaged"),
    "33": (9, 9, "damaged"), "34": (9, 9, "damaged"), "35": (10, 10, "ok"), "36": (10, 10, "ok"),
    "37": (9, 9, "damaged"), "38": (10, 10, "ok"), "39": (10, 10, "ok"), "40": (10, 10, "ok"),
    "41": (9, 9, "cut"), "42": (10, 10, "ok"), "43": (10, 10, "ok"), "44": (9, 9, "damaged"),
    "45": (9, 9, "damaged"), "46": (10, 10, "damaged"), "47": (10, 10, "ok"),
}
"""Packets (least, best) and status; 15 and 47 are packets of link types that only decoding can refuse."""

UNLIKE_TSHARK = {
    "025_gopacket__test202.pcapng": 8,  # tshark counts three custom blocks as frames; capinfos counts 8 packets
    "026_gopacket__test202.pcapng": 8,
}

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))
from imapids.capture import open_captures
from imapids.errors import InputError
def peak():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))

base = peak()
for path in sys.argv[1:]:
    reader = open_captures([path])
    try:
        for batch in reader:
            int(batch.time_ns.sum())
    except InputError:
        pass
print((peak() - base) >> 10)
"""


@pytest.fixture(scope="module")
def faults(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("faults")
    command = [sys.executable, str(shared / "generators" / "mkfaults.py"), str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {path.name[:2]: path for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_damaged_files(faults: dict[str, Path], name: str) -> None:
    least, best, status = FAULTS[name]
    result = read(faults[name])
    assert least <= len(result.data) <= best
    assert result.account.status == status
    assert (result.error is None) == (status != "unreadable")
    if status not in ("ok", "unreadable"):
        place = result.account.damage[0]
        assert f"byte {place.offset}" in result.account.message
    if status == "damaged":
        told = result.account.packets + sum(result.account.skipped.values()) + sum(
            d.skipped_bytes > 0 for d in result.account.damage if d.reason not in result.account.skipped)
        assert told >= 10


def test_damaged_files_allocate_nothing_that_they_announce(faults: dict[str, Path]) -> None:
    command = [sys.executable, "-c", LIMITED, *map(str, faults.values())]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=120, text=True)
    assert int(done.stdout) <= 32


@pytest.mark.parametrize(("folder", "key"), [pytest.param("read", "file", id="hard to read"),
                                             pytest.param("catalogue", "capture", id="catalogue")])
def test_as_many_packets_as_tshark_sees(shared: Path, folder: str, key: str) -> None:
    with (shared / "hard" / folder / "expected.tsv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert rows
    different = {}
    for row in rows:
        result = read(shared / "hard" / folder / row[key])
        expected = UNLIKE_TSHARK.get(row[key], int(row["packets"]) if row["packets"].isdigit() else 0)
        if len(result.data) != expected:
            different[row[key]] = (len(result.data), expected)
        if row[key] in UNLIKE_TSHARK:
            assert result.numbers[-1] == int(row["packets"]), "frames are numbered as tshark numbers them"
    assert not different
