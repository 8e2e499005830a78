"""The layers are kept, the documented table is the one that is checked, and pages made from code are current."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_import_contracts_are_kept():
    pytest.importorskip("importlinter")
    run = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_layer_table_of_the_documentation_is_the_checked_one():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    checked = [sorted(re.findall(r"\w+", layer)) for layer in contract["layers"]]
    page = (ROOT / "docs/explanation/architecture.md").read_text()
    table = page.partition("| layer | holds |\n| --- | --- |\n")[2].partition("\n\n")[0]
    drawn = [sorted(re.findall(r"`(\w+)`", line.split("|")[1])) for line in table.splitlines()]
    assert drawn == checked


@pytest.fixture(scope="module")
def reference():
    sys.path.insert(0, str(ROOT / "docs"))
    import generate_reference

    yield generate_reference
    sys.path.remove(str(ROOT / "docs"))


@pytest.mark.parametrize("page", [pytest.param("limits.md", id="limits"), pytest.param("cli.md", id="command line")])
def test_a_page_made_from_code_is_current(reference, page):
    assert (ROOT / "docs/reference" / page).read_text() == reference.PAGES[page](), (
        "run: python docs/generate_reference.py"
    )


def test_every_limit_has_a_reason(reference):
    page = reference.limits_page()
    assert [line for line in page.splitlines() if line.startswith("| `") and line.rstrip(" |").count("|") < 3] == []


def test_links_between_pages_lead_somewhere():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    links = [(page, target) for page in pages
             for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())]
    broken = [f"{page.name}: {target}" for page, target in links
              if not re.match(r"https?://", target) and not (page.parent / target).exists()]
    assert broken == []


def test_every_page_stands_in_the_navigation():
    nav = (ROOT / "mkdocs.yml").read_text()
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if page not in nav] == []


def test_the_exit_codes_of_the_documentation_are_those_of_the_code():
    from imapids.errors import ExitCode

    page = (ROOT / "docs/reference/exit-codes.md").read_text()
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} == {int(code) for code in ExitCode}
