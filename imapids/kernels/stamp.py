"""Which sources a compiled module was made of: a checkout moves on, and what was compiled in it does not."""

from __future__ import annotations

import hashlib
from pathlib import Path


def stamp_of(folder: Path) -> str:
    """Hash of the kernels' sources in a folder; empty where there are none (they need not be installed)."""
    digest, found = hashlib.blake2b(digest_size=8), ""
    for source in sorted(file for file in folder.iterdir() if file.suffix in (".pyx", ".pxi")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
        found = digest.hexdigest()
    return found


def is_stale(folder: Path, *stamps: str) -> bool:
    """Whether modules with such stamps were made of other sources than those that lie there."""
    here = stamp_of(folder)
    return any(stamp and here and stamp != here for stamp in stamps)
