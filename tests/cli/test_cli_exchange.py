"""`imapids analyze` in the formats of other programs: the right files, whole or not at all, and clear refusals."""

import json
import stat
from pathlib import Path

import pytest

import imapids as package

SAMPLE = Path(package.__file__).parent / "_samples" / "ssh-on-143.pcap"


@pytest.mark.parametrize(("form", "check"), [
    pytest.param("stix", lambda text: json.loads(text)["type"] == "bundle", id="a STIX bundle"),
    pytest.param("misp", lambda text: json.loads(text)["Event"]["Object"], id="a MISP event"),
    pytest.param("ecs", lambda text: [json.loads(line)["ecs"] for line in text.splitlines()], id="ECS documents"),
])
def test_files_and_standard_output_hold_the_same(imapids, tmp_path, form, check):
    out = tmp_path / "out"
    assert imapids("analyze", SAMPLE, "--format", form, "-o", out, "--quiet").code == 0
    outcome = imapids("analyze", SAMPLE, "--format", form, "--quiet")
    assert outcome.out == out.read_text()
    assert check(outcome.out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


@pytest.mark.parametrize("form", ["stix", "misp", "ecs"])
def test_a_symbolic_link_is_not_followed(imapids, tmp_path, form):
    target = tmp_path / "precious"
    target.write_text("keep me")
    (tmp_path / "link").symlink_to(target)
    outcome = imapids("analyze", SAMPLE, "--format", form, "-o", tmp_path / "link", "--quiet")
    assert outcome.code == 3
    assert "symbolic link" in outcome.err
    assert target.read_text() == "keep me"


def test_parquet_is_a_folder_of_frames_that_are_read_again(imapids, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    assert imapids("analyze", SAMPLE, "--format", "parquet", "-o", tmp_path / "frames", "--quiet").code == 0
    sessions = parquet.read_table(tmp_path / "frames" / "sessions.parquet").to_pylist()
    assert [(row["verdict"], row["protocol"]) for row in sessions] == [("not-imap", "ssh")]
    assert {path.suffix for path in (tmp_path / "frames").iterdir()} == {".parquet"}
    assert len(parquet.read_table(tmp_path / "frames" / "alerts.parquet")) >= 2


def test_parquet_wants_a_folder(imapids):
    outcome = imapids("analyze", SAMPLE, "--format", "parquet")
    assert outcome.code == 2
    assert "-o FOLDER" in outcome.err


def test_a_broken_run_leaves_no_half_file(imapids, tmp_path):
    outcome = imapids("analyze", tmp_path / "missing.pcap", "--format", "stix", "-o", tmp_path / "out.json", "--quiet")
    assert outcome.code == 3
    assert list(tmp_path.iterdir()) == []
