"""Keeps compiled YARA rules between runs, in a folder that nobody but the user can write."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
from pathlib import Path

import yara_x

FILES = 8
"""Compiled sets kept; the least recently used go first."""
FILE_BYTES = 64 << 20
"""A compiled set of 10,000 rules has about 20 MiB."""


class RuleCache:
    """Compiled rules by content hash: `<folder>/<64 hex digits>.yarac`.

    Compiled rules are code to the engine that loads them, so a file counts only when it lies in a folder of mode 0700
    that is ours, is itself ours with mode 0600, is no link, and holds the hash of its content. Whatever fails, the
    answer is to compile again: a cache never makes a run fail.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: by default `imapids/yara` in the user's cache folder (XDG base directory specification)."""
        self._folder = folder or default_folder()

    def load(self, key: str) -> yara_x.Rules | None:
        """The rules stored under the key, or None."""
        data = self._read(key)
        if data is None or hashlib.sha256(data[32:]).digest() != data[:32]:
            return None
        try:
            return yara_x.Rules.deserialize_from(io.BytesIO(data[32:]))
        except OSError:  # what the engine says to bytes of another version
            return None

    def store(self, key: str, rules: yara_x.Rules) -> None:
        """Keep the rules, if the folder is safe and there is room."""
        if self._folder is None or not _make_private(self._folder):
            return
        buffer = io.BytesIO()
        rules.serialize_into(buffer)
        data = buffer.getvalue()
        if len(data) > FILE_BYTES:
            return
        temporary = self._folder / f".{key[:16]}.{os.getpid()}"
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, 0o600), "wb") as out:
                out.write(hashlib.sha256(data).digest() + data)
            temporary.replace(self._folder / f"{key}.yarac")
            self._forget_oldest()
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)

    def _read(self, key: str) -> bytes | None:
        if self._folder is None or not _is_private(self._folder):
            return None
        try:
            handle = os.open(self._folder / f"{key}.yarac", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        with os.fdopen(handle, "rb") as stream:
            found = os.fstat(stream.fileno())
            ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
            if not ours or not 32 < found.st_size <= FILE_BYTES + 32:
                return None
            with contextlib.suppress(OSError):
                os.utime(stream.fileno())  # least recently used is by this
            return stream.read(found.st_size + 1)

    def _forget_oldest(self) -> None:
        assert self._folder is not None
        files = sorted(self._folder.glob("*.yarac"), key=lambda file: file.lstat().st_mtime_ns)
        for file in files[:-FILES]:
            file.unlink(missing_ok=True)


def default_folder() -> Path | None:
    """The user's cache folder for compiled rules; None where there is no home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):  # the specification: a relative path is to be ignored
        try:
            base = str(Path.home() / ".cache")
        except RuntimeError:
            return None
    return Path(base) / "imapids" / "yara"


def _make_private(folder: Path) -> bool:
    """Create the folder with mode 0700; whether it is safe now."""
    try:
        folder.parent.parent.mkdir(parents=True, exist_ok=True)
        for part in (folder.parent, folder):
            part.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return False
    return _is_private(folder)


def _is_private(folder: Path) -> bool:
    """A folder, not a link, that is ours and closed to everybody else."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
