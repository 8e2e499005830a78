"""The reference page of frames is that of the code, and says something of each column."""

import importlib.util
import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_is_fresh():
    spec = importlib.util.spec_from_file_location("generate_frames_reference", FOLDER / "generate_frames_reference.py")
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    page = generator.page()
    assert (FOLDER / "reference" / "frames.md").read_text() == page, "run docs/generate_frames_reference.py"
    for name in ("sessions", "alerts", "cases", "evidence", "capture"):
        assert re.search(rf"^## {name}$", page, re.MULTILINE)
