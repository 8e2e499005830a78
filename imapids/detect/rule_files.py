"""Rule files as untrusted data: size caps, safe YAML without tags or doubled keys, and the line of every key.

Nothing here knows what a rule means; `sigma_rules` does.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from imapids.protocols.late_patterns import late_pattern
from imapids.protocols.text import safe_str

FILE_BYTES = 256 << 10
"""One rule file: the longest Sigma rule in public use is a tenth of that."""
FILES = 20_000
"""Rule files of one run."""
DOCUMENTS = 500
"""Rules in one file."""
NODES = 20_000
"""Keys and values of one file, those behind aliases counted each time."""
DEPTH = 24
"""Levels of nesting; Sigma needs six."""
SUFFIXES = (".yml", ".yaml")
YARA_SUFFIXES = (".yar", ".yara")
"""Payload signatures, which stage `signatures` reads."""
_OTHER_FILES = ("*.yar", "*.yara", "lists/*.csv")
"""What a folder without rules may hold instead."""

Path_ = tuple[str | int, ...]
"""Keys and list places that lead to a value of a document."""


class Fault(msgspec.Struct, frozen=True, order=True):
    """What is wrong with a rule, and where."""

    file: str
    line: int
    message: str
    severity: str = "error"
    """error: the rule cannot be used; advice: it can, and should be better."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class RuleFile(msgspec.Struct, frozen=True):
    """A file and its bytes."""

    name: str
    """As it is shown: relative where the user gave a folder."""
    data: bytes
    role: str = "rule"
    """rule, or filter for files given as allow-lists."""


class Document(msgspec.Struct):
    """One YAML document of a file."""

    file: str
    content: dict[str, Any]
    lines: dict[Path_, int]
    role: str = "rule"

    def line(self, *path: str | int) -> int:
        """Line of the key that ends the path, or of the nearest one above it that exists."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return 1


def collect(paths: Iterable[Path], faults: list[Fault], role: str = "rule") -> list[RuleFile]:
    """All rule files under the paths (folders: every `.yml` and `.yaml` in them), sorted; faults go to the list.

    YARA files are passed over: the same option names payload signatures, too, and lists (in a folder `lists`).
    """
    found: list[RuleFile] = []
    for path in paths:
        files = sorted(files_under(path)) if path.is_dir() else [path] * (path.suffix.lower() not in YARA_SUFFIXES)
        if path.is_dir() and not files and not any(next(path.rglob(pattern), None) for pattern in _OTHER_FILES):
            faults.append(Fault(safe_str(str(path)), 0, "holds no rule file (*.yml, *.yar)"))
        for file in files[: FILES - len(found)]:
            name = safe_str(str(file), 400)
            try:
                with file.open("rb") as stream:
                    data = stream.read(FILE_BYTES + 1)  # pipes do not tell their size
            except OSError as error:
                faults.append(Fault(name, 0, f"cannot be read: {error.strerror}"))
                continue
            if len(data) > FILE_BYTES:
                faults.append(Fault(name, 0, f"is longer than {FILE_BYTES >> 10} KiB"))
                continue
            found.append(RuleFile(name, data, role))
        if len(found) >= FILES:
            faults.append(Fault(safe_str(str(path)), 0, f"more than {FILES:,} rule files"))
            break
    return found


def files_under(folder: Path) -> Iterator[Path]:
    """The rule files in a folder and those in it; links to folders are not followed."""
    for place, _, names in os.walk(folder):
        yield from (path for name in names if name.endswith(SUFFIXES) and (path := Path(place, name)).is_file())


def content_key(files: Sequence[RuleFile], *salt: str, root: str = "") -> str:
    """Hash of names (below `root`) and contents: the same files give the same key in every place."""
    state = hashlib.blake2b(digest_size=16)
    for text in salt:
        state.update(f"{len(text)}:{text}".encode())
    for file in files:
        name = file.name.removeprefix(root).encode()
        state.update(b"%d:%s%s%d:" % (len(name), name, file.role.encode(), len(file.data)))
        state.update(file.data)
    return state.hexdigest()


def parse(file: RuleFile, faults: list[Fault]) -> list[Document]:
    """The documents of a file; what is wrong with it goes to the faults, and the file gives nothing then."""
    import yaml  # 70 ms: only where rules are compiled

    try:
        text = file.data.decode("utf-8")
    except UnicodeDecodeError as error:
        faults.append(Fault(file.name, file.data.count(b"\n", 0, error.start) + 1, "is not UTF-8"))
        return []
    try:
        problem = _refuse(yaml, text)
        if problem:
            faults.append(Fault(file.name, problem[0], problem[1]))
            return []
        nodes = list(yaml.compose_all(text, Loader=_loader(yaml)))
        documents = []
        for node in nodes:
            builder = _Builder(yaml, file.name, faults)
            content = builder.build(node, ())
            if content is None:  # an empty document, as behind a trailing `---`
                continue
            if not isinstance(content, dict):
                faults.append(Fault(file.name, node.start_mark.line + 1, "a rule must be a mapping of keys to values"))
                return []
            documents.append(Document(file.name, content, builder.lines, file.role))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        faults.append(Fault(file.name, mark.line + 1 if mark else 1, f"is not YAML: {safe_str(str(error.problem))}"))
        return []
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        faults.append(Fault(file.name, 1, f"is not YAML: {safe_str(str(error))}"))
        return []
    return documents


def _loader(yaml: Any) -> Any:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _refuse(yaml: Any, text: str) -> tuple[int, str] | None:
    """(line, what) where the document is too deep, too large, holds tags or expanding aliases. Reads events only."""
    depth = documents = nodes = 0
    sizes: dict[str, int] = {}  # nodes behind each anchor
    opened: list[tuple[str, int]] = []
    for event in yaml.parse(text, Loader=_loader(yaml)):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            nodes, sizes, opened = 0, {}, []
            if documents > DOCUMENTS:
                return line, f"holds more than {DOCUMENTS} documents"
        elif isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in opened):
                return line, f"alias *{safe_str(event.anchor)} stands inside what it names"
            nodes += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.NodeEvent):
            nodes += 1
            if getattr(event, "tag", None):
                return line, f"tag {safe_str(event.tag)} is not allowed: rules are plain data"
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                opened.append((event.anchor or "", nodes))
                if depth > DEPTH:
                    return line, f"is nested more than {DEPTH} levels deep"
            elif event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            anchor, before = opened.pop()
            if anchor:
                sizes[anchor] = nodes - before + 1
        if nodes > NODES:
            return line, f"holds more than {NODES:,} values (aliases counted each time)"
    return None


class _Builder:
    """Plain data of a YAML node, with the line of each key; doubled keys are faults."""

    def __init__(self, yaml: Any, file: str, faults: list[Fault]) -> None:
        self._yaml = yaml
        self._file = file
        self._faults = faults
        self._scalars = yaml.constructor.SafeConstructor()
        self.lines: dict[Path_, int] = {}

    def build(self, node: Any, path: Path_) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, self._yaml.ScalarNode):
            return self._scalar(node)
        if isinstance(node, self._yaml.SequenceNode):
            return [self.build(item, (*path, place)) for place, item in enumerate(node.value)]
        content: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, self._yaml.ScalarNode):
                self._faults.append(Fault(self._file, line, "a key must be plain text"))
                continue
            key = key_node.value
            if key in content:
                self._faults.append(Fault(self._file, line, f'key "{safe_str(key)}" stands twice'))
                continue
            self.lines[(*path, key)] = line
            content[key] = self.build(value_node, (*path, key))
        return content

    def _scalar(self, node: Any) -> Any:
        if node.tag == "tag:yaml.org,2002:timestamp" or _DATE.fullmatch(node.value):
            return node.value  # dates stay text: pySigma reads both forms
        return self._scalars.construct_object(node)


_DATE = late_pattern(r"\d{4}-\d{2}-\d{2}")
