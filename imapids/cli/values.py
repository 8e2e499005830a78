"""The kinds of option values: times, networks, ports, sizes, event types; each says what it wanted when it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NoReturn, TypeVar

import click

from imapids.run import values

T = TypeVar("T")


def nearest(word: str, words: Iterable[str]) -> str:
    """` Did you mean ...?`, or nothing where no word is near."""
    import difflib

    near = difflib.get_close_matches(word, list(words), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


class Value(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    """Base of our option values."""

    def refuse(self, message: str, param: click.Parameter | None, ctx: click.Context | None) -> NoReturn:
        """End with exit code 2 and say which option was wrong."""
        raise click.BadParameter(message, ctx, param)

    def read(self, reader: Callable[[str], T], value: object, param: click.Parameter | None,
             ctx: click.Context | None) -> T:
        """What a reader makes of the text; its ValueError says what was wanted."""
        try:
            return reader(str(value).strip())
        except ValueError as error:
            self.refuse(str(error), param, ctx)


class Moment(Value):
    """A point in time: ISO 8601 (UTC unless it says otherwise) or seconds since the epoch; nanoseconds as int."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return value if isinstance(value, int) else self.read(values.moment_ns, value, param, ctx)


class Network(Value):
    """An address or a network in CIDR form, as normal text."""

    name = "network"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return self.read(values.network_text, value, param, ctx)


class Ports(Value):
    """Port numbers with an optional transport, separated by commas: ((port, transport), ...)."""

    name = "ports"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None,
    ) -> tuple[tuple[int, str], ...]:
        return value if isinstance(value, tuple) else self.read(values.watched_pairs, value, param, ctx)


class Size(Value):
    """Bytes, with a unit: 400M, 2GiB, 100000."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return value if isinstance(value, int) else self.read(values.size_bytes, value, param, ctx)


class Names(Value):
    """Words out of a closed list, separated by commas; `all` stands for a set of its own."""

    def __init__(self, name: str, known: frozenset[str], everything: frozenset[str]) -> None:
        self.name = name
        self.known = known
        self.everything = everything

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[str]:
        if isinstance(value, frozenset):
            return value
        chosen: set[str] = set()
        for word in filter(None, (part.strip().lower() for part in str(value).split(","))):
            if word == "all":
                chosen |= self.everything
            elif word in self.known:
                chosen.add(word)
            else:
                hint = nearest(word, self.known) or f" There are: all, {', '.join(sorted(self.known))}."
                self.refuse(f"no {self.name} {word!r}.{hint}", param, ctx)
        if not chosen:
            self.refuse(f"name at least one {self.name}: {', '.join(sorted(self.known))}, or all.", param, ctx)
        return frozenset(chosen)


class Workers(Value):
    """How many processes: a number, or `auto` for as many as pay."""

    name = "workers"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value).strip().lower()
        if text == "auto":
            return 1  # the best that this version can do
        if not re.fullmatch(r"\d{1,3}", text) or not 0 < int(text) <= 256:
            self.refuse(f"{text!r} is no number of workers. Write 1 to 256, or auto.", param, ctx)
        return int(text)


class Format(Value):
    """An output format."""

    name = "format"

    def __init__(self, *known: str) -> None:
        self.known = known

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "[" + "|".join(self.known) + "]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        word = str(value).strip().lower()
        if word in self.known:
            return word
        hint = nearest(word, self.known) or f" There are: {', '.join(self.known)}."
        return self.refuse(f"no format {word!r}.{hint}", param, ctx)
