"""The report: bounded, self-contained, everything escaped, and the same bytes for the same results."""

import base64
import hashlib
import html
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers.dialogues import capture_of

import imapids
from imapids.desk.report.digest import BINS_HELD, Digest, Latest, Timeline
from imapids.errors import OutputError, UsageError
from imapids.records.alerts import Alert, Reason, RuleInfo
from imapids.records.candidates import Evidence
from imapids.records.events import Beacon, Capture, Event, Exposure, InputAccount, Login, Scan, Session
from imapids.records.streams import Flow

for needed in ("altair", "jinja2", "vl_convert"):
    pytest.importorskip(needed)

SAMPLES = Path(imapids.__file__).parent / "_samples"
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}\u202egnp"


class Page(HTMLParser):
    """Elements, attributes and text of a page."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.attributes, self.texts, self.raw = [], [], [], {}
        self.stack = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]
        self.stack.append(tag)

    def handle_endtag(self, tag):
        while self.stack and self.stack.pop() != tag:
            pass

    def handle_data(self, data):
        if self.stack and self.stack[-1] in ("script", "style"):
            self.raw[self.stack[-1]] = data
        else:
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(self.texts)


def flow_of(**fields):
    return Flow(**{"protocol": "TCP", "client": "192.0.2.1", "client_port": 50_000, "server": "203.0.113.2",
                   "server_port": 143, "flow_id": 1} | fields)


def session_event(number=0, verdict="mimic", **fields):
    flow = flow_of(flow_id=number + 1, client=fields.pop("client", "192.0.2.1"), source=fields.pop("source", "x.pcap"))
    body = Session(**{"verdict": verdict, "confidence": "high", "protocol": "imap", "shape": None, "reason": None,
                      "evidence": [], "sides_seen": "both", "midstream": False, "limits": [], "packets": 3,
                      "bytes_client": 10, "bytes_server": 20, "direction": "outbound", "state": "closed"} | fields)
    return Event("session", number * 10**9, body, flow, 1, 0)


def alert_about(flow, number=1, level="high", text="Not IMAP", **fields):
    rule = RuleInfo(id="u", sid=1143001, title=text, level=level, techniques=["T1571"], advice=text, description=text,
                    falsepositives=[text])
    why = Reason("all of", because=[Reason("session.verdict = mimic", value=text, packet=3), Reason(text, held=False)])
    return Alert(**{"id": f"{number:016x}", "state": "new", "rule": rule, "subject": text, "case": "c" * 12,
                    "time_ns": 1, "first_ns": 1, "last_ns": 10**9, "count": 12, "flow": flow, "packet": 1,
                    "event": "session", "why": why, "context": {"user": text}} | fields)


def capture_event(**fields):
    account = InputAccount(**{"name": "x.pcap", "status": "damaged", "packets": 9, "damage": [MARKUP]} | fields)
    return Event("capture", 1, Capture(packets=9, processed=7, skipped={"arp": 2}, flows=1, sessions=1,
                                       inputs=[account], limits={"streams": 1}, one_sided=1))


@pytest.fixture
def report(tmp_path):
    def write(records):
        path = tmp_path / "report.html"
        imapids.Analysis(records).to_html(path)
        return path.read_text("utf-8")

    return write


@pytest.fixture(scope="module")
def two_captures(tmp_path_factory):
    """The report of two samples, as a file."""
    target = tmp_path_factory.mktemp("report") / "report.html"
    imapids.read_pcap([SAMPLES / "office-day.pcap", SAMPLES / "reverse-shell.pcap"]).to_html(target)
    return target


def test_the_page_needs_nothing_from_elsewhere_and_runs_its_own_script_only(two_captures):
    text = two_captures.read_text("utf-8")
    page = Page(text)
    assert page.elements.count("script") == page.elements.count("style") == 1
    assert not set(page.elements) & {"iframe", "object", "embed", "link", "base", "form", "img", "audio", "video"}
    assert [value for _, name, value in page.attributes if name in ("href", "src", "srcset", "action", "data")
            and not value.startswith("#")] == []
    assert [name for _, name, _ in page.attributes if name.startswith("on") or name == "style"] == []
    policy = next(value for _, name, value in page.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.raw[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", re.sub(r">[^<]*<", "><", text))
    assert two_captures.stat().st_mode & 0o777 == 0o600


def test_what_matters_stands_on_the_page(two_captures):
    text = Page(two_captures.read_text("utf-8")).text
    for words in ("2 captures", "A command shell runs over the mail port", "Isolate the host", "whoami",
                  "session.shape = interactive-shell", "cmd-shell-output", "packets were processed", "T1059",
                  "ip.addr == 10.20.1.56 && ip.addr == 203.0.113.96", "Sessions by verdict"):
        assert words in text, words


def test_the_same_results_give_the_same_page(tmp_path):
    for name in ("one", "two"):
        imapids.read_pcap(SAMPLES / "default-account.pcap", hash_key=b"the same key in every test run").to_html(
            tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_text_from_anywhere_stays_text(report):
    evidence = [Evidence(MARKUP, MARKUP, 1, 0, MARKUP)]
    session = session_event(protocol=MARKUP, evidence=evidence, software=MARKUP, greeting=MARKUP, source=MARKUP)
    flow = session.flow
    text = report([
        session, alert_about(flow, text=MARKUP, verdict="mimic", case=""), capture_event(name=MARKUP),
        Event("login", 1, Login(mechanism=MARKUP, outcome=MARKUP, user=MARKUP), flow_of(client=MARKUP)),
        Event("beacon", 1, Beacon(over=MARKUP, told=MARKUP, units=9, score=0.5, verdict=MARKUP, damped=MARKUP), flow),
        Event("scan", 1, Scan(by=MARKUP, methods={MARKUP: 1}, tools={MARKUP: 1}, network=MARKUP), flow),
        Event("exposure", 1, Exposure(state=MARKUP, open_to=[MARKUP], service=MARKUP, banner=MARKUP, proxy=[MARKUP],
                                      unexpected=[MARKUP]), flow_of(server=MARKUP)),
    ])
    page = Page(text)
    assert page.elements.count("script") == 1
    assert "img" not in page.elements
    assert "\u202e" not in text
    assert "{{7*7}}" in html.unescape(text)
    assert all(chr(code) not in text for code in (*range(9), *range(11, 32), 127))
    assert page.text.count("<script>alert(1)</script>") > 20


def test_hostile_lines_of_a_capture_stand_there_as_text(tmp_path):
    lines = [(1, b"* OK <script>alert(1)</script> ready\r\n"), (0, b"<img src=x onerror=alert(2)>\x1b[2J\r\n"),
             (1, b"\x00\x01\x02</code></td><script>alert(3)</script>\x80\r\n"), (0, b"a1 LOGOUT\r\n")]
    capture = tmp_path / "hostile<b>.pcap"
    capture.write_bytes(capture_of([lines]))
    imapids.read_pcap(capture).to_html(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text("utf-8")
    page = Page(text)
    assert page.elements.count("script") == 1
    assert "b" not in [tag for tag in page.elements if tag == "bold"]
    assert "<img src=x onerror=alert(2)>" in page.text
    assert "\x1b" not in text


def test_a_long_list_is_cut_and_says_so(report, monkeypatch):
    monkeypatch.setattr("imapids.desk.report.digest.SESSIONS_SHOWN", 50)
    monkeypatch.setattr("imapids.desk.report.page.CASES_SHOWN", 5)
    monkeypatch.setattr("imapids.desk.report.page.ALERTS_SHOWN", 2)
    records = [session_event(number, client=f"192.0.2.{number % 9}", verdict="genuine" if number % 2 else "mimic")
               for number in range(120)]
    records += [alert_about(event.flow, number, case=f"{number % 9:012x}")
                for number, event in enumerate(records[:45])]
    page = Page(report(records))
    assert "The gravest 50 of 120 sessions" in page.text
    assert "4 more cases are not shown" in page.text
    assert "and 3 more findings of this case" in page.text
    assert page.text.count("mimic") > 50


def test_nothing_found_is_a_page_too(report):
    text = Page(report([])).text
    assert "No findings." in text
    assert "No sessions" in text
    assert "no account" in text


def test_a_report_without_its_libraries_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("imapids.desk.report.sink._NEEDED", ("altair", "no_such_library"))
    with pytest.raises(UsageError, match=r"needs no_such_library: pip install 'imapids\[report\]'"):
        imapids.Analysis([]).to_html(tmp_path / "x.html")
    assert list(tmp_path.iterdir()) == []


def test_no_report_is_written_through_a_link(tmp_path):
    link = tmp_path / "report.html"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="symbolic link"):
        imapids.Analysis([]).to_html(link)


# ---- bounds ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("times", [
    pytest.param(range(0, 10**6, 17), id="two weeks"),
    pytest.param([0, 2**62 // 10**9, *range(5_000)], id="a time far away"),
    pytest.param([second * 86_400 * 31 for second in range(5_000)], id="centuries"),
])
def test_a_timeline_is_bounded_and_counts_everything(times):
    timeline = Timeline()
    for second in times:
        timeline.add(second * 10**9, "genuine")
    assert len(timeline.counts) <= BINS_HELD
    assert sum(count for _, _, count in timeline.rows()) == len(times)


def test_the_latest_of_each_subject_is_kept_and_the_lowest_makes_room():
    latest = Latest(3)
    for rank, key in ((5, "a"), (1, "b"), (3, "c"), (4, "a"), (2, "d"), (0, "e"), (9, "c"), (9, "f"), (9, "g")):
        latest.add((key,), rank, session_event(rank))
    assert [event.time_ns // 10**9 for event in latest.events] == [9, 9, 9]
    assert latest.left_out == 4
    for number in range(10_000):
        latest.add(("c",), number, session_event(number))
    assert len(latest._ranks) <= 13


def test_a_digest_holds_no_more_than_its_limits(monkeypatch):
    monkeypatch.setattr("imapids.desk.report.digest.SOURCES_COUNTED", 10)
    monkeypatch.setattr("imapids.desk.report.digest.NAMES_COUNTED", 4)
    digest = Digest()
    for number in range(100):
        digest.write([session_event(number, protocol=f"p{number}"),
                      Event("login", 1, Login(mechanism="login", outcome="failure"), flow_of(client=f"c{number}"))])
    assert digest.logins_left_out == 90
    assert len(digest.natures) == 5
    assert digest.natures["others"] == 96
    assert digest.sessions_in_all == 100
