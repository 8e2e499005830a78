"""Remote calls and media set-up in datagrams: ONC RPC, DCE/RPC, SIP, STUN and DTLS after it, CoAP."""

from __future__ import annotations

from imapids.protocols.datagram_exchange import exchange
from imapids.protocols.directories import rpc_call, rpc_reply
from imapids.protocols.probing import NEED_MORE, NO, Answer, Probe, anything, be16, be32, found, le16, speaks
from imapids.protocols.probing import starts as first_bytes
from imapids.protocols.tunnels import stun_header
from imapids.records.candidates import Opening


def _http_like(data: bytes) -> bool:
    """SSDP (UPnP 1.0 section 1): M-SEARCH or NOTIFY, or an answer, in the form of HTTP."""
    return data.startswith((b"M-SEARCH * HTTP/1.1", b"NOTIFY * HTTP/1.1")) or (
        data.startswith(b"HTTP/1.1 200 OK")
        and any(word in data[:600].upper() for word in (b"\nST:", b"\nUSN:", b"\nNT:"))
    )


_SIP_METHODS = (
    b"INVITE ",
    b"REGISTER ",
    b"OPTIONS ",
    b"ACK ",
    b"BYE ",
    b"CANCEL ",
    b"SUBSCRIBE ",
    b"NOTIFY ",
    b"PUBLISH ",
    b"INFO ",
    b"REFER ",
    b"MESSAGE ",
    b"UPDATE ",
    b"PRACK ",
)


def _sip(data: bytes) -> bool:
    text = data.lstrip(b"\r\n\x00")
    return text.startswith(b"SIP/2.0 ") or (text.startswith(_SIP_METHODS) and b" SIP/2.0" in text[:1_000])


def _sunrpc_call(data: bytes) -> bool:
    return len(data) >= 40 and rpc_call(data)


def _sunrpc_reply(data: bytes) -> bool:
    return len(data) >= 20 and rpc_reply(data)


def _sunrpc_name(opening: Opening) -> str:
    for _side, data in opening.datagrams[:2]:
        if _sunrpc_call(data):
            return {100_003: "nfs", 100_005: "mount", 100_000: "sunrpc"}.get(be32(data, 12), "sunrpc")
    return "sunrpc"


def _dcerpc(data: bytes) -> bool:
    """C706 section 12.5: version 4, packet type, flags, data representation."""
    return (
        len(data) >= 80
        and data[0] == 4
        and data[1] <= 10
        and data[4] in (0x00, 0x10)
        and data[5] <= 3
        and data[6] == 0
        and (le16(data, 74) if data[4] == 0x10 else be16(data, 74)) <= len(data) - 80 + 16
    )


def _coap(data: bytes) -> bool:
    """RFC 7252 section 3: version 1, token of at most 8 bytes, a registered code, options to the end or a marker."""
    if len(data) < 4:
        return False
    size, code = data[0] & 0x0F, data[1]
    if data[0] >> 6 != 1 or size > 8 or len(data) < 4 + size:
        return False
    if code == 0:
        return len(data) == 4 and size == 0
    if not (
        1 <= code <= 7 or 0x40 <= code <= 0x5F or 0x80 <= code <= 0x91 or 0xA0 <= code <= 0xA5 or 0xE1 <= code <= 0xE5
    ):
        return False
    at, number = 4 + size, 0
    for _ in range(32):
        if at == len(data):
            return True
        if data[at] == 0xFF:
            return at + 1 < len(data)
        delta, length, at = data[at] >> 4, data[at] & 0x0F, at + 1
        if delta == 13:
            delta, at = 13 + (data[at] if at < len(data) else 0), at + 1
        elif delta == 14:
            delta, at = 269 + be16(data, at), at + 2
        elif delta == 15:
            return False
        if length == 13:
            length, at = 13 + (data[at] if at < len(data) else 0), at + 1
        elif length == 14:
            length, at = 269 + be16(data, at), at + 2
        elif length == 15:
            return False
        at, number = at + length, number + delta
        if at > len(data) or number > 2_100:
            return False
    return False


def _stun(data: bytes) -> bool:
    return (
        len(data) >= 20
        and data[0] < 0x40
        and data[4:8] == b"\x21\x12\xa4\x42"
        and (stun_header(data) or be16(data, 2) == len(data) - 20)
    )


def dtls_record(data: bytes) -> bool:
    """RFC 6347 section 4.1: type, version FE FF, FE FD or FE FC (or 01 00), epoch, sequence, length that fits."""
    return (
        len(data) >= 13
        and 20 <= data[0] <= 25
        and data[1:3] in (b"\xfe\xff", b"\xfe\xfd", b"\xfe\xfc", b"\x01\x00")
        and 0 < be16(data, 11) <= max(len(data) - 13, 0) + 64
    )


_STUN_STARTS = bytes(range(0x40))


def _look_dtls_after_stun(opening: Opening) -> Answer:
    """ICE: connectivity checks by STUN on the same ports before a DTLS handshake (RFC 5764 section 5.1.2)."""
    if not opening.datagrams or not _stun(opening.datagrams[0][1]):
        return NO, None
    for side, data in opening.datagrams[:_ICE_DATAGRAMS]:
        if data[:1] == b"\x16" and dtls_record(data):
            return found("dtls", "high", speaks(("client", "server")[side], "dtls", data))
    over = (opening.client_ended and opening.server_ended) or len(opening.datagrams) >= _ICE_DATAGRAMS
    return (NO if over else NEED_MORE), None


_ICE_DATAGRAMS = 24
"""Datagrams that are looked through for a handshake after connectivity checks."""


def _look_rpc(opening: Opening) -> Answer:
    look, finding = _RPC.look(opening)
    if finding is not None:
        finding.protocol = _sunrpc_name(opening)
    return look, finding


_RPC = exchange("sunrpc", _sunrpc_call, _sunrpc_reply)


PROBES: tuple[Probe, ...] = (
    Probe("dtls", _look_dtls_after_stun, first_bytes(_STUN_STARTS, _STUN_STARTS)),
    exchange("stun", _stun),
    exchange("ssdp", _http_like, starts=b"MNH"),
    exchange("sip", _sip),
    Probe("sunrpc", _look_rpc, anything),
    exchange("dcerpc", _dcerpc, starts=b"\x04"),
)


LATE: tuple[Probe, ...] = (exchange("coap", _coap, starts=bytes(range(0x40, 0x80))),)
"""Weak formats: asked for after all others."""
