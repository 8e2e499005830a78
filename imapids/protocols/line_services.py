"""Services whose greeting, command or answer names them: dates, scanners of mail, control ports, queues of printers.

Each line stands in the document that the comment cites, and nowhere else: where the words of one side could be
somebody else's, both sides must agree.
"""

from __future__ import annotations

import itertools
import re

from imapids.protocols.late_patterns import late_pattern
from imapids.protocols.probing import (
    NEED_MORE,
    NO,
    YES,
    Probe,
    Recogniser,
    dialogue,
    first_line,
    fixed,
    prefix,
)
from imapids.records.candidates import Look

# RFC 867: one line with date and time, in no format that the RFC demands; that of inetd, and that of NIST's servers.
_DAYTIME = first_line(
    rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? (?:[A-Z][a-z]{2} [ 0-9][0-9]|[ 0-9]?[0-9] [A-Z][a-z]{2}(?: [0-9]{4})?),? "
    rb"[0-9]{2}:[0-9]{2}:[0-9]{2}(?: [A-Z]{3,5})?(?: [0-9]{4})?",
    b"MTWFS",
)


def _chargen(data: bytes, ended: bool) -> Look:
    """RFC 864: lines of 72 printable characters in the order of ASCII, round and round."""
    if len(data) < 72:
        return NO if ended or not _in_order(data) else NEED_MORE
    return YES if _in_order(data[:72]) else NO


def _in_order(data: bytes) -> bool:
    """Is every character the next one of ASCII? After `~` comes space (or, in some servers, `!`)."""
    follow = all(two == one + 1 or (one == 0x7E and two in b" !") for one, two in itertools.pairwise(data))
    return follow and 0x20 <= data[0] < 0x7F


# RFC 1413 section 3 and 4: the pair of ports, and in the answer what it belongs to.
_IDENT_CLIENT = first_line(rb"[0-9]{1,5} ?, ?[0-9]{1,5}", b"0123456789")
_IDENT_SERVER = first_line(rb"[0-9]{1,5} ?, ?[0-9]{1,5} ?: ?(?:USERID|ERROR) ?:.*", b"0123456789")


def _control_line(pattern: bytes, starts: bytes) -> Recogniser:
    """A first line that begins with a control byte, which `first_line` turns away."""
    compiled = late_pattern(pattern)

    def look(data: bytes, ended: bool) -> Look:
        if data[0] not in starts:
            return NO
        end = data.find(b"\n", 0, 256)
        if end < 0:
            return NO if ended or len(data) >= 256 else NEED_MORE
        return YES if compiled.fullmatch(data[:end]) else NO

    return look


# clamd(8): commands bare, after `n` with a line feed, or after `z` with NUL. The answers end in the same manner.
_CLAMD_CLIENT = late_pattern(
    rb"[zn]?(?:PING|VERSION|VERSIONCOMMANDS|RELOAD|STATS|INSTREAM|IDSESSION|"
    rb"(?:CONT|MULTI|ALLMATCH)?SCAN [^\x00\n]{1,255})[\x00\r\n]"
)
_CLAMD_SERVER = late_pattern(
    rb"(?:[0-9]{1,6}: )?(?:PONG|ClamAV [0-9][^\x00\n]{0,200}|POOLS: [0-9]+|RELOADING|"
    rb"[^\x00\n:]{1,255}: (?:OK|[^\x00\n]{1,200} FOUND|[^\x00\n]{1,200} ERROR))[\x00\n]"
)


def _match(pattern: re.Pattern[bytes], starts: bytes = b"", limit: int = 512) -> Recogniser:
    """YES when the pattern, which ends with its terminator, matches at the start."""

    def look(data: bytes, ended: bool) -> Look:
        if starts and data[0] not in starts:
            return NO
        if pattern.match(data, 0, limit):
            return YES
        if ended or len(data) >= limit or b"\n" in data or b"\x00" in data:
            return NO
        return NEED_MORE

    return look


# SpamAssassin, spamd/PROTOCOL.
_SPAMC = first_line(
    rb"(?:CHECK|SYMBOLS|REPORT|REPORT_IFSPAM|SKIP|PING|PROCESS|HEADERS|TELL) SPAMC/1\.[0-9]+", b"CSRPHT"
)
_SPAMD = first_line(rb"SPAMD/1\.[0-9]+ [0-9]{1,3} .*", b"S")

# control-spec of Tor, sections 2.3 and 3.
_TOR_CLIENT = first_line(
    rb"(?i:PROTOCOLINFO(?: 1)?|AUTHENTICATE(?: .*)?|AUTHCHALLENGE SAFECOOKIE .*|GETINFO .*|GETCONF .*|SETEVENTS .*|"
    rb"SIGNAL [A-Z]+)"
)
_TOR_SERVER = first_line(rb"250-PROTOCOLINFO 1|250-AUTH .*|250-[a-z/-]+=.*|(?:250 OK|514 .*|515 .*|552 .*)", b"25")

# ZooKeeper, administrator's guide: words of four letters, and what they are answered with.
_FOUR_LETTERS = (
    b"ruok", b"stat", b"srvr", b"mntr", b"conf", b"cons", b"envi", b"dump", b"wchs", b"wchc", b"wchp", b"isro", b"srst",
    b"crst", b"dirs", b"gtmk", b"stmk", b"hash", b"lsnp",
)  # fmt: skip
_ZOOKEEPER_WORDS = prefix(
    b"imok", b"Zookeeper version: ", b"zk_version\t", b"clientPort=", b"Environment:\n", b"SessionTracker dump:",
    b"This ZooKeeper instance is not currently serving requests",
    *(word + b" is not executed because it is not in the whitelist" for word in _FOUR_LETTERS),
)  # fmt: skip

PROBES: tuple[Probe, ...] = (
    dialogue("daytime", server=_DAYTIME),
    dialogue("chargen", server=_chargen),
    dialogue("ident", server=_IDENT_SERVER, client=_IDENT_CLIENT, both=True, client_alone=False),
    dialogue("spamd", server=_SPAMD, client=_SPAMC),
    dialogue(
        "clamd",
        server=_match(_CLAMD_SERVER),
        client=_match(_CLAMD_CLIENT, b"znPVRSICMA"),
        both=True,
        server_alone=False,
        client_alone=False,
    ),
    # gpsd's JSON (gpsd_json(5)) begins with its version; AMI and VTUN greet with their names.
    dialogue("gpsd", server=prefix(b'{"class":"VERSION",')),
    dialogue("asterisk-manager", server=prefix(b"Asterisk Call Manager/")),
    dialogue("vtun", server=prefix(b"VTUN server ver")),
    dialogue(
        "relp",  # relp.html of librelp: transaction number, command, length
        server=first_line(rb"[0-9]{1,9} rsp [0-9]+(?: .*)?", b"0123456789"),
        client=first_line(rb"[0-9]{1,9} (?:open|syslog|close) [0-9]+(?: .*)?", b"0123456789"),
        both=True,
    ),
    dialogue(
        "postfix-policy",  # SMTPD_POLICY_README of Postfix
        server=first_line(rb"action=.+", b"a"),
        client=first_line(rb"request=[a-z_]+", b"r"),
        both=True,
        client_alone=False,
    ),
    dialogue("tor-control", server=_TOR_SERVER, client=_TOR_CLIENT, both=True, server_alone=False, client_alone=False),
    dialogue("zookeeper", server=_ZOOKEEPER_WORDS, client=prefix(*_FOUR_LETTERS)),
    dialogue(  # RFC 1179 sections 5 and 6: a command byte and the queue's name; a zero byte agrees, states are text
        "printer",
        server=fixed(1, lambda data: data[0] == 0 or 0x20 <= data[0] < 0x7F),
        client=_control_line(rb"[\x02-\x05][A-Za-z0-9_.-]{1,64}(?: [^\x00-\x1f]{0,200})?", b"\x02\x03\x04\x05"),
        both=True,
        server_alone=False,
        client_alone=False,
    ),
    # Universal Exit Language before a printer's job (HP, PJL Technical Reference, chapter 2), and its answers.
    dialogue("pdl-datastream", server=prefix(b"@PJL "), client=prefix(b"\x1b%-12345X@PJL"), both=True),
    dialogue("t3", server=prefix(b"HELO:"), client=first_line(rb"t3s? [0-9]+(?:\.[0-9]+)+", b"t"), both=True),
    # SERVICES.TXT of the Android debug bridge: four hexadecimal digits, then a request to the host.
    dialogue(
        "adb",
        server=prefix(b"OKAY", b"FAIL"),
        client=fixed(9, lambda data: re.fullmatch(rb"[0-9a-fA-F]{4}host[:-]", data) is not None),
        both=True,
        server_alone=False,
    ),
)
