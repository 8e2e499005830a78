"""Packet time as text: EVE's form of it, which sorts as text and which every consumer of EVE lines reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST_NS, _LATEST_NS = -(2**63) // 1000 * 1000, 2**63 - 1


@lru_cache(maxsize=4_096)  # times come in order, or are those of the last hour: nearly all find their second here
def eve_second(second: int) -> str:
    """A whole second since 1970 as `2026-01-02T03:04:05`; seconds beyond the years 1 to 9999 are held there."""
    try:
        return (_EPOCH + timedelta(seconds=second)).isoformat()[:19]
    except OverflowError:
        return "9999-12-31T23:59:59" if second > 0 else "0001-01-01T00:00:00"


def eve_time(time_ns: int) -> str:
    """`2026-01-02T03:04:05.123456+0000`: always six decimals (cut, not rounded) and `+0000`.

    Arkime reads the offset at fixed places; EVE's schema refuses `Z` and `+00:00`.
    """
    second, rest = divmod(time_ns, 1_000_000_000)
    return f"{eve_second(second)}.{rest // 1000:06d}+0000"


def parse_eve_time(text: str) -> int:
    """Nanoseconds since 1970 of a time in EVE's form (any offset); ValueError where it is none or beyond 64 bits."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no offset from UTC")
    since = moment - _EPOCH
    time_ns = (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
    if not _EARLIEST_NS <= time_ns <= _LATEST_NS:
        raise ValueError(f"{text!r} lies outside of 1677 to 2262, which is what 64 bits of nanoseconds hold")
    return time_ns
