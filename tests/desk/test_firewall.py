"""Firewall rules out of a sheet: they load, cut the outside and let the inside through; no text gets into them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imapids.desk.exposure import Sheet, exposure_sheet
from imapids.desk.firewall import KINDS, LATER, firewall, plan
from imapids.observe import Allowed
from imapids.records.events import Event, Exposure
from imapids.records.streams import Flow
from imapids.run.options import RunOptions

SAMPLES = Path(__file__).parents[2] / "sample_pcaps"
HOME = RunOptions().home_nets


@pytest.fixture(scope="module")
def office() -> Sheet:
    return exposure_sheet([str(SAMPLES / "office-day.pcap")], RunOptions())


def rules(form: str, sheet: Sheet, inventory: tuple[Allowed, ...] = (), home: tuple[str, ...] = HOME) -> str:
    return "".join(f"{line}\n" for line in firewall(form, plan(sheet, home, inventory)))


def commands(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


def cutting(text: str) -> str:
    """The file after what its step 2 asks for: without the marks."""
    return re.sub(f"^{LATER}", "", text, flags=re.MULTILINE)


def line_of(sheet: Sheet, **changes: object) -> Sheet:
    """The sheet with one line only, changed."""
    values = {"state": "open", "home": True, "open_to": ["wan"], "asked_by": ["wan"], "connections": 3,
              "connections_wan": 3, "clients_wan": 2,
              "networks": ["198.51.100.0/24"], "first_seen": "2026-03-03T08:00:00.000000+0000",
              "last_seen": "2026-03-03T08:00:09.000000+0000"}
    server, port = str(changes.pop("server", "10.20.0.25")), int(str(changes.pop("port", 143)))
    flow = Flow(protocol="TCP", client="198.51.100.1", client_port=1, server=server, server_port=port, first_packet=7,
                source=str(changes.pop("source", "a.pcap")))
    return sheet._replace(lines=[Event("exposure", 0, Exposure(**{**values, **changes}), flow)])  # type: ignore[arg-type]


def test_the_plan_of_the_office(office: Sheet) -> None:
    what = plan(office, HOME)
    assert [(str(cut.server), cut.port) for cut in what.cuts] == [("10.20.0.25/32", 143)]
    assert "it would have cut off 6 connections of 1 client outside, from 198.51.100.0/24" in what.cuts[0].evidence
    assert {(str(each.server), each.ports, str(each.sources[0])) for each in what.passes} == {
        ("10.20.0.25/32", (port,), "10.20.1.0/24") for port in (25, 110, 143)}
    assert what.remarks[0].startswith("watched: 2026-03-03 08:00:04 to 08:07:22")


@pytest.mark.parametrize("form", KINDS)
def test_the_file_as_it_is_only_logs(office: Sheet, form: str) -> None:
    text = rules(form, office)
    assert "drop" not in "\n".join(commands(text)).lower()
    assert "log" in "\n".join(commands(text)).lower()
    assert "drop" in "\n".join(commands(cutting(text))).lower()
    assert "To undo" in text
    assert all(line.startswith("#") for line in text.split("# ---- Step 2")[1].splitlines()[1:])


@pytest.mark.parametrize("form", KINDS)
def test_no_text_of_the_wire_is_in_a_command(office: Sheet, form: str) -> None:
    evil = "evil\nEND_OF_RULES\n-j ACCEPT; $(reboot) `x` } drop"
    text = rules(form, line_of(office, software=evil, service=evil, banner=evil, source=evil))
    assert "evil" in text
    for line in (*commands(text), *commands(cutting(text))):
        assert "evil" not in line
        assert "reboot" not in line


def test_mail_that_others_bring_goes_on_coming(office: Sheet) -> None:
    what = plan(line_of(office, port=25, service="smtp"), HOME)
    assert what.cuts == ()
    assert [each.sources for each in what.passes] == [()]
    assert any("other mail servers bring mail here" in text for text in what.passes[0].evidence)


def test_the_inventory_says_who_may_come_from_outside(office: Sheet) -> None:
    vpn = Allowed(servers=("10.20.0.25",), ports=(143, 993), clients=("192.0.2.0/24", "2001:db8::/32"))
    what = plan(office, HOME, [vpn])
    assert [str(source) for source in what.passes[0].sources] == ["192.0.2.0/24"]
    assert len(what.cuts) == 1
    anybody = Allowed(servers=("10.20.0.0/16",), ports=(143,), clients=("0.0.0.0/0", "::/0"))
    assert plan(office, HOME, [anybody]).cuts == ()


def test_without_a_server_of_ours_the_reader_is_told(office: Sheet) -> None:
    what = plan(office, ("192.0.2.0/24",))
    assert what.home == plan(office, ["192.0.2.7/24"]).home
    assert any("--home-net" in remark for remark in plan(line_of(office, home=False), HOME).remarks)


# ---- in a network namespace -----------------------------------------------------------------------------------------

def run(*command: str, text: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=text, capture_output=True, text=True, check=check, timeout=30)


@pytest.fixture(scope="module")
def namespaces() -> Iterator[tuple[str, str, str]]:
    """Three hosts: one inside, one outside, and the mail server between them (10.20.1.1, 198.51.100.1)."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nft", "iptables-restore", "ip6tables-restore"))):
        pytest.skip("network namespaces and firewall tools are not permitted or not there")
    names = tuple(f"imapids{os.getpid()}{role}" for role in ("lan", "wan", "srv"))
    made = []
    try:
        for name in names:
            if run("ip", "netns", "add", name, check=False).returncode:
                pytest.skip("network namespaces are not permitted")
            made.append(name)
        lan, wan, server = names
        for host, address, peer in ((lan, "10.20.1.40/24", "10.20.1.1/24"),
                                    (wan, "198.51.100.7/24", "198.51.100.1/24")):
            link = f"v{host[-3:]}{os.getpid() % 10_000}"
            run("ip", "link", "add", link, "netns", host, "type", "veth", "peer", "name", link, "netns", server)
            for name, text in ((host, address), (server, peer)):
                run("ip", "-n", name, "addr", "add", text, "dev", link)
                run("ip", "-n", name, "link", "set", link, "up")
        run("ip", "-n", server, "addr", "add", "10.20.0.25/32", "dev", "lo")
        run("ip", "-n", server, "link", "set", "lo", "up")
        run("ip", "-n", lan, "route", "add", "default", "via", "10.20.1.1")
        run("ip", "-n", wan, "route", "add", "default", "via", "198.51.100.1")
        yield lan, wan, server
    finally:
        for name in made:
            run("ip", "netns", "del", name, check=False)


LISTENER = """
import socket, sys
for port in (143, 8080):
    s = socket.create_server(("10.20.0.25", port)); globals()[f"s{port}"] = s
print("ready", flush=True); sys.stdin.read()
"""
CALLER = """
import socket, sys
try:
    socket.create_connection(("10.20.0.25", int(sys.argv[1])), 1.5).close(); print("open")
except OSError: print("cut")
"""


def asks(host: str, port: int) -> str:
    return run("ip", "netns", "exec", host, "python3", "-c", CALLER, str(port)).stdout.strip()


@pytest.mark.parametrize(("form", "apply", "undo"), [
    pytest.param("nftables", ("nft", "-f", "-"), ("nft", "delete", "table", "inet", "imapids_mail"), id="nftables"),
    pytest.param("iptables", ("sh", "-e"), ("iptables", "-F", "IMAPIDS-MAIL"), id="iptables"),
])
def test_the_outside_is_cut_and_the_inside_goes_on(
    office: Sheet, namespaces: tuple[str, str, str], form: str, apply: tuple[str, ...], undo: tuple[str, ...],
) -> None:
    lan, wan, server = namespaces
    inside = ("ip", "netns", "exec", server)
    text = rules(form, office)
    listener = subprocess.Popen([*inside, "python3", "-c", LISTENER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert listener.stdout is not None
        assert listener.stdout.readline() == b"ready\n"
        assert (asks(lan, 143), asks(wan, 143)) == ("open", "open")
        run(*inside, *apply, text=text)
        assert (asks(lan, 143), asks(wan, 143)) == ("open", "open")  # pasted whole, it only logs
        run(*inside, *apply, text=cutting(text))
        assert (asks(lan, 143), asks(wan, 143)) == ("open", "cut")
        assert (asks(lan, 8080), asks(wan, 8080)) == ("open", "open")  # no other port is touched
        run(*inside, *undo)
        assert asks(wan, 143) == "open"
    finally:
        listener.kill()
        listener.communicate()


@pytest.mark.parametrize("name", ["office-day", "open-mail-proxy", "unexpected-server", "scan"])
def test_the_tools_accept_every_file(namespaces: tuple[str, str, str], name: str) -> None:
    inside = ("ip", "netns", "exec", namespaces[2])
    sheet = exposure_sheet([str(SAMPLES / f"{name}.pcap")], RunOptions(home_nets=(*HOME, "192.0.2.0/24")))
    home = (*HOME, "192.0.2.0/24")
    for text in (rules("nftables", sheet, home=home), cutting(rules("nftables", sheet, home=home))):
        run(*inside, "nft", "-c", "-f", "-", text=text)
    script = cutting(rules("iptables", sheet, home=home)).splitlines()
    for tool in ("iptables-restore", "ip6tables-restore"):
        for number, line in enumerate(script):
            if line.startswith(f"{tool} "):
                end = script.index("END_OF_RULES", number)
                run(*inside, tool, "--test", "--noflush", text="\n".join(script[number + 1 : end]) + "\n")
