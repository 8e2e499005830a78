"""All rules of one event type as one program, which asks each question once and remembers whole answers.

The fields that take few values make a key; for each key the rules are reduced once to what the other fields still
have to decide, which is nothing for nearly every event. Which fields take few values is learnt from the events: it
changes the cost, never the answer.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from imapids.config import DetectLimits
from imapids.detect.columns import Column, Key, PairColumn, column_of, make_column
from imapids.detect.compiled import Atom, Node
from imapids.detect.fields import NO_FLOW
from imapids.detect.forms import TRUE, All, make_all
from imapids.records.events import Event

_FIRST_LOOK = 32
"""Keys after which fields of many values are looked for, and again at every doubling twice."""


_WEIGHT = 32
"""Open rules and answers in all memos together, for each entry that one memo may hold: 40 MB at the default."""
Open = tuple[int, All, int]
"""(rule, condition, bits of which one must be set, or 0)."""
_FEW = 24
"""Values that a field of few values may take at the first look: IMAP has about that many commands."""


class Rest(NamedTuple):
    """What the answers so far left open: the columns to ask next, and the reduced conditions."""

    read: Callable[[Any], Any]
    """Gives the values of `direct` at once, of the event's body."""
    direct: tuple[tuple[Column, dict[Any, int]], ...]
    """Columns that are plain attributes of the body, with their memos."""
    others: tuple[Column, ...]
    known: int
    """Bits of all these columns."""
    costly: tuple[Column, ...]
    """Columns to ask after these, where a rule still stands open."""
    rules: tuple[Open, ...]
    memo: dict[int, Step]


class Step(NamedTuple):
    """What a key, or the answers of a Rest, decided."""

    sure: tuple[int, ...]
    """Rules that hold."""
    rest: Rest | None


NOTHING = Step((), None)


def atoms_of(node: Node) -> Iterable[int]:
    """Places of the atoms under a node."""
    if node.kind == "atom":
        yield node.atom
    for child in node.children:
        yield from atoms_of(child)


class Program:
    """The rules of one category; `match` gives the places of those that hold for an event."""

    def __init__(self, category: str, atoms: list[Atom], conditions: dict[int, Node], limits: DetectLimits) -> None:
        self._limits = limits
        columns: dict[Key, Column] = {}
        bits: dict[int, int] = {}
        for place in sorted({atom for node in conditions.values() for atom in atoms_of(node)}):
            key = column_of(atoms[place])
            if key not in columns:
                columns[key] = make_column(category, key, limits.memo_entries)
            bits[place] = 1 << len(bits)
            columns[key].add(atoms[place], bits[place])
        self._rules: list[Open] = []
        for rule, node in conditions.items():
            form = make_all(node, bits)
            self._rules.append((rule, form, form.need()))
        everything = sorted(columns.values(), key=lambda column: column.name)
        self._costly = [column for column in everything if column.costly]
        self._few = [column for column in everything if not column.costly and not column.is_open]
        self._many = [column for column in everything if not column.costly and column.is_open]
        self.forgotten = 0
        """Times that a full memo started anew."""
        self._start()

    def _start(self) -> None:
        """Begin with an empty memo of keys."""
        self._steps: dict[Any, Step] = {}
        self._weight = 0
        self._look_at = _FIRST_LOOK
        self._body, body_columns = _reader([c for c in self._few if _stands_in(c, "body")])
        self._flow, flow_columns = _reader([c for c in self._few if _stands_in(c, "flow")])
        direct = body_columns + flow_columns
        self._odd = [column for column in self._few if column not in direct]
        self._order = direct + self._odd

    def match(self, event: Event) -> tuple[int, ...]:
        """Places of the rules that hold."""
        key: Any = (self._body(event.body), self._flow(event.flow or NO_FLOW))
        for column in self._odd:
            key = (key, column.get(event))
        step = self._steps.get(key)
        if step is None:
            step = self._learn(key, event)
        found, rest = step
        while rest is not None:
            truth = 0
            if rest.direct:
                for value, (column, memo) in zip(rest.read(event.body), rest.direct, strict=True):
                    mask = memo.get(value)
                    truth |= column.learn(value) if mask is None else mask
            for column in rest.others:
                truth |= column.mask(event)
            step = rest.memo.get(truth)
            if step is None:
                step = self._finish(rest, truth)
            found, rest = found + step.sure, step.rest
        return found

    def _learn(self, key: Any, event: Event) -> Step:
        """Reduce all rules by the fields of the key."""
        if len(self._steps) >= self._look_at:
            self._look_for_many()
            return self._decide(event)
        step = self._decide(event)
        self._weigh(step)
        self._steps[key] = step
        return step

    def _weigh(self, step: Step) -> None:
        """Forget all answers before they take too much memory: an open rule in a memo takes about 300 bytes."""
        self._weight += 1 + (len(step.rest.rules) if step.rest else 0)
        if self._weight > self._limits.memo_entries * _WEIGHT:
            self._steps.clear()
            self._weight = 0
            self.forgotten += 1

    def _decide(self, event: Event) -> Step:
        truth = known = 0
        for column in self._order:
            truth |= column.mask(event)
            known |= column.bits
        return _reduce(self._rules, truth, known, self._many, tuple(self._costly))

    def _finish(self, rest: Rest, truth: int) -> Step:
        """Evaluate the rules that a Rest left open."""
        if rest.costly:
            step = _reduce(rest.rules, truth, rest.known, [], rest.costly)
        else:
            held = [rule for rule, form, need in rest.rules if (not need or need & truth) and form.holds(truth)]
            step = Step(tuple(held), None) if held else NOTHING
        self._weigh(step)
        if len(rest.memo) >= self._limits.memo_entries:
            rest.memo.clear()
            self.forgotten += 1
        rest.memo[truth] = step
        return step

    def _look_for_many(self) -> None:
        """The memo grew: fields that take many values leave the key. Without such a field it may grow further."""
        size = len(self._steps)
        values: list[set[Any]] = [set() for _ in self._order]
        for key in self._steps:
            for place, value in enumerate(self._unpack(key)):
                values[place].add(value)
        many = [column for column, seen in zip(self._order, values, strict=True) if len(seen) > max(_FEW, size // 4)]
        if not many and size >= self._limits.memo_entries:
            self.forgotten += 1
            many = [max(zip(self._order, values, strict=True), key=lambda pair: len(pair[1]))[0]]
        if many:
            self._few = [column for column in self._few if column not in many]
            self._many = sorted([*self._many, *many], key=lambda column: column.name)
            self._start()
        else:
            self._look_at = min(self._look_at * 4, self._limits.memo_entries)

    def _unpack(self, key: Any) -> list[Any]:
        """The values of a key, in the order of the columns."""
        odd: list[Any] = []
        for _ in self._odd:
            key, value = key
            odd.append(value)
        direct: list[Any] = []
        for part, origin in zip(key, ("body", "flow"), strict=True):
            count = sum(_stands_in(column, origin) for column in self._few)
            direct += [part] if count == 1 else list(part)
        return direct + odd[::-1]


def _reduce(rules: Iterable[Open], truth: int, known: int, many: list[Column], costly: tuple[Column, ...]) -> Step:
    """The rules with the known bits put in: which hold, and what is left to ask."""
    possible = truth | ~known
    sure: list[int] = []
    left: list[Open] = []
    used = 0
    for rule, form, need in rules:
        if need and not need & possible:
            continue
        rest = form.reduce(truth, known)
        if rest is None:
            continue
        if rest == TRUE:
            sure.append(rule)
        else:
            left.append((rule, rest, rest.need()))
            used |= _bits_of(rest)
    if not left:
        return Step(tuple(sure), None) if sure else NOTHING
    asked = [column for column in many if column.bits & used]
    later = tuple(column for column in costly if column.bits & used)
    if not asked:
        asked, later = list(later), ()
    direct = [column for column in asked if _stands_in(column, "body")]
    read, _ = _reader(direct)
    several = read if len(direct) != 1 else lambda body: (read(body),)
    memos = tuple((column, column.memo) for column in direct)
    others = tuple(column for column in asked if column not in direct)
    bits = 0
    for column in asked:
        bits |= column.bits
    return Step(tuple(sure), Rest(several, memos, others, bits, later, tuple(left), {}))


def _bits_of(form: All) -> int:
    found = form.must | form.never
    for part in form.parts:
        found |= part.some | part.unset
        for inner in part.parts:
            found |= _bits_of(inner)
    return found


def _stands_in(column: Column, origin: str) -> bool:
    """The field is a plain attribute of the event's body or flow: it can be read together with others, in C."""
    field = column.field
    return (field is not None and not isinstance(column, PairColumn) and field.origin == origin
            and len(field.path) == 1 and not field.many)


def _reader(columns: list[Column]) -> tuple[Callable[[Any], Any], list[Column]]:
    """A function that reads the attributes of these columns at once; with none, one that gives an empty tuple."""
    names = [column.field.path[0] for column in columns if column.field]
    return (operator.attrgetter(*names) if names else _empty), columns


def _empty(_record: Any) -> tuple[()]:
    return ()
