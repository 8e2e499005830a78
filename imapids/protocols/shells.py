"""Interactive shells: who holds one shows in prompts, banners and the output of the first commands."""

from __future__ import annotations

import re

from imapids.protocols.late_patterns import late_pattern
from imapids.protocols.openings import Window
from imapids.protocols.probing import SHOWN_BYTES, shown
from imapids.protocols.redaction import hide_secrets
from imapids.protocols.text import safe_text
from imapids.records.candidates import Evidence, Finding, Opening

_SEARCHED_BYTES = 4_096
"""Bytes of each side that are searched: a banner or prompt comes with the first answers."""

_WINDOWS_SHELL = late_pattern(
    rb"Microsoft Windows (?:XP |2000 )?\[Version [0-9.]+\]|Microsoft\(R\) Windows DOS"
    rb"|\([Cc]\) Copyright 1985-[0-9]{4} Microsoft Corp|\(c\) (?:20[0-9]{2} )?Microsoft Corporation\. "
    rb"|(?:^|[\r\n])[A-Z]:\\[^\r\n<>|?*\"]{0,200}>|Volume Serial Number is [0-9A-F]{4}-[0-9A-F]{4}"
)
_POWERSHELL = late_pattern(rb"(?:^|[\r\n])PS [A-Z]:\\[^\r\n<>|?*\"]{0,200}> ?|Windows PowerShell running as user ")
_LINE = rb"(?:^|[\r\n])"
_ESCAPES = rb"(?:^|[\r\n\x07])(?:\x1b\[[0-9;?]{0,16}[a-zA-Z]){0,8}"
_UNIX_SHELL = late_pattern(
    b"|".join(
        (
            rb"(?:^|[\r\n#$>] ?)uid=[0-9]+\([a-zA-Z0-9_.-]+\) gid=[0-9]+\(",  # the answer to `id`
            rb"bash: (?:cannot set terminal process group|no job control in this shell)",
            rb"/bin/(?:ba|da|a)?sh: [0-9]+: can't access tty; job control turned off",
            _LINE + rb"(?:ba)?sh-[0-9]\.[0-9]+[a-z]?[$#] ",
            _ESCAPES + rb"\[?[a-z_][a-z0-9_-]{0,31}@[a-zA-Z0-9.-]{1,64}[: ][^\r\n]{0,128}[$#] ",  # user@host:path$
            _LINE + rb"Linux [a-zA-Z0-9.-]{1,64} [0-9]+\.[0-9]+\.[0-9]+[^\r\n]* "
            rb"(?:x86_64|i[3-6]86|aarch64|armv[0-9a-z]+|mips[a-z0-9]*)\b",  # the answer to `uname -a`
        )
    )
)
_LISTING = late_pattern(
    b"|".join(
        (
            _LINE + rb"root:[x*!]:0:0:",
            _LINE + rb"drwx[r-][wx-][xst-][r-][w-][xst-][.+@]? +[0-9]+ [a-z]",  # the answer to `ls -l`
            _LINE + rb"PRETTY_NAME=\"|" + _LINE + rb"USER +PID %CPU",
        )
    )
)
"""What a shell prints when it is asked to, and what travels without one as well: a file, a directory over FTP (RFC 959
section 4.1.3). It speaks for a shell where somebody asked."""
_COMMANDS = late_pattern(
    rb"(?:"
    + b"|".join(
        (
            rb"id|whoami|hostname|pwd|uname(?: -[a-z]+)?|w|exit|env|set|history|last|mount|crontab -l|sudo -l",
            rb"ls(?: -[a-zA-Z]+)?(?: [/~.][^\r\n]*)?|cd(?: .*)?|cat (?:/|\.|~)[^\r\n]*|find / .*",
            rb"df(?: -h)?|free(?: -m)?|chmod [0-7+x]+ .*",
            rb"ps(?: -?[a-z]+)?|ifconfig(?: -a)?|ip (?:-br )?(?:a|addr|r|route)\b.*|netstat(?: -[a-z]+)?",
            rb"wget https?://.*|curl (?:-[a-zA-Z]+ )*https?://.*|/bin/(?:ba)?sh(?: -i)?|python[23]? -c .*",
            rb"/bin/busybox [A-Z]+|enable|system|shell|sh|busybox(?: .*)?",
            rb"dir(?: [A-Za-z]:\\.*)?|ipconfig(?: /all)?|systeminfo|tasklist(?: /.*)?|ver|type [A-Za-z]:\\.*|arp -a",
            rb"net (?:user|localgroup|view|start|group|accounts)\b.*|whoami /(?:all|priv|groups)|route print",
            rb"nltest /.*|query user",
        )
    )
    + rb")(?:\s*[|;&>].*)?\s*",
    re.DOTALL,
)
_KINDS = (  # the most particular first
    (_POWERSHELL, "powershell-output"),
    (_WINDOWS_SHELL, "cmd-shell-output"),
    (_UNIX_SHELL, "unix-shell-output"),
    (_LISTING, "unix-shell-output"),
)
_COMMAND_LINES = 3
"""Lines of one side that must all be shell commands before they speak for themselves."""


def _output(data: bytes, asked: bool) -> tuple[str, int] | None:
    """Evidence code and position of what a shell printed; `asked`: the other side spoke, or was not captured."""
    for pattern, code in _KINDS if asked else _KINDS[:-1]:
        match = pattern.search(data, 0, _SEARCHED_BYTES)
        if match:
            return code, match.start() + (match[0][:1] in b"\r\n" and len(match[0]) > 1)
    return None


def _commands(data: bytes) -> int:
    """How many of the first lines are shell commands, up to the first that is not."""
    count = 0
    for line in data[:1_024].split(b"\n")[:8]:
        if len(line) > 256 or not _COMMANDS.fullmatch(line):
            break
        count += bool(line.strip())
    return count


def look_for_shell(opening: Opening, window: Window) -> Finding | None:
    """Output of a shell from one side; the operator's commands from the other raise the confidence."""
    sides = (("client", window.client), ("server", window.server))
    for at, (side, data) in enumerate(sides):
        operator, orders = sides[1 - at]
        printed = _output(data, bool(orders) or opening.sides_seen != "both") if data else None
        if printed is None:
            continue
        code, offset = printed
        commands = _commands(orders)
        evidence = [
            Evidence(
                code=code,
                side=side,
                packet=0,
                offset=offset,
                text=shown(data, offset),
            )
        ]
        if commands:
            evidence.append(_ordered(operator, orders))
        confidence = "high" if commands else "medium"
        return Finding(
            shape="interactive-shell", confidence=confidence, evidence=evidence, by_client_only=not opening.server
        )
    for side, data in sides:
        if _commands(data) >= _COMMAND_LINES:
            other = window.server if side == "client" else window.client
            return Finding(
                shape="interactive-shell",
                confidence="medium" if other else "low",
                evidence=[_ordered(side, data)],
                by_client_only=not opening.server,
            )
    return None


def _ordered(side: str, data: bytes) -> Evidence:
    text = safe_text(hide_secrets(data[:SHOWN_BYTES]))
    return Evidence(code="shell-commands", side=side, packet=0, offset=0, text=text)
