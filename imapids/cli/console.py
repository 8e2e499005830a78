"""What people see besides results: messages on standard error, escaped, and whether a terminal is there."""

from __future__ import annotations

import sys

from imapids.protocols.text import safe_str


def printable(text: str, limit: int = 20_000) -> str:
    """Text that a terminal can show: lines with other than printable ASCII (file names, exceptions) are escaped."""
    return "\n".join(line if line.isascii() and line.isprintable() else safe_str(line, limit)
                     for line in text.splitlines())


def say(text: str) -> None:
    """A message for people: standard error, so that standard output holds results and nothing else."""
    try:
        sys.stderr.write(f"imapids: {printable(text)}\n")
        sys.stderr.flush()
    except OSError:
        pass  # nobody reads standard error: there is no one to tell


def complain(text: str) -> None:
    """Why the command failed."""
    say(f"error: {text}")


def on_terminal() -> bool:
    """Standard output is a terminal."""
    return sys.stdout.isatty()
