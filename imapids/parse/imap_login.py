"""Follows LOGIN and AUTHENTICATE: who signs in, how, and how it ended. Secrets leave as keyed hashes only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imapids.parse.imap_pending import Pending
from imapids.parse.imap_replies import Reply
from imapids.protocols.imap_grammar import QUOTED, unquote
from imapids.protocols.imap_sasl import Credentials, decode_response, read_exchange
from imapids.protocols.text import safe_text
from imapids.records.events import Login

import re

if TYPE_CHECKING:
    from imapids.parse.imap import ImapDialogue

SASL_MESSAGES = 8
"""Messages of one exchange that are decoded: no mechanism sends its user or secret later."""
_LOGIN = re.compile(rb" *(?:(" + QUOTED + rb")|([^ \"{][^ ]*)|(~?\{[0-9]+\+?\}))")


class Exchange:
    """One AUTHENTICATE under way."""

    __slots__ = ("cancelled", "initial", "mechanism", "messages", "pending", "rounds")

    def __init__(self, pending: Pending, mechanism: str) -> None:
        self.pending = pending
        self.mechanism = mechanism
        self.messages: list[bytes] = []
        self.rounds = 0
        self.initial = False
        self.cancelled = False

    def add(self, line: bytes) -> None:
        """One response of the client (base64), or `*`, which cancels (RFC 9051 6.2.2)."""
        if line == b"*":
            self.cancelled = True
            return
        self.rounds += 1
        if len(self.messages) < SASL_MESSAGES:
            message = decode_response(line)
            if message is not None:
                self.messages.append(message)


def start_exchange(pending: Pending, text: bytes) -> Exchange:
    """The exchange that `AUTHENTICATE mechanism [initial response]` begins (RFC 4959 for the latter)."""
    mechanism, _, initial = text.partition(b" ")
    exchange = Exchange(pending, safe_text(mechanism, 64).upper())
    initial = initial.strip(b" ")
    if initial and not initial.endswith(b"}"):
        exchange.initial = True
        exchange.rounds = -1
        exchange.add(initial)
    return exchange


def login_arguments(parts: tuple[bytes, ...]) -> Credentials:
    """User and secret of LOGIN out of the lines and literals of the command (RFC 9051 6.2.3), in order.

    Lenient: a password with blanks and no quotes (telnet users), anything after the second argument is part of it.
    """
    found: list[bytes] = []
    texts, literals = parts[::2], parts[1::2]
    for index, text in enumerate(texts):
        position = 0
        while len(found) < 2:
            match = _LOGIN.match(text, position)
            if match is None:
                break
            if match[3] and match.end() == len(text):
                found.append(literals[index] if index < len(literals) else b"")
            elif match[1]:
                found.append(unquote(match[1]))
            elif len(found) == 1 and index == len(texts) - 1:
                found.append(text[match.start() :].lstrip(b" "))
            else:
                found.append(match[0].lstrip(b" "))
            position = match.end()
    return Credentials(found[0] if found else b"", found[1] if len(found) > 1 else None)


def tell_login(dialogue: ImapDialogue, pending: Pending, result: str, reply: Reply | None,
               exchange: Exchange | None) -> None:
    """The `login` event of a LOGIN or AUTHENTICATE that was completed (or never was: result `none`)."""
    facts = dialogue.facts_
    if exchange is not None:
        credentials = read_exchange(exchange.mechanism, exchange.messages)
        mechanism = exchange.mechanism.lower()
    else:
        credentials, mechanism = login_arguments(pending.parts), "login"
    hashed, traits = "", []
    if dialogue.hash_secret is not None and credentials.secret is not None:
        hashed, traits = dialogue.hash_secret(credentials.user, credentials.secret)
    dialogue.logins += 1
    facts.logins += 1
    outcome = "success" if result == "ok" else "failure" if result in ("no", "bad") else "unknown"
    if exchange is not None and exchange.cancelled and outcome != "success":
        outcome = "aborted"
    if outcome == "failure":
        facts.logins_failed += 1
    capabilities = facts.capabilities
    dialogue.tell(pending.time_ns, pending.packet, Login(
        mechanism=mechanism, outcome=outcome, user=safe_text(credentials.user, dialogue.limits.text_bytes),
        code=reply.code if reply is not None else "", tag=safe_text(pending.tag, 64), secret_hash=hashed,
        secret_traits=traits, attempt=dialogue.logins, starttls_offered="STARTTLS" in capabilities,
        logindisabled=facts.logindisabled, initial_response=exchange is not None and exchange.initial))
