r"""The words of IMAP's grammar as patterns over bytes: tags, atoms, strings, literals, conditions, response codes.

Each pattern stands under the rule that it implements (RFC 9051 section 9, which RFC 3501 section 9 agrees with but
where said). Where real software is more generous than the grammar, the leniency names the software that needs it.
"""

from __future__ import annotations

import re

from imapids.protocols.late_patterns import late_pattern

# RFC 9051 9: atom-specials = "(" / ")" / "{" / SP / CTL / list-wildcards / quoted-specials / resp-specials
#             ATOM-CHAR = <any CHAR except atom-specials>; ASTRING-CHAR = ATOM-CHAR / resp-specials
ATOM_CHAR = rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[\^_`a-z|}~]"
ASTRING_CHAR = rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[\]\^_`a-z|}~]"

# RFC 9051 9: tag = 1*<any ASTRING-CHAR except "+">
TAG_CHAR = rb"[!#$&',\-./0-9:;<=>?@A-Z\[\]\^_`a-z|}~]"
TAG = late_pattern(TAG_CHAR + rb"+\Z")

# RFC 9051 9: quoted = DQUOTE *QUOTED-CHAR DQUOTE
#             QUOTED-CHAR = <any TEXT-CHAR except quoted-specials> / "\" quoted-specials
# Lenient: 8-bit bytes (UTF8=ACCEPT, and clients that send Latin-1 passwords), a backslash before any byte (Outlook).
QUOTED = rb'"(?:[^"\\\r\n]|\\[^\r\n])*"'

# RFC 9051 9: literal = "{" number64 ["+"] "}" CRLF *CHAR8; literal8 = "~{" number64 ["+"] "}" CRLF *OCTET
# (RFC 7888, RFC 3516)
# Only the announcement at the end of a line is matched here; the digits are capped by the caller's limit.
LITERAL = late_pattern(rb"(~?)\{([0-9]+)(\+?)\}\Z")

# RFC 9051 9: command = tag SP (command-any / command-auth / command-nonauth / command-select) CRLF
# Lenient: several spaces after the tag (telnet users; Dovecot and Cyrus accept them), any bytes but SP and controls in
# the tag (GNU imap4d and Dovecot echo whatever stood there). `x-command = "X" atom` and extensions: any word.
COMMAND = late_pattern(rb"([^\x00-\x20\x7f]+) +([A-Za-z][A-Za-z0-9_.\-]*)(?: +|\Z)")

# RFC 9051 9: greeting = "*" SP (resp-cond-auth / resp-cond-bye) CRLF; resp-cond-auth = ("OK" / "PREAUTH") SP resp-text
# Lenient: any case (ABNF strings have no case), no text after the word (small test servers), two spaces (GNU imap4d).
GREETING = late_pattern(rb"\* +(OK|PREAUTH|BYE)(?: |\Z)", re.IGNORECASE)

# RFC 9051 9: response-tagged = tag SP resp-cond-state CRLF; resp-cond-state = ("OK" / "NO" / "BAD") SP resp-text
# Lenient: no text (hoodiecrow), two spaces (GNU imap4d).
TAGGED = late_pattern(rb"([^\x00-\x20\x7f]+) +(OK|NO|BAD)(?: |\Z)", re.IGNORECASE)

# The same with whatever a server found where a tag should be: GNU imap4d repeats up to the first blank or NUL of a TLS
# hello, and puts nothing for a line of NULs (` BAD  Invalid command`).
ANSWER_TO_NONSENSE = late_pattern(rb"[^ ]* ?(?:BAD|NO)(?: |\Z)", re.IGNORECASE)

# RFC 9051 9: response-data = "*" SP (resp-cond-state / resp-cond-bye / mailbox-data / message-data / ...)
UNTAGGED = late_pattern(rb"\* +(?:([0-9]+) +)?([A-Za-z][A-Za-z0-9_.\-]*)(?: |\Z|(?=\())")

# RFC 9051 9: resp-text = ["[" resp-text-code "]" SP] [text]
#             resp-text-code = ... / atom [SP 1*<any TEXT-CHAR except "]">]
# Lenient: a "]" inside the arguments (`[BADURL "imap://[::1]/"]`) ends the code early; only the word matters.
CODE = late_pattern(rb" *\[([^\] ]{1,64})(?: ([^\]]*))?\]?")

# RFC 9051 9: continue-req = "+" SP (resp-text / base64) CRLF. Lenient: a bare "+" (Exchange, Courier for AUTHENTICATE).
CONTINUATION = late_pattern(rb"\+(?: |\Z)")

# RFC 9051 9: base64 = *(4base64-char) [base64-terminal]
BASE64 = late_pattern(rb"[A-Za-z0-9+/]*={0,2}\Z")

# What a server may say right after the bytes of a literal: the list goes on, ends, or the line ends.
AFTER_LITERAL = (b" ", b")", b"\r", b"\n", b"]")

# One token that no person reads: 32 or more characters of base64 (plain or URL-safe) or of hex.
_OPAQUE = late_pattern(rb"(?<![A-Za-z0-9+/_\-=<])[A-Za-z0-9+/_\-]{32,}={0,2}(?![A-Za-z0-9+/_\-=>])")
_CLASSES = (late_pattern(rb"[a-z]"), late_pattern(rb"[A-Z]"), late_pattern(rb"[0-9]"))
_HEX = late_pattern(rb"(?=.*[0-9])(?=.*[A-Fa-f])(?:[0-9a-f]{32,}|[0-9A-F]{32,})\Z")
# Bytes that no line of IMAP holds outside literals: RFC 9051 9, TEXT-CHAR = <any CHAR except CR and LF>, %x01-7F.
# NUL never; other controls and 8-bit bytes are seen of real software now and then, not many in one line.
_CONTROL = late_pattern(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def opaque_token(text: bytes) -> bytes | None:
    """The first token of `text` that looks like encoded data: base64 of 32 characters or more that mixes upper case,
    lower case and digits, or as many hex digits. No language has such words."""
    if len(text) < 32:
        return None
    for match in _OPAQUE.finditer(text, 0, 4096):
        token = match[0]
        if _HEX.match(token.rstrip(b"=")) or all(kind.search(token) for kind in _CLASSES):
            return token
    return None


def is_binary(data: bytes) -> bool:
    """Whether bytes outside a literal cannot be a line of text: a NUL, or more than one byte in eight that is a control
    or has the high bit set (UTF-8 names and Latin-1 passwords stay below; random bytes have half)."""
    if b"\x00" in data:
        return True
    if data.isascii():
        return len(_CONTROL.findall(data)) * 8 > len(data)
    head = data[:512]
    odd = sum(byte > 0x7E or (byte < 0x20 and byte not in (0x09, 0x0A, 0x0D)) for byte in head)
    if odd * 8 <= len(head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as fault:
        return fault.start < len(head) - 4  # a character cut by the window is no proof
    return len(_CONTROL.findall(head)) * 8 > len(head)


def literal_size(line: bytes, digits: int) -> tuple[int, bool] | None:
    """(bytes, synchronising?) of the literal that `line` announces at its end, or None.

    More than `digits` digits is no size (a lie that would cost memory as a number); the caller reports it.
    """
    if line[-1:] != b"}":
        return None
    match = LITERAL.search(line, max(0, len(line) - digits - 4))
    if match is None or len(match[2]) > digits:
        return None
    return int(match[2]), not match[3]


def unquote(text: bytes) -> bytes:
    """The content of a quoted string (with its quotes), RFC 9051 9 `quoted`."""
    inner = text[1:-1] if text[-1:] == b'"' and len(text) > 1 else text[1:]
    return re.sub(rb"\\(.)", rb"\1", inner) if b"\\" in inner else inner
