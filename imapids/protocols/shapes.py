"""Shapes: what bytes look like when no protocol has a name for them. Sizes, lengths and alphabets, never content.

All but the executable stage are judged on the settled window (protocols/openings.py): they depend on turns, which do
not depend on how the bytes were cut into segments.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from imapids.protocols.openings import Window, is_text, looks_random, settled
from imapids.protocols.probing import NEED_MORE, NO, SHOWN_BYTES, YES, Answer, Probe, anything, le32
from imapids.protocols.shells import look_for_shell
from imapids.protocols.text import safe_text
from imapids.records.candidates import Evidence, Finding, Opening
from imapids.records.streams import CLIENT, SERVER, SIDES

_CUT_BYTES = 4_096
"""A prefix as long as this may have been cut by the sniffer's limit (8 KiB a side, or fewer where it is configured so)."""


def _shape(opening: Opening, name: str, confidence: str, *evidence: Evidence) -> Finding:
    return Finding(shape=name, confidence=confidence, evidence=list(evidence), by_client_only=not opening.server)


def _evidence(code: str, side: str, text: str, offset: int = 0) -> Evidence:
    return Evidence(code=code, side=side, packet=0, offset=offset, text=text)


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
                text = f"{kind} after a length of four bytes: {data[:4].hex(' ')}" if offset else kind
                return YES, _shape(opening, "executable-stage", "high" if offset or kind != "PE" else "medium",
                                   _evidence("executable-stage", SIDES[side], text, offset))
    return (NEED_MORE if waiting else NO), None


# ---- length-prefixed frames --------------------------------------------------------------------------------------------


class _Framing(NamedTuple):
    """A way to announce lengths."""

    size: int
    """Bytes of the length field."""
    order: Literal["little", "big"]
    extra: int
    """Bytes of a frame that its length does not count."""
    turn_bits: int
    """What it is worth, in bits, that a turn ends where a frame does: chance does not hit a wide field."""
    frame_bits: int
    """What it is worth that one more length inside a turn stays inside the window."""

    def describe(self) -> str:
        """The framing in words, for evidence."""
        width = f"{8 * self.size} bits {self.order}-endian" if self.size > 1 else "8 bits"
        counted = "all of the frame" if self.extra == 0 else "what follows" if self.extra == self.size else (
            f"what follows {self.extra - self.size} more header bytes")
        return f"{width}, of {counted}"


_WIDTHS: tuple[tuple[int, tuple[Literal["little", "big"], ...], int, int], ...] = (
    (4, ("little", "big"), 26, 16),
    (2, ("little", "big"), 12, 3),
    (1, ("big",), 6, 0),
)
_FRAMINGS = tuple(_Framing(size, order, extra, turn_bits, frame_bits)
                  for size, orders, turn_bits, frame_bits in _WIDTHS for order in orders
                  for extra in (size, 0, size + 1, size + 2, size + 4))
_FRAMES = 512
"""Frames of one side that are walked: bytes of no length must not cost time."""
_ENOUGH_BITS = 36
"""25 framings are tried on each conversation: 36 bits are not met by chance. One plain length of 32 bits that fits its
turn will do: that is the commonest framing there is."""


def _walk(data: bytes, framing: _Framing, cut: bool) -> list[int] | None:
    """Ends of the frames that tile a side's bytes exactly, or None; with `cut` the last frame may run on."""
    ends: list[int] = []
    at, size, order, extra = 0, framing.size, framing.order, framing.extra
    while at < len(data):
        step = int.from_bytes(data[at : at + size], order) + extra
        if step < size:
            return None
        if at + step > len(data) or at + size > len(data):
            return ends if cut and ends else None
        if len(ends) >= _FRAMES:
            return ends
        at += step
        ends.append(at)
    return ends


def _bits(data: bytes, ends: list[int], turns: list[int], framing: _Framing) -> int:
    """How much evidence one side's frames are, in bits; -1 where a turn ends inside a frame. Repeats count once."""
    boundaries, at, bits = set(ends), 0, 0
    turn_ends = set()
    seen: set[bytes] = set()
    for size in turns:
        at += size
        if at not in boundaries and at < ends[-1]:
            return -1
        turn_ends.add(at)
    begin = 0
    for end in ends:
        frame = data[begin:end]
        if end - begin > framing.size and frame not in seen:  # an empty frame says nothing
            seen.add(frame)
            bits += framing.turn_bits if end in turn_ends else framing.frame_bits
        begin = end
    return bits


def frames_of(window: Window, cut: tuple[bool, bool]) -> tuple[_Framing, int, int] | None:
    """The framing that fits all bytes and turns of both sides: with the number of frames and the bits of evidence."""
    best = None
    sides = [(data, [size for side, size in window.turns if side == wanted], cut[wanted])
             for wanted, data in enumerate((window.client, window.server)) if data]
    for framing in _FRAMINGS:
        bits = frames = 0
        for data, turns, is_cut in sides:
            ends = _walk(data, framing, is_cut)
            gained = _bits(data, ends, turns, framing) if ends else -1
            if gained < 0 or ends is None:
                bits = -1
                break
            bits, frames = bits + gained, frames + len(ends)
        enough = framing.turn_bits if framing.size == 4 and framing.extra in (0, 4) else _ENOUGH_BITS
        if bits >= enough and (best is None or bits > best[2]):
            best = framing, frames, bits
    return best


def _frames(opening: Opening, window: Window) -> Finding | None:
    """Lengths that agree with the bytes and the turns of both sides."""
    if is_text(window.client[:32]) and is_text(window.server[:32]):
        return None
    more = len(opening.turns) > len(window.turns)
    found = frames_of(window, (not more and len(opening.client) >= _CUT_BYTES, not more and len(opening.server) >= _CUT_BYTES))
    if found is None:
        return None
    framing, frames, bits = found
    side = "both" if window.client and window.server else "client" if window.client else "server"
    confidence = "low" if bits < _ENOUGH_BITS else "high" if bits >= 2 * _ENOUGH_BITS and side == "both" else "medium"
    return _shape(opening, "length-prefixed-frames", confidence,
                  _evidence("length-prefixed-frames", side,
                            f"{frames} frames, length of {framing.describe()}: {(window.client or window.server)[:12].hex(' ')}"))


# ---- key streams --------------------------------------------------------------------------------------------------------------

_REPEATED_BYTES = 8
_REPEATED_UNITS = 3


def _keystream(opening: Opening, window: Window) -> Finding | None:
    """The same eight or more random-looking bytes begin several units, in both directions: a key stream used again."""
    starts = [(side, data[:32]) for side, data in window.pieces() if len(data) >= _REPEATED_BYTES]
    if len(starts) < _REPEATED_UNITS or len({side for side, _ in starts}) < 2 or len({data for _, data in starts}) < 2:
        return None
    first, last = min(data for _, data in starts), max(data for _, data in starts)
    same = next((at for at, (one, two) in enumerate(zip(first, last, strict=False)) if one != two), min(len(first), len(last)))
    common = first[:same]  # what the least and the greatest share, all share
    head = common[:_REPEATED_BYTES]
    if len(head) < _REPEATED_BYTES or len(set(head)) < 7 or head.isascii() or common.count(0) > 1:
        return None
    return _shape(opening, "repeated-keystream-prefix", "high" if len(starts) >= 4 else "medium",
                  _evidence("repeated-keystream-prefix", "both", f"{len(starts)} units begin {common.hex(' ')}"))


_FILES = ((b"PK\x03\x04", "zip"), (b"\x1f\x8b\x08", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz"), (b"7z\xbc\xaf", "7z"),
          (b"Rar!", "rar"), (b"%PDF-", "pdf"), (b"\x89PNG\r\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"), (b"\xd0\xcf\x11\xe0\xa1\xb1", "ole2"),
          (b"SQLite format 3\x00", "sqlite"), (b"\x78\x9c", "zlib"), (b"OggS", "ogg"), (b"RIFF", "riff"), (b"\xd4\xc3\xb2\xa1", "pcap"))


def _file(opening: Opening, window: Window) -> Finding | None:
    """One side sends a file whose format says so in its first bytes, and the other next to nothing."""
    if opening.midstream:
        return None
    for side, data, other in (("client", window.client, window.server), ("server", window.server, window.client)):
        if len(data) >= 64 and len(other) <= 256:
            for magic, kind in _FILES:
                if data.startswith(magic):
                    return _shape(opening, "file-transfer", "medium", _evidence("file-magic", side, kind))
    return None


def _encrypted(opening: Opening, window: Window) -> Finding | None:
    """Random bytes from the first on: the server's, or those of a client whose server said nothing else."""
    if opening.midstream or opening.after_upgrade:
        return None
    client, server = window.client, window.server
    random_client, random_server = (len(data) >= _RANDOM_BYTES and looks_random(data[:1_024]) for data in (client, server))
    if not random_server and (not random_client or (len(server) >= 16 and not looks_random(server[:1_024]))):
        return None
    side, data = ("server", server) if random_server else ("client", client)
    return _shape(opening, "fully-encrypted", "medium" if random_client and random_server else "low",
                  _evidence("fully-encrypted", "both" if random_client and random_server else side, data[:16].hex(" ")))


_RANDOM_BYTES = 32
"""Fewer bytes say little about their origin."""


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


def _alphabet(lines: list[bytes]) -> str:
    """base64-lines, hex-lines or json-lines where every line is so; empty otherwise."""
    if not lines or not all(lines):
        return ""
    for kind, pattern in (("hex-lines", _HEX), ("base64-lines", _BASE64), ("json-lines", _JSON)):
        if all(pattern.fullmatch(line) for line in lines):
            return kind
    return ""


def _convincing(kind: str, text: bytes) -> bool:
    """Is there enough of the alphabet that no plain words are taken for it?"""
    if kind == "json-lines":
        return b'":' in text or b'" :' in text
    if kind == "hex-lines":
        return len(text) >= 16 and len(set(text)) >= 4
    classes = (any(0x41 <= byte <= 0x5A for byte in text) + any(0x61 <= byte <= 0x7A for byte in text)
               + any(byte in b"0123456789+/=" for byte in text))
    return len(text) >= 12 and (classes == 3 or (len(text) >= 64 and classes == 2))


def _lined(opening: Opening, window: Window) -> Finding | None:
    """Every line of every side that spoke is base64, hexadecimal or a JSON object."""
    spoke = [(side, data) for side, data in (("client", window.client), ("server", window.server)) if data]
    if not spoke or not all(is_text(data[:256]) for _, data in spoke) or (opening.midstream and len(spoke) < 2):
        return None
    lines = [_lines(data, len(data) >= _CUT_BYTES) for _, data in spoke]
    kinds = {_alphabet(own) for own in lines}
    kind = "base64-lines" if kinds == {"base64-lines", "hex-lines"} else kinds.pop() if len(kinds) == 1 else ""
    if not kind or not _convincing(kind, b"".join(line for own in lines for line in own)):
        return None
    side, data = spoke[0]
    return _shape(opening, kind, "medium" if len(spoke) == 2 else "low",
                  _evidence(kind, "both" if len(spoke) == 2 else side, safe_text(data[:SHOWN_BYTES].split(b"\n", 1)[0])))


# ---- beats and echoes -----------------------------------------------------------------------------------------------------------

_BEATS = 6
_BEAT_BYTES = 512


def _beats(opening: Opening, window: Window) -> Finding | None:
    """Turns of one size for each side, again and again; the first exchange may differ (a check-in)."""
    for skip in (0, 2):
        rest = window.turns[skip:]
        sizes = [{size for side, size in rest if side == wanted} for wanted in (CLIENT, SERVER)]
        if len(rest) >= _BEATS and all(len(own) == 1 and max(own) <= _BEAT_BYTES for own in sizes):
            client, server = sizes[0].pop(), sizes[1].pop()
            return _shape(opening, "fixed-size-beats", "medium",
                          _evidence("fixed-size-beats", "both",
                                    f"{len(rest)} turns of {client} bytes from the client and {server} from the server"))
    return None


def _echo(opening: Opening, window: Window) -> Finding | None:
    """RFC 862: the server says what the client said, byte by byte, turn by turn."""
    pieces = window.pieces()
    pairs = list(zip(pieces[::2], pieces[1::2], strict=False))
    if opening.first_side != CLIENT or len(window.server) < 8 or len(pairs) < 2 or any(asked[1] != said[1] for asked, said in pairs):
        return None
    return Finding(protocol="echo", confidence="medium",
                   evidence=[_evidence("server-echoes-client", "server", safe_text(window.server[:SHOWN_BYTES]))])


CHECKS: tuple[Callable[[Opening, Window], Finding | None], ...] = (
    _echo,  # first: the server's bytes are the client's, whatever they are
    look_for_shell,  # words that only a shell says
    _keystream,  # before the frames: encrypted units may happen to tile
    _file,
    _lined,
    _frames,
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
