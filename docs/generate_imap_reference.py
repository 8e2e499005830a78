#!/usr/bin/env python3
"""Write the reference pages about IMAP: states and commands (protocols/imap_commands.py), evidence (judge/evidence.py).

usage: python docs/generate_imap_reference.py

Tests compare the pages with the code, so that they cannot grow old.
"""

from __future__ import annotations

from pathlib import Path

from imapids.judge.evidence import CODES
from imapids.protocols.imap_commands import COMMANDS, STATE_NAMES, TRANSITIONS, state_diagram

FOLDER = Path(__file__).resolve().parent / "reference"

SPEAKS = {
    "genuine": "For a genuine server",
    "mimic": "For a mimic",
    "not-imap": "For something else",
    "undecided": "Not enough to tell",
    "context": "Context",
}


def states_page() -> str:
    """The state diagram, and in which states each command is legal."""
    names = {bit: name for bit, name in STATE_NAMES.items() if bit != 8}
    rows = "".join(
        f"| {spec.name} | {', '.join(name for bit, name in names.items() if bit & spec.states)} | {spec.source} |"
        f" {'yes' if spec.strict else ''} |\n"
        for spec in COMMANDS.values()
    )
    moves = "".join(f"- {command} {result.upper()}: {where}\n" for command, result, _, _, where in TRANSITIONS)
    return f"""# States of an IMAP connection

What the machine walks through (RFC 9051 section 3). This page is made from `imapids/protocols/imap_commands.py`.

```mermaid
{state_diagram()}
```

Where the moves are said:

{moves}
After a gap, or where the capture starts inside a conversation, the state is `unknown`: any of the three. A vendor's
command that ends OK before a login makes it `unknown` too, for it may have signed in.

## Commands

*Impossible elsewhere*: no server known carries the command out in another state, so that an OK there is evidence
`success-in-impossible-state`. Other commands in a wrong state are only marked (`command.illegal_state`).

| command | legal in | defined in | impossible elsewhere |
| --- | --- | --- | --- |
{rows}"""


def evidence_page() -> str:
    """Every evidence code with its weight, meaning and an example."""
    parts = [
        """# Evidence codes

One piece of evidence is a code, the side it is about, the packet and the position in the side's stream where it stands,
and safe text. A session lists its evidence by weight: 100 decides alone; 50 and more decide with another piece or
when repeated; less is context. `<protocol>` stands for a name of the sniffer's. This page is made from
`imapids/judge/evidence.py`.
"""
    ]
    for group, title in SPEAKS.items():
        parts.append(f"\n## {title}\n\n| code | weight | meaning | example |\n| --- | ---: | --- | --- |\n")
        parts += [
            f"| `{code.code}` | {code.weight} | {code.meaning} | {example(code.example)} |\n"
            for code in sorted(CODES, key=lambda each: -each.weight)
            if code.speaks_for == group
        ]
    return "".join(parts)


def example(text: str) -> str:
    """Text as code that stays inside a cell of a table."""
    return "`" + text.replace("|", "\\|") + "`" if text else ""


PAGES = {"imap-states.md": states_page, "evidence.md": evidence_page}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
