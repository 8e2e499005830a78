"""How compiled loops read the fields of events: where each stands in the records, for those that stand in one place."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from imapids import kernels
from imapids.detect.fields import BODIES, Field, Getter
from imapids.records.events import Event
from imapids.records.streams import Flow

if TYPE_CHECKING:
    from imapids.kernels._events import Layout, Reading


@functools.cache
def layout_of(record: type) -> Layout:
    """Where the fields of a record stand."""
    return kernels.events.Layout(record)


def reading_of(category: str, field: Field | None, get: Getter) -> Reading:
    """Reads what `get` gives; without a step of Python's own where the field is one of the body's or of the flow's,
    or one field of a list of records in the body (`session.evidence.code`). Needs the kernels."""
    record = {"body": BODIES.get(category), "flow": Flow}.get(field.origin) if field is not None else None
    if field is None or record is None or (len(field.path) > 1 and field.inner is None):
        return kernels.events.Reading(get)
    event = layout_of(Event)
    if len(field.path) == 1:
        return kernels.events.Reading(get, event, field.origin, layout_of(record), field.path[0], field.many)
    return kernels.events.Reading(get, event, field.origin, layout_of(record), field.path[0],
                                  inner=layout_of(field.inner), inner_name=field.path[1])
