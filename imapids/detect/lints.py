"""Advice on rules that work and could be better: one small class for each habit, with a test of its own.

A lint looks at one document and answers with the place that it is about, or with nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, ClassVar

from imapids.detect.rule_files import Document, Fault, Path_
from imapids.detect.rule_keys import own_keys


class Lint:
    """A habit of good rules. `check` gives the place of a breach, or None."""

    name: ClassVar[str]
    advice: ClassVar[str]
    for_filters: ClassVar[bool] = False
    """It looks at allow-lists too."""

    def check(self, document: Document) -> Path_ | None:
        """Keys that lead to what is wrong."""
        raise NotImplementedError


def feeds_only(document: Document) -> bool:
    """A rule that is there to feed correlations: informational, and without a sid."""
    return document.content.get("level") == "informational" and "sid" not in own_keys(document)


class NamesNoId(Lint):
    """Alert ids and filters build on it."""

    name = "rule has no id"
    advice = "add id: a new UUID (imapids rules new writes one)"
    for_filters = True

    def check(self, document: Document) -> Path_ | None:
        return None if document.content.get("id") else ()


class NamesNoSid(Lint):
    """EVE consumers show and filter by signature_id."""

    name = "rule has no sid"
    advice = "add imapids: sid: a number of your own from 1000000 to 1142999"

    def check(self, document: Document) -> Path_ | None:
        return None if "sid" in own_keys(document) else ("imapids",)


class SaysNothing(Lint):
    """Who gets the alert did not write the rule."""

    name = "rule has no description"
    advice = "add description: what was seen, and why it matters, in two sentences"

    def check(self, document: Document) -> Path_ | None:
        text = document.content.get("description")
        return None if isinstance(text, str) and len(text) >= 40 else ("description",)


class AdvisesNothing(Lint):
    """An alert says what to do."""

    name = "rule gives no advice"
    advice = "add imapids: advice: what the reader should do first"

    def check(self, document: Document) -> Path_ | None:
        return None if str(own_keys(document).get("advice", "")).strip() else ("imapids",)


class NamesNoLevel(Lint):
    """Without one it counts as medium."""

    name = "rule has no level"
    advice = "add level: informational, low, medium, high or critical"

    def check(self, document: Document) -> Path_ | None:
        return None if document.content.get("level") else ()


class NamesNoFalsePositives(Lint):
    """Every rule has some, or says that none is known."""

    name = "rule names no false positives"
    advice = "add falsepositives: what harmless thing looks alike"

    def check(self, document: Document) -> Path_ | None:
        return None if document.content.get("falsepositives") else ("falsepositives",)


class NamesNoTechnique(Lint):
    """SIEMs group alerts by ATT&CK technique."""

    name = "rule names no ATT&CK technique"
    advice = "add tags: [attack.t....]"
    _technique = re.compile(r"attack\.t\d{4}(\.\d{3})?")

    def check(self, document: Document) -> Path_ | None:
        tags = document.content.get("tags") or []
        return None if any(self._technique.fullmatch(str(tag)) for tag in tags) else ("tags",)


class NamesNoSample(Lint):
    """A rule that was never seen to fire, or to be silent, is a guess."""

    name = "rule names no sample that stays silent"
    advice = "add imapids: samples: {fires: a sample or capture, silent: one that must not fire}"

    def check(self, document: Document) -> Path_ | None:
        samples = own_keys(document).get("samples")
        return None if isinstance(samples, dict) and samples.get("silent") else ("imapids", "samples")


class TitleTooLong(Lint):
    """Titles stand in one line of a table."""

    name = "title is longer than 90 characters"
    advice = "say what was seen; the reasons belong into the description"
    for_filters = True

    def check(self, document: Document) -> Path_ | None:
        return ("title",) if len(str(document.content.get("title", ""))) > 90 else None


class HasNoCategory(Lint):
    """It is asked for every event of every kind."""

    name = "rule has no category"
    advice = "add logsource: category: the type of event that it looks at"

    def check(self, document: Document) -> Path_ | None:
        source = document.content.get("logsource")
        return ("logsource",) if isinstance(source, dict) and not source.get("category") else None


class OnlyExcludes(Lint):
    """It matches nearly everything."""

    name = "condition only excludes"
    advice = "name what must be there, not only what must not"

    def check(self, document: Document) -> Path_ | None:
        detection = document.content.get("detection")
        conditions = detection.get("condition") if isinstance(detection, dict) else None
        for condition in conditions if isinstance(conditions, list) else [conditions]:
            words = str(condition or "").replace("(", " ( ").split()
            if words and words[0] == "not" and "(" not in words and all(
                words[place + 1] == "not" for place, word in enumerate(words[:-1]) if word in ("and", "or")
            ):
                return ("detection", "condition")
        return None


class NamesLikeAnOperator(Lint):
    """pySigma 1 reads `nothing` in a condition as `not hing`."""

    name = "selection begins like an operator"
    advice = "give it a name that does not begin with and, or, not"
    for_filters = True

    def check(self, document: Document) -> Path_ | None:
        for top in ("detection", "filter"):
            inner = document.content.get(top)
            for name in inner if isinstance(inner, dict) else ():
                if str(name).startswith(("not", "and", "or")):
                    return (top, name)
        return None


class NeverExpires(Lint):
    """Nobody remembers why it was allowed."""

    name = "allow-list never expires"
    advice = "add imapids: expires: a day; allow it again then if it is still wanted"
    for_filters = True

    def check(self, document: Document) -> Path_ | None:
        if "filter" not in document.content:
            return None
        return None if own_keys(document).get("expires") else ("imapids",)


class AllowsEverything(Lint):
    """It silences every rule of the category."""

    name = "allow-list applies to any rule"
    advice = "name the rules that it is about under filter: rules:"
    for_filters = True

    def check(self, document: Document) -> Path_ | None:
        inner = document.content.get("filter")
        rules: Any = inner.get("rules") if isinstance(inner, dict) else None
        return ("filter", "rules") if isinstance(rules, str) and rules.lower() == "any" else None


LINTS: tuple[Lint, ...] = (
    NamesNoId(), NamesNoSid(), NamesNoLevel(), SaysNothing(), AdvisesNothing(), NamesNoFalsePositives(),
    NamesNoTechnique(), NamesNoSample(), TitleTooLong(), HasNoCategory(), OnlyExcludes(), NamesLikeAnOperator(),
    NeverExpires(), AllowsEverything(),
)
"""In the order in which a writer would mend them."""


def lint(documents: Iterable[Document]) -> list[Fault]:
    """Advice on all documents, and on numbers that two of them share."""
    found: list[Fault] = []
    sids: dict[int, Document] = {}
    for document in documents:
        is_filter = "filter" in document.content
        for item in LINTS:
            if (is_filter and not item.for_filters) or (not is_filter and feeds_only(document)):
                continue
            place = item.check(document)
            if place is not None:
                found.append(Fault(document.file, document.line(*place), f"{item.name}: {item.advice}", "advice"))
        sid = own_keys(document).get("sid")
        if isinstance(sid, int) and sid in sids:
            other = sids[sid]
            text = f"sid {sid} is that of {other.file}:{other.line()} too: give each rule its own"
            found.append(Fault(document.file, document.line("imapids", "sid"), text, "advice"))
        elif isinstance(sid, int):
            sids[sid] = document
    return sorted(found)
