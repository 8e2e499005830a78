"""Reads the line of one IMAP command: its name, what it is about, its oddities, and text that holds no secret."""

from __future__ import annotations

import re

from imapids.config import DialogueLimits
from imapids.protocols.imap_commands import COMMAND_WORDS, Spec
from imapids.protocols.imap_grammar import COMMAND, QUOTED, literal_size, opaque_token, unquote
from imapids.protocols.late_patterns import late_pattern
from imapids.protocols.text import safe_text

PLAIN, LOGIN, AUTHENTICATE, STARTTLS, COMPRESS, IDLE, ID, LOGOUT, SELECT = range(9)
SPECIAL = {
    "LOGIN": LOGIN,
    "AUTHENTICATE": AUTHENTICATE,
    "STARTTLS": STARTTLS,
    "COMPRESS": COMPRESS,
    "IDLE": IDLE,
    "ID": ID,
    "LOGOUT": LOGOUT,
    "SELECT": SELECT,
    "EXAMINE": SELECT,
}

_WORD = late_pattern(rb" *([A-Za-z][A-Za-z0-9_.\-]*)(?: +|\Z)")
_ARGUMENT = late_pattern(rb" *(" + QUOTED + rb"|[^ ]+)")
_ARGUMENTS = late_pattern(rb"[^ ]+")
_WHOLE_BODY = late_pattern(rb"(?:BODY|BINARY)(?:\.PEEK)?\[\]|RFC822(?![.\w])", re.IGNORECASE)
_FLAGS = late_pattern(rb"[+-]?FLAGS(?:\.SILENT)? *\(?([^)]*)\)?", re.IGNORECASE)
_APPEND_FLAGS = late_pattern(rb" \(([^)]*)\)")
_SECRET_WORDS = late_pattern(rb"pass|login|auth|secret|token|cookie|bearer|credential|\buser\b", re.IGNORECASE)
_FORMAT_STRING = late_pattern(rb"%[0-9$#+\-.]*[ndsxpu]")
_DOTS = late_pattern(rb"\.\.[/\\]")
REDACTED = "[redacted]"


class Shape:
    """What one command line says; shared by all lines that are equal."""

    __slots__ = (
        "arguments",
        "code",
        "criteria",
        "empty",
        "flags",
        "literal",
        "longest",
        "mailbox",
        "name",
        "opaque",
        "size",
        "spec",
        "sync",
        "traits",
        "whole_body",
    )

    def __init__(self, name: str, spec: Spec | None, size: int) -> None:
        self.name = name
        self.spec = spec
        self.size = size
        """Bytes of the line without its tag."""
        self.code = SPECIAL.get(name, PLAIN)
        self.arguments = ""
        self.longest = 0
        self.traits: list[str] = []
        self.literal = -1
        """Announced size of the literal that ends the line; -1: none."""
        self.sync = False
        """The client must wait for `+` before it sends that literal."""
        self.mailbox = ""
        self.whole_body = False
        self.flags: list[str] = []
        self.criteria = ""
        self.opaque = False
        """Encoded data as the argument of a command that takes none."""
        self.empty = True


_MEMO: dict[bytes, Shape] = {}
_MEMO_LINES = 4_096
_MEMO_BYTES = 160


def read_command(rest: bytes, limits: DialogueLimits) -> Shape | None:
    """The command after its tag and one space, or None where no command word stands there.

    Lines repeat from session to session, so short ones without secrets are remembered, at most 4,096 of 160 bytes.
    """
    shape = _MEMO.get(rest)
    if shape is not None:
        return shape
    match = _WORD.match(rest)
    if match is None:
        return None
    word, after = match[1].upper(), match.end()
    if word == b"UID":
        second = _WORD.match(rest, after)
        if second is not None:
            word, after = b"UID " + second[1].upper(), second.end()
    spec = COMMAND_WORDS.get(word)
    shape = Shape(spec.name if spec is not None else safe_text(word, 64), spec, len(rest))
    _read_arguments(shape, rest[after:], limits)
    if len(rest) <= _MEMO_BYTES and shape.code not in (LOGIN, AUTHENTICATE) and spec is not None:
        if len(_MEMO) >= _MEMO_LINES:
            _MEMO.clear()
        _MEMO[rest] = shape
    return shape


def _read_arguments(shape: Shape, text: bytes, limits: DialogueLimits) -> None:
    spec = shape.spec
    shape.empty = not text
    if not text:
        return
    announced = literal_size(text, limits.literal_digits)
    if announced is not None:
        shape.literal, shape.sync = announced
    shape.longest = max(map(len, _ARGUMENTS.findall(text)), default=0)
    shape.traits = traits_of(text, limits.nesting)
    if shape.code == LOGIN:
        shape.arguments = REDACTED if announced is None else safe_text(text[text.rfind(b"{") :], 40)
        return
    if shape.code == AUTHENTICATE:
        mechanism, space, _ = text.partition(b" ")
        shape.arguments = safe_text(mechanism, 64) + (" " + REDACTED if space else "")
        return
    if spec is None:  # a mistyped LOGIN looks like this too
        shape.arguments = f"[{len(text)} bytes]"
        return
    shape.arguments = safe_text(text, limits.text_bytes)
    if not spec.arguments:
        shape.opaque = opaque_token(text) is not None
    if spec.mailbox >= 0:
        shape.mailbox = safe_text(argument(text, spec.mailbox), limits.text_bytes)
    action = spec.action
    if action == "fetch":
        shape.whole_body = _WHOLE_BODY.search(text) is not None
    elif action == "search":
        shape.criteria = shape.arguments
    elif action in ("store", "append"):
        flags = (_FLAGS if action == "store" else _APPEND_FLAGS).search(text)
        if flags is not None:
            shape.flags = [safe_text(flag, 64) for flag in flags[1].split()[:16]]


def argument(text: bytes, index: int) -> bytes:
    """The argument at `index` (0: the first), out of its quotes; empty where it is a literal or is not there."""
    position = 0
    for step in range(index + 1):
        match = _ARGUMENT.match(text, position)
        if match is None:
            return b""
        if step == index:
            found = match[1]
            if found[:1] == b'"':
                return unquote(found)
            return b"" if found[-1:] == b"}" and found[:1] in b"{~" else found
        position = match.end()
    return b""


def traits_of(text: bytes, nesting: int) -> list[str]:
    """Oddities of a command's arguments that attacks on servers share (sizes stand in fields of their own)."""
    traits = []
    if not text.isascii():
        traits.append("8-bit")
    if b"\x00" in text:
        traits.append("nul-byte")
    if b"%" in text and _FORMAT_STRING.search(text):
        traits.append("format-string")
    if b".." in text and _DOTS.search(text):
        traits.append("path-traversal")
    if text.count(b'"') % 2 and b"\\" not in text:
        traits.append("unbalanced-quote")
    if text.count(b"(") > nesting and depth(text) > nesting:
        traits.append("deep-nesting")
    if b"{-" in text:
        traits.append("negative-literal")
    return traits


def depth(text: bytes) -> int:
    """How deep parentheses stand inside each other, counted without recursion (quoted strings are left out)."""
    deepest = level = 0
    for match in re.finditer(rb'"(?:[^"\\]|\\.)*"|[()]', text):
        if match[0] == b"(":
            level += 1
            deepest = max(deepest, level)
        elif match[0] == b")":
            level -= 1
    return deepest


def may_name_secret(word: bytes) -> bool:
    """Whether a word where a tag should be looks like a login typed without a tag."""
    return _SECRET_WORDS.search(word) is not None


def redact(line: bytes, limit: int) -> str:
    """Safe text of a line that is no command we know: its secrets, and all that may be one, left out."""
    head = line[:4096]
    words = head.split(b" ", 1)
    if _SECRET_WORDS.search(head):
        if not words[0].rstrip(b":").isalnum() or (len(words) == 1 and len(head) > 12):
            return REDACTED  # `password=...`, `user=...&password=...`: the first word holds the secret itself
        return safe_text(words[0], 32) + (" " + REDACTED if len(words) > 1 else "")
    if opaque_token(head) is not None or (len(words) == 1 and len(head) >= 16 and COMMAND.match(head) is None):
        return f"[{len(line)} bytes]"
    return safe_text(line, limit)
