#!/usr/bin/env python3
"""Write the reference page of the Python API, from its signatures and docstrings.

usage: python docs/generate_api_reference.py

A test compares the page with the code, so that it cannot grow old.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import imapids
from imapids import plots
from imapids.api import Scan, Watch
from imapids.desk.session_view import SessionView
from imapids.run.asked import OPTIONS

PAGE = Path(__file__).resolve().parent / "reference" / "api.md"

HEAD = """# Python API

```python
import imapids

analysis = imapids.read_pcap("sample_pcaps/office-day.pcap", home_net="10.0.0.0/8")
analysis.cases.head()
analysis.session(analysis.cases["flow_id"].iloc[0]).dialogue
imapids.plots.timeline(analysis.sessions)
analysis.to_html("report.html")

with imapids.scan_pcap("sample_pcaps/office-day.pcap", events="alert") as scan:
    for alert in scan:
        print(alert.rule.level, alert.rule.title, alert.subject)
```

`import imapids` alone imports neither NumPy nor pandas; what is used is imported when it is used. Records are the
structs of `imapids/records/`; [frames.md](frames.md) has the columns of every frame. This page is made from the code.
"""

OPTION_NOTES = {
    "events": "text with commas, a list or a set of event types, or `all`",
    "rules": "a path or a list: Sigma rules, YARA files, folders",
    "default_rules": "`False`: only your rules",
    "allow": "a path or a list: allow-lists (Sigma filters)",
    "indicators": "a path or a list: STIX 2.1, MISP, CSV, plain lists",
    "inventory": "a path: what is meant to be where",
    "signatures": "`False`: no YARA over first bytes",
    "home_net": "networks in CIDR form: ours",
    "watch": "ports: `143`, `\"143,2143/udp\"`, or a list",
    "since": "a datetime (UTC unless it says otherwise), ISO 8601, or seconds since 1970",
    "until": "the same; not included",
    "host": "addresses or networks: only their packets",
    "max_memory": "`\"200M\"`, or bytes",
    "limits": "an `imapids.config.Limits`, for single limits",
    "hash_key": "16 to 4,096 bytes, or the path of a file with them",
    "follow": "`True`: go on as a capture grows",
}
"""What each option takes; other names of the same option are left out."""


def paragraphs(thing: object) -> str:
    """A docstring as Markdown: sections become bold, lines of arguments a list."""
    lines = []
    for line in (inspect.getdoc(thing) or "").splitlines():
        if line in ("Args:", "Raises:"):
            lines += ["", f"**{line[:-1]}**", ""]
        elif line.startswith("    ") and not line.startswith("     ") and ":" in line:
            name, _, text = line.strip().partition(": ")
            lines.append(f"- `{name}`: {text}")
        else:
            lines.append(line.strip() if not line.startswith("     ") else f"  {line.strip()}")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def signature(name: str, thing: Callable[..., Any], *, method: bool = False) -> str:
    """`name(arguments) -> type`, without self."""
    given = inspect.signature(thing)
    kept = [each for each in given.parameters.values() if not (method and each.name == "self")]
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", f"{name}{given.replace(parameters=kept)}")  # annotations are text


def members(cls: type, names: tuple[str, ...] = ()) -> Iterator[str]:
    """The public methods and properties of a class, in their order."""
    inherited = [base for base in cls.__mro__ if base.__module__.startswith("imapids.")]
    for name, member in (item for base in inherited for item in vars(base).items()):
        if name.startswith("_") or (names and name not in names):
            continue
        if isinstance(member, cached_property | property):
            doc = member.func if isinstance(member, cached_property) else member.fget
            yield f"- `.{name}`: {' '.join((inspect.getdoc(doc) or '').split())}\n"
        elif inspect.isfunction(member):
            yield f"- `.{signature(name, member, method=True)}`: {' '.join((inspect.getdoc(member) or '').split())}\n"


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name in ("read_pcap", "scan_pcap", "watch_interface", "load"):
        thing = getattr(imapids, name)
        parts.append(f"\n## imapids.{name}\n\n```python\n{signature(name, thing)}\n```\n\n{paragraphs(thing)}\n")
    parts.append("\n## Options\n\nCalled as on the command line. An unknown name is refused, with the nearest one that "
                 "there is.\n\n| option | takes |\n| --- | --- |\n")
    assert set(OPTION_NOTES) <= set(OPTIONS)
    parts += [f"| `{name}` | {text} |\n" for name, text in OPTION_NOTES.items()]
    for cls in (imapids.Analysis, SessionView, Scan, Watch):
        parts += [f"\n## {cls.__name__}\n\n{paragraphs(cls)}\n\n", *members(cls)]
    parts.append(f"\n## imapids.plots\n\n{paragraphs(plots)}\n")
    for name in plots.__all__:
        chart = getattr(plots, name)
        parts.append(f"\n### {name}\n\n```python\n{signature(name, chart)}\n```\n\n{paragraphs(chart)}\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE}\n")
