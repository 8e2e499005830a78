"""The line that closes a port: only addresses and numbers get into it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.protocols.firewall_lines import closing_line


@pytest.mark.parametrize(("arguments", "part"), [
    pytest.param(("10.20.0.25", 143, "tcp", ["10.20.1.0/24"]),
                 "ip daddr 10.20.0.25/32 tcp dport 143 ip saddr != { 10.20.1.0/24 } counter drop", id="some may stay"),
    pytest.param(("fd00::25", 143, "udp", ["10.20.1.0/24"]), "ip6 daddr fd00::25/128 udp dport 143 counter drop",
                 id="networks of the other kind are left out"),
])
def test_it_cuts_everybody_off_but_some(arguments: tuple[str, int, str, list[str]], part: str) -> None:
    line = closing_line(*arguments)
    assert line.startswith("nft 'table inet imapids_close {")
    assert line.replace("0.25 ", "0.25/32 ").replace("::25 ", "::25/128 ").count(part) == 2


@given(st.text(max_size=30), st.integers(-5, 70_000), st.text(max_size=5), st.lists(st.text(max_size=20), max_size=3))
@settings(max_examples=100, deadline=None)
def test_other_texts_give_no_line(server: str, port: int, transport: str, inside: list[str]) -> None:
    line = closing_line(server, port, transport, inside)
    assert line == "" or set(line) <= set("nft able iimapds_close{}chainputyrorwk;'.,:/0123456789=!<>-xvgqu() ")
    assert closing_line("10.0.0.1", 143, "tcp", ["x; reboot"]) == ""
