"""The commands of IMAP4rev1, IMAP4rev2 and their extensions: in which states each is legal, and what it changes.

The table of states is data: the machine walks it, and docs/reference/imap-states.md is drawn from it.
"""

from __future__ import annotations

import enum

import msgspec


class State(enum.IntFlag):
    """RFC 9051 section 3: the states of a connection, as bits so that a command can name several."""

    NOT_AUTHENTICATED = 1
    AUTHENTICATED = 2
    SELECTED = 4
    LOGOUT = 8


# Plain integers: `&` of enum flags is slow.
N, A, S = int(State.NOT_AUTHENTICATED), int(State.AUTHENTICATED), int(State.SELECTED)
ANY = N | A | S
UNKNOWN_STATE = ANY
"""Mid-stream, or after a gap: any of the three."""

STATE_NAMES = {
    int(State.NOT_AUTHENTICATED): "not-authenticated", int(State.AUTHENTICATED): "authenticated",
    int(State.SELECTED): "selected", int(State.LOGOUT): "logout",
}


class Spec(msgspec.Struct, frozen=True):
    """What the documents say of one command."""

    name: str
    states: int
    """Legal states."""
    source: str
    """Where it is defined."""
    arguments: bool = True
    """False: the grammar allows none."""
    action: str = ""
    """The mailbox use that it stands for (`message` events)."""
    strict: bool = False
    """No server known carries it out in another state: success there is impossible for real software."""
    mailbox: int = -1
    """Which argument names a mailbox (0: the first); -1: none."""


_TABLE = (
    # RFC 9051 6.1: any state
    Spec("CAPABILITY", ANY, "RFC 9051 6.1.1", arguments=False),
    Spec("NOOP", ANY, "RFC 9051 6.1.2", arguments=False),
    Spec("LOGOUT", ANY, "RFC 9051 6.1.3", arguments=False),
    Spec("ID", ANY, "RFC 2971 3.1"),
    Spec("LANGUAGE", ANY, "RFC 5255 3.2"),
    Spec("COMPRESS", ANY, "RFC 4978 3"),
    # RFC 9051 6.2: not authenticated
    Spec("STARTTLS", N, "RFC 9051 6.2.1", arguments=False),
    Spec("AUTHENTICATE", N, "RFC 9051 6.2.2"),
    Spec("LOGIN", N, "RFC 9051 6.2.3"),
    # RFC 9051 6.3: authenticated
    Spec("ENABLE", A | S, "RFC 9051 6.3.1"),
    Spec("SELECT", A | S, "RFC 9051 6.3.2", action="select", strict=True, mailbox=0),
    Spec("EXAMINE", A | S, "RFC 9051 6.3.3", action="select", strict=True, mailbox=0),
    Spec("CREATE", A | S, "RFC 9051 6.3.4", action="create", strict=True, mailbox=0),
    Spec("DELETE", A | S, "RFC 9051 6.3.5", action="delete", strict=True, mailbox=0),
    Spec("RENAME", A | S, "RFC 9051 6.3.6", action="rename", strict=True, mailbox=0),
    Spec("SUBSCRIBE", A | S, "RFC 9051 6.3.7", strict=True, mailbox=0),
    Spec("UNSUBSCRIBE", A | S, "RFC 9051 6.3.8", strict=True, mailbox=0),
    Spec("LIST", A | S, "RFC 9051 6.3.9", strict=True),
    Spec("LSUB", A | S, "RFC 3501 6.3.9", strict=True),
    Spec("NAMESPACE", A | S, "RFC 9051 6.3.10", arguments=False),
    Spec("STATUS", A | S, "RFC 9051 6.3.11", strict=True, mailbox=0),
    Spec("APPEND", A | S, "RFC 9051 6.3.12", action="append", strict=True, mailbox=0),
    Spec("IDLE", A | S, "RFC 9051 6.3.13", arguments=False),
    Spec("XLIST", A | S, "Gmail extension", strict=True),
    Spec("RLIST", A | S, "RFC 2193 4"),
    Spec("RLSUB", A | S, "RFC 2193 4"),
    Spec("GETQUOTA", A | S, "RFC 9208 4.1.2", mailbox=0),
    Spec("GETQUOTAROOT", A | S, "RFC 9208 4.1.1", mailbox=0),
    Spec("SETQUOTA", A | S, "RFC 9208 4.1.3"),
    Spec("GETACL", A | S, "RFC 4314 3.3", mailbox=0),
    Spec("SETACL", A | S, "RFC 4314 3.1", mailbox=0),
    Spec("DELETEACL", A | S, "RFC 4314 3.2", mailbox=0),
    Spec("LISTRIGHTS", A | S, "RFC 4314 3.4", mailbox=0),
    Spec("MYRIGHTS", A | S, "RFC 4314 3.5", mailbox=0),
    Spec("GETMETADATA", A | S, "RFC 5464 4.2"),
    Spec("SETMETADATA", A | S, "RFC 5464 4.3"),
    Spec("GETANNOTATION", A | S, "RFC 5464, earlier drafts"),
    Spec("SETANNOTATION", A | S, "RFC 5464, earlier drafts"),
    Spec("NOTIFY", A | S, "RFC 5465 3"),
    Spec("UNAUTHENTICATE", A | S, "RFC 8437 2", arguments=False),
    Spec("ESEARCH", A | S, "RFC 7377 2", action="search"),
    Spec("GENURLAUTH", A | S, "RFC 4467 7"),
    Spec("RESETKEY", A | S, "RFC 4467 7"),
    Spec("URLFETCH", A | S, "RFC 4467 7"),
    Spec("COMPARATOR", A | S, "RFC 5255 4.7"),
    Spec("CONVERSIONS", A | S, "RFC 5259 6"),
    Spec("UNDELETE", A | S, "Cyrus extension"),
    Spec("JMAPACCESS", A | S, "RFC 9698"),
    # RFC 9051 6.4: selected
    Spec("CLOSE", S, "RFC 9051 6.4.1", arguments=False),
    Spec("UNSELECT", S, "RFC 9051 6.4.2", arguments=False),
    Spec("EXPUNGE", S, "RFC 9051 6.4.3", arguments=False, action="expunge"),
    Spec("CHECK", S, "RFC 3501 6.4.1", arguments=False),
    Spec("SEARCH", S, "RFC 9051 6.4.4", action="search", strict=True),
    Spec("FETCH", S, "RFC 9051 6.4.5", action="fetch", strict=True),
    Spec("STORE", S, "RFC 9051 6.4.6", action="store", strict=True),
    Spec("COPY", S, "RFC 9051 6.4.7", action="copy", strict=True, mailbox=1),
    Spec("MOVE", S, "RFC 9051 6.4.8", action="move", strict=True, mailbox=1),
    Spec("UID FETCH", S, "RFC 9051 6.4.9", action="fetch", strict=True),
    Spec("UID STORE", S, "RFC 9051 6.4.9", action="store", strict=True),
    Spec("UID SEARCH", S, "RFC 9051 6.4.9", action="search", strict=True),
    Spec("UID COPY", S, "RFC 9051 6.4.9", action="copy", strict=True, mailbox=1),
    Spec("UID MOVE", S, "RFC 9051 6.4.9", action="move", strict=True, mailbox=1),
    Spec("UID EXPUNGE", S, "RFC 9051 6.4.9", action="expunge", strict=True),
    Spec("SORT", S, "RFC 5256 3", action="search", strict=True),
    Spec("THREAD", S, "RFC 5256 3", action="search", strict=True),
    Spec("UID SORT", S, "RFC 5256 3", action="search", strict=True),
    Spec("UID THREAD", S, "RFC 5256 3", action="search", strict=True),
    Spec("REPLACE", S, "RFC 8508 3", action="append", mailbox=1),
    Spec("UID REPLACE", S, "RFC 8508 3", action="append", mailbox=1),
    Spec("CANCELUPDATE", S, "RFC 5267 4.4"),
    Spec("CONVERT", S, "RFC 5259 7"),
    Spec("UID CONVERT", S, "RFC 5259 7"),
    Spec("UIDBATCHES", S, "RFC 9755"),
    Spec("PARTIAL", S, "RFC 1730 6.4.5 (IMAP4)"),
    Spec("FIND", A | S, "RFC 1176 (IMAP2)"),
    Spec("BBOARD", A | S, "RFC 1176 (IMAP2bis)"),
)

COMMANDS: dict[str, Spec] = {spec.name: spec for spec in _TABLE}
COMMAND_WORDS: dict[bytes, Spec] = {spec.name.encode(): spec for spec in _TABLE}

TRANSITIONS: tuple[tuple[str, str, int, int, str], ...] = (
    # (command, result, from any of, to, where it is said)
    ("LOGIN", "ok", N, A, "RFC 9051 6.2.3"),
    ("AUTHENTICATE", "ok", N, A, "RFC 9051 6.2.2"),
    ("SELECT", "ok", A | S, S, "RFC 9051 6.3.2"),
    ("EXAMINE", "ok", A | S, S, "RFC 9051 6.3.3"),
    ("SELECT", "no", A | S, A, "RFC 9051 6.3.2: a failed SELECT leaves no mailbox selected"),
    ("EXAMINE", "no", A | S, A, "RFC 9051 6.3.3"),
    ("CLOSE", "ok", S, A, "RFC 9051 6.4.1"),
    ("UNSELECT", "ok", S, A, "RFC 9051 6.4.2"),
    ("UNAUTHENTICATE", "ok", A | S, N, "RFC 8437 2"),
    ("LOGOUT", "ok", ANY, int(State.LOGOUT), "RFC 9051 6.1.3"),
)

GREETINGS: tuple[tuple[str, int, str], ...] = (
    ("* OK", N, "RFC 9051 7.1.1"),
    ("* PREAUTH", A, "RFC 9051 7.1.4"),
    ("* BYE", int(State.LOGOUT), "RFC 9051 7.1.5"),
)

NEXT_STATE: dict[tuple[str, str], int] = {(command, result): int(to) for command, result, _, to, _ in TRANSITIONS}


def state_diagram() -> str:
    """The table of states as a Mermaid state diagram (docs/reference/imap-states.md)."""
    names = {bit: name.replace("-", "_") for bit, name in STATE_NAMES.items()}
    lines = ["stateDiagram-v2"]
    lines += [f"    [*] --> {names[int(to)]}: {greeting}" for greeting, to, _ in GREETINGS]
    for command, result, sources, to, _ in TRANSITIONS:
        target, label = names[int(to)], f"{command} {result.upper()}"
        lines += [f"    {name} --> {target}: {label}" for bit, name in names.items() if bit & sources]
    lines += [f"    {names[bit]} --> {names[8]}: * BYE" for bit in names if bit != State.LOGOUT]
    lines.append(f"    {names[8]} --> [*]")
    return "\n".join(lines)
