"""Taint: secrets go in by every way that a client has, and come out in no format of output, in no encoding."""

from __future__ import annotations

import base64
import hmac
import random
import string
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from helpers.analysis import analyze_all, leaks
from helpers.dialogues import Turn, capture_of

from imapids.__main__ import main
from imapids.run.options import ALL_EVENTS

C, S = 0, 1
USER = b"bob"
GREETING = (S, b"* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ AUTH=PLAIN AUTH=LOGIN] ready\r\n")
LETTERS = (string.ascii_letters + string.digits).encode()
SPECIAL = LETTERS + b"!#$&',-./:;<=>?@[]^_`|~"
TEXT = SPECIAL + b' "\\%*(){'
ANY = bytes(range(1, 256)).replace(b"\r", b"").replace(b"\n", b"")


def b64(data: bytes) -> bytes:
    return base64.b64encode(data)


def quoted(data: bytes) -> bytes:
    return b'"' + data.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def plain(secret: bytes) -> bytes:
    return b64(b"\0" + USER + b"\0" + secret)


def bearer(secret: bytes) -> bytes:
    return b64(b"user=bob@example.test\x01auth=Bearer " + secret + b"\x01\x01")


def asked(command: bytes, answer: bytes = b"a1 OK done\r\n") -> list[Turn]:
    return [GREETING, (C, command), (S, answer)]


def rounds(command: bytes, *responses: bytes, prompts: Sequence[bytes] = ()) -> list[Turn]:
    """AUTHENTICATE with continuations."""
    turns: list[Turn] = [GREETING, (C, command)]
    for number, response in enumerate(responses):
        turns += [(S, b"+ " + (prompts[number] if number < len(prompts) else b"") + b"\r\n"), (C, response + b"\r\n")]
    return [*turns, (S, b"a1 OK done\r\n")]


WAYS: list[tuple[str, bytes, Callable[[bytes], list[Turn]]]] = [
    ("LOGIN with an atom", LETTERS, lambda s: asked(b"a1 LOGIN bob " + s + b"\r\n")),
    ("LOGIN that fails", LETTERS, lambda s: asked(b"a1 LOGIN bob " + s + b"\r\n", b"a1 NO no\r\n")),
    ("LOGIN in lower case", LETTERS, lambda s: asked(b"a1 login bob " + s + b"\r\n")),
    ("LOGIN with a quoted string", TEXT, lambda s: asked(b"a1 LOGIN bob " + quoted(s) + b"\r\n")),
    ("LOGIN with bytes that no string may hold", ANY, lambda s: asked(b"a1 LOGIN bob " + s + b"\r\n")),
    ("LOGIN with a literal", ANY, lambda s: [GREETING, (C, b"a1 LOGIN bob {%d}\r\n" % len(s)), (S, b"+ go on\r\n"),
                                             (C, s + b"\r\n"), (S, b"a1 OK done\r\n")]),
    ("LOGIN with two literals that do not wait", ANY,
        lambda s: asked(b"a1 LOGIN {3+}\r\nbob {%d+}\r\n%b\r\n" % (len(s), s))),
    ("LOGIN with a literal that is not finished", ANY, lambda s: [
        GREETING, (C, b"a1 LOGIN bob {%d}\r\n" % (len(s) + 9)), (S, b"+ go on\r\n"), (C, s)]),
    ("LOGIN with too many words", LETTERS, lambda s: asked(b"a1 LOGIN bob the " + s + b" word\r\n", b"a1 BAD no\r\n")),
    ("LOGIN that the server repeats", LETTERS, lambda s: asked(
        b"a1 LOGIN bob " + s + b"\r\n", b"a1 BAD unexpected LOGIN bob " + s + b"\r\n")),
    ("LOGIN without a tag", LETTERS, lambda s: asked(b"LOGIN bob " + s + b"\r\n", b"* BAD no\r\n")),
    ("LOGIN that is mistyped", LETTERS, lambda s: asked(b"a1 LOGNI bob " + s + b"\r\n", b"a1 BAD no\r\n")),
    ("LOGIN twice", LETTERS, lambda s: asked(b"a1 LOGIN bob " + s + b"\r\na2 LOGIN bob " + s + b"x\r\n")),
    ("LOGIN without a greeting", LETTERS, lambda s: [(C, b"a1 LOGIN bob " + s + b"\r\n"), (S, b"a1 OK done\r\n")]),
    ("AUTHENTICATE PLAIN", ANY, lambda s: rounds(b"a1 AUTHENTICATE PLAIN\r\n", plain(s))),
    ("AUTHENTICATE PLAIN at once", ANY, lambda s: asked(b"a1 AUTHENTICATE PLAIN " + plain(s) + b"\r\n")),
    ("AUTHENTICATE PLAIN at once, mistyped", ANY, lambda s: asked(
        b"a1 AUTHENTICAT PLAIN " + plain(s) + b"\r\n", b"a1 BAD no\r\n")),
    ("AUTHENTICATE PLAIN, not base64", LETTERS, lambda s: rounds(b"a1 AUTHENTICATE PLAIN\r\n", b"bob " + s)),
    ("AUTHENTICATE PLAIN, not base64 and early", LETTERS, lambda s: [
        GREETING, (C, b"a1 AUTHENTICATE PLAIN\r\nbob " + s + b"\r\n"), (S, b"+ \r\n"), (S, b"a1 BAD no\r\n")]),
    ("AUTHENTICATE PLAIN, not base64, of a server that echoes", LETTERS, lambda s: [
        *rounds(b"a1 AUTHENTICATE PLAIN\r\n", b"bob " + s)[:-1], (S, b"bob " + s + b"\r\n"),
        (S, s + b" BAD unknown\r\n"), (S, b"a1 BAD no\r\n")]),
    ("AUTHENTICATE LOGIN, not base64", LETTERS, lambda s: rounds(b"a1 AUTHENTICATE LOGIN\r\n", USER, b"my " + s)),
    ("AUTHENTICATE LOGIN, not base64, after a refusal", LETTERS, lambda s: [
        *rounds(b"a1 AUTHENTICATE LOGIN\r\n", USER, s + b".")[:-1], (S, s + b". BAD no\r\n"), (S, b"a1 NO no\r\n")]),
    ("AUTHENTICATE LOGIN", ANY, lambda s: rounds(b"a1 AUTHENTICATE LOGIN\r\n", b64(USER), b64(s),
                                                 prompts=(b"VXNlcm5hbWU6", b"UGFzc3dvcmQ6"))),
    ("AUTHENTICATE CRAM-MD5", LETTERS, lambda s: rounds(
        b"a1 AUTHENTICATE CRAM-MD5\r\n", b64(b"bob " + hmac.digest(s, b"<1.2@x>", "md5").hex().encode()),
        prompts=(b64(b"<1.2@x>"),))),
    ("AUTHENTICATE XOAUTH2", LETTERS, lambda s: asked(b"a1 AUTHENTICATE XOAUTH2 " + bearer(s) + b"\r\n")),
    ("AUTHENTICATE XOAUTH2 with a continuation", LETTERS, lambda s: rounds(b"a1 AUTHENTICATE XOAUTH2\r\n", bearer(s))),
    ("AUTHENTICATE OAUTHBEARER", LETTERS, lambda s: asked(b"a1 AUTHENTICATE OAUTHBEARER " + b64(
        b"n,a=bob,\x01host=x\x01auth=Bearer " + s + b"\x01\x01") + b"\r\n")),
    ("AUTHENTICATE of an unknown mechanism", ANY, lambda s: rounds(
        b"a1 AUTHENTICATE X-OWN\r\n", b64(s), b64(s + b"2"))),
    ("PASS of POP3", LETTERS, lambda s: [(S, b"+OK ready\r\n"), (C, b"USER bob\r\n"), (S, b"+OK\r\n"),
                                         (C, b"PASS " + s + b"\r\n"), (S, b"+OK\r\n")]),
    ("AUTH PLAIN of SMTP", ANY, lambda s: [(S, b"220 mx ESMTP\r\n"), (C, b"EHLO x\r\n"), (S, b"250 AUTH PLAIN\r\n"),
                                           (C, b"AUTH PLAIN " + plain(s) + b"\r\n"), (S, b"235 ok\r\n")]),
    ("PASS of FTP", LETTERS, lambda s: [(S, b"220 FTP ready\r\n"), (C, b"USER bob\r\n"), (S, b"331 go on\r\n"),
                                        (C, b"PASS " + s + b"\r\n"), (S, b"230 ok\r\n")]),
    ("PASS of IRC", LETTERS, lambda s: [(C, b"PASS " + s + b"\r\nNICK bot7\r\nUSER bot7 0 * :bot\r\n"),
                                        (S, b":irc.x 001 bot7 :Welcome\r\n")]),
    ("Basic of HTTP", LETTERS, lambda s: [(C, b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic " + b64(b"bob:" + s)
                                           + b"\r\n\r\n"), (S, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]),
    ("Basic of an HTTP proxy", LETTERS, lambda s: [
        (C, b"CONNECT x:443 HTTP/1.1\r\nProxy-Authorization: Basic " + b64(b"bob:" + s) + b"\r\n\r\n"),
        (S, b"HTTP/1.1 200 OK\r\n\r\n")]),
]
"""How a secret comes in: a sentence, the bytes that it may hold, and the dialogue."""

FIRST_LINES = ("AUTHENTICATE PLAIN, not base64",)
"""Of these the last lines alone do not show that they hold a secret."""

PER_WAY = 10


def secrets_of(alphabet: bytes, seed: int, count: int = PER_WAY) -> list[bytes]:
    """Random secrets of 10 to 30 bytes."""
    chance = random.Random(seed)
    return [bytes(chance.choices(alphabet, k=chance.randint(10, 30))) for _ in range(count)]


Tainted = dict[int, tuple[Path, list[bytes]]]


@pytest.fixture(scope="module", params=[pytest.param(1_400, id="whole lines"),
                                        pytest.param(3, id="three bytes a segment")])
def tainted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tainted:
    """For each way a capture with its secrets."""
    folder = tmp_path_factory.mktemp("tainted")
    found = {}
    for number, (_, alphabet, talk) in enumerate(WAYS):
        secrets = secrets_of(alphabet, number)
        path = folder / f"{number}.pcap"
        path.write_bytes(capture_of([talk(secret) for secret in secrets], segment_bytes=request.param))
        found[number] = path, secrets
    return found


@pytest.mark.parametrize("number", [pytest.param(number, id=way[0]) for number, way in enumerate(WAYS)])
def test_a_secret_is_in_no_output(tainted: Tainted, number: int, tmp_path: Path,
                                  capfd: pytest.CaptureFixture[str]) -> None:
    path, secrets = tainted[number]
    run = analyze_all(path)
    assert len(run.sessions) == PER_WAY
    assert leaks(run.text, secrets) == []
    kinds = ",".join(sorted(ALL_EVENTS))
    assert main(["analyze", str(path), "--format", "csv", "--events", kinds, "-o", f"{tmp_path}/csv/"]) == 0
    assert main(["analyze", str(path), "--format", "table", "-v"]) == 0
    assert main(["explain", str(path)]) == 0
    out, err = capfd.readouterr()
    texts = [out.encode(), err.encode(), *(table.read_bytes() for table in (tmp_path / "csv").iterdir())]
    assert [found for text in texts for found in leaks(text, secrets)] == []
    flow_id = run.events("session")[-1].flow
    assert flow_id is not None
    assert main(["explain", str(path), "--flow", str(flow_id.flow_id)]) == 0
    assert leaks(capfd.readouterr().out.encode(), secrets) == []


@pytest.mark.parametrize("number", [pytest.param(number, id=way[0]) for number, way in enumerate(WAYS)
                                    if way[0] not in FIRST_LINES])
def test_a_secret_of_a_capture_that_begins_late_is_in_no_output(number: int, tmp_path: Path) -> None:
    """Without handshake and without the first turns: the machine has to guess what the lines are."""
    _, alphabet, talk = WAYS[number]
    secrets = secrets_of(alphabet, 1_000 + number, 6)
    for skipped in (1, 2, 3):
        path = tmp_path / f"{skipped}.pcap"
        dialogues = [[*talk(secret)[skipped:], (C, b"a7 NOOP\r\n"), (S, b"a7 OK done\r\n")] for secret in secrets]
        path.write_bytes(capture_of(dialogues, opened=False))
        assert leaks(analyze_all(path).text, secrets) == []


def test_equal_secrets_have_equal_hashes_and_others_do_not(tmp_path: Path) -> None:
    path = tmp_path / "reuse.pcap"
    words = [b"hunter2", b"s3cret", b"hunter2"]
    path.write_bytes(capture_of([asked(b"a1 LOGIN user%d " % i + word + b"\r\n") for i, word in enumerate(words)]))
    hashes = [line["login"]["secret_hash"] for line in analyze_all(path, events={"login"}).lines]
    assert hashes[0] == hashes[2] != hashes[1]
    others = [line["login"]["secret_hash"] for line in analyze_all(path, events={"login"}, hash_key=None).lines]
    assert others[0] == others[2]
    assert set(others).isdisjoint(hashes)
