"""What is remembered of verdicts is what the judge says of the same dialogue, whatever its counts and places are."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.judge import judge, judge_plain, remembered
from imapids.records.candidates import Candidate
from imapids.records.dialogue import ImapFacts, SessionFacts
from imapids.records.streams import SERVER, Flow

FEW = st.integers(0, 4)


@st.composite
def sessions(draw: st.DrawFn) -> SessionFacts:
    """Facts of a dialogue that is plain to its end."""
    completed = draw(FEW)
    commands = completed + draw(st.booleans())
    ok = draw(st.integers(0, completed))
    logins = draw(st.integers(0, completed))
    packet = draw(st.integers(1, 99))
    flow = Flow(protocol="TCP", client="192.0.2.1", client_port=4, server="192.0.2.2", server_port=5,
                packets_client=draw(FEW), packets_server=draw(FEW), snapped=draw(st.booleans()))
    imap = ImapFacts(
        greeting="ok", greeting_text=draw(st.sampled_from(("* OK a", "* OK b"))), greeting_packet=packet,
        commands=commands, known_commands=commands, ordered_commands=commands, completed=completed,
        completed_packet=packet + 3 if completed else 0, completed_offset=draw(FEW) if completed else 0,
        selected=draw(st.integers(0, ok)), completed_ok=ok, completed_legal=ok, untagged=draw(FEW), tagged=completed,
        refusals=draw(st.integers(0, 1)) if commands else 0, logins=logins,
        logins_failed=draw(st.integers(0, logins)), starttls=draw(st.sampled_from(("", "offered"))),
        bytes_client=commands * 9, bytes_server=30 + completed * 9,
    )
    return SessionFacts(
        flow=flow, first_side=SERVER, seen_client=imap.bytes_client, seen_server=imap.bytes_server,
        candidate=Candidate(kind="imap", final=True), imap=imap, first_packet_client=packet + 1 if commands else 0,
        first_packet_server=packet)


@settings(max_examples=300, deadline=None)
@given(sessions())
def test_a_remembered_verdict_is_the_judge_s(facts: SessionFacts) -> None:
    imap = facts.imap
    assert imap is not None
    for _ in range(2):
        assert msgspec.to_builtins(judge_plain(facts.flow, imap, lambda: facts)) == msgspec.to_builtins(judge(facts))


def test_the_judge_is_asked_once_for_equal_counts() -> None:
    remembered.REMEMBERED.clear()
    flow = Flow(protocol="TCP", client="a", client_port=1, server="b", server_port=2, packets_client=3,
                packets_server=3)
    asked = []
    for packet in range(1, 9):
        imap = ImapFacts(greeting="ok", greeting_packet=packet, commands=2, completed=2, completed_ok=2,
                         completed_legal=2, completed_packet=packet + 2, bytes_server=9)

        def facts(imap: ImapFacts = imap) -> SessionFacts:
            asked.append(imap)
            return SessionFacts(flow=flow, first_side=SERVER, seen_client=9, seen_server=9, imap=imap)

        verdict = judge_plain(flow, imap, facts)
        assert [each.packet for each in verdict.evidence] == [packet + 2, packet]
    assert len(asked) == 1
