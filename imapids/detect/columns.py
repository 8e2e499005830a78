"""One column for each field that the rules of a category ask about: a value gives the bits of the atoms that hold."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from imapids import kernels
from imapids.detect.atoms import Predicate, as_text, compare_fields, fold, is_absent, predicate
from imapids.detect.compiled import Atom
from imapids.detect.fields import Field, Getter, getter, lookup, texts_of
from imapids.detect.needles import Needles
from imapids.detect.patterns import PatternSet
from imapids.detect.readings import reading_of
from imapids.detect.silences import possible_texts, silent_numbers
from imapids.records.events import Event

if TYPE_CHECKING:
    from imapids.kernels._events import Question, Reading

_body_of = operator.attrgetter("body")
_flow_of = operator.attrgetter("flow")


class Columns:
    """Events as what their columns are read from; bodies and flows are collected when a column asks for them."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events

    @cached_property
    def bodies(self) -> list[Any]:
        """The bodies of the events."""
        return list(map(_body_of, self.events))

    @cached_property
    def flows(self) -> list[Any] | None:
        """Their flows; None where an event has none: then the fields are read one by one."""
        flows = list(map(_flow_of, self.events))
        return None if None in flows else flows


class Column:
    """The atoms about one field. `mask` gives the bits of those that hold; answers are remembered by value."""

    def __init__(self, category: str, name: str, memo_entries: int) -> None:
        self.name = name
        self._category = category
        self.field: Field | None = lookup(category, name) if name else None
        self.get: Getter = texts_of if not name else getter(self.field) if self.field else _nothing
        self.bits = 0
        """Bits of all its atoms."""
        self.costly = False
        """Its questions (regular expressions) are asked last, where the others leave a rule open."""
        self._equals: dict[str, int] = {}
        self._equals_cased: dict[str, int] = {}
        self._contains = Needles()
        self._prefixes: dict[int, dict[str, int]] = {}  # length: {prefix: bits}; one look-up for each length
        self._suffixes: dict[int, dict[str, int]] = {}
        self._regexes: list[tuple[Atom, int]] = []
        self._patterns: PatternSet | None = None
        self._others: list[tuple[Predicate | Atom, int]] = []
        self._absent = 0
        self._present = 0
        self._atoms: list[Atom] = []
        self.memo: dict[Any, int] = {}
        """Bits by value, as answered before. It stays the same object."""
        self._capacity = memo_entries

    def add(self, atom: Atom, bit: int) -> None:
        """Answer this atom too, with this bit."""
        self.bits |= bit
        self._atoms.append(atom)
        if atom.operator == "absent":
            self._absent |= bit
        elif atom.operator == "present":
            self._present |= bit
        elif atom.operator == "equals":
            text, table = as_text(atom.value), self._equals_cased
            if not atom.cased:
                text, table = fold(text), self._equals
            table[text] = table.get(text, 0) | bit
        elif atom.operator == "contains" and not atom.cased:
            self._contains.add(fold(as_text(atom.value)), bit)
        elif atom.operator in ("startswith", "endswith") and not atom.cased:
            text = fold(as_text(atom.value))
            tables = self._prefixes if atom.operator == "startswith" else self._suffixes
            table = tables.setdefault(len(text), {})
            table[text] = table.get(text, 0) | bit
        elif atom.operator == "regex":
            self._regexes.append((atom, bit))
            self._patterns = None
        else:
            self._others.append((atom, bit))  # made ready with the first value: most are never asked

    @property
    def is_open(self) -> bool:
        """Nearly every event has another value: numbers, addresses, identifiers."""
        if self.field is None:
            return not self.name
        open_types = ("integer", "number", "time")
        return self.field.type in open_types or self.name in ("src_ip", "dest_ip", "community_id")

    def read(self, columns: Columns) -> Iterator[Any]:
        """The values of many events. A plain attribute is read without a step of Python's own for each."""
        field = self.field
        if field is None or len(field.path) > 1 or field.origin == "event" or type(self) is not Column:
            return map(self.get, columns.events)
        records = columns.bodies if field.origin == "body" else columns.flows
        if records is None:
            return map(self.get, columns.events)
        values = map(operator.attrgetter(field.path[0]), records)
        return map(tuple, values) if field.many else values

    @cached_property
    def reading(self) -> Reading:
        """How compiled loops read the values."""
        return reading_of(self._category, self.field if type(self) is Column else None, self.get)

    @cached_property
    def question(self) -> Question:
        """How compiled loops ask one event after the other; made when all atoms are there."""
        return kernels.events.Question(self.reading, self.memo, possible_texts(self._atoms),
                                       silent_numbers(self._atoms))

    def masks(self, columns: Columns) -> list[int]:
        """`mask` of many events; it may be empty where all are 0."""
        if kernels.COMPILED:
            return self.reading.masks(self.memo, columns.events, self.learn)
        values = list(self.read(columns))
        found: list[Any] = list(map(self.memo.get, values))
        if None in found:
            for place, mask in enumerate(found):
                if mask is None:
                    value = values[place]
                    mask = self.memo.get(value)
                    found[place] = self.learn(value) if mask is None else mask
        return found

    def mask(self, event: Event) -> int:
        """Bits of the atoms that hold for this event."""
        value = self.get(event)
        try:
            return self.memo[value]
        except KeyError:
            return self.learn(value)

    def learn(self, value: Any) -> int:
        """Bits of the atoms that hold for a value seen for the first time."""
        if len(self.memo) >= self._capacity:
            self.memo.clear()
        self.memo[value] = found = self._answer(value)
        return found

    def _answer(self, value: Any) -> int:
        if is_absent(value):
            return self._absent
        if isinstance(value, tuple):
            items = [item for item in value if not is_absent(item)]
            found = 0 if items else self._absent
            for item in items:
                found |= self._answer_one(item)
            return found
        return self._answer_one(value)

    def _answer_one(self, value: Any) -> int:
        found = self._present
        text = value if isinstance(value, str) else as_text(value)
        if self._equals_cased:
            found |= self._equals_cased.get(text, 0)
        if self._regexes:
            found |= self._search(text)
        text = fold(text)
        if self._equals:
            found |= self._equals.get(text, 0)
        if self._contains:
            found |= self._contains.find(text)
        if self._prefixes:
            for length, table in self._prefixes.items():
                found |= table.get(text[:length], 0)
        if self._suffixes:
            for length, table in self._suffixes.items():
                found |= table.get(text[-length:], 0)
        if self._others:
            found |= self._ask_others(value)
        return found

    def _ask_others(self, value: Any) -> int:
        found = 0
        for place, (test, bit) in enumerate(self._others):
            if isinstance(test, Atom):
                test = predicate(test)
                self._others[place] = (test, bit)
            if test(value):
                found |= bit
        return found

    def _search(self, text: str) -> int:
        """The regular expressions; they are compiled with the first value: most are never asked."""
        if self._patterns is None:
            self._patterns = PatternSet([(str(atom.value), atom.flags) for atom, _ in self._regexes])
        found = 0
        for place in self._patterns.found(text):
            found |= self._regexes[place][1]
        return found


class PairColumn(Column):
    """The atoms that compare one field with another of the same event."""

    def __init__(self, category: str, name: str, other: str, memo_entries: int) -> None:
        super().__init__(category, name, memo_entries)
        left, right = self.get, Column(category, other, 1).get
        self.get = lambda event: (left(event), right(event))
        self._pairs: list[tuple[Atom, int]] = []

    @property
    def is_open(self) -> bool:
        """Pairs of values are many."""
        return True

    def add(self, atom: Atom, bit: int) -> None:
        """Answer this atom too, with this bit."""
        self.bits |= bit
        self._atoms.append(atom)
        self._pairs.append((atom, bit))

    def _answer(self, value: Any) -> int:
        left, right = value
        found = 0
        for atom, bit in self._pairs:
            if compare_fields(atom, left, right):
                found |= bit
        return found


def _nothing(_event: Event) -> None:
    """A field that events of this category do not have."""


Key = tuple[str, str, bool]


def column_of(atom: Atom) -> Key:
    """Key of the column that answers an atom: its field, the other field where two are compared, and its cost."""
    return atom.field, str(atom.value) if atom.operator == "field" else "", atom.operator == "regex"


def make_column(category: str, key: Key, memo_entries: int) -> Column:
    """The column for such a key."""
    name, other, costly = key
    column = PairColumn(category, name, other, memo_entries) if other else Column(category, name, memo_entries)
    column.costly = costly
    return column
