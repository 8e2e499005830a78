"""Saved results, read again: JSON lines as events and alerts."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from imapids.errors import InputError
from imapids.output.eve_reader import decode
from imapids.records.alerts import Alert
from imapids.records.events import Event

LINE_BYTES = 1 << 20
"""A longer line is no event: our own are at most 16 KiB. It is skipped to its end and counted."""


class ForeignLines:
    """Counts lines that are no events of ours."""

    def __init__(self) -> None:
        self.count = 0


def read_saved(paths: Sequence[str]) -> list[Event | Alert]:
    """The events and alerts of JSON lines files, in their order; a warning says how many lines were left out.

    Raises InputError where a file cannot be read.
    """
    foreign = ForeignLines()
    records = [record for path in paths for record in saved_records(path, foreign)]
    if foreign.count:
        warnings.warn(f"{foreign.count:,} lines left out, which are no events of imapids", stacklevel=3)
    return records


def saved_records(path: str, foreign: ForeignLines) -> Iterator[Event | Alert]:
    """The records of one file, or of standard input for `-`; `foreign` counts the lines that are none."""
    try:
        with sys.stdin.buffer if path == "-" else Path(path).open("rb") as file:
            for line in bounded_lines(file, foreign):
                record = decode(line)
                if record is not None:
                    yield record
                elif line.strip():
                    foreign.count += 1
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def bounded_lines(file: BinaryIO, foreign: ForeignLines) -> Iterator[bytes]:
    """Lines of bounded length: an overlong one is dropped to its end, and counts as foreign."""
    while line := file.readline(LINE_BYTES):
        if line.endswith(b"\n") or len(line) < LINE_BYTES:
            yield line
            continue
        foreign.count += 1
        while (rest := file.readline(LINE_BYTES)) and not rest.endswith(b"\n"):
            pass
