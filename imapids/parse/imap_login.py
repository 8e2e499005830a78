"""Follows LOGIN and AUTHENTICATE: who signs in, how, and how it ended. Secrets leave as keyed hashes only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imapids.parse.imap_commands import AUTHENTICATE
from imapids.parse.imap_pending import Pending
from imapids.parse.imap_replies import Reply
from imapids.protocols.imap_grammar import QUOTED, unquote
from imapids.protocols.imap_sasl import Credentials, decode_response, read_exchange
from imapids.protocols.late_patterns import late_pattern
from imapids.protocols.text import safe_text
from imapids.records.events import Login

if TYPE_CHECKING:
    from imapids.parse.imap import ImapDialogue

SASL_MESSAGES = 8
"""Messages of one exchange that are decoded: no mechanism sends its user or secret later."""
_LOGIN = late_pattern(rb" *(?:(" + QUOTED + rb")|([^ \"{][^ ]*)|(~?\{[0-9]+\+?\}))")


Written = tuple[bool | None, ...]
"""How user and secret are written: quoted (True), as atoms (False), as literals (None)."""
_WRITTEN = {True: "quoted", False: "atom", None: "literal"}
_USUAL_WORDS = frozenset((b"LOGIN", b"login", b"Login", b"AUTHENTICATE", b"authenticate", b"Authenticate"))
_FORMS: dict[tuple[bytes, Written], str] = {}


class Exchange:
    """One AUTHENTICATE under way."""

    __slots__ = ("cancelled", "initial", "mechanism", "messages", "pending", "prompts", "rounds")

    def __init__(self, pending: Pending, mechanism: str) -> None:
        self.pending = pending
        self.mechanism = mechanism
        self.messages: list[bytes] = []
        self.rounds = 0
        self.prompts = 0
        """Continuations of the server that the client has not answered: its next lines are responses, whatever is in
        them (RFC 9051 section 6.2.2)."""
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


_TWO_ARGUMENTS = late_pattern(rb' *(?:"([^"\\]*)"|([^ "{\\]+)) (?:"([^"\\]*)"|([^ "{\\]+))\Z')
"""The usual forms: both quoted without escapes, or both atoms, or one of each."""


def login_arguments(parts: tuple[bytes, ...]) -> tuple[Credentials, Written]:
    """User and secret of LOGIN out of the lines and literals of the command (RFC 9051 6.2.3), and how they are written.

    Lenient: a password with blanks and no quotes (telnet users), anything after the second argument is part of it.
    """
    if len(parts) == 1:
        usual = _TWO_ARGUMENTS.match(parts[0])
        if usual is not None:
            quoted_user, user, quoted_secret, secret = usual.groups()
            return Credentials(
                user if quoted_user is None else quoted_user, secret if quoted_secret is None else quoted_secret
            ), (quoted_user is not None, quoted_secret is not None)
    found: list[bytes] = []
    forms: list[bool | None] = []
    texts, literals = parts[::2], parts[1::2]
    for index, text in enumerate(texts):
        position = 0
        while len(found) < 2:
            match = _LOGIN.match(text, position)
            if match is None:
                break
            if match[3] and match.end() == len(text):
                found.append(literals[index] if index < len(literals) else b"")
                forms.append(None)
            elif match[1]:
                found.append(unquote(match[1]))
                forms.append(True)
            elif len(found) == 1 and index == len(texts) - 1:
                found.append(text[match.start() :].lstrip(b" "))
                forms.append(False)
            else:
                found.append(match[0].lstrip(b" "))
                forms.append(False)
            position = match.end()
    return Credentials(found[0] if found else b"", found[1] if len(found) > 1 else None), tuple(forms)


def login_form(word: bytes, written: Written) -> str:
    """The word of the command in the client's capitals, and how user and secret are written: `LOGIN atom quoted`."""
    known = _FORMS.get((word, written))
    if known is None:
        known = " ".join((word.decode("ascii", "replace"), *(_WRITTEN[each] for each in written)))
        if word in _USUAL_WORDS:
            _FORMS[word, written] = known
    return known


def tell_login(
    dialogue: ImapDialogue, pending: Pending, result: str, reply: Reply | None, exchange: Exchange | None
) -> None:
    """The `login` event of a LOGIN or AUTHENTICATE that was completed (or never was: result `none`)."""
    facts = dialogue.facts_
    written: Written = ()
    if exchange is None and pending.shape.code == AUTHENTICATE:  # its answer is not in the capture
        exchange = start_exchange(pending, pending.parts[0] if pending.parts else b"")
    if exchange is not None:
        credentials = read_exchange(exchange.mechanism, exchange.messages)
        mechanism = exchange.mechanism.lower()
    else:
        credentials, written = login_arguments(pending.parts)
        mechanism = "login"
    hashed = ""
    traits: list[str] = []
    if dialogue.hash_secret is not None and credentials.secret is not None and not pending.cut:
        hashed, traits = dialogue.hash_secret(credentials.user, credentials.secret)
    dialogue.logins += 1
    facts.logins += 1
    if result == "ok":
        outcome = "success"
    elif exchange is not None and exchange.cancelled:
        outcome = "aborted"
    else:
        outcome = "unknown" if result == "none" else "failure"
        if result != "none":
            facts.logins_failed += 1
    tag = pending.tag
    login = Login(
        mechanism=mechanism,
        outcome=outcome,
        user=safe_text(credentials.user, dialogue.limits.text_bytes),
        tag=tag.decode() if tag.isalnum() and len(tag) < 64 else safe_text(tag, 64),
        secret_hash=hashed,
        attempt=dialogue.logins,
        starttls_offered="STARTTLS" in facts.capabilities,
        logindisabled=facts.logindisabled,
        form=login_form(pending.word, written),
        client_software=facts.client_software,
    )
    if reply is not None:
        login.code = reply.code
    if traits:
        login.secret_traits = traits
    if exchange is not None and exchange.initial:
        login.initial_response = True
    dialogue.events.append((pending.time_ns, pending.packet, login))
