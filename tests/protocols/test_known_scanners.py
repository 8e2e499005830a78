"""The list of known scanners: how it is read, whom it names, and what the shipped one holds."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from imapids.errors import RuleError
from imapids.protocols.known_scanners import KnownScanners, read_scanners
from imapids.run.engine import scanners_for
from imapids.run.options import RunOptions

SHIPPED = Path(__file__).parents[2] / "rules" / "lists" / "research-scanners.csv"
LIST = """# a comment
192.0.2.0/24, Somebody, their page, 2026-01-01
192.0.2.128/25, Somebody's other half
198.51.100.7, One host

2001:db8:1::/48, Somebody in IPv6, a page, 2026-01-01
"""


def scanners(text: str = LIST) -> KnownScanners:
    known = KnownScanners()
    assert read_scanners(text.splitlines(), known, "list") == []
    return known


@pytest.mark.parametrize(("address", "name"), [
    pytest.param("192.0.2.1", "Somebody", id="an address of a network"),
    pytest.param("192.0.2.200", "Somebody's other half", id="the narrowest network decides"),
    pytest.param("198.51.100.7", "One host", id="a single address"),
    pytest.param("198.51.100.8", "", id="its neighbour"),
    pytest.param("2001:db8:1:2::3", "Somebody in IPv6", id="IPv6"),
    pytest.param("2001:db8:2::3", "", id="another network of IPv6"),
    pytest.param("::ffff:192.0.2.1", "Somebody", id="IPv4 in IPv6"),
])
def test_names(address: str, name: str) -> None:
    assert scanners().name_of(address) == name
    assert KnownScanners().name_of(address) == ""


@pytest.mark.parametrize(("line", "fault"), [
    pytest.param("192.0.2.1/24, Somebody", "is no network", id="bits behind the network's end"),
    pytest.param("example.org, Somebody", "is no network", id="a name"),
    pytest.param("192.0.2.0/24", "who scans from there?", id="nobody"),
    pytest.param("\x1b[2J, Somebody", "is no network", id="a control sequence"),
    pytest.param("1" * 100_000, "is no network", id="an endless line"),
])
def test_what_is_wrong_is_told_with_its_place(line: str, fault: str) -> None:
    faults = read_scanners(["# first", line], KnownScanners(), "list")
    assert len(faults) == 1
    assert faults[0].startswith("list:2: ")
    assert fault in faults[0]
    assert "\x1b" not in faults[0]


def test_the_shipped_list_names_public_networks_with_source_and_date() -> None:
    lines = [line for line in SHIPPED.read_text().splitlines() if not line.startswith("#")]
    networks = []
    for line in lines:
        network, name, source, date = (part.strip() for part in line.split(","))
        networks.append(ipaddress.ip_network(network))
        assert name
        assert source
        assert len(date) == 10
        assert networks[-1].is_global
        assert networks[-1].prefixlen >= (20 if networks[-1].version == 4 else 29), "no provider's whole network"
    assert len(set(networks)) == len(networks) == len(scanners("\n".join(lines)))


def test_whose_list_a_run_uses(tmp_path: Path) -> None:
    censys = "167.94.138.35"
    assert scanners_for(RunOptions()).name_of(censys) == "Censys"
    assert scanners_for(RunOptions(default_rules=False)).name_of(censys) == ""
    own = tmp_path / "lists" / "research-scanners.csv"
    own.parent.mkdir()
    own.write_text("192.0.2.0/24, Our own scanner\n")
    options = RunOptions(rule_paths=(str(tmp_path),))
    assert scanners_for(options).name_of("192.0.2.9") == "Our own scanner"
    assert scanners_for(options).name_of(censys) == "Censys"
    own.write_text("nonsense\n")
    with pytest.raises(RuleError, match=r"research-scanners\.csv:1: 'nonsense' is no network"):
        scanners_for(options)
