"""ClientHello and ServerHello: what a side offers and chooses, and the fingerprints JA3, JA3S and JA4 of it."""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache

import msgspec

from imapids.protocols.text import safe_text
from imapids.protocols.tls import GREASE

SERVER_NAME, SUPPORTED_GROUPS, POINT_FORMATS, SIGNATURE_ALGORITHMS, ALPN = 0, 10, 11, 13, 16
PRE_SHARED_KEY, SUPPORTED_VERSIONS = 41, 43

HELLO_RETRY_REQUEST = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The random of a ServerHello that asks for another ClientHello (RFC 8446 section 4.1.3)."""

_NAME_BYTES = 255
"""RFC 1035 section 2.3.4: a host name has no more; RFC 7301 bounds protocol names alike."""
_PROTOCOLS = 16
"""ALPN names that are kept: browsers offer two or three."""
_EXTENSIONS = 256
"""Extensions that are read: real hellos have fewer than thirty, and each takes four bytes at least."""
_REMEMBERED, _REMEMBERED_BYTES = 512, 1_024
"""Hellos that are remembered, and their size at most: beside the random and the session, clients say the same again."""


class ClientHello(msgspec.Struct, frozen=True, kw_only=True):
    """What a client offers; numbers in wire order, GREASE included."""

    version: int
    """The legacy field: 0x0303 in TLS 1.3."""
    ciphers: tuple[int, ...]
    extensions: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()
    point_formats: tuple[int, ...] = ()
    signature_algorithms: tuple[int, ...] = ()
    versions: tuple[int, ...] = ()
    """supported_versions, empty before TLS 1.3."""
    sni: str = ""
    """Host name, safe text, in lower case."""
    alpns: tuple[bytes, ...] = ()
    session_id: bytes = b""
    has_extensions: bool = True
    """False where the block is absent, as before TLS 1.0's extensions (RFC 3546)."""
    sslv2: bool = False
    """Sent in the form of SSL 2.0 (RFC 5246 appendix E.2)."""
    cut: bool = False
    """The message was longer than what is looked at: extensions are missing, and there are no fingerprints."""

    @property
    def highest_version(self) -> int:
        """The highest version that the client offers."""
        return max((version for version in self.versions if version not in GREASE), default=self.version)


class ServerHello(msgspec.Struct, frozen=True, kw_only=True):
    """What a server chose."""

    legacy_version: int
    cipher: int
    extensions: tuple[int, ...] = ()
    selected_version: int = 0
    """supported_versions; 0 before TLS 1.3."""
    alpn: bytes = b""
    session_id: bytes = b""
    retry: bool = False
    """It asks for another ClientHello."""
    psk: bool = False
    """A pre-shared key was accepted: resumption in TLS 1.3."""

    @property
    def version(self) -> int:
        """The version of the connection."""
        return self.selected_version or self.legacy_version


def parse_client_hello(body: bytes, announced: int | None = None) -> ClientHello | None:
    """A ClientHello message without its four bytes of header (RFC 8446 section 4.1.2); None where it is none.

    `announced`: length that the header gave where `body` holds less of it (a cap was reached).
    """
    cut = announced is not None and announced > len(body)
    if len(body) < 38 or body[0] != 3 or body[34] > 32:
        return None
    session = body[35 : 35 + body[34]]
    rest = body[35 + len(session) :]
    read = _offer if len(rest) <= _REMEMBERED_BYTES else _offer.__wrapped__
    hello = read(body[1], rest, cut)
    return msgspec.structs.replace(hello, session_id=session) if hello is not None and session else hello


@lru_cache(maxsize=_REMEMBERED)
def _offer(minor: int, body: bytes, cut: bool) -> ClientHello | None:
    """A ClientHello of version 3.`minor` from behind its session on."""
    if len(body) < 2:
        return None
    version = 3 << 8 | minor
    size = body[0] << 8 | body[1]
    position = 2
    if not size or size & 1 or position + size + 1 > len(body):
        return None
    ciphers = _shorts(body[position : position + size])
    position += size
    methods = body[position + 1 : position + 1 + body[position]]
    position += 1 + body[position]
    if position > len(body) or 0 not in methods:  # every client offers no compression (RFC 5246 section 7.4.1.2)
        return None
    if position == len(body):
        return ClientHello(version=version, ciphers=ciphers, has_extensions=False, cut=cut)
    parsed = _extensions(body, position, cut)
    if parsed is None:
        return None
    kinds, contents = parsed
    return ClientHello(
        version=version, ciphers=ciphers, extensions=kinds, cut=cut,
        groups=_short_list(contents.get(SUPPORTED_GROUPS, b"")),
        point_formats=_byte_list(contents.get(POINT_FORMATS, b"")),
        signature_algorithms=_short_list(contents.get(SIGNATURE_ALGORITHMS, b"")),
        versions=_shorts(bytes(_byte_list(contents.get(SUPPORTED_VERSIONS, b"")))),
        sni=_server_name(contents.get(SERVER_NAME, b"")), alpns=_protocol_names(contents.get(ALPN, b"")),
    )


def parse_sslv2_client_hello(body: bytes) -> ClientHello | None:
    """An SSL 2.0 CLIENT-HELLO behind its two bytes of record header (RFC 5246 appendix E.2); None where it is none."""
    if len(body) < 9 or body[0] != 1:
        return None
    version, specs, session, challenge = struct.unpack_from("!4H", body, 1)
    if version != 2 and version >> 8 != 3:
        return None
    if not specs or specs % 3 or session not in (0, 16) or not 16 <= challenge <= 32:
        return None
    if 9 + specs + session + challenge != len(body):
        return None
    kinds = tuple(int.from_bytes(body[at : at + 3], "big") for at in range(9, 9 + specs, 3))
    return ClientHello(version=version, ciphers=kinds, session_id=body[9 + specs : 9 + specs + session],
                       has_extensions=False, sslv2=True)


def parse_server_hello(body: bytes) -> ServerHello | None:
    """A ServerHello message without its header (RFC 8446 section 4.1.3); None where it is none."""
    if len(body) < 38 or body[0] != 3 or body[34] > 32:
        return None
    session = body[35 : 35 + body[34]]
    rest = body[35 + len(session) :]
    hello = (_choice if len(rest) <= _REMEMBERED_BYTES else _choice.__wrapped__)(body[1], rest)
    if hello is None:
        return None
    retry = body[2:34] == HELLO_RETRY_REQUEST and len(rest) > 3
    return msgspec.structs.replace(hello, session_id=session, retry=retry) if session or retry else hello


@lru_cache(maxsize=_REMEMBERED)
def _choice(minor: int, body: bytes) -> ServerHello | None:
    """A ServerHello of version 3.`minor` from behind its session on."""
    if len(body) < 3 or body[2] not in (0, 1, 64):  # compression: null, DEFLATE, LZS
        return None
    version, cipher = 3 << 8 | minor, body[0] << 8 | body[1]
    if len(body) == 3:
        return ServerHello(legacy_version=version, cipher=cipher)
    parsed = _extensions(body, 3, cut=False)
    if parsed is None:
        return None
    kinds, contents = parsed
    chosen = contents.get(SUPPORTED_VERSIONS, b"")
    names = _protocol_names(contents.get(ALPN, b""))
    return ServerHello(
        legacy_version=version, cipher=cipher, extensions=kinds,
        selected_version=chosen[0] << 8 | chosen[1] if len(chosen) == 2 else 0,
        alpn=names[0] if names else b"", psk=PRE_SHARED_KEY in contents,
    )


def ja3(hello: ClientHello) -> tuple[str, str]:
    """(MD5 in hex, the text that it is made of): github.com/salesforce/ja3. Empty where the hello was cut."""
    if hello.cut or hello.sslv2:
        return "", ""
    return _ja3(hello.version, hello.ciphers, hello.extensions, hello.groups, hello.point_formats)


def ja3s(hello: ServerHello) -> tuple[str, str]:
    """(MD5 in hex, text) of a server's choice: version, cipher, extensions."""
    return _ja3s(hello.legacy_version, hello.cipher, hello.extensions)


def ja4(hello: ClientHello) -> str:
    """JA4 of a client over TCP (github.com/FoxIO-LLC/ja4, technical details of JA4). Empty where the hello was cut."""
    if hello.cut or hello.sslv2:
        return ""
    return _ja4(hello.highest_version, hello.ciphers, hello.extensions, hello.signature_algorithms,
                hello.alpns[0] if hello.alpns else b"")


@lru_cache(maxsize=4096)  # a network has few kinds of clients, and each says hello again and again
def _ja3(version: int, ciphers: tuple[int, ...], extensions: tuple[int, ...], groups: tuple[int, ...],
         formats: tuple[int, ...]) -> tuple[str, str]:
    text = f"{version},{_dashed(ciphers)},{_dashed(extensions)},{_dashed(groups)},{_dashed(formats)}"
    return hashlib.md5(text.encode("ascii")).hexdigest(), text


@lru_cache(maxsize=4096)
def _ja3s(version: int, cipher: int, extensions: tuple[int, ...]) -> tuple[str, str]:
    text = f"{version},{cipher},{_dashed(extensions)}"
    return hashlib.md5(text.encode("ascii")).hexdigest(), text


@lru_cache(maxsize=4096)
def _ja4(version: int, ciphers: tuple[int, ...], extensions: tuple[int, ...], algorithms: tuple[int, ...],
         alpn: bytes) -> str:
    offered = [number for number in ciphers if number not in GREASE]
    kinds = [number for number in extensions if number not in GREASE]
    name = _JA4_VERSIONS.get(version, "00")
    head = f"t{name}{'d' if SERVER_NAME in kinds else 'i'}{min(len(offered), 99):02d}{min(len(kinds), 99):02d}"
    listed = ",".join(f"{kind:04x}" for kind in sorted(kinds) if kind not in (SERVER_NAME, ALPN))
    signed = ",".join(f"{number:04x}" for number in algorithms if number not in GREASE)
    if signed:
        listed += "_" + signed
    return (f"{head}{_first_and_last(alpn)}_{_short_sha256(','.join(f'{number:04x}' for number in sorted(offered)))}"
            f"_{_short_sha256(listed if kinds else '')}")


_JA4_VERSIONS = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2"}


def _first_and_last(alpn: bytes) -> str:
    """First and last character of the first ALPN; of its hex digits where one is no letter or digit."""
    if not alpn:
        return "00"
    ends = alpn[:1] + alpn[-1:]
    if ends.isalnum():  # on bytes, ASCII only
        return ends.decode("ascii")
    digits = alpn.hex()
    return digits[0] + digits[-1]


def _short_sha256(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:12] if text else "0" * 12


def _dashed(numbers: tuple[int, ...]) -> str:
    return "-".join([str(number) for number in numbers if number not in GREASE])


def _shorts(data: bytes) -> tuple[int, ...]:
    """Big-endian 16-bit numbers; an odd last byte is left out."""
    return struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1])


def _short_list(data: bytes) -> tuple[int, ...]:
    """A list of 16-bit numbers behind its 16-bit length, as far as it goes."""
    return _shorts(data[2 : 2 + int.from_bytes(data[:2], "big")])


def _byte_list(data: bytes) -> tuple[int, ...]:
    """A list of bytes behind its 8-bit length, as far as it goes."""
    return tuple(data[1 : 1 + data[0]]) if data else ()


def _extensions(body: bytes, position: int, cut: bool) -> tuple[tuple[int, ...], dict[int, bytes]] | None:
    """Types in wire order and the first contents of each; None where the block does not fill the message exactly."""
    if position + 2 > len(body):
        return ((), {}) if cut else None
    end = position + 2 + (body[position] << 8 | body[position + 1])
    if end != len(body) and not (cut and end > len(body)):
        return None
    position += 2
    kinds: list[int] = []
    contents: dict[int, bytes] = {}
    while position < end and len(kinds) < _EXTENSIONS:
        if position + 4 > len(body):
            return (tuple(kinds), contents) if cut else None
        kind, size = body[position] << 8 | body[position + 1], body[position + 2] << 8 | body[position + 3]
        position += 4
        if position + size > end:
            return None
        kinds.append(kind)
        contents.setdefault(kind, body[position : position + size])
        position += size
    return tuple(kinds), contents


def _server_name(data: bytes) -> str:
    """The host name of a server_name extension (RFC 6066 section 3); empty where there is none."""
    if len(data) < 5 or data[2] != 0:
        return ""
    size = data[3] << 8 | data[4]
    return safe_text(data[5 : 5 + size].lower(), _NAME_BYTES)


def _protocol_names(data: bytes) -> tuple[bytes, ...]:
    """The names of an ALPN extension (RFC 7301 section 3.1), as far as they go."""
    names: list[bytes] = []
    position = 2
    while position < len(data) and len(names) < _PROTOCOLS:
        size = data[position]
        name = data[position + 1 : position + 1 + size]
        if not size or len(name) < size:
            break
        names.append(name)
        position += 1 + size
    return tuple(names)
