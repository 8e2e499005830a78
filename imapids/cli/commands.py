"""Commands and groups whose help rich-click draws: only who asks for help waits for that library."""

from __future__ import annotations

from typing import Any

import click


class Command(click.Command):
    """A command of imapids: parsed by click, its help drawn by rich-click."""

    def get_help(self, ctx: click.Context) -> str:
        return drawn_help(self, ctx)


class Group(click.Group):
    """A group of such commands."""

    command_class = Command

    def get_help(self, ctx: click.Context) -> str:
        return drawn_help(self, ctx)


def drawn_help(command: click.Command, ctx: click.Context) -> str:
    """The help of a command as rich-click draws that of its own commands, in colours where those are wanted."""
    import rich_click

    class Listed(rich_click.RichGroup):
        def list_commands(self, ctx: click.Context) -> list[str]:
            return list(self.commands)  # as the group that is described lists them

    described: dict[str, Any] = {"name": command.name, "params": command.params, "callback": command.callback,
                                 "help": command.help, "epilog": command.epilog}
    if isinstance(command, click.Group):
        described["commands"] = {name: command.get_command(ctx, name) for name in command.list_commands(ctx)}
    drawn = (Listed if isinstance(command, click.Group) else rich_click.RichCommand)(**described)
    ctx.color = True  # rich has looked at the terminal: click need not take colours away
    return drawn.get_help(rich_click.RichContext(drawn, parent=ctx.parent, info_name=ctx.info_name,
                                                 help_option_names=ctx.help_option_names))
