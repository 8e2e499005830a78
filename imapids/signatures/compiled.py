"""Compiles YARA rules, says what is wrong with each bad one, and keeps the good ones."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yara_x

from imapids.protocols.text import safe_str
from imapids.signatures.cache import RuleCache
from imapids.signatures.sources import Source

FACTS: dict[str, str | int | bool] = {
    "verdict": "", "protocol": "", "shape": "", "direction": "unknown", "transport": "tcp", "side": "",
    "client_port": 0, "server_port": 0, "inflated": False,
}
"""What a rule may ask about the session, as globals, and their values where nothing is known."""

FOREIGN_GLOBALS = ("filename", "filepath", "extension", "filetype", "owner")
"""Globals that file scanners define: rules that ask for them must compile; they are empty, for there is no file."""

LAYOUT = b"imapids yara cache 1"
FAULTS = 200
"""Faults reported of one run; thousands of lines of a broken collection help nobody."""


def compile_rules(sources: Sequence[Source], cache: RuleCache | None) -> tuple[yara_x.Rules, list[str]]:
    """Rules of all sources, and one `file:line: what` for each rule that does not compile.

    Only sets without a fault are cached: a broken file must be told again at the next start.
    """
    key = content_key(sources)
    kept = cache.load(key) if cache else None
    if kept is not None:
        return kept, []
    compiler = yara_x.Compiler()
    compiler.enable_includes(False)  # a rule file must not read other files
    for name, value in FACTS.items():
        compiler.define_global(name, value)
    for name in FOREIGN_GLOBALS:
        compiler.define_global(name, "")
    faults: list[str] = []
    for source in sources:
        compiler.new_namespace(source.namespace)
        before = len(compiler.errors())
        try:
            compiler.add_source(source.text, origin=source.name)
        except yara_x.CompileError:
            faults.extend(_fault(source, error) for error in compiler.errors()[before:])
        if len(faults) > FAULTS:
            faults[FAULTS:] = [f"{source.name}:1: too many faults: the rest is not shown"]
            break
    rules = compiler.build()
    if cache and not faults:
        cache.store(key, rules)
    return rules, faults


def content_key(sources: Sequence[Source]) -> str:
    """Hash of all that decides what the compiled bytes are: 64 hex digits."""
    digest = hashlib.sha256(LAYOUT)
    parts = [_engine(), platform.machine(), repr(FACTS), repr(FOREIGN_GLOBALS)]
    parts += [part for source in sources for part in (source.namespace, source.text)]
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def _engine() -> str:
    """Which build of the engine this is. To ask the package for its version takes 40 ms (it imports `email`)."""
    library = Path(yara_x.__file__).parent
    files = sorted(path for path in library.iterdir() if path.suffix in (".so", ".pyd", ".dylib"))
    return " ".join(f"{path.name}:{status.st_size}:{status.st_mtime_ns}" for path in files
                    if (status := path.stat()))


def _fault(source: Source, error: dict[str, Any]) -> str:
    """`file:line: what is wrong (why)`."""
    labels = [str(label.get("text", "")) for label in error.get("labels", ()) if label.get("level") == "error"]
    why = f" ({labels[0]})" if labels and labels[0] else ""
    return f"{source.name}:{error.get('line') or 1}: {safe_str(str(error.get('title', 'does not compile')) + why, 300)}"
