"""The keys that a rule document may have: Sigma's, and ours under `imapids:`. An unknown key is an error."""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Callable
from typing import Any

from imapids.detect.compiled import SUBJECTS
from imapids.detect.fields import CATEGORIES
from imapids.detect.rule_files import Document, Fault, Path_
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
_TYPES: dict[Path_, str] = {
    **{(key,): "text" for key in ("title", "id", "name", "status", "description", "license", "author", "level",
                                  "taxonomy")},
    **{(key,): "texts" for key in ("references", "tags", "falsepositives", "fields", "scope")},
    **{("logsource", key): "text" for key in ("product", "category", "service", "definition")},
    ("correlation", "type"): "text", ("correlation", "rules"): "text or texts",
    ("correlation", "group-by"): "text or texts", ("correlation", "timespan"): "text",
    ("correlation", "aliases"): "table", ("correlation", "generate"): "yes or no",
    ("correlation", "condition", "field"): "text or texts",
    ("filter", "rules"): "text or texts", ("filter", "condition"): "text",
    ("imapids", "advice"): "text", ("imapids", "labels"): "texts", ("imapids", "subject"): "text",
    ("imapids", "samples", "fires"): "text or texts", ("imapids", "samples", "silent"): "text or texts",
}
"""Types of the values that are read by name; what stands in a detection is Sigma's own affair."""
_FITS: dict[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "texts": lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
    "text or texts": lambda value: isinstance(value, str) or _FITS["texts"](value),
    "yes or no": lambda value: isinstance(value, bool),
    "table": lambda value: isinstance(value, dict) and all(
        isinstance(inner, dict) and all(isinstance(item, str) for item in inner.values()) for inner in value.values()
    ),
}
_SPOKEN = {"texts": "a list of texts", "text or texts": "text or a list of texts", "table": "tables of texts"}


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
    _check_types(document, faults)
    title = content.get("title")
    if not isinstance(title, str) or not title.strip():
        faults.append(Fault(document.file, document.line("title"), "has no title"))
    if "correlation" in content:
        _unknown(document, ("correlation",), content["correlation"], CORRELATION_KEYS, faults)
    else:
        _check_logsource(document, faults)
    _check_own(document, faults)
    return len(faults) == before


def _check_types(document: Document, faults: list[Fault]) -> None:
    """Faults for values of a wrong type. A key without a value counts as left out."""
    for path, kind in _TYPES.items():
        value: Any = document.content
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None and not _FITS[kind](value):
            faults.append(Fault(document.file, document.line(*path), f"{'.'.join(map(str, path))} must be "
                                + _SPOKEN.get(kind, kind)))


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
    if isinstance(category, str) and category not in CATEGORIES:
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
    if isinstance(own.get("subject"), str) and own["subject"] not in SUBJECTS:
        wrong("subject", f'is "{safe_str(str(own["subject"]))}": must be one of {", ".join(SUBJECTS)}')
    if "expires" in own:
        _check_date(own["expires"], wrong)
    if "samples" in own:
        _unknown(document, ("imapids", "samples"), own["samples"], SAMPLES, faults)


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
