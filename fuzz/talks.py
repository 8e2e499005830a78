"""Inputs of the dialogue targets: who says what, as bytes, and seeds of that form from the sample captures."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from imapids.capture import open_captures
from imapids.config import CaptureLimits, DecodeLimits, FlowLimits
from imapids.decode import Decoder
from imapids.flows import FlowTable
from imapids.records.segments import EncapsulationTable
from imapids.records.streams import StreamChunk

SAMPLES = Path(__file__).resolve().parent.parent / "sample_pcaps"
_MARK = b"\xff\xfe"
"""Ends a turn. It stands in no text, and changes to an input find it easily enough."""
_MOST_TURNS = 40

Talk = list[tuple[int, bytes]]


def written(talk: Iterable[tuple[int, bytes]]) -> bytes:
    """A dialogue as an input: each turn is a byte for its side (odd: the server's), its bytes, and a mark."""
    return b"".join(bytes([48 + side]) + data + _MARK for side, data in talk)


def talk_of(data: bytes) -> Talk:
    """The dialogue that an input means; any bytes mean one."""
    return [(part[0] & 1, part[1:]) for part in data.split(_MARK)[:_MOST_TURNS] if len(part) > 1]


def of_samples(names: Sequence[str], most_bytes: int = 4096) -> list[bytes]:
    """The dialogues of sample captures, as inputs."""
    found = []
    for name in names:
        path = SAMPLES / f"{name}.pcap"
        if not path.exists():
            print(f"no sample {name}", file=sys.stderr)
            continue
        found += [written(talk)[:most_bytes] for talk in _talks(path)]
    return found


def _talks(path: Path) -> Iterable[Talk]:
    encapsulations = EncapsulationTable()
    decoder, table = Decoder(DecodeLimits(), encapsulations), FlowTable(FlowLimits(), encapsulations)
    talks: dict[int, Talk] = {}
    with open_captures([str(path)], limits=CaptureLimits()) as reader:
        updates = [update for batch in reader for update in table.feed(decoder.feed(batch).segments)]
    for update in [*updates, *(update for rest in table.finish() for update in rest)]:
        for piece in update.pieces:
            if isinstance(piece, StreamChunk):
                talks.setdefault(update.key, []).append((piece.side, bytes(piece.data)))
    return talks.values()
