"""Shapes: what bytes look like when no protocol has a name for them. Sizes, lengths and alphabets, never content.

All but the executable stage are judged on the settled window (protocols/openings.py): they depend on turns, which do
not depend on how the bytes were cut into segments.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from imapids.protocols.openings import Window, is_text, looks_random, settled
from imapids.protocols.probing import NEED_MORE, NO, SHOWN_BYTES, YES, Answer, Probe, anything, le32
from imapids.protocols.text import safe_text
from imapids.records.candidates import Evidence, Finding, Opening
from imapids.records.streams import SIDES


def _shape(opening: Opening, name: str, confidence: str, *evidence: Evidence) -> Answer:
    return YES, Finding(shape=name, confidence=confidence, evidence=list(evidence), by_client_only=not opening.server)


# ---- executable stages -----------------------------------------------------------------------------------------------

_SHELLCODE = re.compile(rb"\xfc\xe8[\x80-\x8f]\x00\x00\x00\x60\x89\xe5|\xfc\x48\x83\xe4\xf0\xe8|\xfc\xe8[\x80-\x8f]\x00\x00\x00\x60|"
                        rb"\x4d\x5a\xe8\x00\x00\x00\x00\x5b\x52\x45\x55\x89\xe5|\x4d\x5a\x41\x52\x55\x48\x89\xe5")
_STAGE_BYTES = 24


def _stage_kind(data: bytes) -> str:
    """What kind of executable begins here; empty where none does."""
    if _SHELLCODE.match(data):
        return "shellcode"
    if data[:4] == b"\x7fELF" and data[4:5] in (b"\x01", b"\x02") and data[5:6] in (b"\x01", b"\x02") and data[6:7] == b"\x01":
        return "ELF"
    if data[:4] in (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe") and data[4:8] != b"\x00\x00\x00\x00":
        return "Mach-O" if data[:4] != b"\xca\xfe\xba\xbe" else "Java class or Mach-O"
    if data[:2] == b"MZ" and (data[2:4] in (b"\x90\x00", b"\x50\x00", b"\x00\x00", b"\x78\x00") or data[3:4] == b"\x00"):
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
            kind = _stage_kind(data[offset : offset + _STAGE_BYTES])
            if kind and (offset == 0 or 64 <= le32(data) <= 1 << 27 or 64 <= int.from_bytes(data[:4], "big") <= 1 << 27):
                if waiting:
                    return NEED_MORE, None
                text = f"{kind} after a length of {le32(data)} bytes" if offset else kind
                return _shape(opening, "executable-stage", "high" if offset or kind != "PE" else "medium",
                              Evidence(code="executable-stage", side=SIDES[side], packet=0, offset=offset, text=text))
    return (NEED_MORE if waiting else NO), None


# ---- length-prefixed frames --------------------------------------------------------------------------------------------


class _Framing(NamedTuple):
    """A way to announce lengths: bytes of the field, byte order, what the length leaves out, smallest evidence."""

    size: int
    order: str
    extra: int
    frames: int
    """Frames that must be seen in all."""
    text: str


def _framings() -> tuple[_Framing, ...]:
    rows = []
    for size, frames in ((4, 2), (2, 4), (1, 6)):
        for order in ("little", "big") if size > 1 else ("big",):
            for extra in (size, 0, size + 1, size + 2, size + 4):
                what = "itself included" if extra == 0 else "" if extra == size else f"and {extra - size} header bytes"
                name = f"{8 * size} bits {order}-endian" if size > 1 else "8 bits"
                rows.append(_Framing(size, order, extra, frames if extra in (0, size) else frames + 2, f"{name} {what}".strip()))
    return tuple(rows)


_FRAMINGS = _framings()


def _walk(data: bytes, framing: _Framing, cut: bool) -> list[int] | None:
    """Ends of the frames that tile a side's bytes exactly, or None; with `cut` the last frame may run on."""
    ends: list[int] = []
    at = 0
    while at < len(data):
        if at + framing.size > len(data):
            return ends if cut and ends else None
        length = int.from_bytes(data[at : at + framing.size], framing.order)  # type: ignore[arg-type]  # from _framings
        step = length + framing.extra
        if step <= framing.size and length + framing.extra < max(framing.size, 1):
            return None
        if step < framing.size:
            return None
        at += step
        if at > len(data):
            return ends if cut and ends else None
        ends.append(at)
        if len(ends) > 4_096:
            return ends
    return ends


def frames_of(window: Window, cut: tuple[bool, bool]) -> tuple[_Framing, int] | None:
    """The framing in which both sides' bytes and every turn end at a frame's end, and how many frames there are."""
    for framing in _FRAMINGS:
        total, payloads, good = 0, 0, True
        for side, data in enumerate((window.client, window.server)):
            if not data:
                continue
            ends = _walk(data, framing, cut[side])
            if ends is None:
                good = False
                break
            at, boundaries = 0, set(ends)
            for turn_side, size in window.turns:
                if turn_side == side:
                    at += size
                    if at not in boundaries and at < (ends[-1] if ends else 0):
                        good = False
                        break
            total += len(ends)
            payloads += sum(1 for begin, end in zip([0, *ends], ends, strict=False) if end - begin > framing.size)
        one_sided = not window.client or not window.server
        if good and total >= framing.frames + (2 if one_sided else 0) and payloads * 2 >= total:
            return framing, total
    return None


def _look_frames(opening: Opening) -> Answer:
    window = settled(opening)
    if window is None:
        return NEED_MORE, None
    if is_text(window.client[:32]) and is_text(window.server[:32]):
        return NO, None
    whole = len(opening.turns) > len(window.turns)
    cut = (not whole and len(opening.client) >= 4_096, not whole and len(opening.server) >= 4_096)
    found = frames_of(window, cut)
    if found is None:
        return NO, None
    framing, total = found
    side = "client" if window.client else "server"
    data = window.client or window.server
    confidence = "high" if framing.size == 4 and total >= 4 and window.client and window.server else "medium"
    return _shape(opening, "length-prefixed-frames", confidence,
                  Evidence(code="length-prefixed-frames", side="both" if window.client and window.server else side, packet=0, offset=0,
                           text=f"{total} frames, length of {framing.text}: {data[:12].hex(' ')}"))


# ---- key streams --------------------------------------------------------------------------------------------------------------

_REPEATED_BYTES = 8
_REPEATED_UNITS = 3


def _look_keystream(opening: Opening) -> Answer:
    """The same eight or more random-looking bytes begin several units, in both directions: a key stream used again."""
    window = settled(opening)
    if window is None:
        return NEED_MORE, None
    starts = [(side, data[:32]) for side, data in window.pieces() if len(data) >= _REPEATED_BYTES]
    if len(starts) < _REPEATED_UNITS or len({side for side, _ in starts}) < 2:
        return NO, None
    common = starts[0][1]
    for _side, data in starts[1:]:
        length = 0
        while length < min(len(common), len(data)) and common[length] == data[length]:
            length += 1
        common = common[:length]
    if len(common) < _REPEATED_BYTES or len({data for _, data in starts}) < 2:
        return NO, None
    if len(set(common[:_REPEATED_BYTES])) < 7 or is_text(common) or common.count(0) > 1 or common[:_REPEATED_BYTES].isascii():
        return NO, None
    return _shape(opening, "repeated-keystream-prefix", "high" if len(starts) >= 4 else "medium",
                  Evidence(code="repeated-keystream-prefix", side="both", packet=0, offset=0, text=f"{len(starts)} units begin {common.hex(' ')}"))


_FILES = ((b"PK\x03\x04", "zip"), (b"\x1f\x8b\x08", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz"), (b"7z\xbc\xaf", "7z"),
          (b"Rar!", "rar"), (b"%PDF-", "pdf"), (b"\x89PNG\r\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"), (b"\xd0\xcf\x11\xe0\xa1\xb1", "ole2"),
          (b"SQLite format 3\x00", "sqlite"), (b"\x78\x9c", "zlib"), (b"OggS", "ogg"), (b"RIFF", "riff"), (b"\xd4\xc3\xb2\xa1", "pcap"))


def _look_file(opening: Opening) -> Answer:
    """One side sends a file whose format says so in its first bytes, and the other next to nothing."""
    if opening.midstream:
        return NO, None
    window = settled(opening)
    if window is None:
        return NEED_MORE, None
    for side, data, other in (("client", window.client, window.server), ("server", window.server, window.client)):
        for magic, kind in _FILES:
            if data.startswith(magic) and len(data) >= 64 and len(other) <= 256:
                return _shape(opening, "file-transfer", "medium", Evidence(code="file-magic", side=side, packet=0, offset=0, text=kind))
    return NO, None


def _look_encrypted(opening: Opening) -> Answer:
    """Random bytes from the first on, on every side that spoke: no header, no text, no lengths."""
    if opening.midstream or opening.after_upgrade:
        return NO, None
    window = settled(opening)
    if window is None:
        return NEED_MORE, None
    sides = [data for data in (window.client, window.server) if data]
    if not sides or len(max(sides, key=len)) < 32 or any(len(data) >= 16 and not looks_random(data[:1_024]) for data in sides):
        return NO, None
    first = "client" if opening.first_side == 0 else "server"
    data = window.client if opening.first_side == 0 else window.server
    if len(data) < 16:
        return NO, None
    return _shape(opening, "fully-encrypted", "medium" if len(sides) == 2 else "low",
                  Evidence(code="fully-encrypted", side=first, packet=0, offset=0, text=data[:16].hex(" ")))


# ---- lines ----------------------------------------------------------------------------------------------------------------------

_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?|(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)|(?:[A-Za-z0-9_-]{4}){4,}")
_HEX = re.compile(rb"(?:[0-9a-f]{2}){4,}|(?:[0-9A-F]{2}){4,}")
_JSON = re.compile(rb"[{\[].*[}\]]", re.DOTALL)


def _lines(data: bytes, cut: bool) -> list[bytes]:
    """Lines without their ends; a last one without an end does not count where the prefix was cut."""
    lines = [line.rstrip(b"\r") for line in data.split(b"\n")]
    if cut or not lines[-1]:
        lines.pop()
    return lines


def _line_kind(lines: list[bytes]) -> str:
    """base64-lines, hex-lines or json-lines where every line is so; empty otherwise."""
    if not lines or any(not line for line in lines):
        return ""
    if all(_HEX.fullmatch(line) for line in lines):
        return "hex-lines"
    if all(_BASE64.fullmatch(line) for line in lines):
        joined = b"".join(lines)
        mixed = any(0x41 <= byte <= 0x5A for byte in joined) + any(0x61 <= byte <= 0x7A for byte in joined) + any(byte in b"0123456789+/=" for byte in joined)
        return "base64-lines" if len(joined) >= 8 and (mixed == 3 or (len(joined) >= 64 and mixed == 2)) else ""
    if all(_JSON.fullmatch(line) and (b'":' in line or b'" :' in line) for line in lines):
        return "json-lines"
    return ""


def _look_lines(opening: Opening) -> Answer:
    """Every line of every side that spoke is base64, hexadecimal or a JSON object."""
    window = settled(opening)
    if window is None:
        return NEED_MORE, None
    sides = [("client", window.client), ("server", window.server)]
    spoke = [(side, data) for side, data in sides if data]
    if not spoke or not all(is_text(data[:256]) for _, data in spoke) or (opening.midstream and len(spoke) < 2):
        return NO, None
    kinds = [_line_kind(_lines(data, len(data) >= 4_096)) for _, data in spoke]
    kind = kinds[0]
    if not kind or any(other not in (kind, "base64-lines" if kind == "hex-lines" else kind) for other in kinds[1:]):
        return NO, None
    side, data = spoke[0]
    return _shape(opening, kind, "medium" if len(spoke) == 2 else "low",
                  Evidence(code=kind, side="both" if len(spoke) == 2 else side, packet=0, offset=0, text=safe_text(data[:SHOWN_BYTES].split(b"\n", 1)[0])))


# ---- beats and echoes -----------------------------------------------------------------------------------------------------------

_BEATS = 6
_BEAT_BYTES = 512


def _look_beats(opening: Opening) -> Answer:
    """Turns of one size for each side, again and again; the first exchange may differ (a check-in)."""
    window = settled(opening)
    if window is None:
        return NEED_MORE, None
    turns = window.turns[:-1] if len(opening.turns) <= len(window.turns) and len(window.turns) > _BEATS + 2 else window.turns
    for skip in (0, 2):
        rest = turns[skip:]
        sizes = [{size for side, size in rest if side == wanted} for wanted in (0, 1)]
        if len(rest) >= _BEATS and all(len(own) == 1 and max(own) <= _BEAT_BYTES for own in sizes):
            client, server = sizes[0].pop(), sizes[1].pop()
            return _shape(opening, "fixed-size-beats", "medium",
                          Evidence(code="fixed-size-beats", side="both", packet=0, offset=0,
                                   text=f"{len(rest)} turns of {client} bytes from the client and {server} from the server"))
    return NO, None


def _look_echo(opening: Opening) -> Answer:
    """RFC 862: the server says what the client said, byte by byte."""
    server = opening.server
    if not server or not (opening.client.startswith(server) or server.startswith(opening.client)):
        return (NO if server or opening.server_ended else NEED_MORE), None
    window = settled(opening)
    if window is None:
        return NEED_MORE, None
    same = len(window.server) >= 8 and window.client.startswith(window.server) and opening.first_side == 0
    if not same:
        return NO, None
    return YES, Finding(protocol="echo", confidence="medium",
                        evidence=[Evidence(code="server-echoes-client", side="server", packet=0, offset=0, text=safe_text(window.server[:SHOWN_BYTES]))])


PROBES: tuple[Probe, ...] = (
    Probe("echo", _look_echo, anything, anything),
    Probe("executable-stage", _look_stage, anything, anything),
    Probe("repeated-keystream-prefix", _look_keystream, anything, anything),
    Probe("file-transfer", _look_file, anything, anything),
    Probe("json-lines", _look_lines, anything, anything),
    Probe("length-prefixed-frames", _look_frames, anything, anything),
    Probe("fully-encrypted", _look_encrypted, anything, anything),
    Probe("fixed-size-beats", _look_beats, anything, anything),
)
