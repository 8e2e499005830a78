"""The wheel and the source archive bring rules and samples, the version is one, and the README's commands exist."""

import re
import shutil
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import imapids

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_version_is_the_same_everywhere():
    assert PROJECT["project"]["version"] == imapids.__version__


def test_the_wheel_brings_rules_and_samples_and_no_generator(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAPIDS_KERNELS", "0")  # a wheel for every system, as on one without a compiler
    wheel = pytest.importorskip("hatchling.builders.wheel")
    (path,) = wheel.WheelBuilder(str(ROOT)).build(directory=str(tmp_path))
    names = set(zipfile.ZipFile(path).namelist())
    samples = tomllib.loads((ROOT / "sample_pcaps/MANIFEST.toml").read_text())["sample"]
    assert {f"imapids/_samples/{entry['file']}" for entry in samples} <= names
    assert "imapids/_samples/MANIFEST.toml" in names
    rules = {path.relative_to(ROOT / "rules").as_posix() for path in (ROOT / "rules").rglob("*.y*r") if path.is_file()}
    rules |= {path.relative_to(ROOT / "rules").as_posix() for path in (ROOT / "rules").rglob("*.yml")}
    assert {f"imapids/_rules/{name}" for name in rules} <= names
    assert {"imapids/py.typed", "imapids/__init__.pyi"} <= names
    assert {f"imapids/desk/report/templates/report.{end}" for end in ("html", "css", "js")} <= names
    assert [
        name
        for name in names
        if name.startswith("imapids/_")
        and name.endswith(".py")
        and name != "imapids/__init__.py"
        and name != "imapids/__main__.py"
    ] == []
    assert not any(name.startswith(("tests/", "sample_pcaps/", "benchmarks/")) for name in names)


@pytest.mark.slow
def test_a_wheel_of_a_system_with_a_compiler_brings_the_kernels(tmp_path):
    wheel = pytest.importorskip("hatchling.builders.wheel")
    pytest.importorskip("Cython")
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    (path,) = wheel.WheelBuilder(str(ROOT)).build(directory=str(tmp_path))
    assert not path.endswith("-none-any.whl")
    assert any(re.match(r"imapids/kernels/_compiled\..*(so|pyd)$", name) for name in zipfile.ZipFile(path).namelist())


def test_the_source_archive_builds_the_same_package(tmp_path):
    builders = pytest.importorskip("hatchling.builders.sdist")
    (path,) = builders.SdistBuilder(str(ROOT)).build(directory=str(tmp_path))
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "README.md",
        "LICENSE",
        "pyproject.toml",
        "hatch_build.py",
        "imapids/kernels/_compiled.pyx",
        "imapids/_samples/MANIFEST.toml",
        "sample_pcaps/generate.py",
    } <= names


def test_the_readme_starts_with_the_two_commands():
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)
    assert "imapids analyze sample_pcaps/" in blocks[0]
    assert "pytest" in blocks[1]
    assert all(len(block.strip().splitlines()) == 1 for block in blocks[:2])
    sample = re.search(r"sample_pcaps/[\w-]+\.pcap", blocks[0])
    assert sample
    assert (ROOT / sample[0]).is_file()
    group = re.search(r"--group (\w+)", blocks[1])
    assert group
    assert group[1] in PROJECT["dependency-groups"]
    assert "<!-- tests -->" in readme  # .ci/run finds the second command by it


def test_no_path_of_a_machine_and_no_index_host_is_written_down():
    files = [
        path
        for folder in ("imapids", "tests", "docs", "sample_pcaps", "rules", ".ci")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".md", ".toml", ".yml", ".yar", ""} and path.is_file() and "venv" not in path.parts
    ]
    files += [path for path in ROOT.glob("*") if path.suffix in {".md", ".toml", ".yml"}]
    wrong = re.compile(r"/(?:root|work)/\w|index-url|pypi\.org|files\.pythonhosted")
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in files
        if path != Path(__file__).resolve() and (match := wrong.search(path.read_text(errors="replace")))
    ]
    assert found == []
    assert not (ROOT / "uv.lock").exists()
