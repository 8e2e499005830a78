"""The other reading of a conversation whose bytes came twice and differ: which copy the host took, nobody can know.

The first copy of a byte is delivered (DESIGN section 6). Who wants to deceive a monitor sends harmless bytes first, and
then, for the same place in the stream, those that the host is to take (Ptacek and Newsham 1998, section 5.4). So the
first bytes of both sides are read a second time with the later copies in place, from the greeting to the verdict.
"""

from __future__ import annotations

from msgspec.structs import replace

from imapids.config import DialogueLimits
from imapids.judge import judge
from imapids.pipeline.conversation import Conversation
from imapids.records.dialogue import OtherReading
from imapids.records.streams import CLIENT, SERVER, Flow, Piece, StreamChunk, StreamEnd
from imapids.records.verdicts import Verdict


def other_reading(conversation: Conversation, limits: DialogueLimits) -> OtherReading | None:
    """What later copies make of a conversation; None where they change nothing.

    Both readings are judged by the same first bytes (`sniff_bytes` a side, `sniff_turns` turns): a difference is due to
    the copies, not to where the kept bytes end.
    """
    conflicts = conversation.conflicts
    if not conflicts:
        return None
    first = [bytes(data) for data in conversation.prefix.data]
    later = [bytearray(data) for data in first]
    for conflict in conflicts:
        kept = later[conflict.side]
        copy = conflict.second[: max(len(kept) - conflict.offset, 0)]
        kept[conflict.offset : conflict.offset + len(copy)] = copy
    if all(bytes(changed) == data for changed, data in zip(later, first, strict=True)):
        return None
    one = _verdict_on(conversation, first, limits)
    other = _verdict_on(conversation, [bytes(data) for data in later], limits)
    if (one.verdict, one.protocol, one.shape) == (other.verdict, other.protocol, other.shape):
        return None
    return OtherReading(other.verdict, other.protocol or other.shape or "", other.confidence, conflicts[0])


def _verdict_on(conversation: Conversation, data: list[bytes], limits: DialogueLimits) -> Verdict:
    """The verdict on the first bytes of both sides, said in the turns of the conversation."""
    flow: Flow = replace(conversation.flow, limits=[])  # what this reading hits is no limit of the flow
    again = Conversation(flow, limits, None)
    at = [0, 0]
    time_ns = flow.start_ns
    pieces: list[Piece] = []
    for side, size in conversation.prefix.turns:
        said = data[side][at[side] : at[side] + size]
        if said:
            pieces.append(StreamChunk(side, at[side], said, time_ns, conversation.first_packet[side]))
        at[side] += size
    pieces.append(StreamEnd(time_ns, max(conversation.first_packet[CLIENT], conversation.first_packet[SERVER]), "cut"))
    again.feed(pieces)
    return judge(again.facts())
