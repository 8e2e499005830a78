"""The exposure sheet of captures: which mail services are where, who reaches them, and what differs from last time."""

from __future__ import annotations

import csv
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from imapids.errors import UsageError
from imapids.output.eve_reader import decode
from imapids.protocols.text import safe_str
from imapids.protocols.timestamps import parse_eve_time
from imapids.records.alerts import Alert
from imapids.records.events import Event, Exposure
from imapids.records.streams import Flow
from imapids.run.local import Progress, RunResult, analyze
from imapids.run.options import RunOptions

LINE_BYTES = 1 << 20
"""A longer line of a saved sheet is none of ours."""
SHEET_BYTES = 256 << 20
"""A longer file is no sheet: the longest has some thousand lines of at most 16 KiB."""

Key = tuple[str, int, str]
"""(server address, port, tcp or udp)."""
_STATES = {"open": 0, "closed": 1, "stealth": 2, "not-seen": 3}
_WORDS = ("state", "open_to", "service", "software", "tls", "starttls_offered", "sign_in_in_clear",
          "wan_signed_in_in_clear", "proxy", "unexpected")
"""What of a line is compared with an earlier sheet; counts and times differ every time."""


class Sheet(NamedTuple):
    """The lines of the sheet, and the run that they come from."""

    lines: list[Event]
    """The last word on each address and port: `exposure` events, home servers first, open ones first."""
    result: RunResult
    differences: Differences | None = None


class Differences(NamedTuple):
    """How a sheet differs from an earlier one."""

    new: frozenset[Key]
    changed: dict[Key, list[str]]
    """Names of the words that differ, with what they were: `state (was closed)`."""
    not_seen: list[Event]
    """Lines of the earlier sheet that nobody asked about this time; state `not-seen`."""


def exposure_sheet(captures: Sequence[str], options: RunOptions, *, earlier: Mapping[Key, Event] | None = None,
                   progress: Progress | None = None, stop: Callable[[], bool] | None = None) -> Sheet:
    """Reads captures and makes the sheet; `earlier` (of `read_sheet`) is compared with it.

    Raises InputError, RuleError as run.local.analyze does.
    """
    kept = _LastLines()
    asked = msgspec.structs.replace(options, events=frozenset({"exposure"}), rule_paths=(), default_rules=False)
    result = analyze(captures, asked, kept, progress=progress, stop=stop)
    lines = sorted(kept.lines.values(), key=_rank)
    return Sheet(lines, result, None if earlier is None else compare(lines, earlier))


class _LastLines:
    """A sink that keeps the last line of each address and port."""

    def __init__(self) -> None:
        self.lines: dict[Key, Event] = {}

    def write(self, items: Sequence[Event | Alert]) -> None:
        for item in items:
            if isinstance(item, Event) and item.kind == "exposure":
                self.lines[key_of(item)] = item

    def close(self) -> None:
        """Nothing is open."""


def key_of(event: Event) -> Key:
    """Server address, port and transport of a line."""
    flow = event.flow
    assert flow is not None
    return flow.server, flow.server_port, flow.protocol.lower()


def body_of(event: Event) -> Exposure:
    """The line itself."""
    assert isinstance(event.body, Exposure)
    return event.body


def _rank(event: Event) -> tuple[bool, int, bool, int, int, str]:
    """Our own servers first, the open ones first; then by address and port."""
    body, (server, port, transport) = body_of(event), key_of(event)
    address = ipaddress.ip_address(server)
    return not body.home, _STATES.get(body.state, 9), address.version == 6, int(address), port, transport


def compare(lines: Sequence[Event], earlier: Mapping[Key, Event]) -> Differences:
    """What is new, what is another word now, and what was not asked about."""
    now = {key_of(line): line for line in lines}
    changed = {}
    for key in now.keys() & earlier.keys():
        words = _changed_words(body_of(earlier[key]), body_of(now[key]))
        if words:
            changed[key] = words
    not_seen = []
    for key in sorted(earlier.keys() - now.keys()):
        body = msgspec.structs.replace(body_of(earlier[key]), state="not-seen", changes=["not-seen"])
        not_seen.append(msgspec.structs.replace(earlier[key], body=body))
    return Differences(frozenset(now.keys() - earlier.keys()), changed, sorted(not_seen, key=_rank))


def _changed_words(before: Exposure, after: Exposure) -> list[str]:
    found = []
    for name in _WORDS:
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            said = ", ".join(old) if isinstance(old, list) else {True: "yes", False: "no"}.get(old, str(old))
            found.append(f"{name} (was {said or 'none'})")
    return found


def differing_lines(sheet: Sheet) -> list[Event]:
    """The lines that differ, with the names of what does in `changes`; all lines where nothing was compared."""
    differences = sheet.differences
    if differences is None:
        return sheet.lines
    found = []
    for line in sheet.lines:
        key = key_of(line)
        if key in differences.new or key in differences.changed:
            changes = ["new"] if key in differences.new else [
                word.partition(" ")[0] for word in differences.changed[key]]
            found.append(msgspec.structs.replace(line, body=msgspec.structs.replace(body_of(line), changes=changes)))
    return found + differences.not_seen


def read_sheet(path: Path) -> dict[Key, Event]:
    """An earlier sheet, as `imapids exposure --format jsonl` or `csv` wrote it.

    Raises UsageError where the file cannot be read or holds no line of a sheet.
    """
    name = safe_str(str(path), 400)
    lines: dict[Key, Event] = {}
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) > SHEET_BYTES:
                raise UsageError(f"--diff: {name} is too long for a sheet")
            file.seek(0)
            for event in _saved_csv(path) if file.read(10) == b"timestamp," else _saved_lines(path):
                if isinstance(event.body, Exposure) and event.flow is not None:
                    lines[key_of(event)] = event
    except OSError as error:
        raise UsageError(f"--diff: cannot read {name}: {error.strerror}") from error
    if not lines:
        raise UsageError(f"--diff: {name} holds no line of a sheet. Write one: imapids exposure old.pcap --format "
                         "jsonl -o old.jsonl")
    return lines


def _saved_lines(path: Path) -> list[Event]:
    found = []
    with path.open("rb") as file:
        while line := file.readline(LINE_BYTES):
            event = decode(line)
            if isinstance(event, Event) and _has_address(event):
                found.append(event)
    return found


def _saved_csv(path: Path) -> list[Event]:
    """Rows of a CSV sheet; what is no row of ours is left out."""
    found = []
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for row in csv.DictReader(file):
            try:
                flow = Flow(protocol=row["proto"], client=row["src_ip"], client_port=int(row["src_port"] or 0),
                            server=row["dest_ip"], server_port=int(row["dest_port"]))
                fields = {name: _value(row[name], kind) for name, kind in _CSV_KINDS.items() if name in row}
                event = Event("exposure", parse_eve_time(row["timestamp"]), msgspec.convert(fields, Exposure), flow)
            except (KeyError, ValueError, TypeError):  # msgspec's errors are ValueErrors
                continue
            if _has_address(event):
                found.append(event)
    return found


_CSV_KINDS = {field.name: field.type for field in msgspec.structs.fields(Exposure)}


def _value(text: str | None, kind: object) -> object:
    """A cell as the value that it was written from (see output/csvfile.cell)."""
    plain = (text or "").removeprefix("'")
    if kind is bool:
        return plain == "true"
    if kind is int:
        return int(plain or 0)
    return plain if kind is str else [part for part in plain.split("; ") if part]


def _has_address(event: Event) -> bool:
    try:
        return event.flow is not None and bool(ipaddress.ip_address(event.flow.server))
    except ValueError:
        return False
