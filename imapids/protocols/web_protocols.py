"""HTTP and the protocols that borrow its form: what the first line of each side says (RFC 9112, 9113, 7826, 3261)."""

from __future__ import annotations

from imapids.protocols.probing import Probe, dialogue, first_line, frames, prefix

# RFC 9112 section 3: method SP request-target SP HTTP-version. Methods are tokens; all registered ones are upper case.
HTTP_REQUEST = first_line(
    rb"[A-Z][A-Z_-]{1,24} [^ \r\n]{1,8000} +HTTP/1\.[01]", starts=bytes(range(0x41, 0x5B)), limit=8_192
)
# RFC 9112 section 4: HTTP-version SP 3DIGIT SP [reason]. What follows the version is left alone: servers that evade
# filters put all kinds of bytes there, and nothing else begins so.
HTTP_ANSWER = prefix(b"HTTP/1.1", b"HTTP/1.0")

# RFC 9113 section 3.4: the client's connection preface; the server's first frame is SETTINGS.
HTTP2_PREFACE = prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


def _http2_settings(header: bytes) -> int:
    """The server's first frame: SETTINGS on stream 0, a multiple of six bytes."""
    length = int.from_bytes(header[:3], "big")
    good = header[3] == 4 and header[4] <= 1 and not any(header[5:9]) and length % 6 == 0 and length <= 600
    return 9 + length if good else -1


PROBES: tuple[Probe, ...] = (
    dialogue("http", server=HTTP_ANSWER, client=HTTP_REQUEST),
    dialogue("http2", server=frames(9, _http2_settings, b"\x00", wanted=1), client=HTTP2_PREFACE),
    dialogue(
        "rtsp",
        server=first_line(rb"RTSP/1\.0 [1-5][0-9]{2}(?: .*)?", starts=b"R"),
        client=first_line(rb"[A-Z_]{4,20} [^ ]{1,2000} RTSP/1\.0", starts=bytes(range(0x41, 0x5B))),
    ),
    dialogue(
        "sip",
        server=first_line(rb"SIP/2\.0 [1-6][0-9]{2}(?: .*)?|[A-Z]{3,12} sips?:[^ ]+ SIP/2\.0"),
        client=first_line(rb"SIP/2\.0 [1-6][0-9]{2}(?: .*)?|[A-Z]{3,12} (?:sips?|tel):[^ ]+ SIP/2\.0"),
    ),
)
