"""A session record tells the verdicts that later bytes contradicted."""

from __future__ import annotations

import pytest

from imapids.judge import history
from imapids.records.candidates import Evidence
from imapids.records.dialogue import ImapFacts, SessionFacts
from imapids.records.streams import Flow
from imapids.records.verdicts import Revision, Verdict

FLOW = Flow(protocol="TCP", client="10.0.0.5", client_port=40_000, server="203.0.113.10", server_port=143)
MIMIC = Verdict(verdict="mimic", confidence="high", protocol="imap")


def broken(completed: int, *codes: str) -> ImapFacts:
    evidence = [Evidence(code, "server", 9 + number, 50) for number, code in enumerate(codes)]
    return ImapFacts(greeting="ok", evidence=evidence, completed_before=[completed] * len(codes))


@pytest.mark.parametrize(("imap", "verdict", "expected"), [
    pytest.param(broken(0, "server-line-is-no-imap"), MIMIC,
                 [Revision("undecided", "low", "imap", 9, "server-line-is-no-imap")],
                 id="only the greeting was seen before the break"),
    pytest.param(broken(3, "server-line-is-no-imap"), MIMIC,
                 [Revision("genuine", "medium", "imap", 9, "server-line-is-no-imap")],
                 id="commands had been completed before the break"),
    pytest.param(broken(3, "greeting", "server-line-is-no-imap"), MIMIC,
                 [Revision("genuine", "medium", "imap", 10, "server-line-is-no-imap")],
                 id="evidence that speaks for IMAP ends no verdict"),
    pytest.param(broken(3), Verdict(verdict="genuine", confidence="high", protocol="imap"), [],
                 id="a genuine session never had another verdict"),
    pytest.param(None, Verdict(verdict="not-imap", confidence="high", protocol="ssh"), [],
                 id="what is not IMAP from the first byte never had another name"),
])
def test_history(imap: ImapFacts | None, verdict: Verdict, expected: list[Revision]) -> None:
    assert history(SessionFacts(flow=FLOW, imap=imap), verdict) == expected
