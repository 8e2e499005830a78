"""`imapids exposure`: formats, differences, inventories, rules, and what it refuses."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imapids.cli.app import run

SAMPLES = Path(__file__).parents[2] / "sample_pcaps"
OFFICE = str(SAMPLES / "office-day.pcap")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = run(["exposure", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_the_table_names_the_services_and_what_to_act_on(command: Callable[..., Any]) -> None:
    code, text, _ = command(OFFICE, "--format", "table", "--quiet")
    assert code == 0
    assert "3 services of ours open, 1 of them to the outside" in text
    for words in ("25/tcp    LAN      smtp", "110/tcp   LAN      pop3", "143/tcp   LAN WAN  imap Dovecot",
                  "993/tcp   LAN      tls", "! open to the outside: 6 connections"):
        assert words in text
    assert max(map(len, text.splitlines())) <= 100
    assert text.isascii()


def test_lines_are_events(command: Callable[..., Any]) -> None:
    _, text, _ = command(OFFICE, "--format", "jsonl", "--quiet")
    lines = [json.loads(line) for line in text.splitlines()]
    assert {line["event_type"] for line in lines} == {"exposure"}
    assert [(line["dest_ip"], line["dest_port"]) for line in lines][:3] == [
        ("10.20.0.25", 25), ("10.20.0.25", 110), ("10.20.0.25", 143)]


def test_the_open_proxy_shows_as_what_it_is(command: Callable[..., Any]) -> None:
    _, text, _ = command(SAMPLES / "open-mail-proxy.pcap", "--home-net", "192.0.2.0/24", "--format", "table", "--quiet")
    assert "! a mail proxy: banner, loopback-name, relayed-user, relays; went on to 203.0.113.25 2 times" in text


def test_what_the_inventory_does_not_know(command: Callable[..., Any]) -> None:
    sample = SAMPLES / "unexpected-server.pcap"
    _, text, _ = command(sample, "--inventory", sample.with_suffix(".inventory.yml"), "--format", "jsonl", "--quiet")
    found = {(line["dest_ip"], line["dest_port"]): line["exposure"].get("unexpected", [])
             for line in map(json.loads, text.splitlines())}
    assert found == {("10.20.0.25", 143): ["client-network", "clear-text"], ("10.20.0.25", 993): ["protocol"],
                     ("10.20.1.61", 143): ["service"]}


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_sheet_is_compared_with_an_earlier_one(command: Callable[..., Any], tmp_path: Path, form: str) -> None:
    old = tmp_path / f"old.{form}"
    assert command(OFFICE, "--format", form, "-o", old, "--quiet")[0] == 0
    _, text, _ = command(OFFICE, "--format", "table", "--diff", old, "--quiet")
    assert "Nothing differs from the earlier sheet." in text
    assert command(OFFICE, "--format", "jsonl", "--diff", old, "--quiet")[1] == ""
    _, text, _ = command(SAMPLES / "unexpected-server.pcap", "--format", "table", "--diff", old, "--quiet")
    for words in ("+ 10.20.1.61:143/tcp: new, open", "+ 10.20.0.25:993/tcp: new, open",
                  "- 10.20.0.25:110/tcp: nobody asked this time"):
        assert words in text
    changed = tmp_path / "changed.jsonl"
    command(SAMPLES / "unexpected-server.pcap", "--format", "jsonl", "--diff", old, "-o", changed, "--quiet")
    states = {(line["dest_ip"], line["dest_port"]): (line["exposure"]["state"], line["exposure"]["changes"])
              for line in map(json.loads, changed.read_text().splitlines())}
    assert states["10.20.1.61", 143] == ("open", ["new"])
    assert states["10.20.0.25", 110] == ("not-seen", ["not-seen"])


def test_csv_has_a_row_for_each_address_and_port(command: Callable[..., Any]) -> None:
    _, text, _ = command(SAMPLES / "scan.pcap", "--format", "csv", "--quiet")
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == 40
    assert {row["state"] for row in rows} == {"open", "closed", "stealth"}


@pytest.mark.parametrize("form", ["nftables", "iptables"])
def test_rules_go_to_a_file(command: Callable[..., Any], tmp_path: Path, form: str) -> None:
    path = tmp_path / "rules"
    assert command(OFFICE, "--firewall", form, "-o", path, "--quiet") == (0, "", "")
    assert "10.20.0.25" in path.read_text()
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("arguments", "code", "message"), [
    pytest.param(["--firewall", "pf"], 2, "'pf' is not one of", id="a firewall that it does not know"),
    pytest.param(["--firewall", "nftables", "--format", "csv"], 2, "leave out --format", id="rules in a format"),
    pytest.param(["--diff", "none.jsonl"], 2, "cannot read none.jsonl", id="no earlier sheet"),
    pytest.param(["--diff", OFFICE], 2, "holds no line of a sheet", id="a capture as a sheet"),
    pytest.param(["--inventory", "none.yml"], 5, "cannot be read", id="no inventory"),
    pytest.param(["--format", "html"], 2, "", id="a format that it does not write"),
])
def test_what_it_refuses(command: Callable[..., Any], arguments: list[str], code: int, message: str) -> None:
    found, text, error = command(OFFICE, *arguments, "--quiet")
    assert (found, text) == (code, "")
    assert message in error


def test_no_capture_is_no_input(command: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "empty.pcap").write_bytes(b"")
    assert command(tmp_path / "empty.pcap", "--format", "table")[0] == 3
