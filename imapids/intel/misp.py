"""MISP: events (also as a search gives them), feeds of event files beside a manifest, and warning lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from imapids.intel.indicators import Benign, IndicatorSet
from imapids.intel.rows import validity
from imapids.intel.values import Value, address, certificate, domain, endpoint, ja3, ja4, url, user
from imapids.protocols.addresses import parse_network
from imapids.protocols.text import safe_str

EVENT_FILE = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
"""Keys of a feed's manifest: the name of the event's file without `.json`."""

SUBSTRINGS = 1_000
"""Substrings of warning lists: each is looked for in each hit."""

_READ: dict[str, Callable[[str], Value | str]] = {
    "ip-dst": address, "ip-src": address, "domain": domain, "hostname": domain, "url": url,
    "ja3-fingerprint-md5": ja3, "ja4-fingerprint": ja4, "ja4": ja4, "x509-fingerprint-sha1": certificate,
    "x509-fingerprint-sha256": certificate, "email": user, "email-src": user, "email-dst": user, "target-user": user,
    "target-email": user, "username": user,
}
_HASHES = re.compile(r"(filename\|)?(md5|sha\d+(/\d+)?|sha3-\d+|ssdeep|imphash|tlsh|vhash|pehash|authentihash|impfuzzy"
                     r"|cdhash)|x509-fingerprint-md5")


def is_event(content: object) -> bool:
    """An event, or the answer of a search for events."""
    if isinstance(content, list):
        return bool(content) and isinstance(content[0], dict) and "Event" in content[0]
    return isinstance(content, dict) and ("Event" in content or "response" in content)


def is_warning_list(content: object) -> bool:
    """A warning list: values that are commonly listed by mistake."""
    return (isinstance(content, dict) and isinstance(content.get("list"), list)
            and content.get("type") in ("cidr", "hostname", "string", "substring", "regex"))


def read_event(content: Any, into: IndicatorSet, source: str, place: str) -> None:
    """Indicators of the attributes that are meant for detection (`to_ids`)."""
    for event in _events(content):
        title = event.get("info")
        name = safe_str(title, 120) if isinstance(title, str) else ""
        for attribute in _attributes(event):
            _read_attribute(attribute, name, into, source, place)


def _events(content: Any) -> Iterator[dict[str, Any]]:
    """Events in whatever they are wrapped."""
    if isinstance(content, dict) and "response" in content:
        content = content["response"]
    for item in content if isinstance(content, list) else [content]:
        if isinstance(item, dict):
            event = item.get("Event", item)
            if isinstance(event, dict):
                yield event


def _attributes(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Attributes of an event and of its objects."""
    objects = event.get("Object")
    for holder in (event, *(objects if isinstance(objects, list) else ())):
        found = holder.get("Attribute") if isinstance(holder, dict) else None
        yield from (one for one in found if isinstance(one, dict)) if isinstance(found, list) else ()


def _read_attribute(attribute: dict[str, Any], name: str, into: IndicatorSet, source: str, place: str) -> None:
    if attribute.get("deleted") is True:
        into.skip("deleted")
        return
    if attribute.get("to_ids") is not True:
        into.skip("not-for-detection")
        return
    kind, text = str(attribute.get("type", "")), attribute.get("value")
    if not isinstance(text, str) or len(text) > 2_048:
        into.skip("bad-value", f"{place}:1", kind)
        return
    # last_seen is no end of validity, nor first_seen a start: they tell what somebody saw, not what holds
    times = validity(attribute.get("valid_from"), attribute.get("valid_until"))
    if times is None:
        into.skip("bad-date", f"{place}:1", text)
        return
    for value in _meanings(kind, text):
        if isinstance(value, Value):
            into.add(value, source, name, *times)
        else:
            into.skip(value, f"{place}:1", text)


def _meanings(kind: str, text: str) -> Iterator[Value | str]:
    read = _READ.get(kind)
    if read is not None:
        yield read(text)
    elif kind in ("ip-dst|port", "ip-src|port", "hostname|port"):
        host, _, port = text.replace(":", "|").rpartition("|") if "|" not in text else text.rpartition("|")
        yield endpoint(host, port)
    elif kind == "domain|ip":
        name, _, ip = text.partition("|")
        yield domain(name)
        yield address(ip)
    else:
        yield "file-hash" if _HASHES.fullmatch(kind) else f"misp-{safe_str(kind, 40)}"


def read_warning_list(content: dict[str, Any], into: IndicatorSet, place: str) -> None:
    """Values of a warning list: hits on them are not told, but counted."""
    list_name, kind = safe_str(str(content.get("name") or place), 80), content["type"]
    if kind == "regex":
        into.skip("warning-list-regex", f"{place}:1", list_name)  # patterns from outside may take for ever
        return
    for text in content["list"]:
        if not isinstance(text, str) or not text.strip() or len(text) > 2_048:
            into.skip("bad-warning-value")
            continue
        benign = Benign(text.strip().lower(), list_name)
        if kind == "cidr":
            _benign_network(benign, into)
        elif kind == "hostname":
            into.benign["domain"].setdefault(benign.text.strip("."), benign)
        elif kind == "string":
            into.benign["exact"].setdefault(benign.text, benign)
        elif len(into.benign_parts) < SUBSTRINGS:
            into.benign_parts.append(benign)
        else:
            into.skip("too-many-warning-substrings")


def _benign_network(benign: Benign, into: IndicatorSet) -> None:
    try:
        network = parse_network(benign.text)
    except ValueError:
        into.skip("bad-warning-value")
        return
    into.benign_networks.setdefault(network.prefix, {}).setdefault(network.first, benign)
