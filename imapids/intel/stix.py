"""STIX 2.1 bundles: indicators whose pattern is a comparison, or several of which any may hold.

Of the pattern language (STIX 2.1 section 9) this is what names single values: `=`, `IN` and `ISSUBSET` on addresses,
names, endpoints, certificates, accounts and TLS fingerprints, joined by `OR`; and `AND` where it joins an address and
a port. All else is counted by reason and left alone: half a pattern would match too much.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from imapids.intel.indicators import IndicatorSet
from imapids.intel.rows import validity
from imapids.intel.values import Value, address, certificate, domain, endpoint, ja3, ja4, url, user
from imapids.protocols.text import safe_str

PATTERN_CHARACTERS = 65_536
"""One pattern; those of public feeds have some hundred."""

_TOKEN = re.compile(r"""\s*(?:
    (?P<text>'(?:[^'\\]|\\.)*+')
  | (?P<path>[A-Za-z][A-Za-z0-9-]*:[A-Za-z_][A-Za-z0-9_-]*(?:\.(?:[A-Za-z_][A-Za-z0-9_-]*|'[^'\\]*+')|\[(?:\d+|\*)\])*+)
  | (?P<number>-?\d+(?:\.\d+)?)
  | (?P<word>[A-Za-z]+)
  | (?P<sign>!=|<=|>=|[=<>\[\](),])
)""", re.VERBOSE)
_SIMPLE = re.compile(r"\s*\[\s*([a-z0-9-]+:[a-z_]+)\s*=\s*'([^'\\]*)'\s*\]\s*")
"""`[path = 'value']`: nine of ten patterns in public feeds, and ten times as fast this way."""

Token = tuple[str, str]
Comparison = tuple[str, str, list[str]]
"""Path, operator, values."""


class _Beyond(Exception):  # not an error: the pattern is right, and beyond the subset
    """The pattern says more than single values."""


def read_objects(objects: Iterable[Any], into: IndicatorSet, source: str, place: str) -> None:
    """Indicators of the objects of a bundle."""
    for item in objects:
        if not isinstance(item, dict):
            into.skip("not-an-object")
            continue
        kind = item.get("type")
        if kind != "indicator":
            into.skip(f"stix-{safe_str(str(kind), 40)}")
        elif item.get("revoked") is True:
            into.skip("revoked")
        elif item.get("pattern_type", "stix") != "stix":
            into.skip(f"pattern-type-{safe_str(str(item.get('pattern_type')), 40)}")
        else:
            _read_indicator(item, into, source, place)


def _read_indicator(item: dict[str, Any], into: IndicatorSet, source: str, place: str) -> None:
    where = f"{place}:1"
    pattern = item.get("pattern")
    times = validity(item.get("valid_from"), item.get("valid_until"))
    if times is None:
        into.skip("bad-date", where, str(item.get("id", "")))
        return
    values = parse_pattern(pattern) if isinstance(pattern, str) else ["bad-pattern"]
    name = safe_str(str(item.get("name") or ""), 120)
    for value in values:
        if isinstance(value, Value):
            into.add(value, source, name, *times)
        else:
            into.skip(value, where, f"{str(item.get('id', ''))[:60]} {str(pattern)[:80]}")


def parse_pattern(pattern: str) -> list[Value | str]:
    """The values of a pattern, any of which is a match; or a single reason why it is beyond the subset."""
    if len(pattern) > PATTERN_CHARACTERS:
        return ["pattern-too-long"]
    simple = _SIMPLE.fullmatch(pattern)
    if simple:
        return [_meaning(simple[1], simple[2])]
    try:
        tokens = _tokens(pattern)
        return [value for group in _observations(tokens) for value in _meanings(group)] or ["bad-pattern"]
    except _Beyond as beyond:
        return [str(beyond)]


def _tokens(pattern: str) -> list[Token]:
    found: list[Token] = []
    position, end = 0, len(pattern.rstrip())
    while position < end:
        match = _TOKEN.match(pattern, position)
        if match is None or match.lastgroup is None:
            raise _Beyond("bad-pattern")
        found.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return found


def _observations(tokens: list[Token]) -> Iterator[list[list[Comparison]]]:
    """For each `[...]`, joined by OR: the alternatives in it, each a list of comparisons joined by AND."""
    position = 0
    while True:
        if position >= len(tokens) or tokens[position][1] != "[":
            opened = position < len(tokens) and tokens[position][1] == "("
            raise _Beyond("pattern-parentheses" if opened else "bad-pattern")
        position += 1
        alternatives: list[list[Comparison]] = [[]]
        while True:
            comparison, position = _comparison(tokens, position)
            alternatives[-1].append(comparison)
            kind, text = tokens[position] if position < len(tokens) else ("", "")
            position += 1
            if kind == "sign" and text == "]":
                break
            if kind != "word" or text not in ("AND", "OR"):
                raise _Beyond("bad-pattern")
            if text == "OR":
                alternatives.append([])
        yield alternatives
        if position == len(tokens):
            return
        if tokens[position] != ("word", "OR"):
            raise _Beyond({"AND": "pattern-and", "FOLLOWEDBY": "pattern-followedby"}.get(tokens[position][1],
                                                                                         "pattern-qualifier"))
        position += 1


def _comparison(tokens: list[Token], position: int) -> tuple[Comparison, int]:
    """`path = value`, `path IN (value, ...)`, `path ISSUBSET value`."""
    if position + 2 >= len(tokens):
        raise _Beyond("bad-pattern")
    (kind, path), (_, operator) = tokens[position], tokens[position + 1]
    if kind != "path":
        raise _Beyond("pattern-parentheses" if path == "(" else "bad-pattern")
    position += 2
    if operator not in ("=", "IN", "ISSUBSET"):
        raise _Beyond(f"pattern-{operator.lower()}" if operator.isalpha() else "pattern-operator")
    if operator != "IN":
        return (path, operator, [_literal(tokens[position])]), position + 1
    if tokens[position][1] != "(":
        raise _Beyond("bad-pattern")
    values: list[str] = []
    while position + 2 < len(tokens):
        values.append(_literal(tokens[position + 1]))
        position += 2
        if tokens[position][1] == ")":
            return (path, operator, values), position + 1
        if tokens[position][1] != ",":
            break
    raise _Beyond("bad-pattern")


def _literal(token: Token) -> str:
    kind, text = token
    if kind == "text":
        return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
    if kind == "number":
        return text
    raise _Beyond("bad-pattern")


def _meanings(alternatives: list[list[Comparison]]) -> Iterator[Value | str]:
    for comparisons in alternatives:
        if len(comparisons) == 1:
            path, _, values = comparisons[0]
            for value in values:
                yield _meaning(path, value)
        else:
            yield from _endpoints(comparisons)


def _endpoints(comparisons: list[Comparison]) -> Iterator[Value | str]:
    """Comparisons joined by AND: an address and a port make an endpoint; what only repeats the kind is left out."""
    addresses: list[str] = []
    ports: list[str] = []
    for path, operator, values in comparisons:
        plain = path.lower()
        if plain in ("network-traffic:dst_ref.value", "network-traffic:src_ref.value") and not addresses:
            if operator != "=":
                yield "pattern-and"
                return
            addresses = values
        elif plain in ("network-traffic:dst_port", "network-traffic:src_port") and not ports:
            ports = values
        elif plain not in ("network-traffic:dst_ref.type", "network-traffic:src_ref.type",
                           "network-traffic:protocols[*]", "network-traffic:protocols[0]"):
            yield "pattern-and"
            return
    if not addresses:
        yield "pattern-and"
        return
    for value in addresses:
        if ports:
            yield from (endpoint(value, port) for port in ports)
        else:
            yield _meaning("network-traffic:dst_ref.value", value)


def _meaning(path: str, value: str) -> Value | str:
    """What a path and a value name."""
    thing, _, attribute = path.lower().partition(":")
    if thing in ("ipv4-addr", "ipv6-addr") and attribute == "value":
        return address(value)
    if thing == "network-traffic" and attribute in ("dst_ref.value", "src_ref.value"):
        found = address(value)
        return domain(value) if isinstance(found, str) else found
    if attribute == "value" and thing in ("domain-name", "url", "email-addr"):
        return {"domain-name": domain, "url": url, "email-addr": user}[thing](value)
    if thing == "user-account" and attribute in ("user_id", "account_login"):
        return user(value)
    if thing == "x509-certificate" and attribute.startswith("hashes."):
        return certificate(value)
    if thing == "file":
        return "file-hash" if attribute.startswith("hashes") else "stix-file"
    last = attribute.rpartition(".")[2].strip("'") if attribute != "value" else thing
    if "ja3s" in last:
        return "ja3s"
    if "ja3" in last:
        return ja3(value)
    return ja4(value) if "ja4" in last else f"stix-{safe_str(thing, 40)}"
