"""Lines that are too long, made shorter: lists lose their last elements, long texts their ends.

Log shippers and SIEMs cut or drop long lines, and what they cut is no JSON any more.
"""

from __future__ import annotations

from typing import Any

import msgspec

LINE_BYTES = 16_384
"""A line of output: Filebeat's and Wazuh's defaults take 64 KiB, syslog relays often less."""

_SHORTEST_TEXT = 64
"""A text that is no longer than this is not cut: it would say nothing."""


def shorten(value: dict[str, Any], limit: int) -> bool:
    """Cuts lists and texts inside `value` until its JSON has at most `limit` bytes; whether it came that far.

    `value` holds plain dicts, lists, strings and numbers, and is changed in place; no key of a dict is ever removed.
    Each step takes half away from whatever weighs most, so the steps are few however long the line was.
    """
    while len(msgspec.json.encode(value)) > limit:
        holder, key = _heaviest(value)
        if holder is None:
            return False
        child = holder[key]
        if isinstance(child, str):
            holder[key] = child[: max(_SHORTEST_TEXT - 3, len(child) // 2)] + "..."
        else:
            del child[len(child) // 2 :]
    return True


def _heaviest(value: dict[str, Any]) -> tuple[Any, Any]:
    """(holder, key) of the list or text to halve next; (None, None) where nothing is left.

    A list in which one element weighs more than the rest is left alone for what is inside that element; a list of one
    element goes only when nothing else is left.
    """
    best: tuple[float, Any, Any] = (0, None, None)
    stack: list[Any] = [value]
    while stack:
        holder = stack.pop()
        for key, child in holder.items() if isinstance(holder, dict) else enumerate(holder):
            weight: float = 0
            if isinstance(child, str):
                weight = len(child) if len(child) > _SHORTEST_TEXT else 0
            elif isinstance(child, dict):
                stack.append(child)
            elif isinstance(child, list) and child:
                stack.append(child)
                sizes = [len(msgspec.json.encode(element)) for element in child]
                weight = sum(sizes) if len(child) > 1 and 2 * max(sizes) <= sum(sizes) + 1 else 1 - 1 / len(child)
                if weight == 0:
                    weight = 0.1
            if weight > best[0]:
                best = weight, holder, key
    return best[1:]
