"""Inventory files: what they may say, and that every fault is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from imapids.errors import RuleError
from imapids.observe import Allowed
from imapids.run.inventory import read_inventory

GOOD = """\
networks:
  office: [10.20.0.0/16, fd00:20::/64]
services:
  - servers: [10.20.0.25, fd00:20::25]
    ports: [143, 993/tcp, 143/udp]
    clients: [office, 192.0.2.7]
    protocols: [imap, tls]
    clear_sign_in: true
    note: the mail server
  - servers: 10.20.0.26
    ports: 25
    clients: any
"""


def test_an_entry_says_servers_ports_and_clients(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yml"
    path.write_text(GOOD)
    tcp, udp, mx = read_inventory(path)
    assert tcp == Allowed(
        servers=("10.20.0.25/32", "fd00:20::25/128"), ports=(143, 993), clients=(
            "10.20.0.0/16", "fd00:20::/64", "192.0.2.7/32"), protocols=("imap", "tls"), clear_sign_in=True,
        note="the mail server")
    assert (udp.ports, udp.transport) == ((143,), "udp")
    assert mx.clients == ("0.0.0.0/0", "::/0")


@pytest.mark.parametrize(("text", "line", "fault"), [
    pytest.param("services:\n  - servers: [10.0.0.999]\n    ports: [143]\n", 2, "is no address", id="no address"),
    pytest.param("services:\n  - servers: [10.0.0.1]\n    ports: [143, 70000]\n", 3, "is no port", id="no port"),
    pytest.param("services:\n  - servers: [10.0.0.1]\n    ports: [143]\n    client: x\n", 4, "unknown key", id="a key"),
    pytest.param("services:\n  - 5\n", 2, "must be a mapping", id="a number for a service"),
    pytest.param("services: 5\n", 1, "must be a list", id="a number for the services"),
    pytest.param("networks: [a]\nservices: []\n", 1, "must give names", id="networks without names"),
    pytest.param("service: []\n", 1, "unknown key", id="a misspelt key"),
    pytest.param("services:\n  - ports: [143]\n", 2, "needs servers and ports", id="no servers"),
    pytest.param("services:\n  - servers: [10.0.0.1]\n    ports: [143]\n    protocols: imap\n", 4, "must be a list",
                 id="one word for a list of protocols"),
    pytest.param("services:\n  - servers: [10.0.0.1]\n    ports: [143]\n    clear_sign_in: maybe\n", 4, "true or false",
                 id="a doubtful truth"),
    pytest.param("a: b: c\n", 1, "", id="no YAML"),
    pytest.param("a: &a [*a]\n", 1, "", id="YAML that holds itself"),
    pytest.param("", 1, "names no service", id="nothing"),
])
def test_a_fault_is_told_with_its_line(tmp_path: Path, text: str, line: int, fault: str) -> None:
    path = tmp_path / "inventory.yml"
    path.write_text(text)
    with pytest.raises(RuleError) as error:
        read_inventory(path)
    assert any(f"inventory.yml:{line}:" in each and fault in each for each in error.value.faults), error.value.faults


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="cannot be read"):
        read_inventory(tmp_path / "none.yml")
    (tmp_path / "long.yml").write_bytes(b"#" * 300_000)
    with pytest.raises(RuleError, match="longer than"):
        read_inventory(tmp_path / "long.yml")
