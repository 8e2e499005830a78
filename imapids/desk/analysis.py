"""What a run found, as an analyst holds it: data frames, single sessions, and files to hand over."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pandas as pd

from imapids.desk import frames
from imapids.desk.cases import Case, CaseBook
from imapids.desk.explain import Explanation, read_dialogue
from imapids.desk.session_view import SessionView
from imapids.errors import UsageError
from imapids.output.table_text import number
from imapids.records.alerts import LEVELS, Alert
from imapids.records.events import Event, Session
from imapids.records.verdicts import VERDICTS
from imapids.run.options import RunOptions

if TYPE_CHECKING:
    from imapids.run.local import RunResult

FRAMES = {
    "sessions": "session", "flows": "flow", "commands": "command", "logins": "login", "tls": "tls",
    "messages": "message", "scans": "scan", "beacons": "beacon", "exposure": "exposure", "signatures": "signature",
    "indicators": "indicator", "anomalies": "anomaly", "capture": "capture", "guessing": "guessing",
    "mailboxes": "mailbox", "services": "service",
}
"""Frames that have one row for each event of a type."""


class Analysis:
    """Events and alerts of a run, and the data frames that they make; frames are built when they are first asked for.

    Every frame has the same columns and dtypes however many rows there are (docs/reference/frames.md). They join by
    `flow_id` (one conversation) and by `case` (one client, server and server port).
    """

    def __init__(self, records: Iterable[Event | Alert], *, captures: Sequence[str] = (),
                 options: RunOptions | None = None, result: RunResult | None = None) -> None:
        """
        Args:
            records: events and alerts, in the order in which they became known.
            captures: where they come from; `session` reads the dialogue there.
            options: what the run was asked to do.
            result: the run's account, where there was one.
        """
        self.records = list(records)
        self.captures = tuple(captures)
        self.options = options or RunOptions()
        self.result = result

    @cached_property
    def _events(self) -> dict[str, list[Event]]:
        """Events by type."""
        found: dict[str, list[Event]] = {}
        for record in self.records:
            if isinstance(record, Event):
                found.setdefault(record.kind, []).append(record)
        return found

    @cached_property
    def _book(self) -> CaseBook:
        book = CaseBook()
        for event in self.events("session"):
            assert isinstance(event.body, Session)
            book.see_session(event, event.body)
        for record in self.records:
            if isinstance(record, Alert):
                book.see_alert(record)
        return book

    def events(self, kind: str) -> list[Event]:
        """The records of an event type: `session`, `login`, `tls`, ..."""
        return self._events.get(kind, [])

    @cached_property
    def alert_records(self) -> list[Alert]:
        """Each alert in its last state (count, end), with the time at which it was new; in order of time."""
        first = {record.id: record.time_ns for record in reversed(self.records) if isinstance(record, Alert)}
        last = [msgspec.structs.replace(alert, time_ns=first[alert.id]) for alert in self._book.alerts]
        return sorted(last, key=lambda alert: (alert.time_ns, alert.id))

    @cached_property
    def case_records(self) -> list[Case]:
        """The cases, the gravest first."""
        return self._book.cases()

    # ---- frames -----------------------------------------------------------------------------------------------------

    def frame(self, kind: str) -> pd.DataFrame:
        """The frame of an event type, one row for each event, also of types that have no attribute of their own."""
        return frames.event_frame(kind, self.events(kind))

    @cached_property
    def sessions(self) -> pd.DataFrame:
        """One row for each conversation on a watched port, and for IMAP elsewhere: what it is and how sure that is."""
        return self.frame("session")

    @cached_property
    def flows(self) -> pd.DataFrame:
        """One row for each conversation that was followed: packets, bytes, times, end."""
        return self.frame("flow")

    @cached_property
    def alerts(self) -> pd.DataFrame:
        """One row for each alert, in its last state."""
        return frames.alert_frame(self.alert_records)

    @cached_property
    def cases(self) -> pd.DataFrame:
        """One row for each client, server and server port: the gravest first."""
        return frames.case_frame(self.case_records)

    @cached_property
    def commands(self) -> pd.DataFrame:
        """One row for each IMAP command, with its result."""
        return self.frame("command")

    @cached_property
    def logins(self) -> pd.DataFrame:
        """One row for each attempt to sign in; secrets only as keyed hashes."""
        return self.frame("login")

    @cached_property
    def tls(self) -> pd.DataFrame:
        """One row for each TLS handshake, direct or after STARTTLS."""
        return self.frame("tls")

    @cached_property
    def messages(self) -> pd.DataFrame:
        """One row for each use of a mailbox: fetched, stored, searched, removed."""
        return self.frame("message")

    @cached_property
    def scans(self) -> pd.DataFrame:
        """Counts of who asked how many hosts and ports."""
        return self.frame("scan")

    @cached_property
    def beacons(self) -> pd.DataFrame:
        """How regular the connections of a pair are."""
        return self.frame("beacon")

    @cached_property
    def guessing(self) -> pd.DataFrame:
        """Counts of logins by source, user and server."""
        return self.frame("guessing")

    @cached_property
    def mailboxes(self) -> pd.DataFrame:
        """Counts of how a pair uses mailboxes."""
        return self.frame("mailbox")

    @cached_property
    def services(self) -> pd.DataFrame:
        """One row for each conversation on another mail port: what its first bytes say of the server."""
        return self.frame("service")

    @cached_property
    def exposure(self) -> pd.DataFrame:
        """Which mail services are there, and who reaches them."""
        return self.frame("exposure")

    @cached_property
    def signatures(self) -> pd.DataFrame:
        """One row for each YARA rule that matched the first bytes of a side."""
        return self.frame("signature")

    @cached_property
    def indicators(self) -> pd.DataFrame:
        """One row for each indicator that matched."""
        return self.frame("indicator")

    @cached_property
    def anomalies(self) -> pd.DataFrame:
        """One row for each oddity on the wire."""
        return self.frame("anomaly")

    @cached_property
    def capture(self) -> pd.DataFrame:
        """What the run could and could not see."""
        return self.frame("capture")

    @cached_property
    def evidence(self) -> pd.DataFrame:
        """One row for each piece of evidence of a session."""
        return frames.detail_frame("evidence", self.events("session"))

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row for each earlier verdict of a session that later bytes contradicted."""
        return frames.detail_frame("history", self.events("session"))

    @cached_property
    def inputs(self) -> pd.DataFrame:
        """One row for each input: what became of it."""
        return frames.detail_frame("inputs", self.events("capture"))

    # ---- one session ------------------------------------------------------------------------------------------------

    def session(self, flow_id: int) -> SessionView:
        """One session: verdict, evidence, alerts, and the dialogue, which is read from the captures again.

        Raises UsageError where there is no such session, InputError where the captures cannot be read.
        """
        wanted = int(flow_id)
        found = [event for event in self.events("session") if event.flow is not None and event.flow.flow_id == wanted]
        if not found:
            raise UsageError(f"no session has flow_id {wanted}; analysis.sessions lists those that are there")
        alerts = [alert for alert in self.alert_records if alert.flow is not None and alert.flow.flow_id == wanted]
        alerts.sort(key=lambda alert: -LEVELS.index(alert.rule.level) if alert.rule.level in LEVELS else 0)
        if not self.captures or "-" in self.captures:
            return SessionView(found[0], alerts, None)
        explanation = read_dialogue(self.captures, self.options, found[0], alerts)
        return SessionView(found[0], alerts, explanation)

    # ---- to look at, and to hand over ------------------------------------------------------------------------------

    def _counts(self) -> tuple[Counter[str], Counter[str]]:
        verdicts = Counter(getattr(event.body, "verdict", "") for event in self.events("session"))
        return Counter(alert.rule.level for alert in self.alert_records), verdicts

    def __repr__(self) -> str:
        levels, verdicts = self._counts()
        return (f"<Analysis: {number(verdicts.total(), 'session')} ({_listed(verdicts, VERDICTS)}), "
                f"{number(levels.total(), 'alert')} ({_listed(levels, tuple(reversed(LEVELS)))})>")

    def _repr_html_(self) -> str:
        """For notebooks: counts, and the gravest cases; every text is escaped."""
        levels, verdicts = self._counts()
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(value))}</td>" for value in (
                case.level or "-", case.client, f"{case.server}:{case.server_port}", case.verdict, case.protocol,
                case.title, case.alerts, case.sessions)) + "</tr>" for case in self.case_records[:10])
        head = "".join(f"<th>{name}</th>" for name in (
            "level", "client", "server", "verdict", "protocol", "gravest alert", "alerts", "sessions"))
        return (f"<p><b>{number(verdicts.total(), 'session')}</b> ({html.escape(_listed(verdicts, VERDICTS))}), "
                f"<b>{number(levels.total(), 'alert')}</b> "
                f"({html.escape(_listed(levels, tuple(reversed(LEVELS))))})</p>"
                f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")

    def to_jsonl(self, path: str | Path) -> None:
        """Writes every record as an EVE line; `imapids.load` reads them again. Whole or not at all, mode 0600."""
        from imapids.output.eve import encode_lines
        from imapids.output.files import whole_binary_file

        with whole_binary_file(str(path)) as write:
            for start in range(0, len(self.records), 4_096):
                write(encode_lines(self.records[start:start + 4_096]))

    def to_parquet(self, folder: str | Path) -> list[Path]:
        """Writes each frame that has rows to `folder/<frame>.parquet`, and gives the files (extra `parquet`)."""
        from imapids.desk.parquet import write_frames

        return write_frames(self, folder)

    def to_html(self, path: str | Path) -> None:
        """Writes the report: one file that needs no network (extra `report`); whole or not at all, mode 0600."""
        from imapids.desk.report import write_report

        def explain(event: Event, alerts: list[Alert]) -> Explanation | None:
            return read_dialogue(self.captures, self.options, event, alerts)

        write_report(self.records, path, explain if self.captures and "-" not in self.captures else None)


def _listed(counts: Counter[str], order: Sequence[str]) -> str:
    """`2 mimic, 1 silent`, in the order of a closed list; `none` where all are zero."""
    return ", ".join(f"{number(counts[word])} {word}" for word in order if counts[word]) or "none"
