"""Frames: the same columns and dtypes for any rows, straight from the records, whatever the records hold."""

import html
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imapids
from imapids.desk import frames
from imapids.desk.analysis import FRAMES, Analysis
from imapids.desk.arrays import array
from imapids.desk.cases import CaseBook
from imapids.desk.columns import TEXT, TIME, WORD, Rows, columns_of
from imapids.errors import UsageError
from imapids.protocols.addresses import address_text
from imapids.records.alerts import Alert, Reason, RuleInfo
from imapids.records.candidates import Evidence
from imapids.records.events import EVENT_TYPES, Anomaly, Event, Ja3, Session, Tls
from imapids.records.streams import Flow

SAMPLES = Path(imapids.__file__).parent / "_samples"
NAMES = [*FRAMES, "alerts", "cases", *frames.DETAILS]
HOSTILE = "<script>alert(1)</script>&\"'"


@pytest.fixture(scope="module")
def analysis():
    names = ("office-day", "reverse-shell", "tls-direct", "password-guessing", "odd-bytes", "starttls", "mass-fetch")
    return imapids.read_pcap([SAMPLES / f"{name}.pcap" for name in names])


def flow_of(number=1, **fields):
    return Flow(**{"protocol": "TCP", "client": "192.0.2.1", "client_port": 50_000, "server": "203.0.113.2",
                   "server_port": 143, "flow_id": number, "start_ns": number * 10**9} | fields)


def session_of(number=1, verdict="genuine", **fields):
    flow = fields.pop("flow", None) or flow_of(number)
    body = Session(**{"verdict": verdict, "confidence": "high", "protocol": "imap", "shape": None, "reason": None,
                      "evidence": [], "sides_seen": "both", "midstream": False, "limits": [], "packets": 3,
                      "bytes_client": 10, "bytes_server": 20, "direction": "outbound", "state": "closed"} | fields)
    return Event("session", flow.start_ns, body, flow, 1, flow.start_ns)


def alert_of(number=1, level="high", state="new", count=1, **fields):
    flow = fields.pop("flow", None) or flow_of()
    rule = RuleInfo(id="u", sid=1143001, title=fields.pop("title", "Not IMAP"), level=level, techniques=["T1571"],
                    advice="Look.")
    return Alert(**{"id": f"{number:016x}", "state": state, "rule": rule, "subject": "s",
                    "case": frames.case_of(flow), "time_ns": count, "first_ns": 1, "last_ns": count, "count": count,
                    "flow": flow, "packet": 1, "event": "session",
                    "why": Reason("session.verdict = not-imap")} | fields)


# ---- columns and dtypes ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", NAMES)
def test_an_empty_frame_has_the_columns_and_dtypes_of_a_full_one(analysis, name):
    full, empty = getattr(analysis, name), getattr(Analysis([]), name)
    assert empty.empty
    assert list(full.dtypes.astype(str)) == list(empty.dtypes.astype(str))
    assert list(full.columns) == list(empty.columns)
    assert [full[column].cat.categories.tolist() for column in full if full[column].dtype == "category"] == [
        empty[column].cat.categories.tolist() for column in empty if empty[column].dtype == "category"]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("cases", "inputs")])
def test_every_frame_joins_by_conversation_and_case(analysis, name):
    frame = getattr(analysis, name)
    assert str(frame["flow_id"].dtype) == "Int64"
    assert str(frame["case"].dtype) == "string"
    assert str(frame["time"].dtype) == TIME
    if name in ("commands", "logins", "evidence", "messages"):
        assert len(frame)
        assert frame["flow_id"].isin(analysis.sessions["flow_id"]).all()
        assert frame["case"].isin(analysis.cases["case"]).all()


def test_there_is_a_frame_for_every_event_type():
    assert set(FRAMES.values()) >= {kind for kind in EVENT_TYPES.values() if kind != "stats"}


def test_the_values_are_those_of_the_records(analysis):
    frame, events = analysis.sessions, analysis.events("session")
    assert frame["verdict"].tolist() == [event.body.verdict for event in events]
    assert frame["time"].astype("int64").tolist() == [event.time_ns for event in events]
    assert frame["evidence"].tolist() == [[each.code for each in event.body.evidence] for event in events]
    assert frame["server_port"].tolist() == [event.flow.server_port for event in events]
    addresses = [address_text(int(hi), int(lo)) for hi, lo in zip(frame["client_hi"], frame["client_lo"], strict=True)]
    assert addresses == frame["client"].tolist()
    assert len(analysis.evidence) == sum(len(event.body.evidence) for event in events)
    assert set(analysis.tls["ja3_hash"].dropna()) == {event.body.ja3.hash for event in analysis.events("tls")
                                                      if event.body.ja3}


def test_what_is_not_there_is_missing_and_not_zero():
    tls = [Event("tls", 1, Tls(ja3=Ja3("h", "s")), flow_of()), Event("tls", 2, Tls(), None)]
    frame = Analysis(tls).tls
    assert frame["ja3_hash"].tolist()[0] == "h"
    assert frame["ja3_hash"].isna().tolist() == [False, True]
    assert frame["flow_id"].isna().tolist() == [False, True]
    assert frame["client_port"].isna().tolist() == [False, True]
    bodies = [Anomaly(type="stream", event="gap", code=code) for code in (None, 7)]
    odd = Analysis([Event("anomaly", 1, body) for body in bodies]).anomalies
    assert odd["code"].tolist()[1] == 7
    assert odd["code"].isna().tolist() == [True, False]


@pytest.mark.parametrize("count", [pytest.param(0, id="no rows"), pytest.param(3, id="a few"),
                                   pytest.param(700, id="several blocks, the last one not full")])
def test_fields_read_at_once_are_those_read_one_by_one(count):
    seen = [Evidence("code", "server", 1, 0, ""), Evidence("other", "client", 2, 0, "")]
    bodies = [session_of(number, packets=number, evidence=seen[:number % 3]).body for number in range(count)]
    rows = Rows(bodies)
    rows.gather()
    for field in Session.__struct_fields__:
        assert rows.column(field) == Rows(bodies).column(field) == [getattr(body, field) for body in bodies]
    assert rows.column("packets") == list(range(count))  # given away once, read again


def test_rows_of_different_types_are_read_one_by_one():
    rows = Rows([flow_of(1), session_of(2)])
    rows.gather()
    assert [getattr(row, "packet", 0) for row in rows] == [0, 1]
    assert Rows([Anomaly(type="stream", event="gap"), Anomaly(type="decode", event="x")]).column("type") == [
        "stream", "decode"]


def test_levels_and_confidences_compare():
    analysis = Analysis([alert_of(1, "high"), alert_of(2, "low"), alert_of(3, "critical"), session_of()])
    assert (analysis.alerts["level"] >= "high").sum() == 2
    assert (analysis.sessions["confidence"] > "low").all()


@pytest.mark.parametrize(("values", "dtype", "expected"), [
    pytest.param([2**70, -2**70, 5], "int64", [2**63 - 1, -2**63, 5], id="numbers beyond 64 bits are held at the edge"),
    pytest.param([70_000, None], "UInt16", [65_535, pd.NA], id="a port that is none"),
    pytest.param(["", "nonsense", "2026-03-03T08:00:00.000001+0000"], TIME,
                 [pd.NaT, pd.NaT, pd.Timestamp("2026-03-03T08:00:00.000001Z")], id="times as text"),
    pytest.param(["not-a-word", "genuine", None, ""], WORD, ["not-a-word", "genuine", np.nan, np.nan],
                 id="a word that is in no list is kept"),
    pytest.param([[1], [], [1, 2]], "list of int", [[1], [], [1, 2]], id="lists stay lists"),
    pytest.param([[1], [2]], "list of int", [[1], [2]], id="lists of one length are no table"),
])
def test_arrays_hold_whatever_saved_lines_say(values, dtype, expected):
    def plain(found):
        return [each if isinstance(each, list) or not pd.isna(each) else None for each in found]

    assert plain(array(values, dtype, ("genuine",))) == plain(expected)


def test_file_names_that_are_no_text_are_escaped():
    flow = flow_of(source="caf\udce9.pcap")
    assert Analysis([session_of(flow=flow)]).sessions["pcap_filename"].tolist() == ["caf\\xe9.pcap"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=8) | st.none(), max_size=6), st.booleans())
def test_no_list_of_words_is_lost(words, ordered):
    found = array(words, WORD, ("genuine", "mimic"), ordered=ordered)
    assert [None if pd.isna(each) else each for each in found] == [each or None for each in words]


def test_new_records_have_columns_without_new_code():
    class Inner(msgspec.Struct):
        code: str
        weight: float = 0.0

    class Body(msgspec.Struct):
        verdict: str
        seen_ns: int
        start: str
        score: float | None
        inner: Inner | None
        many: list[Inner]
        counts: dict[str, int]
        ports: tuple[int, ...]

    found = {column.name: column.dtype for column in columns_of("new", Body)}
    assert found == {"verdict": WORD, "seen": TIME, "start": TIME, "score": "Float64", "inner_code": TEXT,
                     "inner_weight": "Float64", "many": "list of str", "counts": "dict of str to int",
                     "ports": "list of int"}
    bodies = [Body("mimic", 1, "", None, None, [Inner("a")], {}, ()),
              Body("x", 2, "", 0.5, Inner("b", 2.0), [], {}, (1,))]
    values = {column.name: column.read(bodies) for column in columns_of("new", Body)}
    assert values["inner_code"] == [None, "b"]
    assert values["many"] == [["a"], []]


# ---- alerts and cases ------------------------------------------------------------------------------------------------

def test_a_rolling_alert_is_one_row_with_its_last_count_and_first_time():
    lines = [alert_of(7, count=1), alert_of(7, state="update", count=10), alert_of(7, state="final", count=12)]
    frame = Analysis(lines).alerts
    assert [frame["state"].tolist(), frame["count"].tolist()] == [["final"], [12]]
    assert frame["time"].astype("int64").tolist() == [1]


def test_cases_gather_sessions_and_alerts_and_the_gravest_comes_first():
    other = flow_of(9, server="198.51.100.7")
    records = [session_of(1), session_of(2, "mimic", protocol=None, shape="beats"), session_of(3, flow=other),
               alert_of(1, "low"), alert_of(2, "critical", title="Worst")]
    cases = Analysis(records).cases
    assert cases["level"].tolist()[0] == "critical"
    assert cases["level"].isna().tolist() == [False, True]
    assert cases.loc[0, ["title", "alerts", "sessions", "verdict", "protocol", "packets"]].tolist() == [
        "Worst", 2, 2, "mimic", "beats", 6]
    assert cases["first"].notna().all()


def test_a_book_with_a_limit_keeps_the_gravest_and_counts_the_rest():
    book = CaseBook(most=2)
    for number, level in enumerate(("low", "low", "high", "informational", "critical")):
        book.see_alert(alert_of(number, level, flow=flow_of(number, server=f"203.0.113.{number}")))
    assert [alert.rule.level for alert in book.alerts] == ["critical", "high"]
    assert book.left_out == {"low": 2, "informational": 1}
    for number in range(4):
        event = session_of(number, flow=flow_of(number, client=f"192.0.2.{number}"))
        book.see_session(event, event.body)
    assert book.sessions_left_out == 2
    assert [case.level for case in book.cases(with_alerts_only=True)] == ["critical", "high"]


# ---- sessions and html -----------------------------------------------------------------------------------------------

def test_one_session_has_dialogue_evidence_alerts_and_turns(analysis):
    worst = analysis.cases.iloc[0]
    view = analysis.session(worst["flow_id"])
    assert view.session.verdict == "not-imap"
    assert view.dialogue["text"].str.contains("whoami").any()
    assert view.evidence["code"].tolist() == [each.code for each in view.session.evidence]
    assert set(view.alerts["id"]) <= set(worst["alert_ids"])
    assert view.turns["bytes"].sum() == view.session.bytes_client + view.session.bytes_server
    assert view.turns["side"].tolist()[:2] == ["client", "server"]


def test_without_captures_a_session_has_no_dialogue():
    view = Analysis([session_of()]).session(1)
    assert view.dialogue.empty
    assert view.turns.empty
    with pytest.raises(UsageError, match="no session has flow_id 2"):
        Analysis([session_of()]).session(2)


def test_notebooks_get_escaped_text():
    evidence = [Evidence(HOSTILE, "client", 1, 0, HOSTILE)]
    flow = flow_of(client=HOSTILE)
    records = [session_of(1, "mimic", protocol=HOSTILE, evidence=evidence, flow=flow),
               alert_of(1, title=HOSTILE, flow=flow)]
    analysis = Analysis(records)
    for shown in (analysis._repr_html_(), analysis.session(1)._repr_html_()):
        assert "<script" not in shown
        assert html.escape(HOSTILE) in shown


# ---- Parquet ---------------------------------------------------------------------------------------------------------

def test_parquet_files_hold_the_frames(analysis, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    written = analysis.to_parquet(tmp_path / "out")
    assert {path.stem for path in written} >= {"sessions", "alerts", "cases", "evidence", "logins", "capture"}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in written)
    table = pq.read_table(tmp_path / "out" / "sessions.parquet")
    assert table.num_rows == len(analysis.sessions)
    assert str(table.schema.field("time").type) == "timestamp[ns, tz=UTC]"
    assert str(table.schema.field("capabilities").type).startswith("list<")
    assert str(table.schema.field("anomalies").type).startswith("map<string, int64")
    assert table.column("verdict").to_pylist() == analysis.sessions["verdict"].tolist()


def test_a_lone_surrogate_is_escaped_in_parquet(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    Analysis([alert_of(title="caf\udce9")]).to_parquet(tmp_path)
    assert pq.read_table(tmp_path / "alerts.parquet").column("title").to_pylist() == ["caf\\xe9"]


def test_types_in_parquet_do_not_depend_on_rows(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    schemas = []
    for records in ([session_of(limits=["x"], anomalies={"gap": 1}, capabilities=["IDLE"])], [session_of()]):
        Analysis(records).to_parquet(tmp_path)
        schemas.append(pq.read_schema(tmp_path / "sessions.parquet"))
    assert schemas[0].equals(schemas[1])
