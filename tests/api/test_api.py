"""Captures and saved events in, records and frames out; options as people write them."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

import imapids
from imapids.config import HOME_NETS, Limits
from imapids.errors import InputError, RuleError, UsageError
from imapids.records.alerts import Alert
from imapids.records.events import Event
from imapids.run.asked import OPTIONS, asked_options
from imapids.run.options import RunOptions

SAMPLES = Path(imapids.__file__).parent / "_samples"
SHELL = SAMPLES / "reverse-shell.pcap"
OFFICE = SAMPLES / "office-day.pcap"
KEY = b"the same key in every test run"


def loaded_after(code):
    script = f"{code}\nimport sys; print(' '.join(name for name in sys.modules if '.' not in name))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_the_package_alone_loads_nothing_and_its_functions_load_no_plots():
    heavy = {"numpy", "pandas", "msgspec", "altair", "pyarrow", "jinja2"}
    assert loaded_after("import imapids; dir(imapids)").isdisjoint(heavy)
    used = loaded_after("import imapids; imapids.read_pcap")
    assert "pandas" in used
    assert used.isdisjoint({"altair", "jinja2", "vl_convert", "scapy", "rich"})


def test_every_public_name_is_there_and_another_is_not():
    assert set(imapids.__all__) >= {"Analysis", "load", "plots", "read_pcap", "scan_pcap"}
    assert sorted(dir(imapids)) == sorted(imapids.__all__)
    with pytest.raises(AttributeError, match="read_pcapp"):
        imapids.read_pcapp  # noqa: B018  # the look-up is the test


def test_the_stub_names_what_the_module_gives():
    stub = Path(imapids.__file__).with_suffix(".pyi").read_text()
    assert f"__all__ = {sorted(imapids.__all__)}".replace("'", '"') in stub


def test_one_call_reads_several_captures():
    analysis = imapids.read_pcap([SHELL, str(OFFICE)], hash_key=KEY)
    assert list(analysis.inputs["name"]) == [str(SHELL), str(OFFICE)]
    assert len(analysis.sessions) == sum(analysis.result.sessions.values()) > 10
    assert set(analysis.sessions["verdict"]) >= {"genuine", "not-imap"}


def test_a_scan_gives_what_reading_gives_in_the_same_order():
    whole = imapids.read_pcap(OFFICE, events="session,login,alert,capture", hash_key=KEY)
    with imapids.scan_pcap(OFFICE, events=["session", "login", "alert", "capture"], hash_key=KEY) as scan:
        first = next(scan)
        assert isinstance(first, Event | Alert)
        assert scan.result is None
        assert [first, *scan] == whole.records
        assert scan.result.sessions == whole.result.sessions
        assert list(scan) == []
        assert scan.result is not None


def test_a_scan_that_is_closed_early_is_over():
    scan = imapids.scan_pcap(OFFICE)
    next(scan)
    scan.close()
    assert list(scan) == []
    assert scan.result is None


def test_saved_lines_load_again(tmp_path):
    analysis = imapids.read_pcap(SHELL)
    analysis.to_jsonl(tmp_path / "shell.jsonl")
    again = imapids.load(tmp_path / "shell.jsonl", captures=SHELL)
    assert repr(again) == repr(analysis)
    for name in ("sessions", "alerts", "cases", "evidence", "flows"):
        before, after = getattr(analysis, name), getattr(again, name)
        assert list(before.dtypes.astype(str)) == list(after.dtypes.astype(str)), name
        assert before["flow_id"].tolist() == after["flow_id"].tolist(), name
    (flow_id,) = again.sessions["flow_id"]
    assert [line.text for line in again.session(flow_id).lines] == [
        line.text for line in analysis.session(flow_id).lines]


def test_lines_of_others_are_left_out_with_a_warning(tmp_path):
    saved = tmp_path / "mixed.jsonl"
    imapids.read_pcap(SHELL).to_jsonl(saved)
    lines = saved.read_bytes().splitlines(keepends=True)
    saved.write_bytes(b"".join([b'{"event_type":"dns"}\n', *lines, b"\xff\xfe\n", b"[1]" * 400_000 + b"\n", b"{"]))
    with pytest.warns(UserWarning, match="4 lines left out"):
        again = imapids.load(saved)
    assert len(again.records) == len(lines)


@pytest.mark.parametrize(("given", "field", "expected"), [
    pytest.param({"home_net": "192.0.2.0/24"}, "home_nets", ("192.0.2.0/24",), id="one network as text"),
    pytest.param({"home_nets": ["192.0.2.9/24", "2001:DB8::/32"]}, "home_nets", ("192.0.2.0/24", "2001:db8::/32"),
                 id="several, made normal"),
    pytest.param({"home_net": []}, "home_nets", HOME_NETS, id="none: the default"),
    pytest.param({"watch": "143,2143/udp"}, "watch_udp", (2143,), id="ports as on the command line"),
    pytest.param({"watch": [143, "1143"]}, "watch_tcp", (143, 1143), id="ports as numbers and text"),
    pytest.param({"since": datetime(2026, 3, 3, 8, tzinfo=UTC)}, "since_ns", 1772524800 * 10**9, id="a datetime"),
    pytest.param({"since": datetime(2026, 3, 3, 8)}, "since_ns", 1772524800 * 10**9,  # noqa: DTZ001  # that is the case
                 id="a datetime without a zone is UTC"),
    pytest.param({"until": "2026-03-03T08:00:00.5Z"}, "until_ns", 1772524800_500_000_000, id="a time as text"),
    pytest.param({"until": 1772524800}, "until_ns", 1772524800 * 10**9, id="a time as seconds"),
    pytest.param({"events": "all"}, "events", frozenset({"session"}), id="all events"),
    pytest.param({"events": {"session"}}, "events", frozenset({"session"}), id="a set of events"),
    pytest.param({"rules": Path("mine")}, "rule_paths", ("mine",), id="a path"),
    pytest.param({"no_default_rules": True}, "default_rules", False, id="a flag that is turned round"),
    pytest.param({"host": "192.0.2.7"}, "hosts", ("192.0.2.7",), id="one host"),
    pytest.param({"hash_key": KEY}, "hash_key", KEY, id="a key as bytes"),
    pytest.param({"since": None}, "since_ns", None, id="None is as if it were not given"),
])
def test_options_take_what_people_write(given, field, expected):
    found = getattr(asked_options(given), field)
    assert found >= expected if given == {"events": "all"} else found == expected


def test_every_option_of_a_run_can_be_given():
    example = {"events": "all", "default_rules": True, "signatures": True, "follow": False, "since": 1, "until": 2,
               "max_memory": "300M", "watch": 143, "home_net": "10.0.0.0/8", "host": "192.0.2.1", "hash_key": KEY}
    fields = {field for name, option in OPTIONS.items() if name in example or name in ("rules", "allow", "indicators",
              "inventory") for field in option(example.get(name, "x"))}
    assert fields >= set(RunOptions.__struct_fields__) - {"workers"}  # one process for now, as the command line


@pytest.mark.parametrize(("given", "says"), [
    pytest.param({"home_nett": "x"}, "Did you mean 'home_net'", id="an option that is misspelt"),
    pytest.param({"xyz": 1}, "There are: allow", id="an option like no other"),
    pytest.param({"home_net": "300.1.1.1"}, "home_net: '300.1.1.1' is no address", id="a wrong network"),
    pytest.param({"watch": 70_000}, "is no port", id="a wrong port"),
    pytest.param({"events": "sesion"}, "Did you mean 'session'", id="a misspelt event"),
    pytest.param({"events": []}, "name at least one", id="no event"),
    pytest.param({"since": "yesterday"}, "is no time", id="a wrong time"),
    pytest.param({"since": True}, "is no time", id="a flag for a time"),
    pytest.param({"since": float("inf")}, "since: ", id="an endless time"),
    pytest.param({"since": 2, "until": 1}, "since must lie before until", id="times the wrong way round"),
    pytest.param({"default_rules": "no"}, "neither True nor False", id="a word for a flag"),
    pytest.param({"max_memory": "1M"}, "at least 160M", id="too little memory"),
    pytest.param({"max_memory": "lots"}, "is no size", id="a wrong size"),
    pytest.param({"limits": 3}, "max_memory", id="limits that are none"),
    pytest.param({"hash_key": b"short"}, "16 to 4,096 bytes", id="a key that can be guessed"),
    pytest.param({"hash_key": "no-such-file"}, "cannot read", id="a key file that is not there"),
    pytest.param({"host": 3.5}, "neither text nor a list", id="a number for a list"),
    pytest.param({"home_net": "192.0.2.1", "home_nets": "10.0.0.0/8"}, "another option already", id="twice the same"),
    pytest.param({"max_memory": "300M", "limits": Limits()}, "another option already", id="limits twice"),
])
def test_wrong_options_say_what_was_wanted(given, says):
    with pytest.raises(UsageError, match=says):
        imapids.read_pcap(SHELL, **given)


def test_wrong_files_raise_the_errors_of_the_command_line(tmp_path):
    rule = tmp_path / "wrong.yml"
    rule.write_text("title: [")
    with pytest.raises(RuleError):
        imapids.read_pcap(SHELL, rules=rule)
    with pytest.raises(InputError):
        imapids.read_pcap(tmp_path / "nothing.pcap")
    with pytest.raises(InputError, match="cannot read"):
        imapids.load(tmp_path / "nothing.jsonl")
