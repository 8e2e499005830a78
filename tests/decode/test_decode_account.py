"""The reference page names every reason for which decode skips a packet, and every note."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COUNTERS = {"skip", "skip_each", "keep", "need", "note", "count", "_skip", "_drop", "_jump"}


def names_in_code() -> set[str]:
    """String constants given to counters, and reasons that the reassembler returns."""
    names = set()
    for path in (ROOT / "imapids" / "decode").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = getattr(node.func, "attr", getattr(node.func, "id", ""))
                values = node.args if called in COUNTERS else []
            elif isinstance(node, ast.Return) and path.name == "fragments.py":
                values = [node.value]
            else:
                continue
            constants = [value.value for value in values if isinstance(value, ast.Constant)]
            names |= {value for value in constants if isinstance(value, str)}
    return {name for name in names if re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)}


def test_every_name_stands_on_the_page():
    page = (ROOT / "docs" / "reference" / "packet-account.md").read_text()
    named = set(re.findall(r"`([a-z0-9-]+)(?::N)?`", page))
    code = names_in_code()
    assert len(code) > 50
    assert code - named == set()
