"""YARA rule files as data from outside: which files there are, how large they may be, what they are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from imapids.protocols.late_patterns import late_pattern
from imapids.protocols.text import safe_str

SUFFIXES = (".yar", ".yara")
FILE_BYTES = 4 << 20
"""One rule file; the largest public collections in one file have 2 to 3 MiB."""
ALL_BYTES = 64 << 20
"""All rule files of a run."""
FILES = 10_000
"""Rule files of a run."""
SHIPPED = Path(__file__).parent.parent / "_rules" / "yara"
"""The rules that come with imapids."""


class Source(msgspec.Struct, frozen=True):
    """One rule file."""

    name: str
    """As messages show it; safe text."""
    namespace: str
    """Unique in a run, so that two files may hold rules of the same name."""
    text: str

    @property
    def skips_genuine(self) -> bool:
        """A global rule keeps all rules of the file from genuine sessions: those need no scan at all."""
        return _NOT_GENUINE.search(_BLOCK_COMMENT.sub("", self.text)) is not None


_BLOCK_COMMENT = late_pattern(r"/\*.*?\*/", re.DOTALL)
_NOT_GENUINE = late_pattern(
    r'^[ \t]*global private rule \w+\s*\{\s*condition:\s*verdict\s*!=\s*"genuine"\s*\}', re.MULTILINE)


def collect(paths: Iterable[str | Path], *, defaults: bool, faults: list[str]) -> list[Source]:
    """The rule files under the paths (folders: every `.yar` and `.yara` in them), sorted; faults go to the list.

    A path that is neither a folder nor named like a YARA file belongs to somebody else and is passed over: the same
    option names Sigma rules too.
    """
    sources: list[Source] = []
    taken: set[str] = set()
    room = ALL_BYTES
    files = [(path, "") for path in sorted(_under(SHIPPED))] if defaults else []
    files += [(file, "user.") for path in paths for file in _files(Path(path), faults)]
    for place, (file, prefix) in enumerate(files):
        name = safe_str(f"rules/yara/{file.name}" if not prefix else str(file), 400)
        if place >= FILES or room <= 0:
            faults.append(f"{name}:1: this file and those behind it are not read: the limits are {FILES} files and "
                          f"{ALL_BYTES >> 20} MiB")
            break
        text = _read(file, name, faults)
        if text is None:
            continue
        room -= len(text)
        sources.append(Source(name, _namespace(prefix + file.stem, taken), text))
    return sources


def _files(path: Path, faults: list[str]) -> list[Path]:
    if path.is_dir():
        return sorted(_under(path))
    if path.suffix.lower() not in SUFFIXES:
        return []
    if not path.exists():
        faults.append(f"{safe_str(str(path), 400)}:1: there is no such file")
        return []
    return [path]


def _under(folder: Path) -> Iterator[Path]:
    for suffix in SUFFIXES:
        yield from folder.rglob(f"*{suffix}")


def _read(file: Path, name: str, faults: list[str]) -> str | None:
    """The text of a file, or None and a fault."""
    try:
        if not file.is_file():
            faults.append(f"{name}:1: not a regular file")
            return None
        with file.open("rb") as stream:
            data = stream.read(FILE_BYTES + 1)
    except OSError as error:
        faults.append(f"{name}:1: cannot be read: {safe_str(error.strerror or 'unknown reason')}")
        return None
    if len(data) > FILE_BYTES:
        faults.append(f"{name}:1: larger than {FILE_BYTES >> 20} MiB")
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        faults.append(f"{name}:{line}: byte {error.start} is not UTF-8")
        return None


def _namespace(wish: str, taken: set[str]) -> str:
    """The wish as an identifier that no other file has."""
    base = re.sub(r"[^A-Za-z0-9_.-]", "_", wish)[:80]
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}.{number}"
    taken.add(name)
    return name
