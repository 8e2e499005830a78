"""Frames as Parquet files, whose types do not depend on the rows that happen to be there."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from imapids.desk import frames
from imapids.errors import OutputError, UsageError
from imapids.output.files import make_folder, whole_binary_file
from imapids.protocols.text import safe_str

if TYPE_CHECKING:
    from imapids.desk.analysis import Analysis


def write_frames(analysis: Analysis, folder: str | Path) -> list[Path]:
    """Writes each frame that has rows to `folder/<frame>.parquet`; gives the files that were written.

    Raises UsageError without pyarrow, OutputError where a file cannot be written.
    """
    from imapids.desk.analysis import FRAMES

    try:
        pa, pq = _module("pyarrow"), _module("pyarrow.parquet")
    except ImportError as error:
        raise UsageError("Parquet needs pyarrow: pip install 'imapids[parquet]'") from error
    target = make_folder(str(folder))
    plans: dict[str, tuple[frames.Part, ...]] = {name: frames.event_plan(kind) for name, kind in FRAMES.items()}
    plans |= {"alerts": frames.alert_plan(), "cases": frames.case_plan()}
    plans |= {name: frames.detail_plan(name) for name in frames.DETAILS}
    written = []
    for name, plan in plans.items():
        frame: pd.DataFrame = getattr(analysis, name)
        if frame.empty:
            continue
        path = target / f"{name}.parquet"
        table = arrow_table(frame, frames.names_and_dtypes(plan))
        with whole_binary_file(str(path)) as write:
            compressed = pa.BufferOutputStream()
            pq.write_table(table, compressed, compression="zstd")
            write(compressed.getvalue().to_pybytes())
        written.append(path)
    return written


def arrow_table(frame: pd.DataFrame, dtypes: Mapping[str, str]) -> Any:
    """A pyarrow table: lists and maps are typed even where all of them are empty; categories become text."""
    pa = _module("pyarrow")
    inner = {"str": pa.string(), "int": pa.int64(), "float": pa.float64()}
    columns = {}
    for name, dtype in dtypes.items():
        series = frame[name]
        if dtype.startswith("list of "):
            columns[name] = pa.array(series.tolist(), pa.list_(inner[dtype.removeprefix("list of ")]))
        elif dtype.startswith("dict of "):
            pairs = [None if value is None else list(value.items()) for value in series]
            columns[name] = pa.array(pairs, pa.map_(pa.string(), inner[dtype.rpartition(" ")[2]]))
        elif dtype == "category":
            columns[name] = pa.array(series.astype(object).where(series.notna(), None).tolist(), pa.string())
        elif dtype == "string":
            columns[name] = pa.array([None if text is pd.NA else _storable(text) for text in series], pa.string())
        else:
            columns[name] = pa.Array.from_pandas(series)
    try:
        return pa.table(columns)
    except pa.ArrowException as error:
        raise OutputError(f"a frame cannot be written as Parquet: {error}") from error


def _storable(text: str) -> str:
    """Text without lone surrogates (out of a rule file), which no UTF-8 holds: what they stand for is escaped."""
    return text if text.isascii() else safe_str(text, 4 * len(text))


def _module(name: str) -> Any:
    """pyarrow, which has no types and is imported only here."""
    return importlib.import_module(name)
