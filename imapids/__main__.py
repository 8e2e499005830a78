"""The `imapids` command: `python -m imapids` and the console script start here."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    The version is answered before anything else is imported: scripts ask for it often.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given in (["--version"], ["-V"]):
        from imapids import __version__

        sys.stdout.write(f"imapids {__version__}\n")
        return 0
    from imapids.cli.app import run

    return run(given)


if __name__ == "__main__":
    sys.exit(main())
