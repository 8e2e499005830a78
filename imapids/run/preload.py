"""Imports everything that a live run may need before it gives up its rights: later, files may be out of reach."""

from __future__ import annotations

import codecs
import contextlib
import importlib
import pkgutil

from imapids.protocols.late_patterns import compile_late_patterns

_PACKAGES = ("capture", "decode", "flows", "sniff", "parse", "judge", "signatures", "observe", "intel", "detect",
             "output", "protocols", "records", "pipeline", "run")
"""Of imapids: all that stands between an interface and the lines."""
_OTHERS = ("numpy.ma", "numpy.linalg", "yara_x", "dpkt", "re2", "yaml",
           "sigma.collection", "sigma.correlations", "sigma.exceptions",
           "sigma.modifiers", "sigma.processing.pipeline", "importlib.metadata", "rich.live", "rich.table", "rich.text",
           "prometheus_client.core", "prometheus_client.openmetrics.exposition", "traceback", "logging", "json",
           "decimal", "ipaddress", "zoneinfo", "unicodedata", "stringprep")
"""Imported inside of functions, ours or theirs. Some need not be installed."""
_CODECS = ("ascii", "latin-1", "utf-8", "utf-8-sig", "utf-7", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "idna",
           "punycode", "cp1252", "raw_unicode_escape", "unicode_escape")


def import_everything() -> None:
    """Imports all modules and codecs that packets, rules and outputs may ask for, and compiles our patterns."""
    for package in _PACKAGES:
        module = importlib.import_module(f"imapids.{package}")
        for found in pkgutil.walk_packages(module.__path__, f"imapids.{package}."):
            importlib.import_module(found.name)
    for name in _OTHERS:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for name in _CODECS:
        codecs.lookup(name)
    compile_late_patterns()
