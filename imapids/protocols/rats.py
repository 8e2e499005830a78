"""Remote access trojans and attack frameworks whose bytes can be verified: signatures as data, structures as code.

Magic bytes alone are cheap to change and to meet by chance, so whatever has lengths or compression in it is
checked by them; the others need a mark that honest software does not have.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import Literal

import msgspec

from imapids.protocols.late_patterns import late_pattern
from imapids.protocols.openings import looks_random, settled
from imapids.protocols.probing import (
    NEED_MORE,
    NO,
    SILENT,
    YES,
    Answer,
    Probe,
    Recogniser,
    anything,
    be32,
    client_only,
    dialogue,
    fixed,
    found,
    le32,
    may_start,
    nothing,
    prefix,
    side_look,
    speaks,
    starts,
)
from imapids.records.candidates import Evidence, Look, Opening

# ---- Gh0st and its many children ----------------------------------------------------------------------------

_INFLATED_BYTES = 1 << 20
"""A check-in inflates to a few hundred bytes; nothing is inflated further than this."""
_ORDERS: tuple[Literal["little"], Literal["big"]] = ("little", "big")
_ZLIB = late_pattern(rb"\x78[\x01\x5e\x9c\xda]")


def gh0st_packet(data: bytes, ended: bool) -> tuple[Look, int]:
    """Magic of 2 to 16 bytes, total length, inflated length, and a zlib stream that ends and grows exactly so.

    Answers also how long the magic is. Both byte orders occur; variants differ only in the magic.
    """
    match = _ZLIB.search(data, 10, 26)
    if match is None:
        return (NEED_MORE if len(data) < 26 and not ended else NO), 0
    start = match.start()
    for order in _ORDERS:
        total = int.from_bytes(data[start - 8 : start - 4], order)
        if not start + 6 <= total <= _INFLATED_BYTES:
            continue
        for second in _ORDERS:
            grown = int.from_bytes(data[start - 4 : start], second)
            if not 0 < grown <= _INFLATED_BYTES:
                continue
            look = _inflates(data[start:total], grown, ended or len(data) >= total, total - start)
            if look is not NO:
                return look, start - 8
    return NO, 0


def _inflates(data: bytes, grown: int, whole: bool, wanted: int) -> Look:
    """Does a zlib stream of `wanted` bytes inflate to exactly `grown`? A cut one must at least go on to its end."""
    machine = zlib.decompressobj()
    try:
        size = len(machine.decompress(data, grown + 1))
    except zlib.error:
        return NO
    if len(data) == wanted:
        return YES if machine.eof and size == grown and not machine.unused_data else NO
    if machine.eof or size > grown:
        return NO
    if whole:  # cut by the capture: what is there inflates, and is no trifle
        return YES if size >= 64 else NO
    return NEED_MORE


def _look_gh0st(opening: Opening) -> Answer:
    """Either side's first packet; the other's need not have come."""
    answer: Answer = (NO, None)
    for side, data, ended in (
        ("client", opening.client, opening.client_ended),
        ("server", opening.server, opening.server_ended),
    ):
        if not data:
            if not ended:
                answer = (NEED_MORE, None)
            continue
        look, magic = gh0st_packet(data, ended)
        if look is NEED_MORE:
            return NEED_MORE, None
        if look is YES:
            evidence = Evidence(
                code="gh0st-packet",
                side=side,
                packet=0,
                offset=0,
                text=f"magic {speaks(side, '', data[:magic]).text}, lengths and zlib verified",
            )
            look, finding = found("gh0st", "high", evidence)
            assert finding is not None
            finding.by_client_only = not opening.server
            return look, finding
    return answer


# ---- families whose frames are known ------------------------------------------------------------------------


def _njrat(data: bytes, ended: bool) -> Look:
    """Decimal length, NUL, `ll` and the delimiter |'|'| (0.7); `lv` and [endof] before that."""
    head = data[:512]
    if b"|'|'|" in head and (re.match(rb"[0-9]{1,8}\x00", head) or head[:2] in (b"lv", b"ll", b"in", b"ac")):
        return YES
    if not (head[:1].isdigit() or head[:1] in b"lia") or len(data) >= 512 or ended:
        return NO
    if head[:1].isdigit() and len(head) > 9 and not re.match(rb"[0-9]{1,8}\x00", head):
        return NO
    return NEED_MORE


_DARKCOMET = late_pattern(rb"[0-9A-F]{12}")


def _look_darkcomet(opening: Opening) -> Answer:
    """The server opens with twelve upper-case hex digits and nothing more, the client answers in the same form."""
    if (
        opening.first_side == 0
        or opening.midstream
        or (opening.server and opening.server[0] not in b"0123456789ABCDEF")
    ):
        return NO, None
    window = settled(opening)
    if window is None:
        return NEED_MORE, None
    pieces = window.pieces()
    good = (
        len(pieces) >= 2
        and [side for side, _ in pieces[:2]] == [1, 0]
        and all(_DARKCOMET.fullmatch(data) for _, data in pieces[:2])
    )
    return (
        found(
            "darkcomet",
            "high" if window.server == b"8EA4AB05FA7E" else "medium",
            speaks("server", "darkcomet", opening.server),
            speaks("client", "darkcomet", opening.client),
        )
        if good
        else (NO, None)
    )


def _look_poison_ivy(opening: Opening) -> Answer:
    """A challenge of exactly 256 random bytes, an answer of 256, then a length and data."""
    if (
        opening.first_side == 1
        or opening.midstream
        or (opening.turns and len(opening.turns) > 1 and opening.turns[0] != (0, 256))
    ):
        return NO, None
    window = settled(opening)
    if window is None:
        return NEED_MORE, None
    pieces = window.pieces()
    good = (
        len(pieces) >= 3
        and [(side, len(data)) for side, data in pieces[:2]] == [(0, 256), (1, 256)]
        and looks_random(pieces[0][1])
        and looks_random(pieces[1][1])
    )
    return found("poison-ivy", "medium", speaks("client", "poison-ivy", opening.client)) if good else (NO, None)


def _look_nanocore(opening: Opening) -> Answer:
    """LE32 lengths, multiples of eight (DES blocks) on both sides, and one heartbeat in both directions."""
    for data in (opening.client, opening.server):
        if len(data) >= 4 and ((data[1:4].strip(b"\x00") and le32(data) > 1 << 20) or le32(data) % 8 or not le32(data)):
            return NO, None
    window = settled(opening)
    if window is None:
        return NEED_MORE, None
    beats = []
    for data in (window.client, window.server):
        at, own = 0, set()
        while at + 4 <= len(data):
            size = le32(data, at)
            if not size or size % 8:
                return NO, None
            if size == 8 and at + 12 <= len(data):
                own.add(data[at : at + 12])
            at += 4 + size
        beats.append(own)
    return (
        found("nanocore", "medium", speaks("client", "nanocore", window.client)) if beats[0] & beats[1] else (NO, None)
    )


def _remcos(data: bytes) -> bool:
    """Clear header of version 3 and later: 24 04 FF 00, then LE32 size of the rest."""
    return data[:4] == b"\x24\x04\xff\x00" and 4 <= le32(data, 4) <= 1 << 24


# ---- marks --------------------------------------------------------------------------------------------------


class Mark(msgspec.Struct, frozen=True):
    """Bytes at fixed places of one or both sides that only this family sends."""

    name: str
    client: Recogniser = nothing
    server: Recogniser = nothing
    both: bool = False


def _at(offset: int, mark: bytes, extra: Callable[[bytes], bool] = lambda _data: True) -> Recogniser:
    return fixed(offset + len(mark), lambda data: data[offset:] == mark and extra(data))


def _metasploit_tlv(data: bytes) -> bool:
    """A clear TLV packet: BE32 length, type, then TLV of a method name of the core or an extension."""
    return (
        be32(data, 4) <= 1
        and b"\x00\x01\x00\x01" in data[8:20]
        and any(word in data[8:40] for word in (b"core_", b"stdapi_", b"priv_"))
    )


def _metasploit_masked(data: bytes) -> bool:
    """A packet of Metasploit 5 and later (rex/post/meterpreter/packet.rb): a key of four bytes, and under that key the
    session's id (16 bytes), encryption none, AES-256 or AES-128, BE32 length from here on, request or response."""
    key = data[:4]
    if 0 in key:
        return False
    clear = bytes(byte ^ key[at & 3] for at, byte in enumerate(data[4:32]))
    return be32(clear, 16) <= 2 and 8 <= be32(clear, 20) <= 1 << 26 and be32(clear, 24) in (0, 1, 10, 11)


MARKS: tuple[Mark, ...] = (
    Mark(
        "netwire",
        fixed(5, lambda data: data[:4] == b"\x41\x00\x00\x00" and data[4] in (0x03, 0x83, 0x99)),
        fixed(5, lambda data: data[:4] == b"\x3f\x00\x00\x00" and data[4] in (0x05, 0x9B)),
        both=True,
    ),
    Mark("remcos", fixed(8, _remcos), fixed(8, _remcos)),
    Mark(
        "remcos",
        prefix(bytes.fromhex("1b84d5b05df4c493c530c2"), bytes.fromhex("f06a83a027e11f2a9f42e0")),
        prefix(bytes.fromhex("1b84d5b05df4c493c530c2"), bytes.fromhex("f06a83a027e11f2a9f42e0")),
    ),
    Mark("warzone", prefix(b"\x09\x12\x3b\x42"), prefix(b"\x09\x12\x3b\x42")),
    Mark("luminositylink", fixed(24, lambda data: b"8_=_8" in data or b"=P4CK3T=" in data or b"*-]NK[-*" in data)),
    Mark(
        "strrat",
        fixed(24, lambda data: re.match(rb"[0-9]{1,5}\r\n\r\nping\|STRRAT\|", data) is not None, b"0123456789"),
    ),
    Mark(
        "adwind",
        fixed(
            42,
            lambda data: data[:2] == b"\x00\x28" and re.fullmatch(rb"[0-9a-fA-F]{40}", data[2:]) is not None,
            b"\x00",
        ),
    ),
    Mark("houdini", fixed(13, lambda data: data[4:13] in (b"new_slave", b"new_houdi"))),
    Mark("plugx", _at(2, bytes.fromhex("500001000000000400000010"))),
    Mark("winnti", prefix(b"\xce\xfa\xad\xde\x01\x00\x00\x00")),
    Mark("winnti", prefix(b"\xff\xff\x09\x00\x00\x00\xff\xff")),
    Mark("derusbi", prefix(b"$$$--Hello")),
    Mark("facefish", prefix(b"\x00\x00\x00\x02\x00\x00\x00\x00"), prefix(b"\x18\x00\x01\x02"), both=True),
    Mark("imminent", prefix(bytes.fromhex("2c0000000200000001000c24"))),
    Mark("quasar", prefix(bytes.fromhex("10000000999ac7b8")), prefix(bytes.fromhex("10000000999ac7b8"))),
    Mark("xtremerat", prefix(b"myversion|")),
    Mark("gafgyt", prefix(b"[Shelling]-->[")),
    Mark(
        "caldera-manx",
        prefix(b'{"architecture":', b'{"exe_name":', b'{"executors":', b'{"host":"'),
        prefix(b"\x20"),
        both=True,
    ),
    Mark(
        "external-c2",
        fixed(9, lambda data: 5 <= le32(data) <= 256 and data[4:9] in (b"arch=", b"pipen", b"block", b"type=")),
    ),
    Mark("meterpreter", fixed(40, _metasploit_tlv, b"\x00"), fixed(40, _metasploit_tlv, b"\x00")),
    Mark("meterpreter", fixed(32, _metasploit_masked), fixed(32, _metasploit_masked)),
    Mark(
        "mirai",
        fixed(5, lambda data: data[:4] == b"\x00\x00\x00\x01" and data[4] <= 32, b"\x00"),
        prefix(b"\x00\x00"),
        both=True,
    ),
)


def _marked(mark: Mark) -> Probe:
    """A family whose first bytes are the mark: the client (the implant) or the server shows it."""

    def look(opening: Opening) -> Answer:
        asked = side_look(mark.client, opening.client, opening.client_ended)
        said = side_look(mark.server, opening.server, opening.server_ended)
        if mark.both:
            if NO in (asked, said) or asked is None:
                return NO, None
            if said is None:
                return NO, None
            if NEED_MORE in (asked, said):
                return NEED_MORE, None
        elif YES not in (asked, said):
            return (NEED_MORE if NEED_MORE in (asked, said) else NO), None
        if NEED_MORE in (asked, said):
            return NEED_MORE, None
        if said is None:
            return client_only(mark.name, opening, "medium")
        evidence = [
            speaks(side, mark.name, data)
            for side, data, answer in (("client", opening.client, asked), ("server", opening.server, said))
            if answer is YES
        ]
        return found(mark.name, "high" if len(evidence) == 2 else "medium", *evidence)

    def can_start(said: int, asked: int) -> bool:
        server, client = (
            may_start(mark.server, said) and said != SILENT,
            may_start(mark.client, asked) and asked != SILENT,
        )
        return server and client if mark.both else server or client

    return Probe(mark.name, look, can_start)


def _by_client(opening: Opening, name: str, recogniser: Recogniser) -> Answer:
    """The implant's check-in is unmistakable, whatever short answer came."""
    asked = side_look(recogniser, opening.client, opening.client_ended)
    if asked is not YES:
        return asked or NO, None
    return found(name, "medium", speaks("client", name, opening.client))


PROBES: tuple[Probe, ...] = (
    Probe("gh0st", _look_gh0st, anything),
    *(_marked(mark) for mark in MARKS),
    dialogue("njrat", server=_njrat, client=_njrat),
    Probe("njrat", lambda opening: _by_client(opening, "njrat", _njrat), starts(client=b"0123456789lia")),
    Probe("darkcomet", _look_darkcomet, starts(b"0123456789ABCDEF")),
    Probe("poison-ivy", _look_poison_ivy, anything),
    Probe("nanocore", _look_nanocore, anything),
)
