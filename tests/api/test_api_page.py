"""The reference page of the API is that of the code, and what it shows runs."""

import importlib.util
import re
from pathlib import Path

import imapids
from imapids.run.asked import OPTIONS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "api.md"


def test_the_page_is_fresh():
    spec = importlib.util.spec_from_file_location("generate_api_reference", ROOT / "docs" / "generate_api_reference.py")
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    assert PAGE.read_text() == generator.page(), "run docs/generate_api_reference.py"
    told = {OPTIONS[name] for name in generator.OPTION_NOTES}
    assert {name for name, option in OPTIONS.items() if option not in told} <= {
        "rule_paths", "allow_paths", "indicator_paths", "inventory_path", "no_default_rules", "hosts", "home_nets"}


def test_every_public_name_stands_on_the_page():
    text = PAGE.read_text()
    assert [name for name in imapids.__all__ if name not in text and name != "__version__"] == []


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    lines = [line for line in code.splitlines() if "plots" not in line and "to_html" not in line]  # the report's extra
    exec("\n".join(lines), {})
    assert "medium" in capsys.readouterr().out
