"""The dialogue of one flow as people read it: line by line, without secrets, and as hex where it is no text."""

from __future__ import annotations

import re
from collections import deque
from typing import NamedTuple

from imapids.config import DialogueLimits
from imapids.parse import ImapDialogue
from imapids.parse.deflate import Inflater
from imapids.parse.imap_commands import read_command
from imapids.protocols.imap_commands import STATE_NAMES
from imapids.protocols.imap_grammar import is_binary
from imapids.protocols.text import safe_text
from imapids.records.events import Session
from imapids.records.streams import CLIENT, SERVER, Piece, StreamChunk, StreamConflict, StreamEnd, StreamGap

FIRST_LINES = 240
LAST_LINES = 60
"""What is shown of a long dialogue: its beginning and its end."""
LINE_BYTES = 4_096
"""Bytes of one line that are looked at."""
SHOWN_BYTES = 160
HEX_BYTES = 64
HEX_ROW = 16
KEPT_SECRETS = 64

_SECRET_WORDS = re.compile(
    rb"pass|login|auth|secret|token|cookie|bearer|credential|\bapi.?key\b", re.IGNORECASE)
_PROMPT = re.compile(rb"(?:pass(?:word|phrase|code)?|pin|secret)[^\n]{0,32}[:>] ?$", re.IGNORECASE)
_STATES = {state: name.replace("authenticated", "auth") for state, name in STATE_NAMES.items()}
_RECORD_TYPES = {20: "change-cipher-spec", 21: "alert", 22: "handshake", 23: "application data"}  # RFC 8446 section 5.1


class Line(NamedTuple):
    """One line of a transcript."""

    packet: int
    time_ns: int
    side: int
    """CLIENT 0, SERVER 1."""
    offset: int
    """Of its first byte in the side's stream (of the inflated stream after COMPRESS)."""
    text: str
    """Safe and redacted."""
    state: str = ""
    """State of the IMAP machine before it (not-auth, auth, selected, logout, unknown); empty outside IMAP."""


class Transcript:
    """Feed it the pieces of one flow, in order; read `lines`."""

    def __init__(self, session: Session, limits: DialogueLimits) -> None:
        protocol = session.protocol or ""
        self.is_imap = protocol.startswith("imap") or bool(session.greeting or session.commands)
        self.protocol = protocol
        self.limits = limits
        self.layer = ""
        """Empty, tls or deflate."""
        self.left_out = 0
        """Lines between the first and the last ones that are not kept."""
        self._first: list[Line] = []
        self._last: deque[Line] = deque(maxlen=LAST_LINES)
        self._dialogue = ImapDialogue(limits, midstream=session.midstream)
        self._inflaters = (Inflater(limits), Inflater(limits))
        self._held: list[tuple[int, int, int, bytearray] | None] = [None, None]
        self._records = (_Records(), _Records())
        self._secrets: list[bytes] = []
        self._challenged = False
        """The server asked for a secret (a prompt, a SASL challenge): what the client says next is one."""

    @property
    def lines(self) -> list[Line]:
        """The first and the last lines, in order."""
        return [*self._first, *self._last]

    @property
    def gap_at(self) -> int:
        """Index in `lines` of the first line after those that were left out."""
        return len(self._first)

    def feed(self, pieces: list[Piece]) -> None:
        """Takes pieces of the flow; what was delivered twice or conflicts is told, not shown."""
        for piece in pieces:
            if isinstance(piece, StreamChunk):
                self._chunk(piece)
            elif isinstance(piece, StreamGap):
                text = f"[{piece.length:,} bytes missing: {piece.reason}]"
                self._add(piece.packet, piece.time_ns, piece.side, piece.offset, text)
                self._dialogue.gap(piece)
                self._held[piece.side] = None
            elif isinstance(piece, StreamConflict):
                text = f"[other bytes for the same place: {piece.reason}]"
                self._add(piece.packet, piece.time_ns, piece.side, piece.offset, text)
            elif isinstance(piece, StreamEnd):
                for side in (CLIENT, SERVER):
                    self._flush(side)

    # ---- what a chunk is ----------------------------------------------------------------------------------------

    def _chunk(self, chunk: StreamChunk) -> None:
        if not self.is_imap:
            if self.protocol == "tls":
                self._tls(chunk)
            else:
                self._foreign(chunk)
        elif self.layer == "tls":
            self._tls(chunk)
        elif self.layer == "deflate":
            inflater = self._inflaters[chunk.side]
            if inflater.dead:
                self._foreign(chunk)
                return
            for inner in inflater.chunks(chunk):
                self._imap(inner)
        else:
            self._imap(chunk)

    def _imap(self, chunk: StreamChunk) -> None:
        """Cuts a chunk at line ends, so that the machine's state before each line is known."""
        data, size, position = chunk.data, len(chunk.data), 0
        reader = (self._dialogue.reader_client, self._dialogue.reader_server)[chunk.side]
        while position < size:
            packet, time_ns = chunk.locate(position)
            if reader.skip:
                end = min(size, position + reader.skip)
                text = f"[{end - position:,} bytes of a literal]"
                self._add(packet, time_ns, chunk.side, chunk.offset + position, text)
                self._step(chunk, position, end)
            else:
                found = data.find(b"\n", position)
                end = found + 1 if found >= 0 else size
                held = self._held[chunk.side] or (packet, time_ns, chunk.offset + position, bytearray())
                held[3].extend(data[position:min(end, position + LINE_BYTES)])
                del held[3][LINE_BYTES:]
                self._held[chunk.side] = held
                if found >= 0:
                    self._flush(chunk.side)
                self._step(chunk, position, end)
            position = end
            rest = self._held[chunk.side]
            if rest is not None and is_binary(bytes(rest[3])):  # no line end need come: show what each packet brought
                self._flush(chunk.side)
            if self._dialogue.upgraded is not None:
                self._upgrade()
                if position < size:
                    packet, time_ns = chunk.locate(position)
                    self._chunk(StreamChunk(chunk.side, chunk.offset + position, data[position:], time_ns, packet))
                return

    def _step(self, chunk: StreamChunk, start: int, end: int) -> None:
        packet, time_ns = chunk.locate(start)
        self._dialogue.feed(StreamChunk(chunk.side, chunk.offset + start, chunk.data[start:end], time_ns, packet))
        self._dialogue.events.clear()

    def _upgrade(self) -> None:
        upgraded = self._dialogue.upgraded
        assert upgraded is not None
        self.layer = upgraded.to
        carried, self._dialogue.carry = self._dialogue.carry, []
        if self.layer == "deflate":
            self._dialogue.resume("deflate")
        for chunk in carried:
            self._chunk(chunk)

    def _flush(self, side: int) -> None:
        """A line is complete (or will never be): show it."""
        held, self._held[side] = self._held[side], None
        if held is not None:
            packet, time_ns, offset, line = held
            text = self._client_line(bytes(line)) if side == CLIENT else self._server_line(bytes(line))
            self._add(packet, time_ns, side, offset, text, _STATES.get(self._dialogue.state, "unknown"))

    # ---- lines without their secrets ----------------------------------------------------------------------------

    def _client_line(self, line: bytes) -> str:
        """A line of an IMAP client: the machine knows which part of it is a secret."""
        bare = line.rstrip(b"\r\n")
        dialogue = self._dialogue
        if dialogue.exchange is not None:
            self._keep_secrets(bare, *(bare.split() if b" " in bare else ()))
            return bare.decode() if bare in (b"", b"*") else f"[SASL response: {len(bare)} bytes]"
        if dialogue.building is not None:
            self._keep_secrets(bare)
            return f"[rest of the command: {len(bare)} bytes]" if bare else ""
        tag, blank, rest = bare.partition(b" ")
        command = read_command(rest, self.limits) if blank else None
        if command is None:
            return self._plain(bare)
        if "[redacted]" in command.arguments:
            self._keep_secrets(*rest.split()[1:])
        word = command.name if command.spec is not None else safe_text(rest.split(b" ", 1)[0], 64)
        return f"{safe_text(tag, 64)} {word} {command.arguments}".rstrip()

    def _server_line(self, line: bytes) -> str:
        bare = line.rstrip(b"\r\n")
        if is_binary(bare):
            return _hex(_masked(bare))
        if self.is_imap and self._dialogue.exchange is not None and bare.startswith(b"+ ") and len(bare) > 2:
            return f"+ [SASL challenge: {len(bare) - 2} bytes]"
        for secret in self._secrets:
            bare = bare.replace(secret, b"[redacted]")
        return safe_text(bare, SHOWN_BYTES)

    def _plain(self, line: bytes) -> str:
        """A line of unknown meaning: what follows a word that speaks of secrets is left out."""
        if is_binary(line):
            return _hex(_masked(line))
        found = _SECRET_WORDS.search(line[:LINE_BYTES])
        if found is None:
            return safe_text(line, SHOWN_BYTES)
        blank = line.find(b" ", 0, 32)
        self._keep_secrets(*line.split())
        return f"{safe_text(line[:blank], 32)} [redacted]" if blank > 0 else f"[{len(line)} bytes redacted]"

    def _keep_secrets(self, *words: bytes) -> None:
        """Remember what was left out, so that an echo of the server does not show it."""
        for word in words:
            bare = word.strip(b'"\r\n')
            if len(bare) >= 4 and len(self._secrets) < KEPT_SECRETS:
                self._secrets.append(bare[:256])

    # ---- what is no IMAP ----------------------------------------------------------------------------------------

    def _foreign(self, chunk: StreamChunk) -> None:
        """Text by lines, anything else as hex; what answers a prompt for a secret is left out."""
        side, data = chunk.side, chunk.data
        secret = side == CLIENT and self._challenged
        if side == SERVER:
            head = data[:256]
            self._challenged = bool(_PROMPT.search(data[-64:])) or head.startswith((b"334 ", b"+ "))
        if secret:
            text = f"[{len(data)} bytes that answer a prompt: redacted]"
            self._add(chunk.packet, chunk.time_ns, side, chunk.offset, text)
            self._challenged = b"\n" not in data and b"\r" not in data
            return
        if self.protocol.startswith("socks") and side == CLIENT and data[:1] == b"\x01":  # RFC 1929: user and password
            self._add(chunk.packet, chunk.time_ns, side, chunk.offset, "[user name and password: redacted]")
            return
        if is_binary(data[:512]):
            shown = _hex(_masked(data[:HEX_BYTES]), len(data))
            self._add(chunk.packet, chunk.time_ns, side, chunk.offset, shown)
            return
        position = 0
        while position < len(data):
            found = data.find(b"\n", position)
            end = found + 1 if found >= 0 else len(data)
            packet, time_ns = chunk.locate(position)
            line = data[position:min(end, position + LINE_BYTES)].rstrip(b"\r\n")
            text = self._plain(line) if side == CLIENT or _SECRET_WORDS.search(line) else self._server_line(line)
            if text:
                self._add(packet, time_ns, side, chunk.offset + position, text)
            position = end

    def _tls(self, chunk: StreamChunk) -> None:
        """The records of TLS, by type and size; their content is encrypted."""
        for position, text in self._records[chunk.side].feed(chunk.data):
            packet, time_ns = chunk.locate(position)
            self._add(packet, time_ns, chunk.side, chunk.offset + position, text)

    def _add(self, packet: int, time_ns: int, side: int, offset: int, text: str, state: str = "") -> None:
        line = Line(packet, time_ns, side, offset, text, state)
        if len(self._first) < FIRST_LINES:
            self._first.append(line)
            return
        self.left_out += len(self._last) == LAST_LINES
        self._last.append(line)


class _Records:
    """The record headers of one side of a TLS stream (RFC 8446 section 5.1)."""

    def __init__(self) -> None:
        self.head = b""
        self.skip = 0

    def feed(self, data: bytes) -> list[tuple[int, str]]:
        """(position, description) of each record whose header ends in data; foreign bytes as hex."""
        found: list[tuple[int, str]] = []
        position = 0
        while position < len(data):
            if self.skip:
                taken = min(self.skip, len(data) - position)
                self.skip -= taken
                position += taken
                continue
            taken = 5 - len(self.head)
            start = position
            self.head += data[position:position + taken]
            position += taken
            if len(self.head) < 5:
                break
            kind, major, size = self.head[0], self.head[1], int.from_bytes(self.head[3:5], "big")
            if kind not in _RECORD_TYPES or major != 3:
                shown = (self.head + data[position:position + HEX_BYTES])[:HEX_BYTES]
                found.append((start, _hex(_masked(shown), len(data) - start)))
                self.head = b""
                break
            found.append((start, f"[TLS {_RECORD_TYPES[kind]}: {size:,} bytes]"))
            self.skip, self.head = size, b""
        return found


def _masked(data: bytes) -> bytes:
    """Bytes with `*` for the rest of a printable run that speaks of secrets."""
    found = _SECRET_WORDS.search(data)
    if found is None:
        return data
    rest = re.sub(rb"[!-~]", b"*", data[found.end():])
    return data[:found.end()] + rest


def _hex(data: bytes, size: int | None = None) -> str:
    """`17 03 03 00 60 ..  |.....|`, one row for each 16 bytes, and how many bytes there are."""
    size = len(data) if size is None else size
    rows = []
    for start in range(0, min(len(data), HEX_BYTES), HEX_ROW):
        part = data[start:start + HEX_ROW]
        printable = "".join(chr(byte) if 0x20 <= byte <= 0x7E else "." for byte in part)
        rows.append(f"{part.hex(' '):<{3 * HEX_ROW}} |{printable}|")
    if size > HEX_BYTES:
        rows.append(f"... {size:,} bytes")
    return "\n".join(rows)
