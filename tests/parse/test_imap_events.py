"""What the IMAP machine tells: commands, logins, mailbox use, oddities; and that no secret is among it."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec
import pytest
from helpers.imap_talk import FETCH, GREETING, LOGIN, LOGOUT, SELECT, SESSION, C, S, Talk, play

from imapids.config import DialogueLimits
from imapids.records.streams import StreamChunk

SECRET = "hunter2"
PLAIN = b64encode(b"\0bob\0hunter2")


def test_a_session_tells_its_commands_in_order() -> None:
    played = play(SESSION)
    assert [(each["tag"], each["name"], each["result"], each["state"]) for each in played.of("Command")] == [
        ("a1", "LOGIN", "ok", "not-authenticated"),
        ("a2", "SELECT", "ok", "authenticated"),
        ("a3", "FETCH", "ok", "selected"),
        ("a9", "LOGOUT", "ok", "selected"),
    ]
    assert [
        (each["action"], each.get("mailbox"), each.get("count"), each.get("bytes"), each.get("bodies"))
        for each in played.of("Message")
    ] == [("select", "INBOX", 3, None, None), ("fetch", "INBOX", 1, 43, 1)]
    times = [(time_ns, packet) for time_ns, packet, body in played.events if body["is"] == "Command"]
    assert times == [(2 * 10**6, 2), (4 * 10**6, 4), (6 * 10**6, 6), (8 * 10**6, 8)]


LOGINS: dict[str, tuple[Talk, dict[str, Any]]] = {
    "LOGIN with atoms": (
        ((C, b"x LOGIN bob hunter2\r\n"), (S, b"x OK in\r\n")),
        {"mechanism": "login", "user": "bob", "outcome": "success", "form": "LOGIN atom atom"},
    ),
    "LOGIN with quotes": (
        ((C, b'x LOGIN "b\\"ob" "hunter2"\r\n'), (S, b"x NO [AUTHENTICATIONFAILED] no\r\n")),
        {"mechanism": "login", "user": 'b"ob', "outcome": "failure", "code": "AUTHENTICATIONFAILED",
         "form": "LOGIN quoted quoted"},
    ),
    "LOGIN with literals": (
        (
            (C, b"x LOGIN {3}\r\n"),
            (S, b"+ go\r\n"),
            (C, b"bob {7}\r\n"),
            (S, b"+ go\r\n"),
            (C, b"hunter2\r\n"),
            (S, b"x OK in\r\n"),
        ),
        {"mechanism": "login", "user": "bob", "outcome": "success", "form": "LOGIN literal literal"},
    ),
    "LOGIN with literals that do not wait": (
        ((C, b'x LOGIN {3+}\r\nbob "hunter2"\r\n'), (S, b"x OK in\r\n")),
        {"user": "bob", "form": "LOGIN literal quoted"},
    ),
    "LOGIN without an answer": (((C, b"x LOGIN bob hunter2\r\n"),), {"user": "bob", "outcome": "unknown"}),
    "PLAIN at once": (
        ((C, b"x AUTHENTICATE PLAIN " + PLAIN + b"\r\n"), (S, b"x OK in\r\n")),
        {"mechanism": "plain", "user": "bob", "outcome": "success", "initial_response": True},
    ),
    "PLAIN after the prompt": (
        ((C, b"x authenticate plain\r\n"), (S, b"+ \r\n"), (C, PLAIN + b"\r\n"), (S, b"x NO no\r\n")),
        {"mechanism": "plain", "user": "bob", "outcome": "failure", "form": "authenticate"},
    ),
    "SASL LOGIN": (
        (
            (C, b"x AUTHENTICATE LOGIN\r\n"),
            (S, b"+ VXNlcm5hbWU6\r\n"),
            (C, b64encode(b"bob") + b"\r\n"),
            (S, b"+ UGFzcw==\r\n"),
            (C, b64encode(b"hunter2") + b"\r\n"),
            (S, b"x OK in\r\n"),
        ),
        {"mechanism": "login", "user": "bob"},
    ),
    "CRAM-MD5": (
        (
            (C, b"x AUTHENTICATE CRAM-MD5\r\n"),
            (S, b"+ PDE+\r\n"),
            (C, b64encode(b"bob b913a602c7eda7a495b4e6e7334d3890") + b"\r\n"),
            (S, b"x OK in\r\n"),
        ),
        {"mechanism": "cram-md5", "user": "bob"},
    ),
    "given up": (
        ((C, b"x AUTHENTICATE NTLM\r\n"), (S, b"+ \r\n"), (C, b"*\r\n"), (S, b"x BAD aborted\r\n")),
        {"mechanism": "ntlm", "outcome": "aborted"},
    ),
    "a mechanism of a vendor": (
        ((C, b"x AUTHENTICATE XYMPKI\r\n"), (S, b"+ \r\n"), (C, b"WT12PTEm\r\n"), (S, b"x OK in\r\n")),
        {"mechanism": "xympki", "outcome": "success"},
    ),
}


@pytest.mark.parametrize("name", LOGINS)
def test_logins(name: str) -> None:
    talk, wanted = LOGINS[name]
    played = play((GREETING, *talk))
    [login] = played.of("Login")
    assert {key: login.get(key) for key in wanted} == wanted
    assert login["starttls_offered"] is True
    hidden = {"given up", "a mechanism of a vendor", "CRAM-MD5"}
    assert bool(login.get("secret_hash")) is (name not in hidden)


def test_sign_ins_of_one_side_of_a_conversation() -> None:
    played = play(((C, b"x AUTHENTICATE DIGEST-MD5\r\ny AUTHENTICATE PLAIN " + PLAIN + b"\r\nz LOGIN bob s3cret\r\n"),))
    found = [(each["mechanism"], each.get("user", ""), each["outcome"], each["form"]) for each in played.of("Login")]
    assert found == [
        ("digest-md5", "", "unknown", "AUTHENTICATE"), ("plain", "bob", "unknown", "AUTHENTICATE"),
        ("login", "bob", "unknown", "LOGIN atom atom")]


def test_a_login_names_the_client_that_introduced_itself() -> None:
    talk = ((C, b'a ID ("name" "desk" "version" "2")\r\n'), (S, b"* ID NIL\r\na OK done\r\n"),
            (C, b"b LOGIN bob hunter2\r\n"), (S, b"b NO no\r\n"))
    [login] = play((GREETING, *talk)).of("Login")
    assert login["client_software"] == "desk 2"


NO_SECRETS: dict[str, Talk] = {
    **{name: talk for name, (talk, _) in LOGINS.items()},
    "a login without a tag": ((C, b"login bob hunter2\r\n"), (S, b"login BAD what\r\n")),
    "another protocol's login": ((C, b"USER bob\r\nPASS hunter2\r\n"), (S, b"* BAD what\r\n* BAD what\r\n")),
    "a mistyped command": ((C, b"a LOGIM bob hunter2\r\n"), (S, b"a BAD what\r\n")),
    "a blob after a refusal": (
        (C, b"x AUTHENTICATE PLAIN\r\n"),
        (S, b"x NO no\r\n"),
        (C, PLAIN + b"\r\n"),
        (S, PLAIN + b" BAD what\r\n"),
    ),
    "an HTTP login": (
        (C, b"GET / HTTP/1.0\r\nAuthorization: Basic Ym9iOmh1bnRlcjI=\r\n\r\n"),
        (S, b"* BAD\r\n* BAD\r\n* BAD\r\n"),
    ),
    "a server that repeats it": (
        (C, b"x LOGIN bob hunter2\r\n"),
        (S, b"x LOGIN bob hunter2\r\n"),
        (S, b"y OK bob hunter2\r\n"),
    ),
}


@pytest.mark.parametrize("name", NO_SECRETS)
@pytest.mark.parametrize("cuts", [None, 1])
def test_no_secret_in_anything_told(name: str, cuts: int | None) -> None:
    played = play((GREETING, *NO_SECRETS[name]), cuts)
    told = msgspec.json.encode([played.events, played.dialogue.facts, played.verdict]).decode()
    for form in (SECRET, PLAIN.decode(), "aHVudGVyMg", "Ym9iOmh1bnRlcjI", SECRET.encode().hex()):
        assert form not in told


@pytest.mark.parametrize(
    ("talk", "wanted"),
    [
        pytest.param(
            (
                (C, b"l APPEND Drafts (\\Seen $x) {12}\r\n"),
                (S, b"+ go\r\n"),
                (C, b"Subject: a\r\n\r\n"),
                (S, b"l OK\r\n"),
            ),
            {"action": "append", "mailbox": "Drafts", "count": 1, "bytes": 12, "flags": ["\\Seen", "$x"]},
            id="append",
        ),
        pytest.param(
            ((C, b"l APPEND Drafts {6+}\r\nAAAAAA\r\n"), (S, b"l OK\r\n")),
            {"opaque_body": True},
            id="append without a mail header",
        ),
        pytest.param(
            ((C, b"l COPY 1:3 Trash\r\n"), (S, b"l OK [COPYUID 1 1:3,7 4:7] done\r\n")),
            {"action": "copy", "mailbox": "Trash", "count": 4},
            id="copy",
        ),
        pytest.param(
            ((C, b"l UID MOVE 7 {5+}\r\nTrash\r\n"), (S, b"l OK done\r\n")),
            {"action": "move", "mailbox": "Trash"},
            id="move to a literal",
        ),
        pytest.param(
            ((C, b'l UID SEARCH SUBJECT "job 7"\r\n'), (S, b"* SEARCH 4 5 6\r\nl OK\r\n")),
            {"action": "search", "criteria": 'SUBJECT "job 7"', "count": 3},
            id="search",
        ),
        pytest.param(
            ((C, b"l SEARCH RETURN (COUNT) ALL\r\n"), (S, b'* ESEARCH (TAG "l") COUNT 17\r\nl OK\r\n')),
            {"count": 17},
            id="esearch",
        ),
        pytest.param(
            ((C, b"l STORE 1:2 +FLAGS.SILENT (\\Deleted)\r\n"), (S, b"l OK\r\n")),
            {"action": "store", "flags": ["\\Deleted"]},
            id="store",
        ),
        pytest.param(
            ((C, b"l EXPUNGE\r\n"), (S, b"* 1 EXPUNGE\r\n* 1 EXPUNGE\r\nl OK\r\n")),
            {"action": "expunge", "count": 2},
            id="expunge",
        ),
        pytest.param(
            ((C, b"l CREATE a/b\r\n"), (S, b"l NO\r\n")),
            {"action": "create", "mailbox": "a/b", "result": "no"},
            id="create",
        ),
    ],
)
def test_mailbox_use(talk: Talk, wanted: dict[str, Any]) -> None:
    message = play((GREETING, *LOGIN, *SELECT, *talk)).of("Message")[-1]
    assert {key: message.get(key) for key in wanted} == wanted


@pytest.mark.parametrize(
    ("arguments", "trait"),
    [
        pytest.param(b"%n%n%s", "format-string", id="format string"),
        pytest.param(b"../../etc", "path-traversal", id="path traversal"),
        pytest.param(b"a\x00b", "nul-byte", id="NUL"),
        pytest.param(b"\xff\xfe", "8-bit", id="8-bit"),
        pytest.param(b'"abc', "unbalanced-quote", id="open quote"),
        pytest.param(b"(" * 100, "deep-nesting", id="nesting"),
        pytest.param(b"{-1}", "negative-literal", id="negative literal"),
    ],
)
def test_traits(arguments: bytes, trait: str) -> None:
    [command] = play((GREETING, (C, b"x SELECT " + arguments + b"\r\n"), (S, b"x BAD\r\n"))).of("Command")
    assert trait in command["traits"]


def test_limits_are_told_and_bound() -> None:
    many = b"".join(b"t%d NOOP\r\n" % number for number in range(500))
    played = play(
        (GREETING, (C, many), (C, b"x LOGIN " + b"a" * 70_000 + b" b\r\n"), (C, b"y APPEND x {4294967296}\r\n"))
    )
    assert {"imap-too-many-pending", "imap-line-too-long", "imap-literal-too-large"} <= set(
        played.dialogue.facts.limits
    )
    assert len(played.dialogue.pending) <= DialogueLimits().pending_commands
    assert len(played.of("Command")) >= 500
    assert (
        max(sum(each["event"] == name for each in played.of("Anomaly")) for name in played.dialogue.facts.limits) <= 25
    )


@pytest.mark.parametrize("side", [C, S])
def test_a_line_that_never_ends_is_told(side: int) -> None:
    played = play((GREETING, (side, b"*" * 200_000)), 1_000)
    assert played.dialogue.facts.limits == ["imap-line-too-long"]


def test_a_huge_literal_costs_nothing() -> None:
    played = play(
        (GREETING, *LOGIN, *SELECT, (C, b"f FETCH 1 BODY[]\r\n"), (S, b"* 1 FETCH (BODY[] {4294967295}\r\n")), end=False
    )
    dialogue, reader = played.dialogue, played.dialogue.reader_server
    block = bytes(1 << 20)
    for number in range(200):
        dialogue.feed(StreamChunk(S, reader.offset, block, 1, number))
    assert dialogue.facts.literal_open
    assert len(reader.capture) <= 512
    assert not reader.held_size


def test_pipelined_and_duplicate_tags() -> None:
    played = play((GREETING, (C, b"t NOOP\r\nt CAPABILITY\r\nu NOOP\r\n"), (S, b"t OK\r\nu OK\r\nt BAD\r\n")))
    assert [
        (each["tag"], each["name"], each["result"], each.get("pipelined", False)) for each in played.of("Command")
    ] == [("t", "NOOP", "ok", False), ("u", "NOOP", "ok", True), ("t", "CAPABILITY", "bad", True)]


def test_injection_behind_starttls() -> None:
    played = play((GREETING, (C, b"t STARTTLS\r\nu NOOP\r\n"), (S, b"t OK go\r\n"), (C, b"\x16\x03\x01")))
    assert played.dialogue.facts.injected == 1
    assert [chunk.data for chunk in played.rest] == [b"\x16\x03\x01"]
    assert "commands-before-starttls-answer" in {each.code for each in played.dialogue.facts.evidence}


def test_software_and_capabilities() -> None:
    played = play(
        (
            (S, b"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] Dovecot (Debian) ready.\r\n"),
            (C, b'i ID ("name" "Thunderbird" "version" "115.3")\r\n'),
            (S, b'* ID ("name" "Dovecot" "version" "2.3")\r\ni OK\r\n'),
        )
    )
    facts = played.dialogue.facts
    assert (facts.software, facts.client_software, facts.logindisabled) == ("Dovecot 2.3", "Thunderbird 115.3", True)


def test_fetch_without_bodies_is_counted_apart() -> None:
    talk = (
        GREETING,
        *LOGIN,
        *SELECT,
        (C, b"f FETCH 1:3 FLAGS\r\n"),
        (S, b"* 1 FETCH (FLAGS ())\r\n* 2 FETCH (FLAGS ())\r\n* 3 FETCH (FLAGS ())\r\nf OK\r\n"),
        *FETCH,
        *LOGOUT,
    )
    messages = [each for each in play(talk).of("Message") if each["action"] == "fetch"]
    assert [(each["count"], each.get("bodies", 0)) for each in messages] == [(3, 0), (1, 1)]
