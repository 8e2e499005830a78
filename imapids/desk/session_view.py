"""One session as an analyst holds it: evidence, alerts, dialogue and turns, for notebooks and scripts."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import cached_property

import pandas as pd

from imapids.desk.arrays import array
from imapids.desk.columns import TEXT, TIME, WORD, WORDS
from imapids.desk.explain import Explanation
from imapids.desk.frames import alert_frame, detail_frame
from imapids.desk.transcript import Line
from imapids.desk.turns import Turn
from imapids.records.alerts import Alert
from imapids.records.events import Event, Session
from imapids.records.streams import SIDES

_SIDE_WORDS = WORDS["side"][:2]


class SessionView:
    """One session. `explanation` is None where the captures are not known: then there is no dialogue."""

    def __init__(self, event: Event, alert_records: Sequence[Alert], explanation: Explanation | None) -> None:
        self.event = event
        assert isinstance(event.body, Session)
        self.session = event.body
        """The record of the session: verdict, confidence, protocol, ..."""
        self.alert_records = list(alert_records)
        self.explanation = explanation

    @property
    def lines(self) -> list[Line]:
        """The dialogue: its first and last lines, safe and redacted text."""
        return self.explanation.lines if self.explanation is not None else []

    @cached_property
    def evidence(self) -> pd.DataFrame:
        """The evidence for the verdict, in order of weight."""
        return detail_frame("evidence", [self.event])

    @cached_property
    def alerts(self) -> pd.DataFrame:
        """The alerts about this session, the highest level first."""
        return alert_frame(self.alert_records)

    @cached_property
    def dialogue(self) -> pd.DataFrame:
        """The lines: pcap_cnt, time, side, offset (in the side's stream), state (of the IMAP machine), text."""
        lines = self.lines
        return pd.DataFrame({
            "pcap_cnt": array([line.packet for line in lines], "int64"),
            "time": array([line.time_ns for line in lines], TIME),
            "side": array([SIDES[line.side] for line in lines], WORD, _SIDE_WORDS),
            "offset": array([line.offset for line in lines], "int64"),
            "state": array([line.state for line in lines], TEXT),
            "text": array([line.text for line in lines], TEXT),
        })

    @cached_property
    def turns(self) -> pd.DataFrame:
        """Who sent how many bytes in turn: time, side, bytes, pcap_cnt."""
        turns: list[Turn] = self.explanation.turns if self.explanation is not None else []
        return turn_frame(turns)

    def __repr__(self) -> str:
        body, flow = self.session, self.event.flow
        what = body.protocol or body.shape or "unknown protocol"
        assert flow is not None
        return (f"<session {flow.flow_id}: {body.verdict} ({body.confidence} confidence), {what}; "
                f"{flow.client} -> {flow.server}:{flow.server_port}, {len(body.evidence)} pieces of evidence, "
                f"{len(self.lines)} lines>")

    def _repr_html_(self) -> str:
        """For notebooks: evidence and dialogue; every text is escaped."""
        evidence = "".join(
            f"<li><b>{html.escape(each.code)}</b> {html.escape(each.side)}, packet {each.packet}: "
            f"<code>{html.escape(each.text)}</code></li>" for each in self.session.evidence)
        rows = "".join(
            f"<tr><td>{line.packet}</td><td>{html.escape(SIDES[line.side])}</td>"
            f"<td style='text-align:left'><code style='white-space:pre-wrap'>{html.escape(line.text)}</code></td></tr>"
            for line in self.lines)
        return (f"<p><b>{html.escape(repr(self)[1:-1])}</b></p><ul>{evidence}</ul>"
                f"<table><thead><tr><th>packet</th><th>side</th><th>text</th></tr></thead><tbody>{rows}</tbody></table>")


def turn_frame(turns: Sequence[Turn]) -> pd.DataFrame:
    """Turns as a frame: time, side, bytes, pcap_cnt."""
    return pd.DataFrame({
        "time": array([turn.time_ns for turn in turns], TIME),
        "side": array([SIDES[turn.side] for turn in turns], WORD, _SIDE_WORDS),
        "bytes": array([turn.size for turn in turns], "int64"),
        "pcap_cnt": array([turn.packet for turn in turns], "int64"),
    })
