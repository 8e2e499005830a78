#!/usr/bin/env python3
"""Write the reference pages that are made from the code: limits (config.py) and the command line (cli/).

usage: python docs/generate_reference.py

A test compares the pages with the code, so that they cannot grow old.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import click

import imapids.config
from imapids.cli.app import COMMANDS, application

FOLDER = Path(__file__).resolve().parent / "reference"
UNITS = (("_bytes_all", "bytes"), ("_bytes", "bytes"), ("_ns", "ns"))


def limits_page() -> str:
    """Every limit of config.py: name, value, reason (the docstring under the field)."""
    parts = [
        """# Limits

Every table and buffer is bounded, for every byte of a capture may be an attacker's. When a limit is reached, a counter
of its name says so in the `capture` event (`limits`), and the session that lost something names it in `session.limits`.
`--max-memory` makes the tables and buffers smaller or larger together. This page is made from `imapids/config.py`.
"""
    ]
    tree = ast.parse(Path(imapids.config.__file__).read_text())
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name != "Limits":
            default = getattr(imapids.config, node.name)()
            title = node.name.removesuffix("Limits").lower()
            parts.append(
                f"\n## {title}\n\n{ast.get_docstring(node)}\n\n| name | default | why |\n| --- | ---: | --- |\n"
            )
            parts += [f"| `{name}` | {shown(name, getattr(default, name))} | {why} |\n" for name, why in fields(node)]
    return "".join(parts)


def fields(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """(name, docstring on one line) of the annotated fields of a class."""
    for field, text in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            is_docstring = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
            yield field.target.id, " ".join(str(text.value.value).split()) if is_docstring else ""


def shown(name: str, value: object) -> str:
    """A number as people read it: binary units for round sizes, seconds for times."""
    if not isinstance(value, int):
        return f"{value}"
    if name.endswith("_ns"):
        return f"{value / 10**9:g} s"
    if "bytes" in name and "ratio" not in name:
        for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
            if value % size == 0 and value >= size:
                return f"{value // size:,} {unit}"
        return f"{value:,} bytes"
    return f"{value:,}"


def cli_page() -> str:
    """Every command with its arguments, options and help."""
    parts = [
        """# Command line

Results go to standard output (or `-o`), messages to standard error. With `--format jsonl` standard output holds JSON
lines and nothing else. Exit codes: [exit-codes.md](exit-codes.md). This page is made from `imapids/cli/`.
"""
    ]
    context = click.Context(application, info_name="imapids")
    for name, (module, _) in COMMANDS.items():
        parts += command_part(importlib.import_module(module).command, name, context, "##")
    return "".join(parts)


def command_part(command: click.Command, name: str, parent: click.Context, level: str) -> Iterator[str]:
    """One command and, for a group, its commands."""
    context = click.Context(command, info_name=name, parent=parent)
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"\n{level} {context.command_path}\n\n```\n{context.command_path} {usage}\n```\n"
    yield f"\n{paragraphs(command.help)}\n"
    options = [param for param in command.params if isinstance(param, click.Option) and not param.hidden]
    if options:
        yield "\n| option | meaning |\n| --- | --- |\n"
    for option in options:
        names = ", ".join([*option.opts, *option.secondary_opts])
        metavar = "" if option.is_flag or option.count else f" {option.make_metavar(context)}"
        yield f"| `{names}{metavar}` | {option.help or ''} |\n".replace("|auto", r"\|auto")
    if command.epilog:
        yield f"\n{paragraphs(command.epilog).replace('Example: ', 'Example: `', 1)}`\n"
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from command_part(found, child, context, f"{level}#")


def paragraphs(text: str | None) -> str:
    """Help text with one paragraph a line."""
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n")).strip()


PAGES = {"limits.md": limits_page, "cli.md": cli_page}

if __name__ == "__main__":
    for page, make in PAGES.items():
        (FOLDER / page).write_text(make())
        sys.stdout.write(f"{FOLDER / page}\n")
