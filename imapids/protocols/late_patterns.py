"""Regular expressions that are compiled when somebody looks at the first text with them.

A run needs few of all the patterns that we know: compiling every one took a tenth of the start.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast

_OF_PATTERNS = tuple(name for name in dir(re.Pattern) if not name.startswith("_"))
_known: list[_LatePattern] = []


class _LatePattern:
    """Has every attribute of its pattern as one of its own from the first use on: no slower than the pattern then."""

    __slots__ = ("_written", *_OF_PATTERNS)

    def __init__(self, text: Any, flags: int) -> None:
        self._written = (text, flags)

    def __getattr__(self, name: str) -> Any:  # called for what is not there yet
        pattern = re.compile(*self._written)
        for attribute in _OF_PATTERNS:
            setattr(self, attribute, getattr(pattern, attribute))
        return getattr(pattern, name)


def late_pattern(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """As re.compile, but compiled at the first use; meant for the constants of modules, since each is remembered.

    Whether the pattern is a right one shows at the first use, too: re.error is raised there.
    """
    pattern = _LatePattern(text, flags)
    _known.append(pattern)
    return cast("re.Pattern[AnyStr]", pattern)


def compile_late_patterns() -> None:
    """Compile them all now: for runs that are to be ready before the first packet comes."""
    for pattern in _known:
        pattern.match  # noqa: B018  # asking for it compiles
