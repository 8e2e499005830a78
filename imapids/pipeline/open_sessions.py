"""Conversations that go on: rules hear at fixed ages what they are, for a tunnel may stay open for weeks.

The ages are packet time, and a conversation is read up to the very packet that reaches one: batches change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from imapids.config import DialogueLimits
from imapids.judge import history, judge
from imapids.pipeline.conversation import Conversation
from imapids.pipeline.readings import other_reading
from imapids.pipeline.session import session_body
from imapids.records.events import OPEN_SESSION, Event
from imapids.records.streams import CLIENT, SERVER, Flow, Piece, StreamChunk

_TOLD = frozenset({"not-imap", "mimic"})
"""Verdicts that somebody should hear of before the end."""
Reached = tuple[int, int]
"""Time and number of the packet with which a conversation reached an age."""


class _Age:
    """What is known of one open conversation."""

    __slots__ = ("next_ns", "packets", "told")

    def __init__(self, next_ns: int) -> None:
        self.next_ns = next_ns
        self.packets = [0, 0]
        """Packets with payload of each side: what else came, the flow table tells at the end."""
        self.told: tuple[str, str | None, str | None] | None = None


class OpenSessions:
    """Looks at conversations that are `after_ns` old, twice as old, four times as old, and so on."""

    def __init__(self, after_ns: int, limits: DialogueLimits) -> None:
        self._after_ns = after_ns
        self._limits = limits
        self._ages: dict[int, _Age] = {}

    def __len__(self) -> int:
        return len(self._ages)

    def over(self, key: int) -> None:
        """A conversation has ended."""
        self._ages.pop(key, None)

    def parts(self, key: int, flow: Flow, pieces: Sequence[Piece]) -> Iterator[tuple[list[Piece], Reached | None]]:
        """The pieces of a conversation, cut where it reaches an age: there, they are to be read before it is judged."""
        age = self._ages.get(key)
        if age is None:
            age = self._ages[key] = _Age(flow.start_ns + self._after_ns)
        waiting: list[Piece] = []
        for piece in pieces:
            rest: Piece | None = piece
            while type(rest) is StreamChunk:
                reached = _reaches(rest, age.next_ns)
                if reached is None:
                    age.packets[rest.side] += 1 + len(rest.starts or ())
                    break
                place, time_ns, packet = reached
                if place:
                    head, rest = rest.head(place), rest.tail(place)
                    waiting.append(head)
                    age.packets[head.side] += 1 + len(head.starts or ())
                while age.next_ns <= time_ns:
                    age.next_ns += age.next_ns - flow.start_ns
                yield waiting, (time_ns, packet)
                waiting = []
            assert rest is not None
            waiting.append(rest)
        yield waiting, None

    def look(self, key: int, conversation: Conversation, reached: Reached) -> Event | None:
        """What a conversation is so far, where that is news somebody should hear of."""
        age = self._ages[key]
        time_ns, packet = reached
        flow = replace(  # the table may have filled in its end: that came in the same batch
            conversation.flow, end_ns=time_ns, last_packet=packet, state="open", end_reason="",
            bytes_client=conversation.seen[CLIENT], bytes_server=conversation.seen[SERVER],
            packets_client=age.packets[CLIENT], packets_server=age.packets[SERVER], flags_client=0, flags_server=0,
            missing_client=0, missing_server=0, snapped=False, anomalies={}, limits=[])
        facts = conversation.facts_so_far(flow)
        if facts is None:
            return None
        facts.other_reading = other_reading(conversation, self._limits)
        verdict = judge(facts)
        known = verdict.verdict, verdict.protocol, verdict.shape
        if verdict.verdict not in _TOLD or known == age.told:
            return None
        age.told = known
        body = session_body(flow, verdict, history(facts, verdict), first_side=facts.first_side, imap=facts.imap,
                            tls=facts.tls)
        return Event(OPEN_SESSION, flow.start_ns, body, flow, flow.first_packet, time_ns)


def _reaches(chunk: StreamChunk, time_ns: int) -> tuple[int, int, int] | None:
    """The first packet of a chunk that is not older: (position of its bytes, time, number)."""
    if chunk.time_ns >= time_ns:
        return 0, chunk.time_ns, chunk.packet
    if chunk.starts is None or chunk.packets is None or chunk.times is None:
        return None
    for start, packet, time in zip(chunk.starts, chunk.packets, chunk.times, strict=True):
        if time >= time_ns:
            return start, time, packet
    return None
