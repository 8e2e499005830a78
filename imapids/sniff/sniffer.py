"""Decides what a conversation looks like from its first bytes, once, and never changes its mind.

The law: when `sniff` says `final`, every extension of the same opening gets the same answer. So it does not matter
when and how often it is asked, and the answer cannot depend on how the bytes were cut into segments.
"""

from __future__ import annotations

from collections.abc import Callable

from imapids.protocols.imap_opening import look_for_dialogue, look_for_greeting
from imapids.protocols.probing import NEED_MORE, NO, SHOWN_BYTES, SILENT, UNKNOWN, YES, Probe
from imapids.records.candidates import Candidate, Evidence, Finding, Opening

_IMAP = Candidate(kind="imap", final=True)
_WAIT = Candidate(kind="undecided")


class _Dispatch:
    """Which probes are worth asking, by the first byte of each side: a table that fills as it is used.

    Where all that is seen is IMAP, nobody asks: the modules of all those protocols are imported when somebody does.
    """

    def __init__(self, probes: Callable[[], tuple[Probe, ...]]) -> None:
        self._probes = probes
        self._chosen: dict[tuple[int, int], tuple[Probe, ...]] = {}  # 258 times 258 entries at most

    def choose(self, opening: Opening) -> tuple[Probe, ...]:
        """The probes that the first bytes do not exclude, in order."""
        server, client = opening.server, opening.client
        first = (
            server[0] if server else SILENT if opening.server_ended else UNKNOWN,
            client[0] if client else SILENT if opening.client_ended else UNKNOWN,
        )
        chosen = self._chosen.get(first)
        if chosen is None:
            chosen = self._chosen[first] = tuple(probe for probe in self._probes() if probe.may_start(*first))
        return chosen


def _of_streams() -> tuple[Probe, ...]:
    from imapids.sniff.stream_probes import TCP_PROBES

    return TCP_PROBES


def _of_datagrams() -> tuple[Probe, ...]:
    from imapids.sniff.datagram_probes import UDP_PROBES

    return UDP_PROBES


_TCP = _Dispatch(_of_streams)
_UDP = _Dispatch(_of_datagrams)


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
    over = opening.server_ended and opening.client_ended
    for probe in dispatch.choose(opening):
        look, finding = probe.look(opening)
        if look is YES:
            if not over and not _settled_evidence(opening, finding):
                return _WAIT  # the answer is known, but not yet all of the text that shows it
            kind = "tls" if probe.name in ("tls", "fake-tls") else "opaque"
            return Candidate(kind=kind, final=True, finding=finding)
        if look is not NO and not over:
            return _WAIT  # a later probe may not overtake this one: the answer would depend on when it was asked
    if over:
        if opening.midstream and server and opening.client and opening.transport == "TCP":
            finding = _the_other_way_round(opening)
            if finding is not None:
                return Candidate(kind="opaque", final=True, finding=finding)
        return Candidate(kind="opaque" if server or opening.client else "undecided", final=True)
    return _WAIT


def _settled_evidence(opening: Opening, finding: Finding | None) -> bool:
    """Are the bytes that the evidence shows all there? Otherwise its text would depend on when it was asked for."""
    for row in finding.evidence if finding is not None else ():
        data, ended = (
            (opening.client, opening.client_ended) if row.side == "client" else (opening.server, opening.server_ended)
        )
        end = row.offset + SHOWN_BYTES
        if "-speaks-" in row.code and not ended and len(data) < end and b"\n" not in data[row.offset : end]:
            return False
    return True


def _the_other_way_round(opening: Opening) -> Finding | None:
    """Who is the client of a flow whose start is missing was guessed: try the sides exchanged, where all is known."""
    swapped = Opening(
        client=opening.server,
        server=opening.client,
        midstream=True,
        client_ended=True,
        server_ended=True,
        first_side=None if opening.first_side is None else 1 - opening.first_side,
        turns=[(1 - side, size) for side, size in opening.turns],
        sides_seen=opening.sides_seen,
    )
    for probe in _TCP.choose(swapped):
        look, finding = probe.look(swapped)
        if look is YES and finding is not None and finding.protocol is not None:
            finding.evidence = [
                Evidence(
                    code=_swapped(row.code),
                    side=_OTHER.get(row.side, row.side),
                    packet=0,
                    offset=row.offset,
                    text=row.text,
                )
                for row in finding.evidence
            ]
            return finding
    return None


def _swapped(code: str) -> str:
    """An evidence code that names a side, about the other one."""
    side, dash, rest = code.partition("-")
    return _OTHER.get(side, side) + dash + rest


_OTHER = {"client": "server", "server": "client"}
