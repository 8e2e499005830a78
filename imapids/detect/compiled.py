"""The compiled form of a rule set: plain records that can be stored as JSON, no code and no pySigma in them.

A condition is a tree over *atoms*; an atom asks one question about one field. Equal atoms of all rules are one
atom, so that a question is asked once however many rules ask it.
"""

from __future__ import annotations

import msgspec

from imapids.records.alerts import RuleInfo

COMPILER_VERSION = 1
"""Raise it with every change of this form or of its meaning: older cached rule sets are then compiled anew."""

TEXT_OPERATORS = ("equals", "contains", "startswith", "endswith", "wildcard")
NUMBER_OPERATORS = ("=", "<", "<=", ">", ">=", "!=")
SUBJECTS = ("case", "source", "server", "flow", "user")
CORRELATIONS = ("event_count", "value_count", "temporal", "temporal_ordered", "value_sum", "value_avg",
                "value_percentile", "value_median")


class Atom(msgspec.Struct, frozen=True, omit_defaults=True):
    """One question about one field of an event."""

    field: str
    """Sigma name of the field; empty: any text of the event (a Sigma keyword)."""
    operator: str
    """One of TEXT_OPERATORS or NUMBER_OPERATORS; or `is` (a boolean), `regex`, `cidr`, `absent`, `present`, `field`."""
    value: str | int | float | bool | None = None
    """What is compared with."""
    parts: tuple[str, ...] = ()
    """`wildcard`: text, wildcard, text, wildcard ... text; a wildcard is `*` or `?`."""
    cased: bool = False
    """Text: upper and lower case differ."""
    flags: str = ""
    """`regex`: letters of i, m, s. `field`: how the other one is compared (equals, contains, startswith, endswith)."""
    part: str = ""
    """Compare this part of a point in time (minute, hour, day, week, month, year) instead of the value."""


class Node(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True):
    """A node of a condition: `all` or `any` of its children, `not` of its only child, or an `atom`."""

    kind: str
    atom: int = -1
    """Place of the atom in RuleSet.atoms."""
    children: tuple[Node, ...] = ()


class Rule(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A condition on single events."""

    info: RuleInfo
    category: str
    """Event type; empty: every type."""
    condition: Node
    subject: str = "case"
    """What one rolling alert stands for: SUBJECTS."""
    labels: list[str] = []
    output: bool = True
    """False: it only feeds a correlation."""
    file: str = ""
    line: int = 0
    samples_fire: list[str] = []
    samples_silent: list[str] = []
    filters: list[int] = []
    """Places of the filters that apply, in RuleSet.filters."""


class Filter(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An allow-list: what its condition refuses raises no alert, until the filter expires."""

    id: str
    title: str
    condition: Node
    """Holds for events that may still raise an alert (Sigma filters say `not selection`)."""
    expires_ns: int = 0
    """Packet time from which the filter no longer acts; 0: never."""
    expires: str = ""
    rules: int = 0
    """Rules that it applies to."""
    file: str = ""
    line: int = 0


class Correlation(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A condition on several events of one group within a span of packet time."""

    info: RuleInfo
    kind: str
    """One of CORRELATIONS."""
    bases: list[int]
    """The rules it counts: places in RuleSet.rules; a correlation has its place after all rules."""
    span_ns: int
    group_by: list[str] = []
    aliases: dict[str, list[str]] = {}
    """For names in group_by that are aliases: the field to take for each of `bases`, in their order."""
    operator: str = ">="
    threshold: float = 1
    fields: list[str] = []
    """The fields whose values are counted, added ..."""
    percentile: int = 50
    expression: Node | None = None
    """temporal: a boolean condition; its atoms are places in `bases`."""
    subject: str = ""
    """Empty: the values of group_by."""
    labels: list[str] = []
    output: bool = True
    file: str = ""
    line: int = 0
    samples_fire: list[str] = []
    samples_silent: list[str] = []


class RuleSet(msgspec.Struct, kw_only=True, omit_defaults=True):
    """All rules of a run, compiled; `Detector` evaluates them."""

    version: int = COMPILER_VERSION
    key: str = ""
    """Hash of the files it was compiled from."""
    atoms: list[Atom] = []
    rules: list[Rule] = []
    correlations: list[Correlation] = []
    filters: list[Filter] = []
    notes: list[str] = []
    """What is no fault but worth saying: a filter that matches no rule."""

    def infos(self) -> list[RuleInfo]:
        """What alerts may say of a rule: the rules and correlations that raise alerts, by sid."""
        shown = [rule.info for rule in self.rules if rule.output]
        shown += [rule.info for rule in self.correlations if rule.output]
        return sorted(shown, key=lambda info: (info.sid, info.id))

    def expired(self, time_ns: int) -> list[Filter]:
        """Filters that no longer act at this time (nanoseconds since 1970)."""
        return [item for item in self.filters if item.expires_ns and item.expires_ns <= time_ns]
