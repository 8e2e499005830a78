"""What `imapids rules` does, as a library: check, find, explain, write a new rule, allow a finding, convert."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Sequence
from pathlib import Path

from imapids.detect.compiled import Correlation, Node, Rule, RuleSet
from imapids.detect.loading import SHIPPED, compile_with_faults, load_rules, shipped_files
from imapids.detect.reasons import describe
from imapids.detect.rule_files import Fault, RuleFile, collect, parse
from imapids.errors import RuleError, UsageError
from imapids.protocols.text import safe_str
from imapids.records.alerts import Alert

KINDS = ("session", "command", "login", "message", "tls", "correlation", "filter")
"""What `new` writes templates for."""
TARGETS = ("splunk", "lucene", "esql", "eql")
"""What `convert` knows; each needs its pySigma back end."""
LONGEST_ALLOWANCE_DAYS = 366

_BACKENDS = {
    "splunk": ("sigma.backends.splunk", "SplunkBackend", "pysigma-backend-splunk"),
    "lucene": ("sigma.backends.elasticsearch", "LuceneBackend", "pysigma-backend-elasticsearch"),
    "esql": ("sigma.backends.elasticsearch", "ESQLBackend", "pysigma-backend-elasticsearch"),
    "eql": ("sigma.backends.elasticsearch", "EqlBackend", "pysigma-backend-elasticsearch"),
}


def check(paths: Sequence[Path], *, defaults: bool = False) -> list[Fault]:
    """All faults and advice on these rule files and folders, in order of file and line.

    `defaults`: judge the shipped rules too. They are there in any case for correlations and filters to name, unless
    the paths hold them already.
    """
    from imapids.detect.lints import lint

    faults: list[Fault] = []
    shipped = shipped_files(faults)
    places = {(SHIPPED / file.name.removeprefix("rules/")).resolve() for file in shipped}
    own = collect([Path(path) for path in paths], faults)
    if any(Path(file.name).resolve() in places for file in own):
        shipped = []
    judged = [*shipped, *own] if defaults else own
    names = {file.name for file in judged}
    _, found = compile_with_faults([*shipped, *own])
    faults += [fault for fault in found if fault.file in names]
    documents = [document for file in judged for document in parse(file, [])]
    return sorted({*faults, *lint(documents)})


def find(rules: RuleSet, name: str) -> Rule | Correlation:
    """The rule with this id, name, sid or title. UsageError with the nearest name where there is none."""
    from imapids.detect.rule_keys import nearest

    every: list[Rule | Correlation] = [*rules.rules, *rules.correlations]
    for rule in every:
        if name in (rule.info.id, rule.info.name, str(rule.info.sid)) or name.lower() == rule.info.title.lower():
            return rule
    known = [rule.info.name for rule in every if rule.info.name]
    raise UsageError(f"there is no rule {name!r}" + nearest(name, known))


def explain(rule: Rule | Correlation, rules: RuleSet) -> str:
    """The rule in words, for people: what it looks at, its whole condition, level, advice."""
    info = rule.info
    lines = [f"{info.title}  [{info.level}]", f"  name {info.name or '-'}, sid {info.sid}, id {info.id}"]
    if rule.file:
        lines.append(f"  file {rule.file}:{rule.line}")
    if info.description:
        lines += ["", f"  {info.description}"]
    lines.append("")
    if isinstance(rule, Rule):
        lines.append(f"  looks at {rule.category or 'every'} events; one alert for each {rule.subject}; holds when")
        lines += _tree(rule.condition, rules, "    ")
        for place in rule.filters:
            item = rules.filters[place]
            until = f" (until {item.expires})" if item.expires else ""
            lines.append(f"  except where the allow-list {item.title!r} applies{until}")
    else:
        lines += _several(rule, rules)
    if info.advice:
        lines += ["", f"  What to do: {info.advice}"]
    if info.falsepositives:
        lines += ["", *(f"  May also be: {item}" for item in info.falsepositives)]
    if info.techniques:
        lines += ["", f"  ATT&CK: {', '.join(info.techniques)}"]
    return "\n".join(lines) + "\n"


def _tree(node: Node, rules: RuleSet, indent: str) -> list[str]:
    if node.kind == "atom":
        return [indent + describe(rules.atoms[node.atom])]
    if node.kind == "not" and node.children[0].kind == "atom":
        return [f"{indent}not {describe(rules.atoms[node.children[0].atom])}"]
    lines = [indent + ("not" if node.kind == "not" else f"{node.kind} of")]
    for child in node.children:
        lines += _tree(child, rules, indent + "  ")
    return lines


def _several(rule: Correlation, rules: RuleSet) -> list[str]:
    counted = f" of {', '.join(rule.fields)}" if rule.fields else ""
    wanted = "" if rule.expression is not None else f" {rule.operator} {rule.threshold:g}"
    group = ", ".join(rule.group_by) or "all events together"
    lines = [f"  {rule.kind}{counted}{wanted} within {rule.span_ns // 10**9} s, grouped by {group}, over"]
    count = len(rules.rules)
    for base in rule.bases:
        inner = rules.rules[base] if base < count else rules.correlations[base - count]
        lines.append(f"    {inner.info.name or inner.info.title}: {inner.info.title}")
        if isinstance(inner, Rule):
            lines += _tree(inner.condition, rules, "      ")
    return lines


_HEAD = """\
title: Say in one line what was seen
id: {id}
name: {kind}_example
status: experimental
description: >
  What was seen, and why it matters, for somebody who did not write the rule. Two sentences are enough.
references: []
author: your name
date: {today}
tags: [attack.command-and-control, attack.t1571]
"""
_TAIL = """\
falsepositives:
  - What harmless thing looks alike
level: medium
imapids:
  sid: 1000001            # a number of your own, 1000000 to 1142999
{subject}  advice: What the reader of the alert should do first.
  samples: {{silent: genuine-session}}   # and fires: a capture or sample that must raise it
"""
_DETECTIONS = {
    "session": ("session.verdict: [not-imap, mimic]", "session.direction: outbound"),
    "command": ("command.name: LOGIN", "command.longest_argument|gte: 256"),
    "login": ("login.outcome: success", "login.encrypted: false"),
    "message": ("message.action: fetch", "message.bodies|gte: 50"),
    "tls": ("tls.sni: null", "tls.version|startswith: 'TLS 1.0'"),
}


def new(kind: str, today: dt.date) -> str:
    """A template that passes `check`, for a rule on events of this kind, a correlation, or a filter (KINDS)."""
    if kind not in KINDS:
        raise UsageError(f"there is no template {kind!r}: choose one of {', '.join(KINDS)}")
    head = _HEAD.format(id=uuid.uuid4(), kind=kind, today=today.isoformat())
    if kind == "filter":
        return _filter_text("Say what is allowed, and why", "reconnecting_beacon", "session",
                            {"src_ip": "192.0.2.10", "dest_ip": "198.51.100.7"}, today + dt.timedelta(days=90))
    if kind == "correlation":
        base = (f"---\ntitle: A login failed (feeds the rule above)\nid: {uuid.uuid4()}\nname: example_failed_login\n"
                "logsource:\n  product: imapids\n  category: login\ndetection:\n  selection:\n"
                "    login.outcome: failure\n  condition: selection\nlevel: informational\n")
        return (head + "correlation:\n  type: event_count       # value_count, temporal, value_sum ...\n"
                "  rules: example_failed_login\n  group-by: [src_ip, dest_ip]\n  timespan: 10m\n"
                "  condition: {gte: 10}\n" + _TAIL.format(subject="") + base)
    detection = "\n".join(f"    {line}" for line in _DETECTIONS[kind])
    subject = "  subject: case           # case, source, server, flow or user: one alert for each\n"
    return (head + f"logsource:\n  product: imapids\n  category: {kind}\ndetection:\n  selection:\n{detection}\n"
            "  condition: selection\n" + _TAIL.format(subject=subject))


def allow(alert: Alert, days: int, today: dt.date, *, rules: RuleSet | None = None, reason: str = "") -> str:
    """A Sigma filter that silences this alert's rule for its client, server and port, until `days` from today.

    `rules`: the set that raised it; the shipped rules where it is not given.
    """
    if not 1 <= days <= LONGEST_ALLOWANCE_DAYS:
        raise UsageError(f"--days is {days}: must be 1 to {LONGEST_ALLOWANCE_DAYS}")
    if alert.flow is None:
        raise UsageError("this alert is about no conversation: there is no pair of hosts to allow")
    base = _base_names(alert, rules or load_rules())
    wanted: dict[str, str | int] = {
        "src_ip": alert.flow.client, "dest_ip": alert.flow.server, "dest_port": alert.flow.server_port,
    }
    title = f"Allow {alert.rule.name or alert.rule.title} for {alert.flow.client} to {alert.flow.server}"
    return _filter_text(title[:200], base, alert.event, wanted, today + dt.timedelta(days=days), reason)


def _base_names(alert: Alert, rules: RuleSet) -> list[str]:
    """The rules to filter: for a correlation those that feed it (Sigma filters never act on correlations)."""
    found = next((item for item in rules.correlations if item.info.id == alert.rule.id), None)
    if found is None:
        return [alert.rule.id]
    names: list[str] = []
    waiting = list(found.bases)
    while waiting:
        place = waiting.pop(0)
        if place < len(rules.rules):
            names.append(rules.rules[place].info.id)
        else:
            waiting += rules.correlations[place - len(rules.rules)].bases
    return names


def _filter_text(title: str, rules: str | list[str], category: str, wanted: dict[str, str] | dict[str, str | int],
                 until: dt.date, reason: str = "") -> str:
    named = [rules] if isinstance(rules, str) else rules
    lines = [
        f"title: {json.dumps(title)}", f"id: {uuid.uuid4()}",
        f"description: {json.dumps(reason or 'Say why this is allowed, and who decided it')}",
        "logsource:", "  product: imapids", f"  category: {category}", "filter:", "  rules:",
        *(f"    - {name}" for name in named), "  selection:",
        *(f"    {field}: {json.dumps(value)}" for field, value in wanted.items()), "  condition: not selection",
        "imapids:", f"  expires: {until.isoformat()}",
    ]
    return "\n".join(lines) + "\n"


def convert(paths: Sequence[Path], target: str, *, defaults: bool = False) -> list[tuple[str, str]]:
    """(title, query) of every rule, by the pySigma back end for `target` (TARGETS); a rule that it cannot express
    gives `# not convertible: why`. UsageError where the back end is not installed, RuleError for faulty rules."""
    if target not in _BACKENDS:
        raise UsageError(f"cannot convert to {target!r}: choose one of {', '.join(TARGETS)}")
    import importlib

    module, name, package = _BACKENDS[target]
    try:
        backend_type = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        raise UsageError(f"converting to {target} needs {package} (it works with pySigma 1 only): "
                         f"python -m pip install 'pysigma<2' {package}") from None
    from sigma.collection import SigmaCollection
    from sigma.correlations import SigmaCorrelationRule
    from sigma.exceptions import SigmaError

    faults: list[Fault] = []
    files: list[RuleFile] = [*(shipped_files(faults) if defaults else []),
                             *collect([Path(path) for path in paths], faults)]
    _, found = compile_with_faults(files)
    if faults or found:
        raise RuleError([str(fault) for fault in sorted([*faults, *found])])
    documents = [document.content for file in files for document in parse(file, [])]
    collection = SigmaCollection.from_dicts(documents)
    backend = backend_type(processing_pipeline=_pipeline(target))
    results: list[tuple[str, str]] = []
    shown = {id(rule) for rule in collection.get_output_rules()}
    for rule in collection.rules:  # what a correlation builds on comes before it
        try:
            if isinstance(rule, SigmaCorrelationRule):
                queries = backend.convert_correlation_rule(rule)
            else:
                queries = backend.convert_rule(rule)
            text = "\n".join(str(query) for query in queries)
        except (SigmaError, NotImplementedError) as error:
            text = f"# not convertible: {safe_str(' '.join(str(error).split()), 200)}"
        if id(rule) in shown:
            results.append((str(rule.title), text))
    return results


def _pipeline(target: str) -> object | None:
    """Our field names to those of the target: ECS for Elastic; Splunk indexes EVE lines as they are."""
    path = SHIPPED / "pipelines" / ("ecs.yml" if target in ("lucene", "esql", "eql") else f"{target}.yml")
    if not path.is_file():
        return None
    from sigma.processing.pipeline import ProcessingPipeline

    return ProcessingPipeline.from_yaml(path.read_text(encoding="utf-8"))
