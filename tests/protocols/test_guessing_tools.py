"""Tags by which guessing programs are known, and tags of honest programs that must not be taken for theirs."""

from __future__ import annotations

import pytest

from imapids.protocols.guessing_tools import tool_of_tag


@pytest.mark.parametrize(("tag", "tool"), [
    pytest.param("gerg", "medusa", id="Medusa gives every command the same tag"),
    pytest.param("01", "ncrack", id="so does Ncrack"),
    pytest.param("3", "hydra", id="Hydra counts in decimal"),
    pytest.param("KDPL1", "imaplib", id="Python's imaplib, which Patator uses"),
    pytest.param("A0001", "nmap", id="the scripts of Nmap"),
    pytest.param("gerg1", "", id="a tag that only begins like Medusa's"),
    pytest.param("a001", "", id="many mail programs"),
    pytest.param("A1", "", id="others"),
    pytest.param("KZPL1", "", id="a letter that imaplib never uses"),
    pytest.param("100", "", id="more commands than a guessing program sends"),
    pytest.param("", "", id="no tag"),
    pytest.param("9" * 100_000, "", id="an endless tag"),
])
def test_tags(tag: str, tool: str) -> None:
    assert tool_of_tag(tag) == tool
