"""The kinds of option values: times, networks, ports, sizes, event types; each says what it wanted when it refuses."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import NoReturn

import rich_click as click

SECOND = 10**9
_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
LATER_FORMATS = ("parquet", "html", "stix", "misp", "ecs")
"""Formats of the design that this version does not write."""


def nearest(word: str, words: Iterable[str]) -> str:
    """` Did you mean ...?`, or nothing where no word is near."""
    near = difflib.get_close_matches(word, list(words), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


class Value(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    """Base of our option values."""

    def refuse(self, message: str, param: click.Parameter | None, ctx: click.Context | None) -> NoReturn:
        """End with exit code 2 and say which option was wrong."""
        raise click.BadParameter(message, ctx, param)


class Moment(Value):
    """A point in time: ISO 8601 (UTC unless it says otherwise) or seconds since the epoch; nanoseconds as int."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value).strip()
        if re.fullmatch(r"-?\d{1,12}(\.\d{1,9})?", text) and not re.fullmatch(r"\d{8}", text):  # 20260303 is a date
            return int(Decimal(text) * SECOND)
        fraction = re.search(r"\.(\d{1,9})", text)  # datetime keeps microseconds only
        try:
            whole = datetime.fromisoformat(text.replace(fraction[0], "", 1) if fraction else text)
        except (ValueError, InvalidOperation):
            self.refuse(f"{text!r} is no time. Write 2026-03-03T08:00:00Z or 1772524800.5.", param, ctx)
        moment = whole if whole.tzinfo else whole.replace(tzinfo=UTC)
        since_epoch = moment - datetime(1970, 1, 1, tzinfo=UTC)
        nanoseconds = int(fraction[1].ljust(9, "0")) if fraction else 0
        return (since_epoch.days * 86_400 + since_epoch.seconds) * SECOND + nanoseconds


class Network(Value):
    """An address or a network in CIDR form, as normal text."""

    name = "network"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).strip()
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            self.refuse(f"{text!r} is no address or network. Write 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32.", param, ctx)
        return str(network.network_address) if network.num_addresses == 1 else str(network)


class Ports(Value):
    """Port numbers with an optional transport, separated by commas: ((port, transport), ...)."""

    name = "ports"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None,
    ) -> tuple[tuple[int, str], ...]:
        if isinstance(value, tuple):
            return value
        ports = []
        for part in str(value).split(","):
            match = re.fullmatch(r"(\d{1,5})(?:/(tcp|udp))?", part.strip().lower())
            if not match or not 0 < int(match[1]) < 65_536:
                self.refuse(f"{part!r} is no port. Write 143, 2143 or 143/udp, separated by commas.", param, ctx)
            ports.append((int(match[1]), match[2] or "tcp"))
        return tuple(ports)


class Size(Value):
    """Bytes, with a unit: 400M, 2GiB, 100000."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d{1,15})\s*([KMGT]?)(?:I?B)?", str(value).strip().upper())
        if not match:
            self.refuse(f"{str(value)!r} is no size. Write 400M or 2GiB (units of 1,024).", param, ctx)
        return int(match[1]) * _SIZES[match[2]]


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
    """An output format of this version; one of a later version is named as such."""

    name = "format"

    def __init__(self, *known: str) -> None:
        self.known = known

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "[" + "|".join(self.known) + "]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        word = str(value).strip().lower()
        if word in LATER_FORMATS:
            self.refuse(f"{word!r} is not in this version. It writes {', '.join(self.known)}.", param, ctx)
        hint = nearest(word, self.known) or f" There are: {', '.join(self.known)}."
        return word if word in self.known else self.refuse(f"no format {word!r}.{hint}", param, ctx)
