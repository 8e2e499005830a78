"""Files, directories and remote procedure calls: SMB, LDAP, Kerberos, DCE/RPC, ONC RPC, AFP, iSCSI, and small ones."""

from __future__ import annotations

from collections.abc import Callable

from imapids.protocols.probing import (
    NEED_MORE,
    NO,
    YES,
    Probe,
    Recogniser,
    be16,
    be32,
    dialogue,
    either,
    first_line,
    fixed,
    frames,
    le16,
    prefix,
)
from imapids.records.candidates import Look

# ---- SMB over NetBIOS session or direct TCP (RFC 1002 section 4.3, MS-SMB2 2.1) -----------------------------

_SMB_MARKS = (b"\xffSMB", b"\xfeSMB", b"\xfdSMB", b"\xfcSMB")


def _smb(data: bytes) -> bool:
    return data[0] == 0 and data[1] <= 1 and data[4:8] in _SMB_MARKS


def _nbss_answer(data: bytes) -> bool:
    """POSITIVE, NEGATIVE or RETARGET SESSION RESPONSE."""
    return (data[:4] == b"\x82\x00\x00\x00") or (data[:4] == b"\x83\x00\x00\x01") or data[:4] == b"\x84\x00\x00\x06"


def _nbss_request(data: bytes) -> bool:
    """SESSION REQUEST: two encoded NetBIOS names of 34 bytes."""
    return data[:5] == b"\x81\x00\x00\x44\x20" and data[5:37].isalpha()


# ---- LDAP (RFC 4511 section 4.1.1) and other BER ------------------------------------------------------------


def ber_length(data: bytes, at: int) -> tuple[int, int]:
    """Length of a BER element (its length octets begin at `at`) and where its contents begin; (-1, at) if malformed."""
    if at >= len(data):
        return -1, at
    first = data[at]
    if first < 0x80:
        return first, at + 1
    octets = first & 0x7F
    if not 1 <= octets <= 4 or at + 1 + octets > len(data):
        return -1, at
    return int.from_bytes(data[at + 1 : at + 1 + octets], "big"), at + 1 + octets


_LDAP_REQUESTS = b"\x60\x42\x63\x66\x68\x4a\x6c\x6e\x50\x77"
_LDAP_RESPONSES = b"\x61\x64\x65\x67\x69\x6b\x6d\x6f\x73\x78\x79"


def _ldap(operations: bytes) -> Recogniser:
    """SEQUENCE { messageID INTEGER, protocolOp [APPLICATION n] }, lengths agreeing."""

    def look(data: bytes, ended: bool) -> Look:
        if data[0] != 0x30:
            return NO
        if len(data) < 16 and not ended:
            return NEED_MORE
        outer, at = ber_length(data, 1)
        if outer < 5 or data[at : at + 1] != b"\x02":
            return NO
        size, value = ber_length(data, at + 1)
        if not 1 <= size <= 5 or value + size >= len(data) or data[value] & 0x80:
            return NO
        operation = value + size
        inner, contents = ber_length(data, operation + 1)
        if data[operation] not in operations or inner < 0 or contents + inner > at + outer:
            return NO
        return YES if _ldap_operation(data[operation], data[contents : contents + 4]) else NO

    return look


def _ldap_operation(operation: int, contents: bytes) -> bool:
    """The first element of the operation has the type that its grammar demands."""
    if operation in (0x42, 0x50, 0x4A):
        return True
    wanted = {
        0x60: b"\x02",
        0x77: b"\x80",
        0x6E: b"\x04",
        0x6C: b"\x04",
        0x68: b"\x04",
        0x66: b"\x04",
        0x63: b"\x04",
        0x64: b"\x04",
        0x73: b"\x04",
    }.get(operation, b"\x0a\x80\x8a\x8b")
    return contents[:1] in [bytes((byte,)) for byte in wanted]


# ---- Kerberos (RFC 4120 section 5, section 7.2.2 for TCP) ---------------------------------------------------

_KERBEROS_REQUESTS, _KERBEROS_REPLIES = b"\x6a\x6c\x6e", b"\x6b\x6d\x7e\x6f"


def kerberos_message(data: bytes, tags: bytes) -> bool:
    """[APPLICATION n] SEQUENCE { pvno 5 ... }: 20 bytes are enough to see it."""
    if data[:1] not in [bytes((tag,)) for tag in tags]:
        return False
    length, at = ber_length(data, 1)
    if length < 10 or data[at : at + 1] != b"\x30":
        return False
    length, at = ber_length(data, at + 1)
    return length >= 8 and data[at : at + 5] in (b"\xa1\x03\x02\x01\x05", b"\xa0\x03\x02\x01\x05")


def _kerberos(tags: bytes) -> Recogniser:
    return fixed(
        24, lambda data: data[0] == 0 and 10 < be32(data) < 1 << 18 and kerberos_message(data[4:], tags), b"\x00"
    )


# ---- DCE/RPC (C706 chapter 12, MS-RPCE) ---------------------------------------------------------------------


def _dcerpc(types: bytes) -> Callable[[bytes], int]:
    def length_of(header: bytes) -> int:
        if (
            header[0] != 5
            or header[1] > 1
            or header[2] not in types
            or header[4] not in b"\x00\x10\x01\x11"
            or header[6]
        ):
            return -1
        length = le16(header, 8) if header[4] & 0x10 else be16(header, 8)
        return length if length >= 16 else -1

    return length_of


_DCERPC_CLIENT, _DCERPC_SERVER = b"\x00\x0b\x0e\x10\x12\x13\x14", b"\x02\x03\x0c\x0d\x0f\x11\x14"

# ---- ONC RPC over TCP (RFC 5531 sections 9 and 11) ----------------------------------------------------------


def rpc_call(data: bytes) -> bool:
    """xid, CALL, RPC version 2, a program of the assigned or the user range, a small version."""
    return be32(data, 4) == 0 and be32(data, 8) == 2 and 100_000 <= be32(data, 12) < 0x60000000 and be32(data, 16) < 100


def rpc_reply(data: bytes) -> bool:
    """xid, REPLY, MSG_ACCEPTED with a verifier and status, or MSG_DENIED."""
    if be32(data, 4) != 1:
        return False
    return (be32(data, 8) == 0 and be32(data, 12) < 10 and be32(data, 16) <= 400) or (
        be32(data, 8) == 1 and be32(data, 12) <= 1
    )


def _marked(check: Callable[[bytes], bool]) -> Recogniser:
    """A record mark (the last-fragment bit and a length) before the message."""
    return fixed(24, lambda data: data[1] < 0x40 and be32(data) & 0x7FFFFFFF >= 20 and check(data[4:]), b"\x80\x00")


# ---- AFP over DSI, iSCSI ------------------------------------------------------------------------------------


def _dsi(flags: int) -> Recogniser:
    """Flags, command 1 to 8, request id, error or offset, BE32 length, four bytes reserved."""

    def length_of(header: bytes) -> int:
        good = header[0] == flags and 1 <= header[1] <= 8 and be32(header, 8) <= 1 << 20 and not be32(header, 12)
        return 16 + be32(header, 8) if good else -1

    return frames(16, length_of, bytes((flags,)))


def _iscsi_login(opcode: bytes) -> Recogniser:
    return fixed(
        48,
        lambda data: (
            data[0] in opcode
            and data[1] & 0x30 == 0
            and data[2] == 0
            and data[4] == 0
            and 0 < be32(data, 4) & 0xFFFFFF <= 65_536
        ),
        opcode,
    )


# ---- small text protocols -----------------------------------------------------------------------------------

_GIT_SERVICE = first_line(
    rb"[0-9a-f]{4}git-(?:upload-pack|receive-pack|upload-archive) [^\x00]{1,1000}\x00host=.*", b"0123456789abcdef"
)
_GIT_ANSWER = first_line(
    rb"[0-9a-f]{4}(?:[0-9a-f]{40}(?:[0-9a-f]{24})? .*|version [12]|ERR .*|.{0,200}access denied.*)", b"0123456789abcdef"
)


def _pktline(data: bytes, ended: bool) -> Look:
    """git's pkt-line: the request may end without a line feed."""
    if not data[:1].isalnum():
        return NO
    if len(data) < 20:
        return NO if ended else NEED_MORE
    return YES if data[4:8] == b"git-" and (b"-pack " in data[8:24] or b"-archive " in data[8:24]) else NO


PROBES: tuple[Probe, ...] = (
    dialogue(
        "smb",
        server=either(fixed(8, _smb, b"\x00"), fixed(4, _nbss_answer, b"\x82\x83\x84")),
        client=either(fixed(8, _smb, b"\x00"), fixed(37, _nbss_request, b"\x81")),
    ),
    dialogue("ldap", server=_ldap(_LDAP_RESPONSES), client=_ldap(_LDAP_REQUESTS)),
    dialogue("kerberos", server=_kerberos(_KERBEROS_REPLIES), client=_kerberos(_KERBEROS_REQUESTS)),
    dialogue(
        "dcerpc",
        server=frames(16, _dcerpc(_DCERPC_SERVER), b"\x05"),
        client=frames(16, _dcerpc(_DCERPC_CLIENT), b"\x05"),
    ),
    dialogue("sunrpc", server=_marked(rpc_reply), client=_marked(rpc_call)),
    dialogue("afp", server=_dsi(1), client=_dsi(0), both=True),
    dialogue("iscsi", server=_iscsi_login(b"\x23"), client=_iscsi_login(b"\x43\x03"), both=True),
    dialogue("git", server=_GIT_ANSWER, client=either(_GIT_SERVICE, _pktline), both=True),
    dialogue("rsync", server=prefix(b"@RSYNCD: "), client=prefix(b"@RSYNCD: ")),
    dialogue("svn", server=prefix(b"( success ( "), client=first_line(rb"\( [0-9] \(.*", b"(")),
    dialogue(
        "cvspserver",
        server=prefix(b"I LOVE YOU", b"I HATE YOU"),
        client=prefix(b"BEGIN AUTH REQUEST", b"BEGIN VERIFICATION REQUEST"),
    ),
    dialogue(
        "finger",
        server=first_line(rb"Login(?: name)?: .*|Login +Name .*|No one logged on.*|finger: .*|.*[Nn]o such user.*"),
        client=first_line(rb"(?:/[Ww])? ?[A-Za-z0-9._@-]{0,64}"),
        both=True,
        server_alone=False,
        client_alone=False,
    ),
    dialogue(
        "finger",
        server=fixed(1, lambda data: data.isascii()),
        client=first_line(rb"/[Ww](?: .{0,64})?", b"/"),
        both=True,
        server_alone=False,
    ),
    dialogue("gopher", server=first_line(rb"[0-9+gIThis].{0,200}\t[^\t]{0,200}\t[A-Za-z0-9.:-]{1,200}\t[0-9]{1,5}.*")),
    dialogue(
        "whois",
        server=first_line(
            rb"% .*|%%? ?[A-Z]+ .*|# ?(?:ARIN|whois).*|(?i:domain(?: name)?: .*|   Domain Name: .*|no match.*)"
        ),
        client=first_line(rb"[-=A-Za-z0-9.:/ ]{2,200}"),
        both=True,
        server_alone=False,
        client_alone=False,
    ),
)
