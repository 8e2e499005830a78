"""Charts: few marks for any number of rows, honest counts, and SVG with nothing in it that could run."""

import re
from pathlib import Path

import pandas as pd
import pytest

import imapids
from imapids.desk.turns import Turn, Turns
from imapids.records.streams import StreamChunk, StreamConflict, StreamGap

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

from imapids import plots
from imapids.desk.report import charts
from imapids.desk.session_view import turn_frame

SAMPLES = Path(imapids.__file__).parent / "_samples"


@pytest.fixture(scope="module")
def analysis():
    names = ("office-day", "http-beacon", "password-guessing")
    return imapids.read_pcap([SAMPLES / f"{name}.pcap" for name in names])


def rows_of(chart):
    """The rows that a chart draws."""
    (rows,) = chart.to_dict()["datasets"].values()
    return rows


def sessions_at(seconds, verdict="genuine", client="192.0.2.1"):
    return pd.DataFrame({
        "time": pd.to_datetime([int(second * 10**9) for second in seconds], utc=True), "verdict": verdict,
        "client": client, "server": "203.0.113.2", "server_port": 143})


def test_every_session_is_counted_once_in_the_timeline(analysis):
    rows = rows_of(plots.timeline(analysis.sessions))
    assert sum(row["sessions"] for row in rows) == len(analysis.sessions)
    assert all(row["top"] - row["bottom"] == row["sessions"] for row in rows)
    assert {row["verdict"] for row in rows} == set(analysis.sessions["verdict"])


@pytest.mark.parametrize(("span", "says"), [
    pytest.param(0, "each bar 1 second", id="one moment"),
    pytest.param(50, "each bar 1 second", id="a minute"),
    pytest.param(3_000, "each bar 1 minute", id="an hour"),
    pytest.param(80_000, "each bar 1 hour", id="a day"),
    pytest.param(40 * 86_400, "each bar 1 day", id="forty days"),
    pytest.param(200 * 365 * 86_400, "each bar 365 days", id="two centuries"),
])
def test_the_bars_of_a_timeline_fit_its_span(span, says):
    chart = plots.timeline(sessions_at([span * part / 500 for part in range(501)]))
    rows = rows_of(chart)
    assert says in chart.to_dict()["title"]["subtitle"]
    assert len(rows) <= 210
    assert sum(row["sessions"] for row in rows) == 501


def test_rows_may_stand_for_many_sessions():
    frame = sessions_at([0, 0, 1]).assign(sessions=[5, 6, 7])
    assert sum(row["sessions"] for row in rows_of(plots.timeline(frame))) == 18


def test_the_rhythm_shows_pairs_that_come_back(analysis):
    rows = rows_of(plots.beacon_rhythm(analysis.sessions))
    pairs = {row["pair"] for row in rows}
    assert any("203.0.113.91:143" in pair for pair in pairs)
    assert len(rows) < len(analysis.sessions)
    many = pd.concat([sessions_at(range(3_000), client=f"192.0.2.{number}") for number in range(20)])
    chart = plots.beacon_rhythm(many)
    assert len(rows_of(chart)) == 4_000
    assert "the first 4,000 of 36,000 sessions" in chart.to_dict()["title"]["subtitle"]


def test_the_rhythm_follows_the_scores_where_there_are_any():
    sessions = pd.concat([sessions_at(range(9)), sessions_at(range(3), client="192.0.2.9")])
    beacons = pd.DataFrame({"client": "192.0.2.9", "server": "203.0.113.2", "server_port": 143,
                            "score": [0.5, 0.9], "over": ["connections", "turns"]})
    assert {row["pair"] for row in rows_of(plots.beacon_rhythm(sessions, beacons))} == {
        "192.0.2.9 > 203.0.113.2:143  0.50"}


def test_logins_by_source_add_up(analysis):
    rows = rows_of(plots.login_outcomes(analysis.logins))
    assert sum(row["logins"] for row in rows) == len(analysis.logins)
    many = pd.DataFrame({"client": [f"192.0.2.{number}" for number in range(40)], "outcome": "failure", "logins": 2})
    chart = plots.login_outcomes(many)
    assert len(rows_of(chart)) == 12
    assert "28 more sources" in chart.to_dict()["title"]["subtitle"]


def test_the_exposure_map_shows_the_latest_word_on_each_port():
    frame = pd.DataFrame({
        "server": ["192.0.2.1", "192.0.2.1", "192.0.2.2"], "server_port": [143, 143, 993],
        "state": ["closed", "open", "stealth"], "open_to": [[], ["wan"], []], "service": ["", "imap", ""]})
    rows = rows_of(plots.exposure_map(frame))
    assert [(row["server"], row["port"], row["state"]) for row in rows] == [
        ("192.0.2.1", "143", "open to the outside"), ("192.0.2.2", "993", "no answer")]


def test_turns_are_told_apart_and_bounded():
    turns = Turns()
    turns.feed([StreamChunk(0, 0, b"abc", 1, 1), StreamChunk(0, 3, b"d", 2, 2), StreamChunk(1, 0, b"xy", 3, 3),
                StreamConflict(1, 0, b"xy", b"zz", 3, 3), StreamGap(1, 2, 5, 4, 4), StreamChunk(0, 4, b"e", 5, 5)])
    assert turns.turns == [Turn(0, 1, 1, 4), Turn(1, 3, 3, 7), Turn(0, 5, 5, 1)]
    for number in range(5_000):
        turns.feed([StreamChunk(number % 2, 0, b"x", number, number)])
    assert len(turns.turns) == 2_000
    assert sum(turn.size for turn in turns.turns) == 5_012
    rows = rows_of(plots.session_turns(turn_frame(turns.turns)))
    assert rows[0]["signed"] == 4
    assert rows[1]["signed"] == -7


def test_empty_frames_give_empty_charts():
    empty = imapids.Analysis([])
    for chart in (plots.timeline(empty.sessions), plots.beacon_rhythm(empty.sessions, empty.beacons),
                  plots.login_outcomes(empty.logins), plots.exposure_map(empty.exposure),
                  plots.session_turns(turn_frame([]))):
        assert chart.to_dict()["width"]


def test_svg_of_hostile_names_holds_shapes_and_words_only():
    frame = pd.DataFrame({"client": ["</text><script>alert(1)</script>", "javascript:alert(1)"], "outcome": "failure"})
    text = charts.svg(plots.login_outcomes(frame))
    assert "<script" not in text
    assert not re.search(r"\b(?:style|href|on\w+|xlink:href)=", text)
    assert "&lt;script" in text


@pytest.mark.parametrize("inside", [
    pytest.param("<script>alert(1)</script>", id="a script"),
    pytest.param("<image href='http://192.0.2.1/x.png'/>", id="an image from elsewhere"),
    pytest.param("<rect onclick='alert(1)'/>", id="a handler"),
    pytest.param("<rect style='background:url(http://192.0.2.1)'/>", id="a style"),
    pytest.param("<rect fill='url(http://192.0.2.1)'/>", id="an address in a colour"),
    pytest.param("<foreignObject><b>x</b></foreignObject>", id="foreign content"),
    pytest.param("<a href='javascript:alert(1)'><text>x</text></a>", id="a link"),
    pytest.param("<style>*{}</style>", id="a style sheet"),
])
def test_whatever_is_not_on_the_list_leaves_the_svg(inside):
    outer = "<svg xmlns='http://www.w3.org/2000/svg' width='9' onload='x()'>"
    text = charts.harmless(f"{outer}{inside}<path d='M0'/></svg>")
    assert not re.search(r"alert|192\.0\.2\.1|foreign|<style|onload|href", text)
    assert 'd="M0"' in text
