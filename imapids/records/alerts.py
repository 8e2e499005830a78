"""detect -> output: a rule that held, with its why."""

from __future__ import annotations

import msgspec

from imapids.records.streams import Flow

LEVELS = ("informational", "low", "medium", "high", "critical")
SEVERITY = {"critical": 1, "high": 1, "medium": 2, "low": 3, "informational": 3}
"""EVE severity of a Sigma level (DESIGN section 9)."""


class Reason(msgspec.Struct, omit_defaults=True):
    """A node of the tree that explains a match."""

    condition: str
    """What had to hold: `session.verdict = not-imap`, `all of`, `any of`, `not`, `count >= 10`."""
    held: bool = True
    value: str = ""
    """The value that satisfied it, safe text."""
    packet: int = 0
    because: list[Reason] = []


class RuleInfo(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What an alert says of its rule."""

    id: str
    """UUID of the Sigma rule."""
    sid: int
    """EVE's signature_id: 1143001 and up."""
    title: str
    level: str
    name: str = ""
    family: str = ""
    rev: int = 1
    description: str = ""
    advice: str = ""
    techniques: list[str] = []
    """ATT&CK technique ids: T1571, T1071.003."""
    tactics: list[str] = []
    """ATT&CK tactic names as Sigma tags write them: command-and-control."""
    references: list[str] = []
    falsepositives: list[str] = []
    created: str = ""
    """Date of the rule, yyyy-mm-dd."""
    modified: str = ""


class Alert(msgspec.Struct, kw_only=True):
    """A rule that held for a subject, with its why. One rolling alert for each (rule, subject)."""

    id: str
    """Hash of rule, subject and first event: 16 hex digits, the same however the work is cut."""
    state: str
    """new, update, final."""
    rule: RuleInfo
    subject: str
    """What the rule is about: a flow, a source address, a (client, server, port) ..."""
    case: str
    """Everything about one (client, server, server port): 12 hex digits."""
    time_ns: int
    first_ns: int
    last_ns: int
    count: int
    flow: Flow | None
    packet: int
    event: str
    """Event type that fired it."""
    direction: str = "unknown"
    why: Reason
    verdict: str = ""
    protocol: str = ""
    shape: str = ""
    """What kind of bytes, where no protocol was recognised: `fake-tls`, `text-lines` ..."""
    confidence: str = ""
    labels: list[str] = []
    context: dict[str, str] = {}
    """Further facts worth reading, by name, safe text."""
    display_filter: str = ""
    """Shows the packets that it is about in Wireshark."""
