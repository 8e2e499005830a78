"""Sigma documents to a compiled rule set. Only this module and `sigma_values` know pySigma (1.4 to 2.x)."""

from __future__ import annotations

import contextlib
import copy
import datetime as dt
import io
import zlib
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError
from sigma.filters import SigmaFilter
from sigma.rule import SigmaRule, SigmaRuleBase

from imapids.detect.compiled import Atom, Filter, Node, Rule, RuleSet
from imapids.detect.correlation_rules import compile_correlations
from imapids.detect.fields import fields_of, lookup
from imapids.detect.rule_files import Document, Fault
from imapids.detect.rule_keys import check_keys, nearest, own_keys, shared_keys
from imapids.detect.sigma_values import Atoms, ConditionError, compile_condition
from imapids.protocols.identifiers import short_hash
from imapids.protocols.text import safe_str
from imapids.records.alerts import RuleInfo

OWN_SIDS = (1_143_001, 1_899_999)
"""signature_id of rules that name one (`imapids: sid:`)."""
DERIVED_SIDS = (1_900_000, 1_999_999)
"""signature_id of rules that do not: derived from the rule's id, so that it stays the same."""


def compile_documents(documents: Sequence[Document], faults: list[Fault]) -> RuleSet:
    """The rule set of all documents. What is wrong goes to the faults; a document with a fault is left out."""
    atoms = Atoms()
    rules: list[Rule] = []
    names: dict[str, int] = {}
    correlations: list[tuple[Document, Any, RuleInfo]] = []
    filters: list[tuple[Document, Any, Node]] = []
    for document in documents:
        if not check_keys(document, faults):
            continue
        parsed = _parse(document, faults)
        if parsed is None:
            continue
        if isinstance(parsed, SigmaCorrelationRule):
            correlations.append((document, parsed, _info(document, parsed)))
            continue
        condition = _condition(document, parsed, atoms, faults)
        if condition is None:
            continue
        if isinstance(parsed, SigmaFilter):
            filters.append((document, parsed, condition))
            continue
        for name in _names(parsed):
            if name in names:
                faults.append(Fault(document.file, document.line("id"), f"a second rule with the id or name {name}"))
            names[name] = len(rules)
        rules.append(_rule(document, parsed, condition))
    compiled = RuleSet(atoms=atoms.items, rules=rules)
    for place, (document, parsed, condition) in enumerate(filters):
        compiled.filters.append(_filter(document, parsed, condition))
        _apply_filter(compiled, place, parsed)
    compiled.correlations = compile_correlations(correlations, rules, names, faults)
    return compiled


def _parse(document: Document, faults: list[Fault]) -> Any:
    """The document as pySigma reads it, or None where that found faults."""
    kinds: dict[str, Any] = {"correlation": SigmaCorrelationRule, "filter": SigmaFilter}
    parser = next((kind for key, kind in kinds.items() if key in document.content), SigmaRule)
    noise = io.StringIO()  # RE2 reports wrong expressions on standard error too
    try:
        with contextlib.redirect_stderr(noise):
            parsed = parser.from_dict(copy.deepcopy(document.content), collect_errors=True)
            errors = list(parsed.errors)
    except SigmaError as error:
        parsed, errors = None, [error]
    except (TypeError, ValueError, AttributeError, KeyError, RecursionError) as error:  # pySigma on odd types
        faults.append(Fault(document.file, document.line(), f"is not a Sigma rule: {safe_str(str(error))}"))
        return None
    faults.extend(Fault(document.file, _line_of(document, fault), _message(fault)) for fault in errors)
    return None if errors else parsed


def _message(error: SigmaError) -> str:
    text = str(error.args[0]) if error.args else type(error).__name__
    text = safe_str(" ".join(text.split()), 300)
    if text.startswith("Unknown modifier"):
        from sigma.modifiers import modifier_mapping

        wrong = text.split("'")[1] if "'" in text else text.rsplit(maxsplit=1)[-1]
        return f'unknown modifier "{wrong}"' + nearest(wrong, list(modifier_mapping))
    return text


_PLACES = {
    "Condition": ("detection", "condition"), "Detection": ("detection",), "Modifier": ("detection",),
    "Value": ("detection",), "RegularExpression": ("detection",), "Type": ("detection",),
    "Logsource": ("logsource",), "Level": ("level",), "Status": ("status",), "Date": ("date",),
    "Identifier": ("id",), "Title": ("title",), "Correlation": ("correlation",),
    "Timespan": ("correlation", "timespan"),
    "FilterCondition": ("filter", "condition"), "FilterRule": ("filter", "rules"), "Tag": ("tags",),
}


def _line_of(document: Document, error: Exception) -> int:
    """The line an error of pySigma is about: of a key that its text names, else by the kind of the error."""
    text = str(error.args[0]) if error.args else ""
    for path, line in document.lines.items():
        if path and path[0] in ("detection", "filter") and isinstance(path[-1], str) and "|" in path[-1]:
            field, _, modifiers = path[-1].partition("|")
            values = _at(document.content, path)
            shown = [str(value) for value in (values if isinstance(values, list) else [values])]
            if (field and field in text) or any(value and value in text for value in shown):
                return line
            if any(f"'{modifier}'" in text or f" {modifier}" in text for modifier in modifiers.split("|")):
                return line
    name = type(error).__name__.removeprefix("Sigma").removesuffix("Error")
    for key in sorted(_PLACES, key=len, reverse=True):
        if key in name:
            return document.line(*_PLACES[key])
    return document.line()


def _at(content: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        content = content[key]
    return content


def _names(parsed: SigmaRuleBase) -> list[str]:
    return [str(name) for name in (parsed.id, parsed.name) if name]


def _condition(document: Document, parsed: Any, atoms: Atoms, faults: list[Fault]) -> Node | None:
    """The condition of a rule or filter over atoms; None where something is wrong with it."""
    top = "filter" if isinstance(parsed, SigmaFilter) else "detection"
    category = document.content.get("logsource", {}).get("category") or ""
    count = len(faults)

    def see_field(name: str, atom: Atom) -> None:
        if not name:
            return
        line = _field_line(document, top, name)
        field = lookup(category, name)
        if field is None:
            known = list(fields_of(category))
            where = f"unknown field of {category}" if category else "unknown field"
            faults.append(Fault(document.file, line, f'{where}: "{safe_str(name)}"' + nearest(name, known)))
        elif atom.operator in ("<", "<=", ">", ">=") and not atom.part and field.type in ("text", "boolean"):
            faults.append(Fault(document.file, line, f"{name} is {field.type}: no number can be less or greater"))
        elif atom.operator in ("contains", "startswith", "regex") and field.type in ("boolean", "time"):
            faults.append(Fault(document.file, line, f"{name} is a {field.type}: it has no text to look into"))
        elif atom.operator == "cidr" and field.type != "text":
            faults.append(Fault(document.file, line, f"{name} is no address"))

    try:
        if isinstance(parsed, SigmaFilter):
            trees = [condition.parsed for condition in parsed.filter.parsed_condition]
        else:
            trees = [condition.parsed for condition in parsed.detection.parsed_condition]
        nodes = [compile_condition(tree, atoms, see_field) for tree in trees]
    except ConditionError as error:
        line = _field_line(document, top, error.field) if error.field else document.line(top, "condition")
        faults.append(Fault(document.file, line, safe_str(str(error), 300)))
        return None
    except (SigmaError, RecursionError, ValueError, TypeError, AttributeError, KeyError) as error:
        text = safe_str(" ".join(str(error.args[0] if error.args else error).split()), 300)
        faults.append(Fault(document.file, document.line(top, "condition"), text + _near_name(text, document, top)))
        return None
    if len(faults) > count:
        return None
    return nodes[0] if len(nodes) == 1 else Node("any", children=tuple(nodes))


def _near_name(text: str, document: Document, top: str) -> str:
    """Did you mean ...? for a name in the condition that the detection does not define."""
    quoted = text.split("'")
    names = [name for name in document.content.get(top, {}) if name not in ("condition", "rules", "timeframe")]
    return nearest(quoted[1], names) if len(quoted) > 2 and "not defined" in text else ""


def _field_line(document: Document, top: str, name: str) -> int:
    """Line of the key of that field in the detection, whatever its modifiers."""
    for path, line in document.lines.items():
        if path and path[0] == top and isinstance(path[-1], str) and path[-1].partition("|")[0] == name:
            return line
    return document.line(top)


def _sid(own: dict[str, Any], identity: str) -> int:
    if "sid" in own:
        return int(own["sid"])
    first, last = DERIVED_SIDS
    return first + zlib.crc32(identity.encode()) % (last - first + 1)


def _info(document: Document, parsed: Any) -> RuleInfo:
    own = own_keys(document)
    tags = [str(tag) for tag in parsed.tags]
    attack = [tag.removeprefix("attack.") for tag in tags if tag.startswith("attack.")]
    techniques = [tag.upper() for tag in attack if tag[:1] == "t" and tag[1:5].isdigit()]
    identity = str(parsed.id or parsed.name or short_hash(document.file, parsed.title))
    family = PurePath(document.file).parent.name
    return RuleInfo(
        id=identity, sid=_sid(own, identity), title=safe_str(parsed.title, 256),
        level=parsed.level.name.lower() if parsed.level else "medium", name=safe_str(parsed.name or "", 100),
        family=family if family not in ("sigma", "rules") else "", rev=int(own.get("rev", 1)),
        description=safe_str(" ".join((parsed.description or "").split()), 2_000),
        advice=safe_str(" ".join(str(own.get("advice", "")).split()), 2_000), techniques=techniques,
        tactics=[tag.replace("_", "-") for tag in attack if tag.upper() not in techniques],
        references=[safe_str(str(item), 300) for item in parsed.references],
        falsepositives=[safe_str(str(item), 300) for item in parsed.falsepositives],
        created=safe_str(str(parsed.date or ""), 10), modified=safe_str(str(parsed.modified or ""), 10),
    )


def _rule(document: Document, parsed: SigmaRule, condition: Node) -> Rule:
    info = _info(document, parsed)
    subject = str(own_keys(document).get("subject", "case"))
    return Rule(info=info, category=parsed.logsource.category or "", condition=condition, subject=subject,
                **shared_keys(document, info))


def _filter(document: Document, parsed: SigmaFilter, condition: Node) -> Filter:
    expires = str(own_keys(document).get("expires", ""))
    expires_ns = 0
    if expires:
        day = dt.datetime.fromisoformat(expires).replace(tzinfo=dt.UTC) + dt.timedelta(days=1)
        expires_ns = int(day.timestamp()) * 10**9  # the named day still counts
    return Filter(id=str(parsed.id or ""), title=safe_str(parsed.title, 256), condition=condition, expires=expires,
                  expires_ns=expires_ns, file=document.file, line=document.line())


def _apply_filter(compiled: RuleSet, place: int, parsed: SigmaFilter) -> None:
    """Note the filter at every rule that it names and whose log source is not wider than the filter's."""
    wanted = parsed.filter.rules
    references = None if isinstance(wanted, str) else {reference.reference for reference in wanted}
    category = parsed.logsource.category
    item = compiled.filters[place]
    for rule in compiled.rules:
        named = references is None or references & {rule.info.id, rule.info.name, rule.info.title}
        if named and (not category or category == rule.category):
            rule.filters.append(place)
            item.rules += 1
    if not item.rules:
        compiled.notes.append(f"{item.file}:{item.line}: the filter {item.title!r} applies to no rule")


