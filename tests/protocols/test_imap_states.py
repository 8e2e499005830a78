"""The table of states, and the pages that are drawn from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from imapids.protocols.imap_commands import (
    ANY,
    COMMAND_WORDS,
    COMMANDS,
    NEXT_STATE,
    STATE_NAMES,
    TRANSITIONS,
    state_diagram,
)
from imapids.protocols.imap_responses import LEGAL_IN, NUMBERED

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "imap-states.md"

RFC_9051 = [
    "CAPABILITY", "NOOP", "LOGOUT", "STARTTLS", "AUTHENTICATE", "LOGIN", "ENABLE", "SELECT", "EXAMINE", "CREATE",
    "DELETE", "RENAME", "SUBSCRIBE", "UNSUBSCRIBE", "LIST", "NAMESPACE", "STATUS", "APPEND", "IDLE", "CLOSE",
    "UNSELECT", "EXPUNGE", "SEARCH", "FETCH", "STORE", "COPY", "MOVE",
]
EXTENSIONS = [
    "ID", "COMPRESS", "LSUB", "CHECK", "GETQUOTA", "GETQUOTAROOT", "SETQUOTA", "GETACL", "SETACL", "DELETEACL",
    "LISTRIGHTS", "MYRIGHTS", "GETMETADATA", "SETMETADATA", "NOTIFY", "UNAUTHENTICATE", "SORT", "THREAD", "LANGUAGE",
    "COMPARATOR", "GENURLAUTH", "RESETKEY", "URLFETCH", "CONVERT", "REPLACE", "CANCELUPDATE", "XLIST",
]


@pytest.mark.parametrize("name", RFC_9051 + EXTENSIONS)
def test_every_documented_command_is_known(name: str) -> None:
    assert COMMANDS[name].source


def test_uid_commands_are_known() -> None:
    for name in ("FETCH", "STORE", "SEARCH", "COPY", "MOVE", "EXPUNGE", "SORT", "THREAD"):
        assert COMMAND_WORDS[b"UID " + name.encode()].states == COMMANDS[name].states


def test_transitions_are_between_states_that_exist() -> None:
    for command, result, sources, target, source in TRANSITIONS:
        assert command in COMMANDS
        assert result in ("ok", "no")
        assert sources & ANY
        assert int(target) in STATE_NAMES
        assert source
        assert NEXT_STATE[command, result] == target


def test_strict_commands_need_a_login() -> None:
    for spec in COMMANDS.values():
        assert not (spec.strict and spec.states & 1), spec.name


def test_numbered_responses_need_a_mailbox() -> None:
    assert all(LEGAL_IN[word] == 4 for word in NUMBERED)


def test_the_page_is_current() -> None:
    text = PAGE.read_text()
    assert "```mermaid\n" + state_diagram() + "\n```" in text
    for spec in COMMANDS.values():
        assert f"| {spec.name} |" in text
