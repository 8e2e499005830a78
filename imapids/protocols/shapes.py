"""Shapes: what bytes look like when no protocol has a name for them. Sizes, lengths and alphabets, never content.

All but the executable stage are judged on the settled window (protocols/openings.py): they depend on turns, which do
not depend on how the bytes were cut into segments.
"""

from __future__ import annotations

from collections.abc import Callable

from imapids.protocols.late_patterns import late_pattern
from imapids.protocols.openings import Window, looks_random, settled
from imapids.protocols.probing import NEED_MORE, NO, SHOWN_BYTES, YES, Answer, Probe, anything, le32
from imapids.protocols.shape_findings import shape_evidence, shape_finding
from imapids.protocols.shape_frames import find_frames
from imapids.protocols.shape_lines import find_lines
from imapids.protocols.shells import look_for_shell
from imapids.protocols.text import safe_text
from imapids.records.candidates import Finding, Opening
from imapids.records.streams import CLIENT, SERVER, SIDES

_SHELLCODE = late_pattern(
    rb"\xfc\xe8[\x80-\x8f]\x00\x00\x00\x60\x89\xe5|\xfc\x48\x83\xe4\xf0\xe8|\xfc\xe8[\x80-\x8f]\x00\x00\x00\x60|"
    rb"\x4d\x5a\xe8\x00\x00\x00\x00\x5b\x52\x45\x55\x89\xe5|\x4d\x5a\x41\x52\x55\x48\x89\xe5"
)
_STAGE_BYTES = 24


def _stage_kind(data: bytes) -> str:
    """What kind of executable begins here; empty where none does."""
    if _SHELLCODE.match(data):
        return "shellcode"
    if (
        data[:4] == b"\x7fELF"
        and data[4:5] in (b"\x01", b"\x02")
        and data[5:6] in (b"\x01", b"\x02")
        and data[6:7] == b"\x01"
    ):
        return "ELF"
    if data[:4] in (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe") and data[4:8] != b"\x00\x00\x00\x00":
        return "Mach-O" if data[:4] != b"\xca\xfe\xba\xbe" else "Java class or Mach-O"
    if data[:2] == b"MZ" and (
        data[2:4] in (b"\x90\x00", b"\x50\x00", b"\x00\x00", b"\x78\x00") or data[3:4] == b"\x00"
    ):
        return "PE"
    return ""


def _look_stage(opening: Opening) -> Answer:
    """A program as the first thing a side sends, bare or after a length of four bytes."""
    waiting = False
    for side, data, ended in ((1, opening.server, opening.server_ended), (0, opening.client, opening.client_ended)):
        if len(data) < _STAGE_BYTES and not ended:
            waiting = True
            continue
        if opening.midstream:
            continue
        for offset in (0, 4):
            kind = _stage_kind(data[offset : offset + _STAGE_BYTES]) or ("MZ" if offset and data[4:6] == b"MZ" else "")
            if kind and (
                offset == 0 or 64 <= le32(data) <= 1 << 27 or 64 <= int.from_bytes(data[:4], "big") <= 1 << 27
            ):
                if waiting:
                    return NEED_MORE, None
                text = f"{kind} after a length of four bytes: {data[:4].hex(' ')}" if offset else kind
                return YES, shape_finding(
                    opening,
                    "executable-stage",
                    "high" if offset or kind != "PE" else "medium",
                    shape_evidence("executable-stage", SIDES[side], text, offset),
                )
    return (NEED_MORE if waiting else NO), None


# ---- length-prefixed frames ---------------------------------------------------------------------------------


_REPEATED_BYTES = 8
_REPEATED_UNITS = 3


def _keystream(opening: Opening, window: Window) -> Finding | None:
    """The same eight or more random-looking bytes begin several units, in both directions: a key stream used again."""
    starts = [(side, data[:32]) for side, data in window.pieces() if len(data) >= _REPEATED_BYTES]
    if len(starts) < _REPEATED_UNITS or len({side for side, _ in starts}) < 2 or len({data for _, data in starts}) < 2:
        return None
    first, last = min(data for _, data in starts), max(data for _, data in starts)
    same = next(
        (at for at, (one, two) in enumerate(zip(first, last, strict=False)) if one != two), min(len(first), len(last))
    )
    common = first[:same]  # what the least and the greatest share, all share
    head = common[:_REPEATED_BYTES]
    if len(head) < _REPEATED_BYTES or len(set(head)) < 7 or head.isascii() or common.count(0) > 1:
        return None
    return shape_finding(
        opening,
        "repeated-keystream-prefix",
        "high" if len(starts) >= 4 else "medium",
        shape_evidence("repeated-keystream-prefix", "both", f"{len(starts)} units begin {common.hex(' ')}"),
    )


_FILES = (
    (b"PK\x03\x04", "zip"),
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"7z\xbc\xaf", "7z"),
    (b"Rar!", "rar"),
    (b"%PDF-", "pdf"),
    (b"\x89PNG\r\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF8", "gif"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1", "ole2"),
    (b"SQLite format 3\x00", "sqlite"),
    (b"\x78\x9c", "zlib"),
    (b"OggS", "ogg"),
    (b"RIFF", "riff"),
    (b"\xd4\xc3\xb2\xa1", "pcap"),
)


def _file(opening: Opening, window: Window) -> Finding | None:
    """One side sends a file whose format says so in its first bytes, and the other next to nothing."""
    if opening.midstream:
        return None
    for side, data, other in (("client", window.client, window.server), ("server", window.server, window.client)):
        if len(data) >= 64 and len(other) <= 256:
            for magic, kind in _FILES:
                if data.startswith(magic):
                    return shape_finding(opening, "file-transfer", "medium", shape_evidence("file-magic", side, kind))
    return None


def _encrypted(opening: Opening, window: Window) -> Finding | None:
    """Random bytes from the first on: the server's, or those of a client whose server said nothing else."""
    if opening.midstream or opening.after_upgrade == "compress":  # deflated bytes look random, too
        return None
    client, server = window.client, window.server
    random_client, random_server = (
        len(data) >= _RANDOM_BYTES and looks_random(data[:1_024]) for data in (client, server)
    )
    if not random_server and (not random_client or (len(server) >= 16 and not looks_random(server[:1_024]))):
        return None
    side, data = ("server", server) if random_server else ("client", client)
    return shape_finding(
        opening,
        "fully-encrypted",
        "medium" if random_client and random_server else "low",
        shape_evidence("fully-encrypted", "both" if random_client and random_server else side, data[:16].hex(" ")),
    )


_RANDOM_BYTES = 32
"""Fewer bytes say little about their origin."""


# ---- lines --------------------------------------------------------------------------------------------------
_BEATS = 6
_BEAT_BYTES = 512


def _beats(opening: Opening, window: Window) -> Finding | None:
    """Turns of one size for each side, again and again; the first exchange may differ (a check-in)."""
    for skip in (0, 2):
        rest = window.turns[skip:]
        sizes = [{size for side, size in rest if side == wanted} for wanted in (CLIENT, SERVER)]
        if len(rest) >= _BEATS and all(len(own) == 1 and max(own) <= _BEAT_BYTES for own in sizes):
            client, server = sizes[0].pop(), sizes[1].pop()
            return shape_finding(
                opening,
                "fixed-size-beats",
                "medium",
                shape_evidence(
                    "fixed-size-beats",
                    "both",
                    f"{len(rest)} turns of {client} bytes from the client and {server} from the server",
                ),
            )
    return None


def _echo(opening: Opening, window: Window) -> Finding | None:
    """RFC 862: the server says what the client said, byte by byte, turn by turn."""
    pieces = window.pieces()
    pairs = list(zip(pieces[::2], pieces[1::2], strict=False))
    if (
        opening.first_side != CLIENT
        or len(window.server) < 8
        or len(pairs) < 2
        or any(asked[1] != said[1] for asked, said in pairs)
    ):
        return None
    return Finding(
        protocol="echo",
        confidence="medium",
        evidence=[shape_evidence("server-echoes-client", "server", safe_text(window.server[:SHOWN_BYTES]))],
    )


CHECKS: tuple[Callable[[Opening, Window], Finding | None], ...] = (
    _echo,  # first: the server's bytes are the client's, whatever they are
    look_for_shell,  # words that only a shell says
    _keystream,  # before the frames: encrypted units may happen to tile
    _file,
    find_lines,
    find_frames,
    _encrypted,  # after all that find some order
    _beats,  # last: sizes alone, the weakest
)
"""What is asked about a settled window, in order."""


def _look_shapes(opening: Opening) -> Answer:
    window = settled(opening)
    if window is None:
        return NEED_MORE, None
    for check in CHECKS:
        finding = check(opening, window)
        if finding is not None:
            return YES, finding
    return NO, None


PROBES: tuple[Probe, ...] = (
    Probe("executable-stage", _look_stage, anything),
    Probe("shape", _look_shapes, anything),
)
