"""The words that a server may put after `* `, and when each can be true.

A response that speaks of messages (`* 3 FETCH`) or of mailboxes cannot be true before anyone has logged in.
"""

from __future__ import annotations

from imapids.protocols.imap_commands import ANY, A, S

CONDITIONS = frozenset((b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"))
"""RFC 9051 7.1: status responses."""

NUMBERED = frozenset((b"EXISTS", b"RECENT", b"EXPUNGE", b"FETCH"))
"""RFC 9051 7.4.1, 7.5.1, 7.5.2; RFC 3501 7.3.2: `* number WORD`."""

LEGAL_IN: dict[bytes, int] = {
    # RFC 9051 7.2, 7.3: server and mailbox data
    b"CAPABILITY": ANY, b"ENABLED": ANY, b"ID": ANY, b"LANGUAGE": ANY, b"NAMESPACE": ANY, b"BYE": ANY,
    b"LIST": A | S, b"LSUB": A | S, b"XLIST": A | S, b"STATUS": A | S, b"FLAGS": A | S, b"SEARCH": A | S,
    b"ESEARCH": A | S, b"SORT": A | S, b"THREAD": A | S, b"METADATA": A | S, b"ANNOTATION": A | S,
    b"QUOTA": A | S, b"QUOTAROOT": A | S, b"ACL": A | S, b"LISTRIGHTS": A | S, b"MYRIGHTS": A | S,
    b"VANISHED": A | S, b"COMPARATOR": A | S, b"CONVERSION": A | S, b"CONVERSIONS": A | S, b"CONVERTED": A | S,
    b"GENURLAUTH": A | S, b"URLFETCH": A | S, b"JMAPACCESS": A | S, b"COPY": A | S, b"STORE": A | S,
    b"UIDBATCHES": A | S, b"MAILBOX": A | S, b"BBOARD": A | S,
    # RFC 9051 7.4, 7.5: with a number in front
    b"EXISTS": S, b"RECENT": S, b"EXPUNGE": S, b"FETCH": S,
}
"""States in which a response can be true (RFC 9051 section 7), by upper-case word. FETCH and its kin need a mailbox."""

CLEARTEXT_BAN = b"LOGINDISABLED"
"""RFC 9051 6.2.3: a capability by which the server refuses LOGIN until TLS."""
