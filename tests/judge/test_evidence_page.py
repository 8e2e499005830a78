"""The page of evidence codes says what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["evidence.md", "imap-states.md"])
def test_the_page_is_current(name: str) -> None:
    spec = importlib.util.spec_from_file_location("generate_imap_reference", DOCS / "generate_imap_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (DOCS / "reference" / name).read_text(encoding="utf-8") == module.PAGES[name](), (
        "run docs/generate_imap_reference.py"
    )
