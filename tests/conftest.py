"""Fixtures that all tests may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("imapids", deadline=None)  # a law is not broken because the machine is busy
settings.load_profile("imapids")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the shared captures and generators; tests that need it skip visibly without it."""
    named = os.environ.get("IMAPIDS_SHARED")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no shared captures: IMAPIDS_SHARED is {named!r} and no folder `shared` lies beside the checkout")
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/golden anew, compare nothing")
