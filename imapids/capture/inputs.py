"""Which inputs a run has, and in which order: files, directories and globs, by the time of their first packet."""

from __future__ import annotations

import glob
import os
import stat
from pathlib import Path

import msgspec

STANDARD_INPUT = "-"


class Input(msgspec.Struct, frozen=True):
    """One file, pipe, or standard input."""

    path: str
    """As the user named it (inside a directory: the directory's name and the file's)."""
    folder: str = ""
    """The directory that was named, if it was found in one: what is no capture there is passed over."""

    @property
    def is_standard_input(self) -> bool:
        """Whether this is `-`."""
        return self.path == STANDARD_INPUT

    def open(self) -> int:
        """A descriptor to read from.

        Raises:
            OSError: it cannot be opened, or it is a directory.
        """
        if self.is_standard_input:
            return 0
        # A named pipe may block here until its writer comes: that is what its user asked for.
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise IsADirectoryError(21, "Is a directory", self.path)
        return descriptor

    def status(self) -> os.stat_result | None:
        """What the file system says about it; None when there is no such file (and for standard input)."""
        if self.is_standard_input:
            return None
        try:
            return os.stat(self.path)  # noqa: PTH116  # Path.stat follows the same links at ten times the cost
        except OSError:
            return None


def expand(paths: list[str]) -> list[Input]:
    """Files of the named paths, directories (not recursive) and globs, each once, in the order given.

    A path that does not exist is kept, so that opening it says why. In directories only regular files count.
    """
    found: list[Input] = []
    seen: set[tuple[int, int] | str] = set()

    def add(item: Input) -> None:
        status = item.status()
        identity = (status.st_dev, status.st_ino) if status is not None else item.path
        if identity not in seen:
            seen.add(identity)
            found.append(item)

    for path in paths:
        if path != STANDARD_INPUT and Path(path).is_dir():
            for name in sorted(os.listdir(path)):  # noqa: PTH208  # names only: the folder's own spelling is kept
                full = os.path.join(path, name)  # noqa: PTH118
                if Path(full).is_file():
                    add(Input(full, folder=path))
        elif path != STANDARD_INPUT and not Path(path).exists() and glob.has_magic(path):
            matches = sorted(glob.glob(path))  # noqa: PTH207  # absolute patterns too
            for match in matches:
                if Path(match).is_file():
                    add(Input(match))
            if not matches:
                add(Input(path))
        else:
            add(Input(path))
    return found
