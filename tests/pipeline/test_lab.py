"""The lab: 28 small captures, each with its right verdict and with what must be said besides."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from helpers.analysis import Run, leaks

from imapids.records.events import Command, Login, Message, Tls

SECRETS = (b"hunter2", b"Winter2024!")

VERDICTS: dict[str, tuple[str, str | None, str | None]] = {
    "01": ("genuine", "imap", None),
    "02": ("genuine", "imap+starttls", None),
    "03": ("not-imap", "tls", None),
    "04": ("not-imap", "http", None),
    "05": ("not-imap", "ssh", None),
    "06": ("not-imap", None, "length-prefixed-frames"),
    "07": ("not-imap", None, "interactive-shell"),
    "08": ("mimic", "imap", "fully-encrypted"),
    "09": ("mimic", "imap", "base64-lines"),
    "10": ("genuine", "imap", None),
    "11": ("silent", None, None),
    "12": ("genuine", "imap", None),
    "13": ("genuine|undecided", "imap", None),
    "14": ("genuine|undecided", "imap", None),
    "15": ("genuine", "imap", None),
    "16": ("genuine", "imap", None),
    "17": ("genuine", "imap", None),
    "18": ("genuine", "imap+compress", None),
    "19": ("not-imap", None, "fully-encrypted"),
    "20": ("not-imap", "irc", None),
    "21": ("not-imap", "smtp", None),
    "22": ("genuine", "imap", None),
    "23": ("mimic", "imap", "fully-encrypted"),
    "24": ("undecided|mimic", "imap", None),
    "25": ("not-imap", None, "executable-stage"),
    "26": ("not-imap", "pop3", None),
    "27": ("genuine", "imap", None),
    "28": ("genuine", "imap", None),
}
"""Verdict, protocol and shape by the number of the capture."""

SESSIONS = {"11": 40, "28": 30}


@pytest.mark.parametrize("number", sorted(VERDICTS))
def test_a_lab_capture_gets_its_verdict(lab: Callable[[str], Run], number: str) -> None:
    run = lab(number)
    verdict, protocol, _ = VERDICTS[number]
    assert len(run.sessions) == SESSIONS.get(number, 1)
    for session in run.sessions:
        assert session.verdict in verdict.split("|")
        assert session.protocol == protocol
        assert (session.reason is not None) == (session.verdict == "undecided")
        assert session.evidence or session.verdict == "silent"


@pytest.mark.parametrize("number", sorted(VERDICTS))
def test_a_lab_capture_gets_its_shape(lab: Callable[[str], Run], number: str) -> None:
    assert {session.shape for session in lab(number).sessions} == {VERDICTS[number][2]}


@pytest.mark.parametrize("number", sorted(VERDICTS))
def test_no_secret_of_a_lab_capture_is_in_any_line(lab: Callable[[str], Run], number: str) -> None:
    run = lab(number)
    assert leaks(run.text, SECRETS) == []
    assert not re.search(rb"[^\n\x20-\x7e]", run.text)


@pytest.mark.parametrize("number", sorted(VERDICTS))
def test_every_packet_of_a_lab_capture_is_accounted_for(lab: Callable[[str], Run], number: str) -> None:
    capture = lab(number).capture
    assert capture.packets == capture.processed + sum(capture.skipped.values())


# ---- what must be said besides -----------------------------------------------------------------------------------


def logins(run: Run) -> list[tuple[str, str, str]]:
    """(mechanism, user, outcome) of each attempt to sign in."""
    return [(body.mechanism, body.user, body.outcome) for body in run.bodies("login") if isinstance(body, Login)]


def commands(run: Run) -> list[tuple[str, str]]:
    return [(body.name, body.result) for body in run.bodies("command") if isinstance(body, Command)]


def the_tls(run: Run) -> Tls:
    (body,) = run.bodies("tls")
    assert isinstance(body, Tls)
    return body


def evidence(run: Run, code: str) -> str:
    """The texts of the evidence with a code."""
    return " | ".join(each.text for session in run.sessions for each in session.evidence if each.code == code)


def login_by_bob_in_clear(run: Run, mechanism: str, outcome: str) -> bool:
    (body,) = run.bodies("login")
    assert isinstance(body, Login)
    return not body.encrypted and logins(run) == [(mechanism, "bob", outcome)]


def facts(run: Run) -> list[Any]:
    """All events of the dialogue without what another way of cutting it into packets changes."""
    kept: list[Any] = []
    for kind in ("command", "login", "message"):
        for body in run.bodies(kind):
            plain = msgspec.to_builtins(body)
            plain.pop("duration_us", None)
            kept.append((kind, plain))
    return kept


def sweep(run: Run) -> bool:
    """40 flows of one scanner: closed, open and filtered are told apart."""
    states = Counter(session.state for session in run.sessions)
    clients = {event.flow.client for event in run.events("session") if event.flow is not None}
    return states == {"rejected": 14, "closed": 13, "silent": 13} and clients == {"198.51.100.7"}


def one_secret_of_thirty_users(run: Run) -> bool:
    bodies = [body for body in run.bodies("login") if isinstance(body, Login)]
    return (len({body.user for body in bodies}), len({body.secret_hash for body in bodies})) == (30, 1)


SAID: list[tuple[str, str, Callable[[Run], bool]]] = [
    ("01", "LOGIN in clear by bob, accepted", lambda r: login_by_bob_in_clear(r, "login", "success")),
    ("01", "STARTTLS was offered", lambda r: r.session.starttls == "offered"),
    ("02", "STARTTLS was accepted and a ClientHello followed", lambda r: r.session.starttls == "tls"
        and commands(r) == [("STARTTLS", "ok")]),
    ("02", "TLS 1.3 with its SNI", lambda r: (the_tls(r).version, the_tls(r).sni, r.session.sni)
        == ("TLS 1.3", "mail.example.test", "mail.example.test")),
    ("02", "no finding about the port", lambda r: r.rules == []),
    ("02", "never more than medium confidence: nobody saw the inside", lambda r: r.session.confidence == "medium"),
    ("03", "TLS 1.3 without greeting", lambda r: the_tls(r).version == "TLS 1.3" and not r.session.greeting),
    ("03", "the client spoke first", lambda r: r.session.first_speaker == "client"),
    ("04", "the client spoke first", lambda r: r.session.first_speaker == "client"),
    ("04", "POST /gate.php", lambda r: "POST /gate.php" in evidence(r, "client-speaks-http")),
    ("05", "the banners of both sides", lambda r: "OpenSSH" in evidence(r, "server-speaks-ssh")
        and "libssh2" in evidence(r, "client-speaks-ssh")),
    ("06", "32-bit little-endian lengths, six of six agree",
        lambda r: "6 frames, length of 32 bits little-endian" in evidence(r, "length-prefixed-frames")),
    ("06", "the client spoke first", lambda r: r.session.first_speaker == "client"),
    ("07", "a Windows shell on the client's side", lambda r: "Microsoft Windows" in evidence(r, "cmd-shell-output")
        and {e.side for e in r.session.evidence if e.code == "cmd-shell-output"} == {"client"}),
    ("07", "commands typed by the server's side", lambda r: "whoami" in evidence(r, "shell-commands")
        and {e.side for e in r.session.evidence if e.code == "shell-commands"} == {"server"}),
    ("08", "the server too answers with random bytes", lambda r: "server" in {e.side for e in r.session.evidence
        if e.code == "server-line-is-no-imap"}),
    ("09", "NOOP with an argument", lambda r: "NOOP" in evidence(r, "opaque-argument")),
    ("09", "an untagged OK with base64", lambda r: bool(evidence(r, "opaque-response-text"))),
    ("09", "LOGIN accepted, no mailbox ever selected", lambda r: logins(r) == [("login", "x", "success")]
        and {name for name, _ in commands(r)} == {"LOGIN", "NOOP"}),
    ("10", "the server's port is 9143", lambda r: [e.flow and e.flow.server_port for e in r.events("session")] == [9143]
        and not r.session.on_watched_port),
    ("10", "the same dialogue as 01", lambda r: logins(r) == [("login", "bob", "success")]),
    ("11", "14 closed, 13 open, 13 without an answer, all by one scanner", sweep),
    ("11", "one finding of a sweep", lambda r: len([rule for rule in r.rules if "scan" in rule]) == 1),
    ("12", "it starts mid-stream, roles by content or port", lambda r: r.session.midstream and not r.session.greeting
        and r.session.roles_by in ("content", "port")),
    ("12", "the login is not lost", lambda r: logins(r) == [("login", "bob", "success")]),
    ("13", "one-sided", lambda r: r.session.sides_seen == "client"),
    ("13", "five tagged commands, no outcome of the login", lambda r: logins(r) == [("login", "bob", "unknown")]
        and [name for name, _ in commands(r)] == ["CAPABILITY", "LOGIN", "SELECT", "FETCH", "LOGOUT"]),
    ("14", "one-sided, with its greeting", lambda r: r.session.sides_seen == "server"
        and r.session.greeting.startswith("* OK [CAPABILITY")),
    ("14", "five completions, no user", lambda r: "5 completions" in evidence(r, "server-half") and logins(r) == []),
    ("16", "user bob and never the literal, rejected", lambda r: login_by_bob_in_clear(r, "login", "failure")),
    ("17", "AUTHENTICATE PLAIN in clear by bob, rejected", lambda r: login_by_bob_in_clear(r, "plain", "failure")),
    ("18", "SELECT and 1 EXISTS read from the inflated bytes",
        lambda r: r.session.compress == "active" and ("SELECT", "ok") in commands(r)
        and [(b.mailbox, b.count) for b in r.bodies("message") if isinstance(b, Message)] == [("INBOX", 1)]),
    ("19", "IMAP has no UDP form", lambda r: "udp" in r.codes() and r.session.transport == "udp"),
    ("20", "nick bot7", lambda r: "bot7" in evidence(r, "client-speaks-irc")),
    ("21", "the server spoke first, greeting 220", lambda r: r.session.first_speaker == "server"
        and evidence(r, "server-speaks-smtp").startswith("220")),
    ("22", "nothing is missing", lambda r: not r.session.missing_client + r.session.missing_server),
    ("23", "no TLS record after the accepted STARTTLS", lambda r: r.session.starttls == "no-tls"
        and "no-tls-after-starttls" in r.codes()),
    ("24", "LOGIN in clear by bob is reported", lambda r: login_by_bob_in_clear(r, "login", "success")),
    ("24", "the greeting is missing", lambda r: "no-greeting" in r.codes()),
    ("25", "the server spoke first", lambda r: r.session.first_speaker == "server"),
    ("28", "30 failures of 30 users with one password", one_secret_of_thirty_users),
    ("28", "one finding of spraying, not 30", lambda r: r.rules.count("password_spraying") == 1
        and max(Counter(r.rules).values()) == 1),
]
"""Number of the capture, what must be said, and how to see that it was."""


@pytest.mark.parametrize(("number", "said"), [pytest.param(number, said, id=f"{number}: {sentence}")
                                              for number, sentence, said in SAID])
def test_what_must_be_said_of_a_lab_capture(lab: Callable[[str], Run], number: str,
                                            said: Callable[[Run], bool]) -> None:
    assert said(lab(number))


@pytest.mark.parametrize("number", [pytest.param("10", id="on another port"), pytest.param("15", id="byte by byte"),
                                    pytest.param("22", id="out of order"), pytest.param("27", id="in IP fragments")])
def test_the_same_dialogue_tells_the_same_events(lab: Callable[[str], Run], number: str) -> None:
    assert facts(lab(number)) == facts(lab("01"))
    assert (lab(number).session.verdict, lab(number).session.confidence) == ("genuine", "high")
