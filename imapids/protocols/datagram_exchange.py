"""How a conversation in datagrams is asked for: one datagram is one message, checked from end to end.

A conversation is named when the first datagram of every side that spoke is well formed.
"""

from __future__ import annotations

from collections.abc import Callable

from imapids.protocols.probing import NEED_MORE, NO, Answer, Probe, found, speaks
from imapids.protocols.probing import starts as first_bytes
from imapids.records.candidates import Opening

Check = Callable[[bytes], bool]
_KEEP_ALIVE = b"\r\n\x00"


def firsts(opening: Opening, count: int = 1) -> tuple[list[bytes], list[bytes]]:
    """The first datagrams of each side; keep-alives (up to four of CR, LF, NUL) are passed over."""
    sides: tuple[list[bytes], list[bytes]] = ([], [])
    for side, data in opening.datagrams:
        if len(sides[side]) < count and (len(data) > 4 or data.strip(_KEEP_ALIVE)):
            sides[side].append(data)
    return sides


def exchange(protocol: str, check: Check, reply: Check | None = None, starts: bytes = b"", count: int = 1) -> Probe:
    """A probe: the first `count` datagrams of the client pass `check`, those of the server `reply` (or `check`).

    Who is client may be unknown (a capture that begins in the middle), so the two may stand the other way round.
    Where a `reply` is asked for, it never names a protocol alone: the requests must be there.
    """
    replies = reply or check

    def look(opening: Opening) -> Answer:
        client, server = firsts(opening, count)
        missing = (len(client) < count and not opening.client_ended) or (
            len(server) < count and not opening.server_ended
        )
        straight = all(map(check, client)) and all(map(replies, server))
        swapped = reply is not None and all(map(check, server)) and all(map(replies, client))
        if not straight and not swapped:
            return NO, None
        if missing:
            return NEED_MORE, None
        if not ((straight and client) or (swapped and server) or (reply is None and server)):
            return NO, None
        sides = [("server", server), ("client", client)]
        evidence = [speaks(side, protocol, data[0]) for side, data in sides if data]
        look, finding = found(protocol, "high" if len(evidence) == 2 else "medium", *evidence)
        assert finding is not None
        finding.by_client_only = not server
        return look, finding

    return Probe(protocol, look, first_bytes(starts, starts))


# ---- names, addresses, time, management ---------------------------------------------------------------------
