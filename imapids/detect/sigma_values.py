"""Sigma conditions, as pySigma parses them, to trees over atoms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionItem,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.types import (
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaString,
    SigmaTimestampPart,
    SpecialChars,
)

from imapids.detect.compiled import Atom, Node
from imapids.detect.patterns import PatternError, compile_pattern

CONDITION_DEPTH = 64
"""Levels of a condition: `not`, `and` and `or` inside each other."""

_COMPARISONS = {"LT": "<", "LTE": "<=", "GT": ">", "GTE": ">=", "EQ": "=", "NEQ": "!="}
_WILDCARDS = {SpecialChars.WILDCARD_MULTI: "*", SpecialChars.WILDCARD_SINGLE: "?"}


class ConditionError(ValueError):
    """A condition asks for something that the engine cannot or must not answer; `field` says where."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class Atoms:
    """The atoms of a rule set, equal ones shared."""

    def __init__(self) -> None:
        self.items: list[Atom] = []
        self._places: dict[tuple[type, Atom], int] = {}

    def place(self, atom: Atom) -> int:
        """The place of this atom; a new one is added."""
        key = (type(atom.value), atom)  # 1 and True are equal in Python, and different questions
        if key not in self._places:
            self._places[key] = len(self.items)
            self.items.append(atom)
        return self._places[key]


def compile_condition(tree: Any, atoms: Atoms, see_field: Callable[[str, Atom], None]) -> Node:
    """The tree of a parsed Sigma condition. `see_field` is told of every field and its atom. ConditionError."""

    def leaf(atom: Atom) -> Node:
        see_field(atom.field, atom)
        if atom.operator == "field":
            see_field(str(atom.value), Atom("", "present"))
        return Node("atom", atoms.place(atom))

    def walk(node: Any, depth: int) -> Node:
        if depth > CONDITION_DEPTH:
            raise ConditionError(f"the condition is nested more than {CONDITION_DEPTH} levels deep")
        if isinstance(node, ConditionFieldEqualsValueExpression):
            return value_node(node.field, node.value, leaf)
        if isinstance(node, ConditionValueExpression):
            return leaf(_keyword(node.value))
        if isinstance(node, ConditionItem):
            children = tuple(walk(child, depth + 1) for child in node.args if child is not None)
            if isinstance(node, ConditionNOT):
                return Node("not", children=children)
            if isinstance(node, ConditionAND):
                return Node("all", children=children)
            if isinstance(node, ConditionOR):
                return Node("any", children=children)
        raise ConditionError("the condition is empty" if node is None else f"cannot evaluate {type(node).__name__}")

    return walk(tree, 0)


def value_node(field: str, value: Any, leaf: Callable[[Atom], Node]) -> Node:
    """The question whether a field has a value, which may stand for several (base64offset, windash)."""
    if isinstance(value, SigmaExpansion):
        return Node("any", children=tuple(value_node(field, item, leaf) for item in value.values))
    try:
        return leaf(_atom(field, value))
    except PatternError as error:
        raise ConditionError(f"regular expression of {field}: {error}", field) from error


def _atom(field: str, value: Any) -> Atom:
    if isinstance(value, SigmaString):
        return _text_atom(field, value)
    if isinstance(value, SigmaTimestampPart):
        return Atom(field, "=", value.number, part=value.timestamp_part.name.lower())
    if isinstance(value, SigmaNumber):
        return Atom(field, "=", value.number)
    if isinstance(value, SigmaCompareExpression):
        part = value.number.timestamp_part.name.lower() if isinstance(value.number, SigmaTimestampPart) else ""
        return Atom(field, _COMPARISONS[value.op.name], value.number.number, part=part)
    if isinstance(value, SigmaBool):
        return Atom(field, "is", value.boolean)
    if isinstance(value, SigmaNull):
        return Atom(field, "absent")
    if isinstance(value, SigmaExists):
        return Atom(field, "present" if value.exists else "absent")
    if isinstance(value, SigmaCIDRExpression):
        return Atom(field, "cidr", str(value.network))
    if isinstance(value, SigmaRegularExpression):
        if value.contains_placeholder():
            raise ConditionError("placeholders (expand) have no values here: write them out", field)
        flags = "".join(sorted(value.sigma_to_re_flag[flag] for flag in value.flags))
        compile_pattern(value.to_plain(), flags)
        return Atom(field, "regex", value.to_plain(), flags=flags)
    if isinstance(value, SigmaFieldReference):
        how = {(False, False): "equals", (True, False): "startswith", (False, True): "endswith"}
        return Atom(field, "field", value.field, flags=how.get((value.starts_with, value.ends_with), "contains"))
    raise ConditionError(f"cannot compare with {type(value).__name__}", field)


def _text_atom(field: str, value: SigmaString) -> Atom:
    cased = isinstance(value, SigmaCasedString)
    parts: list[str] = [""]  # text, wildcard, text, wildcard ... text
    for part in value.s:
        if isinstance(part, str):
            parts[-1] += part
        elif isinstance(part, SpecialChars):
            parts += [_WILDCARDS[part], ""]
        else:
            raise ConditionError("placeholders (expand) have no values here: write them out", field)
    match parts:
        case [""]:
            return Atom(field, "absent")  # records write empty text where there is nothing
        case [text]:
            return Atom(field, "equals", text, cased=cased)
        case ["", "*", ""]:
            return Atom(field, "present")
        case ["", "*", text, "*", ""]:
            return Atom(field, "contains", text, cased=cased)
        case [text, "*", ""]:
            return Atom(field, "startswith", text, cased=cased)
        case ["", "*", text]:
            return Atom(field, "endswith", text, cased=cased)
    return Atom(field, "wildcard", parts=tuple(parts), cased=cased)


def _keyword(value: Any) -> Atom:
    if isinstance(value, SigmaNumber):
        return Atom("", "contains", str(value.number))
    if isinstance(value, SigmaString):
        atom = _text_atom("", value)
        return Atom("", "contains", atom.value, cased=atom.cased) if atom.operator == "equals" else atom
    if isinstance(value, SigmaRegularExpression):
        return _atom("", value)
    raise ConditionError(f"a keyword cannot be {type(value).__name__}")
