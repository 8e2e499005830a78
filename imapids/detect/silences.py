"""Values for which no question of a column can hold, told by what they are like: most values need no more than that.

Tags, numbers and texts of which no two are alike would fill what is remembered by value, and never come again. Their
length and first letter, or the interval in which they lie, mostly tell that nothing holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from imapids.detect.atoms import as_text, fold
from imapids.detect.compiled import NUMBER_OPERATORS, TEXT_OPERATORS, Atom

_LETTERS = 128
_LONG = 63
"""Lengths from here on are not told apart."""
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


def possible_texts(atoms: Iterable[Atom]) -> list[int] | None:
    """For each ASCII letter the lengths, as bits, of the texts that begin with it and for which one of these atoms may
    hold; None where that is not known. Empty text is not spoken of."""
    found = [0] * _LETTERS
    for atom in atoms:
        if atom.part or not _adds(atom, found):
            return None
    return found


def _adds(atom: Atom, found: list[int]) -> bool:
    """Adds the texts for which an atom may hold; False where they are not known."""
    if atom.operator == "absent" or atom.operator in NUMBER_OPERATORS[1:]:  # of no text but the empty one
        return True
    if atom.operator == "wildcard":
        parts = atom.parts
        exact = "*" not in parts[1::2]
        length = sum(len(part) if place % 2 == 0 else part == "?" for place, part in enumerate(parts))
        begin = parts[0] if parts else ""
    elif atom.operator in TEXT_OPERATORS or atom.operator in ("=", "is"):
        text = as_text(bool(atom.value) if atom.operator == "is" else atom.value)
        exact = atom.operator in ("equals", "=", "is")
        length, begin = len(text), text if exact or atom.operator == "startswith" else ""
    else:
        return False
    bit = 1 << min(length, _LONG)
    lengths = bit if exact else (2 << _LONG) - bit
    for letter in (fold(begin[0]), begin[0].upper()) if begin else map(chr, range(_LETTERS)):
        if letter.isascii() and len(letter) == 1:
            found[ord(letter)] |= lengths
    return True


def silent_numbers(atoms: Iterable[Atom]) -> tuple[int, int] | None:
    """The lowest and the highest of integers in a row for which none of these atoms holds; None where there are none.
    Rules ask for what is large: of the intervals beside a number that is asked for, it is the one below."""
    low, high = _LOWEST, _HIGHEST
    for atom in atoms:
        if atom.part or atom.operator not in (*NUMBER_OPERATORS, "absent", "is"):
            return None
        if atom.operator not in NUMBER_OPERATORS:  # an integer is there, and is no boolean
            continue
        if not isinstance(atom.value, (int, float)) or not math.isfinite(atom.value):
            return None
        below, above = math.ceil(atom.value) - 1, math.floor(atom.value) + 1
        if atom.operator == ">=" or (atom.operator == "=" and atom.value > 0):
            high = min(high, below)
        elif atom.operator == ">":
            high = min(high, above - 1)
        elif atom.operator == "<":
            low = max(low, below + 1)
        elif atom.operator in ("<=", "="):
            low = max(low, above)
        else:  # unlike a number: it holds for all integers but this one
            low, high = max(low, below + 1), min(high, above - 1)
    return (low, high) if low <= high else None
