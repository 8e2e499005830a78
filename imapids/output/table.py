"""The summary that a person reads in ten seconds: what matters first, each case with its why and what to do.

Plain ASCII in 80 columns, so that any terminal, mail and ticket shows it as it is; colours where they are wanted. Text
from the wire and from files is escaped here once more and never read as markup.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

import msgspec

from imapids.output.table_text import clock_span, count_list, number, one_line, span_of_time, why_line
from imapids.records.alerts import LEVELS, Alert
from imapids.records.events import Capture, Event, InputAccount, Session
from imapids.records.streams import Flow
from imapids.records.verdicts import VERDICTS

if TYPE_CHECKING:
    from rich.text import Text

CASES_SHOWN = 12
"""Cases in full: more than one screen is not read."""
CASES_HELD = 512
"""Cases remembered; beyond them the least severe ones are only counted."""
FINDINGS_HELD = 8
"""Findings of one case that are remembered; the rest is counted."""
SESSIONS_REMEMBERED = 1_024
"""Suspicious sessions whose evidence is kept until their alert comes, which is soon."""
NAMES_COUNTED = 64
"""Different protocols counted by name: names are a closed list, but saved events may say anything."""
INPUTS_SHOWN = 5

_RANK = {level: rank for rank, level in enumerate(LEVELS)}
_STYLES = {"critical": "bold white on red", "high": "bold red", "medium": "bold yellow", "low": "cyan",
           "informational": "dim"}
_DIRECTIONS = ("outbound", "inbound", "internal", "external", "unknown")
_INDENT = 7


class _Finding(msgspec.Struct):
    """One rule that held in a case."""

    title: str
    level: str
    count: int
    why: str
    advice: str
    subject: str
    techniques: list[str]


class _Case(msgspec.Struct):
    """Everything about one (client, server, server port)."""

    heading: str
    level: str
    first_ns: int
    last_ns: int
    direction: str
    nature: str
    seen: str = ""
    findings: dict[str, _Finding] = {}
    more: int = 0


class TableReport:
    """Collects results within fixed memory, and renders them once at the end."""

    def __init__(self, width: int = 80, color: bool = False) -> None:
        """`width`: columns, 60 at least; `color`: ANSI colours."""
        self._width = max(width, 60)
        self._color = color
        self._cases: dict[str, dict[str, _Case]] = {level: {} for level in LEVELS}
        self._level_of: dict[str, str] = {}
        self._findings: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._sessions: Counter[tuple[str, str]] = Counter()
        self._natures: Counter[str] = Counter()
        self._evidence: dict[int, str] = {}
        self._capture: Event | None = None

    def write(self, items: Sequence[Event | Alert]) -> None:
        """Takes results, in order; sessions must come before the alerts about them."""
        for item in items:
            if isinstance(item, Alert):
                self._add_alert(item)
            elif isinstance(item.body, Session):
                self._add_session(item, item.body)
            elif isinstance(item.body, Capture):
                self._capture = item

    def close(self) -> None:
        """Nothing is written before `render`."""

    def render(self, stream: TextIO) -> None:
        """Writes the summary."""
        from rich.console import Console  # 60 ms, and only people need it

        console = Console(
            file=stream, width=self._width, color_system="standard" if self._color else None,
            force_terminal=self._color, markup=False, highlight=False, emoji=False, legacy_windows=False,
        )
        for line in self._lines():
            console.print(line, soft_wrap=True)

    # ---------------------------------------------------------------- what is collected

    def _add_session(self, event: Event, body: Session) -> None:
        self._sessions[body.direction if body.direction in _DIRECTIONS else "unknown", body.verdict] += 1
        if body.verdict != "silent":
            nature = one_line(body.protocol or body.shape or "unknown", 40)
            if nature not in self._natures and len(self._natures) >= NAMES_COUNTED:
                nature = "others"
            self._natures[nature] += 1
        if event.flow is None or body.verdict in ("silent", "genuine") or not body.evidence:
            return  # what proves a genuine session explains no alert
        first = body.evidence[0]
        text = f"{first.code}: {first.text}" if first.text else first.code
        where = f" ({first.side}, packet {first.packet})" if first.packet else ""
        if len(self._evidence) >= SESSIONS_REMEMBERED:
            del self._evidence[next(iter(self._evidence))]
        self._evidence[event.flow.flow_id] = one_line(text, 120) + where

    def _add_alert(self, alert: Alert) -> None:
        level = alert.rule.level if alert.rule.level in _RANK else "informational"
        if alert.state == "new":
            self._findings[level] += 1
        case = self._case(alert, level)
        if case is None:
            return
        case.first_ns, case.last_ns = min(case.first_ns, alert.first_ns), max(case.last_ns, alert.last_ns)
        known = case.findings.get(alert.id)
        if known is not None:
            known.count = max(known.count, alert.count)
        elif alert.state == "new":
            if len(case.findings) >= FINDINGS_HELD:
                case.more += 1
                return
            case.findings[alert.id] = _Finding(
                one_line(alert.rule.title), level, alert.count, why_line(alert.why), one_line(alert.rule.advice, 600),
                one_line(alert.subject), [one_line(technique, 20) for technique in alert.rule.techniques[:4]],
            )

    def _case(self, alert: Alert, level: str) -> _Case | None:
        """The case of an alert, made where it is new; None where there is no room for it."""
        held = self._level_of.get(alert.case)
        if held is not None:
            case = self._cases[held][alert.case]
            case.nature = case.nature or _nature(alert)  # what fired first may not have known what the session is
            if _RANK[level] > _RANK[held]:
                del self._cases[held][alert.case]
                self._cases[level][alert.case] = case
                self._level_of[alert.case] = case.level = level
            return case
        if alert.state != "new" or not self._make_room(level):
            return None
        flow = alert.flow
        case = _Case(
            heading=_parties(flow) if flow is not None else one_line(alert.subject), level=level,
            first_ns=alert.first_ns, last_ns=alert.last_ns, direction=alert.direction, nature=_nature(alert),
            seen=self._evidence.get(flow.flow_id, "") if flow is not None else "",
        )
        self._cases[level][alert.case] = case
        self._level_of[alert.case] = level
        return case

    def _make_room(self, level: str) -> bool:
        """Whether a case of this level may be held; the newest of the least severe ones may have to go."""
        if len(self._level_of) < CASES_HELD:
            return True
        least = next(name for name in LEVELS if self._cases[name])
        if _RANK[level] <= _RANK[least]:
            self._dropped[level] += 1
            return False
        key, _ = self._cases[least].popitem()
        del self._level_of[key]
        self._dropped[least] += 1
        return True

    # ---------------------------------------------------------------- what is shown

    def _lines(self) -> Iterator[Text]:
        yield from self._head()
        yield from self._case_lines()
        yield from self._session_lines()
        yield from self._capture_lines()

    def _head(self) -> Iterator[Text]:
        capture = self._capture.body if self._capture is not None else None
        if isinstance(capture, Capture):
            names = [one_line(account.name) for account in capture.inputs]
            title = names[0] if len(names) == 1 else f"{number(len(names))} captures"
            yield _text(one_line(f"imapids: {title}", self._width), "bold")
            facts = (f"{number(capture.packets, 'packet')}, {number(capture.flows, 'flow')}, "
                     f"{number(capture.sessions, 'session')}")
            when = span_of_time(capture.start, capture.end)
            yield from self._wrapped(f"{facts}; {when}" if when else facts, 2)
            if capture.interrupted:
                yield _text("  interrupted: results so far", "bold yellow")
        yield _text("")

    def _case_lines(self) -> Iterator[Text]:
        total = sum(self._findings.values())
        if not total:
            yield _text("No findings.", "bold")
            return
        cases = [case for level in reversed(LEVELS) for case in
                 sorted(self._cases[level].values(), key=lambda case: (-_weight(case), case.first_ns))]
        hidden = Counter({level: count for level, count in self._dropped.items() if count})
        hidden.update(case.level for case in cases[CASES_SHOWN:])
        yield _text(f"{number(total, 'finding')} in {number(len(cases) + sum(self._dropped.values()), 'case')}: "
                    f"{_by_level(self._findings)}", "bold")
        advised: set[str] = set()
        for case in cases[:CASES_SHOWN]:
            yield _text("")
            yield from self._one_case(case, advised)
        if hidden:
            yield _text("")
            yield from self._wrapped(f"and {number(sum(hidden.values()), 'more case')} ({_by_level(hidden)}): "
                                     "see --format jsonl", 0)

    def _one_case(self, case: _Case, advised: set[str]) -> Iterator[Text]:
        """`advised`: advice that was given already; nobody reads the same words twice."""
        facts = [case.heading, case.direction if case.direction != "unknown" else "", case.nature,
                 clock_span(case.first_ns, case.last_ns)]
        lines = textwrap.wrap("  ".join(fact for fact in facts if fact), self._width - _INDENT, break_on_hyphens=False)
        for index, line in enumerate(lines):
            head = _text(f"{_short(case.level) if not index else '':<{_INDENT}}", _STYLES[case.level])
            yield head.append(line, style="bold")
        advice = ""
        for finding in sorted(case.findings.values(), key=lambda item: -_RANK[item.level]):
            tail = f" ({', '.join(finding.techniques)})" if finding.techniques else ""
            times = f"{number(finding.count)} x " if finding.count > 1 else ""
            yield from self._wrapped(f"{times}{finding.title}{tail}", _INDENT)
            yield _labelled("why", one_line(finding.why, self._width - _INDENT - 6))
            advice = advice or finding.advice
        if case.more:
            yield from self._wrapped(f"and {number(case.more, 'more finding')}", _INDENT)
        if case.seen:
            yield _labelled("seen", one_line(case.seen, self._width - _INDENT - 6))
        if advice not in advised:
            advised.add(advice)
            for index, line in enumerate(textwrap.wrap(advice, self._width - _INDENT - 6)[:4]):
                yield _labelled("do" if not index else "", line)

    def _session_lines(self) -> Iterator[Text]:
        if not self._sessions:
            return
        yield _text("")
        columns = [verdict for verdict in VERDICTS if any(self._sessions[place, verdict] for place in _DIRECTIONS)]
        yield _text(f"{'Sessions':<12}" + "".join(f"{verdict:>11}" for verdict in columns), "bold")
        for place in _DIRECTIONS:
            counts = [self._sessions[place, verdict] for verdict in columns]
            if any(counts):
                yield _text(f"  {place:<10}" + "".join(f"{number(count) if count else '-':>11}" for count in counts))
        if self._natures:
            yield from self._wrapped("  protocols: " + count_list(self._natures, 12), 4)

    def _capture_lines(self) -> Iterator[Text]:
        body = self._capture.body if self._capture is not None else None
        if not isinstance(body, Capture):
            return
        yield _text("")
        yield _text("Capture", "bold")
        skipped = sum(body.skipped.values())
        text = f"  {number(body.processed)} of {number(body.packets, 'packet')} processed"
        if skipped:
            text += f"; skipped: {count_list(body.skipped, 8)}"
        yield from self._wrapped(text, 4)
        partly = [
            f"{number(body.one_sided, 'one-sided flow')}" if body.one_sided else "",
            f"{number(body.midstream, 'flow')} without a beginning" if body.midstream else "",
            f"{body.capture_loss:.2f} % of the payload missing" if body.capture_loss >= 0.005 else "",
        ]
        if any(partly):
            yield from self._wrapped("  partly seen: " + ", ".join(part for part in partly if part), 4)
        for label, counts in (("limits hit", body.limits), ("odd", body.notes)):
            if counts:
                yield from self._wrapped(f"  {label}: {count_list(counts, 8)}", 4)
        yield from self._input_lines(body.inputs)

    def _input_lines(self, inputs: list[InputAccount]) -> Iterator[Text]:
        """Inputs that are not whole, at most a few."""
        faulty = [account for account in inputs if account.status != "ok"]
        for account in faulty[:INPUTS_SHOWN]:
            what = account.damage[0] if account.damage else ""
            what = what if what.startswith(account.name) else f"{account.name}: {what}" if what else account.name
            yield from self._wrapped(f"  {account.status}: {one_line(what, 300)}", 4, "yellow")
        if len(faulty) > INPUTS_SHOWN:
            yield _text(f"  and {number(len(faulty) - INPUTS_SHOWN, 'more input')} that are not whole", "yellow")

    def _wrapped(self, text: str, indent: int, style: str = "") -> Iterator[Text]:
        """Lines of at most the width; all begin at the indent but for what `text` itself begins with."""
        first = text[: len(text) - len(text.lstrip())] or " " * indent
        lines = textwrap.wrap(one_line(text, 2_000), self._width, initial_indent=first, break_on_hyphens=False,
                              subsequent_indent=" " * indent)
        for line in lines:
            yield _text(line, style)


def _text(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(text, style=style)


def _labelled(label: str, text: str) -> Text:
    return _text(f"{'':<{_INDENT}}").append(f"{label:<6}", style="dim").append(text)


def _short(level: str) -> str:
    """A level in the few columns before a case."""
    return {"critical": "CRIT", "medium": "MED", "informational": "INFO"}.get(level, level.upper())


def _by_level(counts: Counter[str]) -> str:
    return ", ".join(f"{number(counts[level])} {level}" for level in reversed(LEVELS) if counts[level])


def _weight(case: _Case) -> int:
    """How much there is to a case, among those of one level: different findings first, then how often."""
    often = sum(finding.count for finding in case.findings.values())
    return 1_000_000 * (len(case.findings) + case.more) + min(often, 999_999)


def _nature(alert: Alert) -> str:
    """What the session of an alert is, where the alert knows: `not-imap: ssh`."""
    nature, kind = alert.verdict, alert.protocol or alert.shape
    if kind and kind != nature:
        nature = f"{nature}: {kind}" if nature else kind
    return one_line(nature, 60)


def _parties(flow: Flow) -> str:
    """`client > server:port`."""
    server = f"[{flow.server}]" if ":" in flow.server else flow.server
    kind = "" if flow.protocol == "TCP" else f"/{flow.protocol.lower()}"
    return one_line(f"{flow.client} > {server}:{flow.server_port}{kind}", 120)
