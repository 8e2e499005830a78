"""What can go wrong, and the exit code that tells so.

ImapidsError
├── UsageError          2  an option or argument is wrong
├── RuleError           5  a rule or indicator file is wrong
├── InputError          3  a capture cannot be read at all
│   └── UnsupportedInput   3  it is of a kind that we do not read
└── OutputError         3  a result cannot be written

Hostile bytes in a capture never raise: damage is counted and reported (exit code 4).
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """Exit codes of the command line, a contract (DESIGN section 9)."""

    COMPLETE = 0
    ALERTS = 1
    USAGE = 2
    NO_INPUT = 3
    INCOMPLETE = 4
    BAD_RULES = 5
    INTERRUPTED = 130


class ImapidsError(Exception):
    """Base of all errors that imapids raises on purpose: says where, what, and what to do."""

    exit_code: ExitCode = ExitCode.USAGE


class UsageError(ImapidsError):
    """An option or argument is wrong."""

    exit_code = ExitCode.USAGE


class RuleError(ImapidsError):
    """A rule or indicator file is wrong; `faults` holds one `file:line: what` for each fault."""

    exit_code = ExitCode.BAD_RULES

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class InputError(ImapidsError):
    """A capture cannot be read at all."""

    exit_code = ExitCode.NO_INPUT


class UnsupportedInput(InputError):
    """A capture is of a kind that we do not read."""


class OutputError(ImapidsError):
    """A result cannot be written."""

    exit_code = ExitCode.NO_INPUT
