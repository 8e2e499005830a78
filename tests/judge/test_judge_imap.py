"""Dialogues and their verdicts: what is genuine, what only plays IMAP, and what is not enough to tell."""

from __future__ import annotations

import re
from base64 import b64encode
from pathlib import Path
from random import Random

import pytest
from helpers.imap_talk import FETCH, GREETING, LOGIN, LOGOUT, SELECT, SESSION, C, S, Talk, chunks_of, play, play_pieces

import imapids
from imapids.judge.evidence import CODES, weight
from imapids.records.dialogue import TlsFacts
from imapids.records.streams import StreamGap
from imapids.records.verdicts import UNDECIDED_REASONS


def noise(size: int, seed: int = 7) -> bytes:
    return Random(seed).randbytes(size)


def blob(size: int, seed: int = 7) -> bytes:
    return b64encode(noise(size, seed))


GENUINE: dict[str, Talk] = {
    "a whole session": SESSION,
    "one failed login": (GREETING, (C, b"a1 LOGIN bob hunter2\r\n"), (S, b"a1 NO [AUTHENTICATIONFAILED] no\r\n")),
    "bare greeting, no texts": ((S, b"* OK\r\n"), (C, b"x NOOP\r\n"), (S, b"x OK\r\n")),
    "PREAUTH": ((S, b"* PREAUTH hello bob\r\n"), *SELECT, *FETCH, *LOGOUT),
    "lower case on both sides": ((S, b"* ok imap4 ready\r\n"), (C, b"a1 login bob hunter2\r\n"), (S, b"a1 ok in\r\n")),
    "the client speaks first": ((C, b"p0 CAPABILITY\r\n"), GREETING, (S, b"* CAPABILITY IMAP4rev1\r\np0 OK done\r\n")),
    "a greeting after a wait": (
        (S, b"* OK Waiting for authentication process to respond..\r\n"),
        GREETING,
        (C, b"a NOOP\r\n"),
        (S, b"a OK\r\n"),
    ),
    "an HTTP probe at a server that says BAD": (
        GREETING,
        (C, b"GET / HTTP/1.0\r\n\r\n"),
        (S, b"GET BAD Error in command.\r\n* BAD Error in command.\r\n"),
    ),
    "an HTTP probe with headers": (
        GREETING,
        (C, b"GET / HTTP/1.1\r\nHost: x:143\r\nUser-Agent: y/1\r\n\r\n"),
        (S, b"GET BAD what\r\nHost: BAD what\r\n* BYE Too many invalid commands.\r\n"),
    ),
    "a TLS hello that is answered line by line": (
        (S, b"* OK IMAP4rev1\r\n"),
        (C, b"\x16\x03\x01\x02 \x01\n\0\x01\xfc\x03\n\n\xc0\x14 x\n"),
        (S, b"\x16\x03\x01\x02 BAD  Invalid command\r\n\xc0\x14 BAD  Invalid command\r\n BAD  Invalid command\r\n"),
    ),
    "random bytes at a server that hangs up": (
        GREETING,
        (C, noise(300)),
        (S, b"* BAD Error\r\n* BAD Error\r\n* BYE Too many invalid IMAP commands.\r\n"),
    ),
    "a line that is too long for the server": (
        GREETING,
        (C, b"A" * 9000 + b"\r\n"),
        (S, b"* BYE Input buffer full\r\n"),
    ),
    "a refused mechanism, and its blob all the same": (
        GREETING,
        (C, b"000b AUTHENTICATE NTLM\r\n"),
        (S, b"000b NO no such mechanism\r\n"),
        (C, blob(24) + b"\r\n"),
        (S, blob(24) + b" BAD  Missing command\r\n"),
    ),
    "an empty line answered by a null command": (GREETING, (C, b"\r\n"), (S, b"* BAD  Null command\r\n"), *LOGOUT),
    "a vendor's word with a number": (GREETING, *LOGIN, *SELECT, (S, b"* 15 EXPUNGED\r\n* 14 EXISTS\r\n"), *LOGOUT),
    "a timeout": (GREETING, *LOGIN, (S, b"* BYE Autologout; idle for too long\r\n")),
    "one tag for all": (
        GREETING,
        (C, b"gerg NOOP\r\n"),
        (S, b"gerg OK\r\n"),
        (C, b"gerg NOOP\r\n"),
        (S, b"gerg OK\r\n"),
    ),
    "two answers to one command": (GREETING, (C, b"a NOOP\r\n"), (S, b"a OK done\r\na OK done\r\n"), *LOGOUT),
    "data of a pipelined login": (
        GREETING,
        (C, b"1 LOGIN bob hunter2\r\n2 SELECT INBOX\r\n"),
        (S, b"* 3 EXISTS\r\n1 OK\r\n2 OK\r\n"),
    ),
    "a vendor's login": (
        GREETING,
        (C, b"1 XLOGIN abc\r\n"),
        (S, b"1 OK\r\n"),
        (C, b"2 SELECT INBOX\r\n"),
        (S, b"* 1 EXISTS\r\n2 OK\r\n"),
    ),
    "odd tags, ID strings and literals in good grammar": (
        GREETING,
        (C, b"AMILRN6FJF7YUINQG6VFZ6CNYA4KTKMG NOOP\r\n"),
        (S, b"AMILRN6FJF7YUINQG6VFZ6CNYA4KTKMG OK done\r\n"),
        (C, b'a ID ("name" "' + blob(90) + b'")\r\n'),
        (S, b"* ID NIL\r\na OK done\r\n"),
    ),
    "a literal in a mailbox name": (
        GREETING,
        *LOGIN,
        (C, b'l LIST "" *\r\n'),
        (S, b'* LIST () "/" {5}\r\nINBOX\r\nl OK done\r\n'),
    ),
    "header fields as literals": (
        GREETING,
        *LOGIN,
        *SELECT,
        (C, b"f FETCH 1 BODY[HEADER.FIELDS (X)]\r\n"),
        (S, b"* 1 FETCH (BODY[HEADER.FIELDS ({1}\r\nX)] {2}\r\n\r\n FLAGS ())\r\nf OK\r\n"),
    ),
    "STARTTLS that nobody uses": (GREETING, (C, b"a STARTTLS\r\n"), (S, b"a OK go\r\n")),
    "many commands at once": (
        GREETING,
        (C, b"".join(b"t%d NOOP\r\n" % number for number in range(100))),
        (S, b"".join(b"t%d OK done\r\n" % number for number in range(100))),
    ),
}


@pytest.mark.parametrize("name", GENUINE)
def test_genuine(name: str) -> None:
    played = play(GENUINE[name])
    assert played.verdict.verdict == "genuine", played.verdict
    assert played.verdict.protocol in ("imap", "imap+starttls")


MIMICS: dict[str, tuple[Talk, str]] = {
    "binary after the greeting": (
        (GREETING, (C, noise(200, 1)), (S, noise(200, 2)), (C, noise(90, 3)), (S, noise(90, 4))),
        "server-line-is-no-imap",
    ),
    "binary without a line end": (
        (GREETING, (C, b"\0\0\0\x08abcdefgh"), (S, b"\0\0\0\x02\xff\xfe" * 8)),
        "server-line-is-no-imap",
    ),
    "a shell after the greeting": (
        ((S, b"* OK ready\r\n"), (S, b"whoami\n"), (C, b"root\n"), (S, b"id\n"), (C, b"uid=0(root)\n")),
        "server-line-is-no-imap",
    ),
    "answers to tags never sent": (
        (GREETING, *LOGIN, (C, b"a2 NOOP\r\n"), (S, b"zz OK yes\r\nyy OK yes\r\n")),
        "answer-without-command",
    ),
    "echo after a greeting": (
        (GREETING, (C, b"a1 NOOP\r\n"), (S, b"a1 NOOP\r\n"), (C, b"a2 NOOP\r\n"), (S, b"a2 NOOP\r\n")),
        "server-echoes",
    ),
    "chat without completions": (
        (
            GREETING,
            *(
                (side, line % number)
                for number in range(5)
                for side, line in ((C, b"a%d NOOP\r\n"), (S, b"* OK still %d\r\n"))
            ),
        ),
        "no-completions",
    ),
    "fetch without login": (
        (GREETING, (C, b"a FETCH 1 BODY[]\r\n"), (S, b"* 1 FETCH (BODY[] {4}\r\nabcd)\r\na OK\r\n")),
        "success-in-impossible-state",
    ),
    "fetch without a mailbox": (
        (GREETING, *LOGIN, (C, b"b UID FETCH 1 BODY[]\r\n"), (S, b"b OK\r\n")),
        "success-in-impossible-state",
    ),
    "messages pushed before login": (
        (
            GREETING,
            (S, b'* 0 FETCH (X "a")\r\n'),
            (C, b"a1 NOOP\r\n"),
            (S, b'* 1 FETCH (X "b")\r\n* 2 FETCH (X "c")\r\n'),
        ),
        "data-before-login",
    ),
    "literals that lie": (
        (
            GREETING,
            *LOGIN,
            *SELECT,
            *(
                (side, data)
                for number in range(2)
                for side, data in (
                    (C, b"f%d FETCH 1 BODY[]\r\n" % number),
                    (
                        S,
                        b"* 1 FETCH (BODY[] {3}\r\n"
                        + noise(60, number).replace(b"\n", b"")
                        + b")\r\nf%d OK\r\n" % number,
                    ),
                )
            ),
        ),
        "literal-lies",
    ),
    "NOOP as a channel": (
        (
            GREETING,
            *(
                (side, data)
                for number in range(3)
                for side, data in (
                    (C, b"a%d NOOP " % number + blob(90, number) + b"\r\n"),
                    (S, b"a%d OK " % number + blob(60, number) + b"\r\n"),
                )
            ),
        ),
        "opaque-response-text",
    ),
    "base64 in untagged OK": (
        (
            GREETING,
            (C, b"a NOOP\r\n"),
            (S, b"* OK " + blob(66) + b"\r\na OK\r\n"),
            (C, b"b NOOP\r\n"),
            (S, b"* OK " + blob(66, 8) + b"\r\nb OK\r\n"),
        ),
        "opaque-response-text",
    ),
    "AUTHENTICATE as a channel": (
        (
            GREETING,
            (C, b"a AUTHENTICATE XTOK\r\n"),
            *(
                (side, data)
                for number in range(9)
                for side, data in ((S, b"+ " + blob(60, number) + b"\r\n"), (C, blob(60, number) + b"\r\n"))
            ),
        ),
        "authenticate-channel",
    ),
    "roles reversed": (
        ((C, b"* OK ready\r\n"), (S, b"a0 LOGIN a b\r\n"), (C, b"a0 OK in\r\n"), (S, b"a1 NOOP\r\n")),
        "client-sends-greeting",
    ),
    "frames that are no security layer": (
        (
            GREETING,
            (C, b"a AUTHENTICATE GSSAPI\r\n"),
            (S, b"+ \r\n"),
            (C, b"YWJj\r\n"),
            (S, b"a OK in\r\n"),
            (C, b"\0\0\0\0\0\0\0\0"),
            (S, b"\0\xff\xff\xff\xff\xff"),
        ),
        "sasl-layer-lies",
    ),
}


@pytest.mark.parametrize("name", MIMICS)
def test_mimic(name: str) -> None:
    talk, code = MIMICS[name]
    played = play(talk)
    assert played.verdict.verdict == "mimic", played.verdict
    assert code in played.codes
    first = next(evidence for evidence in played.verdict.evidence if evidence.code == code)
    assert first.packet or code in ("no-completions", "authenticate-channel")


@pytest.mark.parametrize("name", MIMICS)
@pytest.mark.parametrize("sides", ["client", "server"])
def test_half_a_conversation_is_never_accused(name: str, sides: str) -> None:
    wanted = C if sides == "client" else S
    half = [(side, data) for side, data in MIMICS[name][0] if side == wanted]
    assert play(half, sides=sides).verdict.verdict in ("undecided", "genuine")


@pytest.mark.parametrize("name", GENUINE)
@pytest.mark.parametrize("lost", range(8))
def test_a_lost_segment_accuses_nobody(name: str, lost: int) -> None:
    chunks = chunks_of(GENUINE[name], 23)
    index = lost * len(chunks) // 8
    gone = chunks[index]
    pieces = [
        *chunks[:index],
        StreamGap(gone.side, gone.offset, len(gone.data), gone.time_ns, gone.packet),
        *chunks[index + 1 :],
    ]
    assert play_pieces(pieces).verdict.verdict in ("genuine", "undecided")


HELLO_AND_MORE = bytes.fromhex("160303007a020000760303") + noise(118) + b"\x17\x03\x03\x02\x00" + noise(512, 9)
HIDDEN: dict[str, Talk] = {
    "TLS after STARTTLS": (
        GREETING, (C, b"a STARTTLS\r\n"), (S, b"a OK go\r\n"), (C, b"\x16\x03\x01\x02\x00" + noise(200)),
        (S, HELLO_AND_MORE), (C, b"\x17\x03\x03\x00\x40" + noise(64)), (S, b"\x17\x03\x03\x01\x00" + noise(256)),
    ),
    "COMPRESS": (
        GREETING, *LOGIN, (C, b"b COMPRESS DEFLATE\r\n"), (S, b"b OK active\r\n"), (C, noise(60)), (S, noise(900)),
        (C, noise(40)), (S, noise(90)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", [*GENUINE, *HIDDEN])
@pytest.mark.parametrize("told", ["when the client goes on", "at the end"])
def test_a_gap_that_is_told_late_accuses_nobody(name: str, told: str) -> None:
    """Bytes behind a hole wait for it to fill, so the server's answers to what is missing come before the gap does."""
    chunks = chunks_of({**GENUINE, **HIDDEN}[name])
    ours = [index for index, chunk in enumerate(chunks) if chunk.side == C]
    for lost in ours:
        gone = chunks[lost]
        gap = StreamGap(C, gone.offset, len(gone.data), gone.time_ns, gone.packet)
        after = [chunk for chunk in chunks[lost + 1 :] if chunk.side == C]
        if told == "at the end":
            rest = [chunk for chunk in chunks[lost + 1 :] if chunk.side == S] + [gap, *after]
        else:
            next_one = next((at for at in ours if at > lost), len(chunks))
            rest = [*chunks[lost + 1 : next_one], gap, *chunks[next_one:]]
        assert play_pieces([*chunks[:lost], *rest]).verdict.verdict in ("genuine", "undecided")


@pytest.mark.parametrize("ahead", [1, 3, 9])
@pytest.mark.parametrize("name", [*GENUINE, *HIDDEN])
def test_a_tap_whose_clock_is_ahead_accuses_nobody(name: str, ahead: int) -> None:
    """Two taps, one for each direction: all packets of the server stand `ahead` milliseconds too early."""
    for start in range(1, len({**GENUINE, **HIDDEN}[name])):  # so far the client took its time, and all was in order
        chunks = chunks_of({**GENUINE, **HIDDEN}[name])
        for chunk in chunks[start:]:
            chunk.time_ns -= ahead * 1_100_000 * (chunk.side == S)
        late = sorted(chunks[start:], key=lambda chunk: chunk.time_ns)
        assert play_pieces([*chunks[:start], *late]).verdict.verdict in ("genuine", "undecided")


def test_commands_behind_their_answers_are_completed() -> None:
    talk = ((C, b"a1 LOGIN bob hunter2\r\n"), (S, b"a1 OK in\r\n"), (S, b"a2 OK [READ-WRITE] done\r\n"))
    played = play((GREETING, *talk, (C, b"a2 SELECT INBOX\r\n"), *FETCH, *LOGOUT))
    assert played.verdict.verdict == "genuine"
    assert [command["result"] for command in played.of("Command")] == ["ok"] * 4
    assert played.dialogue.facts.unmatched == 0
    assert "answer-without-command" not in played.codes


def test_what_was_broken_before_the_last_words_of_the_client_stays_broken() -> None:
    talk = ((C, b"a0 NOOP\r\n"), (S, b"a0 OK\r\nx1 OK\r\nx2 OK\r\n"), (C, b"a1 NOOP\r\n"), (S, b"a1 OK\r\n"))
    played = play_pieces([*chunks_of((GREETING, *talk)), StreamGap(C, 18, 20, 9, 9)])
    assert played.verdict.verdict == "mimic"
    assert {"answer-without-command"} <= played.codes


@pytest.mark.parametrize("line", [b"a1 LOGIN bob bo", b"a1 LOGIN bob ", b"a1 AUTHENTICATE PLAIN AGJvYgBi"])
def test_a_login_that_the_capture_cut_off_says_nothing_of_the_secret(line: bytes) -> None:
    """Half a secret has another hash, may look empty, or like the user's name."""
    chunks = chunks_of((GREETING, (C, line), (S, b"a1 OK in\r\n")))
    played = play_pieces([*chunks[:2], StreamGap(C, len(line), 9, 2, 2), chunks[2]])
    login = played.of("Login")[0]
    assert (login["outcome"], login.get("secret_hash", "")) == ("success", "")
    assert not login.get("secret_traits")


@pytest.mark.parametrize("name", GENUINE)
def test_a_capture_that_starts_later_accuses_nobody(name: str) -> None:
    for start in range(1, len(GENUINE[name])):
        assert play(GENUINE[name][start:], midstream=True).verdict.verdict in ("genuine", "undecided")


def test_midstream_is_followed_within_two_lines() -> None:
    played = play(
        (
            (S, b"f a message\r\n)\r\na7 OK FETCH completed\r\n"),
            (C, b"a8 UID FETCH 2 BODY[]\r\n"),
            (S, b"* 2 FETCH (BODY[] {4}\r\nabcd)\r\na8 OK FETCH completed\r\n"),
        ),
        midstream=True,
    )
    assert played.verdict.verdict == "genuine"
    assert played.dialogue.facts.completed == 1


def test_after_a_gap_commands_are_followed_within_two_lines() -> None:
    chunks = chunks_of(SESSION)
    pieces = [*chunks[:3], StreamGap(C, chunks[3].offset, 18, 3, 3), StreamGap(S, chunks[4].offset, 500, 3, 3)]
    late = chunks_of(((C, b"a7 NOOP\r\n"), (S, b"tail of a line\r\na7 OK NOOP completed\r\n")))
    for chunk in late:
        chunk.offset += 10_000
    played = play_pieces([*pieces, *late])
    assert played.verdict.verdict == "genuine"
    assert [command["result"] for command in played.of("Command") if command["tag"] == "a7"] == ["ok"]


@pytest.mark.parametrize(
    ("talk", "reason", "options"),
    [
        pytest.param((GREETING,), "greeting-only", {}, id="a greeting alone"),
        pytest.param(
            (GREETING, (C, b"a1 NOOP\r\n")), "greeting-only", {}, id="a greeting, and a command without answer"
        ),
        pytest.param(((S, b"* BYE too many connections\r\n"),), "greeting-only", {}, id="a refusal alone"),
        pytest.param(((C, b"a1 LOGIN bob hunter2\r\n"),), "server-silent", {}, id="only the client spoke"),
        pytest.param(
            ((C, b"a1 LOGIN bob hunter2\r\n"),), "one-sided", {"sides": "client"}, id="only the client was captured"
        ),
        pytest.param((GREETING,), "one-sided", {"sides": "server"}, id="only the server was captured"),
        pytest.param(((S, b"* 3 EXISTS\r\n"),), "mid-stream", {"midstream": True}, id="one line from the middle"),
        pytest.param(
            ((C, b"A1 LOGIN bob hunter2\r\n"), (S, b"A1 OK Logged in\r\n"), (C, b"A2 NOOP\r\n"), (S, b"A2 OK\r\n")),
            "too-short",
            {},
            id="answers that match, and no greeting though every byte was seen",
        ),
    ],
)
def test_undecided(talk: Talk, reason: str, options: dict[str, object]) -> None:
    verdict = play(talk, **options).verdict  # type: ignore[arg-type]  # options of play
    assert (verdict.verdict, verdict.reason) == ("undecided", reason)
    assert reason in UNDECIDED_REASONS
    if reason == "server-silent":
        assert verdict.protocol is None


STARTTLS: Talk = (
    GREETING,
    (C, b"a STARTTLS\r\n"),
    (S, b"a OK go\r\n"),
    (C, b"\x16\x03\x01 rest"),
    (S, b"\x16\x03\x03 rest"),
)


@pytest.mark.parametrize(
    ("tls", "verdict", "code"),
    [
        pytest.param(
            TlsFacts(client_hello=True, server_hello=True, version="TLS 1.3", records_server=3),
            "genuine",
            "tls-after-starttls",
            id="a real handshake",
        ),
        pytest.param(
            TlsFacts(client_hello=True, records_client=1),
            "genuine",
            "completions-match",
            id="cut before the server's hello",
        ),
        pytest.param(TlsFacts(broken=True), "mimic", "no-tls-after-starttls", id="neither side speaks TLS"),
        pytest.param(
            TlsFacts(broken=True, fake=True, application_data=True, records_server=2, application_bytes_server=90),
            "mimic",
            "no-tls-after-starttls",
            id="records without a handshake",
        ),
        pytest.param(
            TlsFacts(client_hello=True, server_hello=True, choice_offered=False, fake=True, broken=True,
                     application_data=True, records_client=3, records_server=2, application_bytes_client=90),
            "mimic",
            "no-tls-after-starttls",
            id="a hello that chose what was never offered, then data of the client",
        ),
        pytest.param(
            TlsFacts(broken=True, alert="decode_error", alert_side="server", records_server=1),
            "genuine",
            "completions-match",
            id="a broken hello that the server refuses",
        ),
        pytest.param(
            TlsFacts(broken=True, alert_side="server", records_server=1),
            "genuine",
            "completions-match",
            id="no hello at all: the server says close_notify in clear and goes on with a tagged NO, as Courier does",
        ),
        pytest.param(TlsFacts(broken=True, gaps=1), "genuine", "completions-match", id="a gap explains it"),
    ],
)
def test_after_starttls(tls: TlsFacts, verdict: str, code: str) -> None:
    played = play(STARTTLS, tls=tls)
    assert played.verdict.verdict == verdict
    assert code in played.codes
    assert verdict == "mimic" or played.verdict.confidence != "high"
    own = [evidence for evidence in played.verdict.evidence if evidence.code == "no-tls-after-starttls"]
    assert all(evidence.packet == len(STARTTLS) - 2 for evidence in own)  # the server's answer


def test_evidence_comes_by_weight() -> None:
    weights = [weight(evidence.code) for evidence in play(MIMICS["NOOP as a channel"][0]).verdict.evidence]
    assert weights == sorted(weights, reverse=True)


def test_every_code_in_the_source_is_in_the_list() -> None:
    known = {code.code for code in CODES}
    assert len(known) == len(CODES)
    folder = Path(imapids.__file__).parent
    used: set[str] = set()
    call = re.compile(r'(?:(?:note|sign|Evidence|_put_evidence)\(|at_start\(facts,)\s*"([a-z0-9-]+)"')
    for path in [*folder.glob("parse/*.py"), *folder.glob("judge/*.py")]:
        used |= set(call.findall(path.read_text()))
    assert len(used) > 20
    assert used <= known
