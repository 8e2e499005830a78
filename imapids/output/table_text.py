"""Small pieces of text for the summary: numbers, lists of counts, spans of time, a why in one line."""

from __future__ import annotations

from collections.abc import Mapping

from imapids.protocols.text import CUT_MARK, safe_str
from imapids.protocols.timestamps import eve_second
from imapids.records.alerts import Reason

_REASONS_READ = 64
"""Nodes of a why that are looked at: a line shows five or six."""


def number(count: int, noun: str = "") -> str:
    """`1,234`, with a noun in its number: `1 case`, `1,234 cases`."""
    if not noun:
        return f"{count:,}"
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def shown(text: str) -> str:
    """Text that a terminal may show. Safe text comes out as it went in, and is not escaped a second time."""
    return text if text.isascii() and text.isprintable() else safe_str(text, len(text))


def one_line(text: str, width: int = 200) -> str:
    """Safe text in one line of at most `width` columns: runs of blanks become one, what is cut ends in `...`."""
    safe = shown(" ".join(text[: 8 * width].split()))
    return safe if len(safe) <= width else safe[: max(width - len(CUT_MARK), 0)] + CUT_MARK


def count_list(counts: Mapping[str, int], most: int) -> str:
    """`imap 12, tls 3 and 2 others`: the greatest first, at most `most` names."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    text = ", ".join(f"{one_line(name, 60)} {number(count)}" for name, count in ordered[:most])
    rest = len(ordered) - most
    return f"{text} and {number(rest, 'other')}" if rest > 0 else text


def span_of_time(start: str, end: str) -> str:
    """`2026-03-03 08:00:00 to 08:05:12 UTC` of two EVE times; the date of the end only where it is another."""
    if not start or not end:
        return ""
    first, last = (one_line(text, 40).replace("T", " ")[:19] for text in (start, end))
    if first[:10] == last[:10]:
        last = last[11:]
    return f"{first} to {last} UTC"


def clock_span(first_ns: int, last_ns: int) -> str:
    """`08:00:00` or `08:00:00 to 08:05:12`; with the date at the end where it is another."""
    first, last = (eve_second(time_ns // 1_000_000_000) for time_ns in (first_ns, last_ns))
    if first == last:
        return first[11:]
    return f"{first[11:]} to {last[11:] if first[:10] == last[:10] else last.replace('T', ' ')}"


def why_line(why: Reason) -> str:
    """The conditions that held, without the objects' names: `verdict = not-imap, direction = outbound`."""
    leaves: list[str] = []
    stack = [why]
    for _ in range(_REASONS_READ):
        if not stack:
            break
        reason = stack.pop()
        if reason.because:
            stack.extend(reversed(reason.because))
            if reason.condition in ("all of", "any of", "not"):
                continue
        leaves.append(_condition(reason))
    return one_line(", ".join(leaves), 400)


def _condition(reason: Reason) -> str:
    """One condition; with the value where the condition does not hold it already."""
    text = reason.condition
    name, dot, rest = text.partition(".")
    if dot and name.isalpha() and rest[:1].isalpha():
        text = rest
    if reason.value and reason.value not in text:
        text = f"{text} ({reason.value})"
    return text
