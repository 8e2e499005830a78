"""The turns of a conversation: who spoke when, however its packets came."""

from __future__ import annotations

import pytest

from imapids.config import DialogueLimits
from imapids.pipeline.turns import TurnRecorder
from imapids.records.streams import CLIENT, SERVER, StreamChunk

MS = 10**6
_Packet = tuple[int, int, int]
"""side, time in ms, bytes"""


def chunks(packets: list[_Packet], together: int) -> list[StreamChunk]:
    """Chunks of at most so many packets of one side each."""
    found: list[StreamChunk] = []
    run: list[_Packet] = []
    for packet in [*packets, (-1, 0, 0)]:
        if run and (packet[0] != run[0][0] or len(run) == together):
            starts, at = [], 0
            for _, _, size in run:
                starts.append(at)
                at += size
            chunk = StreamChunk(run[0][0], 0, bytes(at), run[0][1] * MS, 1)
            if len(run) > 1:
                chunk.starts, chunk.packets = starts[1:], [1] * (len(run) - 1)
                chunk.times = [time * MS for _, time, _ in run[1:]]
            found.append(chunk)
            run = []
        run.append(packet)
    return found


def recorded(packets: list[_Packet], together: int = 99, limits: DialogueLimits | None = None) -> TurnRecorder:
    recorder = TurnRecorder(limits or DialogueLimits())
    for chunk in chunks(packets, together):
        recorder.add(chunk, True)
    return recorder


@pytest.mark.parametrize("together", [1, 2, 99], ids=["packet by packet", "in pairs", "as long as one side speaks"])
@pytest.mark.parametrize(("packets", "turns"), [
    pytest.param([(CLIENT, 0, 5), (SERVER, 4, 64), (CLIENT, 1_000, 5)],
                 [(0, 0, 5), (1, 4, 64), (0, 1_000, 5)], id="a turn begins where the side changes"),
    pytest.param([(SERVER, 0, 1_400), (SERVER, 20, 1_400), (SERVER, 40, 300)], [(1, 0, 3_100)],
                 id="packets of one answer are one turn"),
    pytest.param([(CLIENT, 0, 1), (CLIENT, 5_000, 1), (CLIENT, 10_000, 1)],
                 [(0, 0, 1), (0, 5_000, 1), (0, 10_000, 1)], id="a side that pauses begins a new turn"),
    pytest.param([(CLIENT, 0, 7), (CLIENT, 150, 7), (CLIENT, 300, 7), (CLIENT, 501, 7)],
                 [(0, 0, 21), (0, 501, 7)], id="a pause is longer than the limit"),
])
def test_turns(packets: list[_Packet], turns: list[_Packet], together: int) -> None:
    body = recorded(packets, together).body()
    assert list(zip(body.sides, (time // MS for time in body.times), body.sizes, strict=True)) == turns
    assert body.count == len(turns)


def test_the_newest_turns_are_kept_and_all_are_counted() -> None:
    limits = DialogueLimits(rhythm_turns=8)
    body = recorded([(place % 2, place, 1) for place in range(100)], limits=limits).body()
    assert body.count == 100
    assert body.times == [place * MS for place in range(92, 100)]
    assert len(body.sizes) == len(body.sides) == 8


def test_imap_is_not_recorded_and_what_follows_it_begins_with_the_other_side() -> None:
    recorder = TurnRecorder(DialogueLimits())
    said = chunks([(SERVER, 0, 20), (CLIENT, 10, 9), (CLIENT, 1_000, 9), (SERVER, 2_000, 30), (CLIENT, 3_000, 4)], 1)
    for chunk, foreign in zip(said, (False, False, True, True, True), strict=True):
        recorder.add(chunk, foreign)
    assert recorder.body().times == [2_000 * MS, 3_000 * MS], "the client's turn began as IMAP"
    recorder.forget()
    recorder.add(chunks([(CLIENT, 3_050, 4)], 1)[0], True)
    assert recorder.count == 0, "what was said so far is IMAP, to the end of the turn"
