"""Regular expressions of rules: RE2, which never backtracks; without it, only constructs that cannot run away.

Rules are written by people and read text that attackers send: `(a+)+$` against 27 bytes takes `re` seconds.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence

from imapids.protocols.late_patterns import late_pattern

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
    try:
        found = re2.compile(_with_flags(pattern, flags), _re2_options(re2)).search  # type: ignore[attr-defined]
    except re2.error as error:  # type: ignore[attr-defined]
        text = error.args[0] if error.args else error
        raise PatternError(text.decode("ascii", "replace") if isinstance(text, bytes) else str(text)) from error
    return lambda text: found(text[:LONGEST_TEXT]) is not None


def _re2_options(re2: object) -> object:
    options = re2.Options()  # type: ignore[attr-defined]  # the module has no stubs
    options.log_errors = False
    options.max_mem = 8 << 20  # bytes of the automaton; RE2's own default, said here so that it is a limit of ours
    return options


def _with_flags(pattern: str, flags: str) -> str:
    prefix = "".join(sorted(set(flags)))
    return f"(?{prefix}){pattern}" if prefix else pattern


class PatternSet:
    """Expressions that are looked for together: with RE2, a hundred cost what one costs."""

    def __init__(self, patterns: Sequence[tuple[str, str]]) -> None:
        """`patterns`: (expression, flags) of each; all of them have gone through `compile_pattern` before."""
        self._patterns = patterns
        self._alone: list[Callable[[str], bool]] = []
        self._match = self._together() if len(patterns) > 1 else None

    def _together(self) -> Callable[[str], list[int] | None] | None:
        re2 = _re2_module()
        if re2 is None:
            return None
        try:
            whole = re2.Set.SearchSet(_re2_options(re2))  # type: ignore[attr-defined]
            for pattern, flags in self._patterns:
                whole.Add(_with_flags(pattern, flags))
            whole.Add("")  # is found in every text: where it is not, RE2 ran out of memory, and says so in no other way
            whole.Compile()
        except re2.error:  # type: ignore[attr-defined]  # too large together
            return None
        return whole.Match  # type: ignore[no-any-return]

    def found(self, text: str) -> Sequence[int]:
        """Places of the expressions that are found in a text, in no order."""
        if self._match is not None:
            places = self._match(text[:LONGEST_TEXT])
            if places:
                return [place for place in places if place < len(self._patterns)]
            self._match = None
        if not self._alone:
            self._alone = [compile_pattern(pattern, flags) for pattern, flags in self._patterns]
        return [place for place, search in enumerate(self._alone) if search(text)]


_TOKEN = late_pattern(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\((?:\?[^)]{0,2})?|\)|[*+?]|\{\d*,?\d*\}|\||.", re.DOTALL)


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
