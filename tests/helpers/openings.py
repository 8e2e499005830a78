"""Openings of conversations for tests: whole, and in all the ways in which they may arrive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from imapids.records.candidates import Opening
from imapids.records.streams import CLIENT, SERVER

Turn = tuple[int, bytes]


def c(data: bytes) -> Turn:
    """The client says this."""
    return CLIENT, data


def s(data: bytes) -> Turn:
    """The server says this."""
    return SERVER, data


def talk(
    *turns: Turn, over: bool = True, midstream: bool = False, sides_seen: str = "both", after: str = ""
) -> Opening:
    """The opening of a TCP conversation with these turns; `over`: no more will come of either side."""
    runs: list[tuple[int, int]] = []
    for side, data in turns:
        if runs and runs[-1][0] == side:
            runs[-1] = (side, runs[-1][1] + len(data))
        elif data:
            runs.append((side, len(data)))
    return Opening(
        client=b"".join(data for side, data in turns if side == CLIENT),
        server=b"".join(data for side, data in turns if side == SERVER),
        first_side=runs[0][0] if runs else None,
        turns=runs,
        midstream=midstream,
        sides_seen=sides_seen,
        client_ended=over,
        server_ended=over,
        after_upgrade=after,
    )


def datagrams(*turns: Turn, over: bool = True) -> Opening:
    """The opening of a UDP conversation with these datagrams."""
    opening = talk(*turns, over=over)
    opening.transport = "UDP"
    opening.datagrams = list(turns)
    return opening


def growing(turns: Iterable[Turn], cuts: Iterable[int], *, midstream: bool = False) -> Iterator[Opening]:
    """The same conversation as it grows: after every `cut` bytes (taken round and round), and once it is over."""
    turns = list(turns)
    sizes = list(cuts) or [1]
    done: list[Turn] = []
    step = 0
    for side, data in turns:
        at = 0
        while at < len(data):
            size = max(1, sizes[step % len(sizes)])
            step += 1
            done.append((side, data[at : at + size]))
            at += size
            yield talk(*done, over=False, midstream=midstream)
    yield talk(*turns, over=True, midstream=midstream)
