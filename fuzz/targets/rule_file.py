"""Rule files: faults with places, never an exception, and what compiles can be evaluated."""

from __future__ import annotations

from pathlib import Path

import msgspec
from helpers.rules import event

from imapids.config import DetectLimits
from imapids.detect import Detector, RuleSet
from imapids.detect.loading import compile_with_faults, is_sound
from imapids.detect.rule_files import RuleFile

DICTIONARY = (
    b"detection:",
    b"condition: ",
    b"1 of ",
    b"all of them",
    b"not ",
    b"|contains",
    b"|re",
    b"|cidr",
    b"|base64offset",
    b"&a ",
    b"*a",
    b"<<: ",
    b"!!python/object:os.system",
    b"---\n",
    b"\t",
    b"correlation:",
    b"timespan: 5m",
    b"9" * 30,
)
_RULES = Path(__file__).resolve().parents[2] / "rules" / "sigma"


def seeds() -> list[bytes]:
    """Shipped rules: one of each family, and the correlations."""
    families = sorted(path for path in _RULES.iterdir() if path.is_dir())
    first = [min(family.glob("*.yml")).read_bytes() for family in families]
    return (
        first
        + [path.read_bytes() for path in sorted(_RULES.rglob("*.yml")) if b"correlation:" in path.read_bytes()][:4]
    )


def check(data: bytes) -> None:
    rules, faults = compile_with_faults([RuleFile("fuzzed.yml", data)])
    for fault in faults:
        assert fault.line >= 0
        assert str(fault)
    assert is_sound(rules)
    again = msgspec.json.decode(msgspec.json.encode(rules), type=RuleSet)
    detector = Detector(again, limits=DetectLimits())
    detector.feed(
        [event("session", 1, verdict="not-imap", packets=5), event("login", 2, user="maria", outcome="failure")]
    )
    detector.finish(10**10)
