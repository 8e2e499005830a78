"""Plays a written dialogue into the IMAP machine, cut in any way, and judges it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec

from imapids.config import DialogueLimits
from imapids.judge import judge
from imapids.parse import ImapDialogue
from imapids.records.dialogue import SessionFacts, TlsFacts
from imapids.records.streams import CLIENT, SERVER, Flow, StreamChunk, StreamEnd, StreamGap
from imapids.records.verdicts import Verdict

C, S = CLIENT, SERVER
Talk = Sequence[tuple[int, bytes]]
GREETING = (S, b"* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN IDLE] mail.example.test ready\r\n")
LOGIN = ((C, b"a1 LOGIN bob hunter2\r\n"), (S, b"a1 OK LOGIN completed\r\n"))
SELECT = (
    (C, b"a2 SELECT INBOX\r\n"),
    (S, b"* FLAGS (\\Seen)\r\n* 3 EXISTS\r\n* 0 RECENT\r\na2 OK [READ-WRITE] SELECT completed\r\n"),
)
FETCH = (
    (C, b"a3 FETCH 1 BODY[]\r\n"),
    (S, b"* 1 FETCH (BODY[] {43}\r\nFrom: a@example.test\r\nSubject: hi\r\n\r\nbody\r\n)\r\na3 OK FETCH completed\r\n"),
)
LOGOUT = ((C, b"a9 LOGOUT\r\n"), (S, b"* BYE see you\r\na9 OK LOGOUT completed\r\n"))
SESSION = (GREETING, *LOGIN, *SELECT, *FETCH, *LOGOUT)


def hash_secret(user: bytes, secret: bytes | str) -> tuple[str, list[str]]:
    """A stand-in for the run's keyed hash: tests see which secret was meant without seeing it in any record."""
    return f"{sum(secret if isinstance(secret, bytes) else secret.encode()):016x}", []


class Played:
    """A dialogue that was played: the machine, its events, the rest of an upgrade, the verdict."""

    def __init__(self, dialogue: ImapDialogue, rest: list[StreamChunk], facts: SessionFacts) -> None:
        self.dialogue = dialogue
        self.rest = rest
        self.session = facts
        self.verdict: Verdict = judge(facts)

    @property
    def events(self) -> list[tuple[int, int, dict[str, Any]]]:
        """(time, packet, fields with the body's class under `is`)."""
        return [
            (time_ns, packet, {"is": type(body).__name__, **msgspec.to_builtins(body)})
            for time_ns, packet, body in self.dialogue.events
        ]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Events of one class."""
        return [body for _, _, body in self.events if body["is"] == kind]

    @property
    def codes(self) -> set[str]:
        """Evidence codes of the verdict."""
        return {evidence.code for evidence in self.verdict.evidence}

    @property
    def story(self) -> tuple[Any, ...]:
        """Everything that must not depend on how the bytes were cut."""
        rest: list[list[Any]] = []
        for chunk in self.rest:
            if rest and rest[-1][0] == chunk.side:
                rest[-1][1] += chunk.data
            else:
                rest.append([chunk.side, chunk.data])
        foreign = self.dialogue.foreign
        return (
            self.events,
            msgspec.to_builtins(self.dialogue.facts),
            msgspec.to_builtins(self.verdict),
            rest,
            None if foreign is None else (foreign.client, foreign.server, foreign.turns),
        )


def chunks_of(talk: Talk, cuts: Sequence[int] | int | None = None) -> list[StreamChunk]:
    """The talk as chunks. Each message is one packet, numbered from 1, one millisecond apart, however it is cut.

    `cuts`: None, each message whole; a number, pieces of that many bytes; a list, positions over all bytes.
    """
    chunks: list[StreamChunk] = []
    offsets = [0, 0]
    total = 0
    for number, (side, data) in enumerate(talk, 1):
        if cuts is None:
            edges = [0, len(data)]
        elif isinstance(cuts, int):
            edges = [*range(0, len(data), cuts), len(data)]
        else:
            edges = [0, *sorted({cut - total for cut in cuts if 0 < cut - total < len(data)}), len(data)]
        for start, end in itertools.pairwise(edges):
            chunks.append(StreamChunk(side, offsets[side] + start, data[start:end], number * 10**6, number))
        offsets[side] += len(data)
        total += len(data)
    return chunks


def join_chunks(chunks: Sequence[StreamChunk]) -> list[StreamChunk]:
    """Neighbours of one side as one chunk that knows its packets, as the flow stage delivers them."""
    joined: list[StreamChunk] = []
    for chunk in chunks:
        last = joined[-1] if joined else None
        if last is None or last.side != chunk.side:
            joined.append(StreamChunk(chunk.side, chunk.offset, chunk.data, chunk.time_ns, chunk.packet))
            continue
        last.starts = [*(last.starts or []), len(last.data)]
        last.packets = [*(last.packets or []), chunk.packet]
        last.times = [*(last.times or []), chunk.time_ns]
        last.data += chunk.data
    return joined


def play(
    talk: Talk,
    cuts: Sequence[int] | int | None = None,
    *,
    midstream: bool = False,
    sides: str = "both",
    tls: TlsFacts | None = None,
    limits: DialogueLimits | None = None,
    joined: bool = False,
    end: bool = True,
    snapped: bool = False,
) -> Played:
    """Feeds a talk, cut as `chunks_of` says; `joined` joins neighbours of one side again."""
    dialogue = ImapDialogue(limits or DialogueLimits(), midstream=midstream, sides_seen=sides, hash_secret=hash_secret)
    rest: list[StreamChunk] = []
    chunks = chunks_of(talk, cuts)
    for chunk in join_chunks(chunks) if joined else chunks:
        back = dialogue.feed(chunk)
        if back is not None:
            rest.append(back)
    if end:
        dialogue.end(StreamEnd(len(talk) * 10**6, len(talk), "fin"))
    return Played(dialogue, [*dialogue.carry, *rest], session_facts(dialogue, talk, midstream, sides, tls, snapped))


def play_pieces(
    pieces: Sequence[StreamChunk | StreamGap], *, midstream: bool = False, sides: str = "both", snapped: bool = False
) -> Played:
    """Feeds chunks and gaps as they are."""
    dialogue = ImapDialogue(DialogueLimits(), midstream=midstream, sides_seen=sides, hash_secret=hash_secret)
    rest = []
    for piece in pieces:
        if isinstance(piece, StreamGap):
            dialogue.gap(piece)
        else:
            back = dialogue.feed(piece)
            rest += [back] if back is not None else []
    dialogue.end(StreamEnd(10**9, 99, "fin"))
    talk = [(piece.side, piece.data) for piece in pieces if isinstance(piece, StreamChunk)]
    return Played(dialogue, rest, session_facts(dialogue, talk, midstream, sides, None, snapped))


def session_facts(
    dialogue: ImapDialogue, talk: Talk, midstream: bool, sides: str, tls: TlsFacts | None, snapped: bool
) -> SessionFacts:
    """What the pipeline would tell the judge."""
    facts = dialogue.facts
    sizes = [sum(len(data) for side, data in talk if side == which) for which in (C, S)]
    flow = Flow(
        protocol="TCP",
        client="192.0.2.1",
        client_port=40000,
        server="192.0.2.2",
        server_port=9,
        midstream=midstream,
        packets_client=1 if sides != "server" else 0,
        packets_server=1 if sides != "client" else 0,
        snapped=snapped,
    )
    return SessionFacts(
        flow=flow,
        first_side=talk[0][0] if talk else None,
        seen_client=sizes[C],
        seen_server=sizes[S],
        gaps_client=facts.gaps_client,
        gaps_server=facts.gaps_server,
        imap=facts,
        tls=tls,
    )
