"""Lists of Python values as pandas arrays of a documented dtype, also where a value cannot be (saved lines may lie)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from imapids.desk.columns import TEXT, TIME, WORD
from imapids.protocols.timestamps import parse_eve_time

TEXT_DTYPE = pd.StringDtype("python")
"""Strings as the records hold them: three times as fast to make as Arrow's, and the same without pyarrow."""
_INT64 = (-(2**63), 2**63 - 1)
_NAT = np.iinfo(np.int64).min


def array(values: Sequence[Any], dtype: str, words: tuple[str, ...] = (), *, ordered: bool = False) -> Any:
    """An extension or NumPy array of `len(values)` with the dtype of a Column; None becomes a missing value."""
    if dtype == WORD:
        return _words(values, words, ordered)
    if dtype == TEXT:
        return pd.array(values, dtype=TEXT_DTYPE)
    if dtype == TIME:
        return _times(values)
    if dtype in ("int64", "uint64", "bool", "float64"):
        return _plain(values, dtype)
    if dtype in ("Int64", "UInt16", "boolean", "Float64"):
        return _nullable(values, dtype)
    return _objects(values)


def _words(values: Sequence[Any], words: tuple[str, ...], ordered: bool) -> Any:
    """A categorical: the closed list first, then words that should not be there; empty and None are missing."""
    known, strange = list(words), False
    try:
        codes = _codes(values, known)
    except KeyError:
        known += sorted(set(values) - {*words, "", None})
        codes, strange = _codes(values, known), True
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(known, ordered=ordered and not strange))


def _codes(values: Sequence[Any], words: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    code = {word: number for number, word in enumerate(words)} | {"": -1, None: -1}
    return np.fromiter(map(code.__getitem__, values), np.int32, len(values))


def _times(values: Sequence[Any]) -> Any:
    """Times of nanoseconds since 1970, or of text in EVE's form; what is none of both is missing."""
    if any(isinstance(value, str) for value in values[:1]):
        values = _parsed(values)
    try:
        numbers = _plain(values, "int64")
    except TypeError:  # None
        numbers = _plain([_NAT if value is None else value for value in values], "int64")
    return pd.DatetimeIndex(numbers.view("datetime64[ns]")).tz_localize("UTC").array


def _parsed(texts: Sequence[str]) -> list[int]:
    known: dict[str, int] = {}
    for text in set(texts):
        try:
            known[text] = parse_eve_time(text) if text else _NAT
        except ValueError:
            known[text] = _NAT
    return [known[text] for text in texts]


def _plain(values: Sequence[Any], dtype: str) -> Any:
    try:
        return np.fromiter(values, dtype, len(values))
    except OverflowError:  # a number that no run counts up to, out of a saved line
        return np.fromiter((min(max(value, _INT64[0]), _INT64[1]) for value in values), dtype, len(values))


def _nullable(values: Sequence[Any], dtype: str) -> Any:
    plain = {"Int64": "int64", "UInt16": "int64", "boolean": "bool", "Float64": "float64"}[dtype]
    try:
        if dtype == "boolean" and None in values:  # to NumPy None is a bool
            raise TypeError
        filled, missing = _plain(values, plain), np.zeros(len(values), bool)
    except TypeError:  # nearly all columns have no None: it is not looked for in advance
        missing = np.fromiter((value is None for value in values), bool, len(values))
        filled = _plain([0 if value is None else value for value in values], plain)
    if dtype == "UInt16":
        filled = filled.clip(0, 65_535).astype("uint16")
    if dtype == "boolean":
        return pd.arrays.BooleanArray(filled, missing)
    return (pd.arrays.FloatingArray if dtype == "Float64" else pd.arrays.IntegerArray)(filled, missing)


def _objects(values: Sequence[Any]) -> Any:
    """Lists and dicts as they are: pandas must not look inside them."""
    return np.fromiter(values, dtype=object, count=len(values))
