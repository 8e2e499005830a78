"""Bytes from the wire reach no terminal and no file as they are: whatever a dialogue holds, output is plain text."""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.analysis import analyze_all
from helpers.dialogues import Turn, capture_of

from imapids.__main__ import main
from imapids.run.options import ALL_EVENTS

C, S = 0, 1
GREETING = b"* OK [CAPABILITY IMAP4rev1 STARTTLS ID] ready\r\n"
HOSTILE = (
    b"\x1b]0;owned\x07", b"\x1b[2J\x1b[H", b"\x9b31m", b"\x00\x08\x7f", b"\xe2\x80\xae\xe2\x80\x8b",
    b"\xff\xfe\xc3\x28", b"[bold red]x[/]", b"%s%n{0}{x!r}", b"=HYPERLINK(1)", b"</script><img src=x>",
    b"\\x1b[2J", b"\xc2\x85\xc2\x9b",
)

PLACES: list[tuple[str, Callable[[bytes], list[Turn]]]] = [
    ("in the greeting", lambda x: [(S, b"* OK " + x + b" ready\r\n"), (C, b"a1 NOOP\r\n"), (S, b"a1 OK\r\n")]),
    ("in a capability", lambda x: [(S, b"* OK [CAPABILITY IMAP4rev1 " + x + b"] ready\r\n"), (C, b"a1 NOOP\r\n")]),
    ("as a tag", lambda x: [(S, GREETING), (C, x + b" NOOP\r\n"), (S, x + b" OK\r\n")]),
    ("as a command", lambda x: [(S, GREETING), (C, b"a1 " + x + b"\r\n"), (S, b"a1 BAD\r\n")]),
    ("as a user", lambda x: [(S, GREETING), (C, b'a1 LOGIN "' + x + b'" hunter2\r\n'), (S, b"a1 OK\r\n")]),
    ("as a user in a literal", lambda x: [
        (S, GREETING), (C, b"a1 LOGIN {%d+}\r\n%b hunter2\r\n" % (len(x), x)), (S, b"a1 NO [" + x + b"]\r\n")]),
    ("as a mechanism", lambda x: [(S, GREETING), (C, b"a1 AUTHENTICATE " + x + b"\r\n"), (S, b"a1 NO\r\n")]),
    ("as a mailbox", lambda x: [(S, GREETING), (C, b"a1 LOGIN bob hunter2\r\n"), (S, b"a1 OK\r\n"),
                                (C, b'a2 SELECT "' + x + b'"\r\n'), (S, b"a2 OK\r\n")]),
    ("in a search", lambda x: [(S, GREETING), (C, b"a1 LOGIN bob hunter2\r\n"), (S, b"a1 OK\r\n"),
                               (C, b"a2 SEARCH BODY " + x + b"\r\n"), (S, b"* SEARCH 1\r\na2 OK\r\n")]),
    ("in ID", lambda x: [(S, GREETING), (C, b'a1 ID ("name" "' + x + b'" "version" "' + x + b'")\r\n'),
                         (S, b'* ID ("name" "' + x + b'")\r\na1 OK ' + x + b"\r\n")]),
    ("as a response", lambda x: [(S, GREETING), (C, b"a1 NOOP\r\n"), (S, x + b"\r\n* " + x + b"\r\na1 OK\r\n")]),
    ("as a banner", lambda x: [(S, b"SSH-2.0-" + x + b"\r\n"), (C, b"SSH-2.0-" + x + b"\r\n")]),
    ("as an answer of SMTP", lambda x: [(S, b"220 " + x + b" ESMTP\r\n"), (C, b"EHLO " + x + b"\r\n"),
                                        (S, b"250 ok\r\n")]),
    ("as a request of HTTP", lambda x: [(C, b"GET /" + x + b" HTTP/1.1\r\nHost: " + x + b"\r\n\r\n"),
                                        (S, b"HTTP/1.1 200 " + x + b"\r\n\r\n")]),
    ("as a shell", lambda x: [(C, b"Microsoft Windows [Version 10.0]\r\n" + x + b"\r\nC:\\>"), (S, b"whoami\n" + x)]),
    ("as all there is", lambda x: [(S, x), (C, x)]),
]


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A capture for each place, with every hostile text there and with random mixtures of them."""
    folder = tmp_path_factory.mktemp("hostile")
    chance = random.Random(7)
    mixed = [b"".join(chance.choices(HOSTILE, k=4)) for _ in range(6)] + [chance.randbytes(40) for _ in range(6)]
    texts = [text.replace(b"\r", b"").replace(b"\n", b"") for text in (*HOSTILE, *mixed)]
    found = []
    for number, (_, talk) in enumerate(PLACES):
        path = folder / f"{number}.pcap"
        path.write_bytes(capture_of([talk(text) for text in texts]))
        found.append(path)
    return found


def check_plain(text: str) -> None:
    """Printable ASCII and line ends."""
    assert text.isascii()
    assert text.replace("\n", "").isprintable()


def check_table(path: Path) -> None:
    """Plain text, and no cell that a spreadsheet takes for a formula."""
    with path.open(newline="") as table:
        cells = [cell for row in csv.reader(table) for cell in row]
    check_plain("".join(cells))
    assert [cell for cell in cells if cell.startswith(("=", "+", "@", "\t")) or re.match("-[^0-9]", cell)] == []


@pytest.mark.parametrize("number", [pytest.param(number, id=place[0]) for number, place in enumerate(PLACES)])
def test_hostile_bytes_come_out_as_plain_text(captures: list[Path], number: int, tmp_path: Path,
                                              capfd: pytest.CaptureFixture[str]) -> None:
    path = captures[number]
    run = analyze_all(path)
    check_plain(run.text.decode())
    assert len(run.lines) == run.text.count(b"\n")
    assert max(map(len, run.text.splitlines())) <= 16 * 1_024
    kinds = ",".join(sorted(ALL_EVENTS))
    assert main(["analyze", str(path), "--format", "csv", "--events", kinds, "-o", f"{tmp_path}/csv/"]) == 0
    for table in (tmp_path / "csv").iterdir():
        check_table(table)
    assert main(["analyze", str(path), "--format", "table", "-v"]) == 0
    assert main(["explain", str(path)]) == 0
    out, err = capfd.readouterr()
    check_plain(err)
    assert "\x1b" not in out
    assert out.replace("\n", "").isprintable()
    assert "\u202e" not in out


def test_a_hostile_file_name_comes_out_as_plain_text(captures: list[Path], tmp_path: Path,
                                                     capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a\x1b[2J\u202e\udcff.pcap"
    path.write_bytes(captures[0].read_bytes()[:-5])
    for form in ("jsonl", "table"):
        assert main(["analyze", str(path), "--format", form]) == 4
        out, err = capfd.readouterr()
        check_plain(err)
        assert out.replace("\n", "").isprintable()
    broken = tmp_path / "b\x1b[2J.pcap"
    broken.write_bytes(b"text")
    assert main(["analyze", str(broken)]) == 3
    check_plain(capfd.readouterr().err)
