"""Why a rule held: its condition walked once more, without short cuts, with the values and packets that held."""

from __future__ import annotations

from typing import Any, NamedTuple

from imapids.detect.atoms import as_text
from imapids.detect.columns import Column, Key, column_of, make_column
from imapids.detect.compiled import Atom, Node
from imapids.protocols.text import safe_str
from imapids.records.alerts import Reason
from imapids.records.events import Event

CHILDREN = 24
"""Reasons shown under one `any of`: a list of names may hold hundreds."""
VALUE_CHARACTERS = 160
REMEMBERED = 512
"""Explanations kept of one rule: events of one kind fire it with the same few values."""

_SPOKEN = {"equals": "=", "is": "=", "startswith": "starts with", "endswith": "ends with", "contains": "contains",
           "regex": "matches", "cidr": "in", "wildcard": "like"}


def describe(atom: Atom) -> str:
    """The question in words: `session.verdict = not-imap`."""
    field = f"{atom.part} of {atom.field}" if atom.part else atom.field or "any text"
    if atom.operator in ("absent", "present"):
        return f"{field} is {atom.operator}"
    if atom.operator == "field":
        spoken = _SPOKEN.get(atom.flags or "equals", "=")
        return f"{field} {spoken} {atom.value}"
    value = "".join(atom.parts) if atom.operator == "wildcard" else as_text(atom.value)
    return safe_str(f"{field} {_SPOKEN.get(atom.operator, atom.operator)} {value}", VALUE_CHARACTERS)


class _Sketch(NamedTuple):
    """A Reason without its packets."""

    condition: str
    held: bool
    value: str
    place: int
    """Which element of a list held it: -1 where there is no list."""
    path: tuple[str, ...]
    children: tuple[_Sketch, ...]


class Explainer:
    """Explains one condition on events of one kind. Explanations are remembered by the values that they show."""

    def __init__(self, condition: Node, atoms: list[Atom], kind: str) -> None:
        self._condition = condition
        self._atoms = atoms
        self._single: dict[int, tuple[Column, str]] = {}  # each atom alone in a column: its answer is a bit
        columns: dict[Key, Column] = {}
        for place in atoms_under(condition):
            atom = atoms[place]
            column = make_column(kind, column_of(atom), 64)
            column.add(atom, 1)
            self._single[place] = (column, describe(atom))
            columns[column_of(atom)] = column
        self._readers = [column.get for column in columns.values()]
        self._sketches: dict[tuple[Any, ...], _Sketch] = {}

    def reason(self, event: Event) -> Reason:
        """The tree of conditions with what held. Branches of `any of` that did not hold are left out where one did."""
        key = tuple([read(event) for read in self._readers])
        sketch = self._sketches.get(key)
        if sketch is None:
            if len(self._sketches) >= REMEMBERED:
                self._sketches.clear()
            sketch = self._sketches[key] = self._sketch(self._condition, event)
        return _stamp(sketch, event)

    def _sketch(self, node: Node, event: Event) -> _Sketch:
        if node.kind == "atom":
            return self._atom_sketch(node.atom, event)
        children = [self._sketch(child, event) for child in node.children]
        if node.kind == "not":
            return _negated(children[0])
        if node.kind == "all":
            held = all(child.held for child in children)
            shown = [part for child in children for part in (child.children if _is_all(child) else (child,))]
        else:
            held = any(child.held for child in children)
            shown = [child for child in children if child.held == held]
            if held and len(shown) == 1:
                return shown[0]
        return _Sketch(f"{node.kind} of", held, "", -1, (), tuple(shown[:CHILDREN]))

    def _atom_sketch(self, place: int, event: Event) -> _Sketch:
        column, words = self._single[place]
        value = column.get(event)
        held = bool(column.learn(value))
        element, which = value, -1
        path = column.field.path if column.field else ()
        if isinstance(value, tuple) and held and self._atoms[place].operator != "field":
            which = next((index for index, item in enumerate(value) if column.learn(item)), -1)
            element = value[which] if which >= 0 else value
        return _Sketch(words, held, _shown(element), which, path if len(path) == 2 else (), ())


def reason_of(condition: Node, atoms: list[Atom], event: Event) -> Reason:
    """The explanation of one condition for one event."""
    return Explainer(condition, atoms, event.kind).reason(event)


def atoms_under(node: Node) -> list[int]:
    """Places of the atoms of a condition, each once, in their order."""
    if node.kind == "atom":
        return [node.atom]
    return list(dict.fromkeys(place for child in node.children for place in atoms_under(child)))


def _is_all(sketch: _Sketch) -> bool:
    return sketch.condition == "all of" and sketch.held


def _negated(child: _Sketch) -> _Sketch:
    if child.children:
        return _Sketch("not", not child.held, "", -1, (), (child,))
    return child._replace(condition=f"not {child.condition}", held=not child.held)


def _stamp(sketch: _Sketch, event: Event) -> Reason:
    """The sketch with packets: of the evidence that a condition is about, else of the event."""
    if sketch.children:
        return Reason(sketch.condition, sketch.held, "", 0, [_stamp(child, event) for child in sketch.children])
    condition, held, value, _, path, _ = sketch
    if held:
        return Reason(condition, held, value, (_packet_of(sketch, event) if path else 0) or event.packet)
    return Reason(condition, held, value)


def _packet_of(sketch: _Sketch, event: Event) -> int:
    """The packet that the element of a list names itself (evidence)."""
    items = getattr(event.body, sketch.path[0], None)
    if not isinstance(items, (list, tuple)) or not 0 <= sketch.place < len(items):
        return 0
    packet = getattr(items[sketch.place], "packet", 0)
    return packet if isinstance(packet, int) else 0


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return safe_str(", ".join(as_text(item) for item in value if item is not None), VALUE_CHARACTERS)
    return safe_str(as_text(value), VALUE_CHARACTERS)
