"""Tables of indicators: CSV whose header stands in a comment or in the first line, and JSON lists of records.

Column names differ from feed to feed, their meaning does not: one table of names serves them all.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from imapids.intel.indicators import FOREVER, IndicatorSet
from imapids.intel.values import Value, address, certificate, classify, domain, endpoint, ja3, ja4, url, user
from imapids.protocols.text import safe_str

COLUMNS = 64
"""Columns of a table that are looked at."""

ROW_CHARACTERS = 16_384
"""Characters of a line that are looked at."""

MEANINGS = {
    "address": ("ip", "ip_address", "ipaddress", "dst_ip", "dest_ip", "dstip", "src_ip", "srcip", "ipv4", "ipv6",
                "address", "network", "cidr", "netblock", "subnet", "ip_range"),
    "port": ("port", "dst_port", "dest_port", "dstport"),
    "domain": ("domain", "host", "hostname", "fqdn", "domain_name", "sni"),
    "url": ("url",),
    "value": ("ioc", "ioc_value", "indicator", "indicator_value", "value", "observable"),
    "type": ("type", "ioc_type", "indicator_type"),
    "ja3": ("ja3", "ja3_md5", "ja3_hash", "ja3_fingerprint"),
    "ja4": ("ja4", "ja4_fingerprint"),
    "certificate": ("sha1", "certificate", "cert_sha1", "sha1_fingerprint", "certificate_sha1", "fingerprint",
                    "ssl_sha1", "cert_sha256", "certificate_sha256", "sha256_fingerprint"),
    "user": ("user", "username", "user_name", "login", "account", "email"),
    "name": ("malware_printable", "malware", "malware_family", "threat", "listingreason", "listing_reason", "name",
             "signature", "family", "description", "tags", "comment", "reason"),
    "from": ("valid_from",),
    "until": ("valid_until", "valid_to", "expires", "expiration", "expiry"),
}
"""Column names by meaning. First-seen dates are no start of validity: a trojan is active before it is listed."""

Reader = Callable[[str], Value | str]

_MEANING = {column: meaning for meaning, columns in MEANINGS.items() for column in columns}
_SINGLE: dict[str, Reader] = {"address": address, "domain": domain, "url": url, "ja3": ja3, "ja4": ja4,
                             "certificate": certificate, "user": user}
_TYPES: dict[str, Reader] = {
    "ip": address, "ipv4": address, "ipv6": address, "ip-dst": address, "ip-src": address, "ip:port": classify,
    "domain": domain, "hostname": domain, "fqdn": domain, "url": url, "ja3": ja3, "ja3_md5": ja3,
    "ja3-fingerprint-md5": ja3, "ja4": ja4, "sha1_cert": certificate, "cert": certificate,
    "x509-fingerprint-sha1": certificate, "x509-fingerprint-sha256": certificate, "user": user, "username": user,
    "email": user, "email-src": user, "email-dst": user,
}
_HASH_TYPE = re.compile(r"(md5|sha-?1|sha-?256|sha-?512|imphash|tlsh|ssdeep)(_hash)?")
_MIXED = re.compile(r"[^a-z0-9]+")


@lru_cache(maxsize=4_096)  # feeds are written in batches: the same dates come again
def parse_time(text: str) -> int | None:
    """Nanoseconds since 1970 of an ISO 8601 time (UTC where it names no offset) or of seconds since 1970."""
    text = text.strip()
    try:
        if text.isascii() and text.isdigit() and len(text) <= 11:
            return int(text) * 10**9
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000


def validity(start: object, end: object) -> tuple[int, int] | None:
    """(from, until) in nanoseconds; what is not given is without end; None where a date cannot be read."""
    from_ns = parse_time(str(start)) if start not in (None, "") else -FOREVER
    until_ns = parse_time(str(end)) if end not in (None, "") else FOREVER
    return None if from_ns is None or until_ns is None else (from_ns, until_ns)


class Columns(NamedTuple):
    """Where the cells of a row are; -1 for what the table lacks."""

    value: int = -1
    type: int = -1
    port: int = -1
    name: int = -1
    start: int = -1
    end: int = -1
    single: tuple[tuple[int, str, Reader], ...] = ()
    """Columns that hold one kind of value: index, meaning, how to read it."""
    width: int = 0
    """Cells that a row must have for all of these."""


def header_of(cells: Sequence[str]) -> Columns | None:
    """The columns, where the cells are a header: at least one value column and two cells that are known."""
    found: dict[str, int] = {}
    known = 0
    for index, cell in enumerate(cells[:COLUMNS]):
        plain = _MIXED.sub("_", cell.strip().strip("\"'").lower()).strip("_").removesuffix("_utc")
        meaning = _MEANING.get(plain)
        known += meaning is not None or plain.endswith(("date", "seen", "status", "time", "online"))
        if meaning and meaning not in found:
            found[meaning] = index
    single = tuple((found[meaning], meaning, read) for meaning, read in _SINGLE.items() if meaning in found)
    if not (single or "value" in found) or (known < 2 and len(cells) > 1):
        return None
    return Columns(found.get("value", -1), found.get("type", -1), found.get("port", -1), found.get("name", -1),
                   found.get("from", -1), found.get("until", -1), single,
                   max(found.values()) + 1)


def read_table(lines: Iterable[str], start: int, delimiter: str, columns: Columns, into: IndicatorSet, source: str,
               place: str) -> None:
    """Indicators of CSV lines, of which `start` lines of the file stand above."""
    body = (line if not line.startswith("#") else "\n" for line in lines)
    reader = csv.reader(_bounded(body), delimiter=delimiter, skipinitialspace=True)
    for cells in _cells(reader, into, place):
        if cells:
            read_row(columns, cells, into, source, place, start + reader.line_num)


def read_records(records: Iterable[Any], into: IndicatorSet, source: str, place: str) -> None:
    """Indicators of JSON objects whose keys are column names."""
    keys: tuple[str, ...] = ()
    columns: Columns | None = None
    for record in records:
        if not isinstance(record, dict):
            into.skip("not-a-record", f"{place}:1", str(record)[:100])
            continue
        if tuple(record) != keys:  # records of a feed have the same keys, one after the other
            keys = tuple(record)
            columns = header_of(keys)
        if columns is None:
            into.skip("no-known-column", f"{place}:1", ", ".join(key[:20] for key in keys[:5]))
            continue
        cells = [str(cell) if isinstance(cell, (str, int)) else "" for cell in record.values()]
        read_row(columns, cells, into, source, place, 1)


def read_row(columns: Columns, cells: list[str], into: IndicatorSet, source: str, place: str, line: int) -> None:
    """The indicators of one row."""
    if len(cells) < columns.width:
        cells += [""] * (columns.width - len(cells))
    cells.append("")  # what index -1 means
    if columns.start < 0 and columns.end < 0:
        from_ns, until_ns = -FOREVER, FOREVER
    else:
        times = validity(cells[columns.start], cells[columns.end])
        if times is None:
            into.skip("bad-date", f"{place}:{line}", f"{cells[columns.start]} {cells[columns.end]}")
            return
        from_ns, until_ns = times
    name = _name(cells[columns.name])
    for value, text in _values(columns, cells):
        if isinstance(value, Value):
            into.add(value, source, name, from_ns, until_ns)
        else:
            into.skip(value, f"{place}:{line}", text)


@lru_cache(maxsize=4_096)  # a feed names few families
def _name(text: str) -> str:
    return safe_str(text.strip(), 120)


def _values(columns: Columns, cells: list[str]) -> Iterator[tuple[Value | str, str]]:
    """What the cells of a row say: values, or reasons; each with its text."""
    text = cells[columns.value]
    if text:
        yield _typed(text, cells[columns.type].strip().lower()), text
    for index, meaning, read in columns.single:
        text = cells[index]
        if text:
            port = cells[columns.port].strip() if meaning == "address" else ""
            yield (endpoint(text, port) if port not in ("", "0") else read(text)), text


def _typed(text: str, kind: str) -> Value | str:
    read = _TYPES.get(kind)
    if read is not None:
        return read(text)
    if kind and _HASH_TYPE.fullmatch(kind):
        return "file-hash"
    return classify(text)


def _bounded(lines: Iterable[str]) -> Iterator[str]:
    """Lines without NUL, which the csv module refuses."""
    for line in lines:
        yield line.replace("\0", "") if "\0" in line else line


def _cells(reader: Iterator[list[str]], into: IndicatorSet, place: str) -> Iterator[list[str]]:
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error:
            into.skip("bad-row", f"{place}:1")
