"""What a written indicator means: an address, a network, a name, a fingerprint; defanged forms undone first."""

from __future__ import annotations

import re
from typing import NamedTuple

from imapids.protocols.addresses import MAPPED, address_text, parse_address, parse_network
from imapids.protocols.text import safe_str

KINDS = ("address", "network", "endpoint", "domain", "ja3", "ja4", "certificate", "user")
"""What an indicator may be, in the order in which counts are shown."""

NARROWEST_V4, NARROWEST_V6 = 8, 19
"""Shorter prefixes are refused: a /7 is one typing error away from alarming on half the Internet. (The largest
blocks that registries hand out are IPv4 /8 and IPv6 /19.)"""

LONGEST = 2_048
"""Characters of one written indicator; URLs in feeds are the longest."""


class Value(NamedTuple):
    """An indicator in the form in which it is looked up."""

    kind: str
    key: str | tuple[int, int]
    """For networks (prefix in 128-bit terms, first address as one number); text for all others."""
    text: str
    """How it is shown; safe text."""


_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(rf"({_OCTET}(?:\.{_OCTET}){{3}})(?:/(\d{{1,2}})|:(\d{{1,5}}))?", re.ASCII)
_IPV6 = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\](?::(\d{1,5}))?|([0-9A-Fa-f:.]{2,45})(?:/(\d{1,3}))?)")
_URL = re.compile(r"[a-z][a-z0-9+.-]{1,15}://(?:[^/?#@\s]{0,200}@)?(\[[0-9a-f:.]+\]|[^/?#:\s]+)(:\d{1,5})?([/?#]\S*)?")
_DOMAIN = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.){1,12}[a-z](?:[a-z0-9-]{0,61}[a-z0-9])")
_JA4 = re.compile(r"[tqd](?:\d\d|s[23]|d[123])[di]\d{4}[0-9a-z]{2}_[0-9a-f]{12}_[0-9a-f]{12}")
_HEX = re.compile(r"[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}")
_USER = re.compile(r"[^\s\x00-\x20\x7f]{1,256}")
_DEFANGED = ((re.compile(r"[\[({]\s*(?:\.|dot)\s*[\])}]", re.IGNORECASE), "."),
             (re.compile(r"\[\s*(:|://|/|@)\s*\]"), r"\1"),
             (re.compile(r"[\[({]\s*at\s*[\])}]", re.IGNORECASE), "@"),
             (re.compile(r"^h(?:xx|\*\*|__)p", re.IGNORECASE), "http"),
             (re.compile(r"^(https?)\[(s?)\]", re.IGNORECASE), r"\1\2"),
             (re.compile(r"\\\."), "."))
_MAYBE_DEFANGED = re.compile(r"[\[({\\]|^h(?:xx|\*\*|__)p", re.IGNORECASE)


def refang(text: str) -> str:
    """Undo what people do to indicators so that nobody clicks on them: `hxxp`, `[.]`, `(dot)`, `[:]`, `[at]`."""
    if not _MAYBE_DEFANGED.search(text):
        return text
    for pattern, instead in _DEFANGED:
        text = pattern.sub(instead, text)
    return text


def classify(text: str, hashes: str = "") -> Value | str:
    """What a bare value is, or the reason why it is no indicator that can match here.

    `hashes`: what bare hexadecimal digests are in this file, `ja3` or `certificate`; empty where nothing says so.
    A kind may stand before the value: `ja3:`, `ja4:`, `user:`, `cert:`, `sha1:`, `sha256:`, `domain:`, `ip:`.
    """
    if len(text) > LONGEST:
        return "too-long"
    found = _IPV4.fullmatch(text)
    if found:
        return _ipv4(found)
    text = refang(text.strip().strip("\"'"))
    found = _IPV4.fullmatch(text)
    if found:
        return _ipv4(found)
    lowered = text.lower()
    prefix, colon, _ = lowered.partition(":")
    if colon and prefix in _PREFIXED:
        return _PREFIXED[prefix](refang(text[len(prefix) + 1:].strip()))
    if "://" in lowered:
        return url(lowered)
    if ":" in lowered:
        ipv6_found = _IPV6.fullmatch(lowered)
        if ipv6_found:
            return _ipv6(ipv6_found)
        return endpoint(*lowered.rsplit(":", 1))
    if _JA4.fullmatch(lowered):
        return ja4(lowered)
    if _HEX.fullmatch(lowered):
        if hashes == "ja3" and len(lowered) == 32:
            return ja3(lowered)
        return certificate(lowered) if hashes == "certificate" else "file-hash"
    if "@" in lowered:
        return user(lowered)
    return domain(lowered)


def address(text: str) -> Value | str:
    """An address or network, and nothing else."""
    found = _IPV4.fullmatch(text)
    if found:
        return _ipv4(found)
    text = refang(text.strip())
    found = _IPV4.fullmatch(text)
    if found:
        return _ipv4(found)
    found = _IPV6.fullmatch(text)
    return _ipv6(found) if found else "not-an-address"


def endpoint(host: str, port: str) -> Value | str:
    """An address and a port; with a host name the port is left out, for names are matched without."""
    plain = _IPV4.fullmatch(host)
    if plain and plain[1] == host:
        return _endpoint(host, host, port)
    value = address(host.strip("[]"))
    if isinstance(value, str):
        return domain(host) if _port(port) else "not-an-indicator"
    if value.kind != "address":
        return "network-with-port"
    return _endpoint(value.text, f"[{value.text}]" if ":" in value.text else value.text, port)


def _endpoint(key: str, shown: str, port: str) -> Value | str:
    number = _port(port)
    return Value("endpoint", f"{key} {number}", f"{shown}:{number}") if number else "bad-port"


def _port(text: str) -> int:
    """A port number, 0 where the text is none."""
    number = int(text) if len(text) <= 5 and text.isascii() and text.isdigit() else 0
    return number if number < 65_536 else 0


def domain(text: str) -> Value | str:
    """A host or domain name; it stands for the names below it too. `*.` in front changes nothing."""
    name = refang(text.strip()).lower().removeprefix("*").strip(".")
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii") if len(name) <= 253 else name
        except UnicodeError:
            return "bad-domain"
    if len(name) > 253 or not _DOMAIN.fullmatch(name):
        return "bad-domain" if "." in name else "not-an-indicator"
    return Value("domain", name, name)


def url(text: str) -> Value | str:
    """The host of a URL. One with a path on a named host is refused: the host may be anybody's file store."""
    found = _URL.fullmatch(refang(text.strip()).lower())
    if not found:
        return "bad-url"
    host, port, path = found[1].strip("[]"), found[2], found[3]
    value = address(host)
    if not isinstance(value, str):
        return endpoint(host, port[1:]) if port else value
    return "url-with-path" if path and path != "/" else domain(host)


def ja3(text: str) -> Value | str:
    """JA3: the MD5 of a ClientHello's parameters."""
    digest = text.strip().lower()
    return Value("ja3", digest, digest) if len(digest) == 32 and _HEX.fullmatch(digest) else "bad-ja3"


def ja4(text: str) -> Value | str:
    """JA4 of a TLS client."""
    print_ = text.strip().lower()
    return Value("ja4", print_, print_) if _JA4.fullmatch(print_) else "bad-ja4"


def certificate(text: str) -> Value | str:
    """SHA-1 or SHA-256 of a certificate, colons allowed. (MD5 of certificates is not in our events.)"""
    digest = text.strip().lower().replace(":", "").replace(" ", "")
    if len(digest) in (40, 64) and _HEX.fullmatch(digest):
        return Value("certificate", digest, digest)
    return "bad-certificate-hash"


def user(text: str) -> Value | str:
    """A user name or mail address."""
    name = refang(text.strip()).lower()
    return Value("user", name, safe_str(name)) if _USER.fullmatch(name) else "bad-user"


_PREFIXED = {"ja3": ja3, "ja4": ja4, "user": user, "cert": certificate, "sha1": certificate, "sha256": certificate,
             "domain": domain, "ip": address}


def address_number(text: str) -> int | None:
    """An address in text as one 128-bit number (IPv4 as IPv4-mapped), None where it is none."""
    found = _IPV4.fullmatch(text)
    if found:
        return MAPPED | _number(found[1]) if found[1] == text else None
    try:
        hi, lo = parse_address(text)
    except ValueError:
        return None
    return hi << 64 | lo


def _number(ipv4: str) -> int:
    one, two, three, four = map(int, ipv4.split("."))
    return one << 24 | two << 16 | three << 8 | four


def _ipv4(found: re.Match[str]) -> Value | str:
    bare, prefix, port = found.groups()
    if port:
        return _endpoint(bare, bare, port)
    if prefix and prefix != "32":
        length = int(prefix)
        if length > 32:
            return "bad-network"
        if length < NARROWEST_V4:
            return "network-too-wide"
        first = MAPPED | _number(bare) >> 32 - length << 32 - length
        return Value("network", (96 + length, first), f"{address_text(0, first)}/{length}")
    return Value("address", bare, bare)


def _ipv6(found: re.Match[str]) -> Value | str:
    try:
        hi, lo = parse_address(found[1] or found[3])
    except ValueError:
        return "bad-address"
    bare = address_text(hi, lo)
    if found[2]:
        return endpoint(bare, found[2])
    if found[4] and found[4] != "128":
        length = int(found[4])
        if length > 128:
            return "bad-network"
        if length < NARROWEST_V6:
            return "network-too-wide"
        network = parse_network(f"{bare}/{length}")
        return Value("network", (length, network.first), f"{address_text(network.hi, network.lo)}/{length}")
    return Value("address", bare, bare)
