"""Reads indicator files of every kind, told by their content: STIX bundles, MISP, CSV and JSON feeds, plain lists."""

from __future__ import annotations

import gc
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from imapids.intel import misp, plain, rows, stix
from imapids.intel.indicators import IndicatorSet
from imapids.intel.values import Value, classify
from imapids.protocols.text import safe_str

FILE_BYTES = 128 << 20
"""One file; the largest public feeds have about 100 MiB."""
JSON_VALUES = 16_000_000
"""Values in one JSON file: `[[],[],...` takes twenty times its size in memory."""
ALL_BYTES = 1 << 30
"""All files of a run."""
FILES = 20_000
"""Files of a run: a MISP feed has one for each event."""
SUFFIXES = (".json", ".stix", ".csv", ".tsv", ".txt", ".ioc", ".list", ".lst", ".netset", ".ipset", ".hosts")
"""What is read of a folder; a file that is named itself may be called anything."""

_BYTE = re.compile(r"\(byte (\d+)\)")


def load_indicators(paths: Iterable[str | Path]) -> IndicatorSet:
    """The indicators of files and folders. Never raises: what is wrong stands in `faults` (`file:line: what`).

    A folder with a `manifest.json` is a MISP feed; of any other, all files with a known suffix are read, sorted.
    """
    into = IndicatorSet()
    collecting = gc.isenabled()
    gc.disable()  # hundreds of thousands of small objects that stay: walking them again and again doubles the time
    try:
        _load(paths, into)
    finally:
        if collecting:
            gc.enable()
    return into


def _load(paths: Iterable[str | Path], into: IndicatorSet) -> None:
    room = ALL_BYTES
    files = [file for path in paths for file in _files(Path(path), into)]
    for file in files[:FILES]:
        place = safe_str(str(file), 400)
        data = _read(file, place, min(room, FILE_BYTES), into)
        if data is None:
            continue
        room -= len(data)
        before, skipped, faults = len(into), sum(into.skipped.values()), len(into.faults)
        warnings = _benign_count(into)
        named_json = file.suffix.lower() in (".json", ".stix")
        _read_content(data, into, safe_str(file.name, 120), place, must_be_json=named_json)
        into.sources.append(place)
        nothing = len(into) == before and _benign_count(into) == warnings and len(into.faults) == faults
        if nothing and data.strip() and "duplicate" not in into.skipped and sum(into.skipped.values()) > skipped:
            into.fault(f"{place}:1", "holds no indicator that imapids can use")
    if len(files) > FILES:
        into.fault(f"{safe_str(str(files[FILES]), 400)}:1", f"more than {FILES} files: the rest is not read")


def _files(path: Path, into: IndicatorSet) -> Sequence[Path]:
    if not path.is_dir():
        return [path]
    manifest = path / "manifest.json"
    if manifest.is_file():
        return _feed(manifest, into)
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not found:
        into.fault(f"{safe_str(str(path), 400)}:1", "holds no indicator file")
    return found


def _feed(manifest: Path, into: IndicatorSet) -> list[Path]:
    """Event files that a MISP feed's manifest names, and that are there."""
    place = safe_str(str(manifest), 400)
    data = _read(manifest, place, FILE_BYTES, into)
    content = _decode(data, place, into) if data is not None else None
    if not isinstance(content, dict):
        if content is not None:
            into.fault(f"{place}:1", "is no manifest of a MISP feed: that is an object with the events' ids as keys")
        return []
    files = [manifest.with_name(f"{key}.json") for key in content if misp.EVENT_FILE.fullmatch(key)]
    there = sorted(file for file in files if file.is_file())
    for _ in range(len(files) - len(there)):
        into.skip("feed-event-missing")
    return there


def _read(file: Path, place: str, limit: int, into: IndicatorSet) -> bytes | None:
    try:
        if not file.is_file():
            into.fault(f"{place}:1", "there is no such file" if not file.exists() else "is not a regular file")
            return None
        with file.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        into.fault(f"{place}:1", f"cannot be read: {safe_str(error.strerror or 'unknown reason')}")
        return None
    if len(data) > limit:
        into.fault(f"{place}:1", f"too large: {FILE_BYTES >> 20} MiB a file, {ALL_BYTES >> 20} MiB in all")
        return None
    return data.removeprefix(b"\xef\xbb\xbf")


def _read_content(data: bytes, into: IndicatorSet, source: str, place: str, *, must_be_json: bool) -> None:
    """Tell the format by the content and read it."""
    first = data.lstrip()[:1]
    if must_be_json or first == b"{" or (first == b"[" and re.match(rb"\s*\[\s*([\[{\"\]])", data)):
        content = _decode(data, place, into)
        if content is not None:
            _read_json(content, into, source, place)
        return
    if b"\0" in data[:4_096]:
        into.fault(f"{place}:1", "is binary: an indicator file is text")
        return
    with io.TextIOWrapper(io.BytesIO(data), "utf-8", "replace") as lines:  # any kind of line end
        plain.read_text(lines, into, source, place)


def _decode(data: bytes, place: str, into: IndicatorSet) -> Any:
    """JSON, or None and a fault with the line."""
    if data.count(b",") + data.count(b"[") + data.count(b"{") > JSON_VALUES:
        into.fault(f"{place}:1", f"holds more than {JSON_VALUES:,} values: split it")
        return None
    try:
        return msgspec.json.decode(data)
    except RecursionError:
        into.fault(f"{place}:1", "is nested too deeply")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        found = _BYTE.search(str(error))
        line = data.count(b"\n", 0, int(found[1])) + 1 if found else 1
        into.fault(f"{place}:{line}", f"is not JSON: {safe_str(str(error), 120)}")
    return None


def _read_json(content: Any, into: IndicatorSet, source: str, place: str) -> None:
    if isinstance(content, dict) and isinstance(content.get("objects"), list):
        stix.read_objects(content["objects"], into, source, place)
    elif misp.is_event(content):
        misp.read_event(content, into, source, place)
    elif misp.is_warning_list(content):
        misp.read_warning_list(content, into, place)
    elif isinstance(content, list) and content and isinstance(content[0], dict):
        if content[0].get("type") in ("indicator", "bundle", "identity") and "id" in content[0]:
            stix.read_objects(content, into, source, place)
        else:
            rows.read_records(content, into, source, place)
    elif isinstance(content, list):
        _read_strings(content, into, source, place)
    elif isinstance(content, dict) and content and all(isinstance(value, list) for value in content.values()):
        for value in content.values():  # exports that group their records by id
            rows.read_records(value, into, source, place)
    elif isinstance(content, dict) and isinstance(content.get("data"), list):
        rows.read_records(content["data"], into, source, place)
    elif isinstance(content, dict) and content.get("type") == "indicator":
        stix.read_objects([content], into, source, place)
    elif content:
        into.fault(f"{place}:1", "is of no known format: STIX bundle, MISP event or warning list, or a list of records")


def _read_strings(content: list[Any], into: IndicatorSet, source: str, place: str) -> None:
    for item in content:
        value = classify(item) if isinstance(item, str) else "not-an-indicator"
        if isinstance(value, Value):
            into.add(value, source)
        else:
            into.skip(value, f"{place}:1", str(item)[:100])


def _benign_count(into: IndicatorSet) -> int:
    named = sum(len(table) for table in into.benign.values())
    return named + sum(len(table) for table in into.benign_networks.values()) + len(into.benign_parts)
