"""Files that results go to: mode 0600, never through a symbolic link, and whole or not at all.

JSON lines are the exception: they are appended line by line, so that what was found is there even when the machine
stops.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from imapids.errors import OutputError

_MODE = 0o600
_FOLDER_MODE = 0o700
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class LineFile:
    """Appends whole lines; every write reaches the file before it returns."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.descriptor = os.open(path, _NEW_FILE | os.O_APPEND, _MODE)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {reason(error)}") from error

    def write(self, data: bytes | memoryview) -> None:
        """Takes whole lines."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self.descriptor, rest):]
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {reason(error)}") from error

    def ordinary(self) -> int | None:
        """The descriptor, where nobody can keep a write waiting: of a file, not of a pipe or a device."""
        return self.descriptor if stat.S_ISREG(os.fstat(self.descriptor).st_mode) else None

    def close(self) -> None:
        """Closes the file; what could not be written was told before."""
        with contextlib.suppress(OSError):  # a full disk is told at the write, and again here
            os.close(self.descriptor)


def reason(error: OSError) -> str:
    """What an error of the system means for somebody who named a file."""
    if error.errno == errno.ELOOP:  # what O_NOFOLLOW says of a symbolic link
        return "it is a symbolic link, and results are not written through one"
    return error.strerror or str(error)


def make_folder(path: str) -> Path:
    """A folder for results that only its owner may enter; one that is there already stays as it is."""
    folder = Path(path)
    try:
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason(error)}") from error
    return folder


@contextlib.contextmanager
def whole_file(path: str) -> Iterator[TextIO]:
    """A text file that appears under its name only when all of it was written; otherwise nothing of it stays."""
    with _unfinished(path) as descriptor:
        stream = os.fdopen(descriptor, "w", encoding="utf-8", newline="", closefd=False)
        try:
            yield stream
            stream.flush()
        finally:
            with contextlib.suppress(OSError):
                stream.close()


@contextlib.contextmanager
def whole_binary_file(path: str) -> Iterator[Callable[[bytes], object]]:
    """The same for bytes: gives what takes them."""
    with _unfinished(path) as descriptor:
        stream = os.fdopen(descriptor, "wb", closefd=False)
        try:
            yield stream.write
            stream.flush()
        finally:
            with contextlib.suppress(OSError):
                stream.close()


@contextlib.contextmanager
def _unfinished(path: str) -> Iterator[int]:
    """A new file beside the target, which takes its place at the end."""
    target = Path(path)
    if target.is_symlink():
        raise OutputError(f"cannot write {path}: it is a symbolic link, and results are not written through one")
    if target.exists() and not target.is_file():
        raise OutputError(f"cannot write {path}: it is no ordinary file")
    unfinished = target.with_name(f"{target.name}.{os.getpid()}.unfinished")
    try:
        descriptor = os.open(unfinished, _NEW_FILE | os.O_EXCL, _MODE)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason(error)}") from error
    try:
        try:
            yield descriptor
        finally:
            os.close(descriptor)
        unfinished.replace(target)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise OutputError(f"cannot write {path}: {reason(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()
