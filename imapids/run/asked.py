"""Options of a run as Python callers give them: names as on the command line, values as one would write them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from imapids.config import HOME_NETS, Limits, limits_within
from imapids.errors import UsageError
from imapids.run import values
from imapids.run.options import ALL_EVENTS, RunOptions


def asked_options(given: Mapping[str, Any]) -> RunOptions:
    """The options of a run.

    Raises UsageError where a value is wrong, or no option has that name (then it names the nearest one).
    """
    fields: dict[str, Any] = {}
    for name, value in given.items():
        option = OPTIONS.get(name)
        if option is None:
            near = difflib.get_close_matches(name, OPTIONS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(sorted(OPTIONS))}."
            raise UsageError(f"no option {name!r}. {hint}")
        if value is None:
            continue
        try:
            made = option(value)
        except (ValueError, TypeError, OverflowError) as error:
            raise UsageError(f"{name}: {error}") from error
        twice = sorted(set(made) & set(fields))
        if twice:
            raise UsageError(f"{name}: {twice[0]} was given by another option already")
        fields |= made
    options = RunOptions(**fields)
    if options.since_ns is not None and options.until_ns is not None and options.since_ns >= options.until_ns:
        raise UsageError("since must lie before until")
    return options


def _several(value: Any) -> list[Any]:
    """One value or several."""
    if isinstance(value, str | bytes | int | os.PathLike):
        return [value]
    if not isinstance(value, Iterable):
        raise TypeError(f"{value!r} is neither text nor a list of it")
    return list(value)


def _paths(field: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {field: tuple(os.fspath(path) for path in _several(value))}


def _path(field: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {field: os.fspath(value)}


def _networks(field: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {field: tuple(values.network_text(str(each).strip()) for each in _several(value))}


def _home(value: Any) -> dict[str, Any]:
    return {"home_nets": _networks("home_nets")(value)["home_nets"] or HOME_NETS}


def _flag(field: str, *, reverse: bool = False) -> Callable[[Any], dict[str, Any]]:
    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, bool):
            raise TypeError(f"{value!r} is neither True nor False")
        return {field: value != reverse}

    return read


def _moment(field: str) -> Callable[[Any], dict[str, Any]]:
    def read(value: Any) -> dict[str, Any]:
        if isinstance(value, datetime):
            nanosecond = getattr(value, "nanosecond", 0)  # a pandas Timestamp has them
            return {field: values.datetime_ns(value) + nanosecond}
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise TypeError(f"{value!r} is no time. Give a datetime, ISO 8601 or seconds since 1970.")
        if isinstance(value, int | float):
            return {field: round(value * values.SECOND)}
        return {field: values.moment_ns(value.strip())}

    return read


def _watch(value: Any) -> dict[str, Any]:
    pairs = [pair for each in _several(value) for pair in values.watched_pairs(str(each))]
    tcp, udp = values.watched_ports(pairs)
    return {"watch_tcp": tcp, "watch_udp": udp}


def _events(value: Any) -> dict[str, Any]:
    chosen: set[str] = set()
    for text in _several(value):
        for word in filter(None, (part.strip().lower() for part in str(text).split(","))):
            if word == "all":
                chosen |= ALL_EVENTS - {"flow"}
            elif word in ALL_EVENTS:
                chosen.add(word)
            else:
                near = difflib.get_close_matches(word, ALL_EVENTS, n=1)
                hint = f"Did you mean {near[0]!r}?" if near else f"There are: all, {', '.join(sorted(ALL_EVENTS))}."
                raise ValueError(f"no event type {word!r}. {hint}")
    if not chosen:
        raise ValueError(f"name at least one event type: {', '.join(sorted(ALL_EVENTS))}, or all")
    return {"events": frozenset(chosen)}


def _memory(value: Any) -> dict[str, Any]:
    size = value if isinstance(value, int) and not isinstance(value, bool) else values.size_bytes(str(value).strip())
    return {"limits": limits_within(size)}


def _limits(value: Any) -> dict[str, Any]:
    if not isinstance(value, Limits):
        raise TypeError("limits are an imapids.config.Limits; max_memory='200M' makes them smaller together")
    return {"limits": value}


def _key(value: Any) -> dict[str, Any]:
    if isinstance(value, bytes):
        values.check_key(value, "the key")
        return {"hash_key": value}
    return {"hash_key": values.read_key(Path(value))[0]}


OPTIONS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "events": _events,
    "rules": _paths("rule_paths"), "rule_paths": _paths("rule_paths"),
    "default_rules": _flag("default_rules"), "no_default_rules": _flag("default_rules", reverse=True),
    "allow": _paths("allow_paths"), "allow_paths": _paths("allow_paths"),
    "indicators": _paths("indicator_paths"), "indicator_paths": _paths("indicator_paths"),
    "inventory": _path("inventory_path"), "inventory_path": _path("inventory_path"),
    "signatures": _flag("signatures"),
    "home_net": _home, "home_nets": _home,
    "watch": _watch,
    "since": _moment("since_ns"), "until": _moment("until_ns"),
    "host": _networks("hosts"), "hosts": _networks("hosts"),
    "max_memory": _memory, "limits": _limits,
    "hash_key": _key,
    "follow": _flag("follow"),
}
"""Every option: the fields of RunOptions that a value stands for."""
