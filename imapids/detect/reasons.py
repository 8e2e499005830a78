"""Why a rule held: its condition walked once more, without short cuts, with the values and packets that held."""

from __future__ import annotations

from typing import Any

from imapids.detect.atoms import as_text
from imapids.detect.columns import column_of, make_column
from imapids.detect.compiled import Atom, Node
from imapids.protocols.text import safe_str
from imapids.records.alerts import Reason
from imapids.records.events import Event

CHILDREN = 24
"""Reasons shown under one `any of`: a list of names may hold hundreds."""
VALUE_CHARACTERS = 160

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


def reason_of(node: Node, atoms: list[Atom], event: Event) -> Reason:
    """The tree of conditions with what held. Branches of `any of` that did not hold are left out where one did."""
    if node.kind == "atom":
        return _atom_reason(atoms[node.atom], event)
    children = [reason_of(child, atoms, event) for child in node.children]
    if node.kind == "not":
        return _negated(children[0])
    if node.kind == "all":
        held = all(child.held for child in children)
        shown = [inner for child in children for inner in (child.because if child.condition == "all of" else [child])]
    else:
        held = any(child.held for child in children)
        shown = [child for child in children if child.held == held]
        if held and len(shown) == 1:
            return shown[0]
    return Reason(condition=f"{node.kind} of", held=held, because=shown[:CHILDREN])


def _negated(child: Reason) -> Reason:
    if child.because:
        return Reason(condition="not", held=not child.held, because=[child])
    return Reason(condition=f"not {child.condition}", held=not child.held, value=child.value, packet=child.packet)


def _atom_reason(atom: Atom, event: Event) -> Reason:
    column = make_column(event.kind, column_of(atom), 1)
    column.add(atom, 1)
    value = column.get(event)
    held = bool(column.learn(value))
    element, packet = value, event.packet
    if isinstance(value, tuple) and held and atom.operator != "field":
        place = next((i for i, item in enumerate(value) if column.learn(item)), None)
        if place is not None:
            element = value[place]
            packet = _packet_of(column.field.path if column.field else (), event, place) or packet
    return Reason(condition=describe(atom), held=held, value=_shown(element), packet=packet if held else 0)


def _packet_of(path: tuple[str, ...], event: Event, place: int) -> int:
    """The packet that the element of a list names itself (evidence)."""
    if len(path) != 2:
        return 0
    items = getattr(event.body, path[0], None)
    packet = getattr(items[place], "packet", 0) if isinstance(items, (list, tuple)) and place < len(items) else 0
    return packet if isinstance(packet, int) else 0


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return safe_str(", ".join(as_text(item) for item in value if item is not None), VALUE_CHARACTERS)
    return safe_str(as_text(value), VALUE_CHARACTERS)
