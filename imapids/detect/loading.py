"""Rule files to a compiled rule set, compiled once: the shipped rules carry their compiled form with them, other sets
are kept in the user's cache folder by the hash of their files.

pySigma takes a quarter of a second to import; a run with unchanged rules never does.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import msgspec

from imapids.detect.compiled import COMPILER_VERSION, RuleSet
from imapids.detect.rule_files import Document, Fault, RuleFile, collect, content_key, files_under, parse
from imapids.errors import RuleError
from imapids.protocols.text import safe_str

SHIPPED = Path(__file__).resolve().parent.parent / "_rules"
"""The rules of the package (a symlink to `rules/` in the sources)."""
COMPILED_NAME = "compiled.json"
COMPILED_BYTES = 64 << 20
"""A compiled rule set that is longer is none of ours: 20,000 rules take 40 MiB."""
CACHED_SETS = 16
"""Compiled sets kept in the cache folder; the oldest are removed."""

_decoder = msgspec.json.Decoder(RuleSet)


def load_rules(paths: Sequence[Path] = (), *, defaults: bool = True, allow: Sequence[Path] = (),
               cache: Path | None = None) -> RuleSet:
    """The compiled rules of these files and folders, of the package (`defaults`), and allow-lists (`allow`).

    `cache` is the folder for compiled sets; default is the user's (XDG_CACHE_HOME/imapids). Raises RuleError with
    all faults, each as `file:line: what`.
    """
    faults: list[Fault] = []
    shipped = shipped_files(faults) if defaults else []
    own = collect([Path(path) for path in paths], faults)
    filters = collect([Path(path) for path in allow], faults, role="filter")
    if faults:
        raise RuleError([str(fault) for fault in sorted(faults)])
    files = _without_doubles([*shipped, *own, *filters])
    if defaults and len(files) == len(shipped):
        ready = _read_compiled(SHIPPED / COMPILED_NAME, shipped_key(shipped), owner_matters=False)
        if ready is not None:
            return ready
    key = content_key(files, f"compiler {COMPILER_VERSION}", f"pysigma {_pysigma_major()}")
    folder = cache if cache is not None else cache_folder()
    if folder is not None:
        ready = _read_compiled(folder / f"rules-{key}.json", key, owner_matters=True)
        if ready is not None:
            return ready
    rules = compile_files(files)
    rules.key = key
    if folder is not None:
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
            _write_compiled(folder, f"rules-{key}.json", msgspec.json.encode(rules))
    return rules


def shipped_files(faults: list[Fault]) -> list[RuleFile]:
    """The rule and filter files of the package, named as below `rules/`."""
    folders = [folder for name in ("sigma", "filters") if (folder := SHIPPED / name).is_dir()]
    found, place = [], safe_str(str(SHIPPED), 400) + os.sep
    for folder in folders:
        files = collect([folder] if any(files_under(folder)) else [], faults)
        found += [RuleFile("rules/" + file.name.removeprefix(place).replace(os.sep, "/"), file.data, file.role)
                  for file in files]
    return found


def shipped_key(files: Sequence[RuleFile]) -> str:
    """The key that `rules/compiled.json` must have to stand for these files."""
    return content_key(files, f"compiler {COMPILER_VERSION}")


def compile_files(files: Sequence[RuleFile]) -> RuleSet:
    """Compile with pySigma, without any cache. RuleError with all faults."""
    rules, faults = compile_with_faults(files)
    if faults:
        raise RuleError([str(fault) for fault in faults])
    return rules


def compile_with_faults(files: Sequence[RuleFile]) -> tuple[RuleSet, list[Fault]]:
    """What can be compiled, and all faults in order of file and line."""
    from imapids.detect.sigma_rules import compile_documents

    faults: list[Fault] = []
    documents: list[Document] = []
    for file in files:
        documents += parse(file, faults)
    rules = compile_documents(documents, faults)
    return rules, sorted(set(faults))


def compile_shipped() -> bytes:
    """The contents of `rules/compiled.json`, made anew: one rule or atom a line, so that changes can be read."""
    faults: list[Fault] = []
    files = shipped_files(faults)
    rules = compile_files(files)
    rules.key = shipped_key(files)
    parts = []
    for name, value in msgspec.structs.asdict(rules).items():
        if isinstance(value, list):
            text = b"[\n" + b",\n".join(msgspec.json.encode(item) for item in value) + b"\n]"
        else:
            text = msgspec.json.encode(value)
        parts.append(b'"%s":%s' % (name.encode(), text))
    return b"{\n" + b",\n".join(parts) + b"\n}\n"


def _without_doubles(files: list[RuleFile]) -> list[RuleFile]:
    """The same file given twice (a folder and a file in it) counts once."""
    seen: dict[tuple[str, bytes], RuleFile] = {}
    for file in files:
        seen.setdefault((file.name, file.data), file)
    return list(seen.values())


def _pysigma_major() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("pysigma").partition(".")[0]
    except PackageNotFoundError:
        return "none"


def cache_folder() -> Path | None:
    """The user's cache folder for compiled rules; None where there is no home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if base and Path(base).is_absolute():
        return Path(base) / "imapids"
    home = os.environ.get("HOME", "")
    return Path(home) / ".cache" / "imapids" if home and Path(home).is_absolute() else None


def _read_compiled(path: Path, key: str, *, owner_matters: bool) -> RuleSet | None:
    """The compiled set at this path, if it is whole, made from the same files, and (cache) written by this user."""
    try:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_NOFOLLOW if owner_matters else 0)
        handle = os.open(path, flags)
    except OSError:
        return None
    status = os.fstat(handle)
    foreign = owner_matters and (status.st_uid != os.geteuid() or status.st_mode & 0o022)
    if not stat.S_ISREG(status.st_mode) or status.st_size > COMPILED_BYTES or foreign:
        os.close(handle)
        return None
    with os.fdopen(handle, "rb") as stream:
        try:
            rules = _decoder.decode(stream.read(COMPILED_BYTES))
        except (msgspec.DecodeError, msgspec.ValidationError, OSError, RecursionError):
            return None
    if rules.key != key or rules.version != COMPILER_VERSION or not is_sound(rules):
        return None
    return rules


def is_sound(rules: RuleSet) -> bool:
    """Whether every place that the set names exists: a damaged file must not raise later."""
    from imapids.detect.programs import atoms_of

    def fits(places: Sequence[int], count: int) -> bool:
        return all(0 <= place < count for place in places)

    nodes = [item.condition for item in rules.rules] + [item.condition for item in rules.filters]
    if not all(fits(list(atoms_of(node)), len(rules.atoms)) for node in nodes):
        return False
    if not all(fits(rule.filters, len(rules.filters)) for rule in rules.rules):
        return False
    for place, item in enumerate(rules.correlations):
        expression = [] if item.expression is None else list(atoms_of(item.expression))
        if not fits(item.bases, len(rules.rules) + place) or not fits(expression, len(item.bases)):
            return False
        if any(len(fields) != len(item.bases) for fields in item.aliases.values()):
            return False
    return True


def _write_compiled(folder: Path, name: str, data: bytes) -> None:
    """Write whole or not at all; the folder and the file are for this user only."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        return
    temporary = folder / f".{name}.{os.getpid()}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        temporary.replace(folder / name)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    kept = sorted(folder.glob("rules-*.json"), key=lambda path: path.lstat().st_mtime, reverse=True)
    for old in kept[CACHED_SETS:]:
        old.unlink(missing_ok=True)
