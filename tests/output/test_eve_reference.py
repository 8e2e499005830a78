"""The page about JSON lines names every key that a line has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from imapids.output.eve_alert import EveAlert, Ours
from imapids.records.alerts import Reason
from imapids.records.events import EVENT_TYPES

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "eve-lines.md"


@pytest.mark.parametrize("words", [
    pytest.param(EVENT_TYPES.values(), id="event types"),
    pytest.param([f"alert.{name}" for name in EveAlert.__struct_fields__ if name != "context"], id="keys of an alert"),
    pytest.param([name for name in Ours.__struct_fields__ if name != "cut"], id="keys of our context"),
    pytest.param(Reason.__struct_fields__, id="keys of a why"),
    pytest.param(["timestamp", "flow_id", "community_id", "src_ip", "dest_port", "proto", "app_proto", "pcap_filename",
                  "pcap_cnt", "in_iface", "vlan", "traffic", "cut: true", "imapids-cut"], id="keys of every line"),
])
def test_the_page_names_them(words: list[str]) -> None:
    said = set(re.findall(r"`([^`]+)`", PAGE.read_text(encoding="utf-8")))
    assert set(words) <= said
