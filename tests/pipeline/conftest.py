"""The lab captures, made once in a session, and what the whole program says of each."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from helpers.analysis import Run, analyze_all


@pytest.fixture(scope="session")
def lab_folder(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the 28 captures of the lab generator."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl program is not installed: the lab captures need a certificate")
    folder = tmp_path_factory.mktemp("lab")
    command = [sys.executable, str(shared / "generators" / "mklab.py"), str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="session")
def lab(lab_folder: Path) -> Callable[[str], Run]:
    """What the whole program says of a lab capture, asked for by its number."""
    paths = {path.name[:2]: path for path in lab_folder.glob("*.pcap")}

    @cache
    def run(number: str) -> Run:
        return analyze_all(paths[number])

    return run


@pytest.fixture(scope="session")
def faults(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The damaged and odd capture files, by number."""
    folder = tmp_path_factory.mktemp("faults")
    command = [sys.executable, str(shared / "generators" / "mkfaults.py"), str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {path.name[:2]: path for path in sorted(folder.iterdir())}
