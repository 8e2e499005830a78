"""Habits of programs that guess passwords over IMAP: what their command tags look like. A hint, never a proof.

Read in the programs' sources: THC-Hydra (hydra-imap.c) counts from 1 in decimal; Medusa (modsrc/imap.c) gives every
command the tag `gerg`; Ncrack (modules/ncrack_imap.cc) always `01`; Patator uses Python's imaplib, whose tags are four
letters A to P and a counter, as do many honest scripts; Nmap's nselib/imap.lua counts from A0001.
"""

from __future__ import annotations

import re

_TOOLS = (
    ("medusa", re.compile(r"gerg\Z")),
    ("ncrack", re.compile(r"01\Z")),
    ("hydra", re.compile(r"[1-9][0-9]?\Z")),
    ("imaplib", re.compile(r"[A-P]{4}[0-9]{1,4}\Z")),
    ("nmap", re.compile(r"A00[0-9]{2}\Z")),
)


def tool_of_tag(tag: str) -> str:
    """The program whose habit the tag of a LOGIN or AUTHENTICATE is; empty where it is nobody's."""
    for name, pattern in _TOOLS:
        if pattern.match(tag):
            return name
    return ""
