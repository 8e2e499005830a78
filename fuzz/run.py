"""Feeds one target with inputs that nobody meant to send, until the time is over or its law is broken."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import random
import sys
import time
import traceback
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
FOUND = HERE / "found"
TARGETS = sorted(path.stem for path in (HERE / "targets").glob("[a-z]*.py"))

sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests"), str(HERE)]


def load(name: str) -> ModuleType:
    """The module of a target."""
    return importlib.import_module(f"targets.{name}")


def keep(name: str, data: bytes) -> Path:
    """Writes an input that broke the law."""
    FOUND.mkdir(exist_ok=True)
    path = FOUND / f"{name}-{hashlib.sha256(data).hexdigest()[:16]}.bin"
    path.write_bytes(data)
    return path


def run_plain(name: str, seconds: float, seed: int) -> int:
    """Random changes to the seeds; the exit code."""
    from mutations import mutated

    target = load(name)
    chance = random.Random(seed)
    seeds = target.seeds()
    for given in seeds:
        target.check(given)
    begin = time.monotonic()
    count = faults = 0
    slowest = 0.0
    while time.monotonic() - begin < seconds:
        data = mutated(chance, seeds, target.DICTIONARY)
        started = time.monotonic()
        try:
            target.check(data)
        except Exception:  # noqa: BLE001  # any exception is what we look for
            faults += 1
            traceback.print_exc()
            print(f"kept as {keep(name, data)}", file=sys.stderr)
        slowest = max(slowest, time.monotonic() - started)
        count += 1
    print(f"{name}: {count} inputs, seed {seed}, {faults} faults, slowest input {slowest:.3f} s")
    return 1 if faults else 0


def run_guided(name: str, seconds: float, seed: int) -> int:
    """Guided by coverage (atheris, of libFuzzer); does not return when it finds something."""
    import atheris

    with atheris.instrument_imports(include=["imapids"]):
        target = load(name)
    corpus = FOUND / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for given in target.seeds():
        (corpus / hashlib.sha256(given).hexdigest()[:16]).write_bytes(given)
    words = corpus.parent / f"{name}.dict"
    words.write_text("".join('"{}"\n'.format("".join(f"\\x{byte:02x}" for byte in word)) for word in target.DICTIONARY))
    atheris.Setup(
        [
            sys.argv[0],
            str(corpus),
            f"-max_total_time={seconds:.0f}",
            f"-seed={seed}",
            f"-dict={words}",
            f"-artifact_prefix={FOUND}/{name}-",
            "-max_len=65536",
            "-timeout=20",
            "-rss_limit_mb=1024",
        ],
        target.check,
    )
    atheris.Fuzz()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="?", choices=TARGETS, help="without one: the list of targets")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=("plain", "atheris"), default="plain")
    parser.add_argument("--input", type=Path, help="one input again")
    asked = parser.parse_args()
    if asked.target is None:
        for name in TARGETS:
            print(f"{name:12} {(load(name).__doc__ or '').strip().splitlines()[0]}")
        return 0
    if asked.input is not None:
        load(asked.target).check(asked.input.read_bytes())
        return 0
    return (run_guided if asked.engine == "atheris" else run_plain)(asked.target, asked.seconds, asked.seed)


if __name__ == "__main__":
    sys.exit(main())
