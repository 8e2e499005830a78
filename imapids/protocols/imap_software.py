"""Which server software a greeting names: words that the projects put into it, no guess from anything else."""

from __future__ import annotations

import functools
import re

from imapids.protocols.late_patterns import late_pattern
from imapids.protocols.text import safe_text

# (name, pattern over the greeting; group 1: its version). The first that matches wins.
_SIGNS: tuple[tuple[str, re.Pattern[bytes]], ...] = tuple(
    (name, late_pattern(pattern, re.IGNORECASE))
    for name, pattern in (
        ("Dovecot", rb"\bDovecot\b"),
        ("Cyrus IMAP", rb"\bCyrus IMAP[^ ]* v?([0-9][^ \]]*)"),
        ("Courier-IMAP", rb"\bCourier-IMAP\b"),
        ("Microsoft Exchange", rb"Microsoft Exchange(?: Server)?(?: [0-9]{4})?[^(]*?(?:version ([0-9][^ ]*))?"),
        ("Gimap", rb"\bGimap\b"),
        ("Zimbra", rb"\bZimbra\b(?: IMAP4rev1)?"),
        ("Coremail", rb"\bCoremail\b"),
        ("Domino", rb"\bDomino IMAP4 Server(?: Release ([^ ]+))?"),
        ("MDaemon", rb"\bMDaemon ([0-9][^ ;]*)"),
        ("Kerio Connect", rb"\bKerio (?:Connect|MailServer) ([0-9][^ ]*)"),
        ("CommuniGate Pro", rb"\bCommuniGate Pro IMAP Server ([0-9][^ ]*)"),
        ("GroupWise", rb"\bGroupWise\b"),
        ("UW IMAP", rb"\bIMAP4rev1 (200[0-9][^ ]*|v1[0-9][^ ]*) at\b"),
        ("Apache James", rb"\bJAMES\b"),
        ("hMailServer", rb"\bhMailServer\b"),
        ("Stalwart", rb"\bStalwart\b"),
        ("hoodiecrow", rb"\bHoodiecrow\b"),
        ("GreenMail", rb"\bGreenMail\b"),
        ("Yahoo", rb"\bYahoo\b|\bYMail\b"),
        ("iCloud", rb"\biSCREAM\b|\bicloud\b"),
        ("perdition", rb"\bperdition\b"),
        ("Proton Mail Bridge", rb"\bProton Mail Bridge\b|\bgluon\b"),
        ("MailEnable", rb"\bMailEnable\b"),
        ("Mercury/32", rb"\bMercury/32\b"),
        ("SmarterMail", rb"\bSmarterMail\b"),
        ("Axigen", rb"\bAxigen\b"),
        ("Merak/IceWarp", rb"\bIceWarp ([0-9][^ ]*)|\bMerak\b"),
        ("dbmail", rb"\bdbmail\b"),
        ("Archiveopteryx", rb"\bArchiveopteryx\b"),
        ("Xmail/Macallan", rb"\bMacallan\b"),
        ("pymap", rb"\bpymap\b"),
        ("avast! proxy", rb"\bavast\b"),
        ("Avira/antivirus proxy", rb"\bAvira\b|\bAVG\b|\bKaspersky\b|\bESET\b"),
    )
)


@functools.lru_cache(1024)  # servers greet alike again and again
def server_software(greeting: bytes) -> str:
    """Name (and version where it stands there) of the software that a greeting names; empty for none that we know."""
    for name, pattern in _SIGNS:
        match = pattern.search(greeting, 0, 2048)
        if match is not None:
            version = match[1] if pattern.groups and match[1] else None
            return f"{name} {safe_text(version, 40)}" if version else name
    return ""
