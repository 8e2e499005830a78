"""A TLS connection seen from outside: is the handshake real, do the records follow one another, who speaks to whom.

Records are skipped by count; only hellos, certificates and alerts in clear are looked into. Whatever way the bytes are
cut, facts and events are the same, and nothing raises.
"""

from __future__ import annotations

from imapids.config import DialogueLimits
from imapids.parse.tls_handshake import Handshake, Messages
from imapids.protocols.late_patterns import late_pattern
from imapids.protocols.text import safe_text
from imapids.protocols.tls import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    HEARTBEAT,
    RECORD_HEADER_BYTES,
    alert_name,
    is_record_header,
)
from imapids.protocols.tls_hello import parse_sslv2_client_hello
from imapids.records.candidates import Evidence
from imapids.records.dialogue import TlsFacts
from imapids.records.events import Body
from imapids.records.streams import CLIENT, SERVER, SIDES, StreamChunk, StreamEnd, StreamGap

_HEADER_START = late_pattern(rb"[\x14-\x18]\x03[\x00-\x04]")
_SSLV2_SERVER_HELLO = 4
_SSLV2_VERSIONS = frozenset({b"\x00\x02", b"\x03\x00", b"\x03\x01", b"\x03\x02", b"\x03\x03"})


class TlsSide:
    """Where one side's stream stands."""

    __slots__ = (
        "clear", "collect", "dead", "first", "head", "head_at", "head_offset", "kind", "left", "lossy", "lost",
        "messages", "record_at", "record_head", "record_offset", "side", "small", "sslv2_left", "tentative",
    )

    def __init__(self, side: int, limits: DialogueLimits, midstream: bool) -> None:
        self.side = side
        self.head = b""  # up to four bytes of a record header whose rest is still to come
        self.head_at = (0, 0)  # packet and time of its first byte, and its position in the stream
        self.head_offset = 0
        self.record_head = b""  # header of the record at hand, where it began, and its content type
        self.record_at = (0, 0)
        self.record_offset = 0
        self.kind = 0
        self.left = 0  # bytes of it that are still to come
        self.collect = False  # its bytes are looked into
        self.small = b""  # those of an alert
        self.clear = True  # handshake and alerts are not yet encrypted
        self.first = True  # no record of this side was seen
        self.lossy = midstream  # what was seen does not begin at the start, or has a gap
        self.lost = False  # the next record header is to be searched
        self.tentative = midstream  # the record at hand was found by searching: the next one must follow it
        self.dead = False  # what comes is not looked at any more
        self.sslv2_left = -1  # bytes of a ClientHello of SSL 2.0 that are still to come
        self.messages = Messages(limits.tls_handshake_bytes)


class TlsStream:
    """Both directions of one TLS connection, from its first byte or from the byte after STARTTLS."""

    def __init__(self, limits: DialogueLimits, *, midstream: bool = False, after_starttls: bool = False) -> None:
        """`midstream`: the start was not captured; `after_starttls`: IMAP handed the connection over."""
        self.facts = TlsFacts()
        self.events: list[tuple[int, int, Body]] = []
        """(time_ns, packet, body): the `tls` event, once the server said its part in clear, or at the end."""
        self._limits = limits
        self._after_starttls = after_starttls
        self._handshake = Handshake(self.facts, limits, "imap" if after_starttls else "")
        self.sides = (TlsSide(CLIENT, limits, midstream), TlsSide(SERVER, limits, midstream))
        """Where the streams stand of client and server."""
        self._hello_at = (0, 0)  # packet and time of the newest hello
        self._told = False

    def feed(self, chunk: StreamChunk) -> None:
        """Takes the next bytes of one side."""
        side = self.sides[chunk.side]
        data = chunk.data
        if side.dead:
            return
        if side.left >= len(data) and not side.collect:  # inside a record: nothing to look at
            side.left -= len(data)
            self._count(side, len(data))
            return
        shift = len(side.head)
        if shift:
            data = side.head + data
            side.head = b""
        position, end = 0, len(data)
        while position < end and not side.dead:
            if side.left:
                step = min(side.left, end - position)
                self._inside(side, data, position, step)
                position += step
            elif side.lost and not (position := self._search(side, data, position)) < end:
                break
            elif end - position < RECORD_HEADER_BYTES:
                if position or not shift:
                    side.head_at = chunk.locate(max(position - shift, 0))
                    side.head_offset = chunk.offset + position - shift
                side.head = data[position:]
                break
            elif not side.clear and data[position] == APPLICATION_DATA and (
                    after := self._opaque(side, chunk, data, position, shift)) > position:
                position = after
            else:
                head = data[position : position + RECORD_HEADER_BYTES]
                position += self._header(side, head, self._at(side, chunk, position, shift),
                                         chunk.offset + position - shift)

    def gap(self, gap: StreamGap) -> None:
        """Bytes of one side are missing."""
        side = self.sides[gap.side]
        self.facts.gaps += 1
        if side.dead:
            return
        side.lossy = True
        side.clear = side.clear and side.first
        side.collect = False
        if side.sslv2_left >= 0 or side.head or gap.length > side.left:
            side.head, side.left, side.sslv2_left = b"", 0, -1
            side.lost = True
            side.clear = False
        else:
            side.left -= gap.length

    def end(self, end: StreamEnd) -> None:  # noqa: ARG002  # every machine is told in the same manner
        """The conversation is over."""
        for side in self.sides:
            head = side.head
            if head and not side.lossy and not side.dead and not _may_begin(head, side.first):
                self._refuse(side, head, side.head_at, side.head_offset)
        if self.facts.client_hello or self.facts.server_hello:
            self._tell()

    @staticmethod
    def _at(side: TlsSide, chunk: StreamChunk, position: int, shift: int) -> tuple[int, int]:
        """Packet and time of a byte of `chunk`, before which `shift` bytes of a record header were kept."""
        return side.head_at if shift and not position else chunk.locate(max(position - shift, 0))

    # ---------------------------------------------------------------- records

    def _opaque(self, side: TlsSide, chunk: StreamChunk, data: bytes, position: int, shift: int) -> int:
        """Records of application data, one after the other, that nothing is to be learned from: where they end."""
        facts = self.facts
        encrypted = facts.encrypted_client if side.side == CLIENT else facts.encrypted_server
        if side.first or side.lost or side.tentative or not (encrypted and facts.application_data and
                                                              facts.choice_offered):
            return position  # `_header` looks closer
        begin, end, records, last = position, len(data), 0, position
        while end - position >= RECORD_HEADER_BYTES and data[position] == APPLICATION_DATA and (
                is_record_header(data, position)):
            last = position
            position += RECORD_HEADER_BYTES + (data[position + 3] << 8 | data[position + 4])
            records += 1
        if not records:
            return begin
        side.kind, side.left, side.small, side.collect = APPLICATION_DATA, max(position - end, 0), b"", False
        side.record_head = data[last : last + RECORD_HEADER_BYTES]
        side.record_at, side.record_offset = self._at(side, chunk, last, shift), chunk.offset + last - shift
        facts.valid_records += records
        size = min(position, end) - begin - records * RECORD_HEADER_BYTES
        if side.side == CLIENT:
            facts.records_client += records
            facts.application_bytes_client += size
        else:
            facts.records_server += records
            facts.application_bytes_server += size
        return min(position, end)

    def _header(self, side: TlsSide, head: bytes, at: tuple[int, int], offset: int) -> int:
        """Five bytes where a record must begin; the number of them that are used up."""
        first, before = side.first, side.kind
        if not is_record_header(head):
            if not (first and not side.lossy and self._sslv2(side, head, at, offset)):
                self._refuse(side, head, at, offset)
            return 1 if side.lost else RECORD_HEADER_BYTES
        kind = head[0]
        side.record_head, side.record_at, side.record_offset = head, at, offset
        side.kind, side.left, side.first = kind, head[3] << 8 | head[4], False
        if side.lost:
            side.lost, side.tentative = False, True
        elif side.tentative and not first:  # it follows the record that was found by searching: both are sound
            side.tentative = False
            self._count_record(side, before)
        if not side.tentative:
            self._count_record(side, kind)
            self._clear_record(side, kind, first)
        elif first and kind == HANDSHAKE:  # a whole hello would prove it
            self._clear_record(side, kind, first)
        else:
            side.clear = side.collect = False
        return RECORD_HEADER_BYTES

    def _clear_record(self, side: TlsSide, kind: int, first: bool) -> None:
        """What a record's type tells; whether its bytes are looked into."""
        facts = self.facts
        if kind == APPLICATION_DATA or (kind == CHANGE_CIPHER_SPEC and (facts.server_hello or not facts.retried)):
            self._encrypted(side)  # but for the one that follows a retry and means nothing (RFC 8446 appendix D.4)
        elif kind == HANDSHAKE and side.clear and side.messages.between and not self._hello_of(side):
            self._hello_at = side.record_at
            if not facts.hello_packet:
                facts.hello_packet, facts.hello_offset = side.record_at[0], side.record_offset
        if first and kind not in (HANDSHAKE, ALERT) and not side.lossy and not self._hello_of(side):
            self._fake(side)
        side.small = b""
        side.collect = side.clear and kind in (HANDSHAKE, ALERT)

    def _inside(self, side: TlsSide, data: bytes, position: int, step: int) -> None:
        """`step` bytes of the record at hand."""
        side.left -= step
        if not side.collect:
            self._count(side, step)
        elif side.sslv2_left >= 0:
            side.sslv2_left -= step
            side.small += data[position : position + min(step, self._limits.tls_handshake_bytes - len(side.small))]
            if not side.left:
                self._sslv2_done(side)
        elif side.kind == ALERT:
            side.small += data[position : position + min(step, 3 - len(side.small))]
            if not side.left:
                self._alert(side)
        else:
            self._messages(side, data[position : position + step])

    def _messages(self, side: TlsSide, data: bytes) -> None:
        sound = True
        for kind, body, announced in side.messages.feed(data):
            sound = sound and self._handshake.message(side.side, kind, body, announced)
            if not self._hello_of(side) and not self.facts.retried:  # the first message must be the hello
                sound = False
            if self._handshake.flight_done:
                self._tell()
        if not sound or side.messages.broken:
            side.clear = side.collect = False
            if not side.lossy:
                self._fake(side)
        elif side.tentative and self._hello_of(side):  # a whole hello is proof enough
            side.tentative = False
            self._count_record(side, HANDSHAKE)

    def _alert(self, side: TlsSide) -> None:
        """An alert in clear is two bytes: a level and a description (RFC 8446 section 6)."""
        side.collect = False
        if len(side.small) == 2 and side.small[0] in (1, 2):
            if not self.facts.alert:
                self.facts.alert = alert_name(side.small[1]) if side.small[1] else ""
                self.facts.alert_side = SIDES[side.side]
        elif not side.lossy and not self._hello_of(side):
            self._fake(side)

    def _encrypted(self, side: TlsSide) -> None:
        """From here on the side's records are opaque."""
        side.clear = False
        if side.side == CLIENT:
            self.facts.encrypted_client = True
            return
        self.facts.encrypted_server = True
        if self.facts.server_hello:
            self._tell()

    def _count(self, side: TlsSide, size: int) -> None:
        """Counts bytes of application data."""
        if side.kind == APPLICATION_DATA and not side.tentative:
            if side.side == CLIENT:
                self.facts.application_bytes_client += size
            else:
                self.facts.application_bytes_server += size

    def _count_record(self, side: TlsSide, kind: int) -> None:
        facts = self.facts
        facts.valid_records += 1
        if side.side == CLIENT:
            facts.records_client += 1
        else:
            facts.records_server += 1
        if kind == APPLICATION_DATA:
            facts.application_data = True
            if not facts.choice_offered:
                self._fake(side)

    # ---------------------------------------------------------------- what is no TLS

    def _hello_of(self, side: TlsSide) -> bool:
        return self.facts.client_hello if side.side == CLIENT else self.facts.server_hello

    def _fake(self, side: TlsSide) -> None:
        """Record headers around what no TLS implementation sends there."""
        if not self.facts.fake:
            code = "fake-tls-after-starttls" if self._after_starttls else "tls-without-handshake"
            self._put_evidence(code, side, side.record_head, side.record_at, side.record_offset)
        self.facts.fake = self.facts.broken = True

    def _refuse(self, side: TlsSide, head: bytes, at: tuple[int, int], offset: int) -> None:
        """No record begins here: after a loss it is searched for, else the stream is not TLS any more."""
        if side.lossy:
            side.lost, side.tentative, side.clear = True, False, False
            return
        side.dead = True
        if not self.facts.broken and self._after_starttls and not self._hello_of(side):
            self._put_evidence("no-tls-after-starttls", side, head, at, offset)
        self.facts.broken = True

    def _put_evidence(self, code: str, side: TlsSide, data: bytes, at: tuple[int, int], offset: int) -> None:
        self.facts.evidence = [*self.facts.evidence, Evidence(code, SIDES[side.side], at[0], offset, safe_text(data))]

    def _search(self, side: TlsSide, data: bytes, position: int) -> int:
        """Where the next record may begin; the end where none does, with what may be its beginning kept."""
        while True:
            match = _HEADER_START.search(data, position)
            if match is None:
                side.head = data[max(position, len(data) - 2) :]
                return len(data)
            position = match.start()
            if len(data) - position < RECORD_HEADER_BYTES or is_record_header(data, position):
                return position
            position += 1

    # ---------------------------------------------------------------- SSL 2.0

    def _sslv2(self, side: TlsSide, head: bytes, at: tuple[int, int], offset: int) -> bool:
        """Whether a hello in the form of SSL 2.0 begins here (RFC 5246 appendix E.2)."""
        if not head[0] & 0x80:
            return False
        size = (head[0] & 0x7F) << 8 | head[1]
        if side.side == SERVER:
            if head[2] != _SSLV2_SERVER_HELLO or not self.facts.client_hello:
                return False
            self._hello_at = at
            self._handshake.sslv2_answer()
            self._tell()
            self.sides[CLIENT].dead = side.dead = True
            return True
        if head[2] != 1 or head[3:5] not in _SSLV2_VERSIONS or size < 9:
            return False
        self._hello_at = at
        self.facts.hello_packet, self.facts.hello_offset = at[0], offset
        side.record_head, side.record_at, side.record_offset = head, at, offset
        side.first = False
        side.kind, side.small, side.left = HANDSHAKE, head[2:], size - 3
        side.sslv2_left = side.left
        side.collect = True
        return True

    def _sslv2_done(self, side: TlsSide) -> None:
        """The ClientHello is whole; TLS records follow unless the client speaks SSL 2.0 only."""
        hello = parse_sslv2_client_hello(side.small)
        side.sslv2_left, side.collect = -1, False
        if not self._handshake.sslv2_hello(hello):
            self._fake(side)
            side.dead = True
            return
        self._count_record(side, HANDSHAKE)
        side.small = b""
        side.dead = hello is not None and hello.version == 2

    # ---------------------------------------------------------------- the event

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            packet, time_ns = self._hello_at
            self.events.append((time_ns, packet, self._handshake.event()))


def _may_begin(head: bytes, first: bool) -> bool:
    """Whether fewer than five bytes can be the beginning of a record, or of a hello in the form of SSL 2.0."""
    if first and head[0] & 0x80:
        return len(head) < 3 or head[2] in (1, _SSLV2_SERVER_HELLO)
    return CHANGE_CIPHER_SPEC <= head[0] <= HEARTBEAT and head[1:2] in (b"", b"\x03")
