"""Lists of indicators as people keep them: one a line, with comments, defanged or not; hosts files; CSV feeds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from imapids.intel.indicators import IndicatorSet
from imapids.intel.rows import ROW_CHARACTERS, header_of, read_table
from imapids.intel.values import Value, classify, endpoint
from imapids.protocols.text import safe_str

_COMMENT = re.compile(r"(?:^|\s)(?:#|;|//)\s*(.*)$")
_SPLIT = re.compile(r"[\s,;|]+")
_SINKS = {"0.0.0.0", "127.0.0.1", "::", "::1"}  # noqa: S104  # what hosts files point blocked names at
_DELIMITERS = (",", ";", "\t", "|")
HEADER_LINES = 64
"""A header is looked for in so many lines."""


def read_text(lines: Iterator[str], into: IndicatorSet, source: str, place: str) -> None:
    """Indicators of a text file, line by line: a table where a header says so, else one for each line."""
    lines = (line if len(line) <= ROW_CHARACTERS else line[:ROW_CHARACTERS] for line in lines)
    head = list(islice(lines, HEADER_LINES))
    for index, line in enumerate(head):
        stripped = line.strip().lstrip("#").strip()
        for delimiter in _DELIMITERS:
            if delimiter in stripped:
                columns = header_of(stripped.split(delimiter))
                if columns is not None:
                    body = chain(head[index + 1:], lines)
                    read_table(body, index + 1, delimiter, columns, into, source, place)
                    return
        if stripped and not line.lstrip().startswith("#"):  # the first line of data, or the name of the only column
            columns = header_of([stripped])
            if columns is not None:
                read_table(chain(head[index + 1:], lines), index + 1, ",", columns, into, source, place)
                return
            break
    _read_lines(chain(head, lines), into, source, place)


def _read_lines(lines: Iterable[str], into: IndicatorSet, source: str, place: str) -> None:
    hashes = _kind_of_hashes(place)
    for number, line in enumerate(lines, 1):
        text, name = line.strip(), ""
        if not text:
            continue
        if text[0] in "#;" or text.startswith("//"):
            hashes = _kind_of_hashes(text) or hashes
            continue
        if "#" in text or ";" in text or "//" in text:
            comment = _COMMENT.search(text)
            if comment:
                name, text = safe_str(comment[1].strip(), 120), text[:comment.start()].strip()
        value = classify(text, hashes)
        if isinstance(value, str):
            value = _first_of_several(text, hashes) or value
        if isinstance(value, Value):
            into.add(value, source, name)
        else:
            into.skip(value, f"{place}:{number}", text)


def _first_of_several(text: str, hashes: str) -> Value | str | None:
    """Lines of several words: `address port`, hosts files, a value with words behind it. None for a single word."""
    words = [word for word in _SPLIT.split(text[:2_048], maxsplit=3) if word]
    if len(words) < 2:
        return None
    if words[0] in _SINKS:
        return classify(words[1])
    if words[1].isascii() and words[1].isdigit() and len(words[1]) <= 5:
        value = endpoint(words[0], words[1])
        if isinstance(value, Value):
            return value
    return classify(words[0], hashes)


def _kind_of_hashes(text: str) -> str:
    """What bare digests are, where a comment or the file's name says so."""
    lowered = text[:400].lower()
    if "ja3" in lowered:
        return "ja3"
    return "certificate" if "certificate" in lowered or "sslbl" in lowered or "x509" in lowered else ""
