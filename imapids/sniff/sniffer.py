"""Decides what a conversation looks like from its first bytes, once, and never changes its mind.

The law: when `sniff` says `final`, every extension of the same opening gets the same answer. So it does not matter
when and how often it is asked, and the answer cannot depend on how the bytes were cut into segments.
"""

from __future__ import annotations

from imapids.protocols.imap_opening import look_for_dialogue, look_for_greeting
from imapids.protocols.probing import NEED_MORE, NO, YES, Probe
from imapids.records.candidates import Candidate, Opening
from imapids.sniff.probes import TCP_PROBES, UDP_PROBES

_IMAP = Candidate(kind="imap", final=True)
_WAIT = Candidate(kind="undecided")
_NOBODY = 256
"""Stands for "no byte yet" in the dispatch tables."""


class _Dispatch:
    """Which probes are worth asking, by the first byte of each side: a table of bit masks, filled when needed."""

    def __init__(self, probes: tuple[Probe, ...]) -> None:
        self._probes = probes
        everyone = (1 << len(probes)) - 1
        self._by_server: list[int | None] = [None] * _NOBODY + [everyone]
        self._by_client: list[int | None] = [None] * _NOBODY + [everyone]
        self._chosen: dict[tuple[int, int], tuple[Probe, ...]] = {}

    def choose(self, server: int, client: int) -> tuple[Probe, ...]:
        """The probes that these first bytes (or 256) do not exclude, in order."""
        chosen = self._chosen.get((server, client))
        if chosen is None:
            mask = self._server_mask(server) & self._client_mask(client)
            chosen = tuple(probe for bit, probe in enumerate(self._probes) if mask >> bit & 1)
            self._chosen[server, client] = chosen
        return chosen

    def _server_mask(self, first: int) -> int:
        mask = self._by_server[first]
        if mask is None:
            mask = sum(1 << bit for bit, probe in enumerate(self._probes) if probe.server_may_start(first))
            self._by_server[first] = mask
        return mask

    def _client_mask(self, first: int) -> int:
        mask = self._by_client[first]
        if mask is None:
            mask = sum(1 << bit for bit, probe in enumerate(self._probes) if probe.client_may_start(first))
            self._by_client[first] = mask
        return mask


_TCP = _Dispatch(TCP_PROBES)
_UDP = _Dispatch(UDP_PROBES)


def sniff(opening: Opening) -> Candidate:
    """What a conversation looks like from its first bytes: a pure function of the opening.

    `kind` is `imap` where the IMAP machine is to judge it, `tls` where the TLS parser is, `opaque` where neither is;
    then `finding` holds the protocol or shape, if one was recognised. `undecided` (never final) means that more
    bytes are needed. With `final` the answer holds whatever bytes follow.
    """
    server = opening.server
    waiting = False
    if opening.transport == "TCP":
        # Nearly all conversations on the port end here: the server greets, and that alone chooses the parser.
        if server[:1] == b"*":
            greets = look_for_greeting(server)
            if greets is YES:
                return _IMAP
            waiting = greets is NEED_MORE and not opening.server_ended
        elif not server and not opening.server_ended:
            return _WAIT  # the server decides what it is; whatever the client says, it may still greet
        if not waiting:
            looks = look_for_dialogue(opening)
            if looks is YES:
                return _IMAP
            waiting = looks is NEED_MORE
        if waiting:
            return _WAIT
        dispatch = _TCP
    else:
        dispatch = _UDP
    client = opening.client
    over = opening.server_ended and opening.client_ended
    for probe in dispatch.choose(server[0] if server else _NOBODY, client[0] if client else _NOBODY):
        look, finding = probe.look(opening)
        if look is YES:
            kind = "tls" if probe.name in ("tls", "fake-tls") else "opaque"
            return Candidate(kind=kind, final=True, finding=finding)
        if look is not NO and not over:
            return _WAIT  # a later probe may not overtake this one: the answer would depend on when it was asked
    if over:
        return Candidate(kind="opaque" if server or client else "undecided", final=True)
    return _WAIT
