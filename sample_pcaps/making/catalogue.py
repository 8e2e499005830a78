"""The list of samples: each is a function that fills a trace, with what a reader and a test may expect of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from making.network import Host, Trace, inside, outside


@dataclass(frozen=True)
class Sample:
    """One capture and its truth."""

    name: str
    shows: str
    make: Callable[[Trace], None] = field(compare=False)
    verdicts: dict[str, int]
    """Sessions by verdict: flows on port 143, and IMAP elsewhere."""
    protocol: str = ""
    """Of the sessions that the sample is about; empty where nothing has a name."""
    shape: str = ""
    alerts: tuple[str, ...] = ()
    """Families of rules/sigma that must raise an alert."""
    inventory: str = ""
    """What is meant to be where (YAML): it stands beside the capture as NAME.inventory.yml."""


SAMPLES: dict[str, Sample] = {}


def sample(
    name: str,
    shows: str,
    *,
    verdicts: dict[str, int],
    protocol: str = "",
    shape: str = "",
    alerts: tuple[str, ...] = (),
    inventory: str = "",
) -> Callable[[Callable[[Trace], None]], Callable[[Trace], None]]:
    """Put a function into the catalogue."""

    def register(make: Callable[[Trace], None]) -> Callable[[Trace], None]:
        SAMPLES[name] = Sample(name, shows, make, verdicts, protocol, shape, alerts, inventory)
        return make

    return register


def mail_server() -> Host:
    """The company's own IMAP server."""
    return inside("10.20.0.25", 0x25)


def workstation(number: int = 40, system: str = "windows") -> Host:
    """A desk."""
    return inside(f"10.20.1.{number}", number, system)


def provider() -> Host:
    """A mail provider on the Internet."""
    return outside("203.0.113.25", 9)


def stranger(number: int = 77, system: str = "linux") -> Host:
    """Somebody on the Internet."""
    return outside(f"198.51.100.{number}", 13, system)
