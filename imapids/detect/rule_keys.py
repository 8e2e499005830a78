"""The keys that a rule document may have: Sigma's, and ours under `imapids:`. An unknown key is an error."""

from __future__ import annotations

import datetime as dt
import difflib
from typing import Any

from imapids.detect.compiled import SUBJECTS
from imapids.detect.fields import CATEGORIES
from imapids.detect.rule_files import Document, Fault
from imapids.protocols.text import safe_str
from imapids.records.alerts import RuleInfo

COMMON = frozenset({
    "title", "id", "name", "related", "status", "description", "license", "references", "author", "date", "modified",
    "tags", "level", "falsepositives", "fields", "taxonomy", "scope", "imapids",
})
"""Keys of every Sigma document (specification 2.1), and ours."""
RULE = COMMON | {"logsource", "detection"}
CORRELATION = COMMON | {"correlation"}
FILTER = COMMON | {"logsource", "filter"}
CORRELATION_KEYS = frozenset({"type", "rules", "group-by", "timespan", "condition", "aliases", "generate"})
LOGSOURCE = frozenset({"product", "category", "service", "definition"})
OWN = frozenset({"sid", "rev", "subject", "advice", "samples", "labels", "expires"})
SAMPLES = frozenset({"fires", "silent"})


def nearest(word: str, known: list[str]) -> str:
    """` Did you mean "x"?` for the most similar known word, or nothing."""
    found = difflib.get_close_matches(word[:100], known, n=1, cutoff=0.6)
    return f'. Did you mean "{found[0]}"?' if found else ""


def own_keys(document: Document) -> dict[str, Any]:
    """What stands under `imapids:`."""
    own = document.content.get("imapids")
    return own if isinstance(own, dict) else {}


def check_keys(document: Document, faults: list[Fault]) -> bool:
    """Whether all keys are known and of the right type; faults go to the list."""
    before = len(faults)
    content = document.content
    if "correlation" in content:
        allowed = CORRELATION
    elif "filter" in content:
        allowed = FILTER
    else:
        allowed = RULE
    _unknown(document, (), content, allowed, faults)
    if document.role == "filter" and "filter" not in content:
        faults.append(Fault(document.file, document.line(), "is no filter: an allow-list holds Sigma filters only"))
    title = content.get("title")
    if not isinstance(title, str) or not title.strip():
        faults.append(Fault(document.file, document.line("title"), "has no title"))
    if "correlation" in content:
        _unknown(document, ("correlation",), content["correlation"], CORRELATION_KEYS, faults)
    else:
        _check_logsource(document, faults)
    _check_own(document, faults)
    return len(faults) == before


def _unknown(document: Document, path: tuple[str, ...], content: Any, allowed: frozenset[str],
             faults: list[Fault]) -> None:
    if not isinstance(content, dict):
        faults.append(Fault(document.file, document.line(*path), f"{'.'.join(path)} must be a mapping"))
        return
    for key in content:
        if key not in allowed:
            where = f" in {'.'.join(path)}" if path else ""
            faults.append(Fault(document.file, document.line(*path, key),
                                f'unknown key "{safe_str(str(key))}"{where}' + nearest(str(key), sorted(allowed))))


def _check_logsource(document: Document, faults: list[Fault]) -> None:
    source = document.content.get("logsource")
    if not isinstance(source, dict):
        faults.append(Fault(document.file, document.line("logsource"), "has no logsource (product, category)"))
        return
    _unknown(document, ("logsource",), source, LOGSOURCE, faults)
    product, category = source.get("product"), source.get("category")
    if product != "imapids" and not ("filter" in document.content and product is None):
        faults.append(Fault(document.file, document.line("logsource", "product"),
                            f'logsource product is "{safe_str(str(product))}": only rules for "imapids" can run here'))
    if category is not None and category not in CATEGORIES:
        faults.append(Fault(document.file, document.line("logsource", "category"),
                            f'unknown category "{safe_str(str(category))}"' + nearest(str(category), list(CATEGORIES))))


def _check_own(document: Document, faults: list[Fault]) -> None:
    own = document.content.get("imapids")
    if own is None:
        return

    def wrong(key: str, message: str) -> None:
        faults.append(Fault(document.file, document.line("imapids", key), f"imapids.{key} {message}"))

    _unknown(document, ("imapids",), own, OWN, faults)
    if not isinstance(own, dict):
        return
    sid, rev = own.get("sid", 1_143_001), own.get("rev", 1)
    if not isinstance(sid, int) or isinstance(sid, bool) or not 1_000_000 <= sid <= 1_999_999:
        wrong("sid", "must be a number from 1000000 to 1999999 (the local range)")
    if not isinstance(rev, int) or isinstance(rev, bool) or not 1 <= rev <= 1_000_000:
        wrong("rev", "must be a number from 1")
    if "subject" in own and own["subject"] not in SUBJECTS:
        wrong("subject", f'is "{safe_str(str(own["subject"]))}": must be one of {", ".join(SUBJECTS)}')
    if not isinstance(own.get("advice", ""), str):
        wrong("advice", "must be text")
    if "expires" in own:
        _check_date(own["expires"], wrong)
    if "samples" in own:
        _unknown(document, ("imapids", "samples"), own["samples"], SAMPLES, faults)
    labels = own.get("labels", [])
    if not isinstance(labels, list) or any(not isinstance(label, str) for label in labels):
        wrong("labels", "must be a list of words")


def _check_date(value: Any, wrong: Any) -> None:
    try:
        day = dt.date.fromisoformat(str(value))
        if not 1970 < day.year < 2200:
            raise ValueError(f"{day} is out of range")
    except ValueError:
        wrong("expires", f'is "{safe_str(str(value))}": must be a day like 2027-01-31')


def shared_keys(document: Document, info: RuleInfo) -> dict[str, Any]:
    """What rules and correlations have alike."""
    own = own_keys(document)
    samples = own.get("samples", {})
    return {
        "labels": own.get("labels") or ([f"imapids-{info.family}"] if info.family else []),
        "file": document.file, "line": document.line(),
        "samples_fire": _listed(samples.get("fires")), "samples_silent": _listed(samples.get("silent")),
    }


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
