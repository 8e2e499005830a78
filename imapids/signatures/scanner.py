"""Scans the first bytes of a side with YARA rules that may also ask for the facts of the session."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from imapids.errors import RuleError
from imapids.protocols.text import safe_str
from imapids.records.events import Signature
from imapids.records.streams import SIDES
from imapids.signatures.sources import Source, collect

HITS = 16
"""Signatures told of one scan; more says only that the rules overlap."""
MATCHES = 8
"""Places told of one pattern."""
PLACES = 16
"""Places told of one signature."""
TIMEOUT_S = 2
"""For one scan: 8 KiB take microseconds, so only a pathological rule comes near."""
META = 24
"""Metadata entries taken over from one rule."""


TEST_META = frozenset({"fires", "silent", "sample"})
"""Keys of `meta` that are there for the tests of a rule, not for who reads a hit."""


class _Known(msgspec.Struct, frozen=True):
    """What all hits of one rule share."""

    tags: list[str]
    meta: dict[str, str]


class Signatures:
    """YARA rules over the first bytes of each side.

    Compiles at the first scan, or when `faults` of rules from outside are asked for, and keeps one scanner, for the
    thread that scanned first: the engine allows no other. Pickles as its rule text, so that workers of other
    processes build their own.
    """

    def __init__(self, rule_paths: Sequence[str | Path] = (), *, defaults: bool = True, max_bytes: int = 8192,
                 use_cache: bool = True) -> None:
        """`rule_paths`: YARA files and folders of them; `defaults`: with the shipped rules; `max_bytes` of a side."""
        self.max_bytes = max_bytes
        self.limits: dict[str, int] = {}
        """Limits that were hit: signature-timeout, signature-hits."""
        self._file_faults: list[str] = []
        self._rule_faults: list[str] = []
        self._sources: list[Source] = collect(rule_paths, defaults=defaults, faults=self._file_faults)
        self._must_check = any(source.namespace.startswith("user.") for source in self._sources)
        self._skips_genuine = all(source.skips_genuine for source in self._sources)
        self._use_cache = use_cache
        self._scanner: Any = None
        self._facts: dict[str, str | int | bool] = {}
        self._known: dict[tuple[str, str], _Known] = {}

    def __bool__(self) -> bool:
        return bool(self._sources)

    @property
    def faults(self) -> list[str]:
        """`file:line: what` for each rule from outside that cannot be used; the others work. Compiles them."""
        if self._must_check:
            self._ready()
        return self._file_faults + self._rule_faults

    def check(self) -> None:
        """RuleError with all faults, if there are any."""
        if faults := self.faults:
            raise RuleError(faults)

    def scan(self, side: int | str, data: bytes, *, verdict: str = "", protocol: str | None = None,
             shape: str | None = None, direction: str = "unknown", transport: str = "tcp", client_port: int = 0,
             server_port: int = 0, inflated: bool = False) -> list[Signature]:
        """The rules that match the first `max_bytes` of `data`, at most `HITS`, in the order of the rule files.

        `side`: CLIENT or SERVER (records/streams) or its name. The rest are facts of the session that rules may ask
        for. Offsets in `strings` count from data[0]. Never raises: a scan that takes too long is counted.
        """
        if not data or not self._sources or (self._skips_genuine and verdict == "genuine"):
            return []
        name = SIDES[side] if isinstance(side, int) else side
        scanner = self._ready()
        self._tell(scanner, {
            "verdict": verdict, "protocol": protocol or "", "shape": shape or "", "direction": direction,
            "transport": transport.lower(), "side": name, "client_port": client_port, "server_port": server_port,
            "inflated": inflated,
        })
        import yara_x

        try:
            found = scanner.scan(bytes(data[:self.max_bytes])).matching_rules
        except yara_x.TimeoutError:
            self._count("signature-timeout")
            return []
        except yara_x.ScanError:
            self._count("signature-failed")
            return []
        if len(found) > HITS:
            self._count("signature-hits")
        return [self._hit(rule, name, direction) for rule in found[:HITS]]

    def _ready(self) -> Any:
        """The scanner, made at first use: `import yara_x` and compiling cost more than a small capture."""
        if self._scanner is None:
            import yara_x

            from imapids.signatures.cache import RuleCache
            from imapids.signatures.compiled import compile_rules

            rules, self._rule_faults = compile_rules(self._sources, RuleCache() if self._use_cache else None)
            self._scanner = yara_x.Scanner(rules)
            self._scanner.set_timeout(TIMEOUT_S)
            self._scanner.max_matches_per_pattern(MATCHES)
            self._facts = {}
        return self._scanner

    def _tell(self, scanner: Any, facts: dict[str, str | int | bool]) -> None:
        """Set the globals that changed since the scan before."""
        before = self._facts
        for name, value in facts.items():
            if before.get(name) != value:
                scanner.set_global(name, value)
        self._facts = facts

    def _hit(self, rule: Any, side: str, direction: str) -> Signature:
        key = rule.namespace, rule.identifier
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known(
                [safe_str(tag, 60) for tag in rule.tags],
                {safe_str(str(name), 60): _meta_text(value) for name, value in rule.metadata[:META]
                 if name not in TEST_META},
            )
        places = [f"{pattern.identifier}@{match.offset}" for pattern in rule.patterns for match in pattern.matches]
        return Signature(rule=safe_str(rule.identifier), namespace=safe_str(rule.namespace), side=side, tags=known.tags,
                         meta=known.meta, strings=places[:PLACES], direction=direction)

    def _count(self, limit: str) -> None:
        self.limits[limit] = self.limits.get(limit, 0) + 1

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_scanner": None, "_facts": {}, "_known": {}}


def _meta_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return safe_str(str(value), 400)
