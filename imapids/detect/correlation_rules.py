"""Sigma correlation rules to their compiled form: names resolved, fields checked, bases before what builds on them."""

from __future__ import annotations

from typing import Any

from sigma.correlations import SigmaExtendedCorrelationCondition, SigmaRuleReference

from imapids.detect.compiled import Correlation, Node, Rule
from imapids.detect.fields import fields_of, lookup
from imapids.detect.rule_files import Document, Fault
from imapids.detect.rule_keys import nearest, own_keys, shared_keys
from imapids.protocols.text import safe_str
from imapids.records.alerts import RuleInfo

SPAN_SECONDS = 366 * 86_400
"""The longest timespan: groups must be forgotten some day."""

_OPERATORS = {"LT": "<", "LTE": "<=", "GT": ">", "GTE": ">=", "EQ": "=", "NEQ": "!="}
Parsed = tuple[Document, Any, RuleInfo]


def compile_correlations(parsed: list[Parsed], rules: list[Rule], names: dict[str, int],
                         faults: list[Fault]) -> list[Correlation]:
    """The correlations in an order in which each comes after those it builds on. Faults go to the list.

    Rules that only feed a correlation (`generate: false`, Sigma's default) are marked so.
    """
    own_names: dict[str, int] = {}
    for index, (document, item, _) in enumerate(parsed):
        for name in (item.id, item.name):
            if name and (str(name) in names or str(name) in own_names):
                faults.append(Fault(document.file, document.line("id"), f"a second rule with the id or name {name}"))
            elif name:
                own_names[str(name)] = index
    order = _order(parsed, own_names, faults)
    places = {index: len(rules) + place for place, index in enumerate(order)}
    found: list[Correlation] = []
    for index in order:
        bases = _bases(parsed[index], names, own_names, places, faults)
        found.append(_compile(parsed[index], bases, rules, found, faults))
    for correlation, index in zip(found, order, strict=True):
        if not parsed[index][1].generate:
            for base in correlation.bases:
                if base < len(rules):
                    rules[base].output = False
                else:
                    found[base - len(rules)].output = False
    return found


def _references(item: Any) -> list[str]:
    if item.rules is not None:
        return [str(reference.reference) for reference in item.rules]
    return list(item.condition.get_referenced_rules())


def _order(parsed: list[Parsed], own_names: dict[str, int], faults: list[Fault]) -> list[int]:
    """Indices so that each correlation follows the ones it names; circles are faults and are left out."""
    order: list[int] = []
    waiting = {
        index: {own_names[name] for name in _references(item) if name in own_names}
        for index, (_, item, _) in enumerate(parsed)
    }
    while waiting:
        ready = [index for index, needs in waiting.items() if not needs & waiting.keys()]
        if not ready:
            for index in waiting:
                document = parsed[index][0]
                line = document.line("correlation", "rules")
                faults.append(Fault(document.file, line, "the correlation leads to itself"))
            break
        for index in ready:
            del waiting[index]
        order += ready
    return order


def _bases(parsed: Parsed, names: dict[str, int], own_names: dict[str, int], places: dict[int, int],
           faults: list[Fault]) -> list[int]:
    document, item, _ = parsed
    found = []
    for name in _references(item):
        if name in names:
            found.append(names[name])
        elif name in own_names:
            found.append(places[own_names[name]])
        else:
            line = document.line("correlation", "rules")
            faults.append(Fault(document.file, line, f'there is no rule "{safe_str(name)}"'
                                + nearest(name, [*names, *own_names])))
    return found


def _compile(parsed: Parsed, bases: list[int], rules: list[Rule], earlier: list[Correlation],
             faults: list[Fault]) -> Correlation:
    document, item, info = parsed
    group_by = list(item.group_by or [])
    references = _references(item)
    aliases = {
        alias.alias: [_alias_field(alias, name, alias.alias) for name in references] for alias in item.aliases
    }
    categories = sorted({category for base in bases for category in _categories(base, rules, earlier)})
    plain = [name for name in group_by if name not in aliases]
    condition = item.condition
    counted: list[str] = []
    if not isinstance(condition, SigmaExtendedCorrelationCondition) and condition.fieldref:
        counted = [condition.fieldref] if isinstance(condition.fieldref, str) else list(condition.fieldref)
    for key, wanted in (("group-by", plain), ("condition", counted)):
        for name in wanted:
            missing = [category for category in categories if lookup(category, name) is None]
            if missing:
                known = list(fields_of(missing[0]))
                faults.append(Fault(document.file, document.line("correlation", key),
                                    f'unknown field of {missing[0]}: "{safe_str(name)}"' + nearest(name, known)))
    if item.timespan.seconds > SPAN_SECONDS:
        faults.append(Fault(document.file, document.line("correlation", "timespan"), "is longer than a year"))
    result = Correlation(
        info=info, kind=item.type.name.lower(), bases=bases, span_ns=item.timespan.seconds * 10**9,
        group_by=group_by, aliases=aliases, fields=counted, subject=str(own_keys(document).get("subject", "")),
        **shared_keys(document, info),
    )
    if isinstance(condition, SigmaExtendedCorrelationCondition):
        result.expression = _expression(condition.parsed, references)
    else:
        result.operator, result.threshold = _OPERATORS[condition.op.name], condition.count
        result.percentile = condition.percentile if condition.percentile is not None else 50
    return result


def _alias_field(alias: Any, name: str, default: str) -> str:
    for reference, field in alias.mapping.items():
        if reference.reference == name:
            return str(field)
    return default


def _categories(base: int, rules: list[Rule], earlier: list[Correlation]) -> set[str]:
    if base < len(rules):
        return {rules[base].category}
    return {name for inner in earlier[base - len(rules)].bases for name in _categories(inner, rules, earlier)}


def _expression(node: Any, references: list[str]) -> Node:
    if isinstance(node, SigmaRuleReference):
        return Node("atom", references.index(str(node.reference)))
    kind = {"CorrelationConditionAND": "all", "CorrelationConditionOR": "any", "CorrelationConditionNOT": "not"}
    children = tuple(_expression(child, references) for child in node.args)
    return Node(kind[type(node).__name__], children=children)
