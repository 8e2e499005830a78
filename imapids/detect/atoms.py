"""What the questions of rules mean: each operator as a predicate over one value of an event.

Semantics are Sigma's as the pySigma back ends have them: text is compared without ASCII case unless `cased`, an
absent field answers no question but `absent`, a list answers yes when any element does.
"""

from __future__ import annotations

import datetime as dt
import operator
import re
from collections.abc import Callable
from typing import Any

from imapids.detect.compiled import Atom
from imapids.detect.patterns import compile_pattern
from imapids.protocols.addresses import parse_address, parse_network

Predicate = Callable[[Any], bool]
"""Takes one present, scalar value: text, number or boolean."""

_FOLD = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_PARTS: dict[str, Callable[[dt.datetime], int]] = {
    "minute": lambda moment: moment.minute,
    "hour": lambda moment: moment.hour,
    "day": lambda moment: moment.day,
    "week": lambda moment: moment.isocalendar()[1],
    "month": lambda moment: moment.month,
    "year": lambda moment: moment.year,
}
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def fold(text: str) -> str:
    """Lower case of ASCII letters only, as Sigma compares."""
    return text.lower() if text.isascii() else text.translate(_FOLD)


def as_text(value: Any) -> str:
    """The text that a value is compared as."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def is_absent(value: Any) -> bool:
    """Nothing there: no value, empty text, an empty list."""
    return value is None or value in ("", ())


def predicate(atom: Atom) -> Predicate:
    """The question as a function of one value."""
    if atom.part:
        return _part_predicate(atom)
    if atom.operator in _NUMBERS:
        return _number_predicate(atom)
    if atom.operator in ("equals", "contains", "startswith", "endswith", "wildcard"):
        return _text_predicate(atom)
    if atom.operator == "regex":
        return _regex_predicate(atom)
    if atom.operator == "cidr":
        return _cidr_predicate(atom)
    if atom.operator == "is":
        return _boolean_predicate(atom)
    raise ValueError(f"no such operator: {atom.operator}")


def _text_predicate(atom: Atom) -> Predicate:
    prepare = as_text if atom.cased else lambda value: fold(as_text(value))
    if atom.operator == "wildcard":
        match = wildcard_matcher(atom.parts if atom.cased else tuple(fold(part) for part in atom.parts))
        return lambda value: match(prepare(value))
    needle = as_text(atom.value) if atom.cased else fold(as_text(atom.value))
    if atom.operator == "equals":
        return lambda value: prepare(value) == needle
    if atom.operator == "contains":
        return lambda value: needle in prepare(value)
    if atom.operator == "startswith":
        return lambda value: prepare(value).startswith(needle)
    return lambda value: prepare(value).endswith(needle)


def wildcard_matcher(parts: tuple[str, ...]) -> Callable[[str], bool]:
    """Matches a whole text against text, wildcard, text ...: each run between two `*` at its first fitting place.

    Leftmost placement is always right for `*`, so nothing is tried twice: the cost is the length of the text times
    the length of the pattern at worst.
    """
    runs: list[str] = [""]  # regular expressions of fixed length, split at each `*`
    for place, part in enumerate(parts):
        if place % 2 == 0:
            runs[-1] += re.escape(part)
        elif part == "?":
            runs[-1] += "."
        else:
            runs.append("")
    compiled = [re.compile(run, re.DOTALL) for run in runs]
    first, last = compiled[0], compiled[-1]
    width = sum(len(part) if place % 2 == 0 else part == "?" for place, part in enumerate(parts))
    tail = _width_of_last_run(parts)

    def match(text: str) -> bool:
        if len(compiled) == 1:
            return first.fullmatch(text) is not None
        if len(text) < width:
            return False
        found = first.match(text)
        if found is None:
            return False
        position = found.end()
        for run in compiled[1:-1]:
            found = run.search(text, position)
            if found is None:
                return False
            position = found.end()
        return len(text) - tail >= position and last.match(text, len(text) - tail) is not None

    return match


def _width_of_last_run(parts: tuple[str, ...]) -> int:
    width = 0
    for place in range(len(parts) - 1, -1, -1):
        if place % 2 == 0:
            width += len(parts[place])
        elif parts[place] == "?":
            width += 1
        else:
            break
    return width


def _regex_predicate(atom: Atom) -> Predicate:
    search = compile_pattern(str(atom.value), atom.flags)
    return lambda value: search(as_text(value))


def _cidr_predicate(atom: Atom) -> Predicate:
    network = parse_network(str(atom.value))

    def inside(value: Any) -> bool:
        text = as_text(value)
        if network.is_ipv4 == (":" in text):  # ::/0 holds no IPv4 address
            return False
        try:
            hi, lo = parse_address(text)
        except ValueError:
            return False
        return (hi & network.hi_mask, lo & network.lo_mask) == (network.hi, network.lo)

    return inside


def _boolean_predicate(atom: Atom) -> Predicate:
    wanted = bool(atom.value)
    spelled = "true" if wanted else "false"
    return lambda value: value is wanted or (isinstance(value, str) and fold(value) == spelled)


_NUMBERS: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def comparison(sign: str) -> Callable[[float, float], bool]:
    """`left sign right` for the six comparisons, as a function of both."""
    return _NUMBERS[sign]


def _number_predicate(atom: Atom) -> Predicate:
    holds, wanted = _NUMBERS[atom.operator], atom.value
    if not isinstance(wanted, (int, float)):
        raise TypeError(f"{atom.field} {atom.operator} needs a number")
    number, spelled = wanted, as_text(wanted)

    def answer(value: Any) -> bool:
        if isinstance(value, bool):
            return False
        if isinstance(value, (int, float)):
            return holds(value, number)
        return atom.operator == "=" and value == spelled

    return answer


def _part_predicate(atom: Atom) -> Predicate:
    take, holds, wanted = _PARTS[atom.part], _NUMBERS[atom.operator], atom.value
    if not isinstance(wanted, (int, float)):
        raise TypeError(f"{atom.field}|{atom.part} needs a number")
    number = wanted

    def answer(value: Any) -> bool:
        moment = moment_of(value)
        return moment is not None and holds(take(moment), number)

    return answer


def moment_of(value: Any) -> dt.datetime | None:
    """A point in time (UTC): nanoseconds since 1970, or ISO 8601 text; None where it is neither."""
    try:
        if isinstance(value, str):
            moment = dt.datetime.fromisoformat(value)
            return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        return _EPOCH + dt.timedelta(microseconds=int(value) // 1000)
    except (ValueError, OverflowError, TypeError):
        return None


def compare_fields(atom: Atom, left: Any, right: Any) -> bool:
    """The operator `field`: two fields of one event; false when either is absent."""
    lefts = left if isinstance(left, tuple) else (left,)
    rights = right if isinstance(right, tuple) else (right,)
    return any(
        _COMPARE_TEXT[atom.flags or "equals"](fold(as_text(one)), fold(as_text(other)))
        for one in lefts if not is_absent(one)
        for other in rights if not is_absent(other)
    )


_COMPARE_TEXT: dict[str, Callable[[str, str], bool]] = {
    "equals": str.__eq__,
    "contains": str.__contains__,
    "startswith": str.startswith,
    "endswith": str.endswith,
}
