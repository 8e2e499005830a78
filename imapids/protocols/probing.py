"""The one mechanism for all probes: what each side's first bytes look like, and how the two answers make one.

A recogniser looks at one side's prefix and answers YES, NO or NEED_MORE. YES and NO stay true whatever bytes
follow; that is the law on which everything in sniff/ rests. A probe joins the recognisers of both sides into an
answer about the conversation, and nothing is said before the server spoke or is known to be silent: the server
decides what a conversation is.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from imapids.protocols.late_patterns import late_pattern
from imapids.protocols.redaction import hide_secrets
from imapids.protocols.text import safe_text
from imapids.records.candidates import Evidence, Finding, Look, Opening

YES, NO, NEED_MORE = Look.YES, Look.NO, Look.NEED_MORE

Recogniser = Callable[[bytes, bool], Look]
"""One side's prefix (never empty), and whether it is over -> does it look like this protocol? Monotone, see above."""

Answer = tuple[Look, Finding | None]

LINE_BYTES = 1_024
"""A first line longer than this is no greeting or request of a text protocol (RFC 5321 allows 512 octets)."""

SHOWN_BYTES = 64
"""Bytes of the wire shown as evidence: a banner, or enough of a header to check it by hand."""


UNKNOWN, SILENT = -1, -2
"""Stand for a first byte that has not come yet, and for that of a side that is over and said nothing."""


class Probe(msgspec.Struct, frozen=True):
    """A question that is asked about the opening of a conversation."""

    name: str
    """Protocol or shape."""
    look: Callable[[Opening], Answer]
    may_start: Callable[[int, int], bool]
    """Can a YES follow these first bytes of the server and of the client (or UNKNOWN, or SILENT)? False only where
    `look` never says YES: so the sniffer can leave most probes unasked."""


def anything(_server: int, _client: int) -> bool:
    """A probe that no first byte excludes."""
    return True


def starts(server: bytes = b"", client: bytes = b"") -> Callable[[int, int], bool]:
    """A probe that needs one of these first bytes of each side that speaks; empty stands for any."""
    return lambda said, asked: (
        (said < 0 or not server or said in server) and (asked < 0 or not client or asked in client)
    )


def may_start(recogniser: Recogniser, first: int) -> bool:
    """Can the recogniser say YES to bytes that begin so?"""
    return first < 0 or recogniser(bytes((first,)), False) is not NO


# ---- recognisers --------------------------------------------------------------------------------------------


def prefix(*prefixes: bytes) -> Recogniser:
    """YES for any of the prefixes; they are compared byte by byte, upper and lower case differ."""

    def look(data: bytes, ended: bool) -> Look:
        if data.startswith(prefixes):
            return YES
        return NEED_MORE if not ended and any(p.startswith(data) for p in prefixes) else NO

    return look


_NOT_IN_LINES = bytes(range(0x09)) + bytes(range(0x0E, 0x20)) + bytes(range(0x7F, 0x100))
"""Bytes that no line of a text protocol has among its first four: binary data is turned away at once."""


def first_line(pattern: bytes, starts: bytes = b"", limit: int = LINE_BYTES) -> Recogniser:
    """YES when the first line (without its CR LF) matches the whole pattern; `starts` are the first bytes allowed.

    A line that the end of the side cut off counts as far as it goes.
    """
    line = late_pattern(pattern, re.DOTALL)

    def look(data: bytes, ended: bool) -> Look:
        if (starts and data[0] not in starts) or data[:4].translate(None, _NOT_IN_LINES) != data[:4]:
            return NO
        end = data.find(b"\n", 0, limit)
        if end < 0:
            if len(data) >= limit:
                return NO
            if not ended:
                return NEED_MORE
            end = len(data)
        return YES if line.fullmatch(data[:end].removesuffix(b"\r")) else NO

    return look


def fixed(size: int, check: Callable[[bytes], bool], starts: bytes = b"") -> Recogniser:
    """YES when `check` holds for the first `size` bytes; `starts` are the first bytes allowed."""

    def look(data: bytes, ended: bool) -> Look:
        if starts and data[0] not in starts:
            return NO
        if len(data) < size:
            return NO if ended else NEED_MORE
        return YES if check(data[:size]) else NO

    return look


def frames(
    header: int, length_of: Callable[[bytes], int], starts: bytes = b"", wanted: int = 2, least: int = 1
) -> Recogniser:
    """YES when `wanted` frames follow each other, or all that there are (`least` or more) when the side is over.

    `length_of` gets the `header` first bytes of a frame and answers the length of the whole frame, or -1 where the
    bytes are no header. `starts` are the first bytes allowed.
    """

    def look(data: bytes, ended: bool) -> Look:
        if starts and data[0] not in starts:
            return NO
        offset = 0
        for seen in range(wanted):
            if offset + header > len(data):
                if not ended:
                    return NEED_MORE
                return YES if seen >= least else NO
            length = length_of(data[offset : offset + header])
            if length < header:
                return NO
            offset += length
        return YES

    return look


def either(*recognisers: Recogniser) -> Recogniser:
    """YES when any recogniser says so, NO when all do."""

    def look(data: bytes, ended: bool) -> Look:
        answer = NO
        for recogniser in recognisers:
            said = recogniser(data, ended)
            if said is YES:
                return YES
            if said is NEED_MORE:
                answer = NEED_MORE
        return answer

    return look


def be16(data: bytes, at: int = 0) -> int:
    """Big-endian 16 bits at `at`; bytes that are missing count as nothing."""
    return int.from_bytes(data[at : at + 2], "big")


def be32(data: bytes, at: int = 0) -> int:
    """Big-endian 32 bits at `at`."""
    return int.from_bytes(data[at : at + 4], "big")


def varint(data: bytes, at: int, digits: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, of at most `digits` bytes (LEB128): value, and where it ends.

    (-1, at) where it is cut or too long.
    """
    value = 0
    for digit in range(digits):
        if at + digit >= len(data):
            return -1, at
        value |= (data[at + digit] & 0x7F) << 7 * digit
        if not data[at + digit] & 0x80:
            return value, at + digit + 1
    return -1, at


def le16(data: bytes, at: int = 0) -> int:
    """Little-endian 16 bits at `at`."""
    return int.from_bytes(data[at : at + 2], "little")


def le32(data: bytes, at: int = 0) -> int:
    """Little-endian 32 bits at `at`."""
    return int.from_bytes(data[at : at + 4], "little")


# ---- probes out of recognisers ------------------------------------------------------------------------------


def side_look(recogniser: Recogniser, data: bytes, ended: bool) -> Look | None:
    """A recogniser's word on one side so far; None where the side is over and said nothing."""
    if not data:
        return None if ended else NEED_MORE
    return recogniser(data, ended)


def shown(data: bytes, offset: int = 0) -> str:
    """The first line at `offset` as evidence shows it: safe, not too long, without passwords and tokens."""
    return safe_text(hide_secrets(data[offset : offset + SHOWN_BYTES].split(b"\n", 1)[0].rstrip(b"\r")))


def speaks(side: str, name: str, data: bytes, offset: int = 0) -> Evidence:
    """Evidence that a side speaks a protocol: its first bytes, or those at `offset`."""
    return Evidence(
        code=f"{side}-speaks-{name}",
        side=side,
        packet=0,
        offset=offset,
        text=shown(data, offset),
    )


def found(protocol: str, confidence: str, *evidence: Evidence) -> Answer:
    """YES, with a name."""
    return YES, Finding(protocol=protocol, confidence=confidence, evidence=list(evidence))


def shaped(shape: str, confidence: str, *evidence: Evidence) -> Answer:
    """YES, with a shape."""
    return YES, Finding(shape=shape, confidence=confidence, evidence=list(evidence))


def client_only(protocol: str, opening: Opening, confidence: str = "low") -> Answer:
    """YES, but only the client spoke: what it speaks is known, what the server is, is not.

    Except where the capture holds one side of a conversation that was under way before: then the two had agreed on
    what they speak, or it would not have gone on.
    """
    under_way = opening.midstream and opening.sides_seen == "client"
    evidence = [speaks("client", protocol, opening.client)]
    return YES, Finding(protocol=protocol, confidence=confidence, evidence=evidence, by_client_only=not under_way)


def nothing(_data: bytes, _ended: bool) -> Look:
    """The recogniser of a side that has no mark of its own."""
    return NO


def dialogue(
    protocol: str,
    *,
    server: Recogniser = nothing,
    client: Recogniser = nothing,
    both: bool = False,
    server_alone: bool = True,
    client_alone: bool = True,
) -> Probe:
    """A probe for a protocol that shows in the first bytes of its sides.

    Without `both` the server's bytes decide and the client's raise the confidence to high. With `both` the bytes of
    one side could be many things and the two must agree; `server_alone` says whether the server's may still stand
    for themselves where the client's are missing, `client_alone` the same for the client's (a finding that names
    only what the client speaks).
    """

    def look(opening: Opening) -> Answer:
        said = side_look(server, opening.server, opening.server_ended)
        if said is NO:
            return NO, None
        asked = side_look(client, opening.client, opening.client_ended)
        if asked is NO and (both or said is None):
            return NO, None
        if said is NEED_MORE or asked is NEED_MORE:
            return NEED_MORE, None
        if said is None:
            return client_only(protocol, opening) if asked is YES and client_alone else (NO, None)
        evidence = speaks("server", protocol, opening.server)
        if asked is YES:
            return found(protocol, "high", evidence, speaks("client", protocol, opening.client))
        if both and not server_alone:
            return NO, None
        return found(protocol, "medium", evidence)

    def excluded(said: int, asked: int) -> bool:
        if not may_start(server, said):
            return True
        return (both or said == SILENT) and not may_start(client, asked)

    return Probe(protocol, look, lambda said, asked: not excluded(said, asked))
