"""All rules of one event type as one program, which asks each question once and remembers whole answers.

The fields that take few values make a key; for each key the rules are reduced once to what the other fields still
have to decide, which is nothing for nearly every event. Which fields take few values is learnt from the events: it
changes the cost, never the answer.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Iterator
from itertools import compress, count, repeat
from typing import TYPE_CHECKING, Any

import msgspec

from imapids import kernels
from imapids.config import DetectLimits
from imapids.detect.columns import Column, Columns, Key, column_of, make_column
from imapids.detect.compiled import Atom, Node
from imapids.detect.forms import TRUE, All, make_all
from imapids.detect.readings import layout_of
from imapids.records.events import Event

if TYPE_CHECKING:
    from imapids.kernels._events import Sieve, Way

_FIRST_LOOK = 32
"""Keys after which fields of many values are looked for, and again at every doubling twice."""
_WEIGHT = 32
"""Open rules and answers in all memos together, for each entry that one memo may hold: 40 MB at the default."""
Open = tuple[int, All, int]
"""(rule, condition, bits of which one must be set, or 0)."""
Match = tuple[int, tuple[int, ...]]
"""Place of an event, and the places of the rules that hold for it."""
_FEW = 24
"""Values that a field of few values may take at the first look: IMAP has about that many commands."""
_FEW_STEPS = 4
"""Different steps of a batch up to which a pass over it for each is cheaper than one pass that sorts them."""


class Step:
    """What a key, or the answers to what a Step asked, decided. Steps are compared by identity."""

    __slots__ = ("ask", "sure", "way")

    def __init__(self, sure: tuple[int, ...], ask: Rest | None) -> None:
        self.sure = sure
        """Rules that hold."""
        self.ask = ask
        """What is still open; None where nothing is."""
        self.way: Way | None = None
        """How compiled loops ask it; made when they first come here."""


class Rest(msgspec.Struct, frozen=True):
    """What the answers so far left open: the columns to ask next, and the reduced conditions."""

    sure: tuple[int, ...]
    """Rules that hold already."""
    columns: tuple[Column, ...]
    known: int
    """Bits of all these columns."""
    later: Step | None
    """Asks the costly columns too: for answers with which a rule that needs them still stands open."""
    bits_later: int
    """Bits of those columns."""
    rules: tuple[Open, ...]
    memo: dict[int, Step]


NOTHING = Step((), None)


def atoms_of(node: Node) -> Iterable[int]:
    """Places of the atoms under a node."""
    if node.kind == "atom":
        yield node.atom
    for child in node.children:
        yield from atoms_of(child)


class Program:
    """The rules of one category; `matches` gives the places of those that hold for events."""

    def __init__(self, category: str, atoms: list[Atom], conditions: dict[int, Node], limits: DetectLimits) -> None:
        self._category = category
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
        self._steps: dict[tuple[Any, ...], Step] = {}
        self._weight = 0
        self._look_at = _FIRST_LOOK
        self._sieve: Sieve | None = None

    def matches(self, events: list[Event]) -> list[Match]:
        """The events, all of this category, that some rule holds for, in no order: their places, and the rules'."""
        found: list[Match] = []
        if kernels.COMPILED:
            left = kernels.events.sift(layout_of(Event), events, {self._category: self.sieve}, found)
            for places, some, steps in left.values():
                self.decide(some, places, steps, found)
        else:
            self.decide(events, list(range(len(events))), [], found)
        return found

    def decide(self, events: list[Event], places: list[int], steps: list[Step | None], found: list[Match]) -> None:
        """Adds the matches of events of this category to `found`.

        Fields are read column by column, and what a value answers is looked up without a step of Python's own.

        Args:
            steps: of the events' keys, None where a key is new; empty where nobody has looked.
        """
        columns = Columns(events)
        if not steps:
            steps = self._known(columns)
        known = [self._step(event) if step is None else step for event, step in zip(events, steps, strict=True)]
        self._go_on(known, places, columns, found, [])

    @property
    def sieve(self) -> Sieve:
        """What compiled loops ask of events, one after the other, until something is not known. Needs the kernels."""
        if self._sieve is None:
            self._sieve = kernels.events.Sieve(tuple([column.reading for column in self._few]), self._steps,
                                               layout_of(Step), NOTHING, _make_way)
        return self._sieve

    def _known(self, columns: Columns) -> list[Step | None]:
        """The steps by the keys of many events; None where a key is new."""
        values = [column.read(columns) for column in self._few]
        keys = zip(*values, strict=True) if values else repeat((), len(columns.events))
        return list(map(self._steps.get, keys))

    def _go_on(self, steps: list[Step], places: list[int], columns: Columns, found: list[Match],
               truths: list[int]) -> None:
        """Ask what is open, for all events at once for which the same is."""
        ways = kernels.events.ways_on if kernels.COMPILED else _ways_on
        for step, stands_at, events, known in ways(steps, NOTHING, places, columns.events, truths):
            if step.ask is None:
                found += [(place, step.sure) for place in stands_at]
            else:
                self._ask(step.ask, stands_at, Columns(events), found, known)

    def _ask(self, rest: Rest, places: list[int], columns: Columns, found: list[Match],
             before: list[int]) -> None:
        """What a Rest asks. `before`: the answers to what was asked before it."""
        truths = before
        for column in rest.columns:
            masks = column.masks(columns)
            if any(masks):  # most answer nothing for a whole batch
                truths = list(map(operator.or_, truths, masks)) if truths else masks
        memo = rest.memo
        if not truths:
            step = memo.get(0) or self._finish(rest, 0)
            if step is not NOTHING:
                self._go_on([step] * len(places), places, columns, found, [])
            return
        steps: list[Any] = list(map(memo.get, truths))
        if None in steps:
            steps = [step or memo.get(truth) or self._finish(rest, truth)
                     for truth, step in zip(truths, steps, strict=True)]
        self._go_on(steps, places, columns, found, truths)

    def _step(self, event: Event) -> Step:
        """The step of an event whose key was not known when its batch began."""
        key = tuple([column.get(event) for column in self._few])
        return self._steps.get(key) or self._learn(key, event)

    def _learn(self, key: tuple[Any, ...], event: Event) -> Step:
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
        self._weight += 1 + (len(step.ask.rules) if step.ask else 0)
        if self._weight > self._limits.memo_entries * _WEIGHT:
            self._steps.clear()
            self._sieve = None  # it remembers some of them
            self._weight = 0
            self.forgotten += 1

    def _decide(self, event: Event) -> Step:
        truth = known = 0
        for column in self._few:
            truth |= column.mask(event)
            known |= column.bits
        return _reduce(self._rules, truth, known, self._many, self._costly)

    def _finish(self, rest: Rest, truth: int) -> Step:
        """Evaluate the rules that a Rest left open."""
        if rest.later is not None and _stands_open(rest, truth):
            step = rest.later
        else:
            held = [rule for rule, form, need in rest.rules if (not need or need & truth) and form.holds(truth)]
            step = Step(rest.sure + tuple(held), None) if held or rest.sure else NOTHING
        self._weigh(NOTHING if step is rest.later else step)  # that one is shared
        if len(rest.memo) >= self._limits.memo_entries:
            rest.memo.clear()
            self.forgotten += 1
        rest.memo[truth] = step
        return step

    def _look_for_many(self) -> None:
        """The memo grew: fields that take many values leave the key. Without such a field it may grow further."""
        size = len(self._steps)
        values = [set(seen) for seen in zip(*self._steps, strict=True)]
        many = [column for column, seen in zip(self._few, values, strict=True) if len(seen) > max(_FEW, size // 4)]
        if not many and size >= self._limits.memo_entries:
            self.forgotten += 1
            many = [max(zip(self._few, values, strict=True), key=lambda pair: len(pair[1]))[0]]
        if many:
            self._few = [column for column in self._few if column not in many]
            self._many = sorted([*self._many, *many], key=lambda column: column.name)
            self._start()
        else:
            self._look_at = min(self._look_at * 4, self._limits.memo_entries)


def _make_way(step: Step) -> Way:
    """How compiled loops ask what is open at a step."""
    assert step.ask is not None
    step.way = kernels.events.Way([column.question for column in step.ask.columns], step.ask.memo)
    return step.way


def _ways_on(steps: list[Step], nothing: Step, places: list[int], events: list[Event],
             truths: list[int]) -> Iterator[tuple[Step, list[int], list[Event], list[int]]]:
    """The steps that lead anywhere, each with the places, events and truths (there may be none) at which it stands."""
    different = dict.fromkeys(steps)
    if len(different) == 1 and nothing not in different:
        yield steps[0], places, events, truths
        return
    different.pop(nothing, None)
    if len(different) <= _FEW_STEPS:  # a pass for each, without a step of Python's own
        picked = ((step, list(compress(count(), map(operator.is_, steps, repeat(step))))) for step in different)
    else:
        at: dict[Step, list[int]] = {step: [] for step in different}
        for place, step in enumerate(steps):
            if step is not nothing:
                at[step].append(place)
        picked = (pair for pair in at.items())
    for step, some in picked:
        yield (step, [places[place] for place in some], [events[place] for place in some],
               [truths[place] for place in some] if truths else [])


def _stands_open(rest: Rest, truth: int) -> bool:
    """Whether a rule that needs the costly columns depends on them, the other answers being these."""
    possible = truth | ~rest.known
    for _, form, need in rest.rules:
        if (not need or need & possible) and _bits_of(form) & rest.bits_later:
            left = form.reduce(truth, rest.known)
            if left is not None and left != TRUE:
                return True
    return False


def _reduce(rules: Iterable[Open], truth: int, known: int, many: list[Column], costly: list[Column]) -> Step:
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
    asked = tuple(column for column in many if column.bits & used)
    last = tuple(column for column in costly if column.bits & used)
    bits, bits_later = (functools.reduce(operator.or_, (column.bits for column in columns), 0)
                        for columns in (asked, last))
    later = None
    if last:
        later = Step((), Rest(tuple(sure), last, bits | bits_later, None, 0, tuple(left), {}))
        if not asked:
            return later
    return Step((), Rest(tuple(sure), asked, bits, later, bits_later, tuple(left), {}))


def _bits_of(form: All) -> int:
    found = form.must | form.never
    for part in form.parts:
        found |= part.some | part.unset
        for inner in part.parts:
            found |= _bits_of(inner)
    return found
