"""Is this traffic on port 143 really IMAP, and if not, what is it, and how do we know?"""

from typing import Any

__all__ = ["Analysis", "Scan", "Watch", "__version__", "load", "plots", "read_pcap", "scan_pcap", "watch_interface"]

__version__ = "0.1.0"

# What they are to a type checker stands in __init__.pyi: an import here, even of types, would tie all parts together.
_HOMES = {"Analysis": "imapids.desk.analysis", "Scan": "imapids.api", "Watch": "imapids.api", "load": "imapids.api",
          "read_pcap": "imapids.api", "scan_pcap": "imapids.api", "watch_interface": "imapids.api"}


def __getattr__(name: str) -> Any:
    """Imports what is asked for when it is asked for: `import imapids` alone loads neither NumPy nor pandas."""
    import importlib

    if name == "plots":
        return importlib.import_module("imapids.plots")
    if name in _HOMES:
        value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return value
    raise AttributeError(f"module 'imapids' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
