"""CSV tables: every cell is harmless in a spreadsheet, and every row has the columns of its type."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.output.csvfile import CsvTables, cell, columns, row
from imapids.records.alerts import Alert, Reason, RuleInfo
from imapids.records.candidates import Evidence
from imapids.records.events import EVENT_TYPES, Event, Login, Session
from imapids.records.streams import Flow

FLOW = Flow(protocol="TCP", client="10.20.1.40", client_port=50_000, server="203.0.113.25", server_port=143,
            source="a.pcap", flow_id=77, community_id="1:abc")
LOGIN = Event("login", 1_772_524_800_123_456_789,
              Login(mechanism="login", outcome="failure", user="=cmd|' /C calc'!A0"), FLOW, 12)
ALERT = Alert(
    id="0123456789abcdef", state="new", subject="flow", case="c" * 12, time_ns=1, first_ns=1, last_ns=2, count=1,
    flow=FLOW, packet=9, event="session", why=Reason("session.verdict = not-imap", value="not-imap"),
    rule=RuleInfo(id="u", sid=1143001, title="-1+1", level="high", techniques=["T1571", "T1071.003"]),
)


@pytest.mark.parametrize(("value", "expected"), [
    pytest.param("plain text", "plain text", id="plain text stays"),
    pytest.param("=1+1", "'=1+1", id="a formula becomes text"),
    pytest.param("+4912", "'+4912", id="a plus sign"),
    pytest.param("-2", "'-2", id="a minus sign in text"),
    pytest.param("@SUM(A1)", "'@SUM(A1)", id="an at sign"),
    pytest.param("\t=1", "\\x09=1", id="a tab is escaped away"),
    pytest.param("\r=1", "\\x0d=1", id="a carriage return is escaped away"),
    pytest.param("a\u202eb\x1b[31m", "a\\xe2\\x80\\xaeb\\x1b[31m", id="bidi and terminal controls are escaped"),
    pytest.param(-5, -5, id="a number stays a number"),
    pytest.param(None, "", id="nothing is an empty cell"),
    pytest.param(True, "true", id="a truth value is a word"),
    pytest.param(["=a", "b"], "'=a; b", id="a list is joined and then guarded"),
    pytest.param([Evidence("greeting-ok", "server", 4, 0)],
                 '[{"code":"greeting-ok","side":"server","packet":4,"offset":0,"text":""}]', id="records become JSON"),
    pytest.param({}, "", id="an empty map is an empty cell"),
])
def test_a_cell_is_harmless(value, expected):
    assert cell(value) == expected


@settings(max_examples=200)
@given(st.text())
def test_no_text_starts_a_formula_or_holds_a_control_character(text):
    result = cell(text)
    assert isinstance(result, str)
    assert not result.startswith(("=", "+", "-", "@"))
    assert result == "" or (result.isascii() and result.isprintable())


@pytest.mark.parametrize("item", [pytest.param(LOGIN, id="an event"), pytest.param(ALERT, id="an alert")])
def test_a_row_has_only_columns_of_its_type(item):
    assert set(row(item)) <= set(columns("alert" if isinstance(item, Alert) else item.kind))


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind) for kind in [*EVENT_TYPES.values(), "alert"]])
def test_every_event_type_has_columns_without_doubles(kind):
    assert len(set(columns(kind))) == len(columns(kind))


def test_tables_hold_their_own_kind_and_a_header_even_when_empty():
    files = {}

    def open_table(kind):
        files[kind] = io.StringIO(newline="")
        return files[kind]

    tables = CsvTables(open_table, frozenset({"login", "session", "alert"}))
    tables.write([LOGIN, ALERT])
    tables.close()
    rows = {kind: list(csv.DictReader(io.StringIO(file.getvalue()))) for kind, file in files.items()}
    assert rows["session"] == []
    assert rows["login"][0]["user"] == "'=cmd|' /C calc'!A0"
    assert rows["login"][0]["timestamp"] == "2026-03-03T08:00:00.123456+0000"
    assert rows["login"][0]["src_port"] == "50000"
    assert rows["alert"][0]["title"] == "'-1+1"
    assert rows["alert"][0]["techniques"] == "T1571; T1071.003"
    assert files["session"].getvalue().startswith(",".join(columns("session")[:3]))
    assert "verdict" in Session.__struct_fields__
