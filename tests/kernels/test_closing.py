"""Session records of plain dialogues: those that are made compiled are those that the Python code makes."""

from __future__ import annotations

import msgspec
import pytest
from helpers.imap_talk import FETCH, GREETING, LOGIN, LOGOUT, SELECT, C, S, Talk, chunks_of
from helpers.plain_talk import PLAIN_TURNS, asked
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids import kernels
from imapids.config import DialogueLimits
from imapids.judge import REMEMBERED, judge_plain
from imapids.parse import PlainDialogue, PlainReader
from imapids.pipeline.conversation import plain_facts
from imapids.pipeline.session import plain_sessions, session_body
from imapids.records.events import Session
from imapids.records.streams import SERVER, Flow

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled")

REFUSED = asked(b"LOGIN bob s3cret", b"NO [AUTHENTICATIONFAILED] no")
TALKS = [(), LOGIN, REFUSED, (*REFUSED, *LOGIN), (*LOGIN, *SELECT), (*LOGIN, *SELECT, *FETCH, *LOGOUT),
         asked(b"NOOP", b"OK done"), asked(b"CAPABILITY", b"* CAPABILITY IMAP4rev1 STARTTLS", b"BAD no"),
         (*PLAIN_TURNS["id"], *LOGIN), LOGIN[:1]]


def dialogue_of(talk: Talk, flow: Flow) -> PlainDialogue:
    dialogue = PlainDialogue(flow, flow.direction)
    PlainReader(DialogueLimits()).read(dialogue, [*chunks_of(talk)], [], [])
    return dialogue


def by_python(flow: Flow, plain: PlainDialogue) -> Session:
    verdict = judge_plain(flow, plain, lambda: plain_facts(flow, plain))
    return session_body(flow, verdict, [], first_side=SERVER, imap=plain)


def flow_of(**fields: object) -> Flow:
    return msgspec.structs.replace(
        Flow(protocol="TCP", client="192.0.2.1", client_port=40_000, server="192.0.2.2", server_port=143,
             packets_client=9, packets_server=7, bytes_client=300, bytes_server=900, state="closed", end_reason="fin",
             start_ns=10**18, end_ns=10**18 + 2_500_000), **fields)


FLOWS = st.builds(
    flow_of, packets_client=st.sampled_from((0, 1, 9)), packets_server=st.sampled_from((0, 7)),
    direction=st.sampled_from(("inbound", "unknown")), watched=st.booleans(), snapped=st.booleans(),
    midstream=st.booleans(), roles_by=st.sampled_from(("syn", "port")), tunnels=st.sampled_from(((), ("gre", "vxlan"))),
    limits=st.sampled_from(([], ["stream-bytes"])), anomalies=st.sampled_from(({}, {"tcp-overlap": 2})),
    missing_client=st.integers(0, 2), missing_server=st.integers(0, 2), end_reason=st.sampled_from(("rst", "idle")),
    end_ns=st.sampled_from((10**18 + 1, 10**18, 10**18 - 1, 10**18 - 1_000_000, 10**18 + 9 * 10**15)),
    protocol=st.sampled_from(("TCP", "TCP", "UDP")))


@settings(max_examples=200, deadline=None)
@given(FLOWS, st.sampled_from(TALKS))
def test_a_record_is_made_alike(flow: Flow, talk: Talk) -> None:
    plain = dialogue_of((GREETING, *talk), flow)
    wanted = by_python(flow, plain)
    made = plain_sessions().make(flow, plain)
    assert made is None or (made == wanted and msgspec.json.encode(made) == msgspec.json.encode(wanted))
    judged = plain.completed and not plain.waiting and flow.packets_client and flow.packets_server
    if judged and flow.protocol == "TCP" and wanted.verdict == "genuine":
        assert made is not None


def test_records_share_nothing_that_is_their_own() -> None:
    flow = flow_of()
    plain = dialogue_of((GREETING, *LOGIN), flow)
    by_python(flow, plain)
    sessions = plain_sessions()
    one, other = sessions.make(flow, plain), sessions.make(flow, plain)
    assert one is not None
    assert other is not None
    for name in ("evidence", "history", "tunnels"):
        assert getattr(one, name) is not getattr(other, name)


def test_what_nobody_remembers_is_left_to_the_judge() -> None:
    flow = flow_of()
    plain = dialogue_of((GREETING, *LOGIN), flow)
    REMEMBERED.clear()
    assert plain_sessions().make(flow, plain) is None
    by_python(flow, plain)
    assert plain_sessions().make(flow, plain) is not None


@pytest.mark.parametrize(("flow", "plain"), [
    pytest.param(None, PlainDialogue(), id="no flow"),
    pytest.param(flow_of(), None, id="no dialogue"),
    pytest.param(PlainDialogue(), flow_of(), id="one for the other"),
])
def test_other_things_than_records_are_refused_at_the_end(flow: object, plain: object) -> None:
    with pytest.raises(TypeError):
        plain_sessions().make(flow, plain)


def test_a_dialogue_without_a_greeting_has_no_record() -> None:
    assert plain_sessions().make(flow_of(), PlainDialogue()) is None
    assert plain_sessions().make(flow_of(), dialogue_of(((S, b"* BYE\r\n"), (C, b"x\r\n")), flow_of())) is None
