"""What is imported when: start-up stays short, and what the package must never import stays out."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import imapids
from imapids.errors import ExitCode, ImapidsError, InputError, OutputError, RuleError, UnsupportedInput, UsageError

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = Path(imapids.__file__).parent / "_samples"
NEVER = {"pandas", "scapy", "matplotlib", "altair", "pyarrow", "dask", "requests", "urllib3"}


def modules_after(code, *arguments):
    """Names of the top-level modules that a fresh interpreter holds after `code`."""
    script = (
        f"{code}\nimport sys; sys.stderr.write(' '.join(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    )
    run = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    return set(run.stderr.split())


def test_importing_the_package_imports_nothing_heavy():
    assert modules_after("import imapids").isdisjoint(NEVER | {"numpy", "msgspec", "rich", "sigma", "click", "yara_x"})


def test_the_version_is_answered_before_the_command_line_is_imported():
    code = "import sys; from imapids.__main__ import main; main(['--version'])"
    assert modules_after(code).isdisjoint(
        NEVER | {"click", "rich_click", "numpy", "msgspec", "rich", "importlib.metadata"}
    )


def test_a_usage_error_does_not_wait_for_the_engine():
    code = "from imapids.__main__ import main; main(['analyze', 'x.pcap', '--since', 'never'])"
    assert modules_after(code).isdisjoint(NEVER | {"numpy", "rich", "sigma"})


def test_analyze_imports_neither_pandas_nor_scapy_nor_sigma_nor_dpkt():
    capture = str(SAMPLES / "genuine-session.pcap")
    code = f"from imapids.__main__ import main; main(['analyze', {capture!r}, '-q', '-o', '/dev/null'])"
    used = modules_after(code)
    assert "numpy" in used
    assert used.isdisjoint(NEVER | {"sigma", "dpkt", "yaml", "rich", "rich_click", "asyncio", "shutil"})


@pytest.mark.parametrize(("sample", "late"), [
    pytest.param("genuine-session", {"sniff.stream_probes", "sniff.datagram_probes", "parse.tls", "parse.deflate"},
                 id="IMAP alone: no other protocol"),
    pytest.param("binary-beacon", {"sniff.datagram_probes", "parse.tls", "parse.deflate"},
                 id="TCP alone: no protocol of datagrams"),
])
def test_protocols_are_imported_when_somebody_asks_for_them(sample, late):
    code = (f"from imapids.__main__ import main; main(['analyze', {str(SAMPLES / sample)!r} + '.pcap', '-q', '-o', "
            "'/dev/null']); import sys; sys.stderr.write(' '.join(sys.modules))")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {f"imapids.{name}" for name in late}.isdisjoint(run.stderr.split())
    assert "imapids.pipeline.conversation" in run.stderr.split()


def test_analyze_does_not_import_masked_arrays():
    """NumPy imports them for some of its set functions: 0.05 s of every run."""
    capture = str(SAMPLES / "genuine-session.pcap")
    code = ("from imapids.__main__ import main\n"
            f"try: main(['analyze', {capture!r}, '-q', '-o', '/dev/null'])\nexcept SystemExit: pass\n"
            "import sys; sys.exit('numpy.ma' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


START = ("capture", "decode", "flows", "sniff", "parse", "judge", "observe", "output", "protocols", "records",
         "signatures")
"""Packages of which every run imports most modules."""


@pytest.mark.parametrize(("dear", "instead", "except_for"), [
    pytest.param(r"\bre\.compile\(", "protocols.late_patterns", {"late_patterns.py"}, id="patterns are compiled late"),
    pytest.param(r"^@dataclass", "msgspec.Struct", {"ring.py", "ring_blocks.py"}, id="records are msgspec's"),
])
def test_a_start_does_not_make_what_is_dear(dear, instead, except_for):
    pattern = re.compile(dear, re.MULTILINE)
    named = [str(path.relative_to(ROOT)) for package in START for path in (ROOT / "imapids" / package).rglob("*.py")
             if path.name not in except_for and pattern.search(path.read_text())]
    assert named == [], f"use {instead}"


SCAPY_SOURCE = ROOT / "imapids" / "capture" / "scapy_source.py"
"""Stands behind the extra of that name, and imports it inside of a function."""


def test_only_samples_and_tests_and_the_source_of_that_name_name_scapy():
    pattern = re.compile(r"^\s*(?:from|import)\s+scapy\b", re.MULTILINE)
    named = [
        path
        for path in (ROOT / "imapids").rglob("*.py")
        if "_samples" not in path.parts and path != SCAPY_SOURCE and pattern.search(path.read_text())
    ]
    assert named == []


def test_the_public_names_are_listed_and_exist():
    assert imapids.__all__ == sorted(imapids.__all__)
    assert [name for name in imapids.__all__ if not hasattr(imapids, name)] == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(UsageError, ExitCode.USAGE, id="usage"),
        pytest.param(RuleError, ExitCode.BAD_RULES, id="rules"),
        pytest.param(InputError, ExitCode.NO_INPUT, id="input"),
        pytest.param(UnsupportedInput, ExitCode.NO_INPUT, id="unsupported input"),
        pytest.param(OutputError, ExitCode.NO_INPUT, id="output"),
    ],
)
def test_every_error_names_its_exit_code(error, code):
    assert issubclass(error, ImapidsError)
    assert error.exit_code is code


def test_the_exit_codes_are_the_contract():
    assert {code.name: int(code) for code in ExitCode} == {
        "COMPLETE": 0,
        "ALERTS": 1,
        "USAGE": 2,
        "NO_INPUT": 3,
        "INCOMPLETE": 4,
        "BAD_RULES": 5,
        "INTERRUPTED": 130,
    }
