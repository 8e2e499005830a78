"""The documentation holds together: every page is in the menu, links lead somewhere, commands exist as written."""

import re
from pathlib import Path

import pytest

from imapids.cli.app import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_COMMAND = re.compile(r"(?:^|[`(\s])imapids ([a-z]+)\b(?!:)", re.MULTILINE)


@pytest.mark.skipif(not DOCS.is_dir(), reason="the documentation is not beside the tests")
def test_every_page_is_in_the_menu_once_and_every_entry_is_a_page():
    menu = re.findall(r":\s*([\w/-]+\.md)\s*$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(menu) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(DOCS))) for page in PAGES])
def test_links_lead_to_files_that_exist(page):
    targets = [link for link in _LINK.findall(page.read_text()) if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in targets if not (page.parent / link).exists()] == []


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in (*PAGES, ROOT / "README.md")])
def test_commands_in_code_exist(page):
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", page.read_text(), re.DOTALL))
    assert sorted(set(_COMMAND.findall(code)) - set(COMMANDS)) == []
