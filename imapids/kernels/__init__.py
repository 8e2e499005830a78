"""Loops over packets and over events, compiled: what takes NumPy many passes over the same columns takes these one.

Each kernel does exactly what some NumPy or Python code of a stage does; the stage says which. They are built
when the package is installed and a C compiler is there (hatch_build.py). Without them everything works in the same way
and gives the same results, only slower on large captures: tests compare both. Indices are checked, as in Python.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from imapids.kernels.stamp import is_stale

COMPILED = False
"""Whether the kernels are there. Asked for each batch, so that tests can turn them off. IMAPIDS_KERNELS=0 does, too."""

if os.environ.get("IMAPIDS_KERNELS") != "0":
    try:
        from imapids.kernels import _compiled as compiled
        from imapids.kernels import _events as events
    except ImportError:
        pass
    else:
        stamps = [getattr(module, "STAMP", "before stamps") for module in (compiled, events)]
        COMPILED = not is_stale(Path(__file__).parent, *stamps)
        if not COMPILED:
            warnings.warn("the compiled loops of imapids are older than their sources and are not used (the results "
                          "are the same): `python hatch_build.py` or `pip install -e .` compiles them", stacklevel=2)

__all__ = ["COMPILED", "compiled", "events"]
