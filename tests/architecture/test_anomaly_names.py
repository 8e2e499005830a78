"""The page of anomalies and limits names exactly what the code tells."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TELLS = re.compile(r'(?:\b_?anomaly|\b_?limit|\breassembly\.note|_count_limit|hit_limits\.add)\(\s*"([a-z0-9-]+)"|'
                   r'\b_evict\(.*, "([a-z0-9-]+)", now\)')
NOTES = re.compile(r'self\.note\(\s*"([a-z0-9-]+)"')  # in the reassembler; in the IMAP machine a note is evidence


def test_the_page_names_exactly_what_the_code_tells() -> None:
    told: set[str] = set()
    for folder in ("flows", "parse", "pipeline"):
        for path in (ROOT / "imapids" / folder).glob("*.py"):
            told |= {name for names in TELLS.findall(path.read_text()) for name in names if name}
    told |= set(NOTES.findall((ROOT / "imapids/flows/reassembly.py").read_text()))
    page = (ROOT / "docs/reference/anomalies.md").read_text()
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", page, re.MULTILINE)) == told
