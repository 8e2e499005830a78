"""TLS from outside: nothing raises, and the cut of the bytes changes neither facts nor events."""

from __future__ import annotations

from typing import Any

import msgspec
from helpers.imap_talk import chunks_of
from talks import Talk, of_samples, talk_of

from imapids.config import DialogueLimits
from imapids.parse.tls import TlsStream
from imapids.records.streams import StreamEnd

DICTIONARY = (
    b"\x16\x03\x01\x00\x10",
    b"\x16\x03\x03\x40\x00",
    b"\x17\x03\x03\x00\x20",
    b"\x15\x03\x03\0\x02\x02\x28",
    b"\x14\x03\x03\0\x01\x01",
    b"\x01\0\0\xff",
    b"\x02\0\0\x4c",
    b"\x0b\0\x01\0",
    b"\0\0\0\x0e\0\x0c\0\0\x09",
    b"\0\x10",
    b"\0\x2b",
    b"\0\x0d",
    b"\x30\x82\x01\0",
)


def seeds() -> list[bytes]:
    """The handshakes of the samples."""
    return of_samples(("tls-direct", "tls-beacon", "starttls", "encrypted", "fake-tls"))


def _story(talk: Talk, cuts: int | None, *, midstream: bool, after_starttls: bool) -> tuple[Any, ...]:
    stream = TlsStream(DialogueLimits(), midstream=midstream, after_starttls=after_starttls)
    for chunk in chunks_of(talk, cuts):
        stream.feed(chunk)
    stream.end(StreamEnd(len(talk) * 10**6, len(talk), "fin"))
    events = [(time_ns, packet, msgspec.to_builtins(body)) for time_ns, packet, body in stream.events]
    return msgspec.to_builtins(stream.facts), events


def check(data: bytes) -> None:
    talk = talk_of(data)
    if not talk:
        return
    for midstream, after in ((False, False), (False, True), (True, False)):
        whole = _story(talk, None, midstream=midstream, after_starttls=after)
        assert _story(talk, 1, midstream=midstream, after_starttls=after) == whole
