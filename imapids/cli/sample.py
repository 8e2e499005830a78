"""`imapids sample`: writes the sample captures that come with imapids, and says what each shows."""

from __future__ import annotations

import hashlib
import os
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import click

from imapids.cli.commands import Command
from imapids.cli.values import nearest
from imapids.errors import OutputError, UsageError

FOLDER = Path(__file__).resolve().parent.parent / "_samples"


class Sample(NamedTuple):
    """One line of the manifest, as far as people ask for it."""

    name: str
    file: str
    sha256: str
    packets: int
    shows: str


def load_samples() -> dict[str, Sample]:
    """The samples by name, from the manifest."""
    with (FOLDER / "MANIFEST.toml").open("rb") as file:
        entries = tomllib.load(file)["sample"]
    return {entry["name"]: Sample(*(entry[field] for field in Sample._fields)) for entry in entries}


@click.command(cls=Command, epilog="Example: imapids sample office-day && imapids analyze office-day.pcap")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Write every sample.")
@click.option("-o", "--output", metavar="FOLDER", type=click.Path(), default=".", help="Where to write. Default: here.")
@click.option("--force", is_flag=True, help="Overwrite files that differ.")
def command(names: tuple[str, ...], *, everything: bool, output: str, force: bool) -> int:
    """Write sample captures. Without a name: list them.

    Each is small and shows one thing: genuine IMAP, something that only seems to be IMAP, or an attack.
    """
    samples = load_samples()
    if not names and not everything:
        width = max(map(len, samples))
        for sample in samples.values():
            sys.stdout.write(f"{sample.name:<{width}}  {sample.packets:>5} packets  {sample.shows}\n")
        return 0
    for name in names:
        if name.removesuffix(".pcap") not in samples:
            hint = nearest(name, samples) or " The command without a name lists them."
            raise UsageError(f"no sample {name!r}.{hint}")
    wanted = samples if everything else dict.fromkeys(name.removesuffix(".pcap") for name in names)
    chosen = [samples[name] for name in wanted]
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for sample in chosen:
            sys.stdout.write(f"{_write(sample, folder, force)}\n")
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise OutputError(f"cannot write to {output}: {error.strerror}") from error
    return 0


def _write(sample: Sample, folder: Path, force: bool) -> Path:
    data = (FOLDER / sample.file).read_bytes()
    if hashlib.sha256(data).hexdigest() != sample.sha256:
        raise OutputError(f"the installed {sample.file} is not the one of the manifest: install imapids again")
    target = folder / sample.file
    if target.exists() and target.read_bytes() != data and not force:
        raise OutputError(f"{target} exists and differs; --force overwrites it")
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    return target
