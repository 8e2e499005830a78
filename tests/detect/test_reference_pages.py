"""The reference pages about rules are made from the code, and are current."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import generate_rule_reference
    finally:
        sys.path.remove(str(ROOT / "docs"))
    return generate_rule_reference


@pytest.mark.parametrize("page", ["fields.md", "rules.md"])
def test_a_page_is_current(pages: ModuleType, page: str) -> None:
    text = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
    assert text == pages.PAGES[page](), "run: python docs/generate_rule_reference.py"


def test_every_field_has_a_meaning(pages: ModuleType) -> None:
    bare = [line for line in pages.fields_page().splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert bare == []
