"""The fast path of IMAP: what responses and logins of a plain dialogue add to what is known of it."""

from __future__ import annotations

import re
from typing import NamedTuple

from msgspec.structs import replace

from imapids.parse.imap_events import MAIL_HEADER
from imapids.parse.imap_login import login_form
from imapids.parse.imap_pending import Tally
from imapids.parse.imap_server import BODY_BYTES
from imapids.parse.plain import PlainDialogue
from imapids.parse.plain_data import Data, Literals
from imapids.records.events import Message

USUAL_HEADERS = (b"Return-Path:", b"Received:", b"Delivered-To:", b"From:", b"Date:", b"Message-ID:", b"MIME-Version:")
"""What most messages begin with: one comparison instead of a pattern."""


class LoginWords(NamedTuple):
    """The arguments of a LOGIN."""

    user: bytes
    secret: bytes
    longest: int
    """Bytes of the longest one as the machine counts them: quotes too, split at each space."""
    form: str
    """How the command is written."""


def login_words(login: re.Match[bytes]) -> LoginWords:
    """The arguments of a line that LOGIN_LINE matches."""
    quoted_user, user, quoted_secret, secret = login.groups()
    if user is not None and secret is not None:
        longest = max(len(user), len(secret))
    else:
        longest = max(map(len, login.string[6:-2].split(b" ")))
    return LoginWords(
        quoted_user if user is None else user, quoted_secret if secret is None else secret, longest,
        login_form(login.string[:5], (quoted_user is not None, quoted_secret is not None)))


def hear(plain: PlainDialogue, told: Data, text: bytes, asked: bool) -> None:
    """Takes over what responses say that belongs to no command.

    Args:
        text: the responses without their literals.
        asked: the client spoke before.
    """
    if told.exists is not None:
        plain.exists = int(text[told.exists[0]:told.exists[1]])
    if told.byes:
        plain.byes += told.byes
        plain.refusals += told.byes if asked else 0
    if told.software:
        plain.software = told.software
    if told.learned is not None:
        plain.learned = told.learned
        if told.starttls:
            plain.starttls = "offered"


def count_up(plain: PlainDialogue, told: Data, literals: Literals, data: bytes) -> None:
    """Adds up what responses say that belongs to the next command which is completed.

    Args:
        data: the responses with their literals.
    """
    tally = plain.tally
    if tally is None:
        tally = plain.tally = Tally()
        tally.touched = True
    plain.more_lines += told.lines - told.untagged
    tally.fetched += told.fetched
    tally.expunged += told.expunged
    if told.found >= 0:
        tally.found = max(tally.found, 0) + told.found
    if not literals:
        return
    plain.literals += len(literals)
    for whole, (start, size) in zip(told.whole, literals, strict=True):
        tally.literal_bytes += size
        plain.literal_bytes += size
        if whole:
            tally.bodies += 1
            end = start + min(size, BODY_BYTES)
            if size and not data.startswith(USUAL_HEADERS, start, end) and not MAIL_HEADER.match(data, start, end):
                tally.opaque = True


def counted(message: Message, tally: Tally, direction: str, mailbox: str) -> Message:
    """The event of a command with what the responses before its completion add up to."""
    action = message.action
    if action == "fetch":
        return replace(message, direction=direction, mailbox=mailbox, count=tally.fetched, bytes=tally.literal_bytes,
                       bodies=tally.bodies, opaque_body=tally.opaque)
    count = message.count
    if action == "store":
        count = tally.fetched
    elif action == "search":
        count = max(tally.found, 0)
    elif action == "expunge":
        count = tally.expunged
    return replace(message, direction=direction, mailbox=mailbox, count=count)
