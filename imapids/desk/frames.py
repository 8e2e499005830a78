"""Data frames of events, alerts and cases: the columns of each, and how they are filled straight from the records."""

from __future__ import annotations

import gc
import socket
import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import count
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from imapids.desk.arrays import array
from imapids.desk.cases import Case
from imapids.desk.columns import TEXT, TIME, WORD, WORDS, Column, Rows, columns_of, reader
from imapids.detect.rolling import case_of
from imapids.output.eve_line import FILE_NAME_BYTES
from imapids.output.table_text import why_line
from imapids.protocols.addresses import MAPPED
from imapids.protocols.text import safe_str
from imapids.records.alerts import Alert, RuleInfo
from imapids.records.candidates import Evidence
from imapids.records.events import EVENT_TYPES, Body, Event, InputAccount
from imapids.records.streams import Flow
from imapids.records.verdicts import Revision

_NO_FLOW = Flow(protocol="", client="", client_port=0, server="", server_port=0, flow_id=-1)
"""Stands for the conversation of events that are about none."""

_HALVES = struct.Struct(">QQ")

BODIES: dict[str, type[Body]] = {kind: body for body, kind in EVENT_TYPES.items()}
"""Record type by event type."""
PACKED = ("session", "flow")
"""Event types whose addresses stand in the frame as numbers, too."""


class Detail(NamedTuple):
    """Records inside the records of an event type that have a frame of their own."""

    kind: str
    field: str
    record: type[msgspec.Struct]


DETAILS = {
    "evidence": Detail("session", "evidence", Evidence),
    "history": Detail("session", "history", Revision),
    "inputs": Detail("capture", "inputs", InputAccount),
}
"""Frames with one row for each of the records inside others, joined by flow_id."""


class FlowRows(Rows):
    """The conversations of the rows of a frame; addresses come back, so what is made of one is made once."""

    def side(self, name: str) -> tuple[list[str], Any]:
        """The different addresses of a side, and for each row the index of its own."""
        known = self.__dict__.setdefault("_sides", {})
        if name not in known:
            number: defaultdict[str, int] = defaultdict(count().__next__)
            rows = np.fromiter(map(number.__getitem__, self.column(name)), np.int64, len(self))
            known[name] = list(number), rows
        found: tuple[list[str], Any] = known[name]
        return found

    def spread(self, name: str, values: Sequence[Any], dtype: Any) -> Any:
        """A column of what each different address of a side stands for."""
        return np.array(values, dtype)[self.side(name)[1]]


class Part(NamedTuple):
    """Columns that read the same rows: the events, their flows, or their bodies."""

    rows: str
    columns: list[Column]


# ---- columns of every frame about conversations ---------------------------------------------------------------------

def _of_flow(name: str, dtype: str, field: str) -> Column:
    return Column(name=name, dtype=dtype, read=reader((field,)), words=WORDS.get(name, ()) if dtype == WORD else (),
                  source=f"Flow.{field}")


def _address(side: str) -> Column:
    def read(flows: FlowRows) -> Any:
        return flows.spread(side, flows.side(side)[0], object)

    return Column(name=side, dtype=TEXT, read=read, source=f"Flow.{side}")


def _port(field: str) -> Column:
    def read(flows: FlowRows) -> Sequence[int | None]:
        ports = flows.column(field)
        return [None if flow is _NO_FLOW else port for flow, port in zip(flows, ports, strict=True)] if (
            0 in ports) else ports

    return Column(name=field, dtype="UInt16", read=read, source=f"Flow.{field}")


def _flow_ids(flows: FlowRows) -> Sequence[int | None]:
    numbers = flows.column("flow_id")
    return [None if number < 0 else number for number in numbers] if min(numbers, default=0) < 0 else numbers


def _cases(flows: FlowRows) -> Any:
    """Hashes are made once for each client, server and port."""
    (_, client), (servers, server) = flows.side("client"), flows.side("server")
    ports = np.fromiter(map(attrgetter("server_port"), flows), np.int64, len(flows))
    row, different = pd.factorize((client * len(servers) + server) * 2**17 + ports)
    example = np.zeros(len(different), np.int64)
    example[row] = np.arange(len(row))  # any row of a case will do
    cases = [case_of(None if flows[index] is _NO_FLOW else flows[index]) for index in example.tolist()]
    return np.array(cases, object)[row]


def _file_names(flows: FlowRows) -> Sequence[str]:
    """Names of captures as safe text: file names may hold anything."""
    names = flows.column("source")
    shown = {name: safe_str(name, FILE_NAME_BYTES) for name in set(names)}
    return list(map(shown.__getitem__, names))


def _packets(events: Rows) -> Sequence[int | None]:
    numbers = events.column("packet")
    return [number or None for number in numbers] if 0 in numbers else numbers


def conversation(rows_of_direction: str) -> tuple[Part, ...]:
    """The columns about the conversation; the direction stands in the body, or else in the flow."""
    direction = Column(name="direction", dtype=WORD, read=reader(("direction",)), words=WORDS["direction"],
                       source="Flow.direction")
    return (
        Part("event", [Column(name="time", dtype=TIME, read=reader(("time_ns",)), source="Event.time_ns")]),
        Part("flow", [
            Column(name="flow_id", dtype="Int64", read=_flow_ids, source="Flow.flow_id"),
            Column(name="case", dtype=TEXT, read=_cases, source="Alert.case"),
            _address("client"), _port("client_port"), _address("server"), _port("server_port"),
            _of_flow("proto", WORD, "protocol"),
        ]),
        Part(rows_of_direction, [direction]),
        Part("flow", [_of_flow("community_id", TEXT, "community_id"),
                      Column(name="pcap_filename", dtype=TEXT, read=_file_names, source="Flow.source")]),
        Part("event", [Column(name="pcap_cnt", dtype="Int64", read=_packets, source="Event.packet")]),
    )


CONVERSATION = conversation("flow")
"""Who, when and where: the first columns of every frame of events and alerts."""
_CONVERSATION_NAMES = frozenset(column.name for part in CONVERSATION for column in part.columns)
_KEY_NAMES = ("time", "flow_id", "case")


def packed(side: str) -> list[Column]:
    """`client_hi` and `client_lo` (or of the server): an address as two uint64, as protocols/addresses.py has them."""
    def half(index: int) -> Callable[[FlowRows], Any]:
        def read(flows: FlowRows) -> Any:
            return flows.spread(side, [_packed_address(text)[index] for text in flows.side(side)[0]], np.uint64)

        return read

    return [Column(name=f"{side}_{name}", dtype="uint64", read=half(index), source=f"Flow.{side}")
            for index, name in enumerate(("hi", "lo"))]


def _packed_address(text: str) -> tuple[int, int]:
    """Both halves, zeros where the text is no address."""
    try:
        if ":" in text:
            return _HALVES.unpack(socket.inet_pton(socket.AF_INET6, text))
        return 0, MAPPED | int.from_bytes(socket.inet_pton(socket.AF_INET, text))
    except (OSError, ValueError):  # out of a saved line
        return 0, 0


# ---- the plans -------------------------------------------------------------------------------------------------------

@lru_cache(maxsize=64)
def event_plan(kind: str) -> tuple[Part, ...]:
    """The columns of an event type; of one that this version does not know only those about the conversation."""
    if kind not in BODIES:
        return CONVERSATION
    body = BODIES[kind]
    own = [_without_clash(column, kind) for column in columns_of(kind, body, leave_out=frozenset({"direction"}))]
    addresses = [Part("flow", [*packed("client"), *packed("server")])] if kind in PACKED else []
    first = conversation("body" if "direction" in body.__struct_fields__ else "flow")
    return (*first, Part("body", own), *addresses)


def _without_clash(column: Column, kind: str) -> Column:
    """A field that is called like a column about the conversation is named after its event type."""
    if column.name not in _CONVERSATION_NAMES:
        return column
    return msgspec.structs.replace(column, name=f"{kind}_{column.name}")


@lru_cache(maxsize=1)
def alert_plan() -> tuple[Part, ...]:
    """The columns of alerts."""
    own = columns_of("alert", Alert, merge=frozenset({"rule"}),
                     leave_out=frozenset({"time_ns", "flow", "packet", "direction", "why", "case"}))
    renamed = {f"{RuleInfo.__name__}.id": "rule_id", f"{RuleInfo.__name__}.name": "rule_name"}
    own = [msgspec.structs.replace(column, name=renamed.get(column.source, column.name)) for column in own]
    why = Column(name="why", dtype=TEXT, read=lambda alerts: [why_line(alert.why) for alert in alerts],
                 source="Alert.why")
    return (*conversation("body"), Part("body", [*own, why]))


@lru_cache(maxsize=1)
def case_plan() -> tuple[Part, ...]:
    """The columns of cases."""
    return (Part("body", columns_of("case", Case)),)


@lru_cache(maxsize=8)
def detail_plan(name: str) -> tuple[Part, ...]:
    """The columns of the records inside others: to which event they belong, then their own."""
    detail = DETAILS[name]
    keys = [Part(part.rows, [column for column in part.columns if column.name in _KEY_NAMES]) for part in CONVERSATION]
    own = columns_of("input" if name == "inputs" else detail.kind, detail.record)
    return (*keys, Part("body", own))


def names_and_dtypes(plan: Iterable[Part]) -> dict[str, str]:
    """Name and documented dtype of each column, in order."""
    return {column.name: column.dtype for part in plan for column in part.columns}


# ---- frames ----------------------------------------------------------------------------------------------------------

def frame(plan: Sequence[Part], rows: dict[str, Rows]) -> pd.DataFrame:
    """A frame with the columns of a plan, from rows by the names that its parts ask for."""
    with _no_collection():
        for name, records in rows.items():
            wanted = sum(len(part.columns) for part in plan if part.rows == name)
            if records and 2 * wanted > len(records[0].__struct_fields__):
                records.gather()
        arrays = {column.name: _filled(column, rows[part.rows]) for part in plan for column in part.columns}
    return pd.DataFrame(arrays, copy=False)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Lists by the hundred thousand are no garbage: looking through all records for it takes longer than the frame."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _filled(column: Column, rows: Rows) -> Any:
    if column.dtype == "uint64":
        return column.read(rows)
    return array(column.read(rows), column.dtype, column.words, ordered=column.ordered)


def event_frame(kind: str, events: Sequence[Event]) -> pd.DataFrame:
    """The frame of the events of one type."""
    rows = Rows(events)
    with _no_collection():
        rows.gather()
    return frame(event_plan(kind), {"event": rows, "flow": _flows(rows), "body": Rows(rows.column("body"))})


def alert_frame(alerts: Sequence[Alert]) -> pd.DataFrame:
    """The frame of alerts, one row for each record."""
    return frame(alert_plan(), {"event": Rows(alerts), "flow": _flows(Rows(alerts)), "body": Rows(alerts)})


def case_frame(cases: Sequence[Case]) -> pd.DataFrame:
    """The frame of cases."""
    return frame(case_plan(), {"body": Rows(cases)})


def detail_frame(name: str, events: Sequence[Event]) -> pd.DataFrame:
    """One row for each record inside the events: evidence, history, inputs."""
    field = DETAILS[name].field
    pairs = [(event, record) for event in events for record in getattr(event.body, field)]
    outer = Rows([event for event, _ in pairs])
    return frame(detail_plan(name), {"event": outer, "flow": _flows(outer),
                                     "body": Rows([record for _, record in pairs])})


def _flows(rows: Rows) -> FlowRows:
    """The conversations of events or alerts."""
    flows = rows.column("flow")
    return FlowRows([_NO_FLOW if flow is None else flow for flow in flows] if None in flows else flows)
