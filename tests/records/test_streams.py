"""A chunk cut anywhere: every byte keeps its place, its packet and its time."""

from hypothesis import given
from hypothesis import strategies as st

from imapids.records.streams import StreamChunk


@st.composite
def chunks(draw: st.DrawFn) -> StreamChunk:
    """A chunk of one packet or several."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=8))
    starts = [sum(sizes[: place + 1]) for place in range(len(sizes) - 1)]
    several = bool(starts)
    return StreamChunk(0, 1000, bytes(range(sum(sizes))), 50, 7, starts if several else None,
                       [8 + place for place in range(len(starts))] if several else None,
                       [60 + place for place in range(len(starts))] if several else None)


def told(chunk: StreamChunk) -> list[tuple[int, int, int, int]]:
    """(offset in the stream, byte, packet, time) of every byte."""
    return [(chunk.offset + at, byte, *chunk.locate(at)) for at, byte in enumerate(chunk.data)]


@given(chunks(), st.data())
def test_a_part_says_of_each_byte_what_the_whole_says(chunk: StreamChunk, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(chunk.data) - 1))
    stop = data.draw(st.integers(start + 1, len(chunk.data)))
    part = chunk.part(start, stop)
    assert told(part) == told(chunk)[start:stop]
    assert part.starts is None or all(0 < at < len(part.data) for at in part.starts)


@given(chunks(), st.data())
def test_head_and_tail_are_the_whole(chunk: StreamChunk, data: st.DataObject) -> None:
    place = data.draw(st.integers(1, len(chunk.data) - 1)) if len(chunk.data) > 1 else len(chunk.data)
    tail = told(chunk.tail(place)) if place < len(chunk.data) else []
    assert told(chunk.head(place)) + tail == told(chunk)
