"""What columns a record type gives, read from its type hints: so a new kind of event has its frame without new code."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, chain, islice
from operator import attrgetter
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from imapids.records.alerts import LEVELS
from imapids.records.verdicts import CONFIDENCES, UNDECIDED_REASONS, VERDICTS

TIME = "datetime64[ns, UTC]"
"""How a column of packet times is called in the documentation."""
WORD = "category"
TEXT = "string"

DIRECTIONS = ("outbound", "inbound", "internal", "external", "unknown")
_SIDES = ("client", "server", "both", "none")
_TRI = ("ok", "no", "bad", "none")

WORDS: Mapping[str, tuple[str, ...]] = {
    "verdict": VERDICTS, "confidence": CONFIDENCES, "level": LEVELS, "direction": DIRECTIONS, "sides_seen": _SIDES,
    "side": _SIDES, "first_speaker": _SIDES[:2], "proto": ("TCP", "UDP"), "transport": ("tcp", "udp"),
    "session.reason": UNDECIDED_REASONS, "session.state": ("open", "closed", "rejected", "silent"),
    "flow.state": ("new", "established", "closed"), "flow.reason": ("timeout", "shutdown"),
    "alert.state": ("new", "update", "final"), "roles_by": ("syn", "port", "content", "lower-port", "first-packet"),
    "end_reason": ("fin", "rst", "idle", "reused", "evicted", "end-of-capture"),
    "starttls": ("offered", "asked", "accepted", "refused", "tls", "no-tls"),
    "compress": ("asked", "active", "refused"), "outcome": ("success", "failure", "aborted", "unknown"),
    "command.result": _TRI, "message.result": _TRI,
    "command.state": ("not-authenticated", "authenticated", "selected", "logout", "unknown"),
    "message.action": ("append", "fetch", "store", "expunge", "copy", "move", "search", "create", "delete", "rename",
                       "select"),
    "anomaly.type": ("decode", "stream", "applayer"),
    "indicator.kind": ("address", "network", "endpoint", "domain", "ja3", "ja4", "certificate", "user"),
    "input.status": ("ok", "cut", "damaged", "unreadable", "unsupported"),
}
"""Closed lists of words, by field or by `kind.field`. A word that is in no list and comes up all the same is kept.

The lists stand in the docstrings of the records; `confidence` and `level` are in order, so they can be compared.
"""
ORDERED = frozenset({"confidence", "level"})
_TIMES_AS_TEXT = frozenset({"start", "end", "first", "last", "first_seen", "last_seen"})
"""Text fields that hold a time in EVE's form."""

_BLOCK = 256
"""Records whose fields are read together: they stay in the processor's cache."""

_PLAIN = {bool: "bool", int: "int64", float: "float64", str: TEXT}
_NULLABLE = {"bool": "boolean", "int64": "Int64", "float64": "Float64"}


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column of a frame."""

    name: str
    dtype: str
    """As pandas writes it; `list of str` and the like are Python objects in a column of dtype object."""
    read: Callable[[Any], Any]
    """The values of rows (a sequence, or an array), in a sequence or array; None where there is none."""
    words: tuple[str, ...] = ()
    """The closed list of a category."""
    ordered: bool = False
    source: str = ""
    """`Struct.field`, whose docstring says what it is."""


class Rows(list[Any]):
    """Records of one type, read field by field."""

    def gather(self) -> None:
        """Read all fields at once: takes a third of the time where most of them are wanted."""
        kinds = set(map(type, self))
        if len(kinds) != 1 or not issubclass(kind := kinds.pop(), msgspec.Struct):
            return
        found: list[list[Any]] = [[] for _ in kind.__struct_fields__]
        rows = map(msgspec.structs.astuple, self)
        while block := list(islice(rows, _BLOCK)):
            for values, more in zip(found, zip(*block, strict=True), strict=True):
                values += more
        self._gathered = dict(zip(kind.__struct_fields__, found, strict=True))

    def column(self, field: str) -> list[Any]:
        """The values of a field; what was gathered is given away and not kept twice."""
        gathered: dict[str, list[Any]] = self.__dict__.get("_gathered", {})
        return gathered.pop(field) if field in gathered else list(map(attrgetter(field), self))


def columns_of(kind: str, record: type[msgspec.Struct], *, leave_out: frozenset[str] = frozenset(),
               merge: frozenset[str] = frozenset()) -> list[Column]:
    """The columns of a record type, in the order of its fields.

    A record inside a record gives a column for each of its fields, `ja3_hash` for `ja3.hash`; a list of records gives
    the list of their first fields (the code of evidence): their rows stand in a frame of their own.

    Args:
        kind: event type, to tell apart fields of the same name that have different words.
        leave_out: fields that give no column.
        merge: fields that are records, whose columns take no prefix.
    """
    columns: list[Column] = []
    _gather(kind, record, (), "", nullable=False, leave_out=leave_out, merge=merge, found=columns)
    return columns


def _gather(kind: str, record: type[msgspec.Struct], path: tuple[str, ...], prefix: str, *, nullable: bool,
            leave_out: frozenset[str], merge: frozenset[str], found: list[Column]) -> None:
    hints = get_type_hints(record)
    for field in record.__struct_fields__:
        if field in leave_out:
            continue
        hint, optional = _without_none(hints[field])
        where = (*path, field)
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            inner = prefix if field in merge else f"{prefix}{field}_"
            _gather(kind, hint, where, inner, nullable=nullable or optional, leave_out=frozenset(), merge=frozenset(),
                    found=found)
            continue
        name = f"{prefix}{field}"
        words = WORDS.get(f"{kind}.{name}") or WORDS.get(field) or ()
        read, dtype = reader(where), _dtype(field, hint, words)
        if dtype == TIME and field.endswith("_ns"):
            name = name.removesuffix("_ns")
        if dtype == "list of str" and _is_records(hint):
            read = _first_fields(read, get_args(hint)[0])
        found.append(Column(name=name, dtype=_NULLABLE.get(dtype, dtype) if nullable or optional else dtype, read=read,
                            words=words if dtype == WORD else (), ordered=field in ORDERED,
                            source=f"{record.__name__}.{field}"))


def reader(path: Sequence[str]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """Reads one field of rows, or the field of a record inside them, which may be None."""
    field = path[0]
    if len(path) == 1:
        return lambda rows: _column(rows, field)
    inner = reader(path[1:])

    def read(rows: Sequence[Any]) -> Sequence[Any]:
        held = _column(rows, field)
        present = [each for each in held if each is not None]
        if len(present) == len(held):
            return inner(held)
        values = iter(inner(present))
        return [None if each is None else next(values) for each in held]

    return read


def _column(rows: Sequence[Any], field: str) -> list[Any]:
    return rows.column(field) if isinstance(rows, Rows) else list(map(attrgetter(field), rows))


def _without_none(hint: Any) -> tuple[Any, bool]:
    """A type hint without its None, and whether it had one."""
    if get_origin(hint) in (Union, types.UnionType):
        rest = [each for each in get_args(hint) if each is not type(None)]
        if len(rest) == 1:
            return rest[0], True
    return hint, False


def _is_records(hint: Any) -> bool:
    inner = get_args(hint)[0]
    return isinstance(inner, type) and issubclass(inner, msgspec.Struct)


def _dtype(field: str, hint: Any, words: tuple[str, ...]) -> str:
    if hint is str and words:
        return WORD
    if (hint is str and field in _TIMES_AS_TEXT) or (hint is int and field.endswith("_ns")):
        return TIME
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin = get_origin(hint)
    if origin in (list, tuple, set, frozenset):
        inner = get_args(hint)[0]
        return f"list of {'int' if inner is int else 'float' if inner is float else 'str'}"
    if origin is dict:
        value = get_args(hint)[1]
        return f"dict of str to {value.__name__ if value in (int, float) else 'str'}"
    return "object"


def _first_fields(read: Callable[[Any], Any], record: type[msgspec.Struct]) -> Callable[[Any], list[list[Any]]]:
    take = attrgetter(record.__struct_fields__[0])

    def first_fields(rows: Any) -> list[list[Any]]:
        held = read(rows)
        if not any(held):
            return [[] for _ in held]
        found: list[list[Any]] = []
        for start in range(0, len(held), _BLOCK):  # a block stays in the cache; row by row takes twice as long
            block = [each or () for each in held[start : start + _BLOCK]]
            every = list(map(take, chain.from_iterable(block)))
            ends = list(accumulate(map(len, block)))
            found += [every[first:end] for first, end in zip([0, *ends], ends, strict=False)]
        return found

    return first_fields
