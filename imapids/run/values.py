"""Option values as people write them (times, networks, ports, sizes), for the command line and the Python API alike.

Every function raises ValueError with a sentence that says what was wanted.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

SECOND = 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
KEY_BYTES = (16, 4_096)
"""Shortest and longest key of the hashes of secrets: under 16 bytes a key can be guessed."""


def moment_ns(text: str) -> int:
    """Nanoseconds since 1970 of ISO 8601 (UTC unless it says otherwise) or of seconds since the epoch."""
    if re.fullmatch(r"-?\d{1,12}(\.\d{1,9})?", text) and not re.fullmatch(r"\d{8}", text):  # 20260303 is a date
        return int(Decimal(text) * SECOND)
    fraction = re.search(r"\.(\d{1,9})", text)  # datetime keeps microseconds only
    try:
        whole = datetime.fromisoformat(text.replace(fraction[0], "", 1) if fraction else text)
    except ValueError:
        raise ValueError(f"{text!r} is no time. Write 2026-03-03T08:00:00Z or 1772524800.5.") from None
    return datetime_ns(whole) + (int(fraction[1].ljust(9, "0")) if fraction else 0)


def datetime_ns(moment: datetime) -> int:
    """Nanoseconds since 1970 of a datetime; one without a zone is UTC."""
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds * 1_000


def network_text(text: str) -> str:
    """An address or a network in CIDR form, as normal text."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"{text!r} is no address or network. Write 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32.") from None
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def watched_pairs(text: str) -> tuple[tuple[int, str], ...]:
    """Port numbers with an optional transport, separated by commas: ((port, tcp or udp), ...)."""
    pairs = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,5})(?:/(tcp|udp))?", part.strip().lower())
        if not match or not 0 < int(match[1]) < 65_536:
            raise ValueError(f"{part!r} is no port. Write 143, 2143 or 143/udp, separated by commas.")
        pairs.append((int(match[1]), match[2] or "tcp"))
    return tuple(pairs)


def watched_ports(pairs: Iterable[tuple[int, str]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The watched TCP and UDP ports: what was given, or 143 of both."""
    asked = list(pairs) or [(143, "tcp"), (143, "udp")]
    tcp, udp = (tuple(dict.fromkeys(port for port, transport in asked if transport == kind)) for kind in ("tcp", "udp"))
    return tcp, udp


def size_bytes(text: str) -> int:
    """Bytes of a size with a unit (of 1,024): 400M, 2GiB, 100000."""
    match = re.fullmatch(r"(\d{1,15})\s*([KMGT]?)(?:I?B)?", text.upper())
    if not match:
        raise ValueError(f"{text!r} is no size. Write 400M or 2GiB (units of 1,024).")
    return int(match[1]) * _SIZES[match[2]]


def read_key(path: Path) -> tuple[bytes, int]:
    """The key of a file without its line end, and the file's mode (os.stat_result.st_mode)."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            key = file.read(KEY_BYTES[1] + 1).rstrip(b"\r\n")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    check_key(key, str(path))
    return key, mode


def check_key(key: bytes, name: str) -> None:
    """ValueError where a key is too short or too long."""
    if not KEY_BYTES[0] <= len(key) <= KEY_BYTES[1]:
        raise ValueError(f"{name} must hold {KEY_BYTES[0]} to {KEY_BYTES[1]:,} bytes. "
                         "Make one: openssl rand -hex 32 > key")
