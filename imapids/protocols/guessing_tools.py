"""Habits of programs that sign in over IMAP: how they count their tags and write the command. A hint, never a proof.

Measured against a server that refuses all: Hydra 9.4, Medusa 2.2, Ncrack 0.7, Nmap 7.93, Patator 0.9, curl 7.88, PHP
8.2, Roundcube 1.6, fetchmail 6.4, getmail 6.18, OfflineIMAP 8.0, imapfilter 2.8, Ruby 3.1, Perl's Mail::IMAPClient 3.43
and Net::IMAP::Simple 1.22. Thunderbird 17 as in a public capture. Read in the sources of Hydra (hydra-imap.c), Medusa
(modsrc/imap.c), Ncrack (modules/ncrack_imap.cc), Nmap (nselib/imap.lua), Python (imaplib.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import msgspec

from imapids.protocols.late_patterns import late_pattern


class SignIn(msgspec.Struct, frozen=True):
    """What of an attempt to sign in is the program's, not the user's."""

    tag: str
    form: str
    """See records.events.Login.form."""
    attempt: int
    """Counts the attempts of the connection."""
    initial_response: bool = False
    """AUTHENTICATE with the first answer in the same line (RFC 4959)."""


def _counts(pattern: str, ahead: int) -> Callable[[SignIn], bool]:
    """Tags whose number is that of the attempt and `ahead`: the program sent so many commands before the first one."""
    tags = late_pattern(pattern)

    def holds(sign_in: SignIn) -> bool:
        found = tags.fullmatch(sign_in.tag)
        return found is not None and int(found[1]) == sign_in.attempt + ahead

    return holds


def _is(pattern: str) -> Callable[[SignIn], bool]:
    tags = late_pattern(pattern)
    return lambda sign_in: tags.fullmatch(sign_in.tag) is not None


_HYDRA = _counts(r"([1-9][0-9]?)", 1)
_NMAP = _counts(r"A([0-9]{4})", 0)
_QUOTED, _ATOMS, _MIXED = "LOGIN quoted quoted", "LOGIN atom atom", "LOGIN atom quoted"
_HABITS: tuple[tuple[str, Callable[[SignIn], bool], tuple[str, ...]], ...] = (
    # one tag for all commands
    ("medusa", _is(r"gerg"), ()),
    ("ncrack", _is(r"01"), (_ATOMS,)),
    # CAPABILITY is 1, the attempts are 2, 3 and 4, then the next connection; the first one alone is mbsync's, too
    ("hydra", lambda each: 2 <= each.attempt <= 3 and not each.initial_response and _HYDRA(each),
     (_QUOTED, "AUTHENTICATE")),
    # no command before the first attempt, several attempts in a connection: the first one alone is fetchmail's too
    ("nmap", lambda each: each.attempt >= 2 and _NMAP(each), (_QUOTED,)),
    ("imaplib", _is(r"[A-P]{4}[0-9]{1,4}"), (_MIXED, "LOGIN quoted quoted", "AUTHENTICATE")),  # Patator, and scripts
    ("roundcube", lambda each: each.initial_response and _NMAP(each), ("AUTHENTICATE",)),
    ("curl", _counts(r"[A-Z]([0-9]{3})", 1), (_ATOMS, _QUOTED, _MIXED, "AUTHENTICATE")),
    ("c-client", _is(r"[0-9a-f]{8}"), (_ATOMS, _QUOTED, _MIXED, "AUTHENTICATE")),  # PHP's imap_open, Alpine
    ("net-imap", _is(r"RUBY[0-9]{4}"), ()),
    ("imapfilter", _counts(r"1([0-9]{3})", 0), (_QUOTED,)),
    ("mail-imapclient", _counts(r"([1-9][0-9]?)", 0), (_ATOMS,)),
    ("net-imap-simple", _counts(r"(0|[1-9][0-9]?)", -1), (_MIXED,)),
    ("thunderbird", _is(r"[1-9][0-9]{0,3}"), ("login quoted quoted", "authenticate")),  # decimal, in small letters
)
"""Name, what its tags are like, and how it writes the command (none: any way). The first that holds is the name."""
PROGRAMS = tuple(name for name, _, _ in _HABITS)
"""All names."""


@lru_cache(maxsize=4_096)
def program_of(sign_in: SignIn) -> str:
    """The program whose habits an attempt to sign in shows; empty where they are nobody's or many programs'."""
    for name, holds, forms in _HABITS:
        if (not forms or sign_in.form in forms) and holds(sign_in):
            return name
    return ""
