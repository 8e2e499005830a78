"""Conditions as bit arithmetic: every atom is a bit of one number, and most rules are a few comparisons of masks.

A condition becomes alternating layers. An `All` holds when its `must` bits are all set, none of its `never` bits is,
and each `Any` under it holds; an `Any` holds when one of its `some` bits is set, or one of its `unset` bits is not,
or one `All` under it holds. With some atoms known, a condition can be reduced to what is still open.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from imapids.detect.compiled import Node


class Any(msgspec.Struct, frozen=True):
    """Holds when at least one of its parts does."""

    some: int
    unset: int
    parts: tuple[All, ...]

    def holds(self, truth: int) -> bool:
        """Whether it holds, `truth` being the bits of the atoms that do."""
        if truth & self.some or ~truth & self.unset:
            return True
        return any(part.holds(truth) for part in self.parts)

    def reduce(self, truth: int, known: int) -> Any | None:
        """What is still open where only the `known` bits are; None: it holds already. Empty: it cannot hold."""
        if truth & self.some or ~truth & known & self.unset:
            return None
        parts = []
        for part in self.parts:
            rest = part.reduce(truth, known)
            if rest == TRUE:
                return None
            if rest is not None:
                parts.append(rest)
        return Any(self.some & ~known, self.unset & ~known, tuple(parts))

    def need(self) -> int:
        """Bits of which at least one is set wherever it holds; 0 where no such set of bits is known."""
        if self.unset:
            return 0
        found = self.some
        for part in self.parts:
            need = part.need()
            if not need:
                return 0
            found |= need
        return found


class All(msgspec.Struct, frozen=True):
    """Holds when every one of its parts does."""

    must: int
    never: int
    parts: tuple[Any, ...]

    def holds(self, truth: int) -> bool:
        """Whether it holds, `truth` being the bits of the atoms that do."""
        if truth & self.must != self.must or truth & self.never:
            return False
        return all(part.holds(truth) for part in self.parts)

    def reduce(self, truth: int, known: int) -> All | None:
        """What is still open where only the `known` bits are; None: it cannot hold."""
        if ~truth & known & self.must or truth & known & self.never:
            return None
        parts = []
        for part in self.parts:
            rest = part.reduce(truth, known)
            if rest is None:
                continue
            if not (rest.some or rest.unset or rest.parts):
                return None
            parts.append(rest)
        return All(self.must & ~known, self.never & ~known, tuple(parts))

    def need(self) -> int:
        """Bits of which at least one is set wherever it holds; 0 where no such set of bits is known."""
        if self.must:
            return self.must & -self.must
        needs = [need for part in self.parts if (need := part.need())]
        return min(needs, key=int.bit_count) if needs else 0


TRUE = All(0, 0, ())
"""Holds always."""


def make_all(node: Node, bits: Mapping[int, int], positive: bool = True) -> All:
    """The condition (or its negation) as an All; `bits` gives each atom's bit."""
    if node.kind == "not":
        return make_all(node.children[0], bits, not positive)
    if node.kind == "atom":
        bit = bits[node.atom]
        return All(bit, 0, ()) if positive else All(0, bit, ())
    if (node.kind == "all") != positive:
        return All(0, 0, (make_any(node, bits, positive),))
    must = never = 0
    parts: list[Any] = []
    for child in node.children:
        inner = make_all(child, bits, positive)
        must, never = must | inner.must, never | inner.never
        parts.extend(inner.parts)
    return All(must, never, tuple(parts))


def make_any(node: Node, bits: Mapping[int, int], positive: bool = True) -> Any:
    """The condition (or its negation) as an Any; `bits` gives each atom's bit."""
    if node.kind == "not":
        return make_any(node.children[0], bits, not positive)
    if node.kind == "atom":
        bit = bits[node.atom]
        return Any(bit, 0, ()) if positive else Any(0, bit, ())
    if (node.kind == "any") != positive:
        return Any(0, 0, (make_all(node, bits, positive),))
    some = unset = 0
    parts: list[All] = []
    for child in node.children:
        inner = make_any(child, bits, positive)
        some, unset = some | inner.some, unset | inner.unset
        parts.extend(inner.parts)
    return Any(some, unset, tuple(parts))
