"""The closed list of evidence codes: what each means, how much it weighs, and what it looks like.

docs/reference/evidence.md is this table. Families of codes end in a placeholder: `server-speaks-<protocol>`.
"""

from __future__ import annotations

import msgspec


class Code(msgspec.Struct, frozen=True):
    """One evidence code."""

    code: str
    weight: int
    """100: decides a verdict alone; 50: decides with another or when repeated; 10: context."""
    speaks_for: str
    """genuine, mimic, not-imap, undecided, or context."""
    meaning: str
    example: str


CODES: tuple[Code, ...] = (
    # a real server
    Code(
        "greeting", 60, "genuine", "The server's first line is an IMAP greeting.", "* OK [CAPABILITY IMAP4rev1] ready"
    ),
    Code("completions-match", 90, "genuine", "Commands were completed by answers with their tags.", "5 of 5 commands"),
    Code(
        "login-and-mailbox",
        70,
        "genuine",
        "Sign-in, mailbox and messages followed each other in legal states.",
        "login, select, fetch",
    ),
    Code(
        "tls-after-starttls",
        80,
        "genuine",
        "STARTTLS was accepted and a real TLS handshake followed.",
        "TLS 1.3, mail.example.test",
    ),
    Code(
        "imap-inside-deflate",
        80,
        "genuine",
        "COMPRESS was accepted and the inflated bytes are IMAP again.",
        "12 commands",
    ),
    Code("sasl-layer", 60, "genuine", "A SASL security layer followed AUTHENTICATE; its frames fit.", "8 frames"),
    Code(
        "answers-nonsense-correctly",
        70,
        "genuine",
        "The server refused lines that are no commands, as a real one does.",
        "3 lines answered BAD",
    ),
    Code(
        "server-half",
        50,
        "genuine",
        "Only the server was captured; its lines obey the grammar.",
        "greeting, 6 completions",
    ),
    Code(
        "client-half", 40, "genuine", "Only the client was captured; its commands come in a legal order.", "5 commands"
    ),
    # a mimic
    Code(
        "server-line-is-no-imap",
        90,
        "mimic",
        "After the greeting the server sends a line that no IMAP server sends.",
        "uid=0(root) gid=0(root)",
    ),
    Code("answer-without-command", 90, "mimic", "A tagged answer whose tag the client never sent.", "b99 OK done"),
    Code("server-echoes", 90, "mimic", "The server sends the client's line back.", "a1 CAPABILITY"),
    Code(
        "no-completions",
        80,
        "mimic",
        "The talk goes on, and no command is ever completed.",
        "9 commands, 14 server lines",
    ),
    Code(
        "success-in-impossible-state",
        90,
        "mimic",
        "A command ended OK in a state in which no server carries it out.",
        "FETCH not-authenticated",
    ),
    Code(
        "data-before-login",
        80,
        "mimic",
        "Data about mailboxes or messages before anyone signed in.",
        "* 1 FETCH (BODY[] {200}",
    ),
    Code(
        "literal-lies",
        90,
        "mimic",
        "The response does not go on after the announced bytes of a literal.",
        "[123 bytes]",
    ),
    Code(
        "opaque-response-text", 70, "mimic", "Encoded data where the grammar has words for people.", "[88 characters]"
    ),
    Code(
        "opaque-argument",
        60,
        "mimic",
        "A command that takes no argument carries encoded data and ends OK.",
        "NOOP [160 bytes]",
    ),
    Code("authenticate-channel", 80, "mimic", "AUTHENTICATE with more turns than any mechanism needs.", "12 turns"),
    Code("no-tls-after-starttls", 100, "mimic", "STARTTLS was accepted, and what followed is no TLS.", "[96 bytes]"),
    Code(
        "fake-tls-after-starttls", 100, "mimic", "After STARTTLS come TLS record headers without a TLS handshake.", ""
    ),
    Code(
        "no-deflate-after-compress", 100, "mimic", "COMPRESS was accepted, and what followed is no deflate stream.", ""
    ),
    Code("sasl-layer-lies", 70, "mimic", "After AUTHENTICATE come frames whose sizes do not fit.", ""),
    Code(
        "client-sends-greeting", 90, "mimic", "The side that opened the connection plays the server.", "* OK IMAP4rev1"
    ),
    # not IMAP
    Code(
        "server-speaks-<protocol>",
        100,
        "not-imap",
        "The server's bytes are those of another protocol.",
        "SSH-2.0-OpenSSH_9.2",
    ),
    Code(
        "client-speaks-<protocol>",
        60,
        "not-imap",
        "The client's bytes are those of another protocol.",
        "GET / HTTP/1.1",
    ),
    Code("server-is-no-imap", 90, "not-imap", "The server's first bytes cannot begin an IMAP greeting.", "[24 bytes]"),
    Code("udp", 100, "not-imap", "UDP: IMAP has no such form.", ""),
    Code("tls-from-first-byte", 100, "not-imap", "TLS without a greeting and without STARTTLS.", "TLS 1.2"),
    Code(
        "tls-alpn-imap",
        40,
        "context",
        "The TLS handshake names IMAP: a server for IMAP over TLS on the wrong port.",
        "imap",
    ),
    Code(
        "tls-without-handshake",
        90,
        "not-imap",
        "Records of TLS application data, and no handshake before them.",
        "\\x17\\x03\\x03\\x00\\x97",
    ),
    Code(
        "tls-records-without-handshake",
        90,
        "not-imap",
        "Record headers of TLS from the first byte, and no hello in them.",
        "\\x17\\x03\\x03",
    ),
    Code(
        "gh0st-packet",
        100,
        "not-imap",
        "A packet of the Gh0st family: magic, lengths that agree, zlib data.",
        "magic Gh0st",
    ),
    Code("executable-stage", 100, "not-imap", "An executable or shellcode, behind its length.", "length 4002, MZ"),
    Code(
        "length-prefixed-frames",
        90,
        "not-imap",
        "Units whose first bytes give their length, several in a row.",
        "6 frames, length of 32 bits little-endian",
    ),
    Code(
        "repeated-keystream-prefix",
        90,
        "not-imap",
        "Units that begin with the same random bytes: one keystream for all.",
        "4 units begin 1b 84 d5 b0 5d f4 c4 93",
    ),
    Code("fully-encrypted", 80, "not-imap", "Random bytes from the first one on, no structure.", "d4 41 9b 7e"),
    Code("fixed-size-beats", 70, "not-imap", "Small messages of the same size, back and forth.", "8 of 4 bytes"),
    Code("base64-lines", 80, "not-imap", "Lines of base64 and nothing else.", "Z2V0IGNvbW1hbmQ="),
    Code("hex-lines", 80, "not-imap", "Lines of hex digits and nothing else.", "6765742063"),
    Code("json-lines", 80, "not-imap", "Lines of JSON objects.", '{"id": 1}'),
    Code("text-lines", 50, "not-imap", "Lines of text in a form that no protocol known here has.", "PING 17"),
    Code("file-magic", 80, "not-imap", "The first bytes of a file.", "gzip"),
    Code("server-echoes-client", 90, "not-imap", "The server sends the client's bytes back.", "hello"),
    Code(
        "cmd-shell-output", 100, "not-imap", "What a Windows command shell prints.", "Microsoft Windows [Version 10.0"
    ),
    Code("powershell-output", 100, "not-imap", "What PowerShell prints.", "PS C:\\Users>"),
    Code("unix-shell-output", 100, "not-imap", "What a Unix shell prints.", "uid=0(root) gid=0(root)"),
    Code("shell-commands", 70, "not-imap", "Commands that people type into shells.", "whoami"),
    # not enough
    Code("greeting-only", 50, "undecided", "A greeting and nothing else: anyone can send one.", "* OK ready"),
    Code("server-silent", 50, "undecided", "Only the client spoke.", ""),
    Code("no-greeting", 60, "undecided", "The server answers, and never sent a greeting.", "a1 OK done"),
    # context
    Code(
        "reads-otherwise",
        95,
        "context",
        "Bytes came twice and differ: with the later copy, which the host may have taken, it is something else.",
        "not-imap, http",
    ),
    Code("client-spoke-first", 20, "context", "The client sent bytes before the server's first.", ""),
    Code("server-spoke-first", 10, "context", "The server sent the first bytes.", ""),
    Code(
        "client-line-is-no-command", 30, "context", "The client sent a line that is no IMAP command.", "GET / HTTP/1.0"
    ),
    Code(
        "commands-before-starttls-answer",
        40,
        "context",
        "Commands behind STARTTLS, before its answer (command injection, CVE-2011-0411).",
        "NOOP",
    ),
    Code("starttls-unused", 30, "context", "STARTTLS was accepted, and the connection ended there.", ""),
    Code("starttls-refused", 20, "context", "The server refused STARTTLS.", ""),
    Code("gap", 20, "context", "The capture lacks bytes of this conversation.", "2 gaps of the server"),
    Code("mid-stream", 10, "context", "The capture starts inside the conversation.", ""),
    Code("one-sided", 10, "context", "The capture holds one side only.", "client"),
)

WEIGHTS: dict[str, int] = {code.code: code.weight for code in CODES}


def weight(code: str) -> int:
    """How much a code weighs; those of the sniffer's families by their family, unknown ones in the middle."""
    known = WEIGHTS.get(code)
    if known is not None:
        return known
    return 100 if code.startswith("server-speaks-") else 60
