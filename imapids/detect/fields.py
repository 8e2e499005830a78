"""The fields that a rule may name, by category: derived from the event records, so that the two never differ.

Names are those of the EVE line: the event's own object by its type (`session.verdict`, `tls.ja3.hash`), and the
keys that all lines share (`src_ip`, `dest_port`, `flow.bytes_toserver`).
"""

from __future__ import annotations

import functools
import operator
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

import msgspec

from imapids.records.events import EVENT_TYPES, Body, Event

Getter = Callable[[Event], Any]
"""Gives a hashable value: text, number, boolean, a tuple of those, or None where the field is absent."""

BODIES: dict[str, type[Body]] = {name: body for body, name in EVENT_TYPES.items()}
CATEGORIES = tuple(BODIES)


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """A field of an event: where it stands in the records, and of which type it is."""

    name: str
    origin: str
    """`event`, `flow` (of the Flow record) or `body`."""
    path: tuple[str, ...]
    """Attributes to follow from there."""
    type: str
    """text, integer, number, boolean, time."""
    many: bool = False
    """A list: a comparison holds when it holds for any element."""
    record: str = ""
    """Record and attribute that document it: `Session.verdict`."""
    inner: Any = None
    """Class of the records of which the body holds a list, where the field is one scalar of each."""


def _shared(name: str, origin: str, attribute: str, kind: str, many: bool = False) -> Field:
    record = {"flow": "Flow", "event": "Event"}[origin]
    return Field(name=name, origin=origin, path=(attribute,), type=kind, many=many, record=f"{record}.{attribute}")


SHARED = {
    field.name: field
    for field in (
        _shared("timestamp", "event", "time_ns", "time"),
        _shared("event_type", "event", "kind", "text"),
        _shared("pcap_cnt", "event", "packet", "integer"),
        _shared("flow_id", "flow", "flow_id", "integer"),
        _shared("community_id", "flow", "community_id", "text"),
        _shared("src_ip", "flow", "client", "text"),
        _shared("src_port", "flow", "client_port", "integer"),
        _shared("dest_ip", "flow", "server", "text"),
        _shared("dest_port", "flow", "server_port", "integer"),
        _shared("proto", "flow", "protocol", "text"),
        _shared("vlan", "flow", "vlan", "integer", many=True),
        _shared("in_iface", "flow", "interface", "text"),
        _shared("pcap_filename", "flow", "source", "text"),
        _shared("flow.pkts_toserver", "flow", "packets_client", "integer"),
        _shared("flow.pkts_toclient", "flow", "packets_server", "integer"),
        _shared("flow.bytes_toserver", "flow", "bytes_client", "integer"),
        _shared("flow.bytes_toclient", "flow", "bytes_server", "integer"),
    )
}
"""Fields of every category."""

_SCALARS = {str: "text", int: "integer", float: "number", bool: "boolean"}


def _hints(record: type) -> dict[str, Any]:
    """As typing.get_type_hints, in a twentieth of the time: the same few types stand at hundreds of fields."""
    return {name: _type_of(annotation, record.__module__)
            for each in reversed(record.__mro__) if each.__module__.startswith("imapids.")
            for name, annotation in each.__annotations__.items()}


@functools.cache
def _type_of(annotation: str, module: str) -> Any:
    """What the text of an annotation stands for in a module of ours."""
    return eval(annotation, vars(sys.modules[module]))  # noqa: S307  # our own source


def _scalar(kind: Any) -> Any:
    """The type without `| None`."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        rest = [arm for arm in typing.get_args(kind) if arm is not type(None)]
        return rest[0] if len(rest) == 1 else kind
    return kind


def _walk(record: type, prefix: str, path: tuple[str, ...], many: bool) -> typing.Iterator[Field]:
    """The fields of a record and of the records inside it; `many`: there is a list of these records."""
    hints = _hints(record)
    for item in record.__struct_fields__:  # type: ignore[attr-defined]  # every msgspec record has it
        kind, several = _scalar(hints[item]), many
        if typing.get_origin(kind) in (list, tuple):
            kind, several = _scalar(typing.get_args(kind)[0]), True
        name, where = f"{prefix}.{item}", (*path, item)
        if kind in _SCALARS:
            yield Field(name=name, origin="body", path=where, type=_SCALARS[kind], many=several,
                        record=f"{record.__name__}.{item}",
                        inner=record if many and len(where) == 2 and kind is _scalar(hints[item]) else None)
        elif typing.get_origin(kind) is dict:
            yield Field(name=name, origin="body", path=where, type="text", many=True,
                        record=f"{record.__name__}.{item}")
        elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            yield from _walk(kind, name, where, several)


@functools.cache
def fields_of(category: str) -> dict[str, Field]:
    """All fields of a category by Sigma name; of every category where it is empty. Unknown category: KeyError."""
    if not category:
        found: dict[str, Field] = {}
        for known in CATEGORIES:
            found.update(fields_of(known))
        return found
    body = BODIES[category]
    own = {field.name: field for field in _walk(body, category, (), many=False)}
    direct = {**SHARED, **own}
    direct["app_proto"] = Field(name="app_proto", origin="event", path=("app_proto",), type="text",
                                record="eve.app_proto")
    return direct


def lookup(category: str, name: str) -> Field | None:
    """The field of that name, or None. `session.anomalies.NAME` is the count under that name of a table field."""
    known = fields_of(category)
    found = known.get(name)
    if found is not None:
        return found
    stem, _, key = name.rpartition(".")
    table = known.get(stem)
    if table is None or not key or not _is_table(table):
        return None
    value = _table_value(table)
    return Field(name=name, origin=table.origin, path=(*table.path, key), type=value, record=table.record)


def _attribute_type(field: Field) -> Any:
    record = next((body for body in BODIES.values() if field.record.startswith(body.__name__ + ".")), None)
    return _hints(record)[field.record.partition(".")[2]] if record else None


def _is_table(field: Field) -> bool:
    return len(field.path) == 1 and typing.get_origin(_attribute_type(field)) is dict


def _table_value(field: Field) -> str:
    return _SCALARS.get(typing.get_args(_attribute_type(field))[1], "text")


def app_proto_of(event: Event) -> str | None:
    """EVE's `app_proto`: what a session speaks, `failed` where that is unknown; the layer for other events."""
    body = event.body
    if event.kind == "session":
        return getattr(body, "protocol", None) or "failed"
    if event.kind == "anomaly":
        return getattr(body, "app_proto", None) or None
    return {"command": "imap", "login": "imap", "message": "imap", "guessing": "imap", "mailbox": "imap",
            "tls": "tls"}.get(event.kind)


def _follow(value: Any, path: tuple[str, ...]) -> Any:
    """The value at the end of a path; lists on the way give a tuple of all their elements."""
    for position, name in enumerate(path):
        if value is None:
            return None
        if isinstance(value, (list, tuple)):
            found = [_follow(item, path[position:]) for item in value]
            return tuple(part for item in found for part in (item if isinstance(item, tuple) else (item,)))
        value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
    if isinstance(value, (list, tuple, dict)):
        return tuple(value)
    return value


def getter(field: Field) -> Getter:
    """Reads the field of an event. Empty text counts as absent: the records say "empty where there is none"."""
    path = field.path
    if field.name == "app_proto":
        return app_proto_of
    if field.origin == "event":
        return operator.attrgetter(path[0])
    if field.origin == "flow":
        of_flow = operator.attrgetter(path[0])  # tuples and scalars only: nothing to convert
        return lambda event: None if event.flow is None else of_flow(event.flow)
    if len(path) == 1 and not field.many:
        return operator.attrgetter(f"body.{path[0]}")
    if len(path) == 1:
        whole = operator.attrgetter(f"body.{path[0]}")
        return lambda event: tuple(whole(event))
    if field.inner is not None:
        outer, inner = operator.attrgetter(f"body.{path[0]}"), operator.attrgetter(path[1])
        return lambda event: (
            tuple(map(inner, items)) if isinstance(items := outer(event), list) else _follow(items, path[1:])
        )
    return lambda event: _follow(event.body, path)


def tuple_getter(fields: list[Field]) -> Callable[[Event], tuple[Any, ...]]:
    """Reads several fields as one tuple; fields of the flow, which most groups are made of, in one step."""
    readers = [getter(field) for field in fields]
    if len(fields) > 1 and all(field.origin == "flow" for field in fields):
        together = operator.attrgetter(*(field.path[0] for field in fields))
        absent = (None,) * len(fields)
        return lambda event: absent if event.flow is None else together(event.flow)
    return lambda event: tuple([read(event) for read in readers])


def texts_of(event: Event) -> tuple[str, ...]:
    """Every text of an event: what a Sigma keyword looks at."""
    found = [value for field in fields_of(event.kind).values() for value in _texts(getter(field)(event))]
    return tuple(found)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, tuple) else []
