"""What answers a prompt of AUTHENTICATE is a response (RFC 9051 section 6.2.2), and never a command."""

from __future__ import annotations

import json

import pytest
from helpers.imap_talk import GREETING, LOGOUT, C, S, Talk, play

ASK, PROMPT, REFUSAL = (C, b"a1 AUTHENTICATE PLAIN\r\n"), (S, b"+ \r\n"), (S, b"a1 BAD no\r\n")


@pytest.mark.parametrize("talk", [
    pytest.param((GREETING, ASK, PROMPT, (C, b"bob s3cret\r\n"), REFUSAL), id="two words"),
    pytest.param((GREETING, ASK, PROMPT, (C, b"bob NOOP s3cret\r\n"), REFUSAL), id="a command's word among them"),
    pytest.param((GREETING, ASK, PROMPT, (C, b"s3cret.\r\n"), REFUSAL), id="one word"),
    pytest.param((GREETING, ASK, PROMPT, (C, b"bob s3cret {5}\r\n"), REFUSAL), id="the look of a literal"),
    pytest.param((GREETING, ASK, (C, b"bob s3cret\r\n"), PROMPT, REFUSAL), id="before the prompt"),
    pytest.param((GREETING, ASK, PROMPT, (C, b"bob s3cret\r\n"), (S, b"bob BAD s3cret?\r\n"), REFUSAL),
                 id="a server that takes it for a command"),
    pytest.param((GREETING, ASK, PROMPT, (C, b"bob s3cret\r\n"), (S, b"s3cret BAD no\r\n"), REFUSAL),
                 id="a server that repeats it as a tag"),
    pytest.param((GREETING, ASK, PROMPT, (C, b"bob s3cret\r\n"), (S, b"what is s3cret\r\n"), REFUSAL),
                 id="a server that repeats it outside the grammar"),
    pytest.param((GREETING, ASK, PROMPT, (C, b"bob s3cret")), id="cut"),
])
@pytest.mark.parametrize("cuts", [pytest.param(None, id="whole"), pytest.param(1, id="byte by byte")])
def test_a_response_that_is_no_base64_is_not_told(talk: Talk, cuts: int | None) -> None:
    played = play(talk, cuts)
    assert "s3cret" not in json.dumps(played.story[:3])  # events, facts, verdict
    assert [command["name"] for command in played.of("Command")] == ["AUTHENTICATE"]
    assert played.dialogue.facts.auth_rounds == 1


def test_commands_go_on_after_the_exchange() -> None:
    played = play((GREETING, ASK, PROMPT, (C, b"bob s3cret\r\n"), REFUSAL, *LOGOUT))
    assert [command["name"] for command in played.of("Command")] == ["AUTHENTICATE", "LOGOUT"]
    assert played.verdict.verdict == "genuine"


def test_a_known_command_that_no_prompt_asked_for_is_one() -> None:
    played = play((GREETING, (C, b"a1 AUTHENTICATE PLAIN =\r\na2 NOOP\r\n"), (S, b"a1 NO no\r\na2 OK\r\n")))
    assert [command["name"] for command in played.of("Command")] == ["AUTHENTICATE", "NOOP"]


def test_what_a_response_looked_like_accuses_no_server() -> None:
    played = play((GREETING, ASK, PROMPT, (C, b"b1 X s3cret\r\n"), (S, b"b1 BAD no\r\n"), (S, b"+ \r\n"),
                   (C, b"b2 X s3cret\r\n"), (S, b"b2 BAD no\r\n"), REFUSAL))
    assert played.verdict.verdict == "genuine"
    assert not played.dialogue.facts.unmatched
