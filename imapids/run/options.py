"""What a run is asked to do: the options of `analyze` and `live`, as one record."""

from __future__ import annotations

import msgspec

from imapids.config import HOME_NETS, Limits

ALL_EVENTS = frozenset({"session", "flow", "command", "login", "tls", "message", "anomaly", "signature", "indicator",
                        "service", "scan", "exposure", "guessing", "beacon", "mailbox",
                        "alert", "capture", "stats"})
"""Event types of this version; `--events all` asks for every one but `flow`, which is per flow of any port."""

DEFAULT_EVENTS = frozenset({"alert", "capture"})


class RunOptions(msgspec.Struct, kw_only=True, frozen=True):
    """What a run is asked to do."""

    home_nets: tuple[str, ...] = HOME_NETS
    watch_tcp: tuple[int, ...] = (143,)
    watch_udp: tuple[int, ...] = (143,)
    since_ns: int | None = None
    """Packets before this time are skipped, and counted as such."""
    until_ns: int | None = None
    hosts: tuple[str, ...] = ()
    """Only packets from or to these addresses or networks."""
    events: frozenset[str] = DEFAULT_EVENTS
    rule_paths: tuple[str, ...] = ()
    default_rules: bool = True
    allow_paths: tuple[str, ...] = ()
    indicator_paths: tuple[str, ...] = ()
    inventory_path: str | None = None
    """What is meant to be where: the exposure sheet is compared with it."""
    signatures: bool = True
    """YARA over the first bytes of each side."""
    follow: bool = False
    workers: int = 1
    limits: Limits = Limits()
    hash_key: bytes | None = None
    """Key of the hash of secrets; None makes one for this run."""
