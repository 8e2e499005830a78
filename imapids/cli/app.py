"""The command group: imports only the command that is asked for; every error becomes a message and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from imapids.cli.commands import Group
from imapids.cli.console import complain
from imapids.errors import ExitCode, ImapidsError, RuleError

COMMANDS = {
    "analyze": ("imapids.cli.analyze", "Say what is in captures: verdicts, alerts, and what could not be seen."),
    "live": ("imapids.cli.live", "Watch an interface until stopped."),
    "exposure": ("imapids.cli.exposure", "Show what mail services are open, to whom; print firewall rules."),
    "explain": ("imapids.cli.explain", "Show the dialogue and the evidence of one session."),
    "extract": ("imapids.cli.extract", "Write the packets behind an alert, a session or a rule to a file."),
    "detect": ("imapids.cli.detect", "Run the rules again over saved events."),
    "rules": ("imapids.cli.rules", "List, check, test, convert and write rules."),
    "sample": ("imapids.cli.sample", "Write the sample captures that come with imapids."),
}
"""Command, its module (which holds `command`), and its line of help: the help needs no module."""


class ReaderGoneError(Exception):
    """Whoever read our output has closed the pipe."""


class Commands(Group):
    """A group whose commands are imported when they are called."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), color=ctx.color)
            ctx.exit(ExitCode.USAGE)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A name and a line of help, for the list of commands; `resolve_command` imports the real one."""
        return click.Command(cmd_name, help=COMMANDS[cmd_name][1]) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str],
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" Commands: {', '.join(COMMANDS)}."
            if not near and os.path.exists(name):  # noqa: PTH110  # pathlib is not needed for anything else here
                hint = f" To read a capture: imapids analyze {name}"
            raise click.UsageError(f"No such command {name!r}.{hint}", ctx)
        if name not in COMMANDS:
            return super().resolve_command(ctx, args)
        command: click.Command = importlib.import_module(COMMANDS[name][0]).command
        return name, command, args[1:]

    def invoke(self, ctx: click.Context) -> object:
        try:
            result: object = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError as error:  # before click makes an exit code 1 of it, which means alerts
            raise ReaderGoneError from error
        return result


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "-V", "--version", package_name="imapids", message="imapids %(version)s")
def application() -> None:
    """Is this traffic on port 143 really IMAP, and if not, what is it, and how do we know?

    Try it: imapids sample office-day, then imapids analyze office-day.pcap
    """


def run(arguments: Sequence[str]) -> int:
    """Run the command line; every way out is one of `errors.ExitCode`."""
    try:
        code = application.main(args=list(arguments), prog_name="imapids", standalone_mode=False)
        return int(code) if isinstance(code, int) else ExitCode.COMPLETE
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "imapids"
        complain(f"{error.format_message()}\nHelp: {where} --help")
        return ExitCode.USAGE
    except click.ClickException as error:
        complain(error.format_message())
        return ExitCode.USAGE
    except RuleError as error:
        complain("wrong rules:\n" + "\n".join(error.faults))
        return error.exit_code
    except ImapidsError as error:
        complain(str(error))
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted")
        return ExitCode.INTERRUPTED
    except ReaderGoneError:
        _silence_output()
        return ExitCode.INTERRUPTED
    except Exception:  # noqa: BLE001  # a traceback's exit code 1 would mean "alerts found"
        import traceback

        complain("internal error, please report it with the lines below\n" + traceback.format_exc())
        return ExitCode.INCOMPLETE


def _silence_output() -> None:
    """Nothing more can be written: keep Python from failing over it once more at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):
        pass  # standard output is no file (a test's buffer)
    finally:
        os.close(nowhere)
