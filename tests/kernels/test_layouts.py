"""Fields of records, read by their place in memory."""

from __future__ import annotations

import msgspec
import pytest

from imapids import kernels
from imapids.records.events import EVENT_TYPES, Event
from imapids.records.streams import Flow, StreamChunk

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")


@pytest.mark.parametrize("record", [Event, StreamChunk, *EVENT_TYPES], ids=lambda record: record.__name__)
def test_the_records_that_runs_make_most_can_be_made(record: type) -> None:
    assert kernels.events.Layout(record).makes


@pytest.mark.parametrize("record", [Flow, Event], ids=lambda record: record.__name__)
def test_every_field_has_its_place(record: type) -> None:
    layout = kernels.events.Layout(record)
    assert layout.names == record.__struct_fields__  # type: ignore[attr-defined]  # every record has it
    assert [layout.place(name) for name in layout.names] == list(range(len(layout.names)))


class Followed(msgspec.Struct):
    """A record that the garbage collector follows."""

    items: list[int]


@pytest.mark.parametrize("record", [
    pytest.param(Followed, id="a record that the garbage collector follows"),
    pytest.param(Flow, id="a record with weak references"),
])
def test_records_that_the_garbage_collector_follows_are_only_read(record: type) -> None:
    assert not kernels.events.Layout(record).makes


class WithoutSlots:
    """No record."""


@pytest.mark.parametrize("record", [
    pytest.param(WithoutSlots, id="a class of another kind"),
    pytest.param(int, id="a built-in type"),
])
def test_what_has_no_such_layout_is_refused(record: type) -> None:
    with pytest.raises(TypeError):
        kernels.events.Layout(record)


def test_an_unknown_field_has_no_place() -> None:
    with pytest.raises(ValueError, match="not in"):
        kernels.events.Layout(Event).place("verdict")
