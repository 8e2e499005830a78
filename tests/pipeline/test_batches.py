"""The law: what is found does not depend on how packets are cut into batches, or on how a capture is handed over."""

from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers.analysis import Run, analyze_all, limits_of

from imapids.records.events import Session

SAMPLES = sorted((Path(__file__).resolve().parents[2] / "sample_pcaps").glob("*.pcap"))
LAB = [f"{number:02}" for number in range(1, 29)]
CUTS = [pytest.param(1, id="packet by packet"), pytest.param(7, id="seven packets at a time"),
        pytest.param(64, id="64 packets at a time")]


def told(run: Run) -> list[dict[str, Any]]:
    """Every line, without what names the capture and without the account's sizes of compressed files."""
    lines: list[dict[str, Any]] = json.loads(json.dumps(run.lines))
    for line in lines:
        line.pop("pcap_filename", None)
        for account in line.get("capture", {}).get("inputs", ()):
            for name in ("name", "format", "bytes"):
                account.pop(name, None)
    return lines


def in_order(run: Run) -> list[str]:
    """All events in their order, then all alerts in theirs: a batch's alerts are written behind its events."""
    lines = sorted(told(run), key=lambda line: line["event_type"] == "alert")
    return [json.dumps(line, sort_keys=True) for line in lines]


def check_same(run: Run, whole: Run) -> None:
    """The same lines in the same order; tells the first that differs."""
    for one, other in zip(in_order(run), in_order(whole), strict=False):
        assert one == other
    assert len(run.lines) == len(whole.lines)


@pytest.fixture(scope="module")
def sample_runs() -> dict[Path, Run]:
    return {path: analyze_all(path) for path in SAMPLES}


def by_flow(run: Run) -> dict[tuple[str, int | None], list[str]]:
    """The lines of each conversation in their order, alerts apart."""
    lines: dict[tuple[str, int | None], list[str]] = {}
    for line in told(run):
        group = ("alert" if line["event_type"] == "alert" else "event", line.get("flow_id"))
        lines.setdefault(group, []).append(json.dumps(line, sort_keys=True))
    return lines


def too_long(path: Path, packets: int) -> bool:
    """A long capture packet by packet says nothing that a short one does not."""
    return packets == 1 and path.stat().st_size > 40_000


@pytest.mark.parametrize("packets", CUTS)
@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in SAMPLES])
def test_a_sample_cut_into_batches_tells_the_same(sample_runs: dict[Path, Run], path: Path, packets: int) -> None:
    if too_long(path, packets):
        packets = 11
    check_same(analyze_all(path, limits=limits_of(batch_packets=packets)), sample_runs[path])


@pytest.mark.parametrize("packets", CUTS)
@pytest.mark.parametrize("number", LAB)
def test_a_lab_capture_cut_into_batches_tells_the_same(lab: Callable[[str], Run], lab_folder: Path, number: str,
                                                       packets: int) -> None:
    (path,) = lab_folder.glob(f"{number}*")
    check_same(analyze_all(path, limits=limits_of(batch_packets=packets)), lab(number))


def test_batches_of_few_bytes_tell_the_same(sample_runs: dict[Path, Run]) -> None:
    for path in SAMPLES:
        run = analyze_all(path, limits=limits_of(batch_bytes=4_096, packet_bytes=4_096))
        assert by_flow(run) == by_flow(sample_runs[path])


# ---- ways to hand a capture over -----------------------------------------------------------------------------------


WAYS = ("genuine-session", "reverse-shell", "scan", "udp-143", "compress")


@pytest.mark.parametrize("name", WAYS)
def test_a_compressed_capture_tells_the_same(sample_runs: dict[Path, Run], tmp_path: Path, name: str) -> None:
    (path,) = (each for each in SAMPLES if each.stem == name)
    packed = tmp_path / f"{name}.bin"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    check_same(analyze_all(packed), sample_runs[path])


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("packed", [pytest.param(False, id="plain"), pytest.param(True, id="gzip")])
def test_a_pipe_tells_the_same(sample_runs: dict[Path, Run], name: str, packed: bool) -> None:
    (path,) = (each for each in SAMPLES if each.stem == name)
    data = gzip.compress(path.read_bytes()) if packed else path.read_bytes()
    with standard_input(data):
        run = analyze_all("-")
    check_same(run, sample_runs[path])


@contextmanager
def standard_input(data: bytes) -> Iterator[None]:
    """Descriptor 0 is a pipe with these bytes."""
    reader, writer = os.pipe()
    kept = os.dup(0)
    os.dup2(reader, 0)
    os.close(reader)

    def fill() -> None:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(data)

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        thread.join()


def test_a_capture_in_two_files_is_one_story(tmp_path: Path) -> None:
    (path,) = (each for each in SAMPLES if each.stem == "genuine-session")
    data = path.read_bytes()
    position, ends = 24, []
    while position < len(data):
        position += 16 + int.from_bytes(data[position + 8 : position + 12], "little")
        ends.append(position)
    cut = ends[len(ends) // 2]
    parts = tmp_path / "a.pcap", tmp_path / "b.pcap"
    parts[0].write_bytes(data[:cut])
    parts[1].write_bytes(data[:24] + data[cut:])
    run, whole = analyze_all(*parts), analyze_all(path)
    assert [session.verdict for session in run.sessions] == [session.verdict for session in whole.sessions]
    assert sorted(run.rules) == sorted(whole.rules)
    for one, other in zip(run.events("session"), whole.events("session"), strict=True):
        assert isinstance(one.body, Session)
        assert isinstance(other.body, Session)
        assert one.flow is not None
        assert other.flow is not None
        assert (one.flow.flow_id, one.body.bytes_client, one.body.bytes_server) == (
            other.flow.flow_id, other.body.bytes_client, other.body.bytes_server)
