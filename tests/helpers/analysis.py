"""Runs the whole program in this process: captures in, the events, alerts and lines that came out."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from imapids.config import CaptureLimits, Limits
from imapids.output.eve import encode_lines
from imapids.protocols.text import safe_text
from imapids.records.alerts import Alert
from imapids.records.events import Body, Capture, Event, Session
from imapids.run.local import RunResult, analyze
from imapids.run.options import ALL_EVENTS, RunOptions

HASH_KEY = b"the same key in every test run"
"""Makes the hashes of secrets the same in each run: never do this outside of tests."""


@dataclass
class Run:
    """What one run gave. Lines are encoded when they are written, as the command line does it."""

    items: list[Event | Alert] = field(default_factory=list)
    text: bytes = b""
    result: RunResult | None = None

    def write(self, items: Sequence[Event | Alert]) -> None:
        self.items += items
        self.text += encode_lines(items)

    def close(self) -> None:
        """A sink has to have it."""

    @cached_property
    def lines(self) -> list[dict[str, Any]]:
        """The JSON lines, read back."""
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def alerts(self) -> list[Alert]:
        return [item for item in self.items if isinstance(item, Alert)]

    @property
    def families(self) -> set[str]:
        """Families of the rules that fired."""
        return {alert.rule.family for alert in self.alerts}

    @property
    def rules(self) -> list[str]:
        """Names of the rules that fired, one for each alert."""
        return [alert.rule.name for alert in self.alerts if alert.state == "new"]

    @property
    def sessions(self) -> list[Session]:
        return [item.body for item in self.events("session") if isinstance(item.body, Session)]

    @property
    def session(self) -> Session:
        """The only session."""
        (session,) = self.sessions
        return session

    @property
    def capture(self) -> Capture:
        """The account of packets."""
        assert self.result is not None
        assert isinstance(self.result.capture.body, Capture)
        return self.result.capture.body

    def events(self, kind: str) -> list[Event]:
        return [item for item in self.items if isinstance(item, Event) and item.kind == kind]

    def bodies(self, kind: str) -> list[Body]:
        return [event.body for event in self.events(kind)]

    def codes(self) -> set[str]:
        """Codes of all evidence."""
        return {evidence.code for session in self.sessions for evidence in session.evidence}


def analyze_all(*paths: Path | str, limits: Limits | None = None, events: Iterable[str] = ALL_EVENTS,
                **options: Any) -> Run:
    """Analyze captures with all events, the shipped rules and a fixed key for hashes of secrets."""
    run = Run()
    asked = RunOptions(**{"events": frozenset(events), "hash_key": HASH_KEY, "limits": limits or Limits(), **options})
    run.result = analyze([str(path) for path in paths], asked, run)
    return run


def limits_of(base: Limits | None = None, **capture: int) -> Limits:
    """Limits with other sizes of a packet batch: `batch_packets`, `batch_bytes`."""
    return msgspec.structs.replace(base or Limits(), capture=CaptureLimits(**capture))


def encodings(secret: bytes) -> dict[str, bytes]:
    """How a secret might leak: raw, escaped, in hex, and in base64 at each alignment (what it alone decides of it)."""
    shown = safe_text(secret, len(secret))
    forms = {"raw": secret, "its start": secret[:6], "its end": secret[-6:], "escaped": shown.encode(),
             "escaped in JSON": json.dumps(shown)[1:-1].encode(), "hex": secret.hex().encode(),
             "hex with spaces": secret.hex(" ").encode()}
    for before in range(3):
        text = base64.b64encode(b"\0" * before + secret)
        first = (before * 8 + 5) // 6  # characters that bytes before the secret take part in
        last = (before + len(secret)) * 8 // 6  # whole sextets only
        forms[f"base64 after {before} bytes"] = text[first:last]
    return forms


def leaks(text: bytes, secrets: Iterable[bytes]) -> list[str]:
    """The forms of secrets that a text holds."""
    lower = text.lower()
    return [f"{secret!r} {name}" for secret in secrets for name, form in encodings(secret).items()
            if form in text or (not name.startswith("base64") and form.lower() in lower)]
