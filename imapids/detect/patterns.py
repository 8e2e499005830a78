"""Regular expressions of rules: RE2, which never backtracks; without it, only constructs that cannot run away.

Rules are written by people and read text that attackers send: `(a+)+$` against 27 bytes takes `re` seconds.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

LONGEST_PATTERN = 4_096
"""Characters of one expression: the longest one in use is a tenth of that."""
LONGEST_TEXT = 16_384
"""Characters that an expression looks at: fields of events are far shorter."""


class PatternError(ValueError):
    """The expression is wrong, or holds something that could run away."""


@functools.cache
def _re2_module() -> object | None:
    try:
        import re2
    except ImportError:  # it comes with pySigma 2; with pySigma 1 it may be missing
        return None
    return re2


def compile_pattern(pattern: str, flags: str = "") -> Callable[[str], bool]:
    """A function that tells whether the expression is found anywhere in a text. PatternError where it is refused.

    `flags` are letters: i (ignore case), m (`^` and `$` at lines), s (`.` is any character).
    """
    if len(pattern) > LONGEST_PATTERN:
        raise PatternError(f"longer than {LONGEST_PATTERN} characters")
    if re2 := _re2_module():
        return _compile_re2(re2, pattern, flags)
    refuse_runaway(pattern)
    letters = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}
    options = re.ASCII
    for flag in flags:
        options |= letters[flag]
    try:
        found = re.compile(pattern, options).search
    except (re.error, RecursionError, OverflowError) as error:
        raise PatternError(str(error)) from error
    return lambda text: found(text[:LONGEST_TEXT]) is not None


def _compile_re2(re2: object, pattern: str, flags: str) -> Callable[[str], bool]:
    options = re2.Options()  # type: ignore[attr-defined]  # the module has no stubs
    options.log_errors = False
    options.max_mem = 8 << 20  # bytes of the automaton; RE2's own default, said here so that it is a limit of ours
    prefix = "".join(sorted(set(flags)))
    try:
        found = re2.compile(f"(?{prefix}){pattern}" if prefix else pattern, options).search  # type: ignore[attr-defined]
    except re2.error as error:  # type: ignore[attr-defined]
        text = error.args[0] if error.args else error
        raise PatternError(text.decode("ascii", "replace") if isinstance(text, bytes) else str(text)) from error
    return lambda text: found(text[:LONGEST_TEXT]) is not None


_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\((?:\?[^)]{0,2})?|\)|[*+?]|\{\d*,?\d*\}|\||.", re.DOTALL)


def refuse_runaway(pattern: str) -> None:
    """PatternError for what backtracking may take exponential time on: a repeated group that repeats or chooses
    inside, look-around, back-references, counts above 1,000."""
    groups: list[bool] = [False]  # for each open group: whether it repeats or chooses inside
    closed: bool | None = None  # the item just read was a group: whether it repeats or chooses inside
    for match in _TOKEN.finditer(pattern):
        text = match[0]
        if text.startswith(("(?=", "(?!", "(?<", "(?P=", "(?(")) and not text.startswith("(?P<"):
            raise PatternError("look-around and conditions are not allowed: they can run away")
        if re.match(r"\\[1-9]", text):
            raise PatternError("back-references are not allowed: they can run away")
        if text.startswith("("):
            groups.append(False)
            closed = None
        elif text == ")":
            closed = groups.pop() if len(groups) > 1 else False
            groups[-1] = groups[-1] or closed
        elif text in ("*", "+") or text.startswith("{"):
            if closed:
                raise PatternError("a repeated group repeats or chooses inside: that can run away")
            if any(int(number) > 1_000 for number in re.findall(r"\d+", text)):
                raise PatternError("repeat counts above 1,000 are not allowed")
            groups[-1], closed = True, None
        else:
            if text == "|":
                groups[-1] = True
            closed = None
